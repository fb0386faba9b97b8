#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The contract: what GET /openapi.json says is what the gateway does, and all that it does.

Every route is in the document and every operation of the document is a route; each documented example
is sent, by real requests to the real stack, and its answer has a documented status and a body of the
documented schema. Examples name things that a gateway has not from the start (a workflow, a delivery):
PREPARE makes them, under those names where it can, and says what stands in the others' place.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.parse

from cluster import skip_without
from responder import BUILD, Gateway, Responder
from tap import Tap, skip_all

try:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import RefResolver
except ImportError:
    skip_all("python3-jsonschema is missing")

tap = Tap()
METHODS = ("get", "put", "post", "patch", "delete")
PREPARE = {}


def prepares(*operations):
    def register(function):
        PREPARE.update({operation: function for operation in operations})
        return function

    return register


class Stack:
    def __init__(self, gateway, http):
        self.gateway, self.http = gateway, http
        self.root = gateway.operator("root")
        self.alice, self.bob = gateway.agent("alice"), gateway.agent("bob")
        self.count = 0

    def post(self, path, body, key=None, token=None):
        headers = {"Idempotency-Key": key} if key else None
        return self.http.post(path, body, headers, token=token or self.root).json()

    def fresh(self):
        self.count += 1
        return f"fresh-{self.count}"

    def delivery(self):
        """One that bob holds; its id."""
        self.post("/messages", {"to": "bob", "content": "x"}, token=self.alice)
        got = self.http.get("/agents/bob/inbox?wait=10&max=1", token=self.bob).json()["messages"]
        return got[0]["deliveryId"]


def in_body(stack, name, value):
    return {"token": stack.bob, "body": {name: value}}


@prepares("acknowledge", "extendLease")
def deliveries(stack):
    return in_body(stack, "deliveryIds", [stack.delivery()])


@prepares("refuse")
def one_delivery(stack):
    return in_body(stack, "deliveryId", stack.delivery())


@prepares("pullInbox")
def something_to_pull(stack):
    stack.post("/messages", {"to": "bob", "content": {"n": 1}, "metadata": {"k": 1}}, token=stack.alice)
    return {"token": stack.bob}


@prepares("createAgent")
def no_dora(stack):
    stack.http.send("DELETE", "/agents/dora", token=stack.root)
    return {"key": stack.fresh()}


@prepares("getAgent", "changeAgent", "deleteAgent", "listHeartbeats")
def dora(stack):
    stack.post("/agents", {"agentId": "dora", "name": "Dora"})
    return {}


@prepares("pauseResume", "provisionAgent")
def emil(stack):
    return {"key": stack.fresh()}


@prepares("runHeartbeat", "startWorkflow", "sendMessage")
def a_key_of_its_own(stack):
    return {"key": stack.fresh()}


@prepares("chat", "listConversations", "getConversation", "deleteConversation")
def talk(stack):
    body = {"conversationId": "talk-1", "agentId": "bob", "workspaceId": "w-1", "message": "before"}
    stack.http.post("/chat", body, {"Prefer": "respond-async"}, token=stack.root)  # nobody answers yet
    return {"key": stack.fresh()}


@prepares("getWorkflow", "listSteps", "listEvents", "listWorkflows")
def order(stack):
    stack.post("/messages", {"to": "bob", "content": "hello"}, "order-42", token=stack.alice)
    return {}


@prepares("deleteWorkflow", "cancelWorkflow", "resumeWorkflow", "recoverWorkflow", "forkWorkflow",
          "restartWorkflow", "rewindWorkflow")
def greeting(stack):
    """One that was cancelled: all of these can be done to it."""
    name = stack.fresh()
    body = {"input": {"to": "bob", "name": "Bob", "delayMs": 60000}}
    stack.post("/workflows/delayedGreeting", body, name)
    stack.http.send("POST", f"/workflows/root:{name}/cancel", token=stack.root)
    return {"path": {"id": f"root:{name}"}, "query": {"newId": stack.fresh()}}


@prepares("getDeadLetter", "purgeDeadLetter", "redriveDeadLetter", "listDeadLetters")
def dead_letter(stack):
    name = stack.fresh()
    stack.post("/messages", {"to": "bob", "content": "x"}, name, token=stack.alice)
    while True:
        got = stack.http.get("/agents/bob/inbox?wait=10&max=1", token=stack.bob).json()["messages"][0]
        body = {"deliveryId": got["deliveryId"], "requeue": False, "reason": "no"}
        stack.post("/agents/bob/inbox/nack", body, token=stack.bob)
        if got["messageId"] == name:
            return {"path": {"id": f"alice:{name}"}}


@prepares("revokeToken")
def token(stack):
    made = stack.post("/tokens/rotate", {"principal": "alice", "overlapMs": 600000})
    return {"path": {"id": made["credentialId"]}}


class Contract:
    def __init__(self, stack, document):
        self.stack, self.document = stack, document
        self.resolver = RefResolver("", document)
        self.sent = 0

    def resolve(self, value):
        return self.resolver.resolve(value["$ref"])[1] if "$ref" in value else value

    def errors(self, schema, value):
        validator = Draft202012Validator(schema, resolver=self.resolver, format_checker=FormatChecker())
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(value)]

    def operations(self):
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield path, method, item[method]

    def documented(self, path, method, operation):
        """What can be seen without sending anything."""
        name = f"{method.upper()} {path}"
        tap.ok("operationId" in operation, f"{name} is in the document")
        tap.ok("x-route" in operation, f"{name} is a route")
        parameters = [self.resolve(p) for p in operation.get("parameters", [])]
        query = sorted(p["name"] for p in parameters if p["in"] == "query")
        known = sorted(operation.get("x-route", {}).get("query", "").split())
        tap.equal(query, known, f"{name}: its query parameters")
        named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        tap.equal(sorted(p["name"] for p in parameters if p["in"] == "path"), named, f"{name}: those of its path")
        takes = "bodyLimit" in operation.get("x-route", {})
        tap.equal("requestBody" in operation, takes, f"{name}: a body")
        tap.equal("411" in operation["responses"], takes or method == "post", f"{name}: a length that it needs")
        members = operation.get("x-route", {}).get("members")
        if members is not None:
            schema = self.resolve(operation["requestBody"]["content"]["application/json"]["schema"])
            tap.equal(sorted(schema["properties"]), sorted(members.split()), f"{name}: the members of its body")
        wrong = []
        for where, content in self.contents(operation):
            for media, one in content.items():
                if "example" in one and media.endswith("json"):
                    wrong += [f"{where}: {e}" for e in self.errors(one["schema"], one["example"])]
        for parameter in parameters:
            if "example" in parameter:
                wrong += [f"{parameter['name']}: {e}" for e in self.errors(parameter["schema"], parameter["example"])]
        tap.equal(wrong, [], f"{name}: its examples are of its schemas")

    def contents(self, operation):
        if "requestBody" in operation:
            yield "request", operation["requestBody"]["content"]
        for status, answer in operation["responses"].items():
            yield status, self.resolve(answer).get("content", {})

    def requests(self, operation):
        """Each documented example, as (what, query names, headers, media, body)."""
        parameters = [self.resolve(p) for p in operation.get("parameters", [])]
        queries = [p for p in parameters if p["in"] == "query" and "example" in p]
        headers = {p["name"]: p["example"] for p in parameters if p["in"] == "header"}
        contents = operation.get("requestBody", {}).get("content", {})
        for media, content in contents.items() or [(None, {})]:
            yield media or "as it is", {}, {}, media, content.get("example")
        media, content = next(iter(contents.items()), (None, {}))
        for name, value in headers.items():
            yield name, {}, {name: value}, media, content.get("example")
        for parameter in queries:
            yield parameter["name"], {parameter["name"]: parameter["example"]}, {}, media, content.get("example")

    def send(self, path, method, operation, example):
        what, query, headers, media, body = example
        name = f"{method.upper()} {path} ({what})"
        prepared = PREPARE.get(operation["operationId"], lambda stack: {})(self.stack)
        values = {p["name"]: p["example"] for p in map(self.resolve, operation.get("parameters", [])) if p["in"] == "path"}
        values.update(prepared.get("path", {}))
        for key, value in values.items():
            path = path.replace("{" + key + "}", urllib.parse.quote(value, safe=":"))
        query = {k: prepared.get("query", {}).get(k, v) for k, v in query.items()}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        if "Idempotency-Key" in headers and "key" in prepared:
            headers["Idempotency-Key"] = prepared["key"]
        data = b""
        if body is not None:
            if isinstance(body, dict):
                body = {**body, **prepared.get("body", {})}
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            headers["Content-Type"] = media
        answer = self.stack.http.send(
            method.upper(), path, data, headers, token=prepared.get("token", self.stack.root)
        )
        self.sent += 1
        self.judge(operation, answer, name)

    def misspell(self, path, method, operation):
        """A member that the document does not allow is refused, where it allows no others."""
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None or self.resolve(content["schema"]).get("additionalProperties") is not False:
            return
        asks = operation["operationId"] in ("runHeartbeat", "chat")
        prepared = {} if asks else PREPARE.get(operation["operationId"], lambda stack: {})(self.stack)
        body = {**content["example"], **prepared.get("body", {}), "expiresInMS": 1}
        path = path.replace("{id}", prepared.get("path", {}).get("id", "bob" if "inbox" in path else "delayedGreeting"))
        answer = self.stack.http.send(
            method.upper(), path, json.dumps(body).encode(), {"Content-Type": "application/json"},
            token=prepared.get("token", self.stack.root),
        )
        tap.equal(
            (answer.status, answer.json().get("code")), (400, "INVALID_REQUEST"),
            f"{method.upper()} {path}: a member that is none",
        )

    def judge(self, operation, answer, name):
        documented = operation["responses"].get(str(answer.status))
        if documented is None or answer.status >= 400:
            tap.ok(False, f"{name}: a documented answer", f"{answer.status} {answer.body!r}")
            return
        documented = self.resolve(documented)
        undocumented = [
            h for h in ("location", "etag", "preference-applied", "idempotency-replayed", "x-request-id")
            if h in answer.headers and h not in {n.lower() for n in documented.get("headers", {})}
        ]
        tap.equal(undocumented, [], f"{name}: {answer.status}, its headers are documented")
        media = answer.headers.get("content-type", "").partition(";")[0]
        content = documented.get("content", {}).get(media)
        if content is None:
            tap.equal(answer.body, b"", f"{name}: {answer.status} has no body")
        elif not media.endswith("json"):
            tap.equal(self.errors(content["schema"], answer.body.decode()), [], f"{name}: {answer.status}, text")
        else:
            tap.equal(self.errors(content["schema"], answer.json()), [], f"{name}: {answer.status}, its schema")

    def refuse(self, path, method, operation):
        """Whoever has no token, where one is needed."""
        if not operation["security"]:
            return
        answer = self.stack.http.send(method.upper(), path.replace("{id}", "x"))
        problem = self.errors(self.document["components"]["schemas"]["Problem"], answer.json())
        tap.equal(
            (answer.status, problem, "401" in operation["responses"]), (401, [], True),
            f"{method.upper()} {path}: 401 without a token",
        )


SCOPES = ("send", "inbox", "workflows:read", "workflows:write", "agents:write", "operator", "metrics")


# What is just over a limit: refused by the document, and by the gateway.
OVER = {
    "chat": [
        {"workspaceId": "w" * 257}, {"userId": "u" * 257}, {"conversationId": ""}, {"conversationId": "c" * 129},
        {"agentId": ""}, {"agentId": "a" * 65}, {"message": ""}, {"ttlMs": 0}, {"ttlMs": 365 * 86400000 + 1},
        {"conversationHistory": [{"role": "user", "content": "x"}] * 101},
    ],
    "createAgent": [
        {"allowFrom": ["a"] * 1001}, {"allowFrom": [""]}, {"allowFrom": ["a" * 65]}, {"inboxLimit": 0},
        {"inboxLimit": 100000001}, {"agentId": ""}, {"agentId": "a" * 65}, {"name": ""}, {"name": "n" * 201},
        {"heartbeat": {"enabled": True, "checklist": [""]}},
    ],
    "provisionAgent": [{"allowFrom": ["a"] * 1001}, {"inboxLimit": 0}, {"agentId": "a" * 65}],
    "changeAgent": [{"allowFrom": ["a"] * 1001}, {"allowFrom": ["a" * 65]}, {"inboxLimit": 0}],
}


def limits(stack, contract, operations):
    by_name = {operation.get("operationId"): (path, method, operation) for path, method, operation in operations}

    def over(name, body, what):
        path, method, operation = by_name[name]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        tap.ok(contract.errors(schema, body), f"{name}: {what} is over a limit of the document")
        answer = stack.http.send(
            method.upper(), path.replace("{id}", "alice"), json.dumps(body).encode(),
            {"Content-Type": "application/json"}, token=stack.root,
        )  # fmt: skip
        tap.ok(answer.status in (400, 413), f"{name}: and of the gateway's", (answer.status, answer.body[:200]))

    for name, members in OVER.items():
        good = {} if name == "changeAgent" else {"agentId": "limit"}
        if name == "chat":
            good["message"] = "x"
        schema = by_name[name][2]["requestBody"]["content"]["application/json"]["schema"]
        tap.equal([str(e) for e in contract.errors(schema, good)], [], f"{name}: within all limits")
        for member in members:
            over(name, {**good, **member}, json.dumps(member)[:50])
    over("sendMessages", [], "[]")
    over("sendMessages", [{"to": "alice", "content": 1}] * 1001, "1001 messages")


def scopes(stack, operations):
    """Each scope that the document says is enough is, and every other is not. The bodies are no bodies: what
    is allowed comes to nothing."""
    tokens = {}
    for scope in SCOPES:
        name = "only-" + scope.replace(":", "-")
        tokens[scope] = stack.gateway.principal(name, "program", f"array['{scope}']")
    for path, method, operation in operations:
        enough = {scope for one in operation["security"] for scope in one["bearer"]}
        if not enough:
            continue
        allowed = set()
        for scope, token in tokens.items():
            answer = stack.http.send(method.upper(), path.replace("{id}", "%2E"), token=token)
            if (answer.status, answer.json().get("code") if answer.status == 403 else "") != (403, "FORBIDDEN"):
                allowed.add(scope)
            else:
                said = answer.json()["detail"].removeprefix("this needs the scope ").split(" or ")
                enough &= set(said)
        tap.equal(allowed, enough | {"operator"}, f"{method.upper()} {path}: the scopes that it needs, any of them")


def answering(stack, ending):
    """alice is asked by nobody; bob answers what a heartbeat and a chat ask."""
    while not ending.is_set():
        got = stack.http.get("/agents/bob/inbox?wait=1&max=10", token=stack.bob).json()
        ids = [m["deliveryId"] for m in got.get("messages", []) if m["expectsReply"]]
        if ids:
            stack.post("/agents/bob/inbox/ack", {"deliveryIds": ids, "result": "well"}, token=stack.bob)


def settings(gateway):
    for mode, wanted in (("off", (404, 404)), ("token", (401, 200)), ("public", (200, 200))):
        with Responder(gateway.cluster, {"OPENAPI": mode}) as http:
            got = (http.get("/openapi.json").status, http.get("/openapi.json", token="token-of-root").status)
            tap.equal(got, wanted, f"OPENAPI={mode}")
            got = tuple(http.send(method, "/openapi.json").status for method in ("OPTIONS", "POST"))
            tap.equal(got, (404, 404) if mode == "off" else (204, 405), f"OPENAPI={mode}: other methods")


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway, Responder(gateway.cluster, {"HTTP_THREADS": 32}) as http:
        stack = Stack(gateway, http)
        document = http.get("/openapi.json", token=stack.root).json()
        tap.equal(document["openapi"], "3.1.0", "it is OpenAPI 3.1")
        contract = Contract(stack, document)
        operations = list(contract.operations())
        names = [operation.get("operationId") for _, _, operation in operations]
        tap.ok(len(names) > 40 and len(names) == len(set(names)), "every operation has a name of its own")
        for operation in operations:
            contract.documented(*operation)
        scopes(stack, operations)
        limits(stack, contract, operations)
        sweeper = subprocess.Popen(
            [os.path.join(BUILD, "openclaw-gateway-sweeper")], env=http.environment,
            stderr=subprocess.DEVNULL,
        )
        ending = threading.Event()
        worker = threading.Thread(target=answering, args=(stack, ending))
        try:
            asks = ("runHeartbeat", "chat")
            for path, method, operation in operations:
                if "operationId" not in operation or "x-route" not in operation:
                    continue
                contract.refuse(path, method, operation)
                contract.misspell(path, method, operation)
                for example in contract.requests(operation):
                    if operation["operationId"] not in asks:
                        contract.send(path, method, operation, example)
            worker.start()
            for path, method, operation in operations:
                for example in contract.requests(operation):
                    if operation.get("operationId") in asks:
                        contract.send(path, method, operation, example)
        finally:
            ending.set()
            if worker.is_alive():
                worker.join()
            sweeper.terminate()
            sweeper.wait()
        tap.ok(contract.sent > 90, f"{contract.sent} examples were sent")
        tap.equal(http.events("http.failure"), [], "nothing was our own failure")
        settings(gateway)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

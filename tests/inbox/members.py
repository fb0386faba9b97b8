#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A member of a wrong type is refused by its name: of every frame and of every HTTP body.

What is not of its type must not be taken for "not given": a client that writes exclusive:"no" would
get an exclusive subscription. The methods and their members are METHODS; a method that is not in it
fails the test. The bodies and theirs are those of /openapi.json.
"""

import json
import sys

from stage import Refused, Stage
from tap import Tap

tap = Tap()

WRONG = {
    "string": [7, 1.5, True, ["x"], {"x": 1}],
    "integer": ["7", 1.5, True, [7], {"x": 7}],
    "boolean": ["no", "true", 0, 1, [True], {}],
    "object": ["x", 7, False, ["x"]],
    "array": ["x", 7, True, {"x": "y"}, [7], [None], [["x"]]],  # of strings
}

SEND = {"idempotencyKey": "string", "from": "string", "metadata": "object"}
INBOX = {"inbox": "string"}
NAMED = {**INBOX, "deliveryIds": "array", "deliveryId": "string"}
DEAD = {"id": "string", "ids": "array"}
WORKFLOW = {"workflowUuid": "string"}
MANAGE = {
    **WORKFLOW, "newId": "string", "version": "string", "queue": "string", "children": "boolean",
    "step": "integer",
}  # fmt: skip

# method: what a good request has, and the types of all that it may have
METHODS = {
    "ping": ({}, {}),
    "health": ({}, {}),
    "status": ({}, {}),
    "system-presence": ({}, {}),
    "config.get": ({}, {}),
    "agents.list": ({}, {}),
    "sessions.list": ({}, {}),
    "agent.send": (
        {"sessionKey": "bob", "message": "x", "idempotencyKey": "t"},
        {**SEND, "sessionKey": "string", "timeout": "integer", "waitFor": "string"},
    ),
    "agent": (
        {"agentId": "bob", "message": "x", "idempotencyKey": "t"},
        {**SEND, "agentId": "string", "sessionKey": "string", "to": "string", "timeout": "integer"},
    ),
    "agent.wait": ({"runId": "t", "timeoutMs": 1}, {"runId": "string", "timeoutMs": "integer"}),
    "send": (
        {"to": "bob", "message": "x", "idempotencyKey": "t"},
        {**SEND, "to": "string", "channel": "string", "sessionKey": "string", "delayMs": "integer",
         "ttlMs": "integer", "priority": "integer"},
    ),
    "chat.send": ({"sessionKey": "bob", "message": "x", "idempotencyKey": "t"}, {**SEND, "sessionKey": "string"}),
    "sessions.send": ({"key": "bob", "message": "x", "idempotencyKey": "t"}, {**SEND, "key": "string"}),
    "inbox.subscribe": (
        {"inbox": "alice"},
        {**INBOX, "consumer": "string", "maxInFlight": "integer", "leaseMs": "integer", "exclusive": "boolean"},
    ),
    "inbox.unsubscribe": ({"inbox": "alice"}, INBOX),
    "inbox.ack": ({"deliveryIds": ["1.x"]}, NAMED),
    "inbox.nack": (
        {"deliveryId": "1.x"},
        {**NAMED, "delayMs": "integer", "requeue": "boolean", "reason": "string"},
    ),
    "inbox.extend": ({"deliveryIds": ["1.x"]}, {**NAMED, "leaseMs": "integer"}),
    "inbox.pull": (
        {"inbox": "alice"},
        {**INBOX, "max": "integer", "waitMs": "integer", "leaseMs": "integer"},
    ),
    "inbox.stats": ({"inbox": "alice"}, INBOX),
    "inbox.dead.list": ({}, {**INBOX, "before": "integer", "limit": "integer"}),
    "inbox.dead.show": ({"id": "x"}, DEAD),
    "inbox.redrive": ({"ids": ["x"]}, DEAD),
    "inbox.purge": ({"ids": ["x"]}, DEAD),
    "workflow.start": ({"name": "nothing"}, {"name": "string", "idempotencyKey": "string"}),
    "workflow.status": ({"workflowUuid": "x"}, {**WORKFLOW, "runId": "string"}),
    "workflow.list": ({}, {"limit": "integer", "status": "string", "name": "string"}),
    "workflow.events": ({"workflowUuid": "x"}, {**WORKFLOW, "runId": "string"}),
    **{
        f"workflow.{verb}": ({"workflowUuid": "x"}, MANAGE)
        for verb in ("cancel", "resume", "fork", "restart", "rewind", "delete")
    },
}

CONNECT = {
    "minProtocol": "integer", "maxProtocol": "integer", "client": "object", "auth": "object", "scopes": "array",
    "client.id": "string", "client.version": "string", "client.platform": "string", "client.mode": "string",
    "client.displayName": "string", "client.instanceId": "string", "client.deviceFamily": "string",
    "auth.token": "string", "auth.password": "string",
}  # fmt: skip


def put(document, path, value):
    """document with the member `path`, "a" or "a.b", in a copy."""
    copy = json.loads(json.dumps(document))
    *outer, last = path.split(".")
    inside = copy
    for name in outer:
        inside = inside.setdefault(name, {})
    inside[last] = value
    return copy


def frames(stage):
    with stage.connect("root") as root:
        known = set(root.hello["features"]["methods"]) - {"connect"}
        tap.equal(known, set(METHODS), "every method is in the table")
        for method, (good, members) in METHODS.items():
            taken, unnamed = [], []
            for name, kind in members.items():
                for value in WRONG[kind]:
                    try:
                        root.call(method, put(good, name, value))
                        taken.append((name, value))
                    except Refused as refused:
                        if refused.code != "INVALID_REQUEST" or name not in refused.error["message"]:
                            unnamed.append((name, value, refused.error))
                # JSON null is as good as absent
                if name not in good:
                    try:
                        root.call(method, put(good, name, None))
                    except Refused as refused:
                        if refused.code == "INVALID_REQUEST":
                            unnamed.append((name, None, refused.error))
            tap.equal(taken, [], f"{method}: no wrong type is taken")
            tap.equal(unnamed, [], f"{method}: each refusal names the member")


def bare(stage):
    with stage.connect("root") as root:
        wrong = []
        members = {"id": "string", "from": "string", "to": "string", "metadata": "object"}
        for name, kind in members.items():
            for value in WRONG[kind]:
                root.send(put({"to": "bob", "content": "x", "id": "bare"}, name, value))
                answer = root.take(lambda f: f.get("type") in ("error", "workflow_result"))
                if answer.get("code") not in ("INVALID_REQUEST", "INVALID_ID") or name not in answer["error"]:
                    wrong.append((name, value, answer))
        tap.equal(wrong, [], "bare messages: no wrong type is taken, and each refusal names the member")


def connecting(stage):
    good = {
        "minProtocol": 3, "maxProtocol": 4, "auth": {"token": stage.tokens["alice"]},
        "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
    }  # fmt: skip
    wrong = []
    for name, kind in CONNECT.items():
        for value in WRONG[kind][:4]:
            with stage.open() as session:
                try:
                    session.call("connect", put(good, name, value))
                    wrong.append((name, value, "taken"))
                except Refused as refused:
                    if refused.code != "INVALID_REQUEST" or name not in refused.error["message"]:
                        wrong.append((name, value, refused.error))
    tap.equal(wrong, [], "connect: no wrong type is taken, and each refusal names the member")


# ---- HTTP


def resolved(api, schema):
    while "$ref" in schema:
        inside = api
        for part in schema["$ref"].split("/")[1:]:
            inside = inside[part]
        schema = inside
    return schema


def kinds_of(schema):
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def fits(value, schema):
    for kind in kinds_of(schema):
        if kind == "array" and isinstance(value, list):
            items = schema.get("items", {})
            if all(fits(v, items) for v in value) or not kinds_of(items):
                return True
        elif kind == "object" and isinstance(value, dict):
            return True
        elif kind == "integer" and type(value) is int:
            return True
        elif kind == "number" and type(value) in (int, float):
            return True
        elif kind == "string" and isinstance(value, str):
            return True
        elif kind == "boolean" and isinstance(value, bool):
            return True
    return False


def bodies(stage):
    api = stage.get("/openapi.json", "root").json()
    values = [v for kind in WRONG.values() for v in kind]
    operations = 0
    for path, item in api["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            operations += 1
            schema, example = resolved(api, content["schema"]), content["example"]
            batch = schema.get("type") == "array"
            if batch:
                schema, example = resolved(api, schema["items"]), example[0]
            target = path.replace("{id}", "bob" if path.startswith("/agents") else "delayedGreeting")
            who = "bob" if "/inbox" in path else "root"
            wrong = []
            for name, member in schema["properties"].items():
                member = resolved(api, member)
                if not kinds_of(member):
                    continue
                for value in values:
                    if fits(value, member):
                        continue
                    body = put(example, name, value)
                    answer = stage.responder.send(
                        method.upper(), target, json.dumps([body] if batch else body).encode(),
                        {"Content-Type": "application/json"}, token=stage.tokens[who],
                    )  # fmt: skip
                    problem = answer.json()
                    if batch:
                        problem = problem["results"][0]
                    if problem.get("status") != 400 or name not in problem.get("detail", ""):
                        wrong.append((name, value, answer.status, problem))
            tap.equal(wrong, [], f"{method.upper()} {path}: no wrong type is taken; each refusal names the member")
    tap.ok(operations >= 12, f"{operations} operations take a body")


def queries(stage):
    """The one member of a query that is true or false; the contract's test has the integers."""
    for value in ("yes", "true", "", "01", "2"):
        for method, target in (("POST", "/workflows/x/cancel"), ("DELETE", "/workflows/x")):
            answer = stage.responder.send(method, f"{target}?children={value}", token=stage.tokens["root"])
            tap.equal(
                (answer.status, "children" in answer.json().get("detail", "")), (400, True),
                f"{method} refuses children={value}",
            )  # fmt: skip


with Stage(sweeper=False) as stage:
    frames(stage)
    bare(stage)
    connecting(stage)
    bodies(stage)
    queries(stage)
    tap.equal(stage.responder.events("http.failure"), [], "nothing was our own failure")
sys.exit(tap.done())

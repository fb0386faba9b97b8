#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Workflows are started, cancelled, resumed, forked, restarted, rewound and deleted by all three faces."""

import json
import sys

from stack import Refused, Stack, skip_without_stack, wait
from tap import Tap

LATER = 600000


class Http:
    name = "HTTP"

    def __init__(self, stack):
        self.stack = stack

    def manage(self, verb, identity, **options):
        query = "&".join(f"{key}={int(value) if value is True else value}" for key, value in options.items())
        path = f"/workflows/{identity}" + ("" if verb == "delete" else f"/{verb}")
        method = "DELETE" if verb == "delete" else "POST"
        status, body, _ = self.stack.http(
            method, path + ("?" + query if query else ""), token=self.stack.tokens["worker"]
        )
        return body if status == 200 else body["code"]


class WebSocket:
    name = "WebSocket"

    def __init__(self, stack):
        self.client = stack.connect(stack.tokens["worker"])

    def manage(self, verb, identity, **options):
        try:
            return self.client.request(f"workflow.{verb}", {"workflowUuid": identity, **options})
        except Refused as refused:
            return refused.error.get("details", {}).get("code", refused.code)


class Ctl:
    name = "gatewayctl"

    def __init__(self, stack):
        self.stack = stack

    def manage(self, verb, identity, **options):
        words = []
        for key, value in options.items():
            words += [f"--{'id' if key == 'newId' else key}"] + ([] if value is True else [str(value)])
        result = self.stack.ctl("workflow", verb, identity, *words, "--json")
        return json.loads(result.stdout) if result.returncode == 0 else "NOT_FOUND" if result.returncode == 66 else result.stderr


def greet(stack, delay):
    status, body, _ = stack.http(
        "POST", "/workflows/delayedGreeting",
        {"input": {"to": "bob", "name": "you", "delayMs": delay}}, token=stack.tokens["worker"],
    )  # fmt: skip
    assert status in (200, 201, 202), (status, body)
    return body["workflowUuid"]


def check_start(tap, stack):
    """workflow.start does what POST /workflows/:name does, and so finds what that has started."""
    client = stack.connect(stack.tokens["worker"])
    greeting = {"to": "bob", "name": "you", "delayMs": 0}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def refusal(method, **params):
        try:
            return client.request(method, params)
        except Refused as refused:
            return refused.code, refused.error["message"]

    tap.ok("workflow.start" in client.hello["features"]["methods"], "hello-ok names workflow.start")
    params = {"name": "delayedGreeting", "input": greeting, "idempotencyKey": "g1", "traceparent": trace}
    answer = client.request("workflow.start", params)
    tap.equal(
        (answer["workflowUuid"], answer["runId"], answer["duplicate"]), ("worker:g1", "g1", False),
        "WebSocket: it starts, under the caller's key",
    )
    reaches(stack, "worker:g1", "SUCCESS")
    tap.equal(
        stack.value("select attributes ->> 'traceparent' from dbos_system.workflow_status"
                    " where workflow_uuid = 'worker:g1'"), trace, "its traceparent is with it",
    )  # fmt: skip
    again = client.request("workflow.start", params)
    tap.equal(
        (again["workflowUuid"], again["duplicate"], again["status"], again["result"]),
        ("worker:g1", True, "SUCCESS", {"greeting": "Good day, you!"}),
        "the same key again is the same workflow, with its result",
    )
    status, body, headers = stack.http(
        "POST", "/workflows/delayedGreeting", {"input": greeting}, token=stack.tokens["worker"],
        headers={"Idempotency-Key": "g1"},
    )  # fmt: skip
    tap.equal(
        (status, body["workflowUuid"], body["result"]), (200, "worker:g1", again["result"]),
        "and the same over HTTP",
    )
    tap.equal(
        refusal("workflow.start", name="delayedGreeting", input={**greeting, "name": "me"},
                idempotencyKey="g1")[0],
        "IDEMPOTENCY_CONFLICT", "the key with another input is a conflict",
    )  # fmt: skip
    fresh = client.request("workflow.start", {"name": "delayedGreeting", "input": greeting})
    tap.equal(fresh["runId"], fresh["workflowUuid"], "without a key it has an id of its own")
    reaches(stack, fresh["workflowUuid"], "SUCCESS")
    fork = client.request("workflow.fork", {"workflowUuid": fresh["workflowUuid"], "traceparent": trace})
    tap.equal(
        stack.value("select attributes ->> 'traceId' from dbos_system.workflow_status"
                    f" where workflow_uuid = '{fork['workflowUuid']}'"),
        trace[3:35], "a fork has the traceparent of its own request",
    )  # fmt: skip
    for what, params, code in (
        ("no such workflow", {"name": "nosuchthing"}, "UNKNOWN_WORKFLOW"),
        ("one that is not started by name", {"name": "provisionAgent"}, "UNKNOWN_WORKFLOW"),
        ("no name", {"input": greeting}, "INVALID_REQUEST"),
        ("a message", {"name": "routeAgentMessage", "input": {}}, "INVALID_REQUEST"),
        ("a key that is none", {"name": "delayedGreeting", "idempotencyKey": "a b"}, "INVALID_ID"),
        ("a key of another type", {"name": "delayedGreeting", "idempotencyKey": 7}, "INVALID_REQUEST"),
        ("an input that it does not take", {"name": "delayedGreeting", "input": {"to": "bob"}}, "INVALID_REQUEST"),
    ):  # fmt: skip
        answer = refusal("workflow.start", **params)
        tap.equal(answer[0] if isinstance(answer, tuple) else answer, code, f"{what} is refused")
    reader = stack.connect(stack.tokens["reader"])
    try:
        reader.request("workflow.start", {"name": "delayedGreeting", "input": greeting})
        tap.ok(False, "it needs the scope workflows:write")
    except Refused as refused:
        tap.equal(refused.code, "FORBIDDEN", "it needs the scope workflows:write")


def state(stack, identity):
    return stack.value(
        "select coalesce((select status from dbos_system.workflow_status"
        f" where workflow_uuid = '{identity}'), 'none')"
    )


def reaches(stack, identity, wanted):
    wait(lambda: state(stack, identity) == wanted, f"{identity} is {wanted}")


def check_face(tap, stack, face):
    identity = greet(stack, LATER)
    reaches(stack, identity, "DELAYED")
    answer = face.manage("cancel", identity, children=True)
    tap.equal((answer["status"], answer["changed"]), ("CANCELLED", 1), f"{face.name}: cancel")
    answer = face.manage("resume", identity)
    tap.equal(answer["changed"], 1, f"{face.name}: resume")
    reaches(stack, identity, "DELAYED")
    tap.ok(True, f"{face.name}: it sleeps on")
    face.manage("cancel", identity)

    done = greet(stack, 0)
    reaches(stack, done, "SUCCESS")
    fork = face.manage("fork", done, step=2)["workflowUuid"]
    reaches(stack, fork, "SUCCESS")
    steps = stack.value(f"select count(*) from dbos_system.operation_outputs where workflow_uuid = '{fork}'")
    tap.equal((fork != done, steps), (True, "3"), f"{face.name}: fork")
    again = face.manage("restart", done)["workflowUuid"]
    reaches(stack, again, "SUCCESS")
    tap.ok(again not in (done, fork), f"{face.name}: restart")
    tap.equal(face.manage("rewind", done, step=2)["workflowUuid"], done, f"{face.name}: rewind")
    reaches(stack, done, "SUCCESS")
    tap.equal(face.manage("delete", done)["status"], "DELETED", f"{face.name}: delete")
    tap.equal(state(stack, done), "none", f"{face.name}: it is gone")
    tap.equal(face.manage("cancel", "0190a1b2-0000-7000-8000-000000000000"), "NOT_FOUND", f"{face.name}: of none")


def main():
    skip_without_stack()
    tap = Tap()
    with Stack() as stack:
        for name in ("worker", "stranger"):
            made = stack.ctl("principal", "add", name, "--kind", "program",
                             "--scopes", "workflows:read,workflows:write,send", "--json")  # fmt: skip
            stack.tokens[name] = json.loads(made.stdout)["token"]
        made = stack.ctl("principal", "add", "reader", "--kind", "program", "--scopes", "workflows:read", "--json")
        stack.tokens["reader"] = json.loads(made.stdout)["token"]
        try:
            check_start(tap, stack)
        except (AssertionError, KeyError, TypeError, Refused) as error:
            tap.ok(False, "workflow.start comes to its end", repr(error))
        for face in (Http(stack), WebSocket(stack), Ctl(stack)):
            try:
                check_face(tap, stack, face)
            except (AssertionError, KeyError, TypeError, Refused) as error:
                tap.ok(False, f"{face.name} comes to its end", repr(error))
        identity = greet(stack, LATER)
        status, body, _ = stack.http("POST", f"/workflows/{identity}/cancel", token=stack.tokens["stranger"])
        tap.equal((status, body["code"]), (404, "NOT_FOUND"), "somebody else's workflow does not exist")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Workflows are cancelled, resumed, forked, restarted, rewound and deleted by all three faces."""

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

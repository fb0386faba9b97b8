#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An agent that is a DBOS application: from alice's WebSocket to a TypeScript workflow and back."""

import os
import subprocess
import sys

import node
from stack import Stack, skip_without_stack, wait
from tap import Tap

SCHEMA = "dbos_system"


class Neighbour:
    """The application, a process that can be killed."""

    def __init__(self, stack):
        self.process = subprocess.Popen(
            ["node", os.path.join(node.SOURCE, "tests/interop/neighbour.mjs"),
             stack.env["DATABASE_URL"], SCHEMA],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=dict(os.environ, NODE_MODULES_DIR=node.modules()),
        )  # fmt: skip
        line = self.process.stdout.readline().strip()
        assert line == "launched", f"the neighbour says {line!r}"

    def kill(self):
        self.process.kill()
        self.process.wait()


def send(alice, to, content, key):
    sent = alice.request(
        "agent.send", {"sessionKey": f"agent:{to}:main", "message": content, "idempotencyKey": key}
    )
    return sent["workflowUuid"]


def ended(alice, identity):
    def look():
        answer = alice.request("workflow.status", {"workflowUuid": identity})
        return answer if answer["status"] in ("SUCCESS", "ERROR") else None

    return wait(look, f"{identity} ends", 30)


def main():
    skip_without_stack()
    node.skip_without(node.SDK)
    tap = Tap()
    with Stack() as stack:
        for name, workflow in (("otto", "answer"), ("grump", "refuse")):
            made = stack.ctl("agent", "add", name, "--dbos-queue", "neighbour-queue",
                             "--dbos-workflow", workflow, "--application", "neighbour")  # fmt: skip
            tap.equal(made.returncode, 0, f"gatewayctl agent add {name} --dbos-queue")
        half = stack.ctl("agent", "add", "half", "--dbos-queue", "neighbour-queue")
        tap.equal(half.returncode, 64, "a queue without a workflow is refused")
        neighbour = Neighbour(stack)
        with stack.connect("alice") as alice:
            answer = ended(alice, send(alice, "otto", "hello", "b-1"))
            output = answer["output"]
            tap.equal(
                (output["status"], output["response"]),
                ("acknowledged", {"heard": "hello", "from": "alice"}),
                "from a WebSocket to a TypeScript workflow, and its result back",
            )
            answer = ended(alice, send(alice, "grump", "hello", "b-2"))
            tap.equal(
                (answer["status"], answer["error"]["code"], "not today" in answer["error"]["message"]),
                ("ERROR", "DEAD_LETTER", True),
                "one that fails makes a dead letter",
            )
            identity = send(alice, "otto", "again", "b-3")
            steps = f"select count(*) from {SCHEMA}.operation_outputs where workflow_uuid = '{identity}/dbos'"
            wait(lambda: stack.value(steps) != "0", "the workflow is under way")
            neighbour.kill()
            later = send(alice, "otto", "later", "b-4")
            neighbour = Neighbour(stack)
            answers = [ended(alice, each)["output"] for each in (identity, later)]
            tap.equal(
                [answer["response"]["heard"] for answer in answers],
                ["again", "later"],
                "killed and started again in between, nothing is lost",
            )
            tap.equal([answer["deliveryAttempts"] for answer in answers], [1, 1], "and nothing is sent twice")
        neighbour.kill()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The official clients, unmodified, against the whole stack.

@openclaw/gateway-client asks an agent and is the agent; every frame of a session that exercises all
methods is judged by the JSON schema of @openclaw/gateway-protocol; @dbos-inc/dbos-sdk reads the
messages that the gateway carried, and sends to an agent.
"""

import json
import os
import signal
import subprocess
import sys

import node
from stack import Stack, skip_without_stack, wait
from tap import Tap, skip_all

NODE_MINIMUM = (22, 19)
CLIENT = "@openclaw/gateway-client"
PROTOCOL = "@openclaw/gateway-protocol"
TICK_MS = 500


def decoded(result):
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"error": f"{result.stdout}\n{result.stderr}"}
    return json.loads(lines[-1])


def check_client(tap, stack):
    seen = decoded(
        node.run(
            "tests/e2e/official/client.mjs",
            stack.ws_url, stack.tokens["alice"], stack.tokens["bob"],
        )
    )  # fmt: skip
    if not tap.ok("error" not in seen, f"{CLIENT}: a round trip", seen.get("error")):
        return
    tap.equal(seen["protocol"], 4, "it connects with protocol 4")
    tap.equal(seen["health"].get("ok"), True, "health is ok")
    tap.equal(
        (seen["status"], seen["presence"], seen["config"]),
        ("object", True, {}),
        "status, presence and config are there",
    )
    tap.ok({"alice", "bob"} <= set(seen["agents"]), "the agents are listed", seen["agents"])
    tap.equal(
        seen["unknown"],
        {"code": "INVALID_REQUEST", "message": "unknown method: no.such.method"},
        "an unknown method is refused in the official words",
    )
    tap.equal(seen["accepted"]["status"], "accepted", "agent: accepted comes first")
    tap.equal(
        (seen["final"]["status"], seen["final"]["runId"]),
        ("ok", seen["accepted"]["runId"]),
        "then the final answer of the same run",
    )
    tap.equal(
        seen["final"]["result"]["payloads"],
        [{"text": 'heard: "what is up?"', "mediaUrl": None}],
        "with what the other client answered",
    )
    tap.equal(seen["waited"]["status"], "ok", "agent.wait knows it, too")
    tap.equal(
        (seen["repeated"]["status"], seen["repeated"]["runId"]),
        ("ok", seen["final"]["runId"]),
        "a repeat gets the same answer",
    )
    tap.equal(
        [d["content"] for d in seen["deliveries"]],
        ["what is up?", "and this?"],
        "each message was delivered once",
    )
    tap.equal(seen["sent"]["status"], "queued", "send says what is true: queued")
    tap.equal([len(a["acked"]) for a in seen["acks"]], [1, 1], "and each was acknowledged")
    tap.ok(
        "connected" not in str(seen["refused"]), "a wrong token does not connect", seen["refused"]
    )


def check_frames(tap, stack):
    script = os.path.join(node.SOURCE, "tests/e2e/official/frames.mjs")
    process = subprocess.Popen(
        ["node", script, stack.ws_url, stack.tokens["alice"], stack.tokens["bob"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=dict(os.environ, NODE_MODULES_DIR=node.modules()),
    )
    line = process.stdout.readline()
    if line.strip() == "READY":
        for pid in stack.sessions():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass  # a session of before that has just ended
        line = process.stdout.readline()
    process.wait(30)
    seen = json.loads(line or "{}")
    tap.ok("error" not in seen and seen, "a session that exercises all methods", seen.get("error"))
    faults = seen.get("faults", [])
    tap.equal(faults, [], f"every frame validates against {PROTOCOL}")
    frames = seen.get("frames", {})
    tap.equal(
        seen.get("refused"), "AUTH_TOKEN_MISMATCH", "a wrong token is refused in the official words"
    )
    for name in (
        "event connect.challenge",
        "event tick",
        "event shutdown",
        "event inbox.message",
        "res connect",
        "res agents.list",
        "res inbox.nack",
        "res no.such.method",
    ):
        tap.ok(frames.get(name), f"among them: {name}", frames)


def check_dbos(tap, stack):
    with stack.connect("bob") as bob:
        bob.request("inbox.subscribe", {"inbox": "bob"})
        for key, act in (("d1", "inbox.ack"), ("d2", "inbox.nack")):
            answer = stack.http(
                "POST", "/messages", {"id": key, "to": "bob", "content": key}, token=stack.tokens["alice"],
                headers={"Prefer": "respond-async"},
            )  # fmt: skip
            assert answer[0] == 202, answer
            delivery = bob.event("inbox.message")["deliveryId"]
            if act == "inbox.ack":
                bob.request(act, {"deliveryIds": [delivery], "result": "well"})
            else:
                bob.request(act, {"deliveryId": delivery, "requeue": False, "reason": "no"})
    with stack.connect("alice") as alice:
        alice.request("inbox.subscribe", {"inbox": "alice"})
        seen = decoded(
            node.run(
                "tests/e2e/official/dbos.mjs", stack.env["DATABASE_URL"], "alice:d1", "alice:d2"
            )
        )
        if not tap.ok("error" not in seen, f"{node.SDK}: reads what we wrote", seen.get("error")):
            return
        workflow = seen["workflow"]
        tap.equal(
            (workflow["status"], workflow["name"], workflow["user"], workflow["application"]),
            ("SUCCESS", "routeAgentMessage", "alice", "openclaw-gateway"), "getWorkflow",
        )  # fmt: skip
        result = seen["result"]
        tap.equal(
            (result["messageId"], result["status"], result["response"]),
            ("d1", "acknowledged", "well"),
            "getResult",
        )
        tap.equal(
            [(s["functionID"], s["name"]) for s in seen["steps"]],
            [(0, "validateMessage"), (1, "storeMessage"), (2, "routeMessage")], "listWorkflowSteps",
        )  # fmt: skip
        tap.ok(seen["accepted"] and seen["acknowledged"], "getEvent: accepted, acknowledged", seen)
        tap.ok(
            "DEAD_LETTER" in json.dumps(seen["failure"]),
            "getResult of a dead letter rejects, and says why",
            seen["failure"],
        )
        tap.equal(sorted(seen["listed"]), ["ERROR", "SUCCESS"], "listWorkflows")
        tap.ok(
            "carol" in json.dumps(seen["provisioned"]),
            "a workflow of ours that it enqueues is run",
            seen["provisioned"],
        )
        contents = []
        for _ in range(3):
            message = alice.event("inbox.message")
            contents.append(message["content"])
            answer = alice.request("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
            tap.equal(
                answer["acked"],
                [message["deliveryId"]],
                f"its message {len(contents)} is acknowledged",
            )
        texts = [c.get("text") if isinstance(c, dict) else c for c in contents]
        tap.equal(
            texts,
            ["portable", "native", "twice"],
            "what DBOSClient.send sends reaches the agent, once and in order",
        )
    left = stack.value("select count(*) from openclaw.inbox where state in ('ready', 'leased')")
    tap.equal(left, "0", "nothing is left over")


def main():
    skip_without_stack()
    node.skip_without(node.SDK, CLIENT, PROTOCOL, "ajv", "ws")
    version = subprocess.run(["node", "--version"], capture_output=True, encoding="utf-8").stdout
    if tuple(int(n) for n in version.strip().lstrip("v").split(".")[:2]) < NODE_MINIMUM:
        skip_all(f"node {version.strip()} is older than 22.19, which {CLIENT} wants")
    tap = Tap()
    with Stack({"TICK_INTERVAL_MS": TICK_MS}) as stack:
        wait(lambda: stack.http("GET", "/readyz")[0] == 200, "the gateway is ready")
        for check in (check_client, check_dbos, check_frames):
            try:
                check(tap, stack)
            except Exception as error:  # each is a test of its own; the others go on
                tap.ok(False, f"{check.__name__} comes to its end", repr(error))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

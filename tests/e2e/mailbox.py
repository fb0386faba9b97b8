#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What DBOS clients send to an agent arrives at its live WebSocket as what the gateway's own do.

The official client and psql send; acknowledgement, redelivery and order are the same. What the client
cancels is withdrawn.
"""

import json
import os
import signal
import subprocess
import sys

import node
from stack import Stack, skip_without_stack, wait
from tap import Tap

PORTABLE = {"serializationType": "portable"}


class Dbos:
    """The official client, a process."""

    def __init__(self, url):
        self.process = subprocess.Popen(
            ["node", os.path.join(node.SOURCE, "tests/e2e/official/mailbox.mjs"), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=dict(os.environ, NODE_MODULES_DIR=node.modules()),
        )

    def __call__(self, method, *arguments):
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def psql(stack, to, content, identity=None):
    named = f", message_id => '{identity}'" if identity else ""
    stack.execute(f"select dbos_system.send_message('{to}', '{json.dumps(content)}'::json{named})")


def text(message):
    content = message["content"]
    return content["n"] if isinstance(content, dict) else content


def take(agent, count):
    return [agent.event("inbox.message") for _ in range(count)]


def ack(agent, *messages):
    return agent.request("inbox.ack", {"deliveryIds": [m["deliveryId"] for m in messages]})


def live(stack):
    return stack.value("select count(*) from openclaw.inbox where state in ('ready', 'leased')")


def check_order(tap, stack, dbos, alice):
    for n in range(30):
        if n % 3 == 0:
            dbos("send", "agent:alice", {"n": n}, None, None, PORTABLE)
        elif n % 3 == 1:
            dbos("send", "agent:alice", {"n": n})
        else:
            psql(stack, "agent:alice", {"n": n})
    messages = []
    while len(messages) < 30:
        [message] = take(alice, 1)
        messages.append(message)
        answer = ack(alice, message)
        if answer["acked"] != [message["deliveryId"]]:
            tap.equal(answer["acked"], [message["deliveryId"]], "acknowledged")
    tap.equal([text(m) for m in messages], list(range(30)), "portable, native, by psql: in the order in which they were sent")
    tap.equal({m["from"] for m in messages}, {"dbos"}, "from dbos")
    tap.equal({(m["attempt"], m["redelivered"]) for m in messages}, {(1, False)}, "each once")
    wait(lambda: live(stack) == "0", "all are settled")
    unread = stack.value(
        "select count(*) from dbos_system.notifications where destination_uuid = 'agent:alice' and not consumed"
    )
    tap.equal(unread, "0", "what is acknowledged is consumed")


def check_once(tap, stack, dbos, alice):
    for _ in range(2):
        dbos("send", "agent:alice", {"n": "key"}, None, "once", PORTABLE)
        psql(stack, "agent:alice", {"n": "id"}, "once-by-psql")
    dbos("send", "agent:alice", {"n": "last"}, None, None, PORTABLE)
    messages = []
    for _ in range(3):
        messages += take(alice, 1)
        ack(alice, messages[-1])
    tap.equal([text(m) for m in messages], ["key", "id", "last"], "under one key, or id, once")
    answer = dbos("send", "agent:nobody", "hello", None, None, PORTABLE)
    tap.equal(answer.get("error"), "DBOSNonExistentWorkflowError", "to no agent: the client is told")
    try:
        psql(stack, "agent:nobody", "hello")
        told = ""
    except subprocess.CalledProcessError as error:
        told = error.stderr
    except Exception as error:  # whatever the stack raises, it has psql's words
        told = str(error)
    tap.ok("DBOS non-existent workflow" in told, "so is psql", told)


def nested(depth):
    return json.loads("[" * depth + "1" + "]" * depth)


def deep(depth):
    return "[" * depth + "1" + "]" * depth


def check_values(tap, stack, dbos, alice):
    """What JSON can say and an int64, PostgreSQL's jsonb or UTF-8 cannot hold."""
    plain = {}
    cases = [
        (1e20, 10**20, plain),
        ({"n": 2**64}, {"n": 18446744073709552000}, plain),
        (5e-324, 5e-324, plain),
        ("a\0b", "a\ufffdb", plain),
        ({"a\0": "\ud800"}, {"a\ufffd": "\ufffd"}, plain),
        (nested(200), nested(200), plain),
        (nested(600), deep(600), {"serialization": "portable_json"}),
    ]
    for value, content, metadata in cases:
        for options in ([], [None, None, PORTABLE]):
            dbos("send", "agent:alice", value, *options)
            [message] = take(alice, 1)
            way = "portable" if options else "native"
            tap.equal((message["content"], message["metadata"]), (content, metadata), f"{way} {ascii(value)[:30]} arrives")
            ack(alice, message)
    stack.execute("select dbos_system.send_message('agent:alice', '[12345678901234567000]'::json)")
    [message] = take(alice, 1)
    tap.equal(message["content"], [12345678901234567000], "by psql, digit by digit")
    ack(alice, message)
    queued = {
        "queueName": "openclaw", "workflowName": "routeAgentMessage", "applicationName": "openclaw-gateway",
    }  # fmt: skip
    for value, content, _ in cases[:6]:
        for method, envelope in (("enqueuePortable", True), ("enqueue", False)):
            given = {"from": "ts", "to": "alice", "content": value}
            identity = dbos(method, queued, *([[given]] if envelope else [given]))["result"]
            [message] = take(alice, 1)
            tap.equal(message["content"], content, f"{method} with {ascii(value)[:30]} arrives")
            ack(alice, message)
            answer = dbos("result", identity)
            tap.ok("acknowledged" in str(answer), "and is answered", answer)


def check_redelivery(tap, stack, dbos):
    with stack.connect("alice") as alice:
        alice.request("inbox.subscribe", {"inbox": "alice"})
        dbos("send", "agent:alice", {"n": "again"}, None, None, PORTABLE)
        [first] = take(alice, 1)
        alice.request("inbox.nack", {"deliveryId": first["deliveryId"], "requeue": True, "delayMs": 0})
        [second] = take(alice, 1)
        tap.equal(
            (second["messageId"], second["attempt"], second["redelivered"]),
            (first["messageId"], 2, True),
            "refused for now it comes again, under its id, and says so",
        )
        answer = alice.request("inbox.ack", {"deliveryIds": [first["deliveryId"]]})
        tap.equal(answer["acked"], [], "the former delivery cannot be acknowledged")
        for pid in stack.sessions():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    with stack.connect("alice") as alice:
        alice.request("inbox.subscribe", {"inbox": "alice"})
        [third] = take(alice, 1)
        tap.equal(
            (third["messageId"], third["attempt"] >= 2, third["redelivered"]),
            (first["messageId"], True, True),
            "its session killed, it comes again",
        )
        ack(alice, third)
        dbos("send", "agent:alice", {"n": "after"}, None, None, PORTABLE)
        [after] = take(alice, 1)
        tap.equal(text(after), "after", "acknowledged it does not")
        refused = alice.request("inbox.nack", {"deliveryId": after["deliveryId"], "requeue": False, "reason": "no"})
        tap.ok(refused is not None, "refused for good")
    dead = stack.value("select count(*) from openclaw.inbox where state = 'dead' and sender = 'dbos'")
    tap.equal(dead, "1", "it is a dead letter")


def check_cancel(tap, stack, dbos):
    def carry(identity):
        queued = {
            "queueName": "openclaw", "workflowName": "routeAgentMessage", "workflowID": identity,
            "applicationName": "openclaw-gateway",
        }  # fmt: skip
        dbos("enqueuePortable", queued, [{"from": "ts", "to": "bob", "content": identity}])
        wait(lambda: state(identity) == "ready", f"{identity} is in bob's inbox")

    def state(identity):
        return stack.value(
            f"select coalesce((select state from openclaw.inbox where message_uuid = '{identity}'), 'none')"
        )

    carry("first")
    carry("second")
    carry("third")
    dbos("cancelWorkflow", "first")
    wait(lambda: state("first") == "withdrawn", "the first is withdrawn")
    tap.ok(True, "a message whose workflow the client cancels is withdrawn, though nobody asks for it")
    dbos("deleteWorkflow", "second")
    wait(lambda: state("second") == "withdrawn", "the second is withdrawn")
    tap.ok(True, "one whose workflow it deletes, too")
    with stack.connect("bob") as bob:
        bob.request("inbox.subscribe", {"inbox": "bob"})
        [message] = take(bob, 1)
        tap.equal(message["content"], "third", "and not delivered")
        bob.request("inbox.ack", {"deliveryIds": [message["deliveryId"]], "result": {"ok": True}})
    answer = dbos("result", "third")["result"]
    tap.equal((answer["status"], answer["response"]), ("acknowledged", {"ok": True}), "the client has the answer of another")
    tap.equal(dbos("result", "first").get("error"), "DBOSAwaitedWorkflowCancelledError", "and hears that it was cancelled")


def main():
    skip_without_stack()
    node.skip_without(node.SDK)
    tap = Tap()
    with Stack() as stack:
        dbos = Dbos(stack.env["DATABASE_URL"])
        with stack.connect("alice") as alice:
            alice.request("inbox.subscribe", {"inbox": "alice"})
            check_order(tap, stack, dbos, alice)
            check_once(tap, stack, dbos, alice)
            check_values(tap, stack, dbos, alice)
        check_redelivery(tap, stack, dbos)
        check_cancel(tap, stack, dbos)
        dbos.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

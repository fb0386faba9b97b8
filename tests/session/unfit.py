#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is longer than a frame may be (1 MiB): a DBOS client's message, and the reply of an application that carries one."""

import sys

from sessions import Refused, World, message
from tap import Tap

ESCAPED = 200_000  # control characters, six bytes each in a frame
LONG = 600_000  # of a reply, which is a text within a text


def dbos_sends(world, key, sql):
    """As DBOSClient.send does, with a serializer of its own."""
    world.sql(
        "insert into dbos_system.notifications (destination_uuid, topic, message, message_uuid, serialization)"
        f" values ('agent:bob', '__null__topic__', {sql}, '{key}', 'mine')"
    )


def dead(world, key):
    return world.value(f"select state || ': ' || coalesce(reason, '') from openclaw.inbox where message_uuid = '{key}'")


def check_messages(tap, world):
    dbos_sends(world, "unfit1", f"repeat(chr(1), {ESCAPED})")
    dbos_sends(world, "after1", "'after'")
    with world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        delivery = bob.event("inbox.message")
        tap.equal(delivery["content"], "after", "what cannot be put out holds nothing up")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
        bob.call("ping")
        tap.equal(
            dead(world, "unfit1"), "dead: it is too long for a frame of a WebSocket", "it is a dead letter, and says why"
        )
        dbos_sends(world, "fits", f"repeat(chr(1), {ESCAPED * 3 // 4})")
        delivery = bob.event("inbox.message")
        tap.equal(len(delivery["content"]), ESCAPED * 3 // 4, "a message that does fit is delivered")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    with world.connect("bob") as bob:
        dbos_sends(world, "unfit2", f"repeat(chr(1), {ESCAPED})")
        dbos_sends(world, "after2", "'after'")
        pulled = []
        while not pulled or pulled[-1]["messageId"] != "after2":
            pulled += bob.call("inbox.pull", {"inbox": "bob", "max": 5, "waitMs": 5000})["messages"]
        tap.equal([m["messageId"] for m in pulled], ["after2"], "nor what is pulled")
        bob.call("inbox.ack", {"deliveryIds": [m["deliveryId"] for m in pulled]})
        tap.equal(dead(world, "unfit2").split(":")[0], "dead", "a dead letter as well")


def reply(world, key, length):
    """The acknowledgement of an application that carries the message."""
    world.sql(
        "select a.outcome from openclaw.inbox i, openclaw.inbox_ack('openclaw-gateway', false, array[i.agent_id],"
        f" array[i.inbox_seq], array[i.delivery_id], array['\"' || repeat('x', {length}) || '\"']) a"
        f" where i.message_uuid = 'alice:{key}'"
    )


def check_replies(tap, world):
    with world.connect("alice") as alice:
        alice.call("send", message("bob", "question", "told"))
        waits = alice.request("agent.send", {
            "sessionKey": "agent:bob:main", "message": "question", "idempotencyKey": "waited", "timeout": 60,
        })  # fmt: skip
        other = alice.request("agent.send", {
            "sessionKey": "agent:bob:main", "message": "question", "idempotencyKey": "other", "timeout": 60,
        })  # fmt: skip
        for request in (waits, other):
            tap.equal(alice.answer(request)["status"], "accepted", "a question")
        world.sql("select * from openclaw.inbox_claim('bob', 'application', null, null, 9, 600000)")
        for key in ("told", "waited"):
            reply(world, key, LONG)
        event = alice.event("message.acknowledged", 30)
        tap.equal(
            ("response" in event, "GET /workflows/" in event["reason"]),
            (False, True),
            f"of a reply of {LONG} bytes the sender is told, and where it is to be had",
        )
        answer = alice.answer(waits)
        tap.ok("GET /workflows/" in answer["response"], "who waits for it as well")
        reply(world, "other", 10)
        tap.equal(alice.answer(other)["response"], "x" * 10, "other requests on the connection are answered")
        waited = alice.call("agent.wait", {"runId": "waited"})
        tap.equal(
            (waited["status"], "GET /workflows/" in waited["response"], "response" in waited["result"]),
            ("ok", True, False),
            "who asks later is told",
        )
        alice.call("send", message("bob", "question", "longer"))
        world.sql("select * from openclaw.inbox_claim('bob', 'application', null, null, 9, 600000)")
        reply(world, "longer", 2 * LONG)
        try:
            alice.call("workflow.status", {"workflowUuid": "alice:longer"})
            tap.ok(False, "else it is an answer that is too long")
        except Refused as refusal:
            tap.equal(refusal.code, "TOO_LARGE", "else it is an answer that is too long")
        status = alice.call("workflow.status", {"workflowUuid": "alice:waited"})
        tap.equal(len(status["output"]["response"]), LONG, "its workflow has it, where that fits")
        again = alice.call("send", message("bob", "question", "waited"))
        tap.equal((again["duplicate"], again["status"]), (True, "acknowledged"), "and the connection goes on")


def main():
    tap = Tap()
    with World() as world:
        check_messages(tap, world)
        check_replies(tap, world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

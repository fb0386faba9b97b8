#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Receiving: order, acknowledgement, refusal, leases, fencing, pulling, and the end of a
connection in all its ways."""

import signal
import sys
import time

from sessions import Refused, World, message
from tap import Tap


def send(alice, text, key, to="bob", **more):
    return alice.call("send", message(to, text, key, **more))


def ack(session, delivery, **more):
    return session.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], **more})


def state(world, key):
    return world.value(f"select state from openclaw.inbox where message_uuid = 'alice:{key}'")


def check_deliver(tap, world, alice):
    send(alice, "early", "d0")
    with world.connect("bob") as bob:
        answer = bob.call("inbox.subscribe", {"inbox": "bob"})
        tap.equal(
            (answer["inbox"], answer["pending"], answer["inFlight"]), ("bob", 1, 0), "subscribe"
        )
        tap.ok(answer["epoch"] > 0 and answer["consumerId"], "with its epoch")
        first = bob.event("inbox.message")
        tap.equal(
            (first["messageId"], first["content"], first["from"], first["to"], first["attempt"]),
            ("d0", "early", "alice", "bob", 1),
            "what waited comes at once",
        )
        for field in ("inboxSeq", "maxAttempts", "enqueuedAt", "expiresAt", "leaseExpiresAt"):
            tap.ok(isinstance(first[field], int), f"{field} is a number")
        tap.equal(
            (first["redelivered"], first["workflowUuid"]), (False, "alice:d0"), "its workflow"
        )
        send(alice, "second", "d1")
        tap.ok(bob.nothing("inbox.message", 0.5), "one in flight is the default")
        time.sleep(0.1)
        tap.equal(
            world.value("select handed::text from openclaw.inbox where message_uuid = 'alice:d0'"),
            "true",
            "that it was handed over is noted",
        )
        tap.equal(ack(bob, first)["acked"], [first["deliveryId"]], "acknowledged")
        tap.equal(state(world, "d0"), "acked", "in the database")
        begun = time.monotonic()
        second = bob.event("inbox.message")
        tap.equal(second["messageId"], "d1", "then the next")
        tap.ok(time.monotonic() - begun < 15, "at once")
        answer = ack(bob, first)
        tap.equal(
            (answer["acked"], answer["already"]), ([], [first["deliveryId"]]), "twice: already"
        )
        answer = bob.call(
            "inbox.ack", {"deliveryIds": ["999999.ff", "garbage", second["deliveryId"] + "0"]}
        )
        tap.equal(len(answer["stale"]), 3, "what is no delivery is stale")
        with world.connect("carol") as carol:
            answer = ack(carol, second)
            tap.equal(answer["stale"], [second["deliveryId"]], "so is another's")
            try:
                carol.call("inbox.nack", {"deliveryId": second["deliveryId"]})
                tap.ok(False, "another's delivery cannot be refused")
            except Refused as refusal:
                tap.equal(refusal.code, "STALE", "another's delivery cannot be refused")
        for identity in ("ack1", "ack2"):
            bob.request("inbox.ack", {"deliveryIds": [second["deliveryId"]] * 2}, identity)
        one, two = bob.answer("ack1"), bob.answer("ack2")
        tap.equal(
            (one["acked"], one["already"], two["acked"], two["already"]),
            ([second["deliveryId"]], [second["deliveryId"]], [], [second["deliveryId"]] * 2),
            "the owner's counts, once however often it is said",
        )
        begun = time.monotonic()
        send(alice, "third", "d2")
        third = bob.event("inbox.message")
        took = time.monotonic() - begun
        tap.ok(took < 15, f"a message is pushed: {took * 1000:.1f} ms after it was sent")
        answer = bob.call("inbox.unsubscribe", {"inbox": "bob"})
        tap.equal(answer, {"inbox": "bob", "unsubscribed": True}, "unsubscribe says so")
        tap.equal(state(world, "d2"), "ready", "and gives back")
        answer = bob.call("inbox.unsubscribe", {"inbox": "bob"})
        tap.equal(answer["unsubscribed"], False, "where there is no subscription none is ended")
        send(alice, "fourth", "d3")
        tap.ok(bob.nothing("inbox.message", 0.5), "and nothing more comes")
        tap.equal(ack(bob, third)["stale"], [third["deliveryId"]], "its deliveries are stale")


def check_redelivery(tap, world, alice):
    with world.connect("bob", {"RETRY_BASE_MS": 50}) as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        first = bob.event("inbox.message")
        tap.equal((first["messageId"], first["redelivered"]), ("d2", True), "what was given back")
        begun = time.monotonic()
        answer = bob.call("inbox.nack", {"deliveryId": first["deliveryId"], "delayMs": 600})
        tap.equal(
            (answer["status"], answer["attempt"]),
            ("requeued", 2),
            "nack with a delay",
        )
        again = bob.event("inbox.message")
        tap.equal(again["messageId"], "d2", "holds the line")
        tap.ok(0.55 < time.monotonic() - begun < 15, f"for {time.monotonic() - begun:.2f} s")
        tap.equal((again["attempt"], again["redelivered"]), (3, True), "and is another attempt")
        tap.ok(again["deliveryId"] != first["deliveryId"], "with an id of its own")
        bob.call("inbox.nack", {"deliveryId": again["deliveryId"]})
        again = bob.event("inbox.message")
        tap.equal((again["messageId"], again["attempt"]), ("d2", 4), "nack with backoff")
        answer = bob.call(
            "inbox.nack", {"deliveryId": again["deliveryId"], "requeue": False, "reason": "bad"}
        )
        tap.equal(answer["status"], "dead", "nack to a dead letter")
        tap.equal(state(world, "d2"), "dead", "is one")
        fourth = bob.event("inbox.message")
        tap.equal(fourth["messageId"], "d3", "and the line goes on")
        answer = bob.call("inbox.extend", {"deliveryIds": [fourth["deliveryId"]], "leaseMs": 60000})
        tap.ok(answer["leaseExpiresAt"] > fourth["leaseExpiresAt"] + 20000, "extend")
        ack(bob, fourth)
        send(alice, "poison", "poison")
        poison = bob.event("inbox.message")
        bob.leave()
    tap.equal(
        world.value("select attempt from openclaw.inbox where message_uuid = 'alice:poison'"),
        "1",
        "an attempt counts although the recipient left at once",
    )
    with world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        poison = bob.event("inbox.message")
        tap.equal(poison["attempt"], 2, "and the next is another")
        ack(bob, poison)
        stats = bob.call("inbox.stats", {"inbox": "bob"})
        tap.equal((stats["depth"], stats["inFlight"], stats["dead"]), (0, 0, 1), "stats")


def check_window(tap, world, alice):
    total = 300
    for i in range(total):
        alice.request("send", message("bob", f"w{i}", f"w{i}"))
    for i in range(total):
        alice.take(lambda f: f.get("type") == "res", timeout=20)
    with world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10})
        got = [bob.event("inbox.message") for _ in range(10)]
        tap.ok(bob.nothing("inbox.message", 0.3), "ten in flight and no more")
        seen = []
        while got:
            seen += [d["content"] for d in got]
            bob.call("inbox.ack", {"deliveryIds": [d["deliveryId"] for d in got]})
            got = []
            while len(seen) + len(got) < total and len(got) < 10:
                got.append(bob.event("inbox.message"))
        tap.equal(seen, [f"w{i}" for i in range(total)], "all of them, in order")
        log = [line for line in bob.log() if line["level"] in ("warn", "error")]
        tap.equal(log, [], "without a word of complaint")


def check_fencing(tap, world, alice):
    with world.connect("bob") as old, world.connect("bob") as new:
        before = old.call("inbox.subscribe", {"inbox": "bob"})
        send(alice, "fence", "f1")
        held = old.event("inbox.message")
        begun = time.monotonic()
        after = new.call("inbox.subscribe", {"inbox": "bob"})
        tap.ok(after["epoch"] > before["epoch"], "a newer subscriber has a higher epoch")
        fenced = old.event("inbox.fenced")
        tap.ok(time.monotonic() - begun < 15, "the older is told at once")
        tap.equal((fenced["inbox"], fenced["epoch"]), ("bob", before["epoch"]), "which it lost")
        delivery = new.event("inbox.message")
        tap.equal(delivery["messageId"], "f1", "what it held goes to the newer")
        tap.equal(ack(old, held)["stale"], [held["deliveryId"]], "its acknowledgement is stale")
        tap.equal(ack(new, delivery)["acked"], [delivery["deliveryId"]], "the newer's counts")
        send(alice, "after", "f2")
        tap.ok(old.nothing("inbox.message", 0.3), "nothing comes to the older")
        delivery = new.event("inbox.message")
        old.call("inbox.subscribe", {"inbox": "bob"})
        new.event("inbox.fenced")
        delivery = old.event("inbox.message")
        tap.equal(delivery["messageId"], "f2", "it may take the inbox back")
        ack(old, delivery)
    with world.connect("bob") as one, world.connect("bob") as two:
        one.call("inbox.subscribe", {"inbox": "bob", "exclusive": False})
        two.call("inbox.subscribe", {"inbox": "bob", "exclusive": False})
        tap.ok(one.nothing("inbox.fenced", 0.3), "shared subscriptions live side by side")
        for i in range(2):
            send(alice, "shared", f"f{3 + i}")
        deliveries = [one.event("inbox.message"), two.event("inbox.message")]
        tap.ok(
            deliveries[0]["messageId"] != deliveries[1]["messageId"],
            "each gets messages of its own",
        )
        ack(one, deliveries[0])
        ack(two, deliveries[1])


def check_ends(tap, world, alice):
    """Nobody sweeps here: what is ready again was given back by the session itself."""

    def held(name, key):
        session = world.connect("bob")
        session.call("inbox.subscribe", {"inbox": "bob"})
        delivery = session.event("inbox.message")
        if delivery["messageId"] != key:
            tap.ok(False, f"{name}: {delivery['messageId']} came")
        return session, delivery

    for round_, (name, end) in enumerate(
        (
            ("standard input ends", lambda s: s.process.stdin.close()),
            ("SIGTERM", lambda s: s.process.send_signal(signal.SIGTERM)),
            ("SIGINT", lambda s: s.process.send_signal(signal.SIGINT)),
            ("output closed", lambda s: (s.process.stdout.close(), s.send_later())),
        )
    ):
        key = f"e{round_}"
        send(alice, "x", key)
        session, delivery = held(name, key)
        session.send_later = (
            lambda s=session: s.process.stdin.write(b'{"type":"req","id":"z","method":"ping"}\n')
            and s.process.stdin.flush()
        )
        begun = time.monotonic()
        end(session)
        if name.startswith("SIG"):
            session.event("shutdown")
            session.wait(5)
        tap.equal(session.process.wait(5), 0, f"{name}: exit 0")
        took = time.monotonic() - begun
        tap.ok(took < 15, f"{name}: within {took * 1000:.0f} ms")
        tap.equal(state(world, key), "ready", f"{name}: what it held is ready again")
        ended = world.value("select count(*) from openclaw.subscription where agent_id = 'bob'")
        tap.equal(ended, "0", f"{name}: its subscription is gone")
        session.close()
        with world.connect("bob") as bob:
            bob.call("inbox.subscribe", {"inbox": "bob"})
            again = bob.event("inbox.message")
            tap.equal(
                (again["messageId"], again["redelivered"]), (key, True), f"{name}: the next has it"
            )
            ack(bob, again)


def check_pull(tap, world, alice):
    with world.connect("bob") as bob:
        begun = time.monotonic()
        tap.equal(bob.call("inbox.pull", {"inbox": "bob"}), {"messages": []}, "pull of nothing")
        identity = bob.request("inbox.pull", {"inbox": "bob", "max": 5, "waitMs": 5000})
        send(alice, "pulled", "p1")
        messages = bob.answer(identity)["messages"]
        tap.equal([m["messageId"] for m in messages], ["p1"], "a long pull gets what comes")
        tap.ok(time.monotonic() - begun < 15, "soon")
        tap.equal(ack(bob, messages[0])["acked"], [messages[0]["deliveryId"]], "to be acknowledged")
        send(alice, "left", "p2")
        # one that was killed may be handed it, and give it back only then
        pulled = bob.call("inbox.pull", {"inbox": "bob", "max": 5, "waitMs": 5000})["messages"]
        tap.equal(len(pulled), 1, "pulled")
        bob.leave()
    tap.equal(state(world, "p2"), "ready", "the end of the connection gives back")
    with world.connect("root") as root:
        root.call("inbox.subscribe", {"inbox": "bob"})
        delivery = root.event("inbox.message")
        tap.equal(ack(root, delivery)["acked"], [delivery["deliveryId"]], "an operator may read it")


def check_large(tap, world, alice):
    for i in range(5):
        send(alice, "x" * 400000, f"large{i}")
    with world.connect("bob") as bob:
        got, pulls = [], 0
        while len(got) < 5 and pulls < 10:
            pulls += 1
            messages = bob.call("inbox.pull", {"inbox": "bob", "max": 5})["messages"]
            got += messages
        tap.equal(
            [m["messageId"] for m in got], [f"large{i}" for i in range(5)], "large ones, pulled"
        )
        tap.ok(1 < pulls < 6, f"in answers of less than a MiB: {pulls}")
        answer = bob.call("inbox.ack", {"deliveryIds": [m["deliveryId"] for m in got]})
        tap.equal(len(answer["acked"]), 5, "all acknowledged")
        bob.call("inbox.subscribe", {"inbox": "bob"})
        identity = alice.request(
            "agent.send",
            {
                "sessionKey": "agent:bob:main",
                "message": "x" * 1040000,
                "idempotencyKey": "long",
                "timeout": 20,
            },
        )
        alice.answer(identity)
        delivery = bob.event("inbox.message")
        try:
            ack(bob, delivery, result="y" * 700000)
            tap.ok(False, "a reply that fits into no answer is refused")
        except Refused as refusal:
            tap.equal(refusal.code, "TOO_LARGE", "a reply that fits into no answer is refused")
        ack(bob, delivery, result='"' * 200000)
        final = alice.answer(identity)
        tap.equal(final["result"]["payloads"][0]["text"], '"' * 200000, "a long reply arrives once")
        tap.ok(len(final["response"]) < 100, "and is pointed to", final["response"][:200])
        try:
            send(alice, "x" * 1048000, "huge")
            tap.ok(False, "what would not fit into a delivery is refused")
        except Refused as refusal:
            tap.equal(refusal.code, "TOO_LARGE", "what would not fit into a delivery is refused")


def check_lease(tap, world, alice):
    with world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 1000})
        send(alice, "slow", "l1")
        delivery = bob.event("inbox.message")
        time.sleep(1.2)
        world.sql(
            "select * from openclaw.inbox_expire_leases('openclaw-gateway', true, 10, 20, 100)"
        )
        again = bob.event("inbox.message", 8)
        tap.equal(
            (again["messageId"], again["attempt"]),
            ("l1", 2),
            "a lease that ended: the next attempt",
        )
        tap.equal(ack(bob, delivery)["stale"], [delivery["deliveryId"]], "the former one is stale")
        tap.equal(ack(bob, again)["acked"], [again["deliveryId"]], "the current one counts")
    for params in (
        {"maxInFlight": 0},
        {"maxInFlight": 101},
        {"leaseMs": 10},
        {"leaseMs": "long"},
        {"inbox": "../bob"},
        {"inbox": 7},
    ):
        with world.connect("bob") as bob:
            try:
                bob.call("inbox.subscribe", {"inbox": "bob", **params})
                tap.ok(params == {"inbox": 7}, f"subscribe {params} is refused")
            except Refused as refusal:
                tap.equal(refusal.code, "INVALID_REQUEST", f"subscribe {params} is refused")


def main():
    tap = Tap()
    with World() as world:
        with world.connect("alice") as alice:
            check_deliver(tap, world, alice)
            check_redelivery(tap, world, alice)
            check_window(tap, world, alice)
            check_fencing(tap, world, alice)
            check_ends(tap, world, alice)
            check_pull(tap, world, alice)
            check_large(tap, world, alice)
            check_lease(tap, world, alice)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

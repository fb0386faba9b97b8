#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Delivered until acknowledged: leases, refusals, ends and crashes, in order, with the real sweeper."""

import os
import signal
import sys
import time

from stage import Refused, Stage, Task, eventually, message
from tap import Tap

tap = Tap()
ATTEMPTS = 3


def ack(session, *deliveries, **more):
    return session.call("inbox.ack", {"deliveryIds": [d["deliveryId"] for d in deliveries], **more})


def nack(session, delivery, **more):
    return session.call("inbox.nack", {"deliveryId": delivery["deliveryId"], **more})


def subscribe(session, **more):
    return session.call("inbox.subscribe", {"inbox": "bob", **more})


def take(session, count, timeout=10):
    return [session.event("inbox.message", timeout) for _ in range(count)]


def keys(deliveries):
    return [d["messageId"] for d in deliveries]


def leases(stage):
    with stage.connect("bob") as bob:
        subscribe(bob, leaseMs=1000)
        stage.accept("alice", "bob", "l1")
        first = bob.event("inbox.message")
        begun = time.monotonic()
        second = bob.event("inbox.message")
        took = time.monotonic() - begun
        tap.ok(0.8 < took < 15, f"a lease of 1 s without an answer ends: again after {took:.2f} s")
        tap.equal(
            (second["messageId"], second["attempt"], second["redelivered"], second["maxAttempts"]),
            ("l1", 2, True, ATTEMPTS),
            "as another attempt, which says that it is one",
        )
        tap.ok(second["deliveryId"] != first["deliveryId"], "with an id of its own")
        tap.equal(ack(bob, first)["stale"], [first["deliveryId"]], "the first delivery's acknowledgement is stale")
        bob.call("inbox.extend", {"deliveryIds": [second["deliveryId"]], "leaseMs": 3000})
        tap.ok(bob.nothing("inbox.message", 1.8), "a lease that is extended does not end")
        tap.equal(ack(bob, second)["acked"], [second["deliveryId"]], "and its delivery counts")

        stage.accept("alice", "bob", "l2")
        attempts = [d["attempt"] for d in take(bob, ATTEMPTS)]
        tap.equal(attempts, [1, 2, 3], "who never answers gets it as often as it may be tried")
        dead = eventually(lambda: stage.inbox("alice:l2")["state"] == "dead")
        tap.ok(dead, "then it is a dead letter")
        tap.ok(bob.nothing("inbox.message", 0.5), "and not delivered again")
        tap.equal(stage.workflow("alice:l2")["error"]["code"], "DEAD_LETTER", "its workflow says so")

    stage.accept("alice", "bob", "l3")
    [first] = stage.pull("bob", leaseMs=1000, wait=10)
    [second] = stage.pull("bob", wait=5)
    tap.equal((second["messageId"], second["attempt"]), ("l3", 2), "by HTTP the same")
    body = stage.ack("bob", first, second)
    tap.equal((body["acked"], body["stale"]), ([second["deliveryId"]], [first["deliveryId"]]), "with the same ends")


def not_handed(stage):
    """Leased, and lost before it was handed over: no attempt, however often."""
    stage.accept("alice", "bob", "n1")
    for _ in range(ATTEMPTS + 2):
        def claimed():
            return stage.value(
                "select count(*) from openclaw.inbox_claim('bob', 'nobody', null, null, 1, 20) c"
                " where c.inbox_seq is not null"
            ) == "1"
        assert eventually(claimed, pause=0.01)
    [delivery] = stage.pull("bob", wait=5)
    tap.equal(
        (delivery["attempt"], delivery["redelivered"]),
        (1, True),
        f"what was leased {ATTEMPTS + 2} times and never handed over has used up no attempt",
    )
    stage.ack("bob", delivery)


def ends(stage):
    """The connection ends, or its process is killed: the next one has it at once."""
    stage.accept("alice", "bob", "e1")
    bob = stage.connect("bob")
    subscribe(bob)
    bob.event("inbox.message")
    eventually(lambda: stage.inbox("alice:e1")["handed"] == "t")
    with stage.connect("bob") as waiting:
        bob.process.stdin.close()
        begun = time.monotonic()
        eventually(lambda: stage.inbox("alice:e1")["state"] == "ready", pause=0.005)
        took = time.monotonic() - begun
        tap.ok(took < 15, f"a connection that ends gives back at once: {took * 1000:.0f} ms")
        bob.wait()
        bob.close()
        subscribe(waiting)
        delivery = waiting.event("inbox.message")
        tap.equal((delivery["messageId"], delivery["attempt"]), ("e1", 2), "the next one has it")
        eventually(lambda: stage.inbox("alice:e1")["handed"] == "t")
        waiting.kill()
    begun = time.monotonic()
    [delivery] = stage.pull("bob", wait=10)
    took = time.monotonic() - begun
    tap.ok(took < 15, f"a session that is killed: redelivered after {took * 1000:.0f} ms")
    tap.equal((delivery["messageId"], delivery["attempt"]), ("e1", 3), "as the next attempt")
    stage.ack("bob", delivery)

    # while no sweeper lives nothing is lost, and the next one catches up
    stage.stop_sweeper()
    stage.accept("alice", "bob", "e2")
    bob = stage.connect("bob")
    subscribe(bob)
    bob.event("inbox.message")
    bob.kill()
    bob.close()
    tap.equal(stage.pull("bob", wait=1), [], "without a sweeper a killed session's message waits")
    stage.start_sweeper()
    [delivery] = stage.pull("bob", wait=10)
    tap.equal(delivery["messageId"], "e2", "until one comes")
    stage.ack("bob", delivery)


def zombie(stage):
    """Stopped beyond its lease, fenced, and woken: what it says counts nothing."""
    with stage.connect("bob") as old, stage.connect("bob") as new:
        subscribe(old, leaseMs=1000)
        stage.accept("alice", "bob", "z1")
        stage.accept("alice", "bob", "z2")
        first = old.event("inbox.message")
        os.kill(old.process.pid, signal.SIGSTOP)
        epoch = subscribe(new)["epoch"]
        delivery = new.event("inbox.message")
        tap.equal((delivery["messageId"], delivery["redelivered"]), ("z1", True), "a newer subscription takes over")
        os.kill(old.process.pid, signal.SIGCONT)
        event = old.event("inbox.fenced")
        tap.ok(event["epoch"] < epoch, "the older one learns it")
        tap.equal(ack(old, first)["stale"], [first["deliveryId"]], "its acknowledgement is stale")
        with tap.raises(Refused, "and its refusal", code="STALE"):
            nack(old, first)
        tap.equal(stage.inbox("alice:z1")["state"], "leased", "which changes nothing")
        tap.equal(ack(new, delivery)["acked"], [delivery["deliveryId"]], "the newer one's counts")
        second = new.event("inbox.message")
        tap.equal(second["messageId"], "z2", "and the line goes on there")
        ack(new, second)
        tap.ok(old.nothing("inbox.message", 0.3), "the older one gets nothing more")


def order(stage):
    with stage.connect("bob") as bob:
        subscribe(bob)
        for n in range(3):
            stage.accept("alice", "bob", f"a{n}")
            stage.accept("carol", "bob", f"c{n}")
        got = []
        refused = False
        while len(got) < 6:
            delivery = bob.event("inbox.message")
            if delivery["messageId"] == "a1" and not refused:
                refused = True
                nack(bob, delivery, delayMs=400)
                tap.ok(bob.nothing("inbox.message", 0.3), "one in flight: a refused head holds the line")
                continue
            got.append(delivery["messageId"])
            ack(bob, delivery)
        tap.equal(got, ["a0", "c0", "a1", "c1", "a2", "c2"], "which goes on in the order of acceptance")
        bob.call("inbox.unsubscribe", {"inbox": "bob"})

        for n in range(4):
            stage.accept("alice", "bob", f"A{n}")
        for n in range(3):
            stage.accept("carol", "bob", f"C{n}")
        subscribe(bob, maxInFlight=2)
        first, second = take(bob, 2)
        tap.equal(keys([first, second]), ["A0", "A1"], "two in flight")
        nack(bob, first, delayMs=700)
        ack(bob, second)
        others = take(bob, 2)
        ack(bob, *others)
        others += take(bob, 1)
        ack(bob, others[-1])
        tap.equal(keys(others), ["C0", "C1", "C2"], "a refused message holds its own sender's later ones, not others'")
        rest = []
        while len(rest) < 3:
            delivery = bob.event("inbox.message")
            rest.append(delivery)
            ack(bob, delivery)
        tap.equal(keys(rest), ["A0", "A2", "A3"], "which come behind it")

        # the head dies, and the line goes on
        subscribe(bob)
        for n in range(2):
            stage.accept("alice", "bob", f"h{n}")
        for _ in range(ATTEMPTS):
            delivery = bob.event("inbox.message")
            tap.equal(delivery["messageId"], "h0", f"attempt {delivery['attempt']}")
            answer = nack(bob, delivery, delayMs=0)
        tap.equal(answer["status"], "dead", "refused as often as it may be: dead")
        delivery = bob.event("inbox.message")
        tap.equal(delivery["messageId"], "h1", "and the line goes on")
        ack(bob, delivery)


def times(stage):
    """delayMs, ttlMs, priority and ageing."""
    begun = time.monotonic()
    stage.accept("alice", "bob", "t1", delayMs=600)
    tap.equal(stage.pull("bob"), [], "a delayed message is not there yet")
    [delivery] = stage.pull("bob", wait=5)
    took = time.monotonic() - begun
    tap.ok(0.6 <= took < 15, f"it is there after {took:.2f} s of 0.6")
    stage.ack("bob", delivery)

    stage.stop_sweeper()
    stage.accept("alice", "bob", "t2", ttlMs=50)
    stage.accept("alice", "bob", "t3")
    time.sleep(0.1)
    messages = stage.pull("bob")
    tap.equal(keys(messages), ["t3"], "an expired message is not delivered, sweeper or none")
    stage.ack("bob", *messages)
    stage.start_sweeper()
    tap.ok(eventually(lambda: stage.inbox("alice:t2")["state"] == "expired"), "and in the end it is said that it expired")

    for key, priority in (("p9", 9), ("p5", 5), ("p0", 0)):
        stage.accept("alice", "bob", key, priority=priority)
    messages = stage.pull("bob")
    tap.equal(keys(messages), ["p0", "p5", "p9"], "a lower number goes first")
    stage.ack("bob", *messages)
    stage.accept("alice", "bob", "old", priority=1)
    stage.sql("select setval(pg_get_serial_sequence('openclaw.inbox', 'inbox_seq'), 1000000)")
    stage.accept("alice", "bob", "new")
    messages = stage.pull("bob")
    tap.equal(keys(messages), ["old", "new"], "but nobody waits for ever: 10 000 later messages, and it goes first")
    stage.ack("bob", *messages)


def pulls(stage):
    """The inbox without pushes: long poll by HTTP, inbox.pull by WebSocket."""
    waiting = Task(lambda: (stage.pull("bob", wait=20), time.monotonic()))
    time.sleep(0.3)
    begun = time.monotonic()
    stage.accept("alice", "bob", "u1")
    messages, ended = waiting.result()
    tap.ok(ended - begun < 15, f"a long poll ends {(ended - begun) * 1000:.0f} ms after a message was sent")
    stage.nack("bob", messages[0], delayMs=0)
    with stage.connect("bob") as bob:
        [delivery] = bob.call("inbox.pull", {"inbox": "bob", "max": 5})["messages"]
        tap.equal((delivery["messageId"], delivery["attempt"]), ("u1", 2), "what HTTP refused WebSocket takes")
        stats = bob.call("inbox.stats", {"inbox": "bob"})
        tap.equal((stats["depth"], stats["inFlight"], stats["redelivered"]), (1, 1, 1), "stats")
        identity = bob.request("inbox.pull", {"inbox": "bob", "waitMs": 10000})
        begun = time.monotonic()
        stage.accept("alice", "bob", "u2")
        messages = bob.answer(identity)["messages"]
        tap.ok(time.monotonic() - begun < 15, "a pull that waits ends when one comes")
        ack(bob, delivery, *messages)
        tap.equal(bob.call("inbox.stats", {"inbox": "bob"})["depth"], 0, "then there is nothing left")
        tap.equal(stats["dead"], 2, "but the dead")


with Stage(RETRY_BASE_MS=20, RETRY_MAX_MS=100, MAX_ATTEMPTS=ATTEMPTS) as stage:
    leases(stage)
    not_handed(stage)
    ends(stage)
    zombie(stage)
    order(stage)
    times(stage)
    pulls(stage)
sys.exit(tap.done())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A session when others fail: a client that does not read, a database that goes away and comes
back, a connection cut in the middle, being told to end with a hundred deliveries out."""

import os
import signal
import sys
import threading
import time

from sessions import Refused, World, message
from tap import Tap

KB = 1024


def send(alice, text, key, to="bob", **more):
    return alice.call("send", message(to, text, key, **more))


def fill(world, count, size, prefix):
    """Messages for bob, sent by a session that is gone again."""
    with world.connect("alice") as alice:
        text = "x" * size
        for start in range(0, count, 20):
            identities = [
                alice.request("send", message("bob", text, f"{prefix}{i}"))
                for i in range(start, min(start + 20, count))
            ]
            for identity in identities:
                alice.answer(identity, 60)


def drain(world, prefix, count):
    """Bob takes all of them; how many there were."""
    got = 0
    with world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 50})
        while got < count:
            delivery = bob.event("inbox.message", 20)
            bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]}, 20)
            got += delivery["messageId"].startswith(prefix)
    return got


def check_silent_reader(tap, world):
    fill(world, 100, 100 * KB, "slow")
    settings = {"WRITE_TIMEOUT_MS": 1500, "SESSION_BUFFER_BYTES": 1 << 20}
    with world.connect("bob", settings) as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 100})
        begun = time.monotonic()
        peak = 0
        while bob.process.poll() is None and time.monotonic() - begun < 10:
            peak = max(peak, bob.memory())
            time.sleep(0.05)
        took = time.monotonic() - begun
        tap.equal(bob.process.returncode, 0, "who does not read is given up")
        tap.ok(1.4 < took < 15, f"after WRITE_TIMEOUT_MS: {took:.1f} s")
        tap.ok(peak < 24 * KB, f"and never had more than {peak} KiB")
        reason = [line["reason"] for line in bob.log() if line["event"] == "session.close"]
        tap.equal(reason, ["the client does not read"], "the log says why")
        bob.buffer = b""
        bob.closed = True
    tap.equal(
        world.value("select count(*) from openclaw.inbox where state = 'leased'"),
        "0",
        "what it had not taken is given back",
    )
    with world.connect("alice", settings) as alice:
        line = b'{"type":"req","id":"%b","method":"status"}\n' % (b"i" * 900)
        try:
            for _ in range(100000):
                os.write(alice.process.stdin.fileno(), line)
        except (BrokenPipeError, BlockingIOError):
            pass
        tap.equal(alice.process.wait(10), 0, "who asks and never reads the answers is given up")
        alice.buffer = b""
        alice.closed = True
    tap.equal(drain(world, "slow", 100), 100, "the next reader gets them all")


def check_slow_reader(tap, world):
    fill(world, 60, 60 * KB, "big")
    with world.connect("bob", {"SESSION_BUFFER_BYTES": 1 << 20}) as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 60})
        got = []
        while len(got) < 60:
            time.sleep(0.01)
            got.append(bob.event("inbox.message"))
        tap.equal(
            [d["messageId"] for d in got],
            [f"big{i}" for i in range(60)],
            "a slow one gets all in order",
        )
        answer = bob.call("inbox.ack", {"deliveryIds": [d["deliveryId"] for d in got]})
        tap.equal(len(answer["acked"]), 60, "and acknowledges them together")


def check_database_away(tap, world):
    settings = {"DB_TIMEOUT_MS": 1500}
    with world.connect("alice", settings) as alice, world.connect("bob", settings) as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        send(alice, "before", "before")
        first = bob.event("inbox.message")
        world.cluster.stop("immediate")
        begun = time.monotonic()
        try:
            send(alice, "during", "during")
            tap.ok(False, "without a database nothing is accepted")
        except Refused as refusal:
            tap.equal(refusal.code, "UNAVAILABLE", "without a database: UNAVAILABLE")
            tap.ok(
                refusal.error["retryable"] and refusal.error["retryAfterMs"] > 0,
                "to be tried again",
            )
        tap.ok(1 < time.monotonic() - begun < 15, "after DB_TIMEOUT_MS")
        tap.ok(alice.call("ping"), "the socket stays open")
        health = alice.call("health")
        tap.equal((health["ok"], health["db"]["ok"]), (False, False), "health says so")
        with world.open(**settings) as late:
            try:
                late.connect(world.tokens["carol"])
                tap.ok(False, "nobody can connect")
            except Refused as refusal:
                tap.equal(
                    (refusal.code, refusal.details["reason"], refusal.error["retryable"]),
                    ("UNAVAILABLE", "startup-sidecars", True),
                    "nobody can connect: UNAVAILABLE",
                )
            tap.equal(late.wait(5), 0, "who tries is sent away")
        with world.open(HTTP_AUTHORIZATION=f"Bearer {world.tokens['carol']}", **settings) as late:
            try:
                late.call("health")
            except Refused as refusal:
                tap.equal(refusal.code, "UNAVAILABLE", "a client by header keeps its socket")
            time.sleep(max(0, begun + 5 - time.monotonic()))
            # two that come at the moment it is back
            identity = alice.request("send", message("bob", "during", "during"))
            world.cluster.start()
            deadline = time.monotonic() + 20  # a pooler tries again only after a while
            while True:
                try:
                    alice.answer(identity)
                    break
                except Refused as refusal:
                    if refusal.code != "UNAVAILABLE" or time.monotonic() > deadline:
                        raise
                identity = alice.request("send", message("bob", "during", "during"))
            back = time.monotonic()
            tap.ok(True, "it comes back, and what is asked is done")
            tap.ok(late.call("ping"), "and who waited is let in")
        bob.call("inbox.ack", {"deliveryIds": [first["deliveryId"]]})
        delivery = bob.event("inbox.message")
        tap.equal(delivery["messageId"], "during", "deliveries resume")
        tap.ok(
            time.monotonic() - back < 4, f"soon: {time.monotonic() - back:.1f} s after its return"
        )
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
        send(alice, "after", "after")
        tap.equal(bob.event("inbox.message")["messageId"], "after", "and go on")
        for session in (alice, bob):
            tap.ok(len(session.log()) < 60, "the log is not flooded")


def check_cut_connections(tap, world):
    """Backends are terminated all the time while alice sends: each answer is the truth."""
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            world.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where pid <> pg_backend_pid() and datname = 'gateway'"
            )
            time.sleep(0.02)

    drain_before = int(
        world.value("select count(*) from openclaw.inbox where state in ('ready','leased')")
    )
    tap.ok(drain_before <= 1, "a clean start")
    killer = threading.Thread(target=cut)
    with world.connect("alice") as alice, world.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 5})
        killer.start()
        total, answered, seen, attempts = 150, {}, [], 0
        try:
            for i in range(total):
                key = f"cut{i}"
                while key not in answered:
                    attempts += 1
                    try:
                        answered[key] = send(alice, key, key)
                    except Refused as refusal:
                        assert refusal.code == "UNAVAILABLE", refusal
            deadline = time.monotonic() + 60
            while len(set(seen)) < total and time.monotonic() < deadline:
                delivery = bob.event("inbox.message", 30)
                try:
                    answer = bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]}, 30)
                    if answer["acked"] or answer["already"]:
                        if delivery["messageId"].startswith("cut"):
                            seen.append(delivery["messageId"])
                except Refused as refusal:
                    assert refusal.code == "UNAVAILABLE", refusal
        finally:
            stop.set()
            killer.join()
        tap.equal(len(set(seen)), total, f"{total} messages in {attempts} tries while backends die")
        tap.equal(len(seen), total, "each acknowledged once")
        lost = sum(
            "IN_DOUBT" in str(line) or "UNAVAILABLE" in str(line)
            for line in alice.log() + bob.log()
        )
        tap.ok(lost > 0, f"connections were cut: {lost} noticed")
    count = world.value("select count(*) from openclaw.inbox where message_uuid like 'alice:cut%'")
    tap.equal(count, str(total), "and none is there twice")


def check_sigterm(tap, world):
    fill(world, 100, 100, "term")
    bob = world.connect("bob")
    bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 100})
    for _ in range(100):
        bob.event("inbox.message")
    waiting = bob.request("agent", {"to": "alice", "message": "?", "idempotencyKey": "waits"})
    bob.answer(waiting)
    begun = time.monotonic()
    bob.process.send_signal(signal.SIGTERM)
    reason = bob.event("shutdown")["reason"]
    tap.equal(reason, "the gateway is shutting down", "SIGTERM with 100 in flight: goodbye is said")
    tap.equal(bob.answer(waiting)["status"], "timeout", "who waited is answered")
    tap.equal(bob.wait(5), 0, "exit 0")
    tap.ok(time.monotonic() - begun < 15, "at once")
    tap.equal(
        world.value(
            "select string_agg(distinct state, ' ') from openclaw.inbox where message_uuid like 'alice:term%'"
        ),
        "ready",
        "all are ready again",
    )
    bob.close()
    tap.equal(drain(world, "term", 100), 100, "and go to the next")


def check_idle(tap, world):
    with world.connect("alice", {"DB_IDLE_MS": 200}) as alice:
        connections = "select count(*) from pg_stat_activity where datname = 'gateway' and pid <> pg_backend_pid() and query like '%executor%'"
        time.sleep(1)
        tap.equal(world.value(connections), "0", "an idle session has no connection")
        tap.ok(alice.call("health")["ok"], "and opens one when it must")
        with open(f"/proc/{alice.process.pid}/smaps_rollup", encoding="ascii") as file:
            pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        print(f"# an idle session: PSS {pss} KiB")


def main():
    tap = Tap()
    with World() as world:
        check_idle(tap, world)
        check_silent_reader(tap, world)
        check_slow_reader(tap, world)
        check_database_away(tap, world)
        check_cut_connections(tap, world)
        check_sigterm(tap, world)
    with World(bouncer=True) as world:
        check_database_away(tap, world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

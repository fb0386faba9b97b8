#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The database goes away for thirty seconds; its pooler is restarted, paused, full, or takes nobody in.
Meanwhile every WebSocket stays open, every request is answered, with UNAVAILABLE where nothing else is
true, and afterwards everything that was accepted is delivered, once."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from abuse import PATIENCE, Abuse
from cluster import find_program
from stack import Refused, skip_without_stack, wait
from tap import Tap, diagnose

AWAY_SECONDS = 30
POOL = 16  # deploy's POOL_GATEWAY
FLOOD = 100


def unavailable(raw, method, params):
    """The code of an answer, which must say that trying again helps; None for an answer that is good."""
    try:
        raw.call(method, params, PATIENCE * 2)
        return None
    except Refused as refusal:
        assert refusal.code == "UNAVAILABLE", refusal
        assert refusal.error["retryable"] and refusal.error["retryAfterMs"] >= 0, refusal
        return refusal.code


def send_until_taken(raw, key, **more):
    """How often it was refused before."""
    params = {"to": "bob", "message": key, "idempotencyKey": key, **more}
    deadline = time.monotonic() + PATIENCE * 3
    refused = 0
    while unavailable(raw, "send", params):
        refused += 1
        assert time.monotonic() < deadline, f"{key} is never taken"
        time.sleep(0.2)
    return refused


def acknowledge(raw, delivery):
    deadline = time.monotonic() + PATIENCE * 3
    while time.monotonic() < deadline:
        try:
            return raw.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]}, PATIENCE * 2)
        except Refused as refusal:
            assert refusal.code == "UNAVAILABLE", refusal
        time.sleep(0.2)
    raise AssertionError("it is never acknowledged")


def receive(bob, keys):
    """Bob acknowledges until all of these have come; how often each was settled by him."""
    settled = dict.fromkeys(keys, 0)
    while not all(settled.values()):
        delivery = bob.event("inbox.message", PATIENCE * 3)
        answer = acknowledge(bob, delivery)
        if answer["acked"] or answer["already"]:
            settled[delivery["messageId"]] += 1
    return settled


def check_refused(tap, abuse, alice, how, key):
    """What everybody hears while nothing can be had."""
    params = {"to": "bob", "message": key, "idempotencyKey": key}
    code = wait(lambda: unavailable(alice, "send", params), f"{how}: a send is refused", PATIENCE)
    tap.equal(code, "UNAVAILABLE", f"{how}: a request is answered with UNAVAILABLE")
    tap.ok(alice.call("ping"), f"{how}: the socket is open")
    status, body, headers = abuse.stack.http(
        "POST",
        "/messages",
        {"to": "bob", "content": "never"},
        abuse.tokens["alice"],
        {"Idempotency-Key": f"{key}-http"},
        timeout=PATIENCE,
    )
    tap.equal((status, body["code"]), (503, "UNAVAILABLE"), f"{how}: over HTTP 503")
    tap.ok(headers["Retry-After"], f"{how}: with Retry-After")


def check_newcomer(tap, abuse, how):
    with abuse.raw() as late:
        try:
            late.connect(abuse.tokens["alice"])
            tap.ok(False, f"{how}: nobody can connect")
        except Refused as refusal:
            tap.equal(
                (refusal.code, refusal.error.get("details", {}).get("reason")),
                ("UNAVAILABLE", "startup-sidecars"),
                f"{how}: who connects is told to come again",
            )
        late.ended()


def check_resumed(tap, alice, bob, how, key):
    """It is over: what was refused is taken under the same key, and delivered."""
    send_until_taken(alice, key)
    settled = receive(bob, [key])
    tap.equal(settled[key], 1, f"{how}: deliveries resume on the same connections")


# ---- the faults ---------------------------------------------------------------------------------


def check_away(tap, abuse, alice, bob):
    stack, how = abuse.stack, f"PostgreSQL away for {AWAY_SECONDS} s"
    alice.call("send", {"to": "bob", "message": "m", "idempotencyKey": "away-before"})
    held = bob.event("inbox.message")
    stack.stop_service("keeper")
    stack.stop_service("postgres")
    begun = time.monotonic()
    check_refused(tap, abuse, alice, how, "away-during")
    tap.equal(alice.call("health")["ok"], False, f"{how}: health says so")
    check_newcomer(tap, abuse, how)
    refused = pings = 0
    while time.monotonic() < begun + AWAY_SECONDS:
        alice.call("ping")
        bob.call("ping")
        pings += 1
        params = {"to": "bob", "message": "away-during", "idempotencyKey": "away-during"}
        refused += unavailable(alice, "send", params) is not None
        time.sleep(0.5)
    tap.ok(refused > 0 and pings > 0, f"{how}: {pings} pings answered, {refused} requests refused")
    stack.start_service("postgres")
    stack.start_service("keeper")
    answer = acknowledge(bob, held)
    tap.equal(answer["acked"], [held["deliveryId"]], f"{how}: what was held can be acknowledged")
    check_resumed(tap, alice, bob, how, "away-during")


def check_restarted(tap, abuse, alice, bob):
    """While a hundred requests are under way."""
    how = "PgBouncer restarted"
    keys = [f"restart-{i}" for i in range(FLOOD)]
    asked = [
        alice.request("send", {"to": "bob", "message": key, "idempotencyKey": key}) for key in keys
    ]
    before = abuse.stack.kill("pgbouncer", signal.SIGKILL)
    refused = 0
    for identity in asked:
        try:
            alice.answer(identity, PATIENCE * 2)
        except Refused as refusal:
            assert refusal.code == "UNAVAILABLE", refusal
            refused += 1
    after = abuse.stack.wait_running("pgbouncer", not_pid=before, timeout=PATIENCE)
    tap.ok(after != before, f"{how}: it is another process")
    tap.ok(True, f"{how}: each of {FLOOD} requests is answered, {refused} with UNAVAILABLE")
    for key in keys:
        send_until_taken(alice, key)
    settled = receive(bob, keys)
    tap.equal(set(settled.values()), {1}, f"{how}: each is delivered, and settled once")
    count = abuse.stack.value(
        "select count(*) from openclaw.inbox where message_uuid like 'alice:restart-%'"
    )
    tap.equal(count, str(FLOOD), f"{how}: and none is there twice")


def check_paused(tap, abuse, alice, bob):
    how = "PgBouncer paused"
    abuse.stack.admin("pause openclaw")
    try:
        paused = [
            row["paused"]
            for row in abuse.stack.admin("show databases")
            if row["name"] == "openclaw"
        ]
        tap.equal(paused, ["1"], f"{how}: it is")
        check_refused(tap, abuse, alice, how, "paused")
    finally:
        abuse.stack.admin("resume openclaw")
    check_resumed(tap, alice, bob, how, "paused")


@contextlib.contextmanager
def full_pool(stack):
    """Every server connection of the gateway's pool is in somebody's transaction."""
    holders = []
    try:
        for _ in range(POOL):
            holders.append(
                subprocess.Popen(
                    [find_program("psql"), "-X", "-q", "-At", "-f", "-"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, **stack._connection(stack.env["DATABASE_URL"])},
                )
            )
            # each statement has 30 s; together they last longer than any test may take
            holders[-1].stdin.write(b"begin;\n" + b"select pg_sleep(29);\n" * 10)
            holders[-1].stdin.flush()

        def sleeping():
            return stack.value(
                "select count(*) from pg_stat_activity"
                " where state = 'active' and query like 'select pg_sleep(29)%'"
            ) == str(POOL)

        wait(sleeping, "the pool is full", PATIENCE)
        yield
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
        # it is the server that ends what it does for who has gone
        stack.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where query like 'select pg_sleep(29)%' and pid <> pg_backend_pid()"
        )


def check_full(tap, abuse, alice, bob):
    how = "PgBouncer full"
    stack = abuse.stack
    with full_pool(stack):
        check_refused(tap, abuse, alice, how, "full")
        since = stack.value("select clock_timestamp()")
        at_work = f"select count(*) from pg_stat_activity where usename = 'openclaw_sweeper' and query_start > '{since}'"
        wait(lambda: stack.value(at_work) != "0", "the sweeper works", PATIENCE)
        tap.ok(True, f"{how}: the sweeper has its own places")
    check_resumed(tap, alice, bob, how, "full")


def check_no_room(tap, abuse, alice, bob):
    """Above max_client_conn PgBouncer refuses, without an SQLSTATE. The relay, which has its connections, would not
    notice."""
    how = "PgBouncer takes nobody in"
    setting = [
        row["value"] for row in abuse.stack.admin("show config") if row["key"] == "max_client_conn"
    ]
    for service in ("keeper", "relay"):
        abuse.stack.stop_service(service)
    abuse.stack.admin("set max_client_conn = 1")
    try:
        check_newcomer(tap, abuse, how)
        tap.ok(alice.call("ping") and bob.call("ping"), f"{how}: the sockets are open")
    finally:
        abuse.stack.admin(f"set max_client_conn = {setting[0]}")
        for service in ("relay", "keeper"):
            abuse.stack.start_service(service)
    check_resumed(tap, alice, bob, how, "no-room")


def main():
    skip_without_stack()
    tap = Tap()
    # a lease that outlives the test: what comes again came because the session saw to it
    with Abuse({"LEASE_MS": 3600000}, refusals=("UNAVAILABLE",)) as abuse:
        with abuse.raw("alice") as alice, abuse.raw("bob") as bob:
            bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 20})
            for what, check in (
                (f"PostgreSQL away for {AWAY_SECONDS} s", check_away),
                ("PgBouncer restarted", check_restarted),
                ("PgBouncer paused", check_paused),
                ("PgBouncer full", check_full),
                ("PgBouncer takes nobody in", check_no_room),
            ):
                with abuse.during(tap, what):
                    check(tap, abuse, alice, bob)
            diagnose("alice and bob had one connection each, all the time")
        abuse.judge(tap, websocketd_bound=64 * 1024)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

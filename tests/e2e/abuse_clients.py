#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that do not read, do not speak, do not end, or come by the thousand; connections that are cut
and processes that are asked to end with a hundred deliveries out. What they cost is bounded, what they
held goes to the next, and another client notices nothing."""

import json
import os
import resource
import signal
import sys
import threading
import time

from abuse import BINARY, CONTINUATION, MB, PATIENCE, TEXT, Abuse, Gone, RawSocket
from stack import Refused, skip_without_stack, wait
from tap import Tap, diagnose

MAX_SESSIONS = 400
FLOOD = 1000
CONNECTION_BYTES = 32 * MB  # the option's default, half of lighttpd's server.max-request-size
SETTINGS = {
    "HANDSHAKE_TIMEOUT_MS": 10000,
    "WRITE_TIMEOUT_MS": 3000,
    "LEASE_MS": 3600000,  # what comes again in these tests came because it was given back
    "MAX_ATTEMPTS": 100,
}
FRONT_PATIENCE = 300  # lighttpd's max-write-idle of 75 s and max-read-idle of 30 s, and then some


def closes(abuse, since=0):
    """What the sessions' log says of their ends: (pid, principal, reason)."""
    found = []
    for line in abuse.stack.log("session")[since:].splitlines():
        if '"session.close"' in line:
            entry = json.loads(line)
            found.append((entry["pid"], entry["principal"], entry["reason"]))
    return found


def session_pid(abuse, principal):
    """The process of its newest connection."""
    opened = [
        json.loads(line)
        for line in abuse.stack.log("session").splitlines()
        if '"session.open"' in line and f'"principal":"{principal}"' in line
    ]
    return opened[-1]["pid"]


def fill(abuse, to, count, prefix, size=10):
    """Messages for one agent. No connection carries so much that the front would cut it."""
    per_connection = max(1, min(count, 12 * MB // size))
    at_once = max(1, MB // size)  # a session refuses more than it can hold
    for start in range(0, count, per_connection):
        with abuse.raw("alice") as alice:
            asked = []
            for i in range(start, min(start + per_connection, count)):
                params = {"to": to, "message": "x" * size, "idempotencyKey": f"{prefix}{i}"}
                asked.append(alice.request("send", params))
                if len(asked) >= at_once:
                    alice.answer(asked.pop(0))
            for identity in asked:
                alice.answer(identity)


def states(abuse, prefix):
    return abuse.stack.value(
        "select coalesce(string_agg(distinct state, ' '), '') from openclaw.inbox"
        f" where message_uuid like 'alice:{prefix}%'"
    )


def sockets(pid):
    """How many sockets a process has open."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except OSError:
            pass
    return count


# ---- who does not read --------------------------------------------------------------------------


class Silent:
    """Asks for 36 MB of messages and reads none. Its slot is looked at again at the end."""

    COUNT = 40

    def __init__(self, abuse):
        self.abuse = abuse
        self.before = sockets(abuse.stack.pid("websocketd"))
        fill(abuse, "bob", self.COUNT, "silent", 900_000)
        self.raw = abuse.raw("bob", receive_buffer=4096)
        self.pid = session_pid(abuse, "bob")
        self.raw.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 100})

    def check(self, tap):
        reason = wait(
            lambda: [r for pid, _, r in closes(self.abuse) if pid == self.pid],
            "the session of who does not read ends",
            PATIENCE,
        )
        tap.equal(reason, ["the client does not read"], "who does not read is given up")
        wait(lambda: states(self.abuse, "silent") == "ready", "what it held is ready", PATIENCE)
        got = self.abuse.deliveries("bob", self.COUNT, prefix="silent")
        tap.equal(
            [message["messageId"] for message in got],
            [f"silent{i}" for i in range(self.COUNT)],
            "the next reader gets all of it, in order",
        )

    def check_slot(self, tap):
        """websocketd has no deadline for a write; the front server's is what frees the slot."""
        pid = self.abuse.stack.pid("websocketd")
        wait(lambda: sockets(pid) <= self.before, "its connection is ended", FRONT_PATIENCE)
        tap.ok(True, "who does not read loses its connection too")
        self.raw.close()


def check_silent_asker(tap, abuse):
    """Asks and asks and never reads an answer."""
    with abuse.raw("alice", receive_buffer=4096) as alice:
        pid = session_pid(abuse, "alice")
        line = "\n".join(
            json.dumps({"type": "req", "id": "i" * 900 + str(i), "method": "status"})
            for i in range(200)
        )
        stop = threading.Event()

        def ask():
            alice.socket.settimeout(1)
            while not stop.is_set():
                try:
                    alice.socket.sendall(alice.header(len(line)) + line.encode())
                except OSError:
                    return  # what was sent in part is as it is: nobody reads it

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            reason = wait(
                lambda: [r for p, _, r in closes(abuse) if p == pid],
                "the session of who only asks ends",
                FRONT_PATIENCE,  # all it had to say may be in websocketd and the front server
            )
        finally:
            stop.set()
            thread.join()
    tap.ok(
        reason[0] in ("the client does not read", "the client left"),
        "who asks and never reads the answers is given up",
        reason,
    )


# ---- who does not authenticate ------------------------------------------------------------------


def check_never_authenticates(tap, abuse):
    known = set(abuse.stack.sessions())
    silent = [abuse.raw() for _ in range(20)]
    dripping = abuse.raw()
    for raw in [*silent, dripping]:
        assert raw.receive()["event"] == "connect.challenge"
    mine = [pid for pid in set(abuse.stack.sessions()) - known if abuse.watch.is_session(pid)]
    open_sockets = []
    for pid in mine:
        try:
            open_sockets.append(sockets(pid))
        except OSError:
            pass  # its time was up already
    tap.ok(
        not any(open_sockets), f"{len(open_sockets)} that have not authenticated have no database"
    )
    alive = True
    deadline = time.monotonic() + PATIENCE
    while alive and time.monotonic() < deadline:
        alive = dripping.frame(" ")
        time.sleep(0.2)
    tap.ok(not alive, "who drips bytes is sent away too")
    reasons = {raw.ended() for raw in silent}
    tap.equal(reasons, {"nobody authenticated in time"}, "who never authenticates is sent away")
    for raw in [*silent, dripping]:
        raw.close()
    with abuse.raw() as raw:
        raw.frame('{"type":"req","id":"big","method":"connect","params":{"x":"' + "a" * 100_000)
        tap.equal(raw.code("big"), "TOO_LARGE", "before it has, it may send 64 KiB")
        tap.ok(raw.ended() is not None, "and no more")


class Slowloris:
    """Never ends its request. The front server's time for reading is what ends it."""

    def __init__(self, abuse):
        self.raws = [RawSocket(abuse.stack.ws_url, upgrade=False) for _ in range(50)]
        for raw in self.raws:
            raw.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webso")

    def check(self, tap):
        for raw in self.raws:
            raw.socket.settimeout(FRONT_PATIENCE)
            try:
                while raw.socket.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            raw.close()
        tap.ok(True, f"{len(self.raws)} whose request never ends are cut off")


# ---- who does not end ---------------------------------------------------------------------------


def pour(raw, opcode, megabytes, fin):
    """Writes so much, or until the other side closes; MB written."""
    block = bytes(raw.header(MB, opcode, fin)) + b"z" * MB
    follow = bytes(raw.header(MB, CONTINUATION if not fin else opcode, fin)) + b"z" * MB
    for written in range(megabytes):
        if not raw.write(block if written == 0 else follow):
            return written
    return megabytes


def check_one_frame(tap, abuse):
    """200 MB in one frame, before and after authentication, twice at once."""
    for name in (None, "alice"):
        raws = [abuse.raw(name) for _ in range(2)]
        for raw in raws:
            raw.write(raw.header(200 * MB))
        for _ in range(200):
            if not any([raw.write(b"z" * MB) for raw in raws]):
                break
        for raw in raws:
            raw.ended()
            raw.close()
        tap.ok(True, f"200 MB in one frame {'after' if name else 'before'} authentication: cut off")
        diagnose(f"websocketd's peak: {abuse.watch.peaks.get('websocketd')} KiB")


def check_endless(tap, abuse):
    with abuse.raw("alice") as raw:
        pour(raw, TEXT, 200, fin=False)
        raw.ended()
        tap.ok(True, "a message whose fragments never end is cut off")
    pid = None
    with abuse.raw("alice") as raw:
        pid = session_pid(abuse, "alice")
        pour(raw, BINARY, 200, fin=True)
        raw.ended()
    reason = wait(
        lambda: [r for p, _, r in closes(abuse) if p == pid], "its session ends", PATIENCE
    )
    tap.ok(
        reason[0] in ("a frame is larger than can be taken", "the client left"),
        f"a line that never ends is cut off: {reason[0]}",
    )
    with abuse.raw("alice") as raw:
        raw.frame(b"{" + b" " * (2 * MB), BINARY)
        tap.equal(raw.code(), "TOO_LARGE", "an object that never ends is too large")


def check_long_conversation(tap, abuse):
    """The front server cuts what is too long in all; who behaves hears a goodbye before."""
    padding = "x" * 900_000
    answered = 0
    with abuse.raw("alice") as alice:
        try:
            while answered < 200:
                alice.call("ping", {"x": padding})
                answered += 1
        except Gone:
            pass
        goodbyes = [f for f in alice.frames if f.get("event") == "shutdown"]
    share = CONNECTION_BYTES // 900_000
    tap.ok(
        share - 2 <= answered <= share + 2,
        f"a connection carries its {CONNECTION_BYTES // MB} MiB ({answered} requests of 900 KB)",
    )
    tap.ok(
        goodbyes and goodbyes[0]["payload"]["reason"].endswith("connect again"),
        "and its client is told to connect again",
        goodbyes,
    )


# Apache and nginx set no limit; what holds there is the memory limit of websocketd's unit.
UNBOUNDED = (check_one_frame, check_endless)


# ---- who is cut off in the middle ---------------------------------------------------------------


def check_reset(tap, abuse):
    fill(abuse, "bob", 20, "reset", 50_000)
    seen = set()
    for round_ in range(5):
        with abuse.raw("bob") as bob:
            bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 20})
            for _ in range(round_ * 3 + 1):
                message = bob.event("inbox.message")
                seen.add(message["messageId"])
            bob.reset()
    got = abuse.deliveries("bob", 20, prefix="reset")
    tap.equal(
        [message["messageId"] for message in got],
        [f"reset{i}" for i in range(20)],
        "RST in the middle of deliveries: the next connection gets all, in order",
    )
    again = [message for message in got if message["messageId"] in seen]
    tap.ok(
        again and all(message["redelivered"] for message in again),
        f"those {len(again)} that were handed over say so",
        [(m["messageId"], m["attempt"], m["redelivered"]) for m in got],
    )
    tap.equal(
        abuse.stack.value(
            "select count(*) from dbos_system.workflow_status"
            " where workflow_uuid like 'alice:reset%' and status = 'SUCCESS'"
        ),
        "20",
        "and each comes to its end once",
    )


# ---- who comes by the thousand ------------------------------------------------------------------


class Connections(threading.Thread):
    """The most server connections that PostgreSQL ever had of ours."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack, self.most, self.looks, self.ending = stack, 0, 0, False
        self.start()

    def run(self):
        query = (
            "select count(*) from pg_stat_activity"
            " where usename in ('openclaw_gateway', 'openclaw_sweeper')"
        )
        while not self.ending:
            self.most = max(self.most, int(self.stack.value(query)))
            self.looks += 1
            time.sleep(0.1)


def open_flood(abuse):
    raws = [RawSocket(abuse.stack.ws_url, upgrade=False) for _ in range(FLOOD)]
    for raw in raws:
        raw.ask_upgrade("localhost")
    for raw in raws:
        raw.read_upgrade(PATIENCE * 3)
    return raws


def check_flood(tap, abuse):
    connections = Connections(abuse.stack)
    raws = open_flood(abuse)
    statuses = [raw.status for raw in raws]
    taken = [raw for raw in raws if raw.status == 101]
    diagnose(f"{statuses.count(101)} taken, {statuses.count(429)} refused with 429")
    tap.equal(set(statuses), {101, 429}, f"{FLOOD} at once: each is taken or refused with 429")
    tap.ok(
        MAX_SESSIONS * 0.9 <= len(taken) < MAX_SESSIONS,
        f"as many are taken as --maxforks={MAX_SESSIONS} leaves beside those that are there",
        len(taken),
    )
    outcomes = {}
    asked = [
        (raw, raw.request("connect", raw_params(abuse, index))) for index, raw in enumerate(taken)
    ]
    for raw, identity in asked:
        try:
            raw.answer(identity, PATIENCE * 3)
            outcome = "ok"
        except Refused as refusal:
            outcome = refusal.code if refusal.error.get("retryable") else refusal
        except Gone:
            outcome = "gone"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    diagnose(f"connect: {outcomes}")
    # a handshake has 10 s here, and 400 come at once on a machine of any size: some may be sent away
    tap.ok(
        set(outcomes) <= {"ok", "UNAVAILABLE", "gone"} and outcomes.get("ok", 0) > 0,
        "each of them is let in, told to come again, or its time was up",
        outcomes,
    )
    alive = []
    for raw in taken:
        try:
            alive.append((raw, raw.request("health")))
        except OSError:
            pass
    answered = 0
    for raw, identity in alive:
        try:
            answered += raw.answer(identity, PATIENCE * 3) is not None
        except (Gone, Refused):
            pass
    tap.ok(answered >= outcomes["ok"], f"those that were let in are answered: {answered}", outcomes)
    for raw in raws:
        raw.close()
    wait(lambda: len(abuse.stack.sessions()) <= 1, "all have ended", PATIENCE * 3)
    with abuse.raw("alice") as raw:
        tap.ok(raw.call("ping"), "afterwards there is room again")
    connections.ending = True
    connections.join()
    tap.ok(
        0 < connections.most <= 20,
        f"never more than {connections.most} database connections ({connections.looks} looks)",
    )


def raw_params(abuse, index):
    return abuse.bystander.client.connect_params(abuse.tokens["alice" if index % 2 else "bob"])


# ---- who is asked to end ------------------------------------------------------------------------


def hold_hundred(abuse, prefix):
    fill(abuse, "bob", 100, prefix)
    bob = abuse.raw("bob")
    bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 100})
    for _ in range(100):
        bob.event("inbox.message")
    return bob


def check_next(tap, abuse, prefix, how):
    got = abuse.deliveries("bob", 100, prefix=prefix)
    tap.equal(
        [message["messageId"] for message in got],
        [f"{prefix}{i}" for i in range(100)],
        f"{how}: the next connection gets all 100, in order",
    )
    tap.equal(
        abuse.stack.value(
            "select string_agg(distinct status, ' ') from dbos_system.workflow_status"
            f" where workflow_uuid like 'alice:{prefix}%'"
        ),
        "SUCCESS",
        f"{how}: nothing was cancelled",
    )


def check_sigterm_session(tap, abuse):
    bob = hold_hundred(abuse, "term")
    waiting = bob.request("agent", {"to": "alice", "message": "?", "idempotencyKey": "waits"})
    bob.answer(waiting)
    pid = session_pid(abuse, "bob")
    os.kill(pid, signal.SIGTERM)
    tap.equal(bob.answer(waiting)["status"], "timeout", "SIGTERM: who waits is answered")
    tap.equal(bob.ended(), "the gateway is shutting down", "SIGTERM with 100 out: goodbye is said")
    wait(lambda: states(abuse, "term") == "ready", "SIGTERM: what was held is given back", PATIENCE)
    check_next(tap, abuse, "term", "SIGTERM to a session")
    bob.close()


def check_sigterm_websocketd(tap, abuse):
    """As a service manager ends it for an upgrade. Every client has to come again."""
    bob = hold_hundred(abuse, "stop")
    others = [abuse.raw("alice") for _ in range(20)]
    before = abuse.stack.kill("websocketd", signal.SIGTERM)
    for raw in [bob, *others]:
        raw.ended()
        raw.close()
    abuse.stack.wait_running("websocketd", not_pid=before, timeout=PATIENCE)
    wait(lambda: states(abuse, "stop") == "ready", "what was held is given back", PATIENCE)

    def back():
        try:
            with abuse.raw("alice") as raw:
                return raw.call("ping")
        except (OSError, AssertionError, Gone):
            return None

    wait(back, "websocketd takes connections again", PATIENCE)
    check_next(tap, abuse, "stop", "SIGTERM to websocketd")


def main():
    skip_without_stack()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    tap = Tap()
    with Abuse(SETTINGS, environment={"MAX_SESSIONS": str(MAX_SESSIONS)}) as abuse:
        slowloris = Slowloris(abuse)
        silent = Silent(abuse)
        for what, check in (
            ("a client that does not read", lambda *_: silent.check(tap)),
            ("a client that only asks", check_silent_asker),
            ("clients that never authenticate", check_never_authenticates),
            ("200 MB in one frame", check_one_frame),
            ("messages without an end", check_endless),
            ("a long conversation", check_long_conversation),
            ("RST", check_reset),
            ("SIGTERM to a session", check_sigterm_session),
            ("requests that never end", lambda *_: slowloris.check(tap)),
            ("the end of who does not read", lambda *_: silent.check_slot(tap)),
            (f"{FLOOD} connections", check_flood),
        ):
            if check in UNBOUNDED and abuse.stack.front != "lighttpd":
                diagnose(f"{what}: only lighttpd cuts what a client sends over one WebSocket")
                continue
            with abuse.during(tap, what):
                check(tap, abuse)
        abuse.bystander.end()
        check_sigterm_websocketd(tap, abuse)
        # two clients at once that each get all 64 MiB through which the front lets a connection have
        abuse.judge(tap, websocketd_bound=640 * 1024)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

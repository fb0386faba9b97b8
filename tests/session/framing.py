#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Frames as websocketd hands them on: across lines, several on one, with rubbish between, endless.
Every request is answered, nothing bad reaches PostgreSQL, and memory stays bounded."""

import json
import os
import sys
import threading
import time

from sessions import Ended, Refused, World
from tap import Tap

MB = 1 << 20


def ping(identity):
    return {"type": "req", "id": identity, "method": "ping"}


def error_of(session, identity="invalid", timeout=10):
    try:
        session.answer(identity, timeout)
    except Refused as refusal:
        return refusal.code
    return None


def check_shapes(tap, world):
    with world.connect("alice") as alice:
        alice.send_raw(json.dumps(ping("p1"), indent=4).encode() + b"\n")
        tap.ok(alice.answer("p1"), "pretty-printed JSON")
        alice.send_raw((json.dumps(ping("p2")) + json.dumps(ping("p3"))).encode() + b"\n")
        tap.ok(alice.answer("p2") and alice.answer("p3"), "two objects in one message")
        alice.send_raw((json.dumps(ping("p4")) + "\n" + json.dumps(ping("p5"))).encode() + b"\n")
        tap.ok(alice.answer("p4") and alice.answer("p5"), "two lines in one message")
        for byte in json.dumps(ping("p6")).encode():
            alice.send_raw(bytes([byte]))
        alice.send_raw(b"\n")
        tap.ok(alice.answer("p6"), "byte by byte")
        alice.send_raw(json.dumps(ping("p7")).encode())
        tap.ok(alice.answer("p7"), "without a newline behind it")
        alice.send_raw(b"\x00\xff\xfebinary" + json.dumps(ping("p8")).encode() + b"\n")
        tap.ok(error_of(alice, "p8"), "a binary message spoils the line it is on")
        alice.send(ping("p9"))
        tap.ok(alice.answer("p9"), "and the next line is read")
        alice.send_raw(b"\r\n\n   \n\t\n" * 1000)
        alice.send(ping("p10"))
        tap.ok(alice.answer("p10"), "white space means nothing")


BAD = [
    ("not JSON", b"hello", "INVALID_JSON", "invalid"),
    ("an array", b"[1,2]", "INVALID_REQUEST", "invalid"),
    ("a trailing comma", b'{"type":"req","id":"b1","method":"ping",}', "INVALID_JSON", "b1"),
    ("depth 20000", b'{"id":"b2","a":' + b"[" * 20000 + b"]" * 20000 + b"}", "TOO_DEEP", "b2"),
    ("depth 20000 without an end", b'{"a":' * 20000, "TOO_DEEP", "invalid"),
    (
        "duplicate keys",
        b'{"type":"req","id":"b3","id":"b3","method":"ping"}',
        "DUPLICATE_KEY",
        "b3",
    ),
    (
        "an escaped NUL",
        b'{"type":"req","id":"b4","method":"pi\\u0000ng"}',
        "INVALID_ENCODING",
        "b4",
    ),
    ("a raw NUL", b'{"type":"req","id":"b5","method":"pi\x00ng"}', None, "b5"),
    ("a lone surrogate", b'{"type":"req","id":"b6","method":"\\ud800"}', "INVALID_ENCODING", "b6"),
    ("overlong UTF-8", b'{"type":"req","id":"b7","method":"\xc0\xaf"}', "INVALID_ENCODING", "b7"),
    (
        "a number out of range",
        b'{"type":"req","id":"b8","method":"ping","params":{"a":1e400000}}',
        "NUMBER_RANGE",
        "b8",
    ),
    ("an answer", b'{"type":"res","id":"b9","ok":true}', "INVALID_REQUEST", "b9"),
    ("no method", b'{"type":"req","id":"b10"}', "INVALID_REQUEST", "b10"),
    ("an empty id", b'{"type":"req","id":"","method":"ping"}', "INVALID_REQUEST", "invalid"),
    (
        "an id that is a number",
        b'{"type":"req","id":7,"method":"ping"}',
        "INVALID_REQUEST",
        "invalid",
    ),
    (
        "an id of 10000",
        b'{"type":"req","id":"' + b"x" * 10000 + b'","method":"ping"}',
        "INVALID_REQUEST",
        "invalid",
    ),
    (
        "params that are a list",
        b'{"type":"req","id":"b11","method":"ping","params":[]}',
        "INVALID_REQUEST",
        "b11",
    ),
]


def check_bad(tap, world):
    with world.connect("alice") as alice:
        for name, line, code, identity in BAD:
            alice.send_raw(line + b"\n")
            got = error_of(alice, identity)
            tap.ok(got == code or (code is None and got), f"{name}: {got}")
            alice.call("ping")
        many = json.dumps(
            {
                "type": "req",
                "id": "many",
                "method": "ping",
                "params": {str(i): 0 for i in range(60000)},
            }
        )
        alice.send_raw(many.encode() + b"\n")
        tap.equal(error_of(alice, "many"), "TOO_MANY_KEYS", "many keys")
        for identity in ("a/b", "a\nb", "\x01\x1f\x7f", "ünïcode ✓", "x" * 1000):
            alice.send(ping(identity))
            tap.ok(alice.answer(identity), f"an id is the client's own: {identity[:10]!r}")
        try:
            alice.call("no/such\nmethod ✓")
        except Refused as refusal:
            tap.equal(
                refusal.error["message"], "unknown method: no/such\nmethod ✓", "unknown method"
            )
            tap.equal(refusal.code, "INVALID_REQUEST", "its code")
        alice.send({"type": "req", "id": "cut", "method": "x" * 257})
        tap.equal(error_of(alice, "cut"), "INVALID_REQUEST", "a method's name is bounded")


def check_cut_off(tap, world):
    with world.connect("alice") as alice:
        alice.send_raw(
            b'{"type":"req","id":"c1","method":\n' + json.dumps(ping("c2")).encode() + b"\n"
        )
        begun = time.monotonic()
        tap.equal(error_of(alice, "c1"), "INVALID_JSON", "a frame that does not end is refused")
        tap.ok(1 < time.monotonic() - begun < 15, "when nothing more has come for a while")
        tap.ok(alice.answer("c2"), "and what it had swallowed is read")


def check_too_many_bad(tap, world):
    with world.connect("alice") as alice:
        alice.send_raw(b"rubbish\n" * 9)
        tap.ok(alice.call("ping"), "nine bad frames are borne")
        alice.send_raw(b"rubbish\n" * 10)
        reason = alice.event("shutdown")["reason"]
        tap.equal(reason, "too many frames that are not valid", "ten in a row are not")
        tap.equal(alice.wait(5), 0, "the connection ends")


def check_large(tap, world):
    with world.connect("alice") as alice:
        before = alice.memory()
        padding = "x" * (MB - 200)
        alice.send({"type": "req", "id": "l1", "method": "ping", "params": {"x": padding}})
        tap.ok(alice.answer("l1"), "nearly a MiB is taken")
        alice.send(
            {"type": "req", "id": "l2", "method": "ping", "params": {"x": padding + "x" * 400}}
        )
        tap.equal(error_of(alice, "l2"), "TOO_LARGE", "more is refused, under its id")
        tap.ok(alice.call("ping"), "and the connection lives")
        alice.send_raw(b'{"id":"l3","a":"' + b"y" * (4 * MB) + b'"}\n')
        tap.equal(error_of(alice, "l3"), "TOO_LARGE", "4 MiB are passed over")
        tap.ok(alice.call("ping"), "and the connection lives")
        grown = alice.memory("VmHWM") - before
        tap.ok(grown < 16 * 1024, f"memory is bounded: {grown} KiB more at its peak")
    for name, data in (
        ("200 MB in one line", b"z" * MB),
        ("200 MB within a string", b'"' + b"z" * MB),
    ):
        with world.connect("alice") as alice:
            alice.send_raw(b"{" if name.endswith("string") else b" ")
            peak = 0
            try:
                for _ in range(200):
                    alice.send_raw(data)
                    peak = max(peak, alice.memory("VmHWM"))
            except (BrokenPipeError, AssertionError, Ended, OSError):
                pass
            tap.equal(error_of(alice), "TOO_LARGE" if "string" in name else "INVALID_JSON", name)
            tap.equal(alice.wait(10), 0, f"{name}: the session ends")
            tap.ok(0 < peak < 20 * 1024, f"{name}: it never had more than {peak} KiB")
    with world.open() as session:
        session.event("connect.challenge")
        session.send_raw(
            b'{"type":"req","id":"big","method":"connect","params":{"x":"' + b"a" * 70000
        )
        tap.equal(error_of(session, "big"), "TOO_LARGE", "64 KiB before authentication")
        tap.equal(session.wait(5), 0, "and no more")


def check_burst(tap, world):
    """What comes while a token is looked at waits, however much it is and however long that takes."""
    frames = [
        {"type": "req", "id": f"b{i}", "method": "ping", "params": {"x": "x" * 300000}} for i in range(6)
    ]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {world.tokens['alice']}"}
    with world.connect("bob") as bob:  # one that has connected, and so has loaded libpq
        before = bob.memory()
    for name, more, size, first in (
        ("the header's", bearer, 1 << 20, []),
        ("connect's", {}, 1 << 16, [connect_frame(world.tokens["alice"])]),
    ):
        with world.cluster.session("gateway") as lock, world.open(**more) as session:
            session.event("connect.challenge")
            lock.run("begin; lock table openclaw.credential in access exclusive mode")
            data = b"".join(json.dumps(f).encode() + b"\n" for f in first + frames)
            writer = threading.Thread(target=write_all, args=(session.process.stdin.fileno(), data))
            writer.start()
            world.cluster.wait_until(
                "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
            )
            time.sleep(0.3)
            tap.ok(writer.is_alive(), f"{name} token is looked at, and what comes behind waits")
            grown = session.memory("VmHWM") - before
            tap.ok(grown * 1024 < size + (4 << 20), f"in the pipe, not in memory: {grown} KiB more")
            lock.run("rollback")
            for frame in first + frames:
                session.answer(frame["id"], 30)
            writer.join(30)
            tap.ok(not writer.is_alive(), f"{name} token is good: each request is answered")


def connect_frame(token):
    client = {"id": "test", "version": "1", "platform": "linux", "mode": "test"}
    params = {"minProtocol": 3, "maxProtocol": 4, "client": client, "auth": {"token": token}}
    return {"type": "req", "id": "c1", "method": "connect", "params": params}


def write_all(descriptor, data):
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        pass  # the session ended: the answers say so


def check_many(tap, world):
    with world.connect("alice") as alice:
        total = 6000
        alice.send_raw(b"".join(json.dumps(ping(f"m{i}")).encode() + b"\n" for i in range(total)))
        for i in range(total):
            alice.answer(f"m{i}", 20)
        tap.ok(True, f"{total} requests at once are answered")
        alice.send_raw(
            b"".join(
                json.dumps({"type": "req", "id": f"h{i}", "method": "health"}).encode() + b"\n"
                for i in range(total)
            )
        )
        answered = refused = 0
        for i in range(total):
            code = None
            try:
                alice.answer(f"h{i}", 20)
                answered += 1
            except Refused as refusal:
                code = refusal.code
                refused += 1
            if code not in (None, "OVERLOADED"):
                tap.ok(False, f"health {i}: {code}")
        tap.equal(answered + refused, total, f"{answered} that ask the database, {refused} refused")


def main():
    tap = Tap()
    with World() as world:
        since = world.cluster.log_size()
        check_shapes(tap, world)
        check_bad(tap, world)
        check_cut_off(tap, world)
        check_too_many_bad(tap, world)
        check_large(tap, world)
        check_burst(tap, world)
        check_many(tap, world)
        tap.ok(
            not world.cluster.log_contains(
                r"22021|22P02|22P05|invalid byte sequence|ERROR", since=since
            ),
            "nothing bad reached PostgreSQL",
        )
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What RFC 6455 allows a client to do with frames, and what it forbids; and what a client may do with an
inbox that nobody sensible would. The protocol's rules hold, what was held goes to the next, and another
client notices nothing."""

import json
import os
import signal
import struct
import sys
import time
import zlib

from abuse import CLOSE, CONTINUATION, PATIENCE, PING, PONG, TEXT, Abuse, Gone, RawSocket
from stack import Refused, skip_without_stack, wait
from tap import Tap

LEASE_MS = 2000
SETTINGS = {"MAX_ATTEMPTS": 100, "RETRY_BASE_MS": 50, "RETRY_MAX_MS": 200}
RESPONSE_MAX = (1048576 - 4096) // 2  # bytes of JSON that a result may have


def frame_of(method, params=None, identity="f"):
    frame = {"type": "req", "id": identity, "method": method}
    if params is not None:
        frame["params"] = params
    return json.dumps(frame).encode()


def pong(raw, payload):
    """The answer to a ping with this payload; what else comes is kept as bytes of messages."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        parsed = raw._parse()
        if parsed is None:
            raw._fill(deadline - time.monotonic())
        elif parsed[0] == PONG and parsed[2] == payload:
            return True
        elif parsed[0] in (TEXT, CONTINUATION):
            raw.message += parsed[2]
            if parsed[1]:
                raw.frames.append(json.loads(raw.message))
                raw.message = b""
    return False


def send(abuse, to, key, text="hello", who="alice", **more):
    with abuse.raw(who) as sender:
        return sender.call("send", {"to": to, "message": text, "idempotencyKey": key, **more})


def states(abuse, prefix):
    return abuse.stack.value(
        "select coalesce(string_agg(distinct state, ' '), '') from openclaw.inbox"
        f" where message_uuid like 'alice:{prefix}%'"
    )


# ---- frames -------------------------------------------------------------------------------------


def check_fragments(abuse, tap):
    with abuse.raw("alice") as raw:
        request = frame_of("ping", identity="parts")
        for i in range(len(request)):
            raw.frame(request[i : i + 1], TEXT if i == 0 else CONTINUATION, fin=i == len(request) - 1)
            if i % 16 == 0:
                raw.frame(b"between %d" % i, PING)
        tap.equal(raw.answer("parts")["pong"], True, "a request in fragments of one byte, with pings between")
        raw.frame(b"", TEXT, fin=False)
        raw.frame(b"", CONTINUATION, fin=False)
        raw.frame(frame_of("ping", identity="empty"), CONTINUATION, fin=False)
        raw.frame(b"still here", PING)
        tap.ok(pong(raw, b"still here"), "a ping within a message is answered before the message ends")
        raw.frame(b"", CONTINUATION)
        tap.equal(raw.answer("empty")["pong"], True, "fragments of no bytes are no matter")
        text = "é" * 300 + "😀" * 300
        request = frame_of("send", {"to": "alice", "message": text, "idempotencyKey": "cut"}, "cut")
        request = json.dumps(json.loads(request), ensure_ascii=False).encode()
        for i in range(0, len(request), 7):
            raw.frame(request[i : i + 7], TEXT if i == 0 else CONTINUATION, fin=i + 7 >= len(request))
        tap.equal(raw.answer("cut")["messageId"], "cut", "fragments that cut characters apart are one message")
    got = abuse.deliveries("alice", 1, prefix="cut")
    tap.equal([m["content"] for m in got], [text], "and it arrives whole")
    with abuse.raw() as raw:
        first = frame_of("connect", raw_params(abuse, "alice"), "c")
        raw.write(
            b"".join(
                raw.header(len(p)) + p
                for p in (first, frame_of("ping", identity="p1"), frame_of("ping", identity="p2"))
            )
        )
        tap.equal(
            [raw.answer(i).get("type", "pong") for i in ("c", "p1", "p2")], ["hello-ok", "pong", "pong"],
            "frames that come in one packet with connect are answered, in order",
        )  # fmt: skip


def raw_params(abuse, who):
    return {
        "minProtocol": 3, "maxProtocol": 4, "auth": {"token": abuse.tokens[who]},
        "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
    }  # fmt: skip


def check_early(abuse, tap):
    """Frames behind the Upgrade in the same packet, before there is an answer."""
    raw = RawSocket(abuse.stack.ws_url, upgrade=False)
    with raw:
        host = raw.socket.getpeername()
        lines = [
            "GET / HTTP/1.1", f"Host: {host[0]}:{host[1]}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", "",
        ]  # fmt: skip
        first = frame_of("connect", raw_params(abuse, "alice"), "c")
        raw.write("\r\n".join(lines).encode() + raw.header(len(first)) + first)
        try:
            outcome = raw.read_upgrade()
            outcome = raw.answer("c")["type"] if outcome == 101 else outcome
        except Gone:
            outcome = "closed"
        # RFC 6455 4.1: the client must wait; each front may take it or not, but nobody hangs
        tap.ok(outcome in ("hello-ok", "closed", 400), "frames before the handshake's answer", repr(outcome))


def check_compression(abuse, tap):
    offer = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
    raw = RawSocket(abuse.stack.ws_url, upgrade=False)
    with raw:
        raw.ask_upgrade("%s:%d" % raw.socket.getpeername(), offer)
        while b"\r\n\r\n" not in raw.bytes:
            raw._fill(PATIENCE)
        head = raw.bytes.split(b"\r\n\r\n")[0].lower()
        tap.ok(b" 101 " in head and b"permessage-deflate" not in head, "compression that is offered is not taken")
        raw.read_upgrade()
        raw.connect(abuse.tokens["alice"])
        tap.equal(raw.call("ping")["pong"], True, "and the connection serves without it")
        squeeze = zlib.compressobj(wbits=-15)
        body = squeeze.compress(frame_of("ping", identity="z") + b" " * 1_000_000)
        body += squeeze.flush(zlib.Z_SYNC_FLUSH)
        header = bytearray(raw.header(len(body)))
        header[0] |= 0x40  # RSV1
        raw.write(bytes(header) + body)
        raw.ended()
        tap.ok(raw.close_code in (1002, None), "a compressed frame that nobody agreed to ends it", raw.close_code)


FORBIDDEN = {
    "an opcode that does not exist (3)": lambda raw: raw.frame(b"x", 3),
    "a control opcode that does not exist (11)": lambda raw: raw.frame(b"x", 11),
    "a continuation of nothing": lambda raw: raw.frame(b"x", CONTINUATION),
    "a message within a message": lambda raw: (raw.frame(b"x", TEXT, fin=False), raw.frame(b"y", TEXT)),
    "a ping of 126 bytes": lambda raw: raw.frame(b"x" * 126, PING),
    "a ping in fragments": lambda raw: raw.frame(b"x", PING, fin=False),
    "RSV2": lambda raw: raw.write(bytes([0xA1, 0x80, 0, 0, 0, 0])),
    "no mask": lambda raw: raw.write(b"\x81\x04ping"),
    "a length with its highest bit": lambda raw: raw.write(b"\x81\xff" + b"\xff" * 8 + bytes(4)),
}


def held(abuse, raw, key):
    """A delivery that is out at this connection and will be held for an hour."""
    send(abuse, "bob", key)
    raw.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 3600000, "exclusive": False})
    return raw.event("inbox.message")


def check_forbidden(abuse, tap):
    for n, (what, attack) in enumerate(FORBIDDEN.items()):
        with abuse.raw("bob") as raw:
            held(abuse, raw, f"bad{n}")
            attack(raw)
            raw.ended()
            tap.ok(raw.close_code in (None, 1002, 1009), f"{what} ends the connection", raw.close_code)
        got = abuse.deliveries("bob", 1, prefix=f"bad{n}", exclusive=False)
        tap.equal([m["attempt"] for m in got], [2], f"{what}: what it held goes to the next at once")


def check_closes(abuse, tap):
    bodies = {
        "no body": b"",
        "one byte": b"\x03",
        "1000": struct.pack(">H", 1000),
        "1001 and a reason": struct.pack(">H", 1001) + "going away".encode(),
        "0": struct.pack(">H", 0),
        "999": struct.pack(">H", 999),
        "1005, which nobody may send": struct.pack(">H", 1005),
        "1006, which nobody may send": struct.pack(">H", 1006),
        "1015, which nobody may send": struct.pack(">H", 1015),
        "3000": struct.pack(">H", 3000),
        "4999": struct.pack(">H", 4999),
        "65535": struct.pack(">H", 65535),
        "a reason that is no UTF-8": struct.pack(">H", 1000) + b"\xff\xfe",
        "a reason of 123 bytes": struct.pack(">H", 1000) + b"x" * 123,
    }
    for n, (what, body) in enumerate(bodies.items()):
        with abuse.raw("bob") as raw:
            held(abuse, raw, f"close{n}x")
            raw.frame(body, CLOSE)
            raw.frame(frame_of("ping", identity="late"))
            raw.ended()
            tap.ok("late" not in [f.get("id") for f in raw.frames], f"close with {what} ends the connection")
        got = abuse.deliveries("bob", 1, prefix=f"close{n}x", exclusive=False)
        tap.equal([m["attempt"] for m in got], [2], f"close with {what}: what it held goes to the next at once")
    with abuse.raw("bob") as raw:
        held(abuse, raw, "closemid")
        raw.frame(b'{"type":"req","id":"half"', TEXT, fin=False)
        raw.frame(struct.pack(">H", 1000), CLOSE)
        raw.ended()
    got = abuse.deliveries("bob", 1, prefix="closemid", exclusive=False)
    tap.equal([m["attempt"] for m in got], [2], "close in the middle of a message: the same")


# ---- the inbox ----------------------------------------------------------------------------------


def check_churn(abuse, tap):
    """Subscribes and unsubscribes without waiting, while deliveries are on their way."""
    total = 60
    with abuse.raw("alice") as alice:
        asked = [
            alice.request("send", {"to": "bob", "message": n, "idempotencyKey": f"churn{n}"}) for n in range(total)
        ]
        for identity in asked:
            alice.answer(identity)
    with abuse.raw("bob") as bob:
        asked = []
        for n in range(40):
            asked.append(bob.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 1 + n % 20}))
            if n % 3:
                asked.append(bob.request("inbox.unsubscribe", {"inbox": "bob"}))
        for identity in asked:
            bob.answer(identity)
        bob.call("inbox.unsubscribe", {"inbox": "bob"})
        tap.equal(states(abuse, "churn"), "ready", "after 40 subscriptions and their ends nothing is held")
        stale = [f["payload"]["deliveryId"] for f in bob.frames if f.get("event") == "inbox.message"]
        bob.frames.clear()
        answer = bob.call("inbox.ack", {"inbox": "bob", "deliveryIds": stale[:1000]}) if stale else {"stale": []}
        tap.equal(answer["stale"], stale, f"{len(stale)} deliveries of ended subscriptions are stale")
    got = abuse.deliveries("bob", total, prefix="churn")
    tap.equal([m["content"] for m in got], list(range(total)), "all of it arrives, in order")
    tap.ok(all(m["attempt"] <= 41 for m in got), "and no attempt was counted that was none")


def check_ping_pong(abuse, tap):
    """Two exclusive subscribers that take the inbox from each other, each as soon as it has lost it."""
    total, rounds = 30, 20
    with abuse.raw("alice") as alice:
        for n in range(total):
            alice.call("send", {"to": "bob", "message": n, "idempotencyKey": f"pong{n}"})
    with abuse.raw("bob") as one, abuse.raw("bob") as two:
        epochs, acked = [], []
        epochs.append(one.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 5})["epoch"])
        has, lost = one, two
        for _ in range(rounds):
            delivery = has.event("inbox.message")
            epochs.append(lost.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 5})["epoch"])
            answer = has.call("inbox.ack", {"inbox": "bob", "deliveryIds": [delivery["deliveryId"]]})
            acked += answer["acked"]
            fenced = has.event("inbox.fenced")
            if fenced["epoch"] != epochs[-2]:
                tap.ok(False, "the fenced epoch is that of the loser")
            has.frames = [f for f in has.frames if f.get("event") != "inbox.message"]
            has, lost = lost, has
        tap.equal(epochs, sorted(set(epochs)), f"{rounds} times the inbox changed hands, each epoch a newer one")
        tap.equal(acked, [], "an acknowledgement behind the loss is stale")
        fenced = [f for s in (one, two) for f in s.frames if f.get("event") == "inbox.fenced"]
        tap.equal(fenced, [], "each loss was told once")
    got = abuse.deliveries("bob", total, prefix="pong")
    tap.equal([m["content"] for m in got], list(range(total)), "all of it arrives, in order, once")


def check_many_ids(abuse, tap):
    send(abuse, "bob", "ids")
    with abuse.raw("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        delivery = bob.event("inbox.message")["deliveryId"]
        for method in ("inbox.ack", "inbox.extend"):
            asked = bob.request(method, {"inbox": "bob", "deliveryIds": [delivery] * 10_000})
            tap.equal(bob.code(asked), "INVALID_REQUEST", f"{method} of 10 000 ids is refused")
        answer = bob.call("inbox.extend", {"inbox": "bob", "deliveryIds": [delivery] * 1000, "leaseMs": 60000})
        tap.equal(answer["extended"], 1, "a lease that is named a thousand times is lengthened once")
        ids = [delivery, *[f"{n}.x" for n in range(1, 999)], delivery]
        answer = bob.call("inbox.ack", {"inbox": "bob", "deliveryIds": ids})
        tap.equal(
            (answer["acked"], answer["already"], len(answer["stale"])),
            ([delivery], [delivery], 998),
            "of a thousand ids each is answered",
        )


def check_large_result(abuse, tap):
    with abuse.raw("alice") as alice, abuse.raw("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "exclusive": False})
        for n, reply in enumerate(["r" * (RESPONSE_MAX - 2), '"' * ((RESPONSE_MAX - 2) // 2), {"deep": ["x" * 400_000]}]):
            asked = alice.request(
                "agent", {"agentId": "bob", "message": "?", "idempotencyKey": f"big{n}", "timeout": 60}
            )
            delivery = bob.event("inbox.message")
            if n == 0:
                over = bob.request("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": reply + "r"})
                tap.equal(bob.code(over), "TOO_LARGE", "a result of one byte more than there may be is refused")
            answer = bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": reply})
            tap.equal(answer["acked"], [delivery["deliveryId"]], "the largest is taken")
            tap.equal(alice.answer(asked)["status"], "accepted", "who asked")
            final = alice.answer(asked)
            text = final["result"]["payloads"][0]["text"]
            tap.ok(
                text == reply or (isinstance(reply, dict) and json.loads(text) == reply),
                "has all of it", f"{len(text)} bytes of {text[:60]}",
            )  # fmt: skip
        waited = alice.call("agent.wait", {"runId": "big0", "timeoutMs": 1000})
        tap.equal(waited["status"], "ok", "and can ask for it again")


def check_late(abuse, tap):
    """What is said about a delivery when its lease has ended."""
    send(abuse, "bob", "late")
    with abuse.raw("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 1000})
        first = bob.event("inbox.message")
        second = bob.event("inbox.message")
        tap.equal((second["attempt"], second["redelivered"]), (2, True), "a lease that ended brings it again")
        named = {"inbox": "bob", "deliveryId": first["deliveryId"]}
        tap.equal(bob.code(bob.request("inbox.extend", named)), "STALE", "to extend the first is too late")
        tap.equal(bob.code(bob.request("inbox.nack", named)), "STALE", "to refuse it, too")
        tap.equal(bob.call("inbox.ack", named)["stale"], [first["deliveryId"]], "and to acknowledge it")
        bob.call("inbox.extend", {"inbox": "bob", "deliveryId": second["deliveryId"], "leaseMs": 60000})
        answer = bob.call("inbox.ack", {"inbox": "bob", "deliveryId": second["deliveryId"]})
        tap.equal(answer["acked"], [second["deliveryId"]], "the second counts")


def check_pull_beside(abuse, tap):
    """Pulls on a connection that is subscribed, and on another one."""
    total = 30
    with abuse.raw("bob") as bob, abuse.raw("bob") as other:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 3})
        with abuse.raw("alice") as alice:
            for n in range(total):
                alice.call("send", {"to": "bob", "message": n, "idempotencyKey": f"beside{n}"})
        seen = []
        deadline = time.monotonic() + PATIENCE
        while len(seen) < total and time.monotonic() < deadline:
            asked = [(s, s.request("inbox.pull", {"inbox": "bob", "max": 2})) for s in (bob, other)]
            for s, identity in asked:
                got = s.answer(identity)["messages"]
                pushed = [f["payload"] for f in s.frames if f.get("event") == "inbox.message"]
                s.frames = [f for f in s.frames if f.get("event") != "inbox.message"]
                for m in got + pushed:
                    acked = s.call("inbox.ack", {"inbox": "bob", "deliveryIds": [m["deliveryId"]]})["acked"]
                    seen += [m["content"]] if acked else []
        tap.equal(sorted(seen), list(range(total)), "pushed and pulled together it is all of it, once")


def session_pid(abuse, principal):
    opened = [
        json.loads(line)
        for line in abuse.stack.log("session").splitlines()
        if '"session.open"' in line and f'"principal":"{principal}"' in line
    ]
    return opened[-1]["pid"]


def check_stopped(abuse, tap):
    """A session that stands still for longer than its lease, and goes on."""
    send(abuse, "bob", "still")
    with abuse.raw("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": LEASE_MS, "exclusive": False})
        first = bob.event("inbox.message")
        handed = "select handed from openclaw.inbox where message_uuid = 'alice:still'"
        wait(lambda: abuse.stack.value(handed) == "t", "the delivery is noted", PATIENCE)
        pid = session_pid(abuse, "bob")
        os.kill(pid, signal.SIGSTOP)
        try:
            asked = bob.request("inbox.ack", {"inbox": "bob", "deliveryIds": [first["deliveryId"]]})
            got = abuse.deliveries("bob", 1, prefix="still", exclusive=False)
            tap.equal([m["attempt"] for m in got], [2], "what a session held that stands still goes to another")
        finally:
            os.kill(pid, signal.SIGCONT)
        answer = bob.answer(asked)
        tap.equal(
            (answer["acked"], answer["stale"]), ([], [first["deliveryId"]]),
            "when it goes on, its acknowledgement is stale",
        )  # fmt: skip
        tap.equal(bob.call("ping")["pong"], True, "and it serves")
        send(abuse, "bob", "after")
        delivery = bob.event("inbox.message")
        while delivery["messageId"] != "after":
            delivery = bob.event("inbox.message")
        answer = bob.call("inbox.ack", {"inbox": "bob", "deliveryIds": [delivery["deliveryId"]]})
        tap.equal(answer["acked"], [delivery["deliveryId"]], "as before")


def check_killed(abuse, tap):
    """kill -9 of websocketd: presence and deliveries."""
    send(abuse, "bob", "killed")
    bob = abuse.raw("bob")
    held_one = bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 3600000})
    tap.ok(held_one["epoch"] > 0, "somebody is subscribed")
    bob.event("inbox.message")
    dead = abuse.stack.kill("websocketd")
    abuse.stack.wait_running("websocketd", not_pid=dead)
    online = (
        "select count(*) from openclaw.executor where principal_id = 'bob' and kind = 'session' and ended_at is null"
    )
    wait(lambda: abuse.stack.value(online) == "0", "its sessions are offline", PATIENCE)
    tap.equal(abuse.stack.value("select count(*) from openclaw.subscription where agent_id = 'bob' and epoch > 0"), "0",
              "when websocketd is killed nobody is subscribed any more")  # fmt: skip
    bob.close()

    def again():
        try:
            return abuse.deliveries("bob", 1, prefix="killed")
        except (Gone, OSError, AssertionError):
            return None

    got = wait(again, "a connection is taken again", PATIENCE)
    tap.equal([m["attempt"] for m in got], [2], "and what was held is delivered to the next")


def main():
    skip_without_stack()
    tap = Tap()
    with Abuse(SETTINGS) as abuse:
        for what, check in (
            ("fragments", check_fragments),
            ("frames before the handshake", check_early),
            ("compression", check_compression),
            ("frames that are forbidden", check_forbidden),
            ("closes", check_closes),
            ("churn", check_churn),
            ("ping-pong", check_ping_pong),
            ("many ids", check_many_ids),
            ("large results", check_large_result),
            ("late words", check_late),
            ("pulls beside a subscription", check_pull_beside),
            ("a session that stands still", check_stopped),
        ):
            with abuse.during(tap, what):
                check(abuse, tap)
        abuse.judge(tap)
        check_killed(abuse, tap)  # which takes the bystander's connection, too
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

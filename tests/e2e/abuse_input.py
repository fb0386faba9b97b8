#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Bad input through the real front server and the real websocketd: shapes of frames, JSON that is none,
encodings, identifiers, and what is not the client's to say. Each is answered with an error that names
it, the connection lives, another client notices nothing, and nothing bad reaches PostgreSQL."""

import json
import sys

from abuse import BINARY, CONTINUATION, MB, TEXT, Abuse
from stack import Refused, skip_without_stack
from tap import Tap

# What a bad identifier may be answered with; INTERNAL or UNAVAILABLE would mean that it got too far.
JUDGED = {
    "INVALID_REQUEST",
    "INVALID_ID",
    "INVALID_ENCODING",
    "NOT_FOUND",
    "UNKNOWN_RECIPIENT",
    "FORBIDDEN",
    "STALE",
    "TOO_LARGE",
}


def ping(identity):
    return json.dumps({"type": "req", "id": identity, "method": "ping"})


def check_shapes(tap, abuse):
    with abuse.raw("alice") as alice:
        alice.frame(json.dumps(json.loads(ping("p1")), indent=4))
        tap.ok(alice.answer("p1"), "pretty-printed JSON is read")
        alice.frame(ping("p2") + ping("p3"))
        tap.ok(alice.answer("p2") and alice.answer("p3"), "two objects in one message")
        alice.frame("\n".join(ping(f"l{i}") for i in range(50)))
        tap.ok(all(alice.answer(f"l{i}") for i in range(50)), "fifty lines in one message")
        text = ping("p4").encode()
        alice.frame(text[:7], TEXT, fin=False)
        for byte in text[7:-1]:
            alice.frame(bytes([byte]), CONTINUATION, fin=False)
        alice.frame(text[-1:], CONTINUATION)
        tap.ok(alice.answer("p4"), "a message of many fragments")
        alice.frame(ping("p5"))
        alice.frame(b"\x00\xff\xfe\x80", BINARY)
        alice.frame(ping("p6"))
        alice.frame(ping("p7"))
        tap.ok(alice.answer("p5"), "binary between two texts: the first is answered")
        # what came of the line first may have been all that was there to look for an id in
        refused = alice.take(lambda f: f.get("type") == "res" and f["id"] in ("p6", "invalid"))
        tap.ok(not refused["ok"], "the line that it spoils is refused", refused)
        tap.ok(alice.answer("p7"), "and the next is answered")
        alice.frame(ping("p8").encode(), BINARY)
        alice.frame(ping("p9"))
        tap.ok(alice.answer("p8") and alice.answer("p9"), "a binary message that is JSON is one")
        alice.frame(b"", TEXT)
        alice.frame(b"", BINARY)
        alice.frame("\r\n\n \t\n" * 1000)
        tap.ok(alice.call("ping"), "empty messages mean nothing")
        alice.frame('{"type":"req","id":"cut","method":')
        tap.equal(alice.code("cut"), "INVALID_JSON", "an object that does not end is refused")
        tap.ok(alice.call("ping"), "and the connection lives")


BAD = [
    ("not JSON", b"hello", "INVALID_JSON", "invalid"),
    ("an array", b"[1,2]", "INVALID_REQUEST", "invalid"),
    ("a trailing comma", b'{"type":"req","id":"b1","method":"ping",}', "INVALID_JSON", "b1"),
    ("a byte order mark", b"\xef\xbb\xbf" + ping("b0").encode(), "INVALID_JSON", None),
    ("depth 20000", b'{"id":"b2","a":' + b"[" * 20000 + b"]" * 20000 + b"}", "TOO_DEEP", "b2"),
    ("depth 20000 without an end", b'{"a":' * 20000, "TOO_DEEP", "invalid"),
    (
        "duplicate keys",
        b'{"type":"req","id":"b3","id":"b3","method":"ping"}',
        "DUPLICATE_KEY",
        "b3",
    ),
    (
        "duplicate keys, one of them escaped",
        b'{"type":"req","id":"b4","method":"ping","\\u006dethod":"health"}',
        "DUPLICATE_KEY",
        "b4",
    ),
    (
        "an escaped NUL",
        b'{"type":"req","id":"b5","method":"pi\\u0000ng"}',
        "INVALID_ENCODING",
        "b5",
    ),
    ("a raw NUL", b'{"type":"req","id":"b6","method":"pi\x00ng"}', None, "b6"),
    ("a lone surrogate", b'{"type":"req","id":"b7","method":"\\ud800"}', "INVALID_ENCODING", "b7"),
    (
        "surrogates reversed",
        b'{"type":"req","id":"b8","method":"\\udc00\\ud800"}',
        "INVALID_ENCODING",
        "b8",
    ),
    (
        "a surrogate as UTF-8",
        b'{"type":"req","id":"b9","method":"\xed\xa0\x80"}',
        "INVALID_ENCODING",
        "b9",
    ),
    ("overlong UTF-8", b'{"type":"req","id":"b10","method":"\xc0\xaf"}', "INVALID_ENCODING", "b10"),
    ("Latin-1", b'{"type":"req","id":"b11","method":"\xe9"}', "INVALID_ENCODING", "b11"),
    (
        "a number out of range",
        b'{"type":"req","id":"b12","method":"ping","params":{"a":1e400000}}',
        "NUMBER_RANGE",
        "b12",
    ),
    ("an answer", b'{"type":"res","id":"b13","ok":true}', "INVALID_REQUEST", "b13"),
    ("no method", b'{"type":"req","id":"b14"}', "INVALID_REQUEST", "b14"),
    (
        "params that are a list",
        b'{"type":"req","id":"b15","method":"ping","params":[]}',
        "INVALID_REQUEST",
        "b15",
    ),
]


def check_json(tap, abuse):
    with abuse.raw("alice") as alice:
        for name, line, code, identity in BAD:
            alice.frame(line)
            if identity is None:  # whichever id it could make out
                frame = alice.take(lambda f: f.get("type") == "res" and not f["ok"])
                got = frame["error"]["code"]
            else:
                got = alice.code(identity)
            tap.ok(got == code or (code is None and got), f"{name}: {got}")
            alice.call("ping")
        # the same where it would end in a column: as content, as metadata, as a key
        for name, text in (
            ("an escaped NUL", b"\\u0000"),
            ("a lone surrogate", b"\\ud800"),
            ("overlong UTF-8", b"\xc0\xaf"),
            ("a raw NUL", b"\x00"),
        ):
            for place, params in (
                ("content", b'"to":"bob","message":"%s","idempotencyKey":"x"'),
                (
                    "metadata",
                    b'"to":"bob","message":"m","idempotencyKey":"x","metadata":{"a":"%s"}',
                ),
                (
                    "a metadata key",
                    b'"to":"bob","message":"m","idempotencyKey":"x","metadata":{"%s":1}',
                ),
                ("a recipient", b'"to":"%s","message":"m","idempotencyKey":"x"'),
                ("an idempotency key", b'"to":"bob","message":"m","idempotencyKey":"%s"'),
            ):
                alice.frame(
                    b'{"type":"req","id":"e1","method":"send","params":{' + params % text + b"}}"
                )
                tap.ok(
                    alice.code("e1") in ("INVALID_ENCODING", "INVALID_JSON"),
                    f"{name} as {place} is refused",
                )
            alice.call("ping")


def check_numbers(tap, abuse):
    """Keys without end: more than a frame may hold, and as many as fit into one."""
    with abuse.raw("alice") as alice:
        keys = ",".join(f'"{i}":0' for i in range(1_000_000))
        alice.frame('{"type":"req","id":"k1","method":"ping","params":{' + keys + "}}")
        tap.equal(alice.code("k1"), "TOO_LARGE", "a million keys: too large")
        tap.ok(
            alice.ended().startswith("a frame is larger"),
            "and as more than eight frames' worth, goodbye",
        )
    with abuse.raw("alice") as alice:
        keys = ",".join(f'"{i}":0' for i in range(90_000))
        alice.frame('{"type":"req","id":"k2","method":"ping","params":{' + keys + "}}")
        tap.equal(alice.code("k2"), "TOO_MANY_KEYS", "90 000 keys in less than a MiB: too many")
        alice.request("ping", {"x": "y" * (MB - 1000)}, "k3")
        tap.ok(alice.answer("k3"), "a string of nearly a MiB is taken")
        alice.request("ping", {"x": "y" * (2 * MB)}, "k4")
        tap.equal(alice.code("k4"), "TOO_LARGE", "2 MiB are refused, by their id")
        tap.ok(alice.call("ping"), "and the connection lives")
        alice.frame("rubbish\n" * 20)
        tap.equal(
            alice.ended(),
            "too many frames that are not valid",
            "after ten bad frames in a row, goodbye",
        )


BAD_IDS = [
    ("", "0 characters"),
    ("x" * 10000, "10 000 characters"),
    ("../../etc/passwd", "slashes"),
    ("a/b", "a slash"),
    ("a\nb", "a newline"),
    ("a\r\nSet-Cookie: b", "CR LF"),
    ("\x01\x1f\x7f", "control characters"),
    ("a b", "a space"),
    ("\u202eevil", "right to left"),
    ("bob\u200b", "no width"),
    ("✓ünïcode", "not ASCII"),
    ("%00", "percent"),
    ("'; drop table openclaw.inbox; --", "SQL"),
    ("{1,2}", "an array literal"),
    ("\\x00", "a bytea literal"),
]

PLACES = [
    ("send", "to", {"message": "m", "idempotencyKey": "ids"}),
    ("send", "idempotencyKey", {"to": "bob", "message": "m"}),
    ("agent.send", "sessionKey", {"message": "m"}),
    ("agent", "agentId", {"message": "m", "idempotencyKey": "ids"}),
    ("chat.send", "sessionKey", {"message": "m", "idempotencyKey": "ids"}),
    ("sessions.send", "key", {"message": "m"}),
    ("agent.wait", "runId", {"timeoutMs": 0}),
    ("inbox.subscribe", "inbox", {}),
    ("inbox.pull", "inbox", {"waitMs": 0}),
    ("inbox.stats", "inbox", {}),
    ("inbox.unsubscribe", "inbox", {}),
    ("inbox.nack", "deliveryId", {}),
    ("workflow.status", "workflowUuid", {}),
    ("workflow.events", "workflowUuid", {}),
    ("inbox.dead.list", "inbox", {}),
    ("inbox.dead.show", "id", {}),
]
# Printable ASCII is a key like any other; and once it was taken, its run is there to be asked for.
KEY_FIELDS = {"idempotencyKey", "runId", "workflowUuid"}
KEYS_TAKEN = {"../../etc/passwd", "a/b", "%00", "{1,2}", "\\x00"}


def check_ids(tap, abuse):
    with abuse.raw("alice") as alice:
        for method, field, others in PLACES:
            wrong = []
            for identity, name in BAD_IDS:
                code = alice.code(alice.request(method, {**others, field: identity}))
                taken = code is None and (
                    (field in KEY_FIELDS and identity in KEYS_TAKEN)
                    or (identity == "" and method == "inbox.unsubscribe")
                )
                if code not in JUDGED and not taken:
                    wrong.append((name, code))
            tap.equal(wrong, [], f"{method}: {field} of {len(BAD_IDS)} bad kinds is judged")
        for method in ("inbox.redrive", "inbox.purge"):
            # an id of a row that is not there is unknown, whatever it looks like
            for identity, name in BAD_IDS:
                request = alice.request(method, {"id": identity})
                try:
                    answer = alice.answer(request)
                    others = [value for key, value in answer.items() if key != "unknown"]
                    tap.ok(not any(others), f"{method} of {name}: unknown", answer)
                except Refused as refusal:
                    tap.ok(refusal.code in JUDGED, f"{method} of {name}: {refusal.code}")
        for lists in ([""], ["x" * 10000], ["a\nb"], ["\u202e"], [1], [{}], ["ok"] * 5000, "x", []):
            code = alice.code(alice.request("inbox.ack", {"deliveryIds": lists}))
            tap.ok(code in JUDGED or code is None, f"inbox.ack of {str(lists)[:20]}…: {code}")
        for identity, name in BAD_IDS:
            if identity and len(identity) <= 1024:
                tap.ok(
                    alice.answer(alice.request("ping", None, identity)),
                    f"a request's id is its own: {name}",
                )
        for identity in ("", "x" * 10000, 7, None, {}):
            alice.frame(json.dumps({"type": "req", "id": identity, "method": "ping"}))
            tap.equal(
                alice.code(),
                "INVALID_REQUEST",
                f"a request's id: {str(identity)[:10]!r} is refused",
            )
        strange = (
            "RTL \u202e, \u2028, 👩‍👩‍👧, \x01\x7f, tab\t, newline\n, é, e\u0301, \uffff, \U0010ffff"
        )
        alice.call("send", {"to": "bob", "message": strange, "idempotencyKey": "strange"})
    got = abuse.deliveries("bob", 1, prefix="strange")
    tap.equal(got[0]["content"], strange, "what is strange and valid arrives as it was sent")


def check_bare(tap, abuse):
    """The oldest dialect."""
    with abuse.raw("bob") as bob:
        for identity, name in BAD_IDS:
            message = {"id": identity, "from": "bob", "to": "alice", "content": "c"}
            bob.frame(json.dumps(message))
            frame = bob.take(lambda f: f.get("type") in ("error", "workflow_result"))
            taken = identity in KEYS_TAKEN and frame["type"] == "workflow_result"
            tap.ok(taken or frame.get("code") in JUDGED, f"a bare message's id of {name}", frame)
        bob.frame(json.dumps({"id": "spoof", "from": "alice", "to": "alice", "content": "c"}))
        frame = bob.take(lambda f: f.get("type") in ("error", "workflow_result"))
        tap.equal(frame.get("code"), "FORBIDDEN", "a bare message in another's name is refused")


def check_identity(tap, abuse):
    """What is another's stays another's, and nobody learns whether it exists."""
    stack = abuse.stack
    with abuse.raw("alice") as alice, abuse.raw("bob") as bob:
        for method, params in (
            (
                "send",
                {"to": "bob", "message": "m", "idempotencyKey": "spoofed", "from": "operator"},
            ),
            ("agent.send", {"sessionKey": "agent:bob:main", "message": "m", "from": "bob"}),
            (
                "agent",
                {"agentId": "bob", "message": "m", "idempotencyKey": "spoofed", "from": "carol"},
            ),
        ):
            tap.equal(
                alice.code(alice.request(method, params)),
                "FORBIDDEN",
                f"{method}: a spoofed `from`",
            )
        tap.equal(
            stack.value(
                "select count(*) from dbos_system.workflow_status where workflow_uuid like '%spoofed%'"
            ),
            "0",
            "nothing of it was written",
        )
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 1})
        alice.call("send", {"to": "bob", "message": "for bob", "idempotencyKey": "his"})
        message = bob.event("inbox.message")
        tap.equal(message["from"], "alice", "`from` is the principal")
        his, invented = message["deliveryId"], message["deliveryId"][:-4] + "0000"
        outcomes = []
        for delivery in (his, invented):
            answers = []
            for method, params in (
                ("inbox.ack", {"deliveryIds": [delivery]}),
                ("inbox.nack", {"deliveryId": delivery}),
                ("inbox.nack", {"deliveryId": delivery, "requeue": False}),
                ("inbox.extend", {"deliveryIds": [delivery], "leaseMs": 60000}),
            ):
                try:
                    answer = alice.call(method, params)
                    answers.append({key: bool(value) for key, value in answer.items()})
                except Refused as refusal:
                    answers.append((refusal.code, refusal.error["message"].replace(delivery, "")))
            outcomes.append(answers)
        print(f"# another agent's deliveryId: {outcomes[0]}")
        tap.equal(
            outcomes[0], outcomes[1], "another's deliveryId is answered like one that is invented"
        )
        tap.equal(
            stack.value("select state from openclaw.inbox where message_uuid = 'alice:his'"),
            "leased",
            "and the delivery is untouched",
        )
        tap.equal(
            bob.call("inbox.ack", {"deliveryIds": [his]})["acked"],
            [his],
            "its owner acknowledges it",
        )
        for method, params in (
            ("inbox.subscribe", {"inbox": "bob"}),
            ("inbox.pull", {"inbox": "bob"}),
            ("inbox.stats", {"inbox": "bob"}),
            ("workflow.status", {"workflowUuid": "carol:trip-1"}),
            ("workflow.events", {"workflowUuid": "carol:trip-1"}),
            ("agent.wait", {"runId": "carol:trip-1", "timeoutMs": 0}),
        ):
            code = alice.code(alice.request(method, params))
            tap.ok(code in ("FORBIDDEN", "NOT_FOUND"), f"{method} of another's: {code}")


def check_dead_letters(tap, abuse):
    """One from carol to bob: alice has no part in it."""
    with abuse.raw("alice") as alice, abuse.raw("bob") as bob, abuse.raw("carol") as carol:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        carol.call("send", {"to": "bob", "message": "m", "idempotencyKey": "dead"})
        message = bob.event("inbox.message")
        bob.call("inbox.nack", {"deliveryId": message["deliveryId"], "requeue": False})
        letter = bob.call("inbox.dead.list")["deadLetters"][0]
        tap.equal(
            alice.call("inbox.dead.list", {"inbox": "bob"})["deadLetters"],
            [],
            "dead letters: not listed",
        )
        identity = letter["id"]
        for method in ("inbox.dead.show", "inbox.redrive", "inbox.purge"):
            request = alice.request(method, {"id": identity})
            try:
                answer = alice.answer(request)
                others = [value for name, value in answer.items() if name != "unknown"]
                tap.ok(not any(others), f"dead letters: {method} knows nothing of it", answer)
            except Refused as refusal:
                tap.ok(refusal.code in JUDGED, f"dead letters: {method}: {refusal.code}")
        dead = f"select state from openclaw.inbox where message_uuid = '{identity}'"
        tap.equal(abuse.stack.value(dead), "dead", "and it is what it was")


def check_scopes(tap, abuse):
    for scopes in (["operator"], ["agents:write"], ["no-such-scope"], ["send", "operator"]):
        with abuse.raw() as raw:
            try:
                raw.connect(abuse.tokens["alice"], scopes=scopes)
                tap.ok(False, f"connect with {scopes}")
            except Refused as refusal:
                tap.equal(
                    refusal.code, "FORBIDDEN", f"connect with {scopes}, which it does not have"
                )
            raw.ended()
            tap.ok(True, "and the connection ends")
    with abuse.raw("alice", scopes=["inbox"]) as less:
        code = less.code(
            less.request("send", {"to": "bob", "message": "m", "idempotencyKey": "less"})
        )
        tap.equal(code, "FORBIDDEN", "who asked for less has less")
        try:
            less.connect(abuse.tokens["bob"])
            tap.ok(False, "a second connect as somebody else")
        except Refused as refusal:
            tap.ok(
                refusal.code in ("INVALID_REQUEST", "FORBIDDEN"),
                "a second connect as somebody else is refused",
            )
    abuse.tokens["reader"] = abuse.agent("reader", "--scopes", "inbox")
    with abuse.raw("reader") as reader:
        code = reader.code(
            reader.request("send", {"to": "bob", "message": "m", "idempotencyKey": "r"})
        )
        tap.equal(code, "FORBIDDEN", "without the scope `send` nothing is sent")
        reader.frame(json.dumps({"id": "r", "from": "reader", "to": "bob", "content": "c"}))
        frame = reader.take(lambda f: f.get("type") in ("error", "workflow_result"))
        tap.equal(frame.get("code"), "FORBIDDEN", "nor in the oldest dialect")


def main():
    skip_without_stack()
    tap = Tap()
    with Abuse() as abuse:
        for what, check in (
            ("frames of any shape", check_shapes),
            ("bad JSON and bad encodings", check_json),
            ("keys and bytes without end", check_numbers),
            ("bad identifiers", check_ids),
            ("the oldest dialect", check_bare),
            ("other agents' things", check_identity),
            ("other agents' dead letters", check_dead_letters),
            ("scopes", check_scopes),
        ):
            with abuse.during(tap, what):
                check(tap, abuse)
        abuse.judge(tap)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

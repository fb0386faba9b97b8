#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sending: the methods and their answers, idempotency, waiting for a delivery or a reply, who may
speak as whom, and the oldest dialect."""

import sys
import time

from responder import Responder
from sessions import Refused, World, message
from tap import Tap


def code_of(session, method, params):
    try:
        session.call(method, params)
    except Refused as refusal:
        return refusal.code
    return None


def check_agent_send(tap, world, alice, bob):
    params = {"sessionKey": "agent:bob:main", "message": "one", "idempotencyKey": "s1"}
    answer = alice.call("agent.send", params)
    tap.equal(
        (
            answer["status"],
            answer["message_id"],
            answer["id"],
            answer["runId"],
            answer["duplicate"],
        ),
        ("queued", "s1", "s1", "s1", False),
        "agent.send: accepted",
    )
    tap.equal(answer["workflowUuid"], "alice:s1", "its workflow")
    tap.equal(
        world.value(
            "select status from dbos_system.workflow_status where workflow_uuid = 'alice:s1'"
        ),
        "DELAYED",
        "is in the database before the answer",
    )
    payloads = answer["result"]["payloads"]
    tap.equal((len(payloads), payloads[0]["mediaUrl"]), (1, None), "the result's payloads")
    tap.ok("waits" in answer["response"], "the response is a sentence, and true")
    again = alice.call("agent.send", params)
    tap.equal((again["duplicate"], again["workflowUuid"]), (True, "alice:s1"), "the same key again")
    tap.equal(
        code_of(alice, "agent.send", {**params, "message": "other"}),
        "IDEMPOTENCY_CONFLICT",
        "the same key for something else",
    )
    tap.equal(
        world.value("select count(*) from openclaw.inbox where sender = 'alice'"),
        "1",
        "one message",
    )
    without = alice.call("agent.send", {"sessionKey": "agent:bob:main", "message": "two"})
    tap.ok(without["message_id"] == without["workflowUuid"], "without a key the id is a fresh one")
    for _ in range(2):
        delivery = bob.event("inbox.message")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    tap.equal(
        alice.call("agent.send", params)["status"], "acknowledged", "and later what became of it"
    )


def check_waits(tap, alice, bob):
    params = {
        "sessionKey": "agent:bob:main",
        "message": "?",
        "idempotencyKey": "w1",
        "waitFor": "reply",
        "timeout": 5,
    }
    identity = alice.request("agent.send", params)
    first = alice.answer(identity)
    tap.equal((first["status"], first["runId"]), ("accepted", "w1"), "a wait: accepted comes first")
    delivery = bob.event("inbox.message")
    tap.ok(delivery["expectsReply"], "the recipient is asked for a reply")
    begun = time.monotonic()
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": "forty-two"})
    final = alice.answer(identity)
    tap.ok(time.monotonic() - begun < 15, "the reply comes at once")
    tap.equal(
        (final["status"], final["response"], final["result"]["payloads"][0]["text"]),
        ("acknowledged", "forty-two", "forty-two"),
        "the reply",
    )
    begun = time.monotonic()
    identity = alice.request(
        "agent.send", {**params, "idempotencyKey": "w2", "waitFor": "delivered"}
    )
    alice.answer(identity)
    delivery = bob.event("inbox.message")
    final = alice.answer(identity)
    tap.equal(final["status"], "delivered", "waiting for the delivery")
    tap.ok(time.monotonic() - begun < 15, "which is told at once")
    begun = time.monotonic()
    identity = alice.request("agent.send", {**params, "idempotencyKey": "w3", "timeout": 1})
    alice.answer(identity)
    final = alice.answer(identity)
    tap.ok(0.9 < time.monotonic() - begun < 15, "a deadline ends the wait")
    tap.equal(final["status"], "queued", "with the truth")
    run = alice.call("agent.wait", {"runId": "w2", "timeoutMs": 0})
    result = run["result"]
    tap.equal(
        (run["status"], result["status"], result["deliveryAttempts"]),
        ("timeout", "delivered", 1),
        "a run that goes on",
    )
    tap.ok(result["lastAttemptTime"], "with the time of the last attempt", result)
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    delivery = bob.event("inbox.message")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": {"n": 1}})
    tap.equal(alice.call("agent.wait", {"runId": "w3"})["status"], "ok", "and not the message")


def check_agent(tap, world, alice, bob):
    identity = alice.request("agent", {"message": "do", "idempotencyKey": "a1", "agentId": "bob"})
    first = alice.answer(identity)
    tap.equal((first["runId"], first["status"]), ("a1", "accepted"), "agent: accepted")
    tap.ok(isinstance(first["acceptedAt"], int), "with its time")
    delivery = bob.event("inbox.message")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": "done"})
    final = alice.answer(identity)
    tap.equal((final["runId"], final["status"], final["summary"]), ("a1", "ok", "done"), "then ok")
    tap.ok(final["result"]["meta"]["durationMs"] >= 0, "and how long it took")
    identity = alice.request("agent", {"message": "do", "idempotencyKey": "a1", "agentId": "bob"})
    tap.equal(alice.answer(identity)["status"], "accepted", "again: accepted")
    tap.equal(alice.answer(identity)["summary"], "done", "again: the stored reply")
    identity = alice.request("agent", {"message": "no", "idempotencyKey": "a2", "to": "bob"})
    alice.answer(identity)
    delivery = bob.event("inbox.message")
    bob.call(
        "inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "cannot"}
    )
    final = alice.answer(identity)
    tap.equal(final["status"], "error", "a dead letter is an error")
    tap.ok("cannot" in final["summary"], "that says why", final["summary"])
    identity = alice.request(
        "agent", {"message": "x", "idempotencyKey": "a3", "to": "bob", "timeout": 1}
    )
    alice.answer(identity)
    delivery = bob.event("inbox.message")
    tap.equal(alice.answer(identity)["status"], "timeout", "too late is timeout")
    alice.kill()
    with world.connect("alice") as other:
        identity = other.request("agent.wait", {"runId": "a3", "timeoutMs": 8000})
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": "at last"})
        waited = other.answer(identity)
        tap.equal(
            (waited["runId"], waited["status"], waited["response"]),
            ("a3", "ok", "at last"),
            "agent.wait from another connection, after a crash",
        )
        tap.equal(
            other.call("agent.wait", {"runId": "alice:a3"})["status"], "ok", "by the workflow's id"
        )
        tap.equal(code_of(other, "agent.wait", {"runId": "nothing"}), "NOT_FOUND", "an unknown run")
        tap.equal(
            other.call("workflow.status", {"workflowUuid": "alice:a3"})["status"],
            "SUCCESS",
            "workflow.status",
        )
        keys = [
            e["key"] for e in other.call("workflow.events", {"workflowUuid": "alice:a3"})["events"]
        ]
        tap.ok("acknowledged" in keys and "delivered" in keys, "workflow.events", keys)
        tap.ok(len(other.call("workflow.list", {"limit": 3})["workflows"]) == 3, "workflow.list")
        try:
            other.call("workflow.list", {"status": "nope"})
            tap.ok(False, "workflow.list of a status that does not exist is refused")
        except Refused as refusal:
            tap.ok(refusal.code == "INVALID_REQUEST" and "DELAYED" in refusal.error["message"],
                   "workflow.list of a status that does not exist is refused", refusal.error)
    tap.equal(code_of(bob, "agent.wait", {"runId": "alice:a3"}), "NOT_FOUND", "another's run")
    tap.equal(
        code_of(bob, "workflow.status", {"workflowUuid": "alice:a3"}),
        "NOT_FOUND",
        "and its workflow",
    )


def check_others(tap, alice, bob):
    answer = alice.call("send", message("bob", "s", "o1", channel="chat", metadata={"a": [1]}))
    tap.equal(
        (
            answer["runId"],
            answer["messageId"],
            answer["channel"],
            answer["status"],
            answer["duplicate"],
        ),
        ("o1", "o1", "chat", "queued", False),
        "send",
    )
    tap.ok(answer["inboxSeq"] > 0, "with its place")
    delivery = bob.event("inbox.message")
    tap.equal((delivery["content"], delivery["metadata"]), ("s", {"a": [1]}), "metadata arrives")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    answer = alice.call(
        "chat.send", {"sessionKey": "agent:bob:work", "message": "c", "idempotencyKey": "o2"}
    )
    tap.equal(answer, {"runId": "o2", "status": "started"}, "chat.send")
    delivery = bob.event("inbox.message")
    tap.equal(delivery["sessionKey"], "agent:bob:work", "the session key arrives")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    alice.call(
        "chat.send", {"sessionKey": "agent:bob:main", "message": "a question", "idempotencyKey": "c1"}
    )
    delivery = bob.event("inbox.message")
    tap.ok(delivery["expectsReply"], "chat.send asks for a reply")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    answer = alice.call("sessions.send", {"key": "agent:bob:main", "message": {"any": "JSON"}})
    tap.equal(answer["status"], "started", "sessions.send, without a key")
    delivery = bob.event("inbox.message")
    tap.equal(delivery["content"], {"any": "JSON"}, "any JSON is a message")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
    begun = time.monotonic()
    alice.call("send", message("bob", "later", "o3", delayMs=700))
    delivery = bob.event("inbox.message")
    tap.ok(0.6 < time.monotonic() - begun < 15, f"delayMs: {time.monotonic() - begun:.2f} s")
    bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})


def check_refused(tap, world, alice):
    for name, params, code in (
        ("an unknown recipient", message("nobody", "x", "r1"), "UNKNOWN_RECIPIENT"),
        ("another's name", message("bob", "x", "r2", **{"from": "carol"}), "FORBIDDEN"),
        ("no recipient", {"message": "x", "idempotencyKey": "r3"}, "INVALID_REQUEST"),
        ("no message", {"to": "bob", "idempotencyKey": "r4"}, "INVALID_REQUEST"),
        ("no key", {"to": "bob", "message": "x"}, "INVALID_REQUEST"),
        ("a key with a space", message("bob", "x", "a b"), "INVALID_ID"),
        ("a key of 10000", message("bob", "x", "k" * 10000), "INVALID_ID"),
        ("a key with a newline", message("bob", "x", "a\nb"), "INVALID_ID"),
        ("a recipient of 10000", message("b" * 10000, "x", "r5"), None),
        ("a recipient with a slash", message("../bob", "x", "r6"), None),
        ("a negative delay", message("bob", "x", "r7", delayMs=-1), "INVALID_REQUEST"),
        ("priority 10", message("bob", "x", "r8", priority=10), "INVALID_REQUEST"),
        ("metadata that is a list", message("bob", "x", "r9", metadata=[1]), "INVALID_REQUEST"),
    ):
        got = code_of(alice, "send", params)
        tap.ok(got == code if code else got, f"{name}: {got}")
    for params, words in (
        (message("nobody", "x", "r1"), "there is no such agent"),
        (message("bob", "another", "o1"), "this idempotency key was used for a different request"),
    ):
        try:
            alice.call("send", params)
            tap.ok(False, f"refused: {words}")
        except Refused as refusal:
            text = refusal.error["message"]
            tap.ok(text.startswith(words), f"the message says what is wrong: {words}", text)
    own = alice.call("send", message("carol", "x", "r10", **{"from": "alice"}))
    tap.equal(own["status"], "queued", "one's own name is no other's")
    world.sql("update openclaw.agent set inbox_limit = 1 where agent_id = 'carol'")
    tap.equal(code_of(alice, "send", message("carol", "x", "r11")), "INBOX_FULL", "a full inbox")
    world.sql("insert into openclaw.principal values ('mute', 'program', array['inbox'])")
    world.tokens["mute"] = world.token("mute")
    with world.connect("mute") as mute:
        tap.equal(
            code_of(mute, "send", message("bob", "x", "r12")), "FORBIDDEN", "without the scope"
        )
        tap.equal(
            code_of(mute, "inbox.subscribe", {"inbox": "bob"}), "FORBIDDEN", "another's inbox"
        )


def check_bare(tap, world, bob):
    header = {"HTTP_AUTHORIZATION": f"Bearer {world.tokens['alice']}"}
    with world.open(**header) as alice:
        alice.send({"id": "b1", "from": "alice", "to": "bob", "content": "old", "timestamp": 1})
        answer = alice.take(lambda f: f["type"] == "workflow_result")
        tap.equal(answer["workflowUUID"], "alice:b1", "a bare message has its workflow")
        result = answer["result"]
        tap.equal(
            (
                result["messageId"],
                result["status"],
                result["deliveryAttempts"],
                result["lastAttemptTime"],
            ),
            ("b1", "queued", 0, None),
            "and its result",
        )
        alice.send({"id": "b1", "from": "alice", "to": "bob", "content": "old", "timestamp": 2})
        again = alice.take(lambda f: f["type"] == "workflow_result")
        tap.equal(again["workflowUUID"], "alice:b1", "its id is the idempotency key")
        delivery = bob.event("inbox.message")
        tap.equal((delivery["from"], delivery["content"]), ("alice", "old"), "it arrives")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": "ok"})
        alice.send({"id": "b1", "from": "alice", "to": "bob", "content": "old"})
        again = alice.take(lambda f: f["type"] == "workflow_result")["result"]
        tap.equal((again["status"], again["response"]), ("acknowledged", "ok"), "and is answered")
        for frame, code in (
            ({"id": "b2", "from": "carol", "to": "bob", "content": "x"}, "FORBIDDEN"),
            ({"id": "b3", "from": "alice", "to": "nobody", "content": "x"}, "UNKNOWN_RECIPIENT"),
            ({"id": "b4", "from": "alice", "to": "bob"}, "INVALID_REQUEST"),
            ({"id": "b1", "from": "alice", "to": "bob", "content": "new"}, "IDEMPOTENCY_CONFLICT"),
            ({"id": 5, "from": "alice", "to": "bob", "content": "x"}, "INVALID_ID"),
        ):
            alice.send(frame)
            error = alice.take(lambda f: f["type"] == "error")
            tap.equal(error["code"], code, f"bare: {code}")
            tap.ok(isinstance(error["error"], str) and error["error"], "its error is a text")
        alice.send_raw(b"not JSON\n")
        error = alice.take(lambda f: f["type"] == "error")
        tap.equal(error["code"], "INVALID_JSON", "bare: not JSON")
        tap.ok(alice.call("ping"), "requests may stand between them")
    with world.open() as stranger:
        stranger.send({"id": "b9", "from": "alice", "to": "bob", "content": "x"})
        error = stranger.take(lambda f: f["type"] == "error")
        tap.ok("first request must be connect" in error["error"], "without a credential: refused")


def check_batches(tap, world, alice):
    total = 1000
    identities = [
        alice.request("send", message("bob", "x" * 100, f"batch-{i}")) for i in range(total)
    ]
    places = [alice.answer(identity, 30)["inboxSeq"] for identity in identities]
    tap.ok(
        places == sorted(places) and len(set(places)) == total,
        "a thousand at once keep their order",
    )
    accepted = world.value(
        "select count(*) from openclaw.inbox where message_uuid like 'alice:batch-%'"
    )
    tap.equal(accepted, str(total), "and are all there")
    commits = world.value(
        "select count(distinct accepted_at) from openclaw.inbox where message_uuid like 'alice:batch-%'"
    )
    tap.ok(int(commits) < total / 4, f"in fewer commits than messages: {commits}")


def parent_of(span):
    return f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span:016x}-01"


def check_traces(tap, world):
    """Over a WebSocket: the connection's, unless the frame has one; and to and from HTTP."""
    world.sql("select openclaw.agent_provision('dave', 'openclaw-gateway', 'openclaw-1')")
    world.tokens["dave"] = world.token("dave")
    connection = {"HTTP_TRACEPARENT": parent_of(1), "HTTP_X_REQUEST_ID": "r-1"}
    params = {"sessionKey": "agent:dave:main", "message": "x", "traceparent": parent_of(2)}
    with world.connect("alice", connection) as alice:
        alice.call("send", message("dave", "x", "t-connection"))
        alice.call("send", message("dave", "x", "t-bad", traceparent="00-0-0-00"))
        alice.call("send", message("dave", "x", "t-number", traceparent=7))
        alice.call("send", message("dave", "x", "t-send", traceparent=parent_of(2)))
        alice.call("agent.send", {**params, "idempotencyKey": "t-agent.send"})
        alice.call("chat.send", {**params, "idempotencyKey": "t-chat.send"})
        alice.call("agent", {**params, "idempotencyKey": "t-agent"})
    with world.connect("alice", {"HTTP_TRACEPARENT": "none", "HTTP_X_REQUEST_ID": "no id"}) as alice:
        alice.call("send", message("dave", "x", "t-none"))
    expected = {f"t-{name}": parent_of(1) for name in ("connection", "bad", "number")}
    expected.update({f"t-{name}": parent_of(2) for name in ("send", "agent.send", "chat.send", "agent")})
    expected["t-none"] = None
    for key, parent in expected.items():
        tap.equal(
            world.value(
                "select attributes->>'traceparent' from dbos_system.workflow_status"
                f" where workflow_uuid = 'alice:{key}'"
            ),
            parent,
            f"{key}: the workflow's trace",
        )
        tap.equal(
            world.value(
                "select attributes->>'requestId' from dbos_system.workflow_status"
                f" where workflow_uuid = 'alice:{key}'"
            ),
            None if key == "t-none" else "r-1",
            f"{key}: and its connection's request id",
        )
    with Responder(world.cluster) as http:
        headers = {"traceparent": parent_of(3), "Idempotency-Key": "t-http"}
        http.post("/messages", {"to": "dave", "content": "x"}, headers, token=world.tokens["alice"])
        expected["t-http"] = parent_of(3)
        with world.connect("dave") as dave:
            dave.call("inbox.subscribe", {"inbox": "dave", "maxInFlight": 20})
            events = [dave.event("inbox.message") for _ in expected]
            tap.equal(
                {event["messageId"]: event.get("traceparent") for event in events},
                expected,
                "event inbox.message has it, whichever way it came",
            )
            dave.call("send", message("alice", "x", "t-back", traceparent=parent_of(4)))
        inbox = http.get("/agents/alice/inbox?max=50", token=world.tokens["alice"]).json()
        tap.equal(
            [m.get("traceparent") for m in inbox["messages"] if m["messageId"] == "t-back"],
            [parent_of(4)],
            "and so has the HTTP inbox",
        )


def main():
    tap = Tap()
    with World() as world:
        with world.connect("bob") as bob:
            bob.call("inbox.subscribe", {"inbox": "bob"})
            with world.connect("alice") as alice:
                check_agent_send(tap, world, alice, bob)
                check_waits(tap, alice, bob)
                check_others(tap, alice, bob)
                check_refused(tap, world, alice)
                check_agent(tap, world, alice, bob)
            check_bare(tap, world, bob)
        with world.connect("alice") as alice:
            check_batches(tap, world, alice)
        check_traces(tap, world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

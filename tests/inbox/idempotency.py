#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One key, one message: over both faces, while the first request is under way, and after restarts."""

import json
import sys

from stage import Refused, Stage, Task, eventually, message
from tap import Tap

tap = Tap()
DAY_MS = 86_400_000


def post(stage, key, content="hello", who="alice", headers=None, **more):
    return stage.post("/messages", who, {"id": key, "to": "bob", "content": content, **more}, headers=headers)


def messages_of(stage, key):
    return stage.value(f"select count(*) from openclaw.inbox where message_uuid = 'alice:{key}'")


def conflict(answer):
    return answer.status, answer.json()["code"]


def both_faces(stage):
    first = post(stage, "k1")
    tap.equal(first.headers.get("idempotency-replayed"), None, "the first request of a key")
    again = post(stage, "k1")
    tap.equal(
        (again.status, again.json()["workflowUuid"], again.json()["result"]["messageId"]),
        (200, first.json()["workflowUuid"], "k1"),
        "a repeat has the first one's answer",
    )
    tap.equal(again.headers.get("idempotency-replayed"), "true", "and says that it is one")
    by_header = stage.post(
        "/messages", "alice", {"to": "bob", "content": "hello"}, headers={"Idempotency-Key": "k1"}
    )
    tap.equal(by_header.json()["workflowUuid"], "alice:k1", "the header is the same key")
    tap.equal(conflict(post(stage, "k1", "other")), (422, "IDEMPOTENCY_CONFLICT"), "another body is refused")
    tap.equal(conflict(post(stage, "k1", ttlMs=5000)), (422, "IDEMPOTENCY_CONFLICT"), "also where only an option differs")
    with stage.connect("alice") as alice:
        answer = alice.call("send", message("bob", "hello", "k1"))
        tap.equal((answer["duplicate"], answer["messageId"]), (True, "k1"), "WebSocket: the same message")
        with tap.raises(Refused, "WebSocket: another body is refused", code="IDEMPOTENCY_CONFLICT"):
            alice.call("send", message("bob", "other", "k1"))
        with tap.raises(Refused, "another recipient, too", code="IDEMPOTENCY_CONFLICT"):
            alice.call("send", message("carol", "hello", "k1"))
        answer = alice.call("agent.send", {"sessionKey": "bob", "message": "hello", "idempotencyKey": "k1"})
        tap.equal(answer["duplicate"], True, "by another method, too")
        alice.send({"id": "k1", "from": "alice", "to": "bob", "content": "hello"})
        bare = alice.take(lambda f: f.get("type") == "workflow_result")
        tap.equal(bare["workflowUUID"], "alice:k1", "and as a bare message")
        alice.send({"id": "k1", "from": "alice", "to": "bob", "content": "other"})
        bare = alice.take(lambda f: f.get("type") == "error")
        tap.equal(bare["code"], "IDEMPOTENCY_CONFLICT", "whose other body is refused")
    tap.equal(messages_of(stage, "k1"), "1", "it is one message")
    tap.equal(post(stage, "k1", who="carol").json()["workflowUuid"], "carol:k1", "keys are each principal's own")

    items = [
        {"id": "b1", "to": "bob", "content": 1},
        {"id": "b1", "to": "bob", "content": 1},
        {"id": "b1", "to": "bob", "content": 2},
        {"id": "k1", "to": "bob", "content": "hello"},
    ]
    answer = stage.post("/messages/batch", "alice", items)
    refused = [i for i in json.loads(answer.body)["results"] if "IDEMPOTENCY_CONFLICT" in json.dumps(i)]
    tap.equal(len(refused), 1, "in a batch one key has one body")
    tap.equal(messages_of(stage, "b1"), "1", "and is one message")

    started = [
        stage.post("/workflows/delayedGreeting", "root", {"input": {"to": "bob", "name": name, "delayMs": 1}},
                   headers={"Idempotency-Key": "g1"})
        for name in ("Ann", "Ann", "Bea")
    ]
    tap.equal(
        [s.status // 100 for s in started[:2]] + [started[2].status], [2, 2, 422], "a workflow's key is as good"
    )


def same_meaning(stage):
    """What a request leaves out means its default: saying the default is the same request."""
    short = {"to": "bob"}
    day = DAY_MS
    pairs = [
        (short, {"to": "bob", "delayMs": 0}),
        (short, {"to": "bob", "priority": 0}),
        (short, {"to": "bob", "ttlMs": day}),
        (short, {"to": "bob", "metadata": {}}),
        (short, {"to": "bob", "metadata": None}),
        (short, {"to": "agent:bob:main"}),
        (short, {"to": "agent:bob"}),
        ({"to": "agent:bob"}, {"to": "agent:bob:main"}),
        (short, {"to": "agent:bob:main", "delayMs": 0, "priority": 0, "ttlMs": day, "metadata": {}}),
        ({"to": "bob", "content": {"a": 1, "b": 2}}, {"to": "bob", "content": {"b": 2, "a": 1}}),
    ]
    others = [
        {"to": "bob", "delayMs": 1},
        {"to": "bob", "priority": 1},
        {"to": "bob", "ttlMs": day + 1},
        {"to": "bob", "metadata": {"x": 1}},
        {"to": "agent:bob:other"},
        {"to": "carol"},
        {"to": "agent:carol:main"},
    ]
    count = 0

    def send(key, body):
        return stage.post("/messages", "alice", {"id": key, "content": "hello", **body})

    for one, other in [*pairs, *[(b, a) for a, b in pairs]]:
        count += 1
        first, again = send(f"same{count}", one), send(f"same{count}", other)
        tap.equal(
            (first.status, again.status, again.headers.get("idempotency-replayed")),
            (200, 200, "true"),
            f"{one} is {other}",
        )
    for one, other in [*[(short, o) for o in others], *[(o, short) for o in others]]:
        count += 1
        send(f"other{count}", one)
        tap.equal(
            conflict(send(f"other{count}", other)), (422, "IDEMPOTENCY_CONFLICT"), f"{one} is not {other}"
        )
    with stage.connect("alice") as alice:
        answers = [
            alice.call("send", message("bob", "hello", "same-ws")),
            alice.call("send", message("agent:bob:main", "hello", "same-ws", delayMs=0, priority=0)),
            alice.call("agent.send", {"sessionKey": "agent:bob:main", "message": "hello", "idempotencyKey": "same-ws"}),
            alice.call("chat.send", {"sessionKey": "agent:bob:main", "message": "hello", "idempotencyKey": "same-ws"}),
        ]
        told = [a.get("duplicate", "not said") for a in answers]
        tap.equal(told, [False, True, True, "not said"], "over WebSocket, by any method")
    tap.equal(messages_of(stage, "same-ws"), "1", "it is one message")
    items = [{"id": "same-b", "to": to, "content": 1} for to in ("bob", "agent:bob:main", "carol")]
    answer = json.loads(stage.post("/messages/batch", "alice", items).body)
    tap.equal(
        [r.get("duplicate", r.get("code")) for r in answer["results"]],
        [False, True, "IDEMPOTENCY_CONFLICT"],
        "and within one batch",
    )
    # whatever becomes of the row of the inbox, what was said twice in the same words is the same
    stage.sql("delete from openclaw.inbox where message_uuid = 'alice:same1'")
    tap.equal(send("same1", short).status, 200, "also when its delivery is forgotten")


def restarts(stage):
    """Of everything: the responder, the session, PostgreSQL by a crash."""
    post(stage, "r1")
    stage.responder.stop()
    stage.responder.start()
    tap.equal(post(stage, "r1").headers.get("idempotency-replayed"), "true", "the responder was restarted")
    tap.equal(conflict(post(stage, "r1", "x")), (422, "IDEMPOTENCY_CONFLICT"), "and knows what it was")
    with stage.connect("alice") as alice:
        alice.call("send", message("bob", "hello", "r2"))
        alice.kill()
    stage.cluster.restart("immediate")
    with stage.connect("alice") as alice:
        answer = alice.call("send", message("bob", "hello", "r2"))
        tap.equal(answer["duplicate"], True, "session and PostgreSQL were killed")
        with tap.raises(Refused, "and know what it was", code="IDEMPOTENCY_CONFLICT"):
            alice.call("send", message("bob", "x", "r2"))
    tap.equal((messages_of(stage, "r1"), messages_of(stage, "r2")), ("1", "1"), "each is one message")


def settled(stage):
    """A repeat after the end has the end's answer."""
    while True:
        waiting = stage.pull("bob", max=100)
        if not waiting:
            break
        stage.ack("bob", *waiting, result={"n": 1})
    answer = post(stage, "r1").json()["result"]
    tap.equal((answer["status"], answer["response"]), ("acknowledged", {"n": 1}), "after the end: the reply")
    with stage.connect("alice") as alice:
        answer = alice.call("agent.send", {"sessionKey": "bob", "message": "hello", "idempotencyKey": "r2"})
        tap.equal((answer["status"], answer["duplicate"]), ("acknowledged", True), "over WebSocket, too")
    tap.equal(stage.pull("bob"), [], "and nothing is delivered again")


def accepts_wait(stage, count):
    stage.cluster.wait_until(
        f"select count(*) = {count} from pg_stat_activity where wait_event_type = 'Lock'"
        " and query like '%workflow_commit%'",
        "gateway",
    )


def in_progress(stage):
    """The first is held before its commit; repeats and conflicts wait for it, and know its end."""
    with stage.cluster.session("gateway") as holder, stage.connect("alice") as alice:
        holder.run("begin")
        holder.run("lock table openclaw.inbox in share mode")
        first = Task(lambda: post(stage, "p1"))
        accepts_wait(stage, 1)
        repeat = alice.request("send", message("bob", "hello", "p1"))
        accepts_wait(stage, 2)
        other = Task(lambda: post(stage, "p1", "other"))
        tap.ok(alice.nothing("none", 0.3) and first.is_alive(), "while the first is under way nobody is answered")
        holder.run("commit")
        tap.equal(first.result().status, 200, "then the first is accepted")
        tap.equal(alice.answer(repeat)["duplicate"], True, "its repeat is a duplicate")
        tap.equal(conflict(other.result()), (422, "IDEMPOTENCY_CONFLICT"), "another body is refused")
        tap.equal(messages_of(stage, "p1"), "1", "one message")

        holder.run("begin")
        holder.run("lock table openclaw.inbox in share mode")
        first = alice.request("send", message("bob", "hello", "p2"))
        accepts_wait(stage, 1)
        repeat = Task(lambda: post(stage, "p2"))
        accepts_wait(stage, 2)
        stage.sql(
            "select pg_terminate_backend(pid) from pg_locks where granted = false"
            " and relation = 'openclaw.inbox'::regclass and pid in"
            " (select pid from pg_stat_activity where query like '%workflow_commit%')"
        )
        holder.run("commit")
        tap.equal(
            (alice.answer(first)["messageId"], repeat.result().status, messages_of(stage, "p2")),
            ("p2", 200, "1"),
            "if the first is cut off before its commit, it is still one message, and both know",
        )

    stage.ack("bob", *stage.pull("bob", max=10))


def same_wait(stage):
    """Who repeats while the recipient has not answered waits for the same answer."""
    with stage.connect("alice") as alice, stage.connect("alice") as another:
        alice.request("agent", {"agentId": "bob", "message": "?", "idempotencyKey": "w1", "timeout": 20}, "x")
        tap.equal(alice.answer("x")["status"], "accepted", "one asks")
        another.request("agent", {"agentId": "bob", "message": "?", "idempotencyKey": "w1", "timeout": 20}, "y")
        tap.equal(another.answer("y")["status"], "accepted", "the same from another connection")
        # an answer is wanted: that is part of the message
        http = Task(
            lambda: stage.post(
                "/messages", "alice", {"id": "w2", "to": "bob", "content": "?"}, headers={"Prefer": "wait=20"}
            )
        )
        again = Task(
            lambda: stage.post(
                "/messages", "alice", {"id": "w2", "to": "bob", "content": "?"}, headers={"Prefer": "wait=20"}
            )
        )
        got = []
        eventually(lambda: got.extend(stage.pull("bob", max=5)) or len(got) >= 2)
        tap.equal(sorted(m["messageId"] for m in got), ["w1", "w2"], "the recipient gets each once")
        stage.ack("bob", *got, result="yes")
        tap.equal(
            [s.answer(i)["result"]["payloads"][0]["text"] for s, i in ((alice, "x"), (another, "y"))],
            ["yes", "yes"],
            "both connections have the answer",
        )
        tap.equal(
            [t.result().json()["result"]["response"] for t in (http, again)],
            ["yes", "yes"],
            "so have both requests",
        )


with Stage(MESSAGE_TTL_MS=DAY_MS) as stage:
    both_faces(stage)
    same_meaning(stage)
    restarts(stage)
    settled(stage)
    in_progress(stage)
    same_wait(stage)
sys.exit(tap.done())

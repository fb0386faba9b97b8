#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP pulls that wait: rung when something comes, at no cost to others, and not too many at a time."""

import sys

from stage import Stage, Task, eventually, message
from tap import Tap

tap = Tap()

WATCHED = (
    "select count(*) from openclaw.subscription s join openclaw.executor x using (executor_id)"
    " where s.agent_id = 'bob' and s.epoch = 0 and x.kind = 'http'"
)


def waiting(stage):
    """A pull of bob's that waits, and that the database knows of."""
    task = Task(lambda: stage.pull("bob", wait=30))
    eventually(lambda: stage.value(WATCHED) == "1", 20)
    return task


def heard(stage):
    return stage.responder.events("wait.rung")


def rung(stage):
    for n in range(5):
        task = waiting(stage)
        tap.equal(stage.value(WATCHED), "1", "who puts something into the inbox knows that somebody waits")
        tap.equal(stage.get("/agents/bob", "bob").json()["subscribed"], False, "which is no subscription")
        before = len(heard(stage))
        # what is not due yet rings, too, and must not end the wait for good
        if n == 2:
            stage.accept("alice", "bob", "later", delayMs=300)
        else:
            stage.accept("alice", "bob", f"r{n}")
        got = task.result()
        tap.equal(len(got), 1, "the pull has it")
        tap.ok(eventually(lambda: len(heard(stage)) > before), "and was rung for it")
        stage.ack("bob", *got)
    with stage.connect("alice") as alice:
        task = waiting(stage)
        before = len(heard(stage))
        alice.call("send", message("bob", "hello", "by-session"))
        tap.equal([m["messageId"] for m in task.result()], ["by-session"], "a session rings, too")
        tap.ok(eventually(lambda: len(heard(stage)) > before), "as it does a subscriber")
    tap.ok(
        eventually(lambda: stage.value(WATCHED) == "0", 60, 0.2),
        "when nobody has waited for a while, that is forgotten",
    )
    tap.equal(stage.responder.events("wait.watch"), [], "nothing failed")


def by_session(stage):
    """inbox.pull is rung, too, also when a subscription beside it has ended."""
    watched = WATCHED.replace("'http'", "'session'")

    def heard(session):
        return [e for e in session.log() if e["event"] == "session.rung"]

    with stage.connect("bob") as bob:
        for n in range(6):
            asked = bob.request("inbox.pull", {"inbox": "bob", "waitMs": 30000})
            if n == 3:
                bob.call("inbox.subscribe", {"inbox": "bob", "exclusive": False})
                bob.call("inbox.unsubscribe", {"inbox": "bob"})
            tap.ok(eventually(lambda: stage.value(watched) == "1", 20), "who puts something in knows of a waiting pull")
            before = len(heard(bob))
            stage.accept("alice", "bob", f"s{n}")
            [got] = bob.answer(asked, timeout=30)["messages"]
            tap.equal(got["messageId"], f"s{n}", "the pull has it")
            tap.ok(eventually(lambda: len(heard(bob)) > before), "and was rung for it")
            bob.call("inbox.ack", {"deliveryIds": [got["deliveryId"]]})
        asked = bob.request("inbox.pull", {"inbox": "bob", "waitMs": 30000})
        stage.accept("alice", "bob", "not-yet", delayMs=400)
        [got] = bob.answer(asked, timeout=30)["messages"]
        tap.equal(got["messageId"], "not-yet", "what is not due yet is there when it is")
        bob.call("inbox.ack", {"deliveryIds": [got["deliveryId"]]})
        bob.leave()
    tap.ok(eventually(lambda: stage.value(watched) == "0", 20), "and with its connection that ends")


def beside_subscribers(stage):
    """Who only waits fences nobody, and is fenced by nobody."""
    task = waiting(stage)
    with stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        tap.equal(stage.value(WATCHED), "1", "an exclusive subscriber leaves the pull alone")
        task = waiting(stage) if not task.is_alive() else task
        tap.ok(bob.nothing("inbox.fenced", 0.5), "and the pull the subscriber")
        bob.call("inbox.unsubscribe", {"inbox": "bob"})
        stage.accept("alice", "bob", "beside")
        got = task.result() or stage.pull("bob", wait=30)
        tap.equal([m["content"] for m in got], ["hello"], "it still gets what comes")
        stage.ack("bob", *got)


def crowd(stage):
    """Half of the threads wait at most: the rest of the gateway answers as ever."""
    places = 2
    tasks = [Task(lambda: stage.get("/agents/bob/inbox?wait=15", "bob")) for _ in range(6)]
    tap.ok(
        eventually(lambda: sum(not t.is_alive() for t in tasks) == 6 - places, 20),
        f"of six pulls at four threads {places} wait",
    )
    refused = [t.result() for t in tasks if not t.is_alive()]
    tap.equal({(r.status, r.json()["code"]) for r in refused}, {(503, "OVERLOADED")}, "the others are told so")
    tap.ok(all(int(r.headers["retry-after"]) > 0 for r in refused), "and when to come again")
    for who in ("bob", "alice"):
        tap.equal(stage.get(f"/agents/{who}/inbox", who).status, 200, f"{who}'s pull that does not wait is served")
    tap.equal(stage.get("/health", "alice").status, 200, "so is all else")
    for n in range(places):
        stage.accept("alice", "bob", f"crowd{n}")
    left = [t.result() for t in tasks if t.is_alive()] or [t.result() for t in tasks[-places:]]
    tap.ok(all(r.status == 200 for r in left), "those that wait get what comes")
    got = [m for t in tasks for m in t.result().json().get("messages", [])]
    got += stage.pull("bob", wait=1) if len(got) < places else []
    tap.equal(sorted(m["messageId"] for m in got), ["crowd0", "crowd1"], "all of it, once")


def in_order(stage):
    """One sender's messages, whatever became of the answers to the pulls before."""
    for n in range(12):
        stage.accept("alice", "bob", f"o{n}")
    got = [stage.pull("bob", max=1) for _ in range(10)]
    tap.equal([[m["messageId"] for m in each] for each in got], [[f"o{n}"] for n in range(10)], "one at a time, unacknowledged")
    tap.equal(
        stage.value("select count(*) from openclaw.inbox_claim('bob', 'http:bob', null, null, 1, 3000, 'lost') c where c.inbox_seq is not null"),
        "1",
        "a responder is killed before it has answered",
    )
    tap.equal(stage.pull("bob"), [], "then what is later does not come before that")
    stage.accept("carol", "bob", "other")
    tap.equal([m["messageId"] for m in stage.pull("bob")], ["other"], "only another sender's does")
    late = []
    while len(late) < 2:
        late += stage.pull("bob", wait=30)
    tap.equal([m["messageId"] for m in late], ["o10", "o11"], "until its lease has ended: it comes, and then the next")
    stage.ack("bob", *[m for each in got for m in each], *late)


with Stage() as stage:
    in_order(stage)
with Stage(sweeper=False, HTTP_THREADS=4) as stage:
    rung(stage)
    by_session(stage)
    beside_subscribers(stage)
    crowd(stage)
sys.exit(tap.done())

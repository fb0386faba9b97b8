#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The sender hears what becomes of its messages, or asks; and everybody who wants to knows who is here."""

import os
import signal
import sys
import time

from stage import Refused, Stage, eventually, message
from tap import Tap

tap = Tap()


def ack(session, delivery, **more):
    return session.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], **more})


def refuse(session, delivery):
    return session.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False})


def send(session, key, to="bob", text="hello", **more):
    return session.call("send", message(to, text, key, **more))


def told(stage):
    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        events = set(alice.hello["features"]["events"])
        tap.ok(
            {"message.delivered", "message.acknowledged", "message.dead", "message.expired", "presence"}
            <= events,
            "the events are announced",
        )
        bob.call("inbox.subscribe", {"inbox": "bob"})
        sent = send(alice, "f1")
        delivery = bob.event("inbox.message")
        event = alice.event("message.delivered")
        tap.equal(
            (event["messageId"], event["workflowUuid"], event["to"], event["status"], event["deliveryAttempts"]),
            ("f1", "alice:f1", "bob", "delivered", 1),
            "a sender hears that its message was delivered",
        )
        tap.equal(event["inboxSeq"], sent["inboxSeq"], "by its place in the inbox, too")
        begun = time.monotonic()
        ack(bob, delivery, result={"answer": 42})
        event = alice.event("message.acknowledged")
        took = time.monotonic() - begun
        tap.equal(
            (event["messageId"], event["status"], event["response"]),
            ("f1", "acknowledged", {"answer": 42}),
            "that it was acknowledged, with the reply",
        )
        tap.ok(took < 15, f"at once: after {took * 1000:.0f} ms")

        send(alice, "f2")
        delivery = bob.event("inbox.message")
        bob.call(
            "inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "not for me"}
        )
        event = alice.event("message.dead")
        tap.equal(
            (event["messageId"], event["status"], event["reason"]),
            ("f2", "failed", "not for me"),
            "that it is a dead letter, and why",
        )
        bob.call("inbox.unsubscribe", {"inbox": "bob"})

        begun = time.monotonic()
        send(alice, "f3", ttlMs=300)
        event = alice.event("message.expired")
        took = time.monotonic() - begun
        tap.equal((event["messageId"], event["status"]), ("f3", "expired"), "that it expired")
        tap.ok(took < 15, f"when it did: after {took:.2f} s of 0.3")
        tap.ok(alice.nothing("message.acknowledged", 0.3), "each once")

        # the same key again is the same message, and is told of once
        bob.call("inbox.subscribe", {"inbox": "bob"})
        for _ in range(3):
            send(alice, "f4")
        ack(bob, bob.event("inbox.message"))
        tap.equal(alice.event("message.acknowledged")["messageId"], "f4", "a repeat is told of")
        tap.ok(alice.nothing("message.acknowledged", 0.4), "once")

        # who waits has its answer; when the wait is over, the event comes
        alice.request("agent", {"agentId": "bob", "message": "?", "idempotencyKey": "f5", "timeout": 1}, "w")
        delivery = bob.event("inbox.message")
        tap.equal(alice.answer("w")["status"], "accepted", "a run is accepted")
        tap.equal(alice.answer("w")["status"], "timeout", "its wait ends")
        tap.ok(alice.nothing("message.acknowledged", 0.2), "its message does not")
        ack(bob, delivery, result="late")
        event = alice.event("message.acknowledged")
        tap.equal((event["messageId"], event["response"]), ("f5", "late"), "and is told of later")

        # by HTTP a message is nobody's session's
        stage.accept("alice", "bob", "f6")
        ack(bob, bob.event("inbox.message"))
        tap.ok(alice.nothing("message.acknowledged", 0.4), "what another connection sent is not told here")


def waited(stage):
    """Who waited until it was delivered hears the rest; so does who asks again."""

    def ask(session, key, identity, **more):
        wanted = {"sessionKey": "bob", "message": "?", "idempotencyKey": key, "waitFor": "delivered"}
        session.request("agent.send", {**wanted, **more}, identity)

    def status(session, identity):
        answer = session.answer(identity)
        return session.answer(identity)["status"] if answer["status"] == "accepted" else answer["status"]

    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        ask(alice, "w1", "w1", timeout=30)
        delivery = bob.event("inbox.message")
        tap.equal(status(alice, "w1"), "delivered", "a wait for delivery ends with it")
        ask(alice, "w1", "w1again", timeout=30)
        tap.equal(status(alice, "w1again"), "delivered", "and at once where it was delivered before")
        ack(bob, delivery, result="done")
        event = alice.event("message.acknowledged")
        tap.equal((event["messageId"], event["response"]), ("w1", "done"), "then the end is told")
        tap.ok(alice.nothing("message.delivered", 0.4), "that it was delivered is not said twice")
        tap.ok(alice.nothing("message.acknowledged", 0.1), "nor is the end")

        ask(alice, "w2", "w2", timeout=30)
        delivery = bob.event("inbox.message")
        tap.equal(status(alice, "w2"), "delivered", "another is delivered")
        with stage.connect("alice") as other:
            ask(other, "w2", "o2", timeout=30)
            tap.equal(status(other, "o2"), "delivered", "a later connection asks for it")
            bob.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "no"})
            tap.equal(alice.event("message.dead")["messageId"], "w2", "the first hears that it is dead")
            tap.equal(other.event("message.dead")["messageId"], "w2", "and so does the later")

        send(alice, "w3")
        delivery = bob.event("inbox.message")
        with stage.connect("alice") as other:
            tap.equal(send(other, "w3")["duplicate"], True, "a repeat on another connection")
            ack(bob, delivery)
            tap.equal(other.event("message.acknowledged")["messageId"], "w3", "hears of the end, too")


def redriven(stage):
    """A dead letter that is redriven is the same message: its sender hears of it again, or asks."""

    def ask(session, key):
        return session.call("agent.wait", {"runId": key, "timeoutMs": 30000})

    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        sent = send(alice, "r1")
        refuse(bob, bob.event("inbox.message"))
        tap.equal(alice.event("message.dead")["messageId"], "r1", "a message dies")
        again = stage.redrive("alice:r1", "root").json()
        tap.equal(again["redriven"], True, "and is redriven")
        alice.request("agent.wait", {"runId": "r1", "timeoutMs": 60000}, "wait")
        alice.request(
            "agent", {"agentId": "bob", "message": "hello", "idempotencyKey": "r2", "timeout": 60}, "run"
        )
        delivery = bob.event("inbox.message")
        events = []
        while not events or events[-1]["messageId"] != "r1":
            events.append(alice.event("message.delivered"))
        tap.equal(
            (events[-1]["messageId"], events[-1]["inboxSeq"], events[-1]["deliveryAttempts"]),
            ("r1", sent["inboxSeq"], 1),
            "its sender hears that it was delivered once more",
        )
        repeat = stage.post("/messages", "alice", {"id": "r1", "to": "bob", "content": "hello"}).json()
        tap.equal(repeat["result"]["status"], "queued", "a repeat of it is on its way, and no failure")
        ack(bob, delivery, result="at last")
        event = alice.event("message.acknowledged")
        tap.equal(
            (event["messageId"], event["status"], event["response"]),
            ("r1", "acknowledged", "at last"),
            "that it was acknowledged, with the reply",
        )
        answer = alice.answer("wait")
        tap.equal(
            (answer["runId"], answer["status"], answer["messageStatus"], answer["response"]),
            ("r1", "ok", "acknowledged", "at last"),
            "who waits for it hears so, too",
        )
        ack(bob, bob.event("inbox.message"))
        answer = ask(alice, "r1")
        tap.equal((answer["status"], answer["response"]), ("ok", "at last"), "and who asks later")
        repeat = send(alice, "r1")
        tap.equal((repeat["status"], repeat["duplicate"]), ("acknowledged", True), "a repeat by WebSocket")
        repeat = stage.post("/messages", "alice", {"id": "r1", "to": "bob", "content": "hello"}).json()
        tap.equal(
            (repeat["result"]["status"], repeat["result"]["response"]),
            ("acknowledged", "at last"),
            "and by HTTP has the same answer",
        )

        # twice dead, each time told
        send(alice, "r3")
        for number in range(2):
            refuse(bob, bob.event("inbox.message"))
            tap.equal(alice.event("message.dead")["messageId"], "r3", f"death {number + 1} is told")
            stage.redrive("alice:r3", "alice")
        ack(bob, bob.event("inbox.message"))
        tap.equal(alice.event("message.acknowledged")["messageId"], "r3", "and the end after both")
        tap.ok(alice.nothing("message.dead", 0.3), "nothing is told twice")

        # a workflow taken back to its beginning sends its message anew
        send(alice, "r4")
        refuse(bob, bob.event("inbox.message"))
        tap.equal(alice.event("message.dead")["messageId"], "r4", "another dies")
        stage.post("/workflows/alice:r4/rewind", "root", {})
        ack(bob, bob.event("inbox.message"))
        # nobody rings for what another process sent: told with the next look
        send(alice, "r5")
        ack(bob, bob.event("inbox.message"))
        heard = sorted(alice.event("message.acknowledged")["messageId"] for _ in range(2))
        tap.equal(heard, ["r4", "r5"], "its sender hears of what was sent again in its place")


def noted(stage):
    """What was handed over is delivered, however soon the recipient speaks of it."""
    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        for key, method, more in (
            ("n1", "inbox.extend", {"leaseMs": 60000}),
            ("n2", "inbox.nack", {"delayMs": 60000}),
        ):
            send(alice, key)
            delivery = bob.event("inbox.message")
            bob.call(method, {"deliveryId": delivery["deliveryId"], **more})
            events = stage.get(f"/workflows/alice:{key}/events", "alice").json()["events"]
            tap.equal(
                sorted({e["key"] for e in events}),
                ["accepted", "delivered"],
                f"{method} at once leaves the record of the delivery",
            )
            if method == "inbox.extend":
                ack(bob, delivery)
        stage.post("/workflows/alice:n2/cancel", "root", {})


def note_lost(stage):
    """Whoever handed it over died before it noted that: the recipient's word is as good."""

    def claim():
        """What a responder has done when it dies behind its answer."""
        return stage.value(
            "select delivery_id from openclaw.inbox_claim('bob', 'http:bob', null, null, 1, 30000)"
            " where delivery_id is not null"
        )

    def keys(key):
        events = stage.get(f"/workflows/alice:{key}/events", "alice").json()["events"]
        return sorted({e["key"] for e in events})

    def by_http(verb, delivery, **more):
        answer = stage.post(f"/agents/bob/inbox/{verb}", "bob", {"deliveryId": delivery, **more})
        assert answer.status == 200, answer.body

    with stage.connect("alice") as alice, stage.connect("bob") as other:

        def by_session(verb, delivery, **more):
            other.call(f"inbox.{verb}", {"deliveryId": delivery, **more})

        for face, say in (("http", by_http), ("session", by_session)):
            for verb, more in (
                ("extend", {"leaseMs": 60000}),
                ("nack", {"delayMs": 60000}),
                ("nack", {"requeue": False}),
            ):
                key = f"lost-{face}-{verb}-{len(more)}-{'requeue' in more}"
                alice.request(
                    "agent.send",
                    {"sessionKey": "bob", "message": "?", "idempotencyKey": key,
                     "waitFor": "delivered", "timeout": 60},
                    key,
                )  # fmt: skip
                tap.equal(alice.answer(key)["status"], "accepted", f"{key}: somebody waits for the delivery")
                say(verb, claim(), **more)
                dead = "requeue" in more
                tap.equal(
                    keys(key),
                    ["accepted", "dead", "delivered"] if dead else ["accepted", "delivered"],
                    "it is on record",
                )
                tap.equal(
                    alice.answer(key, timeout=30)["status"],
                    "failed" if dead else "delivered",
                    "and who waits is told the truth",
                )
                tap.equal(stage.inbox(f"alice:{key}")["attempt"], "1", "one attempt has counted")
                stage.post(f"/workflows/alice:{key}/cancel", "root", {})


def many(stage):
    """More than a session remembers: the latest are told of, each once; nothing breaks."""
    total = 400
    with stage.connect("alice") as alice:
        for n in range(total):
            alice.request("send", message("bob", n, f"m{n}"))
        for n in range(total):
            alice.take(lambda f: f.get("type") == "res", timeout=20)
        while True:
            messages = stage.pull("bob", max=100)
            if not messages:
                break
            stage.ack("bob", *messages)
        got = []
        while len(got) < 256:
            got.append(alice.event("message.acknowledged", timeout=15)["messageId"])
        tap.equal(
            sorted(got), sorted(f"m{n}" for n in range(total - 256, total)), "the latest 256 are told of"
        )
        tap.ok(alice.nothing("message.acknowledged", 0.5), "each once")
        status = alice.call("agent.wait", {"runId": "m0", "timeoutMs": 1000})
        tap.equal(status["status"], "ok", "after the others one asks")


def dead_by_lease(stage):
    """The recipient takes it and says nothing: the sweeper ends it, and the sender hears so."""
    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 1000})
        send(alice, "l1")
        attempts = []
        while True:
            try:
                event = alice.event("message.dead", timeout=0.01)
                break
            except TimeoutError:
                pass
            try:
                attempts.append(bob.event("inbox.message", timeout=0.05)["attempt"])
            except TimeoutError:
                pass
        tap.equal(attempts, [1, 2], "delivered as often as it may be")
        tap.equal((event["messageId"], event["deliveryAttempts"]), ("l1", 2), "then dead, and told")
        tap.ok("lease" in event["reason"], "with the reason")
    workflow = stage.workflow("alice:l1", "alice")
    tap.equal(
        (workflow["status"], workflow["error"]["code"], workflow["error"]["data"]["reason"]),
        ("ERROR", "DEAD_LETTER", event["reason"]),
        "its workflow says why, too",
    )


def asks(stage):
    """A sender that was away asks, in each of the ways there are."""
    with stage.connect("alice") as alice:
        send(alice, "a1")
        send(alice, "a2")
        alice.kill()
    # one may have been handed to a connection that was killed before
    eventually(lambda: all(stage.inbox(f"alice:{key}")["state"] == "ready" for key in ("a1", "a2")))
    one, two = stage.pull("bob", max=2)
    stage.ack("bob", one, result="done")
    stage.nack("bob", two, requeue=False, reason="no")
    with stage.connect("alice") as alice:
        first = alice.call("agent.wait", {"runId": "a1", "timeoutMs": 1000})
        second = alice.call("agent.wait", {"runId": "a2", "timeoutMs": 1000})
        tap.equal(
            (first["status"], first["response"], second["status"]), ("ok", "done", "error"), "agent.wait"
        )
        tap.ok("no" in second["error"], "says why not")
        tap.equal(
            (
                alice.call("workflow.status", {"runId": "a1"})["output"]["response"],
                alice.call("workflow.status", {"workflowUuid": "alice:a2"})["error"]["code"],
            ),
            ("done", "DEAD_LETTER"),
            "workflow.status",
        )
    with stage.connect("carol") as carol:
        with tap.raises(Refused, "nobody else may ask", code="NOT_FOUND"):
            carol.call("agent.wait", {"runId": "alice:a1", "timeoutMs": 1000})
    tap.equal(
        [stage.workflow(f"alice:{k}", "alice")["status"] for k in ("a1", "a2")],
        ["SUCCESS", "ERROR"],
        "GET /workflows/:id",
    )
    keys = [e["key"] for e in stage.get("/workflows/alice:a2/events", "alice").json()["events"]]
    tap.equal(sorted(keys), ["accepted", "dead", "delivered"], "and the log has the whole way")


def states(event, who):
    return sorted(p["reason"] for p in event["presence"] if p["user"]["id"] == who)


def await_presence(watcher, wanted, timeout=10.0):
    deadline = time.monotonic() + timeout
    while True:
        event = watcher.event("presence", deadline - time.monotonic())
        if wanted(event):
            return event


def presence(stage):
    with stage.connect("root") as root, stage.connect("alice") as alice, stage.connect("carol") as carol:
        await_presence(root, lambda e: states(e, "carol").count("online") == 1)
        tap.ok(True, "an operator is told who comes")
        listed = alice.call("system-presence")
        tap.ok(
            {"alice", "carol"} <= {p["user"]["id"] for p in listed if p["reason"] == "online"},
            "everybody may ask",
        )
        time.sleep(2.5)  # until nobody looks any more for what has ended
        root.frames.clear()
        bob = stage.connect("bob")
        bob.call("inbox.subscribe", {"inbox": "bob"})
        event = await_presence(root, lambda e: "online" in states(e, "bob"))
        entry = [p for p in event["presence"] if p["user"]["id"] == "bob" and p["reason"] == "online"][0]
        tap.ok(isinstance(entry["onlineSince"], int) and entry["tags"] == ["online"], "since when")
        event = await_presence(alice, lambda e: "online" in states(e, "bob"))
        tap.ok(not states(event, "root"), "who has asked is told, too, of those that it may know of")
        tap.ok(carol.nothing("presence", 0.5), "others are not")
        begun = time.monotonic()
        bob.kill()
        eventually(
            lambda: stage.value(
                "select count(*) from openclaw.executor where principal_id = 'bob' and ended_at is null"
            )
            == "0"
        )
        offline = time.monotonic() - begun
        tap.ok(offline < 1, f"a killed session is offline after {offline:.2f} s")
        await_presence(root, lambda e: "online" not in states(e, "bob"))
        took = time.monotonic() - begun
        tap.ok(took < 15, f"and known to be after {took:.2f} s")
        subscribed = stage.get("/agents/bob", "root").json()["subscribed"]
        tap.equal(subscribed, False, "it receives nothing any more")

        stage.sql(
            "update openclaw.executor set host = 'elsewhere', seen_at = openclaw.now_ms() - 9000"
            " where principal_id = 'carol' and ended_at is null"
        )
        await_presence(root, lambda e: "suspect" in states(e, "carol"))
        tap.ok(True, "one that is silent on another host is suspect")
        await_presence(root, lambda e: "offline" in states(e, "carol"), timeout=30)
        tap.ok(True, "and in the end offline")

        quiet = [root.nothing("presence", 2.5), alice.nothing("presence", 0.1)]
        tap.ok(any(quiet), "without a change nothing is told")


def stopped(stage):
    """A session that stands still is suspect, keeps what it has, and is back as soon as it goes on."""

    def now(root):
        [state] = states({"presence": root.call("system-presence")}, "bob")
        return state

    with stage.connect("root") as root, stage.connect("bob") as bob:
        root.call("system-presence")
        bob.call("inbox.subscribe", {"inbox": "bob", "leaseMs": 60000})
        stage.accept("alice", "bob", "s1")
        delivery = bob.event("inbox.message")
        os.kill(bob.process.pid, signal.SIGSTOP)
        try:
            await_presence(root, lambda e: "suspect" in states(e, "bob"), timeout=30)
            tap.ok(True, "a session of this host that stands still is suspect")
            silent = (
                "select seen_at < openclaw.now_ms() - 6000 from openclaw.executor"
                " where principal_id = 'bob' and ended_at is null"
            )
            tap.ok(eventually(lambda: stage.value(silent) == "t", 30), "and not buried, for its process is there")
            tap.equal(stage.inbox("alice:s1")["state"], "leased", "nor robbed within its lease")
        finally:
            os.kill(bob.process.pid, signal.SIGCONT)
        tap.ok(eventually(lambda: now(root) == "online", 30), "when it goes on it is online")
        tap.equal(ack(bob, delivery)["acked"], [delivery["deliveryId"]], "and what it had is still its own")

        # another host has taken it for dead meanwhile
        os.kill(bob.process.pid, signal.SIGSTOP)
        identity = "(select executor_id from openclaw.executor where principal_id = 'bob' and ended_at is null)"
        stage.sql(f"select openclaw.executor_reap(array[{identity}])")
        tap.ok(eventually(lambda: now(root) == "offline", 30), "another host buries it")
        os.kill(bob.process.pid, signal.SIGCONT)
        tap.ok(eventually(lambda: now(root) == "online", 30), "then, too, it is online as soon as it goes on")


with Stage(EXECUTOR_LEASE_MS=2000) as stage:
    stopped(stage)
with Stage(RETRY_BASE_MS=20, RETRY_MAX_MS=50, MAX_ATTEMPTS=2) as stage:
    told(stage)
    waited(stage)
    redriven(stage)
    noted(stage)
    note_lost(stage)
    many(stage)
    dead_by_lease(stage)
    asks(stage)
    presence(stage)
sys.exit(tap.done())

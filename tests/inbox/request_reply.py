#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Ask and be answered: from every face to every face, after crashes, and when the time is up."""

import sys
import time

from stage import Refused, Stage, Task, message
from tap import Tap

tap = Tap()


def ack(session, delivery, **more):
    return session.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], **more})


def ask(session, key, **more):
    return session.request(
        "agent.send", {"sessionKey": "agent:bob:main", "message": "?", "idempotencyKey": key, **more}
    )


def http_ask(stage, key, wait, content="?"):
    return Task(
        lambda: stage.post(
            "/messages", "alice", {"id": key, "to": "bob", "content": content}, headers={"Prefer": f"wait={wait}"}
        )
    )


def faces(stage):
    """WebSocket and HTTP, as who asks and as who answers."""
    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10})
        identity = ask(alice, "q1", waitFor="reply")
        delivery = bob.event("inbox.message")
        tap.equal((delivery["expectsReply"], delivery["sessionKey"]), (True, "agent:bob:main"), "the recipient knows that an answer is wanted")
        first = alice.answer(identity)
        tap.equal((first["status"], first["runId"]), ("accepted", "q1"), "the sender hears first that it is accepted")
        begun = time.monotonic()
        ack(bob, delivery, result="good")
        final = alice.answer(identity)
        took = time.monotonic() - begun
        tap.equal((final["response"], final["status"]), ("good", "acknowledged"), "and then the answer")
        tap.ok(took < 15, f"at once: after {took * 1000:.0f} ms")

        identity = ask(alice, "q2", waitFor="reply")
        ack(bob, bob.event("inbox.message"), result={"n": [1, 2]})
        alice.answer(identity)
        tap.equal(alice.answer(identity)["response"], '{"n":[1,2]}', "an answer may be any JSON")
        identity = ask(alice, "q3", waitFor="reply")
        ack(bob, bob.event("inbox.message"))
        alice.answer(identity)
        tap.equal(alice.answer(identity)["status"], "acknowledged", "or nothing but a confirmation")
        identity = ask(alice, "q4", waitFor="delivered")
        delivery = bob.event("inbox.message")
        tap.equal(alice.answer(identity)["status"], "accepted", "who waits for delivery")
        tap.equal(alice.answer(identity)["status"], "delivered", "does not wait for the answer")
        bob.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "no"})
        identity = ask(alice, "q5", waitFor="reply")
        delivery = bob.event("inbox.message")
        bob.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "never"})
        alice.answer(identity)
        final = alice.answer(identity)
        tap.equal(final["status"], "failed", "a refusal is an answer, too")
        tap.ok("never" in final["response"], "and says why")

        answer = http_ask(stage, "q6", 10)
        ack(bob, bob.event("inbox.message"), result="by socket")
        tap.equal(answer.result().json()["result"]["response"], "by socket", "HTTP asks, WebSocket answers")
        tap.equal(answer.result().headers.get("preference-applied"), "wait=10", "as it preferred")
        bob.call("inbox.unsubscribe", {"inbox": "bob"})

        identity = ask(alice, "q7", waitFor="reply")
        [delivery] = stage.pull("bob", wait=5)
        stage.ack("bob", delivery, result="by request")
        alice.answer(identity)
        tap.equal(alice.answer(identity)["response"], "by request", "WebSocket asks, HTTP answers")
    answer = http_ask(stage, "q8", 10)
    begun = time.monotonic()
    [delivery] = stage.pull("bob", wait=10)
    stage.ack("bob", delivery, result={"yes": True})
    tap.equal(answer.result().json()["result"]["response"], {"yes": True}, "HTTP asks, HTTP answers")
    took = time.monotonic() - begun
    tap.ok(took < 15, f"after {took:.2f} s, all in all")
    answer = http_ask(stage, "q9", 10)
    [delivery] = stage.pull("bob", wait=10)
    stage.nack("bob", delivery, requeue=False, reason="cannot")
    result = answer.result().json()["result"]
    tap.equal((result["status"], "cannot" in result["reason"]), ("failed", True), "and is refused")


def agent(stage):
    """agent: two answers under one id; agent.wait from elsewhere."""
    with stage.connect("alice") as alice, stage.connect("bob") as bob, stage.connect("alice") as other:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        alice.request("agent", {"agentId": "bob", "message": "go", "idempotencyKey": "g1"}, "run")
        accepted = alice.answer("run")
        tap.equal((accepted["runId"], accepted["status"], isinstance(accepted["acceptedAt"], int)), ("g1", "accepted", True), "agent is accepted")
        delivery = bob.event("inbox.message")
        wait = other.request("agent.wait", {"runId": "g1", "timeoutMs": 10000})
        ack(bob, delivery, result="gone")
        final = alice.answer("run")
        tap.equal((final["runId"], final["status"], final["result"]["payloads"]), ("g1", "ok", [{"text": "gone", "mediaUrl": None}]), "and answered under the same id")
        tap.ok(isinstance(final["result"]["meta"]["durationMs"], int), "with the time it took")
        waited = other.answer(wait)
        tap.equal((waited["status"], waited["response"]), ("ok", "gone"), "who waits elsewhere knows, too")
        tap.equal(other.call("agent.wait", {"runId": "g1"})["status"], "ok", "and who asks afterwards")
        with tap.raises(Refused, "of a run that never was there is nothing", code="NOT_FOUND"):
            other.call("agent.wait", {"runId": "never", "timeoutMs": 500})
        tap.ok(alice.nothing("message.acknowledged", 0.3), "who was answered is told nothing more")


def crashes(stage):
    """Whoever asked is killed; who comes back by the run's id has the answer."""
    alice = stage.connect("alice")
    alice.request("agent", {"agentId": "bob", "message": "slow", "idempotencyKey": "c1"}, "run")
    alice.answer("run")
    alice.kill()
    alice.close()
    with stage.connect("alice") as again:
        wait = again.request("agent.wait", {"runId": "c1", "timeoutMs": 20000})
        [delivery] = stage.pull("bob", wait=5)
        stage.ack("bob", delivery, result="still here")
        answer = again.answer(wait)
        tap.equal((answer["status"], answer["response"]), ("ok", "still here"), "the sender's session was killed")

    alice = stage.connect("alice")
    alice.request("agent", {"agentId": "bob", "message": "slow", "idempotencyKey": "c2"}, "run")
    alice.answer("run")
    alice.kill()
    alice.close()
    [delivery] = stage.pull("bob", wait=5)
    stage.ack("bob", delivery, result="meanwhile")
    with stage.connect("alice") as again:
        answer = again.call("agent.wait", {"runId": "c2", "timeoutMs": 5000})
        tap.equal(answer["response"], "meanwhile", "also when the answer came meanwhile")
        again.request("agent", {"agentId": "bob", "message": "slow", "idempotencyKey": "c2"}, "run")
        frames = [again.answer("run"), again.answer("run")]
        tap.equal([f["status"] for f in frames], ["accepted", "ok"], "or who asks the same again")

    with stage.connect("alice") as alice:
        bob = stage.connect("bob")
        bob.call("inbox.subscribe", {"inbox": "bob"})
        identity = ask(alice, "c3", waitFor="reply", timeout=20)
        bob.event("inbox.message")
        bob.kill()
        bob.close()
        with stage.connect("bob") as bob:
            bob.call("inbox.subscribe", {"inbox": "bob"})
            delivery = bob.event("inbox.message")
            tap.equal((delivery["messageId"], delivery["redelivered"]), ("c3", True), "the recipient was killed: the next one gets it")
            ack(bob, delivery, result="second")
            alice.answer(identity)
            tap.equal(alice.answer(identity)["response"], "second", "and who waits has its answer")

        identity = ask(alice, "c4", waitFor="reply", timeout=20)
        alice.answer(identity)
        stage.cluster.restart("immediate")
        [delivery] = stage.pull("bob", wait=10)
        stage.ack("bob", delivery, result="survived")
        tap.equal(alice.answer(identity)["response"], "survived", "PostgreSQL crashed: who waits goes on waiting")

    stage.post("/messages", "alice", {"id": "c5", "to": "bob", "content": "?"})
    stage.responder.stop()
    stage.responder.start()
    answer = http_ask(stage, "c5", 10)
    [delivery] = stage.pull("bob", wait=10)
    stage.ack("bob", delivery, result="later")
    tap.equal(answer.result().json()["result"]["response"], "later", "the responder was restarted: the same request waits again")


def deadlines(stage):
    """The time is up: the wait ends, the message does not."""
    with stage.connect("alice") as alice, stage.connect("bob") as bob:
        begun = time.monotonic()
        identity = ask(alice, "d1", waitFor="reply", timeout=1)
        alice.answer(identity)
        late = alice.answer(identity)
        took = time.monotonic() - begun
        tap.equal((late["status"], 0.9 < took < 15), ("queued", True), f"agent.send ends after {took:.2f} s of 1")
        answer = alice.call("agent.wait", {"runId": "d1", "timeoutMs": 300})
        tap.equal(answer["status"], "timeout", "agent.wait says so, too")
        begun = time.monotonic()
        response = http_ask(stage, "d2", 1).result()
        took = time.monotonic() - begun
        tap.equal((response.status, response.json()["result"]["status"]), (200, "queued"), "HTTP says how far it is")
        tap.ok(0.9 < took < 15, f"after {took:.2f} s of 1")
        bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 5})
        one, two = bob.event("inbox.message"), bob.event("inbox.message")
        tap.equal((one["messageId"], two["messageId"]), ("d1", "d2"), "both are delivered")
        tap.equal(http_ask(stage, "d2", 1).result().json()["result"]["status"], "delivered", "the same request says that now")
        ack(bob, one, result="at last")
        ack(bob, two, result="at last")
        answer = alice.call("agent.wait", {"runId": "d1", "timeoutMs": 2000})
        tap.equal((answer["status"], answer["response"]), ("ok", "at last"), "the answer is not lost")
        tap.equal(http_ask(stage, "d2", 1).result().json()["result"]["response"], "at last", "for HTTP, neither")

    with stage.connect("alice") as alice:
        alice.request("agent", {"agentId": "bob", "message": "?", "idempotencyKey": "d3", "timeout": 1}, "run")
        tap.equal([alice.answer("run")["status"] for _ in range(2)], ["accepted", "timeout"], "agent: a timeout is said")
        tap.equal(stage.workflow("alice:d3", "alice")["status"], "DELAYED", "its workflow waits on")
        response = stage.post("/messages", "alice", {"id": "d4", "to": "bob", "content": "?"}, headers={"Prefer": "respond-async"})
        tap.equal((response.status, response.headers["location"]), (202, "/workflows/alice:d4"), "who does not wait is told where to ask")


with Stage() as stage:
    faces(stage)
    agent(stage)
    crashes(stage)
    deadlines(stage)
sys.exit(tap.done())

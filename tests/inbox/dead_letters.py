#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Dead letters: list, show, redrive, purge over HTTP, WebSocket and gatewayctl, with one meaning."""

import sys
import time
import urllib.parse

from stage import Refused, Stage, eventually
from tap import Tap

tap = Tap()


def codes(answer):
    return answer.status, answer.json().get("code")


def ids(document):
    return [letter["id"] for letter in document["deadLetters"]]


def list_and_show(stage):
    dead = stage.lead_to_death("alice", "bob", "d1", content={"text": "hi"}, metadata={"a": 1})
    second = stage.lead_to_death("carol", "bob", "d2")
    stage.lead_to_death("bob", "alice", "d3")
    tap.equal(
        ids(stage.get("/dead-letters", "bob").json()),
        ["bob:d3", "carol:d2", "alice:d1"],
        "an agent lists those of its inbox and those it sent, the newest first",
    )
    tap.equal(
        ids(stage.get("/dead-letters", "carol").json()), ["carol:d2"], "and nobody else's"
    )
    tap.equal(len(ids(stage.get("/dead-letters", "root").json())), 3, "an operator lists all")
    tap.equal(
        ids(stage.get("/dead-letters?inbox=bob", "bob").json()),
        ["carol:d2", "alice:d1"],
        "or one inbox's",
    )
    page = stage.get("/dead-letters?limit=2", "root").json()
    rest = stage.get(f"/dead-letters?limit=2&cursor={page['nextCursor']}", "root").json()
    tap.equal(
        (ids(page), ids(rest), rest["nextCursor"] is not None),
        (["bob:d3", "carol:d2"], ["alice:d1"], False),
        "page by page",
    )
    letter = stage.get(f"/dead-letters/{dead}", "alice").json()
    tap.equal(
        (
            letter["messageId"], letter["workflowUuid"], letter["inbox"], letter["from"],
            letter["attempts"], letter["maxAttempts"], letter["reason"], letter["content"],
            letter["metadata"],
        ),
        ("d1", dead, "bob", "alice", 1, 10, "no use", {"text": "hi"}, {"a": 1}),
        "one is shown whole, with the reason",
    )
    tap.ok("content" not in page["deadLetters"][0], "a list leaves the content out")
    tap.equal(codes(stage.get(f"/dead-letters/{dead}", "carol")), (404, "NOT_FOUND"), "to whom it concerns")
    tap.equal(codes(stage.get("/dead-letters/nothing", "root")), (404, "NOT_FOUND"), "where there is one")

    with stage.connect("bob") as bob, stage.connect("carol") as carol:
        answer = bob.call("inbox.dead.list", {"inbox": "bob", "limit": 1})
        tap.equal(ids(answer), ["carol:d2"], "the same by WebSocket")
        answer = bob.call("inbox.dead.list", {"inbox": "bob", "before": answer["before"]})
        tap.equal((ids(answer), "before" in answer), (["alice:d1"], False), "page by page")
        tap.equal(
            bob.call("inbox.dead.show", {"id": dead})["content"], {"text": "hi"}, "shown, too"
        )
        with tap.raises(Refused, "but not to others", code="NOT_FOUND"):
            carol.call("inbox.dead.show", {"id": dead})
        with tap.raises(Refused, "an id is a string", code="INVALID_REQUEST"):
            bob.call("inbox.dead.show", {"id": 1})

    listed = stage.ctl("dead", "list", "--json")
    tap.equal(ids(listed.json), ["bob:d3", "carol:d2", "alice:d1"], "the same by gatewayctl")
    tap.ok("no use" in stage.ctl("dead", "list", "--inbox", "bob").out, "with the reason")
    tap.equal(stage.ctl("dead", "show", second, "--json").json["from"], "carol", "which shows one")
    tap.equal(stage.ctl("dead", "show", "nothing").code, 66, "if there is one")


def redrive(stage):
    before = stage.inbox("alice:d1")
    told = stage.workflow("alice:d1")
    answer = stage.redrive("alice:d1", "bob")
    body = answer.json()
    tap.equal(
        (answer.status, body["id"], body["messageId"], body["redriven"], body["status"]),
        (200, "alice:d1", "d1", True, "queued"),
        "the recipient redrives one",
    )
    fork = body["workflowUuid"]
    workflow = stage.workflow("alice:d1")
    tap.equal(
        (workflow["status"], workflow["output"], workflow["error"]),
        ("ERROR", told["output"], told["error"]),
        "the workflow that carried it stays as it ended",
    )
    row = stage.cluster.rows(
        "select status, forked_from, name, authenticated_user, owner_xid,"
        " (select was_forked_from from dbos_system.workflow_status where workflow_uuid = 'alice:d1')"
        " as was, delay_until_epoch_ms - (select expires_at from openclaw.inbox"
        f" where message_uuid = 'alice:d1') as until from dbos_system.workflow_status where workflow_uuid = '{fork}'",
        "gateway",
    )[0]
    tap.equal(
        row,
        {
            "status": "DELAYED", "forked_from": "alice:d1", "name": "routeAgentMessage",
            "authenticated_user": "alice", "owner_xid": None, "was": "t", "until": "0",
        },
        "a fork of it, parked until the message expires, carries it",
    )
    steps = [(s["name"]) for s in stage.get(f"/workflows/{fork}/steps", "alice").json()["steps"]]
    tap.equal(steps, ["validateMessage", "storeMessage"], "with the steps before the wait")
    events = stage.get(f"/workflows/{fork}/events", "alice").json()["events"]
    tap.equal([e["key"] for e in events], ["accepted"], "and their events")
    tap.equal(
        stage.workflow(fork)["input"], stage.workflow("alice:d1")["input"], "and the input"
    )
    after = stage.inbox("alice:d1")
    tap.equal((after["state"], after["attempt"]), ("ready", "0"), "its attempts begin anew")
    tap.ok(int(after["expires_at"]) > int(before["expires_at"]), "it has a new time to live")
    again = stage.redrive("alice:d1", "bob")
    tap.equal(
        (again.status, again.json()["redriven"]), (200, False), "twice: it is on its way already"
    )
    [delivery] = stage.pull("bob")
    tap.equal(
        (
            delivery["messageId"], delivery["content"], delivery["metadata"], delivery["attempt"],
            delivery["redelivered"], delivery["workflowUuid"],
        ),
        ("d1", {"text": "hi"}, {"a": 1}, 1, True, fork),
        "it is delivered under its id, and says that it was out before",
    )
    tap.equal(len(stage.ack("bob", delivery, result="late")["acked"]), 1, "and acknowledged")
    workflow = stage.workflow(fork, "alice")
    tap.equal(
        (workflow["status"], workflow["output"]["response"], workflow["output"]["messageId"]),
        ("SUCCESS", "late", "d1"),
        "which its workflow says",
    )
    tap.equal(codes(stage.redrive("alice:d1", "bob")), (404, "NOT_FOUND"), "then it is none any more")
    tap.equal(codes(stage.redrive("carol:d2", "alice")), (404, "NOT_FOUND"), "of another's there are none")


def redrive_again(stage):
    """By its sender, over WebSocket; it dies again, is redriven by gatewayctl, and expires."""
    with stage.connect("carol") as carol, stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        answer = carol.call("inbox.redrive", {"ids": ["carol:d2", "alice:d1", "bob:d3"]})
        tap.equal(
            ([r["id"] for r in answer["redriven"]], answer["unknown"], answer["live"]),
            (["carol:d2"], ["alice:d1", "bob:d3"], []),
            "the sender redrives its own",
        )
        first = answer["redriven"][0]["workflowUuid"]
        begun = time.monotonic()
        delivery = bob.event("inbox.message")
        tap.ok(time.monotonic() - begun < 15, "the recipient is rung")
        tap.equal(delivery["workflowUuid"], first, "and gets it")
        bob.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "requeue": False, "reason": "still no"})
    workflow = stage.workflow(first)
    tap.equal(
        (workflow["status"], workflow["error"]["data"]["reason"]),
        ("ERROR", "still no"),
        "it may die again",
    )
    result = stage.ctl("dead", "redrive", "carol:d2", "--json")
    tap.equal(result.code, 0, "and be redriven again, by gatewayctl")
    second = result.json["workflowUuid"]
    tap.equal(
        stage.value(f"select forked_from from dbos_system.workflow_status where workflow_uuid = '{second}'"),
        first,
        "as a fork of the fork",
    )
    stage.sql(
        "update openclaw.inbox set expires_at = openclaw.now_ms() where message_uuid = 'carol:d2';"
        "set openclaw.writer = 'gateway';"
        "update dbos_system.workflow_status set delay_until_epoch_ms = openclaw.now_ms()"
        f" where workflow_uuid = '{second}'"
    )
    ended = eventually(lambda: stage.workflow(second)["status"] == "ERROR")
    tap.ok(ended, "when its time is over the sweeper runs the fork")
    tap.equal(stage.workflow(second)["error"]["code"], "EXPIRED", "which expires it")
    tap.equal(stage.inbox("carol:d2")["state"], "expired", "both say so")
    tap.equal(
        stage.value("select count(*) from openclaw.audit where act = 'message.redrive'"),
        "3",
        "each redrive is in the audit",
    )


def order(stage):
    """A redriven message takes its place again: before the later ones of its sender."""
    dead = stage.lead_to_death("alice", "bob", "o1")
    stage.accept("alice", "bob", "o2")
    stage.redrive(dead, "alice")
    messages = stage.pull("bob", max=5)
    tap.equal([m["messageId"] for m in messages], ["o1", "o2"], "a redriven message keeps its place")
    stage.ack("bob", *messages)


def full(stage):
    dead = [stage.lead_to_death("alice", "carol", f"f{n}") for n in range(2)]
    stage.sql("update openclaw.agent set inbox_limit = 2 where agent_id = 'carol'")
    stage.accept("alice", "carol", "f2")
    with stage.connect("carol") as carol:
        answer = carol.call("inbox.redrive", {"ids": dead})
        tap.equal(
            ([r["id"] for r in answer["redriven"]], answer["full"]),
            ([dead[0]], [dead[1]]),
            "a full inbox takes no redriven message, either",
        )
    tap.equal(codes(stage.redrive(dead[1], "carol")), (429, "INBOX_FULL"), "which is no loss")
    tap.equal(stage.ctl("dead", "redrive", dead[1]).code, 75, "it can be tried later")
    stage.ack("carol", *stage.pull("carol"))
    tap.equal(stage.redrive(dead[1], "carol").status, 200, "when there is room")
    stage.ack("carol", *stage.pull("carol"))
    stage.sql("update openclaw.agent set inbox_limit = null where agent_id = 'carol'")


def purge(stage):
    one, two, three = (stage.lead_to_death("alice", "bob", f"p{n}") for n in range(3))
    tap.equal(codes(stage.delete(f"/dead-letters/{one}", "carol")), (404, "NOT_FOUND"), "another's is not purged")
    tap.equal(stage.delete(f"/dead-letters/{one}", "bob").status, 204, "purged by HTTP")
    tap.equal(codes(stage.delete(f"/dead-letters/{one}", "bob")), (404, "NOT_FOUND"), "once")
    with stage.connect("alice") as alice:
        answer = alice.call("inbox.purge", {"ids": [one, two]})
        tap.equal(answer["purged"], [two], "by WebSocket")
    tap.equal(stage.ctl("dead", "purge", three).code, 0, "by gatewayctl")
    tap.equal(
        stage.value(
            "select count(*) from dbos_system.notifications where message_uuid like 'alice:p%'"
        ),
        "0",
        "with what was in them",
    )
    tap.equal(stage.workflow(one)["status"], "ERROR", "the workflow goes on saying how it ended")
    tap.equal(codes(stage.redrive(one, "bob")), (404, "NOT_FOUND"), "what is purged cannot be redriven")
    stage.accept("alice", "bob", "p9")
    tap.equal(codes(stage.delete("/dead-letters/alice:p9", "root")), (404, "NOT_FOUND"), "what lives is not purged")
    tap.equal(len(stage.pull("bob")), 1, "but delivered")


def foreign(stage):
    """What a DBOS client sent has no workflow of ours, and is redriven without one."""
    stage.sql(
        "select dbos_system.send_message('agent:carol', '{\"n\":1}', message_id => 'foreign-1')"
    )
    [delivery] = stage.pull("carol", wait=5)
    stage.nack("carol", delivery, requeue=False, reason="who are you?")
    letter = stage.get("/dead-letters/foreign-1", "carol").json()
    tap.equal(
        (letter["from"], letter["workflowUuid"], letter["reason"], letter["content"]),
        ("dbos", None, "who are you?", {"n": 1}),
        "a message of a DBOS client is a dead letter like any other",
    )
    tap.equal(stage.redrive("foreign-1", "carol").json()["redriven"], True, "and redriven")
    [delivery] = stage.pull("carol", wait=5)
    tap.equal((delivery["messageId"], delivery["attempt"]), ("foreign-1", 1), "delivered again")
    tap.equal(len(stage.ack("carol", delivery)["acked"]), 1, "acknowledged")


def awkward(stage):
    """Whatever id a DBOS client gives a message: it is refused, or its dead letter is redriven by it everywhere."""
    for identity in ("é" * 256, " a/b?c=\"d\" \\ %0a#€", "..."):
        stage.sql(
            "select dbos_system.send_message('agent:carol', '1', message_id => $$" + identity + "$$)"
        )
        def refuse():
            [delivery] = stage.pull("carol", wait=5)
            assert delivery["messageId"] == identity, delivery
            stage.nack("carol", delivery, requeue=False, reason="no")

        refuse()
        shown = identity[:20]
        path = urllib.parse.quote(identity, safe="")
        tap.equal(stage.get(f"/dead-letters/{path}", "carol").json()["id"], identity, f"{shown}: shown over HTTP")
        tap.equal(stage.redrive(path, "carol").json().get("redriven"), True, f"{shown}: redriven over HTTP")
        refuse()
        with stage.connect("carol") as carol:
            answer = carol.call("inbox.redrive", {"ids": [identity]})
            tap.equal([one["redriven"] for one in answer["redriven"]], [True], f"{shown}: redriven over WebSocket")
        refuse()
        tap.equal(stage.ctl("dead", "redrive", "--", identity).code, 0, f"{shown}: redriven by gatewayctl")
        refuse()
        tap.equal(stage.delete(f"/dead-letters/{path}", "carol").status, 204, f"{shown}: purged over HTTP")

    for name, identity in (("a control character", "E'\\nx'"), ("513 bytes", "repeat('é', 256) || 'x'")):
        stage.sql(
            "select dbos_system.enqueue_workflow(workflow_name => 'routeAgentMessage', queue_name => 'openclaw',"
            f" workflow_id => {identity},"
            ' positional_args => array[\'{"from":"alice","to":"carol","content":1}\'::json])'
        )
        status = f"select status from dbos_system.workflow_status where workflow_uuid = {identity}"
        eventually(lambda: stage.value(status) not in ("ENQUEUED", "PENDING"))
        error = stage.value(
            f"select coalesce(o.error, '') from dbos_system.workflow_output o where workflow_uuid = {identity}"
        )
        tap.ok(
            stage.value(status) == "ERROR" and '"INVALID_ID"' in error,
            f"a message whose workflow's id has {name} ends, and says why", error,
        )
    tap.equal(stage.value("select count(*) from openclaw.inbox where agent_id = 'carol' and state = 'ready'"), "0",
              "and comes to no inbox")


with Stage() as stage:
    list_and_show(stage)
    redrive(stage)
    redrive_again(stage)
    order(stage)
    full(stage)
    purge(stage)
    foreign(stage)
    awkward(stage)
sys.exit(tap.done())

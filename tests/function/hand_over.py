#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A message that is leased to its receiver with its acceptance: when it is, when not, and when it is lost."""

import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, message

skip_without("initdb", "psql")
tap = Tap()

HOST = "here"
LIGHT = 16384  # bytes: v_light of workflow_commit


def receiver(db, **options):
    db.register("s1", principal="bob", host=HOST)
    return db.subscribe(executor="s1", **options)["epoch"]


def accept(db, *works, host=HOST):
    """What is handed over, for each: None, or who has it, its epoch and the delivery."""
    answers = []
    for row in db.commit(*works, host=host):
        words = (row["hand_over"] or "").split()
        answers.append(
            words
            and {
                "holder": words[0],
                "epoch": int(words[1]),
                "lease_expires_at": int(words[2]),
                "delivery_id": words[3],
                "inbox_seq": int(words[3].split(".")[0]),
                "bells": row["bells"],
                "now": row["now_ms"],
            }
            or None
        )
    return answers


def state(db, key):
    return db.row(
        "select state, holder, attempt, claims, handed, delivery_id, due_at - accepted_at as lease"
        f" from openclaw.inbox where message_uuid = 'alice:{key}'"
    )


def keys(deliveries):
    return [d["message_id"] for d in deliveries]


def test_handed_over(db):
    epoch = receiver(db, lease_ms=20_000)
    [one] = accept(db, message("m1"))
    tap.equal((one["holder"], one["epoch"]), ("s1", epoch), "a receiver that waits is handed what is accepted")
    row = state(db, "m1")
    tap.equal(
        (row["state"], row["holder"], row["attempt"], row["claims"], row["handed"], row["delivery_id"]),
        ("leased", "s1", 1, 1, False, one["delivery_id"]),
        "leased, as by a claim",
    )
    tap.equal(row["lease"] >= 20_000, True, "for as long as its subscription says")
    tap.equal(one["bells"], [], "it is not rung as well")
    tap.equal(db.claim(holder="s1", epoch=epoch, known=one["inbox_seq"]), [], "who knows of it claims nothing")
    tap.equal(db.ack(one)[0]["outcome"], "acked", "its delivery id acknowledges it")
    tap.equal(db.workflow("alice:m1")["status"], "SUCCESS", "and settles its workflow")
    [two] = accept(db, message("m2"))
    tap.equal(two is not None, True, "then comes the next")
    tap.equal(accept(db, message("m3")), [None], "that is not put out yet: what comes now is claimed")
    db.handed(two)
    tap.equal(accept(db, message("m4")), [None], "in its turn")
    tap.equal(keys(db.claim(holder="s1", epoch=epoch, known=two["inbox_seq"])), ["m3", "m4"], "by the next claim")


def test_watchers(db):
    receiver(db)
    db.register("s9", principal="carol", host=HOST)
    db.run("insert into openclaw.subscription values ('bob', 's9', null, 0, false, 0, 0)")
    [one] = accept(db, message("w1"))
    tap.equal(one["bells"], [f"{HOST}/s9"], "who only watches is rung")


def refused(db, what, *works, host=HOST):
    tap.equal([answer for answer in accept(db, *works, host=host) if answer], [], f"not handed over: {what}")
    tap.equal({state(db, work["id"].split(":")[1])["state"] for work in works}, {"ready"}, "  it is ready, for a claim")


def test_not_handed_over(db):
    refused(db, "where nobody receives", message("n1"))
    db.ack(*db.claim())
    epoch = receiver(db, max_in_flight=2)
    refused(db, "by who does not do it", message("n2"), host=None)
    db.ack(*db.claim(holder="s1", epoch=epoch))
    refused(db, "from another host", message("n3"), host="there")
    db.ack(*db.claim(holder="s1", epoch=epoch))
    refused(db, "what is to come later", message("n4", delay=1))
    db.run("select pg_sleep(0.01)")
    db.ack(*db.claim(holder="s1", epoch=epoch))
    large = message("n5")
    large["sends"][0]["message"] = '{"content":"' + "x" * (LIGHT - 13) + '"}'
    refused(db, "what does not fit into a datagram", large)
    db.ack(*db.claim(holder="s1", epoch=epoch))
    large = message("n6")
    large["sends"][0]["message"] = '{"content":"' + "x" * (LIGHT - 14) + '"}'
    [fits] = accept(db, large)
    tap.equal(fits is not None, True, "a byte less does")
    db.ack(fits)
    refused(db, "two of one call: the second would wait for the first", message("n7"), message("n8"))
    one, two = db.claim(holder="s1", epoch=epoch)
    refused(db, "while what a claim gave is not put out", message("n9"))
    db.handed(one, two)
    refused(db, "while something is ready", message("n10"))
    db.ack(one, two)
    three, four = db.claim(holder="s1", epoch=epoch)
    db.handed(three, four)
    refused(db, "where as much is out as may be", message("n11"))
    db.ack(three, four)
    db.ack(*db.claim(holder="s1", epoch=epoch))
    db.run("update openclaw.agent set status = 'paused' where agent_id = 'bob'")
    refused(db, "to an agent that is paused", message("n12"))
    db.run("update openclaw.agent set status = 'active' where agent_id = 'bob'")
    db.ack(*db.claim(holder="s1", epoch=epoch))
    db.register("s2", principal="bob", host=HOST)
    db.subscribe(executor="s2")
    refused(db, "where two receive", message("n13"))


def test_somebody_elses(db):
    db.register("s1", principal="carol", host=HOST)
    db.subscribe(executor="s1")
    refused(db, "from somebody else's inbox: each claim of that is on record", message("e1"))


def test_several_inboxes(db):
    receiver(db)
    db.provision("dave")
    db.register("s3", principal="dave", host=HOST)
    db.subscribe("dave", executor="s3")
    answers = accept(db, message("s1"), message("s2", to="carol"), message("s3", to="dave"))
    tap.equal([a and a["holder"] for a in answers], ["s1", None, "s3"], "of one call, whatever can be")
    tap.equal(len({a["delivery_id"] for a in answers if a}), 2, "each with an id of its own")


def test_lost(db):
    epoch = receiver(db)
    [one] = accept(db, message("l1"))
    accept(db, message("l2"))
    given = db.claim(holder="s1", epoch=epoch, known=0)
    tap.equal(keys(given), ["l1", "l2"], "what was lost on its way comes with the next claim, before what came later")
    tap.equal(
        (given[0]["delivery_id"], given[0]["attempt"], given[0]["redelivered"]),
        (one["delivery_id"], 1, False),
        "as what it was",
    )
    tap.equal(keys(db.claim(holder="s1", epoch=epoch, known=0)), ["l1"], "as long as it is not known to be put out")
    db.handed(one)
    tap.equal(db.claim(holder="s1", epoch=epoch, known=0), [], "and not afterwards")

    db.ack(*given)
    [three] = accept(db, message("l3"))
    answer = db.commit(dict(message("l3"), token=db.value("select creator_xid from dbos_system.workflow_status where workflow_uuid = 'alice:l3'")), host=HOST)
    tap.equal((answer[0]["outcome"], answer[0]["hand_over"]), ("committed", None), "accepted again, it is handed to nobody again")
    tap.equal(state(db, "l3")["delivery_id"], three["delivery_id"], "and stays whose it is")
    tap.equal(db.call("inbox_overdue", grace_ms=60_000), [], "its receiver is left in peace for a while")
    db.run("update openclaw.inbox set last_attempt_at = last_attempt_at - 60000 where message_uuid = 'alice:l3'")
    tap.equal([row["bell"] for row in db.call("inbox_overdue", grace_ms=60_000)], [f"{HOST}/s1"], "then it is rung")
    db.handed(three)
    tap.equal(db.call("inbox_overdue", grace_ms=60_000), [], "until it has put it out")


def test_given_back(db):
    epoch = receiver(db)
    [one] = accept(db, message("g1"))
    tap.equal(db.value(f"select openclaw.inbox_give_back('{{{one['delivery_id']},1.hsecret}}')"), 1, "what nobody took is given back")
    [again] = db.claim(holder="s1", epoch=epoch, known=0)
    tap.equal((again["attempt"], again["redelivered"]), (1, False), "as if it had never been handed over")
    db.ack(again)
    [two] = accept(db, message("g2"))
    db.handed(two)
    tap.equal(db.value(f"select openclaw.inbox_give_back('{{{two['delivery_id']}}}')"), 0, "what was put out is not")


def test_taken_over(db):
    receiver(db)
    [one] = accept(db, message("t1"))
    db.register("s2", principal="bob", host=HOST)
    epoch = db.subscribe(executor="s2", exclusive=True)["epoch"]
    [again] = db.claim(holder="s2", epoch=epoch, known=0)
    tap.equal(
        (again["message_id"], again["attempt"], again["redelivered"]),
        ("t1", 1, True),
        "who takes the inbox over has what the other was handed: no attempt, but perhaps seen",
    )
    tap.equal(db.ack(one)[0]["outcome"], "stale", "whose delivery is none any more")


def test_busy(db):
    """Who accepts waits for nobody."""
    epoch = receiver(db)
    with db.another() as other:
        other.run("begin; select pg_advisory_xact_lock(hashtextextended('inbox bob', 0))")
        refused(db, "while a claim is under way", message("b1"))
        other.run("commit")
        db.ack(*db.claim(holder="s1", epoch=epoch))
        other.run("begin")
        other.call("inbox_resume", agent="bob", executor="s1", epoch=epoch, known=[], call=1)
        refused(db, "while its receiver starts anew", message("b2"))
        other.run("rollback")
        db.ack(*db.claim(holder="s1", epoch=epoch))

        db.run("begin")
        [one] = accept(db, message("b3"))
        other.send("inbox_resume", agent="bob", executor="s1", epoch=epoch, known=[], call=1)
        other.waits_for_lock()
        db.run("commit")
        [row] = other.finish()
        tap.equal(state(db, "b3")["state"], "ready", "who starts anew waits for it, and finds it")
        tap.equal(db.ack(one)[0]["outcome"], "stale", "as nobody's")
        db.ack(*db.claim(holder="s1", epoch=row["inbox_resume"]))

        db.run("begin")
        accept(db, message("b4"))
        other.session.send(
            "with gone as (delete from openclaw.subscription where agent_id = 'bob' and executor_id = 's1' returning 1),"
            " ended as materialized (select exists (select from gone))"
            " select openclaw.inbox_release('bob', array['s1']) from ended"
        )
        other.waits_for_lock()
        db.run("commit")
        other.session.finish()
        tap.equal(state(db, "b4")["state"], "ready", "so does who leaves")


TESTS = (
    test_handed_over,
    test_watchers,
    test_not_handed_over,
    test_somebody_elses,
    test_several_inboxes,
    test_lost,
    test_given_back,
    test_taken_over,
    test_busy,
)

with Cluster() as cluster:
    with Database(cluster) as empty:
        empty.provision("alice", "bob", "carol")
        for test in TESTS:
            empty.clear()
            try:
                test(empty)
            except (SqlError, AssertionError, IndexError, TypeError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
sys.exit(tap.done())

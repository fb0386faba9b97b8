#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Dead letters' functions: redrive and purge, called twice, by whom they are nobody's, and at once."""

import itertools
import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, message

skip_without("initdb", "psql")
tap = Tap()
forks = itertools.count(1)


def die(db, *keys, **options):
    db.commit(*[message(key, **options) for key in keys])
    for delivery in db.claim():
        db.nack(delivery, requeue=False, reason="bad")
    return [f"alice:{key}" for key in keys]


def redrive(db, *messages, fork=None, who=None):
    return db.call("dead_letter_redrive", **arguments(messages, fork, who))


def arguments(messages, fork=None, who=None):
    return {
        "by": who or "root",
        "all": who is None,
        "recipient": who,
        "sender": who,
        "message": list(messages),
        "fork": fork or [f"fork-{next(forks)}" for _ in messages],
    }


def purge(db, *messages, who=None):
    return db.call(
        "dead_letter_purge",
        by=who or "root",
        all=who is None,
        recipient=who,
        sender=who,
        message=list(messages),
    )


def test_redrive_twice(db):
    one, two = die(db, "t1", "t2", max_attempts=3)
    first, second = db.twice(
        tap, "redrive", lambda: redrive(db, one, two, "alice:none", fork=["ft1", "ft2", "ft3"])
    )
    tap.equal(
        [r["outcome"] for r in first], ["redriven", "redriven", "unknown"], "a set, each for itself"
    )
    tap.equal(
        [(r["outcome"], r["workflow_uuid"]) for r in second][:2],
        [("redriven", "ft1"), ("redriven", "ft2")],
        "a repeat with the same ids has the same answer",
    )
    tap.equal([r["outcome"] for r in redrive(db, one)], ["live"], "with others it changes nothing")
    origin, fork = db.workflow(one), db.workflow("ft1")
    tap.equal((origin["status"], fork["status"]), ("ERROR", "DELAYED"), "the origin has ended, the fork waits")
    tap.equal(len(origin["steps"]), 3, "the origin keeps its steps")
    tap.equal(
        [(s["function_id"], s["output"]) for s in fork["steps"]],
        [(s["function_id"], s["output"]) for s in origin["steps"][:2]],
        "the fork has those before the wait",
    )
    tap.equal((fork["inputs"], fork["owner_xid"]), (origin["inputs"], None), "its input, and no owner")
    row = db.inbox(one)
    tap.equal(
        (row["state"], row["attempt"], row["max_attempts"], row["workflow_uuid"], row["reason"]),
        ("ready", 0, 3, "ft1", None),
        "the message is as new",
    )
    tap.equal(fork["delay_until_epoch_ms"], row["expires_at"], "the fork waits as long as it lives")
    deliveries = db.claim()
    tap.equal([d["workflow_uuid"] for d in deliveries], ["ft1", "ft2"], "and is what carries it")
    db.ack(*deliveries)
    tap.equal([r["outcome"] for r in redrive(db, one, fork=["ft1"])], ["redriven"], "also when it was read meanwhile")
    tap.equal(db.workflow("ft1")["status"], "SUCCESS", "which ends the fork")
    tap.equal(db.workflow(one)["status"], "ERROR", "and not the origin")


def test_whose(db):
    [one] = die(db, "w1")
    tap.equal([r["outcome"] for r in redrive(db, one, who="carol")], ["unknown"], "another's is none")
    tap.equal(purge(db, one, who="carol"), [], "nor is it purged")
    tap.equal(db.inbox(one)["state"], "dead", "it is untouched")
    tap.equal([r["outcome"] for r in redrive(db, one, who="alice")], ["redriven"], "its sender may")
    db.nack(db.claim()[0], requeue=False)
    tap.equal([r["outcome"] for r in redrive(db, one, who="bob")], ["redriven"], "its recipient may")


def test_without_workflow(db):
    """An operator deleted the workflow; the message is still there."""
    [one] = die(db, "n1")
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'alice:n1'")
    tap.equal([r["outcome"] for r in redrive(db, one)], ["redriven"], "no workflow, no fork")
    tap.equal(db.inbox(one)["workflow_uuid"], None, "nobody waits for it")
    tap.equal([d["message_id"] for d in db.claim()], ["n1"], "it is delivered")


def test_resumed(db):
    """A DBOS client resumed the workflow that carried it: that decides."""
    [one] = die(db, "r1")
    db.run("update dbos_system.workflow_status set status = 'ENQUEUED' where workflow_uuid = 'alice:r1'")
    tap.equal([r["outcome"] for r in redrive(db, one)], ["live"], "what runs again is not forked")
    tap.equal(db.inbox(one)["state"], "dead", "nor delivered")


def test_full(db):
    one, two = die(db, "f1", "f2")
    db.commit(message("f3"))
    [first, second] = db.call("dead_letter_redrive", **dict(arguments([one, two]), inbox_limit=2))
    tap.equal((first["outcome"], second["outcome"]), ("redriven", "full"), "as far as there is room")
    tap.equal(db.inbox(two)["state"], "dead", "the other stays a dead letter")


def test_purge(db):
    one, two = die(db, "p1", "p2")
    first, second = db.twice(tap, "purge", lambda: purge(db, one, "alice:none"))
    tap.equal(([r["message_uuid"] for r in first], second), ([one], []), "one is purged, once")
    tap.equal(db.count("dbos_system.notifications", "message_uuid = 'alice:p1'"), 0, "with its content")
    tap.equal(db.workflow(one)["status"], "ERROR", "its workflow stays")
    tap.equal(db.inbox(two)["state"], "dead", "so do others")


def test_at_once(db):
    """Two redrive the same set, in opposite orders; one does it, and no deadlock."""
    one, two = die(db, "c1", "c2")
    with db.another() as left, db.another() as right, db.another() as third:
        third.run("begin")
        third.run("select from dbos_system.workflow_status where workflow_uuid = 'alice:c1' for update")
        left.send("dead_letter_redrive", **arguments([one, two], ["fl1", "fl2"]))
        left.waits_for_lock()
        right.send("dead_letter_redrive", **arguments([two, one], ["fr2", "fr1"]))
        right.waits_for_lock()
        third.run("commit")
        left, right = left.finish(), right.finish()
    tap.equal([r["outcome"] for r in left], ["redriven", "redriven"], "the first in the queue redrives")
    tap.equal([r["outcome"] for r in right], ["live", "live"], "the second finds it done")
    tap.equal(db.count("dbos_system.workflow_status", "forked_from is not null"), 2, "one fork each")
    [one, _] = [f"alice:{k}" for k in ("c1", "c2")]
    for delivery in db.claim():
        db.nack(delivery, requeue=False)
    with db.another() as other:
        db.run("begin")
        redrive(db, one)
        other.send("dead_letter_purge", by="root", all=True, recipient=None, sender=None, message=[one])
        other.waits_for_lock()
        db.run("commit")
        tap.equal(other.finish(), [], "what was redriven meanwhile is not purged")
    tap.equal(db.inbox(one)["state"], "ready", "but delivered")


with Cluster() as cluster, Database(cluster) as db:
    db.provision("alice", "bob", "carol")
    for test in [value for name, value in list(globals().items()) if name.startswith("test_")]:
        db.clear()
        test(db)
sys.exit(tap.done())

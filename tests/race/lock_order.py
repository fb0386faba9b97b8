#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Two transitions meet: the second is seen waiting for a lock, then both end, and neither is a deadlock.

What each pair must come to is what some order of the two would have come to.
"""

import json
import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, Holding, SqlError, message, task, token

skip_without("initdb", "psql")
tap = Tap()


def two_of(db, *keys, holder="s1", epoch=None):
    db.commit(*[message(key) for key in keys])
    return db.claim(holder=holder, epoch=epoch)


def arguments(deliveries, **more):
    return dict(
        {
            "seq": [d["inbox_seq"] for d in deliveries],
            "delivery": [d["delivery_id"] for d in deliveries],
        },
        **more,
    )


def ack_arguments(*deliveries):
    return arguments(deliveries, agent=["bob" for _ in deliveries], response=[None for _ in deliveries])


def retry_arguments(*deliveries):
    return arguments(deliveries, handed=True, expired=False, delay_ms=0, dead=False, reason="no")


def test_ack_ack(db):
    one, two = two_of(db, "aa1", "aa2")
    with db.another() as second:
        with Holding(db) as first:
            first.call("inbox_ack", **ack_arguments(one, two))
            second.send("inbox_ack", **ack_arguments(two, one))
            second.waits_for_lock()
        rows = second.finish()
    tap.equal(
        [r["outcome"] for r in rows],
        ["already", "already"],
        "two acknowledgements: the second is late",
    )
    tap.equal(len(db.workflow("alice:aa1")["steps"]), 3, "and adds nothing")


def test_crossing_sets(db):
    """Both want the same rows, in opposite orders, and the first of them is held by a third."""
    one, two = two_of(db, "cs1", "cs2")
    with db.another() as left, db.another() as right:
        with Holding(db) as third:
            third.run(
                "select from dbos_system.workflow_status where workflow_uuid = 'alice:cs1' for update"
            )
            left.send("inbox_ack", **ack_arguments(one, two))
            left.waits_for_lock()
            right.send("inbox_retry", **retry_arguments(two, one))
            right.waits_for_lock()
        acked = left.finish()
        retried = right.finish()
    tap.equal(
        [r["outcome"] for r in acked],
        ["acked", "acked"],
        "crossing sets: the first in the queue wins",
    )
    tap.equal(retried, [], "the second finds it settled")


def test_ack_nack(db):
    [one] = two_of(db, "an1")
    with db.another() as second:
        with Holding(db) as first:
            first.call("inbox_retry", **retry_arguments(one))
            second.send("inbox_ack", **ack_arguments(one))
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["outcome"], "stale", "an acknowledgement behind a refusal is stale")
    tap.equal(db.inbox("alice:an1")["state"], "ready", "and the message is still to be delivered")


def test_reap_ack(db):
    db.register("dead")
    epoch = db.subscribe(executor="dead")["epoch"]
    one, two = two_of(db, "ra1", "ra2", holder="dead", epoch=epoch)
    with db.another() as second:
        with Holding(db) as first:
            first.call("executor_reap", executors=["dead"])
            second.send("inbox_ack", **ack_arguments(two, one))
            second.waits_for_lock()
        rows = second.finish()
    tap.equal(
        [r["outcome"] for r in rows],
        ["stale", "stale"],
        "an acknowledgement behind a burial is stale",
    )
    tap.equal(
        db.count("openclaw.inbox", "state = 'ready'"), 2, "and the messages are delivered again"
    )


def test_ack_reap(db):
    db.register("dead")
    epoch = db.subscribe(executor="dead")["epoch"]
    one, two = two_of(db, "ar1", "ar2", holder="dead", epoch=epoch)
    with db.another() as second:
        with Holding(db) as first:
            first.call("inbox_ack", **ack_arguments(one))
            second.send("executor_reap", executors=["dead"])
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["deliveries"], 1, "a burial behind an acknowledgement frees the rest")
    tap.equal(
        (db.inbox("alice:ar1")["state"], db.inbox("alice:ar2")["state"]),
        ("acked", "ready"),
        "only the rest",
    )


def test_settle_park(db):
    """The waiting workflow was awake, and parks itself while its message is settled."""
    [one] = two_of(db, "sp1")
    db.run(
        "update dbos_system.workflow_status set status = 'PENDING', owner_xid = 'mine'"
        " where workflow_uuid = 'alice:sp1'"
    )
    park = task("alice:sp1", start=False, token="mine", status="DELAYED", delay=1000)
    with db.another() as second:
        with Holding(db) as first:
            first.call("inbox_ack", **ack_arguments(one))
            second.send_commit(park)
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(
        (row["outcome"], row["status"]),
        ("fenced", "SUCCESS"),
        "a parking behind a settling is fenced",
    )

    [two] = two_of(db, "sp2")
    db.run(
        "update dbos_system.workflow_status set status = 'PENDING', owner_xid = 'mine'"
        " where workflow_uuid = 'alice:sp2'"
    )
    with db.another() as second:
        with Holding(db) as first:
            first.commit(dict(park, id="alice:sp2"))
            second.send("inbox_ack", **ack_arguments(two))
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["outcome"], "acked", "a settling behind a parking settles")
    tap.equal(db.workflow("alice:sp2")["status"], "SUCCESS", "for good")


def test_claim_takeover(db):
    db.register("old", "new")
    epoch = db.subscribe(executor="old")["epoch"]
    db.commit(message("ct1"))
    with db.another() as second:
        with Holding(db) as first:
            [d] = first.claim(holder="old", epoch=epoch)
            second.send("inbox_subscribe", agent="bob", executor="new", consumer=None, exclusive=True,
                        max_in_flight=10, lease_ms=1000, call=1)  # fmt: skip
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(
        (row["pending"], row["in_flight"]),
        (1, 0),
        "who takes an inbox over finds what was leased a moment before",
    )
    tap.equal(db.ack(d)[0]["outcome"], "stale", "and the fenced one's delivery is stale")


def test_claim_waits(db):
    """Who notes a delivery that was taken from it meanwhile holds the message for a moment."""
    db.commit(message("cw1"), message("cw2"))
    with db.another() as second:
        with Holding(db) as first:
            first.run("select from openclaw.inbox where message_uuid = 'alice:cw1' for update")
            second.send("inbox_claim", agent="bob", holder="s1", epoch=None, max_in_flight=1, limit=1,
                        lease_ms=1000)  # fmt: skip
            second.waits_for_lock()
        row, left = second.finish()
    tap.equal(row["message_id"], "cw1", "a claim waits for the first message, and does not take the next")
    tap.equal(left["next_due_ms"], 0, "and says that it left the next behind")


def test_claim_beside_pull(db):
    """A pull beside an exclusive subscription has taken the first and not committed; it may die."""
    db.register("s1")
    epoch = db.subscribe(executor="s1", exclusive=True)["epoch"]
    db.commit(message("cp1"), message("cp2"))
    with db.another() as second:
        with Holding(db) as first:
            first.claim(holder="puller", limit=1)
            second.send("inbox_claim", agent="bob", holder="s1", epoch=epoch, max_in_flight=1, limit=1,
                        lease_ms=1000)  # fmt: skip
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["message_id"], None, "nothing comes before a message that another took and has not handed over")


def test_claim_settle(db):
    """The one that was accepted later goes first, and whoever has both locks it first, too."""
    db.commit(message("cs1", priority=9), message("cs2"))
    seq = [db.inbox(f"alice:cs{n}")["inbox_seq"] for n in (1, 2)]
    for what, call in (
        ("withdrawn", lambda second: second.send("message_withdraw", seq=seq, reason="gone")),
        ("settled", lambda second: second.send("message_settle", seq=seq, delivery=[None, None], state="expired",
                                               response=[None, None], reason=None)),
    ):  # fmt: skip
        with db.another() as claimer, db.another() as second:
            with Holding(db) as third:
                third.run("select from openclaw.inbox where message_uuid = 'alice:cs2' for update")
                claimer.send("inbox_claim", agent="bob", holder="s1", epoch=None, max_in_flight=None, limit=9,
                             lease_ms=1000)  # fmt: skip
                claimer.waits_for_lock()
                call(second)
                second.waits_for_lock()
            claimed = [row["message_id"] for row in claimer.finish() if row["message_id"]]
            second.finish()
        tap.equal(claimed, ["cs2", "cs1"], f"what is claimed and {what} at once is claimed, by priority, and then {what}")
        tap.equal(db.count("openclaw.inbox", "state in ('expired', 'withdrawn')"), 2, "both of it")
        db.run("update openclaw.inbox set state = 'ready', holder = null, delivery_id = null")


def test_claim_resume(db):
    """The claim whose answer was lost is still under way when its session resumes."""
    db.register("s1")
    epoch = db.subscribe(executor="s1")["epoch"]
    db.commit(message("cz1"))
    with db.another() as second:
        with Holding(db) as first:
            first.claim(epoch=epoch)
            second.send("inbox_resume", agent="bob", executor="s1", epoch=epoch, known=[], call=1)
            second.waits_for_lock()
        [row] = second.finish()
    [again] = db.claim(epoch=row["inbox_resume"])
    tap.equal(again["message_id"], "cz1", "resuming waits for the claim, and finds what it leased")


def test_claim_reap(db):
    db.register("dead")
    epoch = db.subscribe(executor="dead")["epoch"]
    db.commit(message("cr1"))
    with db.another() as second:
        with Holding(db) as first:
            first.claim(holder="dead", epoch=epoch)
            second.send("executor_reap", executors=["dead"])
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["deliveries"], 1, "the last claim of a dead session is undone by its burial")


def test_one_key(db):
    """Concurrent starts with one key: one starts, whichever; the others get its answer."""
    others = [db.another() for _ in range(6)]
    with Holding(db) as first:
        [started] = first.commit(message("ok1"))
        for other in others:
            other.send_commit(message("ok1"))
        others[-1].waits_for_lock()
    answers = [other.finish()[0] for other in others]
    tap.equal(
        {a["outcome"] for a in answers},
        {"exists"},
        "one key at once: the others get the answer of the first",
    )
    tap.equal({a["inbox_seq"] for a in answers}, {started["inbox_seq"]}, "with its message")
    work = message("ok2")
    with Holding(db) as first:
        first.commit(message("ok2"))
        for other in others:
            other.send_commit(work if other is others[0] else message("ok2"))
        others[-1].waits_for_lock()
        first.run("rollback; begin")
    answers = [other.finish()[0]["outcome"] for other in others]
    tap.equal(
        sorted(answers),
        ["committed"] + ["exists"] * 5,
        "where the first rolls back, one other starts",
    )
    tap.equal(
        db.count("openclaw.inbox", "message_uuid in ('alice:ok1', 'alice:ok2')"),
        2,
        "one message each",
    )
    [conflict] = db.commit(message("ok2", content="else"))
    tap.equal(conflict["outcome"], "conflict", "and a different request is a conflict")
    for other in others:
        other.close()


def test_crossing_batches(db):
    """Two batches with the same ids in opposite orders."""
    with db.another() as left, db.another() as right:
        with Holding(db) as third:
            third.commit(message("cb1"))
            left.send_commit(message("cb1"), message("cb2"), message("cb3"))
            left.waits_for_lock()
            right.send_commit(message("cb3"), message("cb2"), message("cb1"))
            right.waits_for_lock()
        answers = [r["outcome"] for c in (left, right) for r in c.finish()]
    tap.equal(
        sorted(answers),
        ["committed"] * 2 + ["exists"] * 4,
        "crossing batches: each workflow is started once",
    )
    tap.equal(db.count("openclaw.inbox"), 3, "with one message")


def test_provision(db):
    with db.another() as second:
        with Holding(db) as first:
            first.commit(message("pr1", to="zoe"), auto_provision=True)
            second.send_commit(message("pr2", to="zoe"), auto_provision=True)
            second.waits_for_lock()
        [row] = second.finish()
    tap.equal(row["outcome"], "committed", "two first messages to one new agent both arrive")
    tap.equal(db.count("openclaw.agent", "agent_id = 'zoe'"), 1, "at one agent")


def test_skipping(db):
    """Two sweepers: they share the work, and do not wait for each other. Two receivers of one inbox do:
    what the first is taking is handed over before the second has a later one of that sender."""
    db.commit(*[task(f"alice:sk{n}", status="ENQUEUED") for n in range(4)])
    claim = {"name": ["greet"], "max_recovery": 10, "limit": 2}
    with db.another() as second:
        with Holding(db) as first:
            mine = first.call("workflow_claim", token=token(), **claim)
            yours = second.call("workflow_claim", token=token(), **claim)
    tap.equal(
        sorted(r["workflow_uuid"] for r in mine + yours), [f"alice:sk{n}" for n in range(4)],
        "two sweepers claim disjointly, without waiting",
    )  # fmt: skip
    db.commit(*[message(f"sk{n}") for n in range(4, 8)])
    with db.another() as second:
        with Holding(db) as first:
            mine = first.claim(holder="s1", limit=2)
            second.send("inbox_claim", agent="bob", holder="s2", epoch=None, max_in_flight=None, limit=9,
                        lease_ms=1000)  # fmt: skip
            second.waits_for_lock()
        yours = [row["message_id"] for row in second.finish()]
    tap.equal(([d["message_id"] for d in mine], yours), (["sk4", "sk5"], [None]), "two receivers take turns")
    db.handed(*mine)
    yours = [d["message_id"] for d in db.claim(holder="s2")]
    tap.equal(yours, ["sk6", "sk7"], "and share what comes, once what came before is handed over")
    db.commit(*[task(f"alice:sl{n}", status="DELAYED", delay=0) for n in range(4)])
    with db.another() as second:
        with Holding(db) as first:
            mine = first.call("workflow_wake", limit=2)
            yours = second.call("workflow_wake")
    tap.equal((mine[0]["workflow_wake"], yours[0]["workflow_wake"]), (2, 2), "and wake disjointly")


def test_reap_twice(db):
    db.register("dead")
    db.commit(task("alice:rt1"), executor="dead")
    with db.another() as second:
        with Holding(db) as first:
            [mine] = first.call("executor_reap", executors=["dead"])
            [yours] = second.call("executor_reap", executors=["dead"])
    tap.equal((mine["executors"], mine["workflows"]), (1, 1), "two sweepers bury one executor once")
    tap.equal((yours["executors"], yours["workflows"]), (0, 0), "and the second does not wait")


def test_event_order(db):
    """Handing over and settling write the same events."""
    one, two = two_of(db, "eo1", "eo2")
    with db.another() as second:
        with Holding(db) as first:
            first.handed(two, one)
            second.send("inbox_ack", **ack_arguments(one, two))
            second.waits_for_lock()
        rows = second.finish()
    tap.equal(
        [r["outcome"] for r in rows],
        ["acked", "acked"],
        "an acknowledgement behind a handing over is one",
    )
    events = db.workflow("alice:eo1")["events"]
    tap.equal(sorted(events), ["accepted", "acknowledged", "delivered"], "and the log is whole")
    tap.ok(json.dumps(events), "and readable")


TESTS = (
    test_ack_ack, test_crossing_sets, test_ack_nack, test_reap_ack, test_ack_reap, test_settle_park,
    test_claim_takeover, test_claim_waits, test_claim_beside_pull, test_claim_settle, test_claim_resume, test_claim_reap, test_one_key, test_crossing_batches, test_provision,
    test_skipping, test_reap_twice, test_event_order,
)  # fmt: skip

with Cluster({"deadlock_timeout": "200ms"}) as cluster:
    with Database(cluster) as database:
        database.provision("alice", "bob")
        for test in TESTS:
            database.clear()
            try:
                test(database)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
    tap.ok(not cluster.log_contains("deadlock detected"), "the server never saw a deadlock")
sys.exit(tap.done())

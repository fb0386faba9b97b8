#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Calls for several inboxes, as the relay makes them of several callers', meet each other and the sweeps.

None of them ends in a deadlock. Where a joined claim would have to hold one inbox and wait for
another it gives up (55P03), and the relay makes its claims one by one.
"""

import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, Holding, SqlError, message

skip_without("initdb", "psql")
tap = Tap()
BOTH = ("bob", "carol")


def claims(agents, epochs=None):
    agents = list(agents)
    count = len(agents)
    return dict(
        agent=agents,
        holder=[f"s-{agent}" for agent in agents],
        epoch=[epochs[agent] if epochs else None for agent in agents],
        max_in_flight=[10] * count,
        limit=[10] * count,
        lease_ms=[30_000] * count,
        token=[f"t-{agent}" for agent in agents],
        known=[0] * count,
    )


def messages(db, *keys, **options):
    db.commit(*[message(f"{key}-{to}", to=to, **options) for key in keys for to in BOTH])


def held_by_each(db, key):
    messages(db, key)
    return {to: db.claim(agent=to, holder=f"s-{to}")[0] for to in BOTH}


def acks(deliveries, agents):
    agents = list(agents)
    return dict(
        agent=agents,
        seq=[deliveries[to]["inbox_seq"] for to in agents],
        delivery=[deliveries[to]["delivery_id"] for to in agents],
        response=[None for _ in agents],
    )


def gives_up(connection, name):
    """A joined claim ends by itself, though what it waits for is still held."""
    with tap.raises(SqlError, name, sqlstate="55P03"):
        connection.run("set statement_timeout = '60s'")
        connection.call("inbox_claims", **claims(BOTH))


def patient(db):
    """Joined claims that wait, to see in which order they do."""
    db.run("alter function openclaw.inbox_claims set lock_timeout = 0")


def test_claims_cross(db):
    messages(db, "cc")
    patient(db)
    with db.another() as left, db.another() as right:
        with Holding(db) as third:
            third.run("select from openclaw.inbox where agent_id = 'bob' for update")
            left.send("inbox_claims", **claims(BOTH))
            left.waits_for_lock()
            right.send("inbox_claims", **claims(reversed(BOTH)))
            right.waits_for_lock()
        first, second = left.finish(), right.finish()
    got = [(row["ord"], row["message_id"]) for row in first if row["message_id"]]
    tap.equal(got, [(1, "cc-bob"), (2, "cc-carol")], "crossing claims: the first has them")
    # it knows the tokens of the first, and so is given what that was
    got = sorted((row["ord"], row["message_id"]) for row in second if row["message_id"])
    tap.equal(got, [(1, "cc-carol"), (2, "cc-bob")], "who asks with the same tokens is given the same")


def test_claims_give_up(db):
    """Somebody's open transaction has a message of one inbox."""
    messages(db, "cg")
    with db.another() as second:
        with Holding(db) as first:
            first.run("select from openclaw.inbox where agent_id = 'carol' for update")
            gives_up(second, "a joined claim does not wait for long")
            tap.equal(len(second.claim(agent="bob")), 1, "and holds nothing of the others meanwhile")
    tap.equal(len(db.claim(agent="carol")), 1, "nor of that one")


def test_claims_settle(db):
    """Who settles locks by rank, across inboxes: carol's comes first."""
    db.commit(message("cs-bob", priority=9), message("cs-carol", to="carol"))
    seq = [db.inbox(f"alice:cs-{to}")["inbox_seq"] for to in BOTH]
    with db.another() as claimer, db.another() as second:
        with Holding(db) as third:
            third.run("select from openclaw.inbox where agent_id = 'carol' for update")
            second.send("message_settle", seq=seq, delivery=[None, None], state="expired",
                        response=[None, None], reason=None)  # fmt: skip
            second.waits_for_lock()
            gives_up(claimer, "a joined claim and a settling of the same messages")
        tap.equal(len(second.finish()), 2, "do not wait for each other")
        rows = [row for row in claimer.call("inbox_claims", **claims(BOTH)) if row["message_id"]]
    tap.equal(rows, [], "and what is settled is not claimed")


def test_claims_reap(db):
    """The burial of both receivers."""
    db.register("s-bob", "s-carol")
    epochs = {to: db.subscribe(agent=to, executor=f"s-{to}")["epoch"] for to in BOTH}
    messages(db, "cr")
    patient(db)
    with db.another() as claimer, db.another() as second:
        with Holding(db) as third:
            third.run("select from openclaw.inbox where agent_id = 'bob' for update")
            claimer.send("inbox_claims", **claims(BOTH, epochs))
            claimer.waits_for_lock()
            second.send("executor_reap", executors=["s-carol", "s-bob"])
            second.waits_for_lock()
        try:
            claimed = len([row for row in claimer.finish() if row["message_id"]])
        except SqlError as error:
            claimed = error.sqlstate
        [row] = second.finish()
    # a claim that waits for what the burial has ends in a deadlock, which the real one does not wait for
    tap.ok(claimed in (2, "40P01", "OC001"), "joined claims of receivers that are buried meanwhile", claimed)
    tap.equal(db.count("openclaw.inbox", "state = 'ready'"), 2, "what they had is ready again")
    return claimed == "40P01"


def test_acks_cross(db):
    deliveries = held_by_each(db, "ac")
    with db.another() as left, db.another() as right:
        with Holding(db) as third:
            third.run(
                "select from dbos_system.workflow_status where workflow_uuid = 'alice:ac-bob' for update"
            )
            left.send("inbox_ack", **acks(deliveries, BOTH))
            left.waits_for_lock()
            right.send("inbox_ack", **acks(deliveries, reversed(BOTH)))
            right.waits_for_lock()
        first, second = left.finish(), right.finish()
    tap.equal([r["outcome"] for r in first], ["acked"] * 2, "crossing acknowledgements: the first counts")
    tap.equal([r["outcome"] for r in second], ["already"] * 2, "the second is late")


def test_acks_reap(db):
    db.register("s-bob", "s-carol")
    deliveries = held_by_each(db, "ar")
    with db.another() as second:
        with Holding(db) as first:
            first.call("executor_reap", executors=["s-carol", "s-bob"])
            second.send("inbox_ack", **acks(deliveries, BOTH))
            second.waits_for_lock()
        rows = second.finish()
    tap.equal([r["outcome"] for r in rows], ["stale"] * 2, "joined acknowledgements behind a burial")


def test_acks_claims(db):
    """One joined call confirms while another claims, of the same inboxes."""
    deliveries = held_by_each(db, "aq")
    messages(db, "ar")
    with db.another() as second:
        with Holding(db) as first:
            first.call("inbox_ack", **acks(deliveries, BOTH))
            rows = second.call("inbox_claims", **claims(BOTH))
    got = sorted(row["message_id"] for row in rows if row["message_id"])
    tap.equal(got, ["ar-bob", "ar-carol"], "claims do not wait for acknowledgements")


def test_ack_twice(db):
    """Two sessions of one agent confirm one delivery in one call."""
    [one] = [held_by_each(db, "at")["bob"]]
    rows = db.call(
        "inbox_ack", agent=["bob", "bob"], seq=[one["inbox_seq"]] * 2,
        delivery=[one["delivery_id"]] * 2, response=['"mine"', '"yours"'],
    )  # fmt: skip
    tap.equal([r["outcome"] for r in rows], ["acked", "already"], "of two in one call the first counts")
    output = db.workflow("alice:at-bob")["output"]
    tap.ok('"response":"mine"' in output, "and its answer is the answer", output)


def test_accepts_cross(db):
    """Two joined accepts to two inboxes, which are counted: each has its lock alone."""
    for to in BOTH:
        db.run(f"update openclaw.agent set inbox_limit = 3 where agent_id = '{to}'")
    with db.another() as left, db.another() as right:
        with Holding(db) as third:
            third.commit(message("ax-0", to="bob"))
            left.send_commit(message("ax-1", to="bob"), message("ax-2", to="carol"))
            left.waits_for_lock()
            right.send_commit(message("ax-3", to="carol"), message("ax-4", to="bob"))
            right.waits_for_lock()
        answers = [row["outcome"] for c in (left, right) for row in c.finish()]
    tap.equal(answers, ["committed"] * 4, "crossing accepts to inboxes that are counted")
    rows = db.commit(*[message(f"ay-{n}", to="bob") for n in range(2)])
    tap.equal([r["outcome"] for r in rows], ["refused"] * 2, "and the limit holds")
    db.run("update openclaw.agent set inbox_limit = null")


TESTS = (
    test_claims_cross, test_claims_give_up, test_claims_settle, test_acks_cross, test_acks_reap,
    test_acks_claims, test_ack_twice, test_accepts_cross, test_claims_reap,
)  # fmt: skip


def main():
    deadlocks = False
    with Cluster({"deadlock_timeout": "1s"}) as cluster:
        with Database(cluster) as db:
            db.provision("alice", *BOTH)
            real = db.value(
                "select pg_get_functiondef('openclaw.inbox_claims'::regproc::oid)"
            )
            for test in TESTS:
                db.clear()
                try:
                    deadlocks |= bool(test(db))
                except (SqlError, AssertionError, IndexError, ValueError) as error:
                    tap.ok(False, f"{test.__name__} comes to its end", repr(error))
                db.run(real)
        seen = cluster.log_contains("deadlock detected")
        tap.ok(deadlocks or not seen, "the server saw no deadlock that was not looked for")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

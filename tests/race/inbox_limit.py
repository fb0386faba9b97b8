#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An inbox's limit is exact: many send at once, and it is filled to the last message and not beyond.

Also that nobody pays for that who is far from the limit: such senders neither count nor wait for each other.
"""

import random
import sys
import threading

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, message

skip_without("initdb", "psql")
tap = Tap()
SENDERS = 8
LOCK = "hashtext('openclaw.inbox'), openclaw.inbox_bucket('bob')"


def at_once(db, limit, sizes):
    """Each sender commits batches of these sizes to bob.  How often each outcome came."""
    connections = [db.another() for _ in range(SENDERS)]
    outcomes, errors = [], []
    barrier = threading.Barrier(SENDERS)

    def send(number):
        try:
            barrier.wait()
            for turn, size in enumerate(sizes(random.Random(number))):
                works = [message(f"{number}-{turn}-{n}", sender=f"s{number}") for n in range(size)]
                rows = connections[number].commit(*works, inbox_limit=limit)
                outcomes.extend(row["reason"] or row["outcome"] for row in rows)
        except Exception as error:  # a thread's error is reported by the test
            errors.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    if errors:
        raise errors[0]
    return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}


def live(db):
    return db.count("openclaw.inbox", "agent_id = 'bob' and state in ('ready', 'leased')")


def filled(db, what, limit, sizes):
    told = at_once(db, limit, sizes)
    tap.equal((told.get("committed"), live(db)), (limit, limit), f"{what}: {limit} get in and are there")
    tap.equal(sorted(told), ["INBOX_FULL", "committed"], "the others are told that it is full")


def test_batches(db):
    filled(db, "8 senders of 1 000 each at once", 5003, lambda _: [1000])


def test_batches_default(db):
    filled(db, "the same twice", 10000, lambda _: [1000, 1000])


def test_small(db):
    """Most of them far, so that they share the lock, and then near."""
    filled(db, "8 senders of a few at a time", 4001, lambda chance: [chance.randint(1, 20) for _ in range(60)])


def test_far(db):
    db.commit(message("first"))
    base = db.value("select base from openclaw.inbox_bound where agent_id = 'bob'")
    db.commit(message("second"))
    with db.another() as first, db.another() as second:
        first.run("begin")
        first.commit(message("f1"))
        second.run("set lock_timeout = '100ms'")
        [row] = second.commit(message("f2"))
        tap.equal(row["outcome"], "committed", "who is far from the limit waits for nobody")
        second.run("reset lock_timeout")
        second.send_commit(*[message(f"n{n}") for n in range(6)], inbox_limit=9)
        second.waits_for_lock()
        first.run("commit")
        rows = second.finish()
    tap.equal(
        [row["outcome"] for row in rows], ["committed"] * 5 + ["refused"],
        "who is near waits for those who are under way, and counts them",
    )  # fmt: skip
    db.commit(*[message(f"m{n}") for n in range(20)])
    now = db.value("select base from openclaw.inbox_bound where agent_id = 'bob'")
    tap.equal(now, base, "and one message in many is counted")


def test_full(db):
    """A full inbox is seen without being alone: who hammers at it keeps nobody from the others of its bucket."""
    db.commit(message("u1"), message("u2"))
    with db.another() as holder:
        holder.run("begin")
        holder.run(f"select pg_advisory_xact_lock_shared({LOCK})")
        db.run("set lock_timeout = '100ms'")
        [row] = db.commit(message("u3"), inbox_limit=2)
        db.run("reset lock_timeout")
        holder.run("rollback")
    tap.equal(row["reason"], "INBOX_FULL", "a full inbox refuses without waiting")


def test_rolled_back(db):
    with db.another() as first:
        first.run("begin")
        first.commit(*[message(f"r{n}") for n in range(3000)], inbox_limit=5000)
        first.run("rollback")
    told = at_once(db, 5000, lambda _: [100] * 7)
    tap.equal(told, {"committed": 700 * SENDERS - 600, "INBOX_FULL": 600}, "what was rolled back takes no room")


SEND = "select dbos_system.send_message('agent:{}', '1', message_id => '{}')"


def test_open_transaction(db):
    """A client that has sent and keeps its transaction open keeps nobody from an inbox that has room."""
    db.provision("fresh")
    with db.another() as client:
        client.run("begin")
        client.run(SEND.format("fresh", "o1"))
        db.run("set lock_timeout = '100ms'")
        db.run(SEND.format("fresh", "o2"))
        [row] = db.commit(message("o3", to="fresh"))
        tap.equal(row["outcome"], "committed", "to a new agent it has sent: others send, too")
        client.run("rollback")


def test_filling(db):
    """Two whom the bound leaves no room, while a third is under way."""
    db.commit(message("c1"))
    db.run("update openclaw.inbox_bound set base = 4000 - (select last_value from openclaw.inbox_arrival)")
    with db.another() as other, db.another() as one, db.another() as two:
        other.run("begin")
        other.run(f"select pg_advisory_xact_lock_shared({LOCK})")
        for waiting in (one, two):
            waiting.session.send("select openclaw.inbox_room('bob', 4000, 1)")
            waiting.waits_for_lock()
        other.run("rollback")
        answers = [waiting.session.finish().strip() for waiting in (one, two)]
    tap.equal(answers, ["3999", "1"], "the first counts when it is alone, the second by what the first has counted")


def test_dbos_clients(db):
    """Senders who know nothing of our functions, beside those who do."""
    db.run("update openclaw.agent set inbox_limit = 1200 where agent_id = 'bob'")
    connections = [db.another() for _ in range(4)]
    refused, errors = [], []

    def send(number):
        try:
            for turn in range(400):
                connections[number].run(f"select dbos_system.send_message('agent:bob', '1', message_id => '{number}-{turn}')")
        except SqlError as error:
            (refused if error.sqlstate == "OC008" else errors).append(repr(error))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    db.run("update openclaw.agent set inbox_limit = null where agent_id = 'bob'")
    tap.equal(errors, [], "DBOS clients at once: no error but that it is full")
    tap.equal((live(db), bool(refused)), (1200, True), "which they meet where the limit is")


def test_many_inboxes(db):
    """Batches to the same agents in opposite orders, near and far ones of one bucket among them."""
    agents = [f"a{n}" for n in range(200)]
    db.provision(*agents)
    db.run("update openclaw.agent set inbox_limit = 3 where agent_id like 'a%7'")
    connections = [db.another() for _ in range(4)]
    errors = []

    def send(number):
        chance = random.Random(number)
        try:
            for turn in range(8):
                order = chance.sample(agents, len(agents))
                connections[number].commit(*[message(f"{number}-{turn}-{to}", to=to) for to in order])
        except SqlError as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    tap.equal(errors, [], "batches to 200 inboxes, some of them full, do not wait in a circle")
    depths = db.rows("select agent_id like 'a%7' as small, count(*) from openclaw.inbox group by agent_id")
    tap.equal({(r["small"], r["count"]) for r in depths}, {(True, 3), (False, 32)}, "and each is exact")
    tap.ok(
        db.value("select count(distinct openclaw.inbox_bucket('a' || n)) from generate_series(1, 100000) n") == 64,
        "inboxes share 64 locks",
    )


TESTS = (
    test_batches, test_batches_default, test_small, test_far, test_full, test_rolled_back, test_open_transaction, test_filling,
    test_dbos_clients, test_many_inboxes,
)  # fmt: skip

with Cluster({"deadlock_timeout": "200ms"}) as cluster:
    with Database(cluster) as database:
        database.provision("bob", *[f"s{n}" for n in range(SENDERS)])
        for test in TESTS:
            database.clear()
            try:
                test(database)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
    tap.ok(not cluster.log_contains("deadlock detected"), "the server never saw a deadlock")
sys.exit(tap.done())

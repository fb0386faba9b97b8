#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Queues: who is claimed, in which order, and that no limit is exceeded, whoever claims."""

import sys
import threading
import time

from cluster import Cluster, skip_without
from tap import Tap, diagnose
from transition import APP, VERSION, Database, SqlError, literal, token

skip_without("initdb", "psql")
tap = Tap()
GATEWAYS = 4


def queue(db, name, **columns):
    columns = {"name": name, **columns}
    db.run(
        f"insert into dbos_system.queues ({', '.join(columns)})"
        f" values ({', '.join(literal(v) for v in columns.values())})"
    )


def enqueue(db, identity, queue="q", name="greet", **columns):
    columns = {
        "workflow_uuid": identity,
        "status": "ENQUEUED",
        "name": name,
        "queue_name": queue,
        "serialization": "portable_json",
        **columns,
    }
    db.run(
        f"insert into dbos_system.workflow_status ({', '.join(columns)})"
        f" values ({', '.join(literal(v) for v in columns.values())})"
    )


def claim(db, executor="g1", limit=100, **options):
    arguments = {"token": token(), "name": ["greet"], "max_recovery": 100, "executor": executor}
    rows = db.call("workflow_claim", limit=limit, **{**arguments, **options})
    return [row["workflow_uuid"] for row in rows]


def finish(db, *ids):
    db.run(
        "update dbos_system.workflow_status set status = 'SUCCESS', owner_xid = null,"
        f" completed_at = openclaw.now_ms() where workflow_uuid = any ({literal(list(ids))})"
    )


def test_order(db):
    queue(db, "q")
    for number, priority in enumerate((5, 0, 5, 1)):
        enqueue(db, f"w{number}", priority=priority, created_at=1000 + number)
    enqueue(db, "nowhere", queue="gone")
    enqueue(db, "other", name="unknown")
    tap.equal(claim(db, limit=3), ["w1", "w3", "w0"], "priority first, then age")
    tap.equal(claim(db), ["w2"], "a queue that is not registered, an unknown name: left")
    enqueue(db, "inner", queue="_dbos_internal_queue")
    tap.equal(claim(db), ["inner"], "the internal queue needs no row")


def test_messages(db):
    """What a client enqueues one after the other comes to an inbox in that order."""
    queue(db, "q")
    messages = {"name": ["greet", "routeAgentMessage"]}
    for n in range(4):
        enqueue(db, f"m{n}", name="routeAgentMessage", created_at=n)
    enqueue(db, "w", created_at=9)
    tap.equal(claim(db, "g1", limit=1, **messages), ["m0"], "of messages the first")
    tap.equal(claim(db, "g2", limit=1, **messages), ["w"], "while it is under way none, but what is behind them")
    tap.equal(claim(db, "g2", limit=1, **messages), [], "and nothing else")
    finish(db, "m0")
    tap.equal(claim(db, "g2", limit=2, **messages), ["m1", "m2"], "then the next, in order")
    tap.equal(claim(db, "g1", limit=2, **messages), [], "for whom it may be")
    db.run("update dbos_system.workflow_status set updated_at = updated_at - 61000 where status = 'PENDING'")
    tap.equal(claim(db, "g1", limit=2, **messages), ["m3"], "who hangs does not hold them up for ever")

    order, lock = [], threading.Lock()
    for n in range(60):
        enqueue(db, f"p{n:02}", name="routeAgentMessage", created_at=n)
    finish(db, "m1", "m2", "m3")

    def gateway(number):
        with db.another() as own:
            while len(order) < 60 and time.monotonic() < end:
                for one in claim(own, f"g{number}", limit=1, **messages):
                    with lock:
                        order.append(one)
                    finish(own, one)

    end = time.monotonic() + 120
    threads = [threading.Thread(target=gateway, args=(n,)) for n in range(GATEWAYS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tap.equal(order, [f"p{n:02}" for n in range(60)], "in order also where many claim at once")


def test_concurrency(db):
    queue(db, "q", concurrency=3)
    for n in range(8):
        enqueue(db, f"w{n}", created_at=n)
    tap.equal(claim(db), ["w0", "w1", "w2"], "concurrency: as many as may run")
    tap.equal(claim(db, "g2"), [], "for all executors together")
    finish(db, "w1")
    tap.equal(claim(db, "g2"), ["w3"], "who ends makes room")
    db.run("update dbos_system.queues set concurrency = 5")
    tap.equal(claim(db), ["w4", "w5"], "a new limit counts at once")
    db.run("update dbos_system.queues set concurrency = null")
    tap.equal(claim(db), ["w6", "w7"], "as does none")
    db.run("delete from dbos_system.queues")
    enqueue(db, "w8")
    tap.equal(claim(db), [], "a queue that is gone runs nothing")


def test_worker_concurrency(db):
    queue(db, "q", worker_concurrency=2, concurrency=3)
    for n in range(8):
        enqueue(db, f"w{n}", created_at=n)
    tap.equal(claim(db, "g1"), ["w0", "w1"], "worker concurrency: for each executor")
    tap.equal(claim(db, "g1"), [], "and no more")
    tap.equal(claim(db, "g2"), ["w2"], "within the queue's")


def test_rate(db):
    queue(db, "q", rate_limit_max=2, rate_limit_period_sec=60)
    for n in range(6):
        enqueue(db, f"w{n}", created_at=n)
    tap.equal(claim(db), ["w0", "w1"], "a rate: so many in the period")
    finish(db, "w0", "w1")
    tap.equal(claim(db), [], "also when they have ended")
    db.run("update dbos_system.workflow_status set started_at_epoch_ms = started_at_epoch_ms - 61000")
    tap.equal(claim(db), ["w2", "w3"], "and again in the next")


def test_rate_of_parked(db):
    """What has started counts where it is parked and where it waits after waking, and counts once."""
    queue(db, "q", rate_limit_max=2, rate_limit_period_sec=60)
    for n in range(6):
        enqueue(db, f"w{n}", created_at=n)
    tap.equal(claim(db), ["w0", "w1"], "a rate, and workflows that park")
    db.run(
        "update dbos_system.workflow_status set status = 'DELAYED', owner_xid = null, executor_id = '',"
        f" application_name = {literal(APP)}, delay_until_epoch_ms = 1 where status = 'PENDING'"
    )
    tap.equal(claim(db), [], "who is parked has started all the same")
    db.call("workflow_wake", limit=10)
    tap.equal(claim(db), [], "as has who is woken")
    db.run("update dbos_system.workflow_status set started_at_epoch_ms = started_at_epoch_ms - 61000")
    tap.equal(claim(db), ["w0", "w1"], "who is woken goes on in the next period")
    tap.equal(claim(db), ["w2", "w3"], "and is not counted again")
    tap.equal(claim(db), [], "what starts is")


def test_partitions(db):
    queue(db, "q", partition_queue=True, partition_concurrency=1)
    for n in range(4):
        enqueue(db, f"a{n}", queue_partition_key="a", created_at=n)
        enqueue(db, f"b{n}", queue_partition_key="b", created_at=n)
    enqueue(db, "none")
    tap.equal(sorted(claim(db)), ["a0", "b0"], "one of each partition, none without a key")
    finish(db, "b0")
    tap.equal(claim(db), ["b1"], "each partition by itself")
    db.run("update dbos_system.queues set partition_concurrency = null, concurrency = 2")
    tap.equal(sorted(claim(db)), ["a1", "b2"], "DBOS 4: the queue's limit is each partition's")
    db.run("update dbos_system.queues set partition_concurrency = 3, concurrency = 5")
    tap.equal(len(claim(db)), 1, "DBOS 5: the queue's limit is over all")


def test_versions(db):
    queue(db, "q")
    version = (
        "insert into dbos_system.application_versions (version_id, version_name, version_timestamp,"
        " application_name) values "
    )
    enqueue(db, "any")
    enqueue(db, "mine", application_version=VERSION, created_at=2)
    enqueue(db, "old", application_version="openclaw-0")
    enqueue(db, "theirs", application_name="another-app")
    db.run(version + f"('1', '{VERSION}', 1, '{APP}'), ('2', 'newer', 2, '{APP}')")
    tap.equal(claim(db), ["mine"], "not the latest version: only its own")
    db.run(version + "('3', 'foreign', 3, 'another-app')")
    db.run(f"update dbos_system.application_versions set version_timestamp = 9 where version_name = '{VERSION}'")
    tap.equal(claim(db), ["any"], "the latest: also those of no version")
    rows = db.rows(
        "select application_name, application_version, recovery_attempts from dbos_system.workflow_status"
        " where workflow_uuid = 'any'"
    )
    tap.equal(
        rows,
        [{"application_name": APP, "application_version": VERSION, "recovery_attempts": 1}],
        "who claims stamps its name",
    )


def test_timeout(db):
    queue(db, "q")
    enqueue(db, "t", workflow_timeout_ms=60000)
    tap.equal(claim(db), ["t"], "with a timeout")
    left = db.value(
        "select workflow_deadline_epoch_ms - openclaw.now_ms() from dbos_system.workflow_status"
    )
    tap.ok(50000 < left <= 60000, "the time counts from the claim", left)


def test_debounce(db):
    queue(db, "q")
    enqueue(
        db, "d", status="DELAYED", delay_until_epoch_ms=1, is_debounced=True, deduplication_id="k"
    )
    db.run(
        "insert into dbos_system.workflow_input values ('d', '{\"positionalArgs\":[1]}');"
        "update dbos_system.workflow_input set inputs = '{\"positionalArgs\":[2]}'"
    )
    db.call("workflow_wake", limit=10)
    [row] = db.call("workflow_claim", token=token(), name=["greet"], max_recovery=9, executor="g", limit=9)
    tap.equal(row["input"], '{"positionalArgs":[2]}', "debounced: the latest input is taken")
    held = db.value("select deduplication_id from dbos_system.workflow_status")
    tap.equal(held, None, "and the key is free")


def test_give_back(db):
    queue(db, "q")
    enqueue(db, "g1")
    enqueue(db, "g2")
    one, two = token(), token()
    claim(db, token=one, limit=1)
    claim(db, token=two, limit=1)
    arguments = {"executor": "g1", "running": [two], "base_ms": 60000, "max_ms": 60000}
    first, second = db.twice(
        tap, "give back", lambda: db.call("workflow_give_back", **arguments)
    )
    tap.equal(
        (first[0]["workflow_give_back"], second[0]["workflow_give_back"]),
        (1, 0),
        "what is not running any more is given back, what runs is not",
    )
    row = db.row(
        "select status, queue_name, owner_xid, delay_until_epoch_ms - openclaw.now_ms() as wait"
        " from dbos_system.workflow_status where status <> 'PENDING'"
    )
    wait = row.pop("wait")
    tap.equal(row, {"status": "DELAYED", "queue_name": "q", "owner_xid": None}, "for another try")
    tap.ok(25000 <= wait <= 60000, "later", wait)


def crowd(db, total, check):
    """Several gateways claim and finish all of it at once; check() looks at each moment."""
    claimed = [[] for _ in range(GATEWAYS)]
    errors = []
    stop = time.monotonic() + 60
    together = threading.Barrier(GATEWAYS)  # the first claims: no scheduler gives one gateway all

    def gateway(number):
        connection = db.another()
        first = True
        try:
            while sum(map(len, claimed)) < total and time.monotonic() < stop:
                if first:
                    together.wait(60)
                got = claim(connection, f"g{number}", limit=3)
                claimed[number].extend(got)
                if first:
                    together.wait(60)
                    first = False
                if got:
                    check(connection)
                    finish(connection, *got)
        except Exception as error:  # reported by the test
            errors.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=gateway, args=(n,)) for n in range(GATEWAYS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [identity for got in claimed for identity in got]
    tap.equal(errors, [], f"{GATEWAYS} gateways: no error")
    tap.equal((len(every), len(set(every))), (total, total), "all are claimed, each by one")
    diagnose(f"the gateways had {[len(got) for got in claimed]}")


def test_gateways_and_concurrency(db):
    """The limit holds at every moment: a trigger would see a third one PENDING."""
    queue(db, "q", concurrency=2)
    for n in range(60):
        enqueue(db, f"w{n:02d}")
    seen = []

    def check(connection):
        seen.append(
            connection.value("select count(*) from dbos_system.workflow_status where status = 'PENDING'")
        )

    crowd(db, 60, check)
    tap.ok(max(seen) <= 2, "never more than the limit at once", max(seen))
    tap.ok(2 in seen, "and the limit was reached", sorted(set(seen)))


def test_gateways_and_rate(db):
    queue(db, "q", rate_limit_max=10, rate_limit_period_sec=3600)
    for n in range(40):
        enqueue(db, f"w{n:02d}")
    crowd(db, 10, lambda connection: None)
    tap.equal(claim(db), [], "the rate is used up")
    tap.equal(db.count("dbos_system.workflow_status", "rate_limited"), 10, "by exactly so many")


def test_adopted(db):
    """A DBOS application that enqueues for the gateway declares its queue, and so becomes the owner."""
    queue(db, "openclaw", application_name="somebody")
    queue(db, "theirs", application_name="somebody")
    enqueue(db, "ours", queue="openclaw", application_name=APP)
    enqueue(db, "anybodys", queue="openclaw")
    enqueue(db, "somebodys", queue="openclaw", application_name="somebody")
    enqueue(db, "elsewhere", queue="theirs")
    tap.equal(sorted(claim(db)), ["anybodys", "ours"], "what is for the gateway is taken all the same, and no more")


def test_gateways_without_limit(db):
    queue(db, "q")
    for n in range(200):
        enqueue(db, f"w{n:03d}")
    crowd(db, 200, lambda connection: None)


TESTS = (
    test_order, test_messages, test_concurrency, test_worker_concurrency, test_rate, test_rate_of_parked,
    test_partitions, test_versions, test_timeout, test_debounce, test_give_back, test_gateways_and_concurrency,
    test_gateways_and_rate, test_adopted, test_gateways_without_limit,
)  # fmt: skip

with Cluster({"deadlock_timeout": "200ms"}) as cluster:
    with Database(cluster) as database:
        for test in TESTS:
            database.clear()
            database.run(
                "truncate dbos_system.queues, dbos_system.application_versions, dbos_system.workflow_input"
            )
            try:
                test(database)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
    tap.ok(not cluster.log_contains("deadlock detected"), "the server never saw a deadlock")
sys.exit(tap.done())

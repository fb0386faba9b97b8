#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many at once: claims are disjoint, and whatever many do to the same messages, each has one end."""

import collections
import random
import sys
import threading

from cluster import Cluster, skip_without
from tap import Tap, diagnose
from transition import Database, SqlError, message

skip_without("initdb", "psql")
tap = Tap()
MESSAGES = 1000
CLAIMERS = 4
CROWD = 6
TURNS = 120
SEED = 20261122


def together(workers):
    """Run all of them at once; what one raises, this raises."""
    errors = []
    barrier = threading.Barrier(len(workers))

    def run(work):
        try:
            barrier.wait()
            work()
        except Exception as error:  # a thread's error is reported by the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_disjoint_claims(db):
    for start in range(0, MESSAGES, 100):
        db.commit(
            *[message(f"m{n:04d}", sender=f"sender{n % 7}") for n in range(start, start + 100)]
        )
    connections = [db.another() for _ in range(CLAIMERS)]
    taken = [[] for _ in range(CLAIMERS)]

    def claimer(number):
        connection = connections[number]

        def work():
            while True:
                got = connection.claim(holder=f"s{number}", limit=7)
                if got:
                    taken[number].extend(got)
                    connection.handed(*got)
                elif not connection.count("openclaw.inbox", "state = 'ready'"):
                    return

        return work

    errors = together([claimer(number) for number in range(CLAIMERS)])
    for connection in connections:
        connection.close()
    tap.equal(errors, [], f"{CLAIMERS} claimers of {MESSAGES} messages: no error")
    every = [d["inbox_seq"] for got in taken for d in got]
    tap.equal(len(every), MESSAGES, "all messages are claimed")
    tap.equal(len(set(every)), MESSAGES, "each by one claimer")
    diagnose(f"the claimers had {[len(got) for got in taken]}")
    orderly = all(
        seqs == sorted(seqs)
        for got in taken
        for seqs in [
            [d["inbox_seq"] for d in got if d["sender"] == s] for s in {d["sender"] for d in got}
        ]
    )
    tap.ok(orderly, "each claimer has one sender's messages in their order")


def test_crowd(db):
    """Receivers that acknowledge, refuse and die; sweepers; senders that repeat themselves; all priorities."""
    db.register(*[f"x{n}" for n in range(CROWD)])
    keys = [f"c{n:03d}" for n in range(60)]
    acked = collections.Counter()
    lock = threading.Lock()

    def member(number):
        connection = connections[number]
        choice = random.Random(SEED + number)
        me = f"x{number}"

        def receive():
            got = connection.claim(holder=me, limit=choice.randint(1, 9))
            if not got:
                return
            choice.shuffle(got)
            connection.handed(*got[: len(got) // 2])
            act = choice.random()
            if act < 0.5:
                for row in connection.ack(*got):
                    if row["outcome"] == "acked":
                        with lock:
                            acked[row["delivery_id"].split(".")[0]] += 1
            elif act < 0.8:
                for d in got:
                    connection.nack(d, delay_ms=0)

        def send():
            batch = [message(key, max_attempts=4, priority=int(key[1:]) % 10) for key in choice.sample(keys, 9)]
            rows = connection.commit(*batch)
            strange = {r["outcome"] for r in rows} - {"committed", "exists"}
            assert not strange, strange

        def reap():
            other = f"x{choice.randrange(CROWD)}"
            connection.call("executor_reap", executors=[other])
            connection.call("executor_register", executor=other, kind="session", host="here", pid=1,
                            pid_started=1, principal=None, client=None)  # fmt: skip

        def expire():
            connection.run(
                "update openclaw.inbox set due_at = 0 where inbox_seq = (select inbox_seq from openclaw.inbox where state = 'leased' order by random() limit 1 for update skip locked)"
            )
            connection.call("inbox_expire_leases")

        def work():
            for _ in range(TURNS):
                choice.choices((receive, send, reap, expire), (6, 3, 1, 2))[0]()

        return work

    connections = [db.another() for _ in range(CROWD)]
    errors = together([member(number) for number in range(CROWD)])
    for connection in connections:
        connection.close()
    tap.equal(
        [repr(e) for e in errors], [], f"{CROWD} at once, {TURNS} turns each: no error, no deadlock"
    )
    # the rest is taken in by one quiet receiver
    while db.count("openclaw.inbox", "state in ('ready', 'leased')"):
        db.run("update openclaw.inbox set due_at = 0 where state in ('ready', 'leased')")
        db.call("inbox_expire_leases", limit=1000)
        db.run("update openclaw.inbox set due_at = 0 where state = 'ready'")
        for row in db.ack(*db.claim(holder="last", limit=1000)):
            if row["outcome"] == "acked":
                acked[row["delivery_id"].split(".")[0]] += 1
    rows = db.rows(
        "select i.inbox_seq, i.state, i.attempt, i.max_attempts, w.status, i.message_uuid,"
        " array(select function_id from dbos_system.operation_outputs o"
        "   where o.workflow_uuid = i.workflow_uuid order by 1) as steps"
        " from openclaw.inbox i join dbos_system.workflow_status w on w.workflow_uuid = i.workflow_uuid"
    )
    tap.equal(len(rows), len({r["message_uuid"] for r in rows}), "each key has one message")
    tap.ok(len(rows) > 40, "and there were many", len(rows))
    wrong = [
        r
        for r in rows
        if (r["state"], r["status"]) not in (("acked", "SUCCESS"), ("dead", "ERROR"))
    ]
    tap.equal(wrong, [], "each message and its workflow have the same end")
    tap.equal([r for r in rows if r["steps"] != [0, 1, 2]], [], "each step is there once")
    tap.equal(
        [r for r in rows if not 0 <= r["attempt"] <= r["max_attempts"]],
        [],
        "attempts are in bounds",
    )
    told = {seq: n for seq, n in acked.items() if n != 1}
    tap.equal(told, {}, "no message was acknowledged by two deliveries")
    tap.equal(
        sorted(int(s) for s in acked), sorted(r["inbox_seq"] for r in rows if r["state"] == "acked"),
        "what is acknowledged is what somebody was told is",
    )  # fmt: skip
    diagnose(f"{len(rows)} messages, {sum(r['state'] == 'dead' for r in rows)} dead letters")


with Cluster({"deadlock_timeout": "200ms"}) as cluster:
    with Database(cluster) as database:
        database.provision("alice", "bob")
        for test in (test_disjoint_claims, test_crowd):
            database.clear()
            try:
                test(database)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
    tap.ok(not cluster.log_contains("deadlock detected"), "the server never saw a deadlock")
sys.exit(tap.done())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the sweeper does: reap, recover, claim, wake, expire; each once, and skipping nobody for ever."""

import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, message, step, task, token

skip_without("initdb", "psql")
tap = Tap()


def claim(db, *names, **options):
    arguments = {"token": token(), "name": list(names) or ["greet"], "max_recovery": 10}
    arguments.update(options)
    return db.call("workflow_claim", **arguments)


def reap(db, *executors):
    [row] = db.call("executor_reap", executors=list(executors))
    return row


def test_register(db):
    db.twice(tap, "register", lambda: db.register("x1"))
    row = db.row("select kind, host, ended_at from openclaw.executor where executor_id = 'x1'")
    tap.equal(
        (row["kind"], row["host"], row["ended_at"]),
        ("session", "here", None),
        "an executor is known",
    )


def test_reap(db):
    db.register("dead", "alive", "s2")
    db.commit(task("alice:r1"), executor="dead")
    db.commit(task("alice:r2"), executor="alive")
    one = db.subscribe(executor="dead")
    db.subscribe(executor="s2")
    db.commit(message("r3"), message("r4", sender="carol"))
    held, kept = (
        db.claim(holder="dead", epoch=one["epoch"], limit=1)[0],
        db.claim(holder="s2", limit=1)[0],
    )
    first, second = db.twice(tap, "reap", lambda: reap(db, "dead", "nobody"))
    tap.equal(
        (first["executors"], first["workflows"], first["deliveries"]), (1, 1, 1), "its work is free"
    )
    tap.equal((second["executors"], second["workflows"], second["deliveries"]), (0, 0, 0), "once")
    tap.equal(first["bells"], ["here/s2"], "who else receives from the inbox is rung")
    row = db.workflow("alice:r1")
    tap.equal(
        (row["status"], row["owner_xid"], row["queue_name"]),
        ("ENQUEUED", None, "_dbos_internal_queue"),
        "its workflow waits for a claim",
    )
    tap.equal(db.workflow("alice:r2")["status"], "PENDING", "the others' go on")
    tap.equal(
        (db.inbox(held["message_uuid"])["state"], db.inbox(kept["message_uuid"])["state"]),
        ("ready", "leased"),
        "its deliveries only",
    )
    tap.equal(
        db.count("openclaw.subscription", "executor_id = 'dead'"), 0, "its subscription is gone"
    )
    with tap.raises(SqlError, "a claim that it left behind gets nothing", sqlstate="OC001"):
        db.claim(holder="dead", epoch=one["epoch"])
    db.register("dead")
    tap.equal(
        db.value("select ended_at from openclaw.executor where executor_id = 'dead'"),
        None,
        "who was taken for dead can say otherwise",
    )


def test_late_commit(db):
    """A dead process's last statement may commit after its burial."""
    db.register("late")
    reap(db, "late")
    db.commit(task("alice:late"), executor="late")
    tap.equal(
        db.workflow("alice:late")["status"], "PENDING", "its workflow has an owner that is buried"
    )
    row = reap(db)
    tap.equal(
        (row["executors"], row["workflows"]), (0, 1), "the next reap frees it, whoever it looks for"
    )
    tap.equal(db.workflow("alice:late")["status"], "ENQUEUED", "so that it can be claimed")


def test_locked_at_reap(db):
    """A row that is locked at the moment of the burial is not forgotten."""
    db.register("gone")
    db.commit(task("alice:locked"), executor="gone")
    with db.another() as other:
        other.run("begin")
        other.run(
            "select from dbos_system.workflow_status where workflow_uuid = 'alice:locked' for update"
        )
        db.send("executor_reap", executors=["gone"])
        try:
            db.waits_for_lock()
        except AssertionError:
            pass  # it skipped the row: then a later reap must find it
        other.run("commit")
        db.finish()
    reap(db)
    tap.equal(db.workflow("alice:locked")["status"], "ENQUEUED", "it is recovered in the end")


def test_claim(db):
    db.commit(
        task("alice:c1", status="ENQUEUED"), task("alice:c2", status="ENQUEUED", name="other")
    )
    rows = claim(db, token="t1")
    tap.equal(
        [(r["workflow_uuid"], r["recovery_attempts"], r["principal"]) for r in rows],
        [("alice:c1", 1, "alice")],
        "a known workflow is claimed",
    )
    tap.equal(claim(db), [], "once, and an unknown one not at all")
    row = db.workflow("alice:c1")
    tap.equal(
        (row["status"], row["owner_xid"], row["executor_id"]),
        ("PENDING", "t1", "executor-1"),
        "it has an owner and a fence",
    )
    [answer] = db.commit(
        task(
            "alice:c1",
            start=False,
            token="t1",
            status="SUCCESS",
            output="1",
            steps=[step(0, "one")],
        )
    )
    tap.equal(answer["outcome"], "committed", "under which it is ended")


def test_fence(db):
    work = task("alice:f1")
    db.register("slow")
    db.commit(work, executor="slow")
    reap(db, "slow")
    [row] = claim(db, token="t2")
    tap.equal(
        (row["workflow_uuid"], row["recovery_attempts"]),
        ("alice:f1", 2),
        "a recovered workflow is claimed again",
    )
    [answer] = db.commit(
        dict(work, start=False, steps=[step(0, "one")], status="SUCCESS", output="1")
    )
    tap.equal(answer["outcome"], "fenced", "its former owner, not dead after all, writes nothing")
    tap.equal(db.workflow("alice:f1")["steps"], [], "not a step")


def test_max_recovery(db):
    db.commit(task("alice:m1", status="ENQUEUED"))
    for attempt in (1, 2, 3):
        [row] = claim(db, max_recovery=2)
        tap.equal(row["recovery_attempts"], attempt, f"claim {attempt}")
        db.call("workflow_recover", executors=["executor-1"])
    first, second = db.twice(tap, "the claim too many", lambda: claim(db, max_recovery=2))
    tap.equal((first, second), ([], []), "who was claimed too often is not claimed again")
    row = db.workflow("alice:m1")
    tap.equal(
        (row["status"], row["owner_xid"], row["queue_name"]),
        ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", None, None),
        "and ends, for all to see",
    )
    tap.ok(row["completed_at"] is not None, "with the time of its end")


def test_park_is_progress(db):
    """Waking from a wait is no recovery: a workflow may sleep as often as it likes."""
    work = task("alice:s1")
    db.commit(work)
    current = work["token"]
    for n in range(5):
        [answer] = db.commit(
            task(
                "alice:s1",
                start=False,
                token=current,
                status="DELAYED",
                delay=0,
                steps=[step(n, "DBOS.sleep", "1")],
            )
        )
        tap.equal(answer["outcome"], "committed", f"sleep {n}")
        db.call("workflow_wake")
        current = token()
        rows = claim(db, token=current, max_recovery=2)
        tap.equal(len(rows), 1, f"and wakes from sleep {n}")


def test_claim_choice(db):
    db.commit(*[task(f"alice:o{n}", status="ENQUEUED") for n in range(4)])
    run = "update dbos_system.workflow_status set {} where workflow_uuid = '{}'"
    db.run(run.format("application_name = 'stranger'", "alice:o0"))
    db.run(run.format("application_version = 'old'", "alice:o1"))
    db.run(run.format("queue_name = 'nobody-registered'", "alice:o2"))
    db.run(run.format("priority = 5", "alice:o3"))
    db.commit(task("alice:o4", status="ENQUEUED"))
    tap.equal(
        [r["workflow_uuid"] for r in claim(db)],
        ["alice:o4", "alice:o3"],
        "only what is ours, by priority",
    )
    db.run(
        "select dbos_system.enqueue_workflow('greet', 'openclaw', array['{\"n\":1}']::json[],"
        " workflow_id => 'from-a-client')"
    )
    [row] = claim(db)
    tap.equal(
        (row["workflow_uuid"], row["serialization"]),
        ("from-a-client", "portable_json"),
        "what a client enqueues without version or application is ours, too",
    )
    got = db.row(
        "select application_name, application_version from dbos_system.workflow_status where workflow_uuid = 'from-a-client'"
    )
    tap.equal(
        (got["application_name"], got["application_version"]),
        ("openclaw-gateway", "openclaw-1"),
        "and is marked so",
    )


def test_wake(db):
    db.commit(
        message("w1"),
        task("alice:w2", status="DELAYED", delay=0),
        task("alice:w3", status="DELAYED", delay=60_000),
    )
    first, second = db.twice(tap, "wake", lambda: db.call("workflow_wake"))
    tap.equal(
        (first[0]["workflow_wake"], second[0]["workflow_wake"]), (1, 0), "what is due wakes, once"
    )
    tap.equal(db.workflow("alice:w2")["status"], "ENQUEUED", "to be claimed")
    tap.equal(
        (db.workflow("alice:w1")["status"], db.workflow("alice:w3")["status"]),
        ("DELAYED", "DELAYED"),
        "the others wait on",
    )
    db.run(
        "update dbos_system.workflow_status set delay_until_epoch_ms = 1 where workflow_uuid = 'agent:bob'"
    )
    db.call("workflow_wake")
    tap.equal(db.workflow("agent:bob")["status"], "DELAYED", "a mailbox never wakes")


def test_expire(db):
    db.commit(
        message("e1"), task("alice:e2"), task("alice:e3", status="ENQUEUED"), task("alice:e4")
    )
    db.run(
        "update dbos_system.workflow_status set workflow_deadline_epoch_ms = 1 where workflow_uuid in ('alice:e1', 'alice:e2', 'alice:e3')"
    )
    first, second = db.twice(tap, "deadlines", lambda: db.call("workflow_expire"))
    tap.equal(
        (first[0]["workflow_expire"], second[0]["workflow_expire"]),
        (3, 0),
        "what is past its deadline is cancelled, once",
    )
    for key in ("e1", "e2", "e3"):
        row = db.workflow(f"alice:{key}")
        tap.equal(
            (row["status"], row["owner_xid"], row["queue_name"]),
            ("CANCELLED", None, None),
            f"{key} is cancelled",
        )
    tap.equal(db.workflow("alice:e4")["status"], "PENDING", "who has none goes on")


def test_overdue(db):
    db.register("s9")
    db.subscribe(executor="s9")
    db.commit(message("v1"))
    tap.equal(db.call("inbox_overdue", grace_ms=60_000), [], "a fresh message is not overdue")
    db.run("update openclaw.inbox set due_at = due_at - 10000")
    first, second = db.twice(tap, "overdue", lambda: db.call("inbox_overdue", grace_ms=5_000))
    tap.equal([r["bell"] for r in first], ["here/s9"], "who does not take its messages is rung")
    tap.equal(first, second, "until it does")
    db.twice(tap, "count", lambda: db.call("inbox_count"))
    tap.equal(
        db.value("select depth from openclaw.inbox_depth where agent_id = 'bob'"),
        1,
        "inboxes are counted",
    )


def test_lease_counts(db):
    """Several receivers of one inbox do not make one message two."""
    db.register("s1", "s2", "s3")
    for name in ("s1", "s2", "s3"):
        db.subscribe(executor=name)
    db.commit(message("lc1", waiter="s3"), message("lc2"))
    db.claim(holder="s1")
    db.run("update openclaw.inbox set due_at = 0 where state = 'leased'")
    [row] = db.call("inbox_expire_leases")
    tap.equal((row["retried"], row["dead"]), (2, 0), "each message is counted once")
    tap.equal(sorted(row["bells"]), ["here/s1", "here/s2", "here/s3"], "and each receiver is rung")


def test_late_claim(db):
    """A pull's claim committed when its holder was buried already: no burial comes for it again."""
    db.register("dead", "s2")
    db.subscribe(executor="s2")
    db.commit(message("lt1"))
    reap(db, "dead")
    db.claim(holder="dead")
    [row] = db.call("inbox_expire_leases")
    tap.equal(row["bells"], ["here/s2"], "who could take it is rung")
    [again] = db.claim(holder="s2")
    tap.equal((again["message_id"], again["attempt"]), ("lt1", 1), "what a dead holder took is free at the next sweep")


TESTS = (
    test_register, test_reap, test_late_commit, test_locked_at_reap, test_claim, test_fence,
    test_max_recovery, test_park_is_progress, test_claim_choice, test_wake, test_expire,
    test_overdue, test_lease_counts, test_late_claim,
)  # fmt: skip

with Cluster() as cluster:
    with Database(cluster) as database:
        database.provision("alice", "bob")
        for test in TESTS:
            database.clear()
            try:
                test(database)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
sys.exit(tap.done())

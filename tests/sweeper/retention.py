#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Retention: what is finished and old goes, all of it; what is unread, unfinished or new stays."""

import hashlib
import signal
import sys

from cluster import Cluster, skip_without
from programs import ctl
from sweeper import Machine, wait
from tap import Tap
from transition import DAY, literal, message, step, task

RETENTION = 3 * DAY
OLD = 4 * DAY
MANY = 12000
TABLES = (
    "dbos_system.workflow_status",
    "dbos_system.workflow_input",
    "dbos_system.workflow_output",
    "dbos_system.operation_outputs",
    "dbos_system.workflow_events",
    "dbos_system.workflow_events_history",
)


KINDS = ("messages", "workflows", "orphans", "executors")
FORETOLD = []  # for each call without contention: what the preview said, what then went


def preview(db):
    [row] = db.call("prune_preview", retention_ms=RETENTION)
    return tuple(row[k] for k in KINDS)


def prune(db, limit=100, contended=False):
    said = preview(db)
    [row] = db.call("prune", retention_ms=RETENTION, limit=limit)
    went = tuple(row[k] for k in KINDS)
    if not contended:
        FORETOLD.append((tuple(min(n, limit) for n in said), went))
    return went if not row["busy"] else "busy"


def clear(db):
    db.clear()
    db.run("delete from dbos_system.workflow_input where workflow_uuid not like 'agent:%'")


def age(db, where="true"):
    """Everything of these workflows and their messages happened four days ago."""
    db.run(
        f"update dbos_system.workflow_status set created_at = created_at - {OLD},"
        f" completed_at = completed_at - {OLD} where {where};"
        f"update dbos_system.workflow_input set retention_timestamp = retention_timestamp - {OLD} where {where};"
        f"update dbos_system.workflow_output set retention_timestamp = retention_timestamp - {OLD} where {where};"
        f"update dbos_system.operation_outputs set retention_timestamp = retention_timestamp - {OLD} where {where};"
        f"update openclaw.inbox set accepted_at = accepted_at - {OLD}, due_at = due_at - {OLD} where {where}"
    )


def rows_of(db, identity):
    """In how many of the tables a workflow is."""
    return sum(db.count(table, f"workflow_uuid = {literal(identity)}") for table in TABLES)


def finished(identity, **fields):
    return task(
        identity,
        status="SUCCESS",
        output="1",
        steps=[step(0, "one")],
        events=[(0, "done", "1")],
        **fields,
    )


def messages(tap, db):
    db.provision("bob")
    db.commit(*(message(f"old{n}") for n in range(3)), message("unread"), message("held"))
    [first, second, third, unread, held] = db.claim(lease_ms=DAY)
    db.ack(first, second)
    db.nack(third, requeue=False)
    db.nack(unread, delay_ms=0)
    age(db)
    db.commit(message("new"))
    first_pass, _ = db.twice(tap, "prune", lambda: prune(db))
    tap.equal(first_pass, (3, 3, 0, 0), "old messages that were settled go, with their workflows")
    left = db.rows("select message_uuid from openclaw.inbox order by 1")
    tap.equal(
        [r["message_uuid"] for r in left],
        ["alice:held", "alice:new", "alice:unread"],
        "unread, held and new ones stay",
    )
    tap.equal(
        [
            r["message_uuid"]
            for r in db.rows("select message_uuid from dbos_system.notifications order by 1")
        ],
        ["alice:held", "alice:new", "alice:unread"],
        "so do their contents, and no other",
    )
    tap.equal(rows_of(db, "alice:old0"), 0, "nothing of the workflow is left")
    tap.equal(
        [d["message_uuid"] for d in db.claim(limit=10)],
        ["alice:unread", "alice:new"],
        "what is unread is delivered",
    )
    clear(db)

    db.run(
        """select dbos_system.send_message('agent:bob', '"hi"'::json, message_id => 'foreign')"""
    )
    db.ack(*db.claim())
    db.run(f"update openclaw.inbox set due_at = due_at - {OLD}")
    db.run(
        "update dbos_system.notifications set consumed = false;"
        "insert into openclaw.inbox (agent_id, message_uuid, sender, max_attempts, accepted_at, due_at, expires_at)"
        " select agent_id, message_uuid, sender, 3, openclaw.now_ms(), openclaw.now_ms(), expires_at from openclaw.inbox"
    )
    tap.equal(prune(db), (1, 0, 0, 0), "the old row of a message that was sent once more goes")
    tap.equal(db.count("dbos_system.notifications"), 1, "but not the message")
    clear(db)
    db.run("""select dbos_system.send_message('agent:bob', '"hi"'::json, message_id => 'again')""")
    db.ack(*db.claim())
    db.run(
        f"update openclaw.inbox set due_at = due_at - {OLD}; update dbos_system.notifications set consumed = false"
    )
    prune(db)
    tap.equal(
        db.count("dbos_system.notifications"), 1, "nor does one that somebody made unread again"
    )
    clear(db)


def workflows(tap, db):
    db.commit(
        finished("alice:old"),
        finished("alice:new"),
        finished("agent:nobody"),
        task("alice:failed", status="ERROR", error='{"name":"x"}'),
    )
    db.commit(
        task("alice:running"),
        task("alice:parked", status="DELAYED", delay=DAY),
        finished("alice:theirs"),
    )
    age(db, "workflow_uuid not in ('alice:new')")
    db.run(
        "update dbos_system.workflow_status set application_name = 'other' where workflow_uuid = 'alice:theirs'"
    )
    db.run(
        "update dbos_system.workflow_status set status = 'CANCELLED', completed_at = 1 where workflow_uuid = 'agent:bob'"
    )
    first, _ = db.twice(tap, "prune", lambda: prune(db))
    tap.equal(first, (0, 3, 0, 0), "old workflows that have ended go")
    tap.equal(rows_of(db, "agent:nobody"), 0, "also one whose id only looks like a mailbox's")
    tap.equal(
        (rows_of(db, "alice:old"), rows_of(db, "alice:failed")), (0, 0), "with all that was theirs"
    )
    for identity, what in (
        ("alice:new", "a new one"),
        ("alice:running", "one that runs"),
        ("alice:parked", "one that is parked"),
        ("alice:theirs", "another application's"),
        ("agent:bob", "a mailbox, whatever somebody did to it"),
    ):
        tap.ok(rows_of(db, identity) >= 2, f"{what} stays")
    [answer] = db.commit(task("alice:old", status="SUCCESS", output="2", name="other"))
    tap.equal(answer["outcome"], "committed", "its id is a new workflow's")
    tap.equal(db.workflow("alice:old")["steps"], [], "which has no past")
    db.run(
        "update dbos_system.workflow_status set status = 'DELAYED', completed_at = null where workflow_uuid = 'agent:bob'"
    )
    clear(db)


def orphans(tap, db):
    db.commit(finished("alice:a"), finished("alice:b"))
    age(db, "workflow_uuid = 'alice:a'")
    db.run("delete from dbos_system.workflow_status where workflow_uuid like 'alice:%'")
    before = db.count("dbos_system.workflow_input", "workflow_uuid like 'alice:%'")
    first, _ = db.twice(tap, "prune", lambda: prune(db))
    tap.equal(
        (before, first),
        (2, (0, 0, 3, 0)),
        "payloads and steps that an older client's delete left go",
    )
    tap.equal(rows_of(db, "alice:b"), 3, "when they are old")
    clear(db)

    db.register("gone", "here", "recent")
    db.run(
        f"update openclaw.executor set ended_at = openclaw.now_ms() - {OLD} where executor_id = 'gone';"
        "update openclaw.executor set ended_at = openclaw.now_ms() where executor_id = 'recent'"
    )
    first, _ = db.twice(tap, "prune", lambda: prune(db))
    tap.equal(first, (0, 0, 0, 1), "an executor that ended long ago goes")
    clear(db)


def one_at_a_time(tap, db):
    digest = hashlib.sha256(b"dbos.retention.dbos_system").digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    db.commit(finished("alice:x"))
    age(db)
    with db.another() as other:
        other.run(f"select pg_advisory_lock({key})")
        tap.equal(
            prune(db, contended=True),
            "busy",
            "while another retention runs, DBOS' own included, nothing goes",
        )
        other.run(f"select pg_advisory_unlock({key})")
    with db.another() as other:
        other.run("begin")
        other.run(
            "select from dbos_system.workflow_status where workflow_uuid = 'alice:x' for update"
        )
        tap.equal(prune(db, contended=True), (0, 0, 0, 0), "what somebody holds is left")
        other.run("commit")
    tap.equal(prune(db), (0, 1, 0, 0), "until the next time")
    db.commit(*(finished(f"alice:b{n}") for n in range(25)))
    age(db)
    tap.equal([prune(db, 10)[1] for _ in range(4)], [10, 10, 5, 0], "a call takes a batch")
    clear(db)


def by_hand(tap, machine):
    """gatewayctl prune, which says first what it would do."""
    db = machine.db

    def prune_now(*flags, **settings):
        return ctl(machine.cluster, machine.database, "prune", *flags, "--json", **settings)

    def kinds(result):
        return [result.json[k] for k in KINDS]

    db.commit(message("old"), message("unread"))
    [old, unread] = db.claim(lease_ms=DAY)
    db.ack(old)
    db.nack(unread, delay_ms=0)
    db.commit(finished("alice:c"), *(finished(f"alice:d{n}") for n in range(1100)))
    age(db)
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'alice:c'")
    dry = prune_now("--dry-run")
    tap.equal((dry.code, kinds(dry)), (0, [1, 1101, 3, 0]), "gatewayctl prune --dry-run says what would go")
    tap.equal(dry.json["dryRun"], True, "and that it did not")
    tap.equal(kinds(prune_now("--dry-run")), kinds(dry), "it changes nothing")
    tap.equal(kinds(prune_now("--dry-run", "--older-than", "5d")), [0, 0, 0, 0], "--older-than: nothing is so old")
    too_young = prune_now("--older-than", "1h")
    tap.ok(too_young.code == 64 and "1d or more" in too_young.err, "less than a day is refused", str(too_young))
    digest = hashlib.sha256(b"dbos.retention.dbos_system").digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    with db.another() as other:
        other.run(f"select pg_advisory_lock({key})")
        busy = prune_now()
        tap.ok(busy.code == 69 and "another process is pruning" in busy.err, "another that prunes is named", str(busy))
    tap.equal(db.count("openclaw.audit", "act = 'prune'"), 0, "nothing of that is on record")
    done = prune_now()
    tap.equal((done.code, kinds(done)), (0, kinds(dry)), "gatewayctl prune does it, in as many batches as it takes")
    tap.equal(kinds(prune_now()), [0, 0, 0, 0], "all of it")
    acts = db.rows(
        "select principal_id, detail from openclaw.audit where act = 'prune' order by audit_id"
    )
    tap.equal(
        [sum(a["detail"][k] for a in acts) for k in KINDS],
        kinds(done),
        "and who has pruned how much is on record",
    )
    tap.ok(all(a["principal_id"].startswith("os:") for a in acts), "by the name of the user", acts)
    tap.equal(
        (db.count("openclaw.inbox"), db.count("dbos_system.notifications"), rows_of(db, "agent:bob") > 0),
        (1, 1, True),
        "the mailbox and what is unread stay",
    )
    clear(db)


def interrupted(tap, machine):
    """The sweeper is killed while it deletes (scenario 30)."""
    db = machine.db
    for first in range(0, MANY, 1000):
        db.commit(*(finished(f"alice:i{n}") for n in range(first, first + 1000)))
    age(db)
    with machine.start() as sweeper:
        wait(
            lambda: db.count("dbos_system.workflow_status", "workflow_uuid like 'alice:i%'") < MANY,
            "the first batch",
        )
        sweeper.process.send_signal(signal.SIGKILL)
        sweeper.process.wait()
    wait(
        lambda: db.value(
            "select count(*) from pg_stat_activity where backend_type = 'client backend'"
            " and state <> 'idle' and pid <> pg_backend_pid()"
        )
        == 0,
        "the server has finished what the dead one asked for",
    )
    left = db.count("dbos_system.workflow_status", "workflow_uuid like 'alice:i%'")
    tap.ok(0 < left < MANY, "a sweeper is killed in the middle of deleting", f"{left} left")
    print(f"# {left} of {MANY} left")
    tap.equal(
        [db.count(table, "workflow_uuid like 'alice:i%'") for table in TABLES],
        [left] * len(TABLES),
        "what is left is whole, and there are no orphans",
    )
    result = machine.once()
    tap.ok(result.code == 0 and "pruned" in result.out, "the next one goes on", str(result))
    tap.equal(
        db.count("dbos_system.operation_outputs", "workflow_uuid like 'alice:i%'"), 0, "to the end"
    )
    clear(db)


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Cluster() as cluster:
        machine = Machine(cluster)
        for test in (messages, workflows, orphans, one_at_a_time):
            test(tap, machine.db)
        by_hand(tap, machine)
        interrupted(tap, machine)
        machine.close()
        tap.ok(len(FORETOLD) > 10, "the preview was asked each time")
        tap.equal([f for f in FORETOLD if f[0] != f[1]], [], "and was right")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

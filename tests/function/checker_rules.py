#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The checker itself: silent about a whole run, and loud about each way in which one can be broken."""

import sys

from checker import Checker
from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, message, task

skip_without("initdb", "psql")
tap = Tap()


def event(name, client="c1", at=1.0, **fields):
    return {"event": name, "client": client, "at": at, **fields}


def delivered(d, at=1.0):
    return event(
        "delivered",
        at=at,
        delivery=d["delivery_id"],
        seq=d["inbox_seq"],
        sender=d["sender"],
        inbox="bob",
    )


def good_run(db):
    """Two messages acknowledged, one dead, and what the clients say of them."""
    db.clear()
    db.commit(message("k1"), message("k2"), message("k3"))
    one, two, three = db.claim()
    db.handed(one, two, three)
    db.ack(one, two)
    db.nack(three, requeue=False)
    events = [event("accepted", key=f"k{n}", workflow=f"alice:k{n}") for n in (1, 2, 3)]
    events += [delivered(d, at) for at, d in enumerate((one, two, three), 2)]
    events += [
        event(name, at=9, delivery=d["delivery_id"])
        for d in (one, two)
        for name in ("ack", "acked")
    ]
    events += [event("told", workflow="alice:k1", status="acknowledged")]
    return events


def wf(sql):
    return f"update dbos_system.workflow_status set {sql} where workflow_uuid = 'alice:k1'"


# what to break, the rule that must be named, how: SQL, or a change of the events
BREAKS = (
    ("an accepted workflow that is gone", "missing", "delete from dbos_system.workflow_status where workflow_uuid = 'alice:k1'"),
    ("a workflow that was never accepted", "missing", lambda e: e.append(event("accepted", key="k9", workflow="alice:k9"))),
    ("an inbox row that is gone", "missing", "delete from openclaw.inbox where message_uuid = 'alice:k1'"),
    ("an outcome that does not fit the message's", "outcome", wf("status = 'ERROR'")),
    ("a settled message whose workflow waits", "outcome", wf("status = 'DELAYED', completed_at = null")),
    ("an ended workflow without outcome", "outcome", "delete from dbos_system.workflow_output where workflow_uuid = 'alice:k1'"),
    ("an ended workflow with an owner", "outcome", wf("owner_xid = 'somebody'")),
    ("a sender that was told otherwise", "outcome", lambda e: e.append(event("told", workflow="alice:k3", status="acknowledged"))),
    ("a second message", "once", "insert into openclaw.inbox (agent_id, message_uuid, sender, workflow_uuid, state, max_attempts, accepted_at, due_at, expires_at) select agent_id, message_uuid, sender, workflow_uuid, state, max_attempts, accepted_at, due_at, expires_at from openclaw.inbox where message_uuid = 'alice:k1'"),
    ("a notification that is gone", "once", "delete from dbos_system.notifications where message_uuid = 'alice:k1'"),
    ("a step that is missing", "once", "delete from dbos_system.operation_outputs where workflow_uuid = 'alice:k1' and function_id = 0"),
    ("a checkpoint of another message", "once", "update dbos_system.operation_outputs set output = '{\"inboxSeq\":1}' where workflow_uuid = 'alice:k1' and function_id = 1"),
    ("one key accepted as two workflows", "once", lambda e: e.append(event("accepted", key="k1", workflow="alice:k2"))),
    ("an answered confirmation that is not there", "acked", "update openclaw.inbox set state = 'dead' where message_uuid = 'alice:k2'"),
    ("a confirmation by another delivery", "acked", "update openclaw.inbox set delivery_id = inbox_seq || '.x' where message_uuid = 'alice:k2'"),
    ("two deliveries that were both confirmed", "acked", lambda e: e.append(event("acked", at=10, delivery=next(x["delivery"] for x in e if x["event"] == "acked") + "x"))),
    ("a delivery after the confirmation", "acked", lambda e: e.append(dict(next(x for x in e if x["event"] == "delivered"), at=10))),
    ("a message acknowledged by nobody", "acked", lambda e: e.remove(next(x for x in e if x["event"] == "ack"))),
    ("one sender's messages out of order", "order", lambda e: [x for x in e if x["event"] == "delivered"][1].update(at=0)),
    ("a running workflow whose owner is gone", "orphan", wf("status = 'PENDING', owner_xid = 't', executor_id = 'nobody', completed_at = null")),
    ("a parked one without a time", "orphan", wf("status = 'DELAYED', delay_until_epoch_ms = null, completed_at = null")),
    ("a mailbox that woke", "orphan", "set session_replication_role = replica; update dbos_system.workflow_status set status = 'ENQUEUED', queue_name = 'q' where workflow_uuid = 'agent:bob'; reset session_replication_role"),
    ("too many attempts", "bounds", "update openclaw.inbox set attempt = max_attempts + 1 where message_uuid = 'alice:k3'"),
    ("too many recoveries", "bounds", wf("recovery_attempts = 1000")),
)  # fmt: skip


def check(db, events, settled=True):
    return Checker(db.value, sorted(events, key=lambda e: e["at"])).check(settled)


with Cluster() as cluster:
    with Database(cluster) as database:
        database.provision("alice", "bob")
        tap.equal(check(database, good_run(database)), [], "a whole run has no violations")
        for name, rule, change in BREAKS:
            events = good_run(database)
            try:
                if callable(change):
                    change(events)
                    events.sort(key=lambda e: e["at"])
                else:
                    database.run(change)
                found = check(database, events)
                tap.ok([v for v in found if v.startswith(rule + ":")], f"{rule}: {name}", found)
            except SqlError as error:
                tap.ok(False, f"{rule}: {name}", error)
            database.run(
                "update dbos_system.workflow_status set status = 'DELAYED', queue_name = null where workflow_uuid = 'agent:bob'"
            )
        events = good_run(database)
        database.commit(message("k4"), task("alice:t1"))
        database.register("executor-1")
        tap.equal(
            check(database, events, settled=False), [], "a run that is under way has none either"
        )
        tap.equal(len(check(database, events)), 3, "but it is not settled")
sys.exit(tap.done())

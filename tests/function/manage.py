#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""cancel, resume, fork, restart, rewind, delete: each twice, with children, with a message in hand."""

import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import APP, Database, SqlError, message, step, task, token

skip_without("initdb", "psql")
tap = Tap()
STEPS = [step(0, "one", '"1"'), step(1, "two", '"2"'), step(2, "three", '"3"')]
EVENTS = [(0, "k", '"early"'), (2, "k", '"late"')]


def manage(db, verb, identity, **options):
    arguments = {"principal": None, "step": 0, "new_id": None, "queue": None, "children": False, "attributes": None}
    arguments.update(options, version=options.get("version"))
    [row] = db.call("workflow_manage", verb=verb, id=identity, **arguments)
    return row


def family(db):
    for name in ("p", "p-0", "p-0-0"):
        db.commit(task(name))
    db.run(
        "update dbos_system.workflow_status set parent_workflow_id = 'p' where workflow_uuid = 'p-0';"
        "update dbos_system.workflow_status set parent_workflow_id = 'p-0' where workflow_uuid = 'p-0-0'"
    )


def test_cancel(db):
    family(db)
    running = task("running", steps=[])
    db.commit(running)
    first, second = db.twice(tap, "cancel", lambda: manage(db, "cancel", "running"))
    tap.equal((first["changed"], second["changed"], first["status"]), (1, 0, "CANCELLED"), "once")
    later = dict(running, start=False, status="SUCCESS", output="1")
    tap.equal(db.commit(later)[0]["outcome"], "fenced", "its owner ends nothing any more")
    manage(db, "cancel", "p")
    tap.equal(db.workflow("p-0")["status"], "PENDING", "its children go on")
    tap.equal(manage(db, "cancel", "p", children=True)["changed"], 2, "or not")
    tap.equal(db.workflow("p-0-0")["status"], "CANCELLED", "down to the last")
    with tap.raises(SqlError, "of nobody", sqlstate="OC002"):
        manage(db, "cancel", "nobody")
    with tap.raises(SqlError, "a mailbox is no workflow", sqlstate="OC002"):
        manage(db, "cancel", "agent:bob")
    with tap.raises(SqlError, "somebody else's does not exist", sqlstate="OC002"):
        manage(db, "cancel", "p", principal="bob")
    with tap.raises(SqlError, "an operation that there is not", sqlstate="OC005"):
        manage(db, "explode", "p")


def test_cancel_message(db):
    db.register("s1", "w1")
    db.subscribe(executor="s1")
    db.commit(message("m1", waiter="w1"), message("m2"))
    row = manage(db, "cancel", "alice:m1")
    tap.equal(row["bells"], ["here/w1"], "a message's sender is rung")
    tap.equal(db.inbox("alice:m1")["state"], "withdrawn", "the message is withdrawn")
    got = db.claim(holder="s1")
    tap.equal([d["message_uuid"] for d in got], ["alice:m2"], "and not delivered any more")
    manage(db, "cancel", "alice:m2")
    [answer] = db.ack(*got)
    tap.equal(answer["outcome"], "stale", "one in hand cannot be acknowledged any more")


def test_cancel_elsewhere(db):
    """What a DBOS client does is an update of the row, or a delete of all rows; a deadline is one of ours."""
    cancel = ("update dbos_system.workflow_status set status = 'CANCELLED', owner_xid = null, queue_name = null,"
              " completed_at = openclaw.now_ms() where workflow_uuid = '{}'")  # fmt: skip
    db.run("delete from openclaw.ended_carrier")
    db.register("w1")
    db.commit(*(message(key, waiter="w1") for key in ("c", "d", "late", "back", "stays")), task("t"))
    for identity in ("alice:c", "alice:back", "t"):
        db.run(cancel.format(identity))
    db.run("delete from dbos_system.operation_outputs where workflow_uuid = 'alice:d'")
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'alice:d'")
    db.run("update dbos_system.workflow_status set workflow_deadline_epoch_ms = 1 where workflow_uuid = 'alice:late'")
    db.call("workflow_expire")
    manage(db, "resume", "alice:back")
    with db.another() as other:
        other.run("begin")
        other.run("select from dbos_system.workflow_status where workflow_uuid = 'alice:c' for update")
        [row] = db.call("carrier_withdraw")
        tap.equal(row["withdrawn"], 2, "what somebody holds is left for the next sweep")
        other.run("commit")
    [row] = db.call("carrier_withdraw")
    tap.equal((row["withdrawn"], row["bells"]), (1, ["here/w1"]), "which withdraws it, and rings its sender")
    states = {key: db.inbox(f"alice:{key}")["state"] for key in ("c", "d", "late", "back", "stays")}
    tap.equal(
        states,
        {"c": "withdrawn", "d": "withdrawn", "late": "withdrawn", "back": "ready", "stays": "ready"},
        "a message goes with its workflow, cancelled, deleted or late; not with one that was resumed",
    )
    tap.equal(db.count("openclaw.ended_carrier"), 0, "nothing is left to do")
    left = db.rows("select message_uuid from dbos_system.notifications where not consumed order by 1")
    tap.equal([r["message_uuid"] for r in left], ["alice:back", "alice:stays"], "its content is no longer unread")


def test_resume(db):
    db.commit(task("r", steps=STEPS[:1]))
    manage(db, "cancel", "r")
    manage(db, "resume", "r", queue="q")
    row = db.workflow("r")
    tap.equal(
        (row["status"], row["queue_name"], row["recovery_attempts"], row["completed_at"]),
        ("ENQUEUED", "q", 0, None),
        "resumed",
    )
    db.commit(task("done", status="SUCCESS", output="1"))
    first, _ = db.twice(tap, "resume", lambda: manage(db, "resume", "done"))
    tap.equal((first["changed"], first["status"]), (0, "SUCCESS"), "who has a result keeps it")


def test_fork(db):
    db.commit(task("o", status="SUCCESS", output="1", steps=STEPS, events=EVENTS))
    first, second = db.twice(tap, "fork", lambda: manage(db, "fork", "o", step=2, new_id="f"))
    tap.equal((first["id"], second["id"], first["status"]), ("f", "f", "ENQUEUED"), "the same twice")
    row = db.workflow("f")
    tap.equal([s["function_name"] for s in row["steps"]], ["one", "two"], "has the steps before")
    tap.equal(row["events"], {"k": "early"}, "and the events")
    tap.equal(row["inputs"], db.workflow("o")["inputs"], "and the input")
    [claimed] = db.call(
        "workflow_claim", executor="x", token=token(), name=["greet"], max_recovery=9, limit=9
    )
    tap.equal(claimed["workflow_uuid"], "f", "and can be claimed")
    again = manage(db, "restart", "o", new_id="n")
    tap.equal((again["id"], db.workflow("n")["steps"]), ("n", []), "a restart has no past")
    with tap.raises(SqlError, "an id that is another's", sqlstate="OC006"):
        manage(db, "fork", "o", new_id="agent:bob")


def test_rewind(db):
    db.commit(task("o", status="ERROR", error="1", steps=STEPS, events=EVENTS))
    manage(db, "rewind", "o", step=1)
    row = db.workflow("o")
    tap.equal(
        (row["status"], row["error"], row["legacy_error"], [s["function_id"] for s in row["steps"]]),
        ("ENQUEUED", None, None, [0]),
        "rewound to a step",
    )
    tap.equal(row["events"], {"k": "early"}, "its events, too")
    with tap.raises(SqlError, "who has not ended is not rewound", sqlstate="OC005"):
        manage(db, "rewind", "o", step=1)
    with tap.raises(SqlError, "nor to before the start", sqlstate="OC005"):
        manage(db, "rewind", "o", step=-1)


def test_in_doubt(db):
    """The answer was lost: the same call again says the same, whatever became of the workflow since."""
    db.commit(task("d", status="SUCCESS", output="1", steps=STEPS))
    first = manage(db, "rewind", "d", step=1, new_id="request-1")
    again = manage(db, "rewind", "d", step=1, new_id="request-1")
    tap.equal(again, first, "rewound once more while it waits")
    db.run("update dbos_system.workflow_status set status = 'SUCCESS', completed_at = 1 where workflow_uuid = 'd'")
    steps = db.count("dbos_system.operation_outputs", "workflow_uuid = 'd'")
    again = manage(db, "rewind", "d", step=0, new_id="request-1")
    tap.equal(
        (again["status"], db.count("dbos_system.operation_outputs", "workflow_uuid = 'd'")),
        ("SUCCESS", steps),
        "and after it has ended anew",
    )
    delete = ("select status from openclaw.workflow_manage(null, 'delete', 'd', 0, 'request-2', null, null, false,"
              " 'openclaw-gateway', '{}')").format(db.value("select principal_id from openclaw.audit where subject = 'd'"))  # fmt: skip
    with db.another() as other:
        db.run("begin")
        db.run(delete)
        other.session.send(delete)
        other.waits_for_lock()
        db.run("commit")
        tap.ok("DELETED" in other.session.finish(), "who asks again too early waits for the first")
    tap.equal(manage(db, "delete", "d", new_id="request-2")["status"], "DELETED", "deleted")
    with tap.raises(SqlError, "another request finds it gone", sqlstate="OC002"):
        manage(db, "delete", "d", new_id="request-3")
    acts = [r["act"] for r in db.rows("select act from openclaw.audit where subject = 'd' order by audit_id")]
    tap.equal(acts, ["workflow.rewind", "workflow.delete"], "each is in the audit once")


def test_delete(db):
    family(db)
    db.commit(task("o", status="SUCCESS", output="1", steps=STEPS, events=EVENTS))
    tap.equal(manage(db, "delete", "o")["status"], "DELETED", "deleted")
    left = [
        db.count(f"dbos_system.{table}", "workflow_uuid = 'o'")
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs",
                      "workflow_events", "workflow_events_history")
    ]  # fmt: skip
    tap.equal(left, [0] * 6, "nothing is left")
    tap.equal(manage(db, "delete", "p", children=True)["changed"], 3, "with all that descend from it")
    db.commit(message("m9"))
    manage(db, "delete", "alice:m9")
    tap.equal(db.inbox("alice:m9")["state"], "withdrawn", "its message is withdrawn")


TESTS = (test_cancel, test_cancel_message, test_cancel_elsewhere, test_resume, test_fork, test_rewind, test_in_doubt, test_delete)

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

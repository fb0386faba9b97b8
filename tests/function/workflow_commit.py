#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""openclaw.workflow_commit: starting, going on, refusing, and every call made twice."""

import json
import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, commit_arguments, message, step, task, token

skip_without("initdb", "psql")
tap = Tap()


def test_start(db):
    work = message("k1", waiter="executor-1")
    first, second = db.twice(tap, "a start", lambda: db.commit(work))
    tap.equal(first[0]["outcome"], "committed", "a start is committed")
    tap.equal(second[0]["outcome"], "committed", "the same start after a lost answer is committed")
    tap.ok(first[0]["inbox_seq"] is not None, "a start that sends says the message's place")
    tap.equal(second[0]["inbox_seq"], first[0]["inbox_seq"], "and the repeat says the same place")
    row = db.workflow("alice:k1")
    tap.equal(
        (row["status"], row["executor_id"], row["owner_xid"]),
        ("DELAYED", "", None),
        "a parked workflow has no owner",
    )
    tap.equal(
        [(s["function_id"], s["function_name"]) for s in row["steps"]],
        [(0, "validateMessage"), (1, "storeMessage")],
        "its checkpoints are contiguous from 0",
    )
    tap.equal(
        json.loads(row["steps"][1]["output"]),
        {"messageId": "k1", "inboxSeq": first[0]["inbox_seq"]},
        "the sending step's output names the message and its place",
    )
    tap.ok("accepted" in row["events"], "its event is in the log")
    tap.equal(db.count("dbos_system.notifications"), 1, "there is one message")
    tap.equal(db.inbox("alice:k1")["workflow_uuid"], "alice:k1", "its inbox row names the workflow")


def test_same_key(db):
    db.commit(message("k2"))
    [again] = db.commit(message("k2"))
    tap.equal(again["outcome"], "exists", "an equal request under the same key exists")
    tap.equal(again["status"], "DELAYED", "and the answer says what became of it")
    tap.equal(again["inbox_seq"], db.inbox("alice:k2")["inbox_seq"], "and where its message is")
    [other] = db.commit(message("k2", content="something else"))
    tap.equal(other["outcome"], "conflict", "a different request under the same key is a conflict")
    [stamped] = db.commit(
        dict(
            message("k2"),
            input='{"namedArgs":{},"positionalArgs":[{"content":"hello","to":"bob","timestamp":7,"expectsReply":true}]}',
        )
    )
    tap.equal(
        stamped["outcome"], "exists", "key order, the client's timestamp and how it waits make no difference"
    )
    [traced] = db.commit(
        dict(
            message("k2"),
            input='{"namedArgs":{},"positionalArgs":[{"content":"hello","to":"bob","traceparent":"00-1-2-01"}]}',
            attributes='{"requestId":"r"}',
        )
    )
    tap.equal(traced["outcome"], "exists", "nor does another trace")
    tap.equal(
        db.row("select attributes from dbos_system.workflow_status where workflow_uuid = 'alice:k2'")["attributes"],
        None,
        "whose attributes are not those of the first",
    )
    [first, second] = db.commit(message("untraced"), dict(message("traced"), attributes='{"traceId":"t"}'))
    tap.equal((first["outcome"], second["outcome"]), ("committed", "committed"), "attributes of one of two")
    tap.equal(
        db.rows(
            "select attributes from dbos_system.workflow_status"
            " where workflow_uuid in ('alice:traced', 'alice:untraced') order by workflow_uuid desc"
        ),
        [{"attributes": None}, {"attributes": {"traceId": "t"}}],
        "are that one's",
    )
    [renamed] = db.commit(task("alice:k2"))
    tap.equal(renamed["outcome"], "conflict", "the same key for another workflow is a conflict")
    tap.equal(db.count("dbos_system.notifications", "message_uuid = 'alice:k2'"), 1, "one message")
    both = db.commit(message("k3"), message("k3"))
    tap.equal(
        [r["outcome"] for r in both],
        ["committed", "exists"],
        "one batch with one key twice starts it once",
    )
    different = db.commit(message("k4"), message("k4", content="other"))
    tap.equal([r["outcome"] for r in different], ["committed", "conflict"], "or finds the conflict")
    tap.equal(db.count("openclaw.inbox", "message_uuid = 'alice:k4'"), 1, "one message of it, too")


def test_refusals(db):
    db.run("update openclaw.agent set inbox_limit = 2 where agent_id = 'carol'")
    db.run("update openclaw.agent set allow_from = array['bob'] where agent_id = 'dave'")
    answers = db.commit(
        message("r1", to="bob"),
        message("r2", to="nobody"),
        message("r3", to="carol"),
        message("r4", to="dave"),
        message("r5", to="carol"),
        message("r6", to="carol"),
        message("r7", to="dave", sender="bob"),
        message("r8", to="bob"),
    )
    tap.equal(
        [(a["outcome"], a["reason"]) for a in answers],
        [
            ("committed", None),
            ("refused", "UNKNOWN_RECIPIENT"),
            ("committed", None),
            ("refused", "UNKNOWN_RECIPIENT"),
            ("committed", None),
            ("refused", "INBOX_FULL"),
            ("committed", None),
            ("committed", None),
        ],
        "a refusal inside a batch costs the others nothing",
    )
    tap.equal(
        db.count(
            "dbos_system.workflow_status", "workflow_uuid in ('alice:r2', 'alice:r4', 'alice:r6')"
        ),
        0,
        "what was refused left no workflow",
    )
    tap.equal(
        db.count(
            "dbos_system.operation_outputs", "workflow_uuid in ('alice:r2', 'alice:r4', 'alice:r6')"
        ),
        0,
        "and no step",
    )
    [again] = db.commit(message("r3", to="carol"))
    tap.equal(again["outcome"], "exists", "a repeat is answered although the inbox is full")
    [row] = db.claim("carol", limit=1)
    db.ack(row, agent="carol")
    [later] = db.commit(message("r6", to="carol"))
    tap.equal(later["outcome"], "committed", "there is room again after an acknowledgement")
    [made] = db.commit(message("r9", to="erin"), auto_provision=True)
    tap.equal(made["outcome"], "committed", "with auto provision an unknown recipient is made")
    tap.equal(db.workflow("agent:erin")["status"], "DELAYED", "with its parked mailbox")


def test_owner(db):
    work = task("alice:t1", steps=[step(0, "one", "1")])
    db.twice(tap, "a running start", lambda: db.commit(work))
    row = db.workflow("alice:t1")
    tap.equal(
        (row["status"], row["executor_id"]), ("PENDING", "executor-1"), "a running one has an owner"
    )

    going = dict(work, start=False, steps=[step(1, "two", "2")])
    first, second = db.twice(tap, "a barrier under way", lambda: db.commit(going))
    tap.equal(first[0]["outcome"], "committed", "its owner's checkpoint is written")
    tap.equal(second[0]["outcome"], "committed", "the repeat after a lost answer is committed")

    sending = dict(
        message("t1"), start=False, id="alice:t1", token=work["token"], status="PENDING", steps=[]
    )
    sending["sends"][0].update(step=2, **{"await": 3})
    sending["events"] = []
    first, second = db.twice(tap, "a send under way", lambda: db.commit(sending))
    tap.equal(second[0]["outcome"], "committed", "the repeat of a send is committed")
    tap.equal(second[0]["inbox_seq"], first[0]["inbox_seq"], "and it is the same message")

    stranger = dict(
        going, token=token(), steps=[step(4, "three", "3")], status="SUCCESS", output="9"
    )
    [answer] = db.commit(stranger)
    tap.equal(
        (answer["outcome"], answer["status"]), ("fenced", "PENDING"), "another's token is fenced"
    )
    tap.equal(len(db.workflow("alice:t1")["steps"]), 3, "and leaves no checkpoint")

    done = dict(going, steps=[step(3, "three", "3")], status="SUCCESS", output='{"sum":6}')
    first, second = db.twice(tap, "an end", lambda: db.commit(done))
    tap.equal(first[0]["outcome"], "committed", "the owner ends it")
    tap.equal(
        (second[0]["outcome"], second[0]["status"], second[0]["output"]),
        ("fenced", "SUCCESS", '{"sum":6}'),
        "the repeat adopts the outcome",
    )
    row = db.workflow("alice:t1")
    tap.equal(
        (row["status"], row["output"], row["legacy_output"]),
        ("SUCCESS", '{"sum":6}', '{"sum":6}'),
        "the outcome is in both places",
    )
    tap.equal([s["function_id"] for s in row["steps"]], [0, 1, 2, 3], "steps 0 to 3, once each")
    tap.equal(row["owner_xid"], None, "and nobody owns it")


def test_park_and_fail(db):
    work = task("alice:p1")
    db.commit(work)
    parked = dict(
        work, start=False, status="DELAYED", delay=60_000, steps=[step(0, "DBOS.sleep", "1")]
    )
    first, _ = db.twice(tap, "parking", lambda: db.commit(parked))
    row = db.workflow("alice:p1")
    tap.equal(
        (row["status"], row["executor_id"], row["owner_xid"]),
        ("DELAYED", "", None),
        "parked: no owner",
    )
    tap.ok(
        abs(row["delay_until_epoch_ms"] - first[0]["now_ms"] - 60_000) < 5,
        "and a time to look at it",
    )
    failing = task(
        "alice:p2",
        status="ERROR",
        error='{"name":"E","message":"m"}',
        steps=[step(0, "one", None, '{"name":"E","message":"m"}')],
    )
    db.twice(tap, "a start that fails at once", lambda: db.commit(failing))
    row = db.workflow("alice:p2")
    tap.equal(
        (row["status"], row["error"]),
        ("ERROR", '{"name":"E","message":"m"}'),
        "its error is recorded",
    )
    tap.ok(row["completed_at"] is not None, "with the time of its end")
    queued = task("alice:p3", status="ENQUEUED")
    db.twice(tap, "an enqueued start", lambda: db.commit(queued))
    row = db.workflow("alice:p3")
    tap.equal(
        (row["status"], row["queue_name"], row["recovery_attempts"]),
        ("ENQUEUED", "_dbos_internal_queue", 0),
        "it waits in the queue",
    )


def test_orphans(db):
    """What a delete by an older client leaves behind is not the next workflow's past."""
    db.commit(message("o1"))
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'alice:o1'")
    tap.equal(
        db.count("dbos_system.operation_outputs", "workflow_uuid = 'alice:o1'"),
        2,
        "steps outlive a delete",
    )
    [answer] = db.commit(message("o1", content="new"))
    tap.equal(answer["outcome"], "committed", "the id is free again")
    row = db.workflow("alice:o1")
    tap.equal(
        json.loads(row["inputs"])["positionalArgs"][0]["content"], "new", "with its own input"
    )
    tap.equal([s["function_id"] for s in row["steps"]], [0, 1], "and its own steps")
    tap.equal(
        json.loads(row["steps"][1]["output"])["inboxSeq"],
        answer["inbox_seq"],
        "and its own message",
    )
    live = db.rows(
        "select inbox_seq from openclaw.inbox where message_uuid = 'alice:o1' and state in ('ready', 'leased')"
    )
    tap.equal(
        [r["inbox_seq"] for r in live],
        [answer["inbox_seq"]],
        "the deleted workflow's message is not delivered",
    )
    claimed = [d for d in db.claim() if d["workflow_uuid"] == "alice:o1"]
    tap.equal([json.loads(d["message"])["content"] for d in claimed], ["new"], "only the new one")


def test_others_message(db):
    """A DBOS client may name its message as it likes, also as ours would be named."""
    db.run(
        "insert into dbos_system.notifications (destination_uuid, topic, message, message_uuid)"
        " values ('agent:bob', '__null__topic__', '\"theirs\"', 'alice:n1')"
    )
    answers = db.commit(message("n0"), message("n1"), message("n2", to="nobody"), message("n3"))
    tap.equal(
        [(a["outcome"], a["reason"]) for a in answers],
        [("committed", None), ("refused", "IDEMPOTENCY_CONFLICT"), ("refused", "UNKNOWN_RECIPIENT"), ("committed", None)],
        "a key under which a DBOS client's message waits is taken, and costs no other anything",
    )
    for table in ("workflow_status", "workflow_input", "operation_outputs", "workflow_events"):
        tap.equal(db.count(f"dbos_system.{table}", "workflow_uuid = 'alice:n1'"), 0, f"nothing is left in {table}")
    claimed = [d for d in db.claim() if d["message_uuid"] in ("alice:n0", "alice:n1", "alice:n3")]
    tap.equal([d["message_uuid"] for d in claimed], ["alice:n1", "alice:n0", "alice:n3"], "all are delivered")
    tap.equal(claimed[0]["message"], '"theirs"', "the client's as it sent it")
    [again] = db.commit(message("n1"))
    tap.equal(again["reason"], "IDEMPOTENCY_CONFLICT", "also while it is out")
    db.ack(claimed[0])
    [again] = db.commit(message("n1"))
    tap.equal(again["outcome"], "committed", "when it is acknowledged the key is free")


def test_step_output_of_effect(db):
    work = task(
        "alice:e1",
        name="provisionAgent",
        status="SUCCESS",
        output="null",
        steps=[step(0, "provision", None, None, "0")],
    )
    db.run(
        "begin;\nselect set_config('openclaw.step_output_0', '{\"made\":true}', true);\n"
        + db.text_of_call("workflow_commit", commit_arguments([work]))
        + ";\ncommit"
    )
    tap.equal(
        db.workflow("alice:e1")["steps"][0]["output"],
        '{"made":true}',
        "a step's output may come from its effect",
    )


with Cluster() as cluster:
    with Database(cluster) as db:
        db.provision("alice", "bob", "carol", "dave")
        for test in (
            test_start,
            test_same_key,
            test_refusals,
            test_owner,
            test_park_and_fail,
            test_orphans,
            test_others_message,
            test_step_output_of_effect,
        ):
            try:
                test(db)
            except (SqlError, AssertionError, IndexError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
sys.exit(tap.done())

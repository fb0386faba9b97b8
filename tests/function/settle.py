#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""openclaw.message_settle and message_review: every way in which a message reaches its end."""

import json
import os
import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, literal, message, task

skip_without("initdb", "psql")
tap = Tap()


def settle(db, state, *keys, delivery=None, reason=None):
    return db.call(
        "message_settle",
        seq=[db.inbox(key)["inbox_seq"] for key in keys],
        delivery=[delivery for _ in keys],
        state=state,
        response=[None for _ in keys],
        reason=reason,
    )


def review(db, key):
    [row] = db.call("message_review", seq=db.inbox(key)["inbox_seq"], id=key)
    return row


def test_ends(db):
    ends = {
        "acked": ("SUCCESS", None, "acknowledged"),
        "dead": ("ERROR", "DEAD_LETTER", "failed"),
        "expired": ("ERROR", "EXPIRED", "expired"),
        "withdrawn": ("ERROR", "WITHDRAWN", "failed"),
    }
    for state, (status, code, word) in ends.items():
        key = f"alice:{state}"
        db.commit(message(state, waiter="w1"))
        first, second = db.twice(tap, f"settle as {state}", lambda s=state, k=key: settle(db, s, k))
        tap.equal(
            [(r["agent_id"], r["waiter"]) for r in first],
            [("bob", "w1")],
            f"{state}: says whose it was and who waits",
        )
        tap.equal(second, [], f"{state}: once")
        row = db.workflow(key)
        tap.equal(row["status"], status, f"{state}: the workflow has ended")
        error = json.loads(row["error"]) if row["error"] else {}
        value = json.loads(row["output"]) if row["output"] else error["data"]
        tap.equal(
            (error.get("code"), value["status"]), (code, word), f"{state}: its outcome says so"
        )
        tap.equal(
            [s["function_id"] for s in row["steps"]], [0, 1, 2], f"{state}: the steps are complete"
        )
        tap.ok(row["completed_at"] is not None, f"{state}: with the time of its end")
        tap.equal(
            ("acknowledged" if state == "acked" else state) in row["events"],
            True,
            f"{state}: the log has it",
        )
        for other in ends:
            settle(db, other, key)
        tap.equal(db.inbox(key)["state"], state, f"{state}: for good")
        tap.equal(db.workflow(key)["status"], status, f"{state}: the workflow, too")


def test_delivery(db):
    db.commit(message("d1"))
    [d] = db.claim()
    tap.equal(
        settle(db, "acked", "alice:d1", delivery="1.wrong"), [], "only by the current delivery"
    )
    tap.equal(len(settle(db, "acked", "alice:d1", delivery=d["delivery_id"])), 1, "which does")


def test_set(db):
    db.commit(*[message(f"s{n}") for n in range(4)])
    settle(db, "dead", "alice:s1", reason="no")
    rows = settle(db, "acked", *[f"alice:s{n}" for n in (3, 1, 0, 2)])
    tap.equal(len(rows), 3, "a set: those that were settled already are left out")
    tap.equal(
        sorted(db.workflow(f"alice:s{n}")["status"] for n in range(4)),
        ["ERROR", "SUCCESS", "SUCCESS", "SUCCESS"],
        "each workflow has one outcome",
    )


def test_running(db):
    """A workflow that is awake when its message is settled loses its fence, and adopts."""
    db.commit(message("w1"))
    db.run(
        "update dbos_system.workflow_status set status = 'PENDING', owner_xid = 'mine',"
        " executor_id = 'sweeper' where workflow_uuid = 'alice:w1'"
    )
    settle(db, "acked", "alice:w1")
    row = db.workflow("alice:w1")
    tap.equal((row["status"], row["owner_xid"]), ("SUCCESS", None), "it is settled under its owner")
    [answer] = db.commit(task("alice:w1", start=False, token="mine", status="DELAYED", delay=1000))
    tap.equal(
        (answer["outcome"], answer["status"], answer["output"]),
        ("fenced", "SUCCESS", row["output"]),
        "who then adopts the outcome",
    )


def test_cancelled(db):
    db.commit(message("c1"))
    [d] = db.claim()
    db.run(
        "update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid = 'alice:c1'"
    )
    tap.equal(
        db.ack(d)[0]["outcome"],
        "acked",
        "a cancelled workflow's message that was delivered is acknowledged",
    )
    row = db.workflow("alice:c1")
    tap.equal(
        (row["status"], len(row["steps"])), ("CANCELLED", 2), "but the workflow stays cancelled"
    )


def test_superjson(db):
    """A workflow that a native TypeScript client started is answered in its own serialization."""
    for key in ("j1", "j2"):
        db.commit(message(key))
        db.run(
            "update dbos_system.workflow_status set serialization = 'js_superjson'"
            f" where workflow_uuid = 'alice:{key}'"
        )
    settle(db, "acked", "alice:j1")
    settle(db, "dead", "alice:j2", reason="no")
    row = db.workflow("alice:j1")
    value = json.loads(row["output"])
    tap.equal(
        (value["__dbos_serializer"], value["json"]["status"]),
        ("superjson", "acknowledged"),
        "its output",
    )
    tap.equal(row["legacy_output"], row["output"], "also where older clients look")
    error = json.loads(db.workflow("alice:j2")["error"])
    tap.equal(
        (error["__dbos_serializer"], error["json"]["name"]),
        ("superjson", "MessageNotAcknowledged"),
        "and its error",
    )
    step = row["steps"][2]
    tap.equal(
        (step["serialization"], "json" in json.loads(step["output"])),
        ("portable_json", False),
        "a step's is its own",
    )


def test_legacy(db):
    db.commit(message("l1"), legacy=False)
    db.call(
        "message_settle", legacy=False, seq=[db.inbox("alice:l1")["inbox_seq"]], delivery=[None],
        state="acked", response=['"yes"'], reason=None,
    )  # fmt: skip
    row = db.workflow("alice:l1")
    tap.equal(
        (row["legacy_output"], json.loads(row["output"])["response"]),
        (None, "yes"),
        "without legacy payloads only the new table has it",
    )


def test_review(db):
    db.commit(message("v1"), message("v2", ttl=1), message("v3"))
    row = review(db, "alice:v1")
    tap.equal(row["state"], "ready", "a message that waits still waits")
    tap.ok(0 < row["again_ms"] <= 86_400_000, "and says when to look again")
    db.run("select pg_sleep(0.005)")
    first, second = db.twice(tap, "review of an expired message", lambda: review(db, "alice:v2"))
    tap.equal(
        (first["state"], second["state"]),
        ("expired", "expired"),
        "one that is past its time expires",
    )
    tap.equal(db.workflow("alice:v2")["status"], "ERROR", "and so does its workflow")
    db.run("delete from dbos_system.notifications where message_uuid = 'alice:v3'")
    first, _ = db.twice(tap, "review of a lost message", lambda: review(db, "alice:v3"))
    tap.equal(first["state"], "withdrawn", "one whose mailbox is gone is withdrawn")
    db.commit(message("v4"))
    settle(db, "acked", "alice:v4")
    row = review(db, "alice:v4")
    tap.equal(
        (row["state"], json.loads(row["result"])["status"]),
        ("acked", "acknowledged"),
        "one that is settled says how",
    )
    [row] = db.call("message_review", seq=999_999_999, id="alice:v5")
    tap.equal(
        (row["state"], json.loads(row["result"])["data"]["status"]),
        ("withdrawn", "failed"),
        "one that was pruned is withdrawn, in JSON",
    )


def test_odd_texts(db):
    """Keys and answers with every character that JSON or format() could trip over."""
    key = "q\"uo'te %s \\ \u2028 {}"
    db.commit(message(key))
    [d] = db.claim()
    db.ack(d, response=json.dumps({"text": 'a "b" \\ %s \n'}))
    value = json.loads(
        db.value(
            f"select output from dbos_system.workflow_output where workflow_uuid = {literal('alice:' + key)}"
        )
    )
    tap.equal(
        (value["messageId"], value["response"]["text"]),
        (key, 'a "b" \\ %s \n'),
        "keys and answers come through whole",
    )
    db.commit(message("odd"))
    settle(db, "dead", "alice:odd", reason='say "no" \\ %s')
    error = json.loads(db.workflow("alice:odd")["error"])
    tap.equal(error["data"]["reason"], 'say "no" \\ %s', "and so do reasons")


def fates(db, *keys):
    """What a sender hears of its messages: the statement as it is."""
    path = os.path.join(os.environ["abs_top_srcdir"], "sql", "statement", "message_fates.sql")
    with open(path, encoding="utf-8") as file:
        text = "".join(line for line in file if not line.startswith("--"))
    seqs = ", ".join(str(db.inbox(key)["inbox_seq"]) for key in keys)
    answer = db.run(f"select coalesce(json_agg(f.r), '[]') from ({text.replace('$1', f'array[{seqs}]')}) as f (z,a,b,c,d,e,f,g,h,r)")
    return json.loads(answer)


def test_foreign_values(db):
    """What others stored may be anything: no cast of it stops anybody."""
    replies = {
        "plain": '{"a":[1,",\\"response\\":2"]}',
        'q,"response":x': '"text}"',
        "nul": '{"json":"a\\u0000b"}',
        "huge": "1e999",
    }
    for key, reply in replies.items():
        db.commit(message(key))
        [one] = db.claim()
        db.ack(one, response=reply)
    keys = [f"alice:{key}" for key in replies if key not in ("nul", "huge")]
    db.run("update dbos_system.workflow_output set output = '{', error = 'no json' where workflow_uuid = 'alice:plain'")
    tap.equal(fates(db, *keys), [r for k, r in replies.items() if k not in ("nul", "huge")],
              "fates tell the replies, whatever is in them")  # fmt: skip
    db.commit(message("native"))
    db.run("update dbos_system.workflow_status set serialization = 'js_superjson' where workflow_uuid = 'alice:native'")
    [one] = db.claim()
    db.ack(one, response='{"n":1}')
    tap.equal(fates(db, "alice:native"), ['{"n":1}'], "also to a workflow that a client enqueued native")
    tap.equal(len(fates(db, "alice:nul", "alice:huge")), 2, "and replies that jsonb cannot hold")

    # a step of another application that has the name of ours
    for n, output in enumerate(("no json", '{"inboxSeq":"x"}', '{"inboxSeq":99999999999999999999}', '{"inboxSeq":"\\u0000"}')):
        db.commit(task(f"alice:other{n}"))
        db.run(
            "insert into dbos_system.operation_outputs (workflow_uuid, function_id, function_name, output)"
            f" values ('alice:other{n}', 0, 'storeMessage', {literal(output)})"
        )
        db.run(f"update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid = 'alice:other{n}'")
    db.commit(message("mine"))
    [row] = db.call("workflow_cancel", id=["alice:other0", "alice:other1", "alice:other2", "alice:other3", "alice:mine"], children=False)
    tap.equal((row["cancelled"], db.inbox("alice:mine")["state"]), (["alice:mine"], "withdrawn"), "a step of ours in name only is passed over")

    for n, stored in enumerate(('{"positionalArgs":[{"to":"bob","content":"a\\u0000"}]}', "{", "[" * 20000)):
        db.commit(message(f"taken{n}"))
        db.run(f"update dbos_system.workflow_input set inputs = {literal(stored)} where workflow_uuid = 'alice:taken{n}'")
        [answer] = db.commit(message(f"taken{n}"))
        tap.equal(answer["outcome"], "conflict", f"an id that a client has taken with an input beyond jsonb is taken ({n})")


TESTS = (
    test_ends, test_delivery, test_set, test_running, test_cancelled, test_superjson, test_legacy,
    test_review, test_odd_texts, test_foreign_values,
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

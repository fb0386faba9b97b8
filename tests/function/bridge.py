#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An agent that is a DBOS application: its messages become workflows, their ends settle the messages."""

import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, message

skip_without("initdb", "psql")
tap = Tap()


def end(db, identity, status, output=None, error=None):
    db.run(f"update dbos_system.workflow_status set status = '{status}' where workflow_uuid = '{identity}'")
    if output or error:
        db.run(
            "insert into dbos_system.workflow_output (workflow_uuid, output, error) values"
            f" ('{identity}', {repr(output) if output else 'null'}, {repr(error) if error else 'null'})"
        )


def test_bridge(db):
    db.register("w1")
    db.commit(*[message(f"m{n}", waiter="w1") for n in range(4)], message("other", to="alice", sender="bob"))
    first, second = db.twice(tap, "dispatch", lambda: db.call("bridge", limit=10)[0])
    tap.equal((first["dispatched"], second["dispatched"]), (4, 0), "each message is dispatched once")
    rows = db.rows(
        "select s.name, s.queue_name, s.application_name, s.status, i.inputs::json #>> '{positionalArgs,0,content}' as content"
        " from dbos_system.workflow_status s join dbos_system.workflow_input i using (workflow_uuid)"
        " where s.workflow_uuid = 'alice:m0/dbos'"
    )
    tap.equal(
        rows,
        [{"name": "answer", "queue_name": "q", "application_name": "app", "status": "ENQUEUED", "content": "hello"}],
        "as a workflow of the application, with the message as its argument",
    )
    created = "select s.created_at, s.workflow_uuid from dbos_system.workflow_status s where s.workflow_uuid like 'alice:m%/dbos'"
    order = [row["workflow_uuid"] for row in db.rows(created + " order by 1")]
    times = {row["created_at"] for row in db.rows(created)}
    tap.equal((order, len(times)), ([f"alice:m{n}/dbos" for n in range(4)], 4), "DBOS takes them in their order")
    db.commit(message("m4"))
    db.call("bridge", limit=10)
    tap.equal(db.value(created + " order by 1 desc limit 1") > max(times), True, "and what comes later behind them")
    db.run("delete from openclaw.inbox where message_uuid = 'alice:m4'")
    db.run("delete from openclaw.dispatch where workflow_uuid = 'alice:m4/dbos'")
    db.run("delete from dbos_system.workflow_status where workflow_uuid in ('alice:m4', 'alice:m4/dbos')")
    tap.equal(db.inbox("bob:other")["state"], "ready", "an agent that is none is left alone")
    db.call("inbox_expire_leases")
    tap.equal(db.inbox("alice:m0")["state"], "leased", "its lease does not end")

    end(db, "alice:m0/dbos", "SUCCESS", output='{"a":1}')
    end(db, "alice:m1/dbos", "ERROR", error='{"name":"E","message":"no"}')
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'alice:m2/dbos'")
    first, second = db.twice(tap, "settle", lambda: db.call("bridge", limit=10)[0])
    tap.equal((first["settled"], second["settled"]), (3, 0), "what has ended settles its message, once")
    tap.equal(first["bells"], ["here/w1"], "and rings who waits")
    states = [db.inbox(f"alice:m{n}")["state"] for n in range(4)]
    tap.equal(states, ["acked", "dead", "dead", "leased"], "well, badly, deleted, still running")
    tap.ok('"response":{"a":1}' in db.workflow("alice:m0")["output"], "its result is the reply")
    tap.ok("the workflow of bob: no" in db.workflow("alice:m1")["error"], "its error the reason")


def test_bad_data(db):
    """What an application stored is not ours: no value of it may stop the bridge."""
    ends = {
        "nul": ("portable_json", None, '{"name":"E","message":"a\\u0000b"}'),
        "broken": ("js_superjson", None, "{not JSON"),
        "half": ("js_superjson", '{"json":"\\ud800"}', None),
        "good": ("portable_json", '{"a":2}', None),
    }
    db.commit(*[message(name) for name in ends])
    native = """update dbos_system.notifications set serialization = 'js_superjson', message = '{"json":'
        where message_uuid = 'alice:good'"""
    db.run(native)
    tap.equal(db.call("bridge", limit=10)[0]["dispatched"], len(ends), "a message of broken JSON is dispatched")
    argument = """select i.inputs::json #>> '{positionalArgs,0}' from dbos_system.workflow_input i
        where i.workflow_uuid = 'alice:good/dbos'"""
    tap.equal(db.value(argument), '{"json":', "as the text it is")
    for name, (form, output, error) in ends.items():
        db.run(
            f"update dbos_system.workflow_status set serialization = '{form}'"
            f" where workflow_uuid = 'alice:{name}/dbos'"
        )
        end(db, f"alice:{name}/dbos", "SUCCESS" if output else "ERROR", output, error)
    tap.equal(db.call("bridge", limit=10)[0]["settled"], len(ends), "results and errors that are no text settle")
    states = [db.inbox(f"alice:{name}")["state"] for name in ends]
    tap.equal(states, ["dead", "dead", "acked", "acked"], "each as its status says")



def test_sent_by_client(db):
    """What a DBOS client sends to the mailbox comes in the same envelope as any message."""
    db.run("select dbos_system.send_message('agent:bob', '{\"from\":\"boss\"}', message_id => 'foreign-1')")
    db.call("bridge", limit=10)
    tap.equal(
        db.value(
            "select (i.inputs::json #> '{positionalArgs,0}')::text from dbos_system.workflow_input i"
            " where i.workflow_uuid = 'foreign-1/dbos'"
        ),
        '{"messageId":"foreign-1","from":"dbos","to":"bob","content":{"from":"boss"}}',
        "with its sender, who cannot be forged",
    )


def test_swept(db):
    """What was enqueued for an agent goes with the retention of its message; the application's own stays."""
    db.commit(message("old"), message("young"))
    db.call("bridge", limit=10)
    end(db, "alice:old/dbos", "SUCCESS", output="1")
    db.call("bridge", limit=10)
    db.run(
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, application_name)"
        " values ('theirs', 'SUCCESS', 'answer', 'app');"
        "update dbos_system.workflow_status set completed_at = 1 where workflow_uuid in ('theirs', 'alice:old/dbos')"
    )
    preview = "select workflows as t from openclaw.prune_preview('openclaw-gateway', 86400000)"
    tap.equal(int(db.value(preview)), 1, "it would go")
    db.run("select * from openclaw.prune('openclaw-gateway', 86400000, 100)")
    left = db.rows("select workflow_uuid as id from dbos_system.workflow_status where application_name = 'app' order by 1")
    tap.equal([row["id"] for row in left], ["alice:young/dbos", "theirs"], "it goes, and nothing else")
    tap.equal(db.count("dbos_system.workflow_input", "workflow_uuid = 'alice:old/dbos'"), 0, "with its content")


def test_kept_until_settled(db):
    """An answer stays, however old, until the bridge has given it to whoever asked."""
    db.commit(message("late"))
    db.call("bridge", limit=10)
    end(db, "alice:late/dbos", "SUCCESS", output="1")
    db.run("update dbos_system.workflow_status set completed_at = 1 where workflow_uuid = 'alice:late/dbos'")
    preview = "select workflows as t from openclaw.prune_preview('openclaw-gateway', 86400000)"
    tap.equal(int(db.value(preview)), 0, "it would stay")
    db.run("select * from openclaw.prune('openclaw-gateway', 86400000, 100)")
    db.call("bridge", limit=10)
    state = "select i.state as t from openclaw.inbox i where i.message_uuid = 'alice:late'"
    tap.equal(db.value(state), "acked", "its answer is given")


def test_unholdable(db):
    """\\u0000 and halves of surrogate pairs become U+FFFD; nothing that only looks like them does."""
    told = r'"a\u0000b\ud800 \ud83d\ude00 \\\\u0000 \\\\\udc00 \u00e9 \udc00"'
    kept = r'"a\ufffdb\ufffd \ud83d\ude00 \\\\u0000 \\\\\ufffd \u00e9 \ufffd"'
    for serialization, stored in (("portable_json", told), ("js_superjson", f'{{"json":{told},"__dbos_serializer":"superjson"}}')):
        got = db.value(f"select openclaw.decode_value('{serialization}', $${stored}$$) as t")
        tap.equal(got, kept, f"{serialization}: as far as it can be held")
        db.value(f"select ($${got}$$::jsonb)::text as t")
    broken = db.value("select openclaw.decode_value('js_superjson', $${\"json\":\"\\u0000$$) as t")
    tap.equal(broken, r'"{\"json\":\"\\u0000"', "broken it is a text, as it is")


def given(db, identity):
    return db.rows(
        "select s.status, s.queue_name as queue, s.name from dbos_system.workflow_status s"
        f" where s.workflow_uuid = '{identity}'"
    )


def test_redriven(db):
    """Each delivery of a message is a workflow of its own: the failure of one is not the answer to the next."""
    db.commit(message("again"))
    for run, name in enumerate(("alice:again/dbos", "alice:again/dbos-2", "alice:again/dbos-3"), 1):
        [first, second] = db.twice(tap, f"dispatch {run}", lambda: db.call("bridge", limit=10)[0])
        tap.equal((first["dispatched"], second["dispatched"]), (1, 0), f"delivery {run} is dispatched, once")
        tap.equal(given(db, name)[0]["status"], "ENQUEUED", f"as a workflow of its own, {name}")
        if run == 3:
            break
        end(db, name, "ERROR", error='{"name":"E","message":"not yet"}')
        db.call("bridge", limit=10)
        tap.equal(db.inbox("alice:again")["state"], "dead", f"whose failure ends delivery {run}")
        [answer] = db.call(
            "dead_letter_redrive", by="root", all=True, recipient=None, sender=None,
            message=["alice:again"], fork=[f"again-{run}"],
        )  # fmt: skip
        tap.equal(answer["outcome"], "redriven", "redriven")
    end(db, "alice:again/dbos-3", "SUCCESS", output='{"now":1}')
    db.call("bridge", limit=10)
    tap.ok('"response":{"now":1}' in db.workflow("again-2")["output"], "and the last one's result is the reply")
    tap.equal(db.count("openclaw.dispatch"), 0, "nothing is kept of it")


def reconfigure(db, *to):
    queue, workflow, application = to or (None, None, None)
    arguments = {"agent": "bob", "queue": queue, "workflow": workflow, "application": application}
    return db.twice(tap, f"to {queue}", lambda: db.call("agent_bridge", **arguments))


def test_reconfigured(db):
    """What an application has begun is settled by it, what it has not goes where the next one goes."""
    db.commit(*(message(name) for name in ("begun", "waits", "fails")))
    db.call("bridge", limit=10)
    for name in ("begun", "fails"):
        end(db, f"alice:{name}/dbos", "PENDING")
    reconfigure(db, "q2", "other", "app")
    tap.equal(given(db, "alice:waits/dbos"), [{"status": "CANCELLED", "queue": None, "name": "answer"}], "another queue: what waited in the old one is taken from it")
    row = db.inbox("alice:waits")
    tap.equal((row["state"], row["attempt"], row["holder"]), ("ready", 0, None), "and given back, without an attempt")
    db.call("bridge", limit=10)
    tap.equal(given(db, "alice:waits/dbos-2"), [{"status": "ENQUEUED", "queue": "q2", "name": "other"}], "to go to the new one")

    reconfigure(db)
    row = db.inbox("alice:waits")
    tap.equal((row["state"], row["holder"]), ("ready", None), "no application any more: what waits is in the inbox")
    tap.equal([d["message_uuid"] for d in db.claim()], ["alice:waits"], "from where it is delivered")
    tap.equal(db.inbox("alice:begun")["holder"], "dbos", "what was begun is still its")
    end(db, "alice:begun/dbos", "SUCCESS", output='{"a":4}')
    end(db, "alice:fails/dbos", "ERROR", error='{"name":"E","message":"no"}')
    db.run("update openclaw.agent set status = 'paused' where agent_id = 'bob'")
    tap.equal(db.call("bridge", limit=10)[0]["settled"], 2, "and settled by what it ends with, of a paused agent, too")
    db.run("update openclaw.agent set status = 'active' where agent_id = 'bob'")
    tap.ok('"response":{"a":4}' in db.workflow("alice:begun")["output"], "the reply")
    tap.equal(db.inbox("alice:fails")["state"], "dead", "the dead letter")
    tap.equal(db.count("openclaw.dispatch"), 0, "nothing is kept of it")
    reconfigure(db, "q", "answer", "app")


def test_ended_otherwise(db):
    """A message that its sender withdraws, or whose agent is deleted, leaves the application's queue."""
    db.commit(message("gone"), message("runs"))
    db.call("bridge", limit=10)
    end(db, "alice:runs/dbos", "PENDING")
    db.run("update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid in ('alice:gone', 'alice:runs')")
    db.call("carrier_withdraw")
    db.call("bridge", limit=10)
    tap.equal([given(db, f"alice:{name}/dbos")[0]["status"] for name in ("gone", "runs")], ["CANCELLED", "PENDING"], "withdrawn: it is not begun any more, and not stopped")
    tap.equal(db.count("openclaw.dispatch"), 0, "and forgotten")

    db.provision("dora")
    db.run("update openclaw.agent set configuration = (select configuration from openclaw.agent where agent_id = 'bob') where agent_id = 'dora'")
    db.commit(message("left", to="dora"))
    db.call("bridge", limit=10)
    db.call("agent_delete", by="root", agent="dora", match=None)
    db.call("bridge", limit=10)
    tap.equal(given(db, "alice:left/dbos")[0]["status"], "CANCELLED", "so is what waited for a deleted agent")
    tap.equal(db.count("openclaw.dispatch"), 0, "and forgotten")


def test_refused(db):
    """What cannot be enqueued or settled holds up nothing else, however little is done at once."""
    db.run("set client_min_messages = error")  # its warnings are for the server's log
    db.run(
        """create function refuse() returns trigger language plpgsql as
        'begin raise exception ''no''; end';
        create trigger refuse_new before insert on dbos_system.workflow_status for each row
        when (new.workflow_uuid like 'alice:bad%/dbos') execute function refuse()"""
    )
    db.commit(*(message(name, sender=name) for name in ("carol", "dave")), message("bad", max_attempts=2))
    tap.equal(db.call("bridge", limit=10)[0]["dispatched"], 2, "one that cannot be enqueued holds up no other")
    row = db.inbox("alice:bad")
    tap.equal((row["state"], row["attempt"], row["holder"]), ("ready", 1, None), "it is tried again, a little later")
    db.run("update openclaw.inbox set due_at = 0 where message_uuid = 'alice:bad'")
    db.call("bridge", limit=10)
    row = db.inbox("alice:bad")
    tap.equal((row["state"], row["reason"]), ("dead", "it could not be enqueued: no"), "so often as it may be")
    db.run("drop trigger refuse_new on dbos_system.workflow_status")

    db.commit(message("stuck"), message("free"))
    db.call("bridge", limit=10)
    for name in ("stuck", "free"):
        end(db, f"alice:{name}/dbos", "SUCCESS", output='{"a":3}')
    db.run(
        """create trigger refuse before update on dbos_system.workflow_status for each row
        when (new.workflow_uuid = 'alice:stuck') execute function refuse()"""
    )
    settled = [db.call("bridge", limit=1)[0]["settled"] for _ in range(3)]
    tap.equal(settled, [0, 1, 0], "one that cannot be settled holds up no other, one at a time")
    db.run("drop trigger refuse on dbos_system.workflow_status; drop function refuse()")
    tap.equal(db.call("bridge", limit=10)[0]["settled"], 1, "and is settled when it can be")


with Cluster() as cluster:
    with Database(cluster) as database:
        database.provision("alice", "bob")
        database.run(
            "update openclaw.agent set configuration ="
            " '{\"dbos\": {\"queue\": \"q\", \"workflow\": \"answer\", \"application\": \"app\"}}' where agent_id = 'bob'"
        )
        try:
            test_bridge(database)
            test_bad_data(database)
            test_unholdable(database)
            database.clear()
            test_sent_by_client(database)
            for test in (test_swept, test_kept_until_settled, test_redriven, test_reconfigured, test_ended_otherwise, test_refused):
                database.clear()
                test(database)
        except (SqlError, AssertionError, IndexError, ValueError) as error:
            tap.ok(False, "comes to its end", repr(error))
sys.exit(tap.done())

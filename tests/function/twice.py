#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every function that a statement calls, called twice: the second time changes nothing.

After a lost connection a program sends the same call again, so this is asked of each of them; one
that has no row here fails the test.  What a row sets up gives the first call something to do: a
first call that changes nothing fails, too.
"""

import glob
import json
import os
import re
import sys

from cluster import Cluster, SqlError, skip_without
from tap import Tap
from transition import APP, Database, message, task, token

skip_without("initdb", "psql")
tap = Tap()
STATEMENTS = os.path.join(os.environ["abs_top_srcdir"], "sql", "statement", "*.sql")

# They only read, or are tested twice where they can be: see the reasons.
OTHERS = {
    "now_ms": "reads",
    "bell_channel": "reads",
    "bell_listen": "writes nothing: tests/inbox/hosts.py",
    "message_id": "reads",
    "sent_seq": "reads",
    "agent_pause_document": "reads",
    "waits_since": "reads",
    "scopes_of": "reads",
    "use_is_news": "reads",
    "credential_check": "reads",
    "metrics": "reads",
    "message_look": "reads",
    "message_fates": "reads",
    "oldest_transaction": "reads only: tests/ctl/doctor.py",
    "disk_probe": "writes a temporary file only: tests/http/health.py",
    "metric_fold": "tests/gateway/metrics.py",
    "inbox_overdue": "reads",
    "presence_changes": "reads",
    "workflow_fence": "reads, and locks",
    "bridge": "tests/function/bridge.py",
    "migrate": "tests/ctl/migrate.py",
    "prune": "tests/sweeper/retention.py",
    "prune_preview": "reads",
}
# What the second call may move: a lease that is asked for again is longer, a subscription newer.
MAY_MOVE = {"inbox_extend": {"due_at"}, "inbox_resume": {"epoch"}, "inbox_subscribe": {"epoch"}}
LAST_HOUR = "openclaw.now_ms() - 3600000"
ROWS = {}


def row(function):
    """Registers what sets up, and returns, a call of the function it is named after (up to the __)."""
    ROWS[function.__name__] = function
    return function


def delivery(db, key="m1"):
    db.commit(message(key))
    [one] = db.claim()
    return one


def running(db, *ids, executor="x1"):
    """Workflows under way; returns the token of the last one."""
    db.register(executor)
    works = [task(identity) for identity in ids]
    db.commit(*works, executor=executor)
    return works[-1]["token"]


@row
def agent_provision(db):
    db.run("delete from openclaw.agent where agent_id = 'carol'")
    return lambda: db.call("agent_provision", agent="carol")


def credential(db):
    """A credential of alice's."""
    db.run(
        "insert into openclaw.credential (token_sha256, principal_id)"
        " values (repeat('a', 64), 'alice')"
    )
    return db.value("select credential_id from openclaw.credential")


@row
def credential_rotate(db):
    old = credential(db)
    return lambda: db.call(
        "credential_rotate", principal="alice", replaced=old, token_sha256="b" * 64, lives_ms=None,
        overlap_ms=1000, scopes=["send"],
    )  # fmt: skip


@row
def credential_used(db):
    token = credential(db)
    return lambda: db.call("credential_used", credential=token)


@row
def credential_revoke(db):
    credential(db)
    return lambda: db.call("credential_revoke", principal="alice", credential=None)


def adds_ticket(db):
    identity = credential(db)
    return lambda: db.call(
        "ticket_add", credential=identity, ticket_sha256="c" * 64, scopes=["send"],
        lives_ms=60_000, max=2,
    )  # fmt: skip


@row
def ticket_add(db):
    return adds_ticket(db)


@row
def ticket_redeem(db):
    adds_ticket(db)()
    return lambda: db.call("ticket_redeem", ticket_sha256="c" * 64)


@row
def agent_change(db):
    change = {"name": "Bob", "status": "paused", "heartbeat": {"enabled": True, "interval": "5m"}}
    version = db.value("select version from openclaw.agent where agent_id = 'bob'")
    return lambda: db.call(
        "agent_change", by="root", agent="bob", change=json.dumps(change), match=[version]
    )


@row
def agent_change__heartbeat(db):
    change = {"status": "active", "heartbeat": {"enabled": True, "interval": "2h"}}
    return lambda: db.call(
        "agent_change", by="root", agent="bob", change=json.dumps(change), match=None
    )


@row
def agent_bridge(db):
    return lambda: db.call("agent_bridge", agent="bob", queue="q", workflow="w", application=None)


@row
def agent_pause(db):
    db.run("update openclaw.agent set status = 'active'")
    return lambda: db.call("agent_pause", by="root", agent="bob", status="paused", reason="night")


@row
def agent_delete(db):
    db.provision("dora")
    db.commit(message("m1", to="dora"))
    return lambda: db.call("agent_delete", by="root", agent="dora", match=None)


def beats(db):
    db.run(
        "update openclaw.agent set status = 'active', heartbeat_workflow = 'alice:h1',"
        """ heartbeat = '{"enabled":true}'"""
    )
    return {"agent": "bob", "by": "root", "parent": "alice:h1"}


@row
def heartbeat_plan(db):
    arguments = beats(db)
    return lambda: db.call("heartbeat_plan", **arguments)


@row
def heartbeat_mend(db):
    db.run(
        "update openclaw.agent set status = 'active', heartbeat_workflow = 'gone',"
        """ heartbeat = '{"enabled":true}'"""
    )
    return lambda: db.call("heartbeat_mend")


@row
def heartbeat_begin(db):
    beats(db)
    return lambda: db.call("heartbeat_begin", agent="bob", workflow="alice:h1")


@row
def heartbeat_record(db):
    return lambda: db.call(
        "heartbeat_record", workflow="alice:h1", agent="bob", status="completed", response='"ok"',
        reason=None, started=1,
    )  # fmt: skip


@row
def conversation_add(db):
    return lambda: db.call(
        "conversation_add", principal="alice", conversation="c1", agent="bob", workspace=None,
        user=None, message="m1", role="user", content="hello", workflow="alice:w1", history=True, auto_provision=False,
    )  # fmt: skip


@row
def executor_register(db):
    return lambda: db.register("x1")


@row
def presence_list(db):
    db.register("x1")
    return lambda: db.call("presence_list", suspect_ms=60000, limit=10, watcher="x1", viewer=None, sends=True)


@row
def session_open(db):
    return lambda: db.call(
        "session_open", executor="x1", kind="session", host="h1", pid=1, pid_started=1, principal="alice",
        client='{"id":"c1"}', suspect_ms=60000, limit=32, watcher="x1", viewer=None, sends=True,
    )  # fmt: skip


@row
def executor_reap(db):
    running(db, "alice:w1")
    return lambda: db.call("executor_reap", executors=["x1"])


@row
def workflow_recover(db):
    running(db, "alice:w1")
    return lambda: db.call("workflow_recover", executors=["x1"])


@row
def workflow_adopt(db):
    running(db, "alice:w1")
    db.run("delete from openclaw.executor")
    return lambda: db.call("workflow_adopt", name=["greet"])


@row
def workflow_claim(db):
    running(db, "alice:w1")
    db.call("workflow_recover", executors=["x1"])
    mine = token()
    return lambda: db.call(
        "workflow_claim", executor="x2", token=mine, name=["greet"], max_recovery=9
    )


@row
def workflow_give_back(db):
    running(db, "alice:w1")
    return lambda: db.call("workflow_give_back", executor="x1", running=[])


@row
def workflow_commit(db):
    work = message("m1")
    return lambda: db.commit(work)


@row
def workflow_wake(db):
    db.commit(task("alice:w1", status="DELAYED", delay=0))
    return lambda: db.call("workflow_wake")


@row
def carrier_withdraw(db):
    db.commit(message("m1"))
    db.run("update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid = 'alice:m1'")
    return lambda: db.call("carrier_withdraw")


@row
def schedule_fire(db):
    db.run(
        "insert into dbos_system.workflow_schedules (schedule_id, schedule_name, workflow_name, schedule,"
        f" context, application_name, automatic_backfill, last_fired_at) values ('s', 's', 'greet', '@daily',"
        f" 'null', '{APP}', true, openclaw.iso({LAST_HOUR} - 86400000))"
    )
    return lambda: db.call("schedule_fire", name=["greet"])


@row
def workflow_expire(db):
    running(db, "alice:w1")
    db.run(
        "update dbos_system.workflow_status set workflow_deadline_epoch_ms = 1"
        " where workflow_uuid = 'alice:w1'"
    )
    return lambda: db.call("workflow_expire")


def manages(db, verb, again=None, **options):
    """`again`: the SQLSTATE with which the second call is refused."""
    arguments = {
        "principal": None, "verb": verb, "id": "alice:w1", "step": 0, "new_id": None,
        "queue": None, "children": False, "version": None, "attributes": None, **options,
    }  # fmt: skip
    running(db, "alice:w1")
    if verb != "cancel":
        db.call("workflow_manage", **dict(arguments, verb="cancel", new_id=None))

    def call():
        try:
            db.call("workflow_manage", **arguments)
        except SqlError as error:
            if error.sqlstate != again:
                raise

    return call


@row
def workflow_manage__cancel(db):
    return manages(db, "cancel")


@row
def workflow_manage__resume(db):
    return manages(db, "resume")


@row
def workflow_manage__fork(db):
    return manages(db, "fork", new_id="alice:fork")


@row
def workflow_manage__restart(db):
    return manages(db, "restart", new_id="alice:fork")


@row
def workflow_manage__rewind(db):
    return manages(db, "rewind", new_id="request-1")


@row
def workflow_manage__rewind_anew(db):
    return manages(db, "rewind", again="OC005")  # another request: it has not ended any more


@row
def workflow_manage__delete(db):
    return manages(db, "delete", new_id="request-1")


@row
def workflow_manage__delete_anew(db):
    return manages(db, "delete", again="OC002")  # another request: it is gone


def awaits(db, kind, target, key):
    mine = running(db, "alice:w1")
    arguments = {
        "id": "alice:w1", "token": mine, "kind": kind, "step": 1, "marker": 0,
        "target": target, "key": key, "timeout_ms": 60_000,
    }  # fmt: skip
    return lambda: db.call("workflow_await", **arguments)


@row
def workflow_await__taken(db):
    call = awaits(db, "DBOS.recv", "alice:w1", "t")
    db.run("select dbos_system.send_message('alice:w1', '1', 't')")
    db.run("select dbos_system.send_message('alice:w1', '2', 't')")
    return call


@row
def workflow_await__parked(db):
    call = awaits(db, "DBOS.getEvent", "alice:w1", "e")

    def parks():
        try:
            call()
        except SqlError as error:  # the second time it is no longer its own
            assert error.sqlstate == "OC001", error

    return parks


@row
def step_send(db):
    running(db, "alice:w1", "alice:w2")
    return lambda: db.call(
        "step_send", id="alice:w1", step=0, destination="alice:w2", topic="t", message="1"
    )


@row
def step_sleep(db):
    running(db, "alice:w1")
    return lambda: db.call("step_sleep", id="alice:w1", step=0, ms=1000)


@row
def step_stream(db):
    running(db, "alice:w1")
    return lambda: db.call(
        "step_stream", id="alice:w1", step=0, name="DBOS.writeStream", key="k", value="1"
    )


@row
def step_child(db):
    running(db, "alice:w1")
    arguments = {
        "id": "alice:w1", "step": 0, "child": "alice:w1-0", "name": "greet",
        "child_app": APP, "queue": "_dbos_internal_queue", "input": "{}",
    }  # fmt: skip
    return lambda: db.call("step_child", **arguments)


@row
def inbox_subscribe(db):
    db.register("s1")
    return lambda: db.subscribe()


@row
def inbox_unsubscribe(db):
    db.register("s1")
    epoch = db.subscribe(executor="s1")["epoch"]
    db.commit(message("m1"))
    db.claim(epoch=epoch, holder="s1")
    return lambda: db.call("inbox_unsubscribe", agent="bob", executor="s1", call=2)


@row
def inbox_resume(db):
    db.register("s1")
    epoch = db.subscribe(executor="s1")["epoch"]
    db.commit(message("m1"))
    db.claim(epoch=epoch, holder="s1")
    return lambda: db.call("inbox_resume", agent="bob", executor="s1", epoch=epoch, known=[], call=1)


@row
def inbox_claim(db):
    db.commit(message("m1"), message("m2"))
    return lambda: db.claim()


@row
def inbox_claims(db):
    db.commit(message("m1"), message("m2"))
    return lambda: db.call(
        "inbox_claims", agent=["bob"], holder=["s1"], epoch=[None], max_in_flight=[None], limit=[10],
        lease_ms=[30_000], token=["t1"], known=[None],
    )  # fmt: skip


@row
def inbox_give_back(db):
    db.register("s1", principal="bob")
    db.subscribe(executor="s1")
    [answer] = db.commit(message("m1"), host="here")
    return lambda: db.call("inbox_give_back", delivery=[answer["hand_over"].split()[-1]])


@row
def inbox_handed(db):
    one = delivery(db)
    return lambda: db.handed(one)


@row
def inbox_extend(db):
    one = delivery(db)
    return lambda: db.call(
        "inbox_extend", agent="bob", seq=[one["inbox_seq"]], delivery=[one["delivery_id"]],
        lease_ms=60_000,
    )  # fmt: skip


@row
def inbox_ack(db):
    one = delivery(db)
    return lambda: db.ack(one)


@row
def inbox_nack(db):
    one = delivery(db)
    return lambda: db.nack(one)


@row
def inbox_expire_leases(db):
    delivery(db)
    db.run(f"update openclaw.inbox set due_at = {LAST_HOUR}")
    return lambda: db.call("inbox_expire_leases")


def foreign(db):
    db.run("select dbos_system.send_message('agent:bob', '1', message_id => 'f1')")
    db.run(f"update openclaw.inbox set expires_at = {LAST_HOUR}")


@row
def inbox_expire_foreign(db):
    foreign(db)
    return lambda: db.call("inbox_expire_foreign")


@row
def inbox_count(db):
    db.commit(message("m1"))
    return lambda: db.call("inbox_count")


@row
def message_review(db):
    db.commit(message("m1", ttl=1))
    db.run(f"update openclaw.inbox set expires_at = {LAST_HOUR}")
    seq = db.value("select inbox_seq from openclaw.inbox")
    return lambda: db.call("message_review", seq=seq, id="alice:m1")


def dead(db):
    db.nack(delivery(db), requeue=False)
    return {"by": "root", "all": True, "recipient": None, "sender": None, "message": ["alice:m1"]}


@row
def dead_letter_redrive(db):
    arguments = dead(db)
    return lambda: db.call("dead_letter_redrive", fork=["fork-1"], **arguments)


@row
def dead_letter_purge(db):
    arguments = dead(db)
    return lambda: db.call("dead_letter_purge", **arguments)


def each(db, duty):
    return lambda: db.call("sweep_each", duty=duty)


@row
def sweep_each__wake(db):
    workflow_wake(db)
    return each(db, "wake")


@row
def sweep_each__deadlines(db):
    workflow_expire(db)
    return each(db, "deadlines")


@row
def sweep_each__leases(db):
    inbox_expire_leases(db)
    return each(db, "leases")


@row
def sweep_each__foreign(db):
    foreign(db)
    return each(db, "foreign")


# besides those of db.state()
MORE_TABLES = (
    "dbos_system.streams",
    "dbos_system.workflow_schedules",
    "openclaw.audit",
    "openclaw.conversation",
    "openclaw.conversation_message",
    "openclaw.credential",
    "openclaw.ended_carrier",
    "openclaw.heartbeat",
    "openclaw.inbox_bound",
    "openclaw.inbox_depth",
    "openclaw.schedule",
    "openclaw.ticket",
    "openclaw.waiting",
)


def state(db, may_move):
    """Every row, and of these also the tables that db.state() has no need of."""
    answer = db.state()
    for table in MORE_TABLES:
        rows = db.rows(f"select * from {table}")
        answer[table] = sorted(json.dumps(r, sort_keys=True) for r in rows)
    for table, rows in answer.items():
        kept = [{k: v for k, v in json.loads(r).items() if k not in may_move} for r in rows]
        answer[table] = sorted(json.dumps(r, sort_keys=True) for r in kept)
    return answer


def called_by_statements():
    names = set()
    for path in glob.glob(STATEMENTS):
        with open(path, encoding="utf-8") as file:
            names.update(re.findall(r"openclaw\.([a-z_]+)\(", file.read()))
    return names


def main():
    called = called_by_statements()
    listed = {name.partition("__")[0] for name in ROWS} | set(OTHERS)
    tap.ok(len(called) > 30, "the statements name their functions", len(called))
    tap.equal(sorted(called - listed), [], "every function that a statement calls is called twice")
    tap.equal(sorted(listed - called), [], "and no other is listed")
    with Cluster() as cluster, Database(cluster) as db:
        db.provision("alice", "bob")
        for name, prepare in ROWS.items():
            may_move = {"counted_at"} | MAY_MOVE.get(name.partition("__")[0], set())
            db.clear()
            db.run(f"truncate {', '.join(MORE_TABLES)}")
            call = prepare(db)
            start = state(db, set())
            call()
            first = state(db, may_move)
            exact = state(db, set())
            try:
                call()
            except SqlError as error:
                tap.ok(False, f"{name}: may be called twice", str(error))
            second = state(db, may_move)
            tap.ok(start != exact, f"{name}: there is something to do")
            changed = [
                f"{table}: {sorted(set(first[table]) ^ set(second[table]))}"
                for table in first
                if first[table] != second[table]
            ]
            tap.ok(not changed, f"{name}: a second call changes nothing", "\n".join(changed))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

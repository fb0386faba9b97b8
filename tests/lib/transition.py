# SPDX-License-Identifier: MIT
"""Call the functions of schema openclaw as the programs do, from Python.

    with Database(cluster) as db:                   # a fresh database with our schema
        db.provision("alice", "bob")
        [answer] = db.commit(message("k1", to="bob", sender="alice"))   -> a dict per workflow
        db.call("inbox_claim", agent="bob", holder="s1", epoch=None, …) -> a list of dicts
        db.rows("select …"), db.row("select …"), db.value("select …")   typed as JSON types
        db.twice(tap, "what", lambda: db.call(…))   the second call must change nothing
        db.another()                                a second connection to the same database

Parameters are named without their p_ and cast to the types that the catalog knows; those a test
does not care about come from DEFAULTS.  A workflow for commit() is a dict: see message().
"""

import itertools
import json

from cluster import Cluster, SqlError
from schema import install

APP = "openclaw-gateway"
VERSION = "openclaw-1"
DAY = 86_400_000
DEFAULTS = {
    "app": APP,
    "version": VERSION,
    "legacy": True,
    "executor": "executor-1",
    "auto_provision": False,
    "inbox_limit": 10_000,
    "base_ms": 500,
    "max_ms": 60_000,
    "limit": 100,
    "by": "tester",
    "token": None,
    "host": None,
    "known": None,
}
AGENTS = "agent:%"
# columns that a repeated call may move without any effect that a client could see
UNSTEADY = {"updated_at", "seen_at", "counted_at", "version_timestamp"}
TABLES = {
    "dbos_system": [
        "workflow_status",
        "workflow_input",
        "workflow_output",
        "operation_outputs",
        "notifications",
        "workflow_events",
        "workflow_events_history",
    ],
    "openclaw": ["principal", "agent", "executor", "subscription", "inbox", "dispatch"],
}

_tokens = itertools.count(1)


def token():
    return f"token-{next(_tokens):08d}"


def literal(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "array[" + ", ".join(literal(v) for v in value) + "]" if value else "'{}'"
    return "'" + str(value).replace("'", "''") + "'"


def step(number, name, output="null", error=None, source=None):
    return {"id": number, "name": name, "output": output, "error": error, "from": source}


def message(key, to="bob", sender="alice", content="hello", **options):
    """The workflow that carries a message, as routeAgentMessage starts it: parked at step 2."""
    body = {"to": to, "content": content}
    work = {
        "id": f"{sender}:{key}",
        "name": "routeAgentMessage",
        "start": True,
        "token": token(),
        "principal": sender,
        "input": json.dumps({"positionalArgs": [body], "namedArgs": {}}),
        "status": "DELAYED",
        "delay": options.get("ttl", DAY),
        "steps": [step(0, "validateMessage", '{"ok":true}')],
        "sends": [
            {
                "step": 1,
                "name": "storeMessage",
                "to": to,
                "id": f"{sender}:{key}",
                "message": json.dumps(dict(body, **{"from": sender})),
                "from": sender,
                "await": 2,
                "waiter": options.get("waiter"),
                "expects_reply": options.get("expects_reply", 0),
                "priority": options.get("priority", 0),
                "max_attempts": options.get("max_attempts", 10),
                "delay": options.get("delay", 0),
                "ttl": options.get("ttl", DAY),
            }
        ],
        "events": [(1, "accepted", None)],
    }
    return work


def task(identity, status="PENDING", name="greet", principal="alice", **fields):
    """A workflow of pure steps."""
    work = {
        "id": identity,
        "name": name,
        "start": True,
        "token": token(),
        "principal": principal,
        "input": '{"positionalArgs":[{"n":1}],"namedArgs":{}}',
        "status": status,
    }
    work.update(fields)
    return work


def commit_arguments(works):
    def column(name, default=None):
        return [w.get(name, default) for w in works]

    steps = [(n, s) for n, w in enumerate(works, 1) for s in w.get("steps", [])]
    sends = [(n, s) for n, w in enumerate(works, 1) for s in w.get("sends", [])]
    events = [(n, e) for n, w in enumerate(works, 1) for e in w.get("events", [])]
    numbers = ("expects_reply", "priority", "max_attempts", "delay", "ttl")
    return {
        "id": column("id"),
        "name": column("name"),
        "start": column("start", False),
        "token": column("token"),
        "principal": column("principal"),
        "input": column("input"),
        "status": column("status"),
        "delay": column("delay"),
        "output": column("output"),
        "error": column("error"),
        "step_of": [n for n, _ in steps],
        "step_id": [s["id"] for _, s in steps],
        "step_name": [s["name"] for _, s in steps],
        "step_output": [s["output"] for _, s in steps],
        "step_error": [s["error"] for _, s in steps],
        "step_from": [s["from"] for _, s in steps],
        "step_age": [0 for _ in steps],
        "step_took": [0 for _ in steps],
        "send_of": [n for n, _ in sends],
        "send_step": [s["step"] for _, s in sends],
        "send_name": [s["name"] for _, s in sends],
        "send_to": [s["to"] for _, s in sends],
        "send_id": [s["id"] for _, s in sends],
        "send_message": [s["message"] for _, s in sends],
        "send_from": [s["from"] for _, s in sends],
        "send_await": [s["await"] for _, s in sends],
        "send_waiter": [s["waiter"] for _, s in sends],
        "send_options": [s[name] for _, s in sends for name in numbers],
        "event_of": [n for n, _ in events],
        "event_step": [e[0] for _, e in events],
        "event_key": [e[1] for _, e in events],
        "event_value": [e[2] for _, e in events],
        "attributes": column("attributes"),
    }


class Connection:
    """One connection; a statement's answer comes back as JSON types."""

    def __init__(self, cluster, database, signatures=None):
        self.cluster = cluster
        self.database = database
        self.session = cluster.session(database)
        self.pid = self.session.pid
        self.signatures = signatures or self._signatures()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.session.close()

    def _signatures(self):
        rows = self.rows(
            "select p.proname as name, p.proargnames[1:p.pronargs] as arguments,"
            " array(select t::regtype::text from unnest(p.proargtypes) t) as types"
            " from pg_proc p where p.pronamespace = 'openclaw'::regnamespace"
        )
        return {r["name"]: dict(zip(r["arguments"] or [], r["types"])) for r in rows}

    def another(self):
        return Connection(self.cluster, self.database, self.signatures)

    # --- any statement

    def run(self, sql):
        return self.session.run(sql)

    @staticmethod
    def _as_json(sql):
        return f"with q as materialized ({sql}) select coalesce(json_agg(q), '[]') from q"

    def rows(self, sql):
        return json.loads(self.session.run(self._as_json(sql)))

    def row(self, sql):
        rows = self.rows(sql)
        assert len(rows) == 1, f"{len(rows)} rows, expected one: {sql}"
        return rows[0]

    def value(self, sql):
        return next(iter(self.row(sql).values()))

    # --- our functions

    def text_of_call(self, function, arguments):
        types = self.signatures[function]
        parts = []
        for name, kind in types.items():
            bare = name[2:]
            assert bare in arguments or bare in DEFAULTS, f"{function}: {name} is not given"
            value = arguments[bare] if bare in arguments else DEFAULTS[bare]
            parts.append(f"{name} => {literal(value)}::{kind}")
        unknown = set(arguments) - {name[2:] for name in types}
        assert not unknown, f"{function} has no {unknown}"
        return f"select * from openclaw.{function}({', '.join(parts)})"

    def call(self, function, **arguments):
        return self.rows(self.text_of_call(function, arguments))

    def send(self, function, **arguments):
        """Start a call without waiting; finish() gives its rows."""
        self.session.send(self._as_json(self.text_of_call(function, arguments)))

    def finish(self):
        return json.loads(self.session.finish())

    def waits_for_lock(self):
        self.session.waits_for_lock()

    # --- what tests do all the time

    def provision(self, *agents):
        for agent in agents:
            self.call("agent_provision", agent=agent)

    def commit(self, *works, **options):
        rows = self.call("workflow_commit", **commit_arguments(works), **options)
        return sorted(rows, key=lambda r: r["ord"])

    def send_commit(self, *works, **options):
        self.send("workflow_commit", **commit_arguments(works), **options)

    def claim(
        self,
        agent="bob",
        holder="s1",
        epoch=None,
        max_in_flight=None,
        limit=100,
        lease_ms=30_000,
        **token,
    ):
        """The deliveries only: without one an empty list."""
        rows = self.call(
            "inbox_claim",
            agent=agent,
            holder=holder,
            epoch=epoch,
            max_in_flight=max_in_flight,
            limit=limit,
            lease_ms=lease_ms,
            **token,
        )
        return [r for r in rows if r["inbox_seq"] is not None]

    def ack(self, *deliveries, agent="bob", response=None):
        return self.call(
            "inbox_ack",
            agent=[agent for _ in deliveries],
            seq=[d["inbox_seq"] for d in deliveries],
            delivery=[d["delivery_id"] for d in deliveries],
            response=[response for _ in deliveries],
        )

    def nack(self, delivery, agent="bob", delay_ms=None, requeue=True, reason="no"):
        return self.call(
            "inbox_nack",
            agent=agent,
            seq=delivery["inbox_seq"],
            delivery=delivery["delivery_id"],
            delay_ms=delay_ms,
            requeue=requeue,
            reason=reason,
        )

    def handed(self, *deliveries):
        return self.call(
            "inbox_handed",
            seq=[d["inbox_seq"] for d in deliveries],
            delivery=[d["delivery_id"] for d in deliveries],
        )

    def register(self, *executors, kind="session", host="here", principal=None):
        for executor in executors:
            self.call(
                "executor_register",
                executor=executor,
                kind=kind,
                host=host,
                pid=1,
                pid_started=1,
                principal=principal,
                client=None,
            )

    def subscribe(
        self, agent="bob", executor="s1", exclusive=False, max_in_flight=10, lease_ms=30_000, call=1
    ):
        [row] = self.call(
            "inbox_subscribe",
            agent=agent,
            executor=executor,
            consumer=None,
            exclusive=exclusive,
            max_in_flight=max_in_flight,
            lease_ms=lease_ms,
            call=call,
        )
        return row

    def workflow(self, identity):
        """The workflow, its output or error, its steps and its events in one dict."""
        return self.row(
            "select w.workflow_uuid, w.status, w.executor_id, w.owner_xid, w.recovery_attempts,"
            " w.queue_name, w.delay_until_epoch_ms, w.completed_at, w.serialization,"
            " w.output as legacy_output, w.error as legacy_error, w.authenticated_user,"
            " i.inputs, o.output, o.error,"
            " coalesce((select json_agg(s order by s.function_id)"
            "   from dbos_system.operation_outputs s where s.workflow_uuid = w.workflow_uuid), '[]') as steps,"
            " coalesce((select json_object_agg(e.key, e.value::json)"
            "   from dbos_system.workflow_events e where e.workflow_uuid = w.workflow_uuid), '{}') as events"
            " from dbos_system.workflow_status w"
            " left join dbos_system.workflow_input i using (workflow_uuid)"
            " left join dbos_system.workflow_output o using (workflow_uuid)"
            f" where w.workflow_uuid = {literal(identity)}"
        )

    def inbox(self, identity):
        return self.row(f"select * from openclaw.inbox where message_uuid = {literal(identity)}")

    def clear(self):
        """No messages, workflows or executors; the agents and their mailboxes stay."""
        self.run(
            "truncate openclaw.inbox, openclaw.subscription, openclaw.inbox_bound, openclaw.inbox_depth,"
            " openclaw.dispatch;"
            " delete from openclaw.executor;"
            " delete from dbos_system.workflow_status where name <> 'agent';"
            " delete from dbos_system.notifications; delete from dbos_system.operation_outputs;"
            " delete from dbos_system.workflow_output"
        )

    def count(self, table, where="true"):
        return self.value(f"select count(*) from {table} where {where}")

    def state(self):
        """Every row of every table, without the columns that may move without effect."""
        answer = {}
        for schema, tables in TABLES.items():
            for table in tables:
                rows = self.rows(f"select * from {schema}.{table}")
                kept = [{k: v for k, v in r.items() if k not in UNSTEADY} for r in rows]
                answer[table] = sorted(json.dumps(r, sort_keys=True) for r in kept)
        return answer

    def twice(self, tap, name, call):
        """Call, and call again: the second time must change nothing.  Returns both answers."""
        first = call()
        before = self.state()
        second = call()
        after = self.state()
        changed = [
            f"{table}: {sorted(set(before[table]) ^ set(after[table]))}"
            for table in before
            if before[table] != after[table]
        ]
        tap.ok(not changed, f"{name}: a second call changes nothing", "\n".join(changed))
        return first, second


class Database(Connection):
    """A cluster's fresh database with our schema; dropped at the end."""

    _numbers = itertools.count(1)

    def __init__(self, cluster):
        name = f"transition{next(self._numbers)}"
        cluster.create_database(name)
        install(cluster, name)
        super().__init__(cluster, name)


__all__ = [
    "APP",
    "Cluster",
    "Connection",
    "DAY",
    "Database",
    "SqlError",
    "VERSION",
    "commit_arguments",
    "literal",
    "message",
    "step",
    "task",
    "token",
]


class Holding:
    """A connection in a transaction: what it calls is done but not committed until the end."""

    def __init__(self, db):
        self.connection = db.another()

    def __enter__(self):
        self.connection.run("begin")
        return self.connection

    def __exit__(self, kind, *_):
        if kind is None:
            self.connection.run("commit")
        self.connection.close()

# SPDX-License-Identifier: MIT
"""Millions of settled messages, made by SQL, and a second, empty stack to compare with."""

import hashlib
import secrets
import time

from machine import Failed
from stack import Stack

STEP = 250_000
TABLES = (
    "dbos_system.workflow_status",
    "dbos_system.workflow_input",
    "dbos_system.workflow_output",
    "dbos_system.operation_outputs",
    "dbos_system.notifications",
    "dbos_system.workflow_events",
    "dbos_system.workflow_events_history",
    "openclaw.inbox",
)
# A message as the gateway leaves it, over and over: every column of every row, but for its id and times.
MODEL = "select message_uuid from openclaw.inbox where state = 'acked' order by inbox_seq desc limit 1"
COPY = """
    insert into {table} ({columns})
    {overriding}
    select {values}
    from generate_series(0, {step} - 1) g
    cross join {table} m
    where m.{key} = '{model}'
"""


def columns(setting, table):
    return setting.stack.value(
        f"select string_agg(quote_ident(attname), ',' order by attnum) from pg_attribute"
        f" where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped and attgenerated = ''"
    ).split(",")


def statement(setting, table, model, first, step):
    identity = f"to_char({first} + g, 'FM00000000') || '-0000-7000-8000-000000000000'"
    replaced = {"workflow_uuid": identity, "message_uuid": identity, "inbox_seq": f"{first} + g - 1000000000"}
    names = columns(setting, table)
    return COPY.format(
        table=table,
        columns=",".join(names),
        values=",".join(replaced.get(name, f"m.{name}") for name in names),
        step=step,
        key="message_uuid" if table.endswith(("inbox", "notifications")) else "workflow_uuid",
        model=model,
        overriding="overriding system value" if table.endswith("inbox") else "",
    )


def fill(setting, rows):
    """The main stack's database gets so many settled messages; indexes are made again at the end."""
    model = setting.stack.value(MODEL)
    if not model:
        raise Failed("no message has been settled that could be copied")
    indexes = setting.superuser(
        "select format('drop index %s', indexrelid::regclass) || '|' || pg_get_indexdef(indexrelid)"
        f" from pg_index where indrelid = any ('{{{','.join(TABLES)}}}'::regclass[]) and not indisprimary and not indisunique",
        "openclaw",
    ).splitlines()
    drop, make = zip(*(line.split("|", 1) for line in indexes))
    began = time.monotonic()
    setting.superuser(";\n".join(drop), "openclaw")
    for first in range(0, rows, STEP):
        step = min(STEP, rows - first)
        statements = [statement(setting, table, model, first, step) for table in TABLES]
        # replica: neither foreign keys nor the feeding of the inbox look at each row
        setting.superuser(
            "set session_replication_role = replica; set synchronous_commit = off;\n" + ";\n".join(statements), "openclaw"
        )
        setting.say(f"{first + step} of {rows} settled messages, {time.monotonic() - began:.0f} s")
    for number, sql in enumerate(make, 1):
        setting.superuser("set maintenance_work_mem = '1GB'; set max_parallel_maintenance_workers = 1; " + sql, "openclaw")
        setting.say(f"{number} of {len(make)} indexes, {time.monotonic() - began:.0f} s")
    setting.superuser("vacuum (freeze, analyze)", "openclaw")
    setting.superuser("checkpoint", "openclaw")
    setting.say(f"vacuumed, {time.monotonic() - began:.0f} s")


def size(setting):
    return {"database_mb": round(int(setting.stack.value("select pg_database_size('openclaw')")) / 1e6)}


class Beside:
    """Fills the main stack, and starts an empty one beside it."""

    def __init__(self, setting):
        self.setting = setting

    def __enter__(self):
        setting = self.setting
        tokens = setting.tokens(1, 1, first=430)
        from works import wsload

        wsload(setting, "gateway", "pairs", 1, 1, tokens)
        fill(setting, setting.rows)
        self.stack = Stack(settings=setting.settings, environment=setting.environment)
        self.agent, self.token = "bench", "ocg_" + secrets.token_urlsafe(32)
        digest = hashlib.sha256(self.token.encode()).hexdigest()
        self.stack.execute(
            f"select openclaw.agent_provision('{self.agent}', 'openclaw-gateway', 'openclaw-1');"
            f"insert into openclaw.credential (token_sha256, principal_id) values ('{digest}', '{self.agent}')"
        )
        self.url = self.stack.url
        return self

    def __exit__(self, *_):
        self.stack.close()

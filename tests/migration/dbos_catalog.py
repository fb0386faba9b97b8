#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Our DBOS system schema is the one that the official SDK makes, but for what is listed here.

The SDK (pinned in tests/node) makes its schema; ours is made from sql/migration.  The catalogs
must be equal, from an empty database and from every version that gatewayctl migrate upgrades:
there, the SDK's own migrations make the old version, and ours take it to 123.
"""

import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "ctl")]

import catalog
import node
import programs
import schema
from cluster import Cluster, skip_without
from tap import Tap, diagnose

SCHEMA = schema.DBOS_SCHEMA
VERSION = 123
UPGRADES_FROM = 100

VACUUM = "dead rows of a hot table are vacuumed by number, not by a fifth of the table"

# Differences on purpose: (object, what the difference looks like, why).
ALLOWED = [
    (
        "trigger dbos_system.notifications.dbos_notifications_trigger",
        r"^definition: .*WHEN \(\(new\.destination_uuid !~~ 'agent:%'::text\)\)",
        "NOTIFY takes a database-wide lock at commit, and nobody listens for our mailboxes",
    ),
    (
        "table notifications",
        r"^reloptions: ours \{fillfactor=90,autovacuum_[a-z_=.0-9,]*\}, theirs None$",
        "marking a message consumed becomes a HOT update; " + VACUUM,
    ),
    (
        "table workflow_status",
        r"^reloptions: ours \{autovacuum_[a-z_=.0-9,]*\}, theirs None$",
        VACUUM,
    ),
    (
        "trigger dbos_system.notifications.openclaw_inbox_feed",
        r"^only ours has it$",
        "what a DBOS client sends to a mailbox gets its delivery state here",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_carrier_cancelled",
        r"^only ours has it$",
        "a message whose workflow a DBOS client cancels is withdrawn",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_carrier_deleted",
        r"^only ours has it$",
        "a message whose workflow a DBOS client deletes is withdrawn",
    ),
    (
        "trigger dbos_system.operation_outputs.openclaw_reply_keep",
        r"^only ours has it$",
        "an agent's reply outlives the rewinding of the workflow that waited for it",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_mailbox_changed",
        r"^only ours has it$",
        "a mailbox that a DBOS client cancels or resumes stays a mailbox",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_mailbox_deleted",
        r"^only ours has it$",
        "a mailbox is not deleted while its agent is there: it holds what is unread",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_mailbox_forked",
        r"^only ours has it$",
        "a mailbox is not forked: two would claim the same messages",
    ),
    (
        "trigger dbos_system.workflow_status.openclaw_wake_kept",
        r"^only ours has it$",
        "setWorkflowDelay moves no wake of a workflow that sleeps",
    ),
]


def sdk_migrations():
    """{version: SQL}, as the SDK prints them for psql."""
    script = node.dbos_schema("--print-migrations", "all", "-s", SCHEMA)
    parts = re.split(r"^-- Migration (\d+).*$", script, flags=re.MULTILINE)
    return {int(number): sql for number, sql in zip(parts[1::2], parts[2::2])}


def check_catalog(tap, ours, theirs, allowed, name):
    found = catalog.differences(ours, theirs)
    unexpected = dict(found)
    for thing, pattern, _ in allowed:
        if thing in found and re.search(pattern, found[thing]):
            del unexpected[thing]
    tap.ok(
        not unexpected,
        name,
        "\n".join(f"{thing}: {what}" for thing, what in unexpected.items()),
    )
    return found


def versions(cluster, database):
    rows = cluster.rows(f"select version from {SCHEMA}.dbos_migrations", database)
    return [int(row["version"]) for row in rows]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check_step(tap, cluster, path, number):
    """One upgrade on its own: it records its version, and leaves functions that work."""
    cluster.apply(path, "upgraded")
    works = cluster.value(
        f"begin; select {SCHEMA}.enqueue_workflow('w', 'q') is not null as works; rollback",
        "upgraded",
    )
    recorded = versions(cluster, "upgraded")
    tap.ok(recorded == [number] and works == "t", f"upgrade {os.path.basename(path)}", recorded)


def check_gatewayctl(tap, cluster, ours):
    """gatewayctl migrate takes the SDK's oldest version that it accepts to what a fresh one is."""
    if not os.access(programs.CTL, os.X_OK):
        tap.skip("gatewayctl migrate", "gatewayctl is not built")
        return
    cluster.create_database("migrated", template="old")
    result = programs.ctl(cluster, "migrated", "migrate")
    tap.ok(result.code == 0, f"gatewayctl migrate from {UPGRADES_FROM}", result)
    migrated = catalog.read(cluster, "migrated", SCHEMA)
    check_catalog(tap, migrated, ours, [], "gatewayctl migrate: the schema is that of a fresh one")
    tap.equal(versions(cluster, "migrated"), [VERSION], "gatewayctl migrate: one row, 123")


def check_upgrades(tap, cluster, theirs, ours, fresh):
    """From each version: the SDK's own old state, then our restatements one by one."""
    steps = {
        int(os.path.basename(path).split("_")[0]): path
        for path in glob.glob(os.path.join(schema.SOURCE, "sql", "migration", "dbos", "*.sql"))
    }
    tap.equal(sorted(steps), list(range(UPGRADES_FROM + 1, VERSION + 1)), "one file per version")
    migrations = sdk_migrations()
    tap.equal(max(migrations), VERSION, f"the SDK's newest migration is {VERSION}")
    cluster.create_database("old")
    for number in sorted(n for n in migrations if n < UPGRADES_FROM):
        cluster.execute(migrations[number], "old")
    for start in range(UPGRADES_FROM, VERSION):
        cluster.execute(migrations[start], "old")
        cluster.create_database("upgraded", template="old")
        if start == UPGRADES_FROM:
            check_gatewayctl(tap, cluster, ours)
            for number in range(start + 1, VERSION + 1):
                check_step(tap, cluster, steps[number], number)
        else:
            cluster.execute(
                "".join(read(steps[number]) for number in range(start + 1, VERSION + 1)), "upgraded"
            )
        upgraded = catalog.read(cluster, "upgraded", SCHEMA)
        check_catalog(tap, upgraded, theirs, [], f"upgraded from {start}: the SDK's schema")
        if start == UPGRADES_FROM:
            sources = [
                cluster.rows(
                    "select proname, prosrc from pg_proc where pronamespace = "
                    f"'{SCHEMA}'::regnamespace and proname = 'enqueue_workflow'",
                    database,
                )
                for database in ("upgraded", fresh)
            ]
            tap.equal(sources[0], sources[1], "upgraded: enqueue_workflow is that of 0001")
        cluster.drop_database("upgraded")


def main():
    skip_without("initdb", "psql")
    node.skip_without(node.SDK)
    tap = Tap()
    with Cluster() as cluster:
        for database in ("theirs", "exact", "ours"):
            cluster.create_database(database)
        node.dbos_schema(cluster.url("theirs"), "-s", SCHEMA)
        theirs = catalog.read(cluster, "theirs", SCHEMA)
        tap.ok(len(theirs) > 150, f"the SDK made {len(theirs)} objects")

        cluster.apply(schema.dbos_files()[0], "exact")
        exact = catalog.read(cluster, "exact", SCHEMA)
        check_catalog(tap, exact, theirs, [], "0001 is the SDK's schema, without exception")
        tap.equal(versions(cluster, "exact"), [VERSION], "one row, 123")
        tap.equal(versions(cluster, "theirs"), [VERSION], "the SDK's is at 123, too")

        schema.install(cluster, "ours")
        ours = catalog.read(cluster, "ours", SCHEMA)
        found = check_catalog(tap, ours, theirs, ALLOWED, "installed: differs as listed")
        for thing, pattern, reason in ALLOWED:
            tap.ok(re.search(pattern, found.get(thing, "")), f"{thing}: {reason}", found.get(thing))

        schema.install(cluster, "theirs")
        adopted = catalog.read(cluster, "theirs", SCHEMA)
        check_catalog(tap, adopted, ours, [], "a schema that the SDK made becomes the same")

        check_upgrades(tap, cluster, theirs, ours, "exact")
        diagnose(f"{len(theirs)} objects compared, {len(ALLOWED)} differences allowed")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

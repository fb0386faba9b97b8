#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What 0001 and 0002 do to a database in each of the states in which they may find it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import catalog
import schema
from cluster import Cluster, SqlError, skip_without
from tap import Tap

SCHEMA = schema.DBOS_SCHEMA
REFUSED = "OC007"
DBOS_FILES = schema.dbos_files()


def state(cluster, database):
    """Catalogs and rows, with what would tell that a row was written again."""
    query = f"select *, xmin, ctid from {SCHEMA}.dbos_migrations"
    return catalog.read(cluster, database, SCHEMA), cluster.rows(query, database)


def apply_files(cluster, database, replace=None):
    for path in DBOS_FILES:
        cluster.apply(path, database, replace=replace)


def check_refusal(tap, cluster, name, sql, template=None):
    """0001 stops before it has changed anything."""
    cluster.create_database(name, template)
    cluster.execute(sql, name)
    before = catalog.read(cluster, name, SCHEMA)
    with tap.raises(SqlError, f"{name}: refused", sqlstate=REFUSED):
        cluster.apply(DBOS_FILES[0], name)
    changed = catalog.differences(catalog.read(cluster, name, SCHEMA), before)
    tap.equal(changed, {}, f"{name}: nothing changed")


def check_other_name(tap, cluster):
    cluster.create_database("renamed")
    apply_files(cluster, "renamed", {SCHEMA: "dbos"})
    renamed = {
        name.replace(" dbos.", f" {SCHEMA}."): {
            key: value and value.replace("dbos.", f"{SCHEMA}.") for key, value in row.items()
        }
        for name, row in catalog.read(cluster, "renamed", "dbos").items()
    }
    tap.equal(
        catalog.differences(renamed, state(cluster, "ours")[0]), {}, "another schema name: the same"
    )
    query = f"select count(*) from pg_namespace where nspname = '{SCHEMA}'"
    tap.equal(cluster.value(query, "renamed"), "0", "another schema name: no dbos_system")
    sent = cluster.value(
        "select dbos.enqueue_workflow('w', 'q', workflow_id => 'x') || "
        "dbos.send_message('x', '1')::text",
        "renamed",
    )
    tap.equal(sent, "x", "another schema name: the functions know it")


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Cluster() as cluster:
        cluster.create_database("ours")
        apply_files(cluster, "ours")
        first = state(cluster, "ours")
        tap.equal([row["version"] for row in first[1]], ["123"], "an empty database: one row, 123")
        query = "select count(*) from pg_extension where extname <> 'plpgsql'"
        tap.equal(cluster.value(query, "ours"), "0", "no extension is needed")

        call = f"select {SCHEMA}.enqueue_workflow('w', 'q', workflow_id => 'kept')"
        cluster.execute(call, "ours")
        apply_files(cluster, "ours")
        second = state(cluster, "ours")
        tap.equal(catalog.differences(second[0], first[0]), {}, "a second time: nothing changes")
        tap.equal(second[1], first[1], "a second time: dbos_migrations is not written")
        query = f"select count(*) from {SCHEMA}.workflow_status where workflow_uuid = 'kept'"
        tap.equal(cluster.value(query, "ours"), "1", "a second time: what was in it stays")

        version = f"update {SCHEMA}.dbos_migrations set version = "
        check_refusal(tap, cluster, "older", version + "122", "ours")
        check_refusal(tap, cluster, "newer", version + "124", "ours")
        check_refusal(tap, cluster, "unknown", f"delete from {SCHEMA}.dbos_migrations", "ours")
        foreign = f"create schema {SCHEMA}; create table {SCHEMA}.workflow_status (id int)"
        check_refusal(tap, cluster, "foreign", foreign)
        check_other_name(tap, cluster)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

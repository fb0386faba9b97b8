#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An application of the official SDK launches on our schema, applies nothing, and works."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import catalog
import node
import schema
from cluster import Bouncer, Cluster, skip_without
from tap import Tap

VERSION = "123"
WORKED = {
    "event": "hello world",
    "result": ["hello world", "bye"],
    "prompt": True,
    "stream": ["hello world"],
    "steps": ["say", "DBOS.setEvent", "DBOS.writeStream", "DBOS.closeStream", "DBOS.recv"],
    "status": "SUCCESS",
}


def launch(server, database, name, migrations, waiting):
    script = "tests/migration/dbos_launch.mjs"
    result = node.run(script, server.url(database), name, migrations, waiting)
    if not result.stdout.startswith("{"):
        return {"stdout": result.stdout, "stderr": result.stderr}
    return json.loads(result.stdout.splitlines()[-1])


def state(cluster, database, name):
    """The catalogs and the one row of dbos_migrations, with what would tell a rewrite."""
    row = cluster.rows(f"select version, xmin, ctid from {name}.dbos_migrations", database)
    return catalog.read(cluster, database, name), row


def main():
    skip_without("initdb", "psql")
    node.skip_without(node.SDK)
    tap = Tap()
    with Cluster() as cluster:
        for name in (schema.DBOS_SCHEMA, "dbos"):
            cluster.create_database(name)
            schema.install(cluster, name, name)
            before = state(cluster, name, name)
            tap.equal([row["version"] for row in before[1]], [VERSION], f"{name}: one row, 123")
            for migrations in ("verify", "migrate"):
                seen = launch(cluster, name, name, migrations, "listen")
                tap.equal(seen, WORKED, f"{name}: launches to {migrations}, and works")
                same = state(cluster, name, name) == before
                tap.ok(same, f"{name}: launched to {migrations}, the schema is as it was")

        name = schema.DBOS_SCHEMA
        with Bouncer(cluster) as bouncer:
            seen = launch(bouncer, name, name, "verify", "poll")
            tap.equal(seen, WORKED, "through PgBouncer in transaction mode, polling")

        # What the checks above rest on: the SDK does look at the version, and does migrate.
        cluster.execute(f"update {name}.dbos_migrations set version = 122", name)
        seen = launch(cluster, name, name, "verify", "listen")
        tap.ok("requires" in seen.get("error", ""), "at 122 the SDK would refuse", seen)
        seen = launch(cluster, name, name, "migrate", "listen")
        tap.equal(seen, WORKED, "at 122 the SDK would migrate, and finds its work done")
        version = cluster.value(f"select version from {name}.dbos_migrations", name)
        tap.equal(version, VERSION, "and records 123")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

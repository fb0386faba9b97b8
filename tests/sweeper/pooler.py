#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The sweeper behind a pooler that restarts, is full, or cuts connections (scenarios 5, 6, 7)."""

import sys
import time

from cluster import Bouncer, Cluster, skip_without
from sweeper import Machine, Sweeper, wait
from tap import Tap
from transition import task

INPUT = '{"positionalArgs":[{"agentId":"%s"}],"namedArgs":{}}'


def enqueue(db, prefix, count):
    db.commit(
        *(
            task(
                f"provision:{prefix}{n}",
                name="provisionAgent",
                input=INPUT % f"{prefix}{n}",
                status="ENQUEUED",
            )
            for n in range(count)
        )
    )


def finished(db, prefix):
    return db.count(
        "dbos_system.workflow_status",
        f"status = 'SUCCESS' and workflow_uuid like 'provision:{prefix}%'",
    )


def settings(machine, bouncer):
    return machine.settings(DATABASE_URL=bouncer.url(machine.database), DB_TIMEOUT_MS="1000")


def restarted(tap, machine):
    db = machine.db
    with Bouncer(machine.cluster) as bouncer, Sweeper(settings(machine, bouncer)) as sweeper:
        enqueue(db, "a", 20)
        wait(lambda: finished(db, "a") == 20, "the work through the pooler")
        tap.ok(True, "it works through a pooler in transaction mode")
        names = [
            r["application_name"]
            for r in db.rows(
                "select distinct application_name from pg_stat_activity"
                " where backend_type = 'client backend'"
            )
        ]
        tap.ok("openclaw-gateway" in names, "its connections have a name", str(names))
        refused = bouncer.log_contains("unsupported|prepared statement")
        tap.equal(refused, False, "and asks nothing that it refuses")
        bouncer.process.kill()
        bouncer.process.wait()
        sweeper.await_event("sweep.database_away")
        tap.ok(sweeper.process.poll() is None, "it outlives the pooler")
        tap.equal(sweeper.stop(), 0, "and ends well without it")


def full(tap, machine):
    """Every server connection is held, for longer than the sweeper waits."""
    db = machine.db
    with Bouncer(machine.cluster, {"query_wait_timeout": 1}, server_connections=1) as bouncer:
        with bouncer.session(machine.database) as holder, Sweeper(
            settings(machine, bouncer)
        ) as sweeper:
            wait(
                lambda: sweeper.process.poll() is None
                and db.count("openclaw.executor", "kind = 'sweeper' and ended_at is null") > 0,
                "the sweeper",
            )
            holder.run("begin")
            sweeper.await_event("sweep.database_away")
            tap.ok(True, "a pool that is full is as a database that is away")
            enqueue(db, "f", 5)
            time.sleep(0.5)
            tap.equal(finished(db, "f"), 0, "nothing goes through")
            holder.run("commit")
            begun = time.monotonic()
            wait(lambda: finished(db, "f") == 5, "the rest")
            tap.ok(time.monotonic() - begun < 15, "when there is room it goes on")
            tap.equal(sweeper.stop(), 0, "and ends well")


def cut(tap, machine):
    """Its backends are terminated again and again while it works."""
    db = machine.db
    with Bouncer(machine.cluster) as bouncer, Sweeper(settings(machine, bouncer)) as sweeper:
        enqueue(db, "c", 400)
        killed = 0
        while finished(db, "c") < 400:
            killed += db.value(
                "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity"
                " where application_name = 'openclaw-gateway' and state = 'active'"
            )
            time.sleep(0.05)
            assert killed < 2000, "it does not get on"
        tap.ok(killed > 0, "backends were terminated at work", str(killed))
        print(f"# {killed} terminated")
        wait(
            lambda: db.count("dbos_system.workflow_status", "status = 'PENDING'") == 0,
            "the last claim",
        )
        tap.equal(db.count("openclaw.agent", "agent_id like 'c%'"), 400, "and yet all is done")
        tap.equal(
            db.value(
                "select max(n) from (select count(*) n from dbos_system.operation_outputs"
                " where workflow_uuid like 'provision:c%' and function_name = 'createAgent'"
                " group by workflow_uuid) x"
            ),
            1,
            "each effect once",
        )
        tap.equal(sweeper.stop(), 0, "and it ends well")


def main():
    skip_without("initdb", "psql", "pgbouncer")
    tap = Tap()
    with Cluster() as cluster:
        machine = Machine(cluster)
        for test in (restarted, full, cut):
            test(tap, machine)
            machine.db.clear()
        machine.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The library that other tests stand on: what it promises about pooling, locks and its own end."""

import os
import signal
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cluster import Bouncer, Cluster, SqlError, skip_without
from tap import Tap

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER_CONNECTIONS = 20
CLIENTS = 30
END_TIMEOUT = 10.0


def check_values(tap, cluster):
    rows = cluster.rows("select 1 as a, null as b, '' as c, E'x,\"\\ny' as d")
    tap.equal(rows, [{"a": "1", "b": None, "c": "", "d": 'x,"\ny'}], "NULL, '' and quoting")
    tap.equal(cluster.value("select ''"), "", "one empty string")
    tap.equal(cluster.rows("select 1 as a where false"), [], "no rows")
    with tap.raises(SqlError, "a failed statement says its SQLSTATE", sqlstate="22012"):
        cluster.execute("select 1; select 1 / 0;")


def check_sessions(tap, cluster):
    cluster.execute("create table t (id int primary key)")
    with cluster.session() as first, cluster.session() as second:
        first.run("begin; insert into t values (1)")
        second.send("insert into t values (1)")
        second.waits_for_lock()
        first.run("commit")
        with tap.raises(SqlError, "the one that waited loses", sqlstate="23505"):
            second.finish()
        tap.equal(second.run("select 5"), "5", "a session survives an error")
        since = cluster.log_size()
        cluster.restart("immediate")
        tap.ok(cluster.log_contains("automatic recovery in progress", since), "a crash is one")
        with tap.raises(SqlError, "a session whose server is gone says so"):
            first.run("select 1")


def check_pooling(tap, cluster):
    with Bouncer(cluster, server_connections=SERVER_CONNECTIONS) as bouncer:
        sessions = [bouncer.session() for _ in range(CLIENTS)]
        for session in sessions[:SERVER_CONNECTIONS]:
            session.run("begin; select 1")
        waiting = sessions[SERVER_CONNECTIONS]
        waiting.send("select 1")
        pool = [p for p in bouncer.admin("show pools") if p["database"] == "postgres"][0]
        tap.equal(pool["pool_mode"], "transaction", "transaction pooling")
        tap.equal(pool["sv_active"], str(SERVER_CONNECTIONS), "as many servers as allowed")
        sessions[0].run("commit")
        tap.equal(waiting.finish(), "1", "who waited goes on when a transaction ends")
        for session in sessions:
            session.close()


def processes_of(directory):
    result = subprocess.run(["pgrep", "-f", directory], capture_output=True, encoding="utf-8")
    return result.stdout.split()


def check_end(tap, number):
    """The command dies of this signal; nothing may stay."""
    script = 'echo "$PGHOST"; echo "${DIRECT_DATABASE_URL#*host=}"; exec sleep 60'
    command = [sys.executable, os.path.join(HERE, "cluster.py"), "--bouncer", "--"]
    runner = subprocess.Popen(
        [*command, "sh", "-c", script], stdout=subprocess.PIPE, encoding="utf-8"
    )
    directories = [urllib.parse.unquote(runner.stdout.readline().strip()) for _ in range(2)]
    existed = all(os.path.isdir(path) and processes_of(path) for path in directories)
    runner.send_signal(number)
    runner.wait()
    runner.stdout.close()
    deadline = time.monotonic() + END_TIMEOUT
    while any(os.path.isdir(path) or processes_of(path) for path in directories):
        if time.monotonic() > deadline:
            tap.ok(False, f"nothing is left after {number.name}", directories)
            return
        time.sleep(0.05)
    tap.ok(existed, f"nothing is left after {number.name}", directories)


def main():
    skip_without("initdb", "psql", "pgbouncer", "pgrep")
    tap = Tap()
    with Cluster() as cluster:
        check_values(tap, cluster)
        check_sessions(tap, cluster)
        check_pooling(tap, cluster)
    check_end(tap, signal.SIGTERM)
    check_end(tap, signal.SIGKILL)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

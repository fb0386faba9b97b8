#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""/healthz, /readyz and /health tell the truth: PostgreSQL stopped, PostgreSQL stuck, the pooler stopped,
another schema, a sweeper that died, hangs, or is run by cron. How long each took is said."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

import cluster
from responder import Responder
from sessions import BUILD, World
from tap import Tap, diagnose

tap = Tap()
LEASE_MS = 3000
GENEROUS = 60  # seconds; what it takes is said, and is two where the machine is not busy


class Migrated(World):
    def install(self):
        environment = self.cluster.environment("gateway")
        environment.update(GATEWAY_ENV="/dev/null")
        subprocess.run(
            [os.path.join(BUILD, "gatewayctl"), "migrate"],
            env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def answers(http):
    health, ready = http.get("/health"), http.get("/readyz")
    body = health.json()
    return (
        health.status, body["status"], body["dbos"], body["sweeper"],
        ready.status, ready.json().get("code", ready.json().get("sweeper")),
    )  # fmt: skip


FINE = (200, "healthy", "connected", "running", 200, "running")
SILENT = (200, "degraded", "connected", "silent", 200, "silent")
AWAY = (503, "unhealthy", "disconnected", "unknown", 503, "UNAVAILABLE")
READ_ONLY = (503, "unhealthy", "read_only", "unknown", 503, "UNAVAILABLE")
SCHEMA = (503, "unhealthy", "schema_mismatch", "unknown", 503, "SCHEMA_MISMATCH")


def becomes(http, wanted, name):
    begun = time.monotonic()
    got = answers(http)
    while got != wanted and time.monotonic() - begun < GENEROUS:
        time.sleep(0.05)
        got = answers(http)
    tap.equal(got, wanted, name)
    diagnose(f"{name}: after {time.monotonic() - begun:.2f} s")
    tap.equal(http.get("/healthz").status, 200, f"{name}: and the process itself is alive")


def sweeper(world, *arguments, lease_ms=LEASE_MS, **settings):
    return subprocess.Popen(
        [os.path.join(BUILD, "openclaw-gateway-sweeper"), *arguments],
        env=world.environment(EXECUTOR_LEASE_MS=lease_ms, **settings),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def end(process):
    process.kill()
    process.wait()


def databases(world, http):
    process = sweeper(world)
    becomes(http, FINE, "all is well")
    world.cluster.stop("immediate")
    becomes(http, AWAY, "PostgreSQL is stopped")
    world.cluster.start()
    becomes(http, FINE, "PostgreSQL is back")
    world.sql("alter system set default_transaction_read_only = on; select pg_reload_conf()")
    try:
        becomes(http, READ_ONLY, "PostgreSQL takes no writes")
    finally:
        world.sql("alter system reset default_transaction_read_only; select pg_reload_conf()")
    becomes(http, FINE, "PostgreSQL takes writes again")
    digest = world.value("select value from openclaw.setting where name = 'functions_digest'")
    world.sql("update openclaw.setting set value = 'older' where name = 'functions_digest'")
    becomes(http, SCHEMA, "the schema is another")
    world.sql(f"update openclaw.setting set value = '{digest}' where name = 'functions_digest'")
    becomes(http, FINE, "the schema is ours")
    world.sql("update dbos_system.dbos_migrations set version = version - 1")
    becomes(http, SCHEMA, "the schema of DBOS is older")
    world.sql("update dbos_system.dbos_migrations set version = version + 1000")
    becomes(http, FINE, "the schema of DBOS is newer, which is theirs to keep compatible")
    world.sql("update dbos_system.dbos_migrations set version = version - 999")
    world.sql("alter schema dbos_system rename to lost")
    becomes(http, SCHEMA, "the schema of DBOS is gone")
    world.sql("alter schema lost rename to dbos_system")
    becomes(http, FINE, "the schema of DBOS is back")
    postmaster = int(
        open(os.path.join(world.cluster.data, "postmaster.pid"), encoding="ascii").readline()
    )
    os.kill(postmaster, signal.SIGSTOP)
    try:
        becomes(http, AWAY, "PostgreSQL takes no connection and says nothing")
    finally:
        os.kill(postmaster, signal.SIGCONT)
    becomes(http, FINE, "PostgreSQL goes on")
    return process


def sweepers(world, http, process):
    end(process)
    becomes(http, SILENT, "the sweeper was killed")
    process = sweeper(world)
    becomes(http, FINE, "the sweeper was started")
    process.send_signal(signal.SIGSTOP)
    becomes(http, SILENT, "the sweeper hangs")
    process.send_signal(signal.SIGCONT)
    becomes(http, FINE, "the sweeper goes on")
    process.terminate()
    process.wait()
    becomes(http, SILENT, "the sweeper was stopped")
    tap.equal(sweeper(world, "--once").wait(), 0, "cron runs it")
    becomes(http, FINE, "which is as good for two minutes")
    world.sql("update openclaw.executor set ended_at = ended_at - 200000 where kind = 'sweeper'")
    becomes(http, SILENT, "and no longer")


NO_ROOM = "begin raise exception 'no room' using errcode = 'disk_full'; end"


def disk(world, http):
    """Nothing fills a disk here: what a full one makes the server say is raised in its place."""
    process = sweeper(world)
    becomes(http, FINE, "a disk with room")
    definition = world.value("select pg_get_functiondef('openclaw.disk_probe()'::regprocedure)")
    world.sql("select pg_stat_force_next_flush()")
    before = int(world.value("select temp_bytes from pg_stat_database where datname = current_database()"))
    world.sql("select openclaw.disk_probe(); select pg_stat_force_next_flush()")
    after = int(world.value("select temp_bytes from pg_stat_database where datname = current_database()"))
    tap.ok(after - before >= 8 << 20, "the disk's probe writes 8 MiB", (before, after))
    world.sql(
        "create or replace function openclaw.disk_probe() returns bigint language plpgsql"
        f" as $$ {NO_ROOM} $$;"
        f" create function public.no_room() returns trigger language plpgsql as $$ {NO_ROOM} $$"
    )
    becomes(http, FINE, "nobody was told that it is full")
    world.sql(
        "create trigger no_room before insert or update on openclaw.executor"
        " for each row execute function public.no_room()"
    )
    becomes(http, READ_ONLY, "somebody was told")
    world.sql("drop trigger no_room on openclaw.executor; drop function public.no_room()")
    time.sleep(1)
    becomes(http, READ_ONLY, "which stays so until there is room")
    world.sql(definition)
    becomes(http, FINE, "somebody made room")
    end(process)


def hang(world):
    """Its process is there, and its lease good for an hour: what it does not say any more gives it away."""
    process = sweeper(world, lease_ms=3600000, DB_TIMEOUT_MS=300000)
    settings = {"RUNTIME_DIR": world.runtime, "HOST_NAME": "", "EXECUTOR_LEASE_MS": 3600000}
    with Responder(world.cluster, settings) as http:
        becomes(http, FINE, "a sweeper with a long lease")
        process.send_signal(signal.SIGSTOP)
        becomes(http, SILENT, "it hangs, and its lease does not hide it")
        process.send_signal(signal.SIGCONT)
        becomes(http, FINE, "it goes on, and is seen to")
        with world.cluster.session("gateway") as other:
            other.run("begin; lock table openclaw.inbox in access exclusive mode")
            world.cluster.wait_until("select exists (select from pg_locks where not granted)", "gateway")
            time.sleep(3)
            becomes(http, FINE, "one that waits for the database does not hang")
            process.send_signal(signal.SIGSTOP)
            becomes(http, SILENT, "it hangs within a sweep, and the time that its call has does not hide it")
            process.send_signal(signal.SIGCONT)
            becomes(http, FINE, "it goes on with its sweep")
    end(process)


def pooler(world):
    with cluster.Bouncer(world.cluster) as bouncer:
        process = sweeper(world)
        settings = {"RUNTIME_DIR": world.runtime, "HOST_NAME": "", "EXECUTOR_LEASE_MS": LEASE_MS}
        with Responder(bouncer, settings) as http:
            becomes(http, FINE, "through the pooler")
            bouncer.close()
            becomes(http, AWAY, "the pooler is stopped")
        end(process)


def main():
    cluster.skip_without("initdb", "psql")
    with Migrated() as world:
        settings = {"RUNTIME_DIR": world.runtime, "HOST_NAME": "", "EXECUTOR_LEASE_MS": LEASE_MS}
        with Responder(world.cluster, settings) as http:
            becomes(http, SILENT, "no sweeper was ever there")
            sweepers(world, http, databases(world, http))
            disk(world, http)
        hang(world)
        try:
            cluster.find_program("pgbouncer")
        except cluster.Missing:
            tap.skip("the pooler is stopped", "pgbouncer is missing")
        else:
            pooler(world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl doctor: content with what is well, and for each thing that is not, a FAIL that says so."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from cluster import Bouncer, Cluster, skip_without
from programs import RELAY, SWEEPER, ctl, environment, run
from stack import wait
from tap import Tap

APP = "openclaw_gateway"
DATABASE = "gateway"


class Patient:
    def __init__(self, cluster, bouncer):
        self.cluster, self.bouncer = cluster, bouncer
        self.runtime = os.path.join(cluster.directory, "run")
        os.makedirs(self.runtime, exist_ok=True)

    def settings(self, **extra):
        made = {
            "DATABASE_URL": self.bouncer.url(DATABASE, APP),
            "DIRECT_DATABASE_URL": self.cluster.url(DATABASE),
            "RUNTIME_DIR": self.runtime,
        }
        made.update(extra)
        return made

    def doctor(self, **extra):
        result = ctl(self.bouncer, DATABASE, "doctor", "--json", **self.settings(**extra))
        return result, {c["check"]: c for c in result.json["checks"]}

    def sweep(self):
        return run([SWEEPER, "--once"], environment(self.bouncer, DATABASE, **self.settings()))


def well(tap, patient):
    result, checks = patient.doctor()
    tap.equal(
        {n: c["level"] for n, c in checks.items() if c["level"] != "OK" and n not in ("websocketd", "relay")},
        {},
        "all is well",
    )
    tap.ok(result.code == 0 and result.json["ok"] is True, "and the exit status is 0", str(result))
    tap.ok("transaction mode" in checks["pooler"]["detail"], "the pooler's mode is told")
    plain = ctl(patient.bouncer, DATABASE, "doctor", **patient.settings())
    tap.ok(
        plain.code == 0
        and len([l for l in plain.out.splitlines() if l.startswith("OK ") and "websocketd" not in l]) == 18,
        "for people a line each",
        str(plain),
    )


def of_others(fails, tap, patient):
    """What other roles do is seen, although nothing but its existence may be."""
    used = lambda: int(patient.doctor()[1]["connections"]["detail"].split()[0])
    before = used()
    with patient.cluster.session(DATABASE) as one, patient.cluster.session(DATABASE) as other:
        one.run("begin; select pg_current_xact_id()")
        other.run("select 1")
        tap.ok(used() >= before + 2, "the connections of other roles count", (before, used()))
        patient.cluster.execute(
            "do $$ begin for i in 1..50001 loop perform pg_current_xact_id(); commit; end loop; end $$", DATABASE
        )
        fails("an old transaction of another role", "transactions", "end it", level="WARN")
        one.run("rollback")
        one.run("begin; lock table openclaw.inbox in access exclusive mode")
        pid = one.run("select pg_backend_pid()").strip()
        checks = fails("somebody keeps a table to himself", "locks", f"pg_terminate_backend({pid})", DB_TIMEOUT_MS="500")
        tap.ok("migrate" not in checks["statements"]["detail"], "which is no misfit of the schema", checks["statements"])
        one.run("rollback")


def hidden(fails, tap, patient):
    """Since when others' transactions are open, the schema's owner looks, where it may."""
    execute = lambda sql: patient.cluster.execute(sql, DATABASE)
    with patient.cluster.session(DATABASE) as other:
        pid = other.run("begin; select pg_backend_pid()").split()[-1]
        oldest = patient.cluster.value("select pid from openclaw.oldest_transaction()", DATABASE, user=APP)
        tap.equal(oldest, pid, "the gateway's role learns whose transaction is the oldest, also where it only reads")
        seen = patient.cluster.value(f"select xact_start is null from pg_stat_activity where pid = {pid}", DATABASE, user=APP)
        tap.equal(seen, "t", "and sees nothing else of it")
    execute("create role landlord; alter function openclaw.oldest_transaction() owner to landlord; "
            f"grant execute on function openclaw.oldest_transaction() to {APP}")  # fmt: skip
    fails("nobody may see others' transactions", "transactions", "grant pg_read_all_stats to landlord", level="WARN")
    execute("grant pg_read_all_stats to landlord")
    tap.equal(patient.doctor()[1]["transactions"]["level"], "OK", "which is cured by the grant")
    definition = patient.cluster.value("select pg_get_functiondef('openclaw.oldest_transaction()'::regprocedure)", DATABASE)
    execute("create or replace function openclaw.oldest_transaction() returns table (pid integer, age_ms bigint, sees_all boolean,"
            " owner text) language sql as $$ select 4711, 300001::bigint, true, 'x' $$")  # fmt: skip
    fails("one that is open for five minutes", "transactions", "pg_terminate_backend(4711)", level="WARN")
    execute(definition)
    execute("alter function openclaw.oldest_transaction() owner to postgres; drop owned by landlord; drop role landlord")


def full_disk(fails, tap, patient):
    """The probe is tried on a disk that is full by tests/http/health.py."""
    definition = patient.cluster.value(
        "select pg_get_functiondef('openclaw.disk_probe()'::regprocedure)", DATABASE
    )
    for state, level, word in (("53100", "FAIL", "make room"), ("53400", "SKIP", "temp_file_limit")):
        patient.cluster.execute(
            "create or replace function openclaw.disk_probe() returns bigint language plpgsql as"
            f" $$ begin raise exception 'no room' using errcode = '{state}'; end $$",
            DATABASE,
        )
        fails(f"the disk's probe says {state}", "disk", word, code=69, level=level)
    patient.cluster.execute(definition, DATABASE)


def broken(tap, patient):
    def fails(what, check, word, code=78, level="FAIL", **extra):
        result, checks = patient.doctor(**extra)
        tap.ok(
            checks[check]["level"] == level
            and word in checks[check]["detail"]
            and (code is None or result.code == (code if level == "FAIL" else 0)),
            f"{level}: {what}",
            str(result),
        )
        return checks

    def altered(sql, back, *arguments, **options):
        patient.cluster.execute(sql, DATABASE)
        try:
            return fails(*arguments, **options)
        finally:
            patient.cluster.execute(back, DATABASE)

    altered(
        f"alter role {APP} superuser",
        f"alter role {APP} nosuperuser",
        "a superuser",
        "role",
        "superuser",
    )
    altered(
        f"alter role {APP} createrole createdb",
        f"alter role {APP} nocreaterole nocreatedb",
        "a role that makes roles",
        "role",
        "may make roles",
        level="WARN",
    )
    altered(
        f"revoke update on openclaw.inbox from {APP}",
        f"grant update on openclaw.inbox to {APP}",
        "a right that is missing",
        "role",
        "openclaw.inbox",
    )
    altered(
        f"grant create on schema openclaw to {APP}",
        f"revoke create on schema openclaw from {APP}",
        "rights that nobody needs",
        "role",
        "may change the schema",
        level="WARN",
    )
    altered(
        "update openclaw.setting set value = 'x' where name = 'functions_digest'",
        "select 1",
        "functions of another version",
        "schema",
        "gatewayctl migrate",
    )
    ctl(patient.cluster, DATABASE, "migrate")
    altered(
        "alter table openclaw.credential rename column expires_at to x",
        "alter table openclaw.credential rename column x to expires_at",
        "a statement that does not fit",
        "statements",
        "agent_list",
    )
    altered(
        "update openclaw.executor set seen_at = seen_at - 3600000, ended_at = ended_at - 3600000 where kind = 'sweeper'",
        "update openclaw.executor set seen_at = seen_at + 3600000, ended_at = ended_at + 3600000 where kind = 'sweeper'",
        "a sweeper that is gone",
        "sweeper",
        "start openclaw-gateway-sweeper",
    )
    altered(
        "update openclaw.executor set seen_at = seen_at - 20000, ended_at = null where kind = 'sweeper'",
        "select 1",
        "a sweeper that hangs, as /health has it",
        "sweeper",
        "last seen: 2",
    )
    altered(
        "update openclaw.executor set ended_at = openclaw.now_ms(), seen_at = openclaw.now_ms()"
        " where kind = 'sweeper'; update openclaw.executor set client = null where kind = 'sweeper'",
        "select 1",
        "a sweeper that was buried a moment after it was seen",
        "sweeper",
        "HOST_NAME",
    )
    altered(
        "update openclaw.executor set ended_at = null, client = '{\"machine\": \"another\"}' where kind = 'sweeper'",
        "update openclaw.executor set ended_at = openclaw.now_ms(), client = null where kind = 'sweeper'",
        "a sweeper of this name on another machine",
        "sweeper",
        "another machine",
        level="WARN",
    )
    altered(
        f"revoke execute on function openclaw.now_ms() from public, {APP}",
        f"grant execute on function openclaw.now_ms() to public, {APP}",
        "a function that may not be called",
        "sweeper",
        "the role lacks a right: run gatewayctl migrate --app-role",
        code=None,
    )
    altered("delete from openclaw.executor", "select 1", "no sweeper ever", "sweeper", "never")
    patient.sweep()
    of_others(fails, tap, patient)
    schedule = (
        "insert into dbos_system.workflow_schedules (schedule_id, schedule_name, workflow_name, schedule, context,"
        " application_name) values ('1', 'nightly', '{}', '{}', 'null', 'openclaw-gateway')"
    )
    forget = "delete from dbos_system.workflow_schedules"
    altered(
        schedule.format("noSuchThing", "@daily"), forget, "a schedule of no workflow", "schedules",
        "nightly is not fired: this version has no workflow noSuchThing", level="WARN",
    )  # fmt: skip
    patient.cluster.execute(schedule.format("delayedGreeting", "61 * * * *"), DATABASE)
    patient.sweep()
    altered(
        "select 1", forget, "a schedule that cannot be read", "schedules", '"61" is no minute', level="WARN"
    )
    fails(
        "no runtime directory",
        "runtime directory",
        "not there",
        level="WARN",
        RUNTIME_DIR=patient.runtime + "x",
    )
    fails(
        "no pooler",
        "pooler",
        "put PgBouncer in front",
        level="WARN",
        DATABASE_URL=patient.cluster.url(DATABASE, APP),
    )
    for mode, level, word in (("session", "WARN", "session mode"), ("statement", "FAIL", "statement mode")):
        with Bouncer(patient.cluster, {"pool_mode": mode}, users=("postgres", APP)) as bouncer:
            fails(
                f"a pooler in {mode} mode",
                "pooler",
                word,
                code=None,
                level=level,
                DATABASE_URL=bouncer.url(DATABASE, APP),
            )
    for spelling in ("false", "off", "0", "no"):
        altered(
            f"alter table openclaw.inbox set (autovacuum_enabled = {spelling})",
            "alter table openclaw.inbox reset (autovacuum_enabled)",
            f"a table without autovacuum: {spelling}",
            "autovacuum",
            "openclaw.inbox",
            level="WARN",
        )
    altered(
        "alter index openclaw.inbox_ready rename to gone",
        "alter index openclaw.gone rename to inbox_ready",
        "an index that is not there",
        "indexes",
        "openclaw.inbox_ready",
    )
    altered(
        "update pg_index set indisvalid = false where indexrelid = 'openclaw.inbox_dead'::regclass",
        "update pg_index set indisvalid = true where indexrelid = 'openclaw.inbox_dead'::regclass",
        "an index that was not built to its end",
        "indexes",
        "reindex",
    )
    full_disk(fails, tap, patient)
    hidden(fails, tap, patient)
    websocketds(tap, patient)
    relays(tap, patient)
    checks = fails(
        "a database that is away",
        "database",
        "",
        code=69,
        DATABASE_URL="postgresql://127.0.0.1:1/x",
    )
    tap.equal(checks["schema"]["level"], "SKIP", "and what needs it is skipped")
    fails(
        "a direct connection that is away",
        "direct connection",
        "",
        code=69,
        DIRECT_DATABASE_URL="postgresql://127.0.0.1:1/x",
    )
    result, _ = patient.doctor()
    tap.ok(result.code == 0, "after all this it is content again", str(result))


class Fake:
    """A process that looks like websocketd; what it is is not asked, but how it was started."""

    def __init__(self, name, *flags):
        self.directory = tempfile.mkdtemp(prefix="ocgw-ws-")
        program = os.path.join(self.directory, name)
        shutil.copy("/bin/sh", program)
        # the words behind the script are its arguments, and nothing to the shell
        self.process = subprocess.Popen(
            [program, "-c", "read x; exit 0", *flags, "openclaw-gateway-session"], stdin=subprocess.PIPE
        )
        self.pid = self.process.pid

    def __enter__(self):
        with open(f"/proc/{self.pid}/cmdline", "rb") as file:
            wait(lambda: file.seek(0) or b"openclaw-gateway-session" in file.read(), "the kernel shows what it has become")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def few_files():
    """What is started meanwhile may not have many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def websocketds(tap, patient):
    def judged(level, word, *flags):
        with Fake("websocketd", *flags) as fake:
            _, checks = patient.doctor()
            parts = checks["websocketd"]["detail"].split(f"pid {fake.pid}: ")
            said = parts[1].split("; pid ")[0] if len(parts) > 1 else ""
            got = checks["websocketd"]["level"]
            # another one of this machine may be worse
            tap.ok(word in said and (got == level or level == "OK"), f"{level}: websocketd {flags}", (got, said))

    local = "--address=127.0.0.1"
    rest = ("--maxforks=9", "--passenv=GATEWAY_ENV", "--closems=1000")
    judged("OK", "1200", local, "--maxforks=120", "--passenv=GATEWAY_ENV,PATH", "--closems=1200")
    judged("OK", "--closems 500", "-address", "[::1]", "--maxforks", "9", "--passenv", "PATH,DATABASE_URL", "-closems=500")
    judged("FAIL", "--maxforks=N", local, "--passenv=GATEWAY_ENV", "--closems=1000")
    judged("WARN", "--passenv=GATEWAY_ENV", local, "--maxforks=9", "--passenv=PATH", "--closems=1000")
    judged("WARN", "--closems=1000", local, "--maxforks=9", "--passenv=GATEWAY_ENV", "--closems=10")
    judged("FAIL", "every address", *rest)
    judged("FAIL", "on 0.0.0.0", local, "--address=0.0.0.0", *rest)
    judged("FAIL", "without --devconsole", local, "--devconsole", *rest)
    judged("WARN", "--loglevel=error", local, "--loglevel=access", *rest)
    judged("WARN", "without --reverselookup", local, "--reverselookup", *rest)
    many = ("--maxforks=10000", "--passenv=GATEWAY_ENV", "--closems=1000")
    with few_files():
        judged("WARN", "LimitNOFILE", local, *many)


def relays(tap, patient):
    """One that answers, stands still, has another database, cannot reach it, speaks another language, is gone."""
    path = os.path.join(patient.runtime, "relay.sock")

    def said(level, word, what, **extra):
        result, checks = patient.doctor(**extra)
        got = checks["relay"]
        tap.ok(got["level"] == level and word in got["detail"] and result.code == 0, f"{level}: {what}", str(got))

    def start(**extra):
        process = subprocess.Popen(
            [RELAY], env=environment(patient.bouncer, DATABASE, **patient.settings(**extra)), stderr=subprocess.DEVNULL
        )
        wait(lambda: os.path.exists(path), "the relay listens")
        return process

    relay = start()
    said("OK", "it answers", "a relay that works")
    said("WARN", "start it again", "one of another database", DATABASE_URL=patient.cluster.url(DATABASE, APP))
    relay.send_signal(signal.SIGSTOP)
    said("WARN", "stands still", "one that stands still")
    relay.send_signal(signal.SIGCONT)
    said("OK", "it answers", "and goes on")
    relay.kill()
    relay.wait()
    with Fake("websocketd", "--address=127.0.0.1", "--maxforks=9", "--passenv=GATEWAY_ENV", "--closems=1000"):
        said("WARN", "start openclaw-gateway-relay", "one that was killed, while websocketd runs")
    os.unlink(path)
    nowhere = "postgresql://127.0.0.1:1/x"
    relay = start(DATABASE_URL=nowhere)
    result, checks = patient.doctor(DATABASE_URL=nowhere)
    tap.ok(
        checks["relay"]["level"] == "WARN" and "cannot reach the database" in checks["relay"]["detail"],
        "WARN: one that cannot reach the database",
        str(result),
    )
    relay.terminate()
    tap.equal(relay.wait(), 0, "SIGTERM ends it")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()

        def answer():
            client, _ = other.accept()
            client.recv(65536)
            client.sendall(b"\x05\0\0\0hello")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said("WARN", "another build", "something else that listens there")
        thread.join()
    os.unlink(path)


def weak(tap):
    """A server that forgets what it has confirmed."""
    with Cluster() as cluster:
        cluster.create_database(DATABASE)
        ctl(cluster, DATABASE, "migrate")
        result = ctl(cluster, DATABASE, "doctor", "--json")
        checks = {c["check"]: c for c in result.json["checks"]}
        tap.ok(
            result.code == 78 and checks["durability"]["level"] == "FAIL",
            "FAIL: fsync off",
            str(result),
        )
        cluster.execute("alter system set fsync = on; alter system set full_page_writes = on;")
        cluster.execute("alter system set synchronous_commit = off; select pg_reload_conf();")
        cluster.wait_until("select current_setting('synchronous_commit') = 'off'")
        result = ctl(cluster, DATABASE, "doctor", "--json")
        checks = {c["check"]: c for c in result.json["checks"]}
        tap.ok(
            "synchronous_commit" in checks["durability"]["detail"], "FAIL: synchronous_commit off"
        )
        cluster.execute("alter system set autovacuum = off; select pg_reload_conf();")
        cluster.wait_until("select current_setting('autovacuum') = 'off'")
        result = ctl(cluster, DATABASE, "doctor", "--json")
        checks = {c["check"]: c for c in result.json["checks"]}
        tap.equal(checks["autovacuum"]["level"], "FAIL", "FAIL: autovacuum off")
        cluster.execute("alter system set synchronous_commit = on;")
        cluster.execute(
            "alter system set default_transaction_read_only = on; select pg_reload_conf();"
        )
        cluster.wait_until("select current_setting('default_transaction_read_only') = 'on'")
        result = ctl(cluster, DATABASE, "doctor", "--json")
        checks = {c["check"]: c for c in result.json["checks"]}
        tap.ok("read_only" in checks["database"]["detail"], "FAIL: a database that takes no writes")


def main():
    skip_without("initdb", "psql", "pgbouncer")
    tap = Tap()
    with Cluster({"fsync": "on", "full_page_writes": "on"}) as cluster:
        cluster.create_database(DATABASE)
        cluster.execute(f"create role {APP} login")
        migrated = ctl(cluster, DATABASE, "migrate")
        tap.ok(migrated.code == 0, "migrated", str(migrated))
        with Bouncer(cluster, users=("postgres", APP)) as bouncer:
            patient = Patient(cluster, bouncer)
            swept = patient.sweep()
            tap.ok(swept.code == 0, "swept", str(swept))
            well(tap, patient)
            broken(tap, patient)
    weak(tap)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

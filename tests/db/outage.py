#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every way in which a database call can fail, made to happen: what does the layer call it?

Each fault is seen to have happened (the backend found and killed, the pool full) before the
answer is judged.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

from cluster import Bouncer, Cluster, SqlError, skip_without
from tap import Tap

BUILD = os.environ.get("abs_top_builddir", ".")
SOURCE = os.environ.get("abs_top_srcdir", ".")
DATABASE = "gateway"
SOON = 15000  # ms: what a bounded call may take on a machine that is busy; none of them waits for ever
LONG = 60  # s: what a statement sleeps that is to be found asleep

tap = Tap()


class Answer:
    def __init__(self, line):
        self.line = line.rstrip("\n")
        fields = self.line.split("\t")
        self.error = fields[0]
        self.milliseconds = int(fields[-1])
        self.values = fields[1:-1] if self.error == "OK" else []
        self.sqlstate, self.detail = ("", "") if self.error == "OK" else fields[1:3]


class Ask:
    """tests/db/ask, one connection."""

    def __init__(self, url, timeout_ms=30000, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        if url is not None:
            clean["DATABASE_URL"] = url
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests/db/ask"), str(timeout_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**clean, **environment},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def send(self, *fields):
        self.process.stdin.write("\t".join(str(field) for field in fields) + "\n")
        self.process.stdin.flush()

    def receive(self):
        return Answer(self.process.stdout.readline())

    def run(self, *fields):
        self.send("run", *fields)
        return self.receive()

    def is_open(self):
        self.send("open")
        return self.process.stdout.readline() == "yes\n"


def judge(answer, error, name, sqlstate=None, detail=""):
    right = answer.error == error and detail in answer.detail
    right = right and (sqlstate is None or answer.sqlstate == sqlstate)
    tap.ok(right, name, f"got: {answer.line}\nexpected: {error} {sqlstate or ''} {detail}")


def backend(cluster, query, asleep=False):
    """Wait until a backend runs this (and sleeps in it), and return its pid."""
    where = f"from pg_stat_activity where state = 'active' and query like '%{query}%'"
    where += " and pid <> pg_backend_pid()"
    if asleep:
        where += " and wait_event = 'PgSleep'"
    cluster.wait_until(f"select exists (select {where})", DATABASE)
    return int(cluster.value(f"select min(pid) {where}", DATABASE))


def terminate(cluster, pid):
    tap.equal(cluster.value(f"select pg_terminate_backend({pid})", DATABASE), "t", "  (killed)")


def count(cluster, where="true"):
    return int(cluster.value(f"select count(*) from test.word where {where}", DATABASE))


# ---- a killed backend ----------------------------------------------------------------------


def killed_backends(cluster, server, way):
    for verb in ("run", "poll"):
        with Ask(server.url(DATABASE)) as ask:
            ask.send(verb, "test_insert_sleep", 1, LONG)
            terminate(cluster, backend(cluster, "insert into test.word"))
            judge(ask.receive(), "IN_DOUBT", f"{way} {verb}: killed in a call that may write")
            ask.send(verb, "test_sleep_read", LONG)
            terminate(cluster, backend(cluster, "select pg_sleep"))
            judge(ask.receive(), "UNAVAILABLE", f"{way} {verb}: killed in a call that reads")
            tap.ok(not ask.is_open(), f"{way} {verb}: the broken connection is closed")
            judge(ask.run("ping"), "OK", f"{way} {verb}: and the next call opens one")
    with Ask(server.url(DATABASE)) as ask:
        for verb in ("run", "tx"):
            ask.send(verb, "test_insert_slow_commit", 1)
            query = "commit" if verb == "tx" else "insert into test.slow_commit"
            terminate(cluster, backend(cluster, query, asleep=True))
            judge(ask.receive(), "IN_DOUBT", f"{way} {verb}: killed in the commit")
        ask.send("tx", "test_insert", 1, "x", ";", "test_sleep", LONG)
        terminate(cluster, backend(cluster, "select pg_sleep"))
        judge(ask.receive(), "UNAVAILABLE", f"{way} tx: killed before the commit was sent")
        ask.send("tx", "test_insert", 1, "x", ";", "test_insert_sleep", 2, LONG)
        terminate(cluster, backend(cluster, "insert into test.word"))
        judge(ask.receive(), "IN_DOUBT", f"{way} tx: killed when the commit was on its way")
    tap.equal(count(cluster), 0, f"{way}: nothing of all that is there")


def idle_connections(cluster):
    with Ask(cluster.url(DATABASE)) as ask:
        first = ask.run("test_backend").values[0]
        tap.equal(ask.run("test_backend").values[0], first, "a connection is used again")
        terminate(cluster, first)
        # it leaves the view behind its last words and the end of file; a call that crossed with
        # them on their way would rightly be in doubt
        cluster.wait_until(f"select not exists (select from pg_stat_activity where pid = {first})", DATABASE)
        answer = ask.run("test_insert", 10, "after")
        judge(answer, "OK", "killed while idle: replaced before anything is sent")
        tap.ok(ask.run("test_backend").values[0] != first, "by another backend")
        tap.equal(count(cluster, "id = 10"), 1, "and the call was done once")


class Proxy:
    """Between client and server; swallows what the server says after a marker was sent to it."""

    def __init__(self, cluster, marker):
        self.path = os.path.join(cluster.directory, ".s.PGSQL.7777")
        self.target = os.path.join(cluster.directory, f".s.PGSQL.{cluster.port}")
        self.marker = marker
        self.cut = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.url = f"postgresql://postgres@localhost:7777/{DATABASE}?host={cluster.directory}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self.forward, args=(client, server), daemon=True).start()

    def forward(self, client, server):
        threading.Thread(target=self.back, args=(client, server), daemon=True).start()
        while data := client.recv(65536):
            if self.marker in data:
                self.cut.set()
            server.sendall(data)

    def back(self, client, server):
        while data := server.recv(65536):
            if self.cut.is_set():
                client.shutdown(socket.SHUT_RDWR)  # the server has answered; nobody hears it
                return
            client.sendall(data)


def lost_answers(cluster):
    proxy = Proxy(cluster, b"commit\n")
    with Ask(proxy.url) as ask:
        ask.send("tx", "test_insert", 20, "x", ";", "test_count")
        judge(ask.receive(), "IN_DOUBT", "the answer of COMMIT is lost: in doubt")
        tap.ok(proxy.cut.is_set(), "  (the answer was swallowed)")
        cluster.wait_until("select exists (select from test.word where id = 20)", DATABASE)
        tap.ok(True, "and rightly so: it had committed")
        proxy.marker = b"insert into"
        proxy.cut.clear()
        judge(ask.run("test_insert", 21, "x"), "IN_DOUBT", "so is that of a call of its own")
        cluster.wait_until("select exists (select from test.word where id = 21)", DATABASE)


# ---- time ----------------------------------------------------------------------------------


def timeouts(cluster, server, way):
    running = "select count(*) = 0 from pg_stat_activity where query like '%select pg_sleep%'"
    running += " and state = 'active' and pid <> pg_backend_pid()"
    with Ask(server.url(DATABASE), 500) as ask:
        answer = ask.run("test_sleep", LONG)
        judge(answer, "UNAVAILABLE", f"{way}: too slow: cancelled", "57014", "500 ms")
        tap.ok(450 <= answer.milliseconds < SOON, f"{way}: in time", answer.line)
        tap.ok(ask.is_open(), f"{way}: the connection was drained and stays open")
        cluster.wait_until(running, DATABASE)
        judge(ask.run("ping"), "OK", f"{way}: and is of use")
        ask.send("tx", "test_insert", 30, "x", ";", "test_sleep", LONG)
        judge(ask.receive(), "UNAVAILABLE", f"{way}: a transaction, too", "57014")
        tap.equal(count(cluster, "id = 30"), 0, f"{way}: rolled back")
        judge(ask.run("ping"), "OK", f"{way}: and of use again")
        ask.send("poll", "test_sleep", LONG)
        answer = ask.receive()
        judge(answer, "UNAVAILABLE", f"{way}: without blocking, too", "57014")
        tap.ok(450 <= answer.milliseconds < SOON, f"{way}: in time", answer.line)
        cluster.wait_until(running, DATABASE)


def deaf_pooler(cluster):
    """Cancelling goes through the pooler, too: it must not be waited for."""
    with Bouncer(cluster) as bouncer:
        for verb, statement, error in (
            ("run", "test_insert_sleep", "IN_DOUBT"),
            ("poll", "test_insert_sleep", "IN_DOUBT"),
            ("run", "test_sleep_read", "UNAVAILABLE"),
        ):
            # long enough for the pooler to be stopped before the time is up
            with Ask(bouncer.url(DATABASE), 4000) as ask:
                judge(ask.run("ping"), "OK", "before the pooler is stopped")
                values = (35, LONG) if error == "IN_DOUBT" else (LONG,)
                ask.send(verb, statement, *values)
                backend(cluster, "pg_sleep")
                bouncer.process.send_signal(signal.SIGSTOP)
                answer = ask.receive()
                bouncer.process.send_signal(signal.SIGCONT)
                judge(answer, error, f"{verb} {statement}: the pooler is stopped")
                tap.ok(answer.milliseconds < LONG * 500, "and not waited for", answer.line)
                cluster.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                                " where query like '%pg_sleep%' and pid <> pg_backend_pid()")


def deaf_servers(cluster):
    with Ask(cluster.url(DATABASE), 500) as ask:
        pid = int(ask.run("test_backend").values[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = ask.run("test_insert", 40, "x")
            judge(answer, "IN_DOUBT", "a server that is stopped: in doubt, not waited for")
            tap.ok(answer.milliseconds < SOON, "and in bounded time", answer.line)
        finally:
            os.kill(pid, signal.SIGCONT)
    path = os.path.join(cluster.directory, ".s.PGSQL.7778")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        url = f"postgresql://postgres@localhost:7778/{DATABASE}?host={cluster.directory}"
        for verb in ("run", "poll"):
            with Ask(url, 500) as ask:
                ask.send(verb, "test_insert", 41, "x")
                answer = ask.receive()
                judge(answer, "UNAVAILABLE", f"{verb}: who does not answer when connecting", "")
                tap.ok(450 <= answer.milliseconds < SOON, "is not waited for", answer.line)
        with Ask(url + "&connect_timeout=1", 2 * SOON) as ask:
            answer = ask.run("ping")
            tap.ok(900 <= answer.milliseconds < SOON, "connect_timeout counts", answer.line)
    os.unlink(path)


# ---- what the server refuses ---------------------------------------------------------------


def refusals(cluster, server):
    with Ask(server.url(DATABASE)) as ask:
        for state, error in (
            ("40001", "SERIALIZATION"),
            ("40P01", "SERIALIZATION"),
            ("55P03", "SERIALIZATION"),
            ("40003", "IN_DOUBT"),
            ("25006", "READ_ONLY"),
            ("53100", "READ_ONLY"),
            ("53300", "UNAVAILABLE"),
            ("57P03", "UNAVAILABLE"),
            ("42501", "DATABASE"),
            ("XX000", "DATABASE"),
            ("OC001", "FENCED"),
            ("OC002", "NOT_FOUND"),
            ("OC003", "FORBIDDEN"),
            ("OC004", "STALE"),
            ("OC005", "INVALID_REQUEST"),
            ("OC006", "IDEMPOTENCY_CONFLICT"),
            ("OC007", "SCHEMA"),
        ):
            judge(ask.run("test_raise", state, "because"), error, f"{state}", state, "because")
        answer = ask.run("test_raise", "53100", "several words " * 40)
        judge(answer, "READ_ONLY", "a long message", "53100", "words…; the database's disk is full")
        migrate = "run gatewayctl migrate"
        judge(ask.run("test_missing_table"), "SCHEMA", "a missing table", "42P01", migrate)
        judge(ask.run("test_missing_schema"), "SCHEMA", "a missing schema", "42P01", migrate)
        judge(ask.run("test_missing_function"), "SCHEMA", "a missing function", "42883", migrate)
        answer = ask.run("test_cast_int", "secret words")
        judge(answer, "DATABASE", "a value that does not fit", "22P02")
        tap.ok("secret" not in answer.line, "is not in the detail", answer.line)
        answer = ask.run("test_insert", 10, "secret words")
        tap.ok("secret" not in answer.line, "nor in that of a constraint", answer.line)

        with server.session(DATABASE) as session:
            session.run("begin; select 1 from test.word where id = 10 for update")
            judge(ask.run("test_write_lock", 10), "SERIALIZATION", "a lock that is taken", "55P03")
        ask.send("run", "test_sleep", LONG)
        pid = backend(cluster, "select pg_sleep")
        cluster.value(f"select pg_cancel_backend({pid})", DATABASE)
        judge(ask.receive(), "UNAVAILABLE", "cancelled by somebody else", "57014")
        tap.ok(ask.is_open(), "all that did not break the connection")


def read_only(cluster):
    cluster.execute(f"alter database {DATABASE} set default_transaction_read_only = on")
    with Ask(cluster.url(DATABASE)) as ask:
        judge(ask.run("test_insert", 50, "x"), "READ_ONLY", "a read-only database", "25006")
        judge(ask.run("ping"), "OK", "can be read")
    cluster.execute(
        f"set default_transaction_read_only = off;"
        f"alter database {DATABASE} reset default_transaction_read_only"
    )


def no_connection(cluster):
    cluster.execute("create role full_up login connection limit 0; create role nobody_here login;")
    with Ask(cluster.url(DATABASE, user="full_up")) as ask:
        judge(ask.run("ping"), "UNAVAILABLE", "too many connections", None, "too many connections")
    with Ask(cluster.url("missing")) as ask:
        judge(ask.run("ping"), "UNAVAILABLE", "no such database", None, "DATABASE_URL")
    with Ask(f"postgresql:///x?host={cluster.directory}/none") as ask:
        judge(ask.run("test_insert", 1, "x"), "UNAVAILABLE", "no server")
    with Ask(None, PGHOST=cluster.directory, PGUSER="postgres", PGDATABASE=DATABASE) as ask:
        judge(ask.run("ping"), "OK", "without a URL the PG* variables count")
        tap.equal(
            ask.run("test_setting", "application_name").values,
            ["openclaw-gateway"],
            "the connection has a name",
        )
    with Ask(cluster.url(DATABASE) + "&application_name=mine") as ask:
        tap.equal(
            ask.run("test_setting", "application_name").values, ["mine"], "which the URL may choose"
        )


def secrets_stay_secret(cluster):
    host = cluster.directory
    for url in (
        f"postgresql://postgres:hunter2@localhost/missing?host={host}",
        f"postgres:/postgres:hunter2@localhost/x?host={host}",
        f"postgresql://postgres:hunter2@localhost/x?bad=option&host={host}",
        f"postgresql//postgres:hunter2@localhost/{DATABASE}",
        "hunter2",
        f"password=hunter2 host={host} dbname=hunter2",
    ):
        with Ask(url) as ask:
            answer = ask.run("ping")
            shown = url.replace("hunter2", "***").replace(host, "")
            tap.ok(answer.error in ("CONFIG", "UNAVAILABLE"), f"{shown} fails", answer.line)
            tap.ok("hunter2" not in answer.line, "without telling the password", answer.line)


def late(cluster):
    """The answer to who comes after the signal, once the server has heard it."""
    deadline = time.monotonic() + LONG
    while True:
        with Ask(cluster.url(DATABASE)) as ask:
            answer = ask.run("ping")
        if answer.error != "OK" or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def shutting_down(cluster):
    with cluster.session(DATABASE) as session:
        session.run("select 1")
        with Ask(cluster.url(DATABASE)) as ask:
            ask.run("ping")
            cluster.process.send_signal(signal.SIGTERM)  # smart: waits for the session
            judge(late(cluster), "UNAVAILABLE", "who comes while it shuts down is refused", None,
                  "shutting down")
            judge(ask.run("ping"), "OK", "who is connected is served")
            cluster.process.send_signal(signal.SIGINT)
            cluster.process.wait(30)
            judge(ask.run("test_insert", 1, "x"), "UNAVAILABLE", "then nobody is")
            cluster.start()
            judge(ask.run("ping"), "OK", "after the restart all is as before")
            ask.send("run", "test_insert_sleep", 60, LONG)
            backend(cluster, "insert into test.word")
            cluster.restart("immediate")
            judge(ask.receive(), "IN_DOUBT", "a crash in a call: in doubt")
            judge(ask.run("ping"), "OK", "and after recovery all is as before")
            tap.equal(count(cluster, "id = 60"), 0, "it had not happened")


# ---- what the pooler refuses ---------------------------------------------------------------


def full_pool(cluster):
    settings = {"query_wait_timeout": 1}
    with Bouncer(cluster, settings, server_connections=1) as bouncer:
        with bouncer.session(DATABASE) as holder:
            holder.run("begin; select 1")
            for verb in ("run", "poll", "tx"):
                with Ask(bouncer.url(DATABASE)) as ask:
                    ask.send(verb, "test_insert", 70, "x")
                    judge(ask.receive(), "UNAVAILABLE", f"{verb}: the pool is full", None,
                          "query_wait_timeout")
        with Ask(bouncer.url(DATABASE)) as ask:
            judge(ask.run("ping"), "OK", "the pool is free again")
            bouncer.admin("pause")
            judge(ask.run("test_insert", 70, "x"), "UNAVAILABLE", "the pooler is paused", None,
                  "query_wait_timeout")
            bouncer.admin("resume")
            judge(ask.run("ping"), "OK", "it goes on")
            bouncer.admin(f"disable {DATABASE}")
            with Ask(bouncer.url(DATABASE)) as other:
                judge(other.run("ping"), "UNAVAILABLE", "the pooler has the database disabled")
            bouncer.admin(f"enable {DATABASE}")
            bouncer.admin("reconnect")
            judge(ask.run("test_insert", 71, "x"), "OK", "after RECONNECT it goes on")
        tap.equal(count(cluster, "id = 70"), 0, "nothing that was refused has happened")


def full_pooler(cluster):
    with Bouncer(cluster, {"max_client_conn": 2}) as bouncer:
        with Ask(bouncer.url(DATABASE)) as one, Ask(bouncer.url(DATABASE)) as two:
            judge(one.run("ping"), "OK", "one client")
            judge(two.run("ping"), "OK", "two clients")
            with Ask(bouncer.url(DATABASE)) as three:
                judge(three.run("test_insert", 80, "x"), "UNAVAILABLE", "three are too many", None,
                      "no more connections allowed")


def options_are_refused(bouncer):
    with Ask(bouncer.url(DATABASE) + "&options=-cwork_mem%3D4MB") as ask:
        judge(ask.run("ping"), "UNAVAILABLE", "the pooler takes no options", None, "options")


def dead_pooler(cluster):
    with Bouncer(cluster) as bouncer:
        with Ask(bouncer.url(DATABASE)) as ask:
            ask.send("run", "test_insert_sleep", 90, LONG)
            backend(cluster, "insert into test.word")
            bouncer.process.kill()
            judge(ask.receive(), "IN_DOUBT", "the pooler is killed in a call: in doubt")
            judge(ask.run("test_insert", 91, "x"), "UNAVAILABLE", "then there is none")
        with Ask(bouncer.url(DATABASE)) as ask:
            judge(ask.run("ping"), "UNAVAILABLE", "for nobody")


def dead_database_behind_pooler(cluster):
    settings = {"query_wait_timeout": 1, "server_login_retry": 1}
    with Bouncer(cluster, settings) as bouncer, Ask(bouncer.url(DATABASE)) as ask:
        judge(ask.run("ping"), "OK", "before the crash")
        cluster.stop("immediate")
        judge(ask.run("test_insert", 95, "x"), "UNAVAILABLE", "no database behind the pooler")
        cluster.start()
        deadline = time.monotonic() + LONG
        answer = ask.run("ping")
        while answer.error != "OK" and time.monotonic() < deadline:
            tap.ok(answer.error == "UNAVAILABLE", "  (not yet)", answer.line)
            time.sleep(0.3)
            answer = ask.run("ping")
        judge(answer, "OK", "it heals by itself")
        tap.equal(count(cluster, "id = 95"), 0, "what was refused has not happened")


def main():
    skip_without("initdb", "psql", "pgbouncer")
    with Cluster() as cluster:
        cluster.create_database(DATABASE)
        cluster.apply(os.path.join(SOURCE, "tests/db/fixture.sql"), DATABASE)
        with Bouncer(cluster) as bouncer:
            killed_backends(cluster, cluster, "direct")
            killed_backends(cluster, bouncer, "pooled")
            idle_connections(cluster)
            lost_answers(cluster)
            timeouts(cluster, cluster, "direct")
            timeouts(cluster, bouncer, "pooled")
            deaf_servers(cluster)
            deaf_pooler(cluster)
            refusals(cluster, cluster)
            refusals(cluster, bouncer)
            options_are_refused(bouncer)
        read_only(cluster)
        no_connection(cluster)
        secrets_stay_secret(cluster)
        full_pool(cluster)
        full_pooler(cluster)
        dead_pooler(cluster)
        shutting_down(cluster)
        dead_database_behind_pooler(cluster)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

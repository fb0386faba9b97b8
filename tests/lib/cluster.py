#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Throw-away PostgreSQL and PgBouncer for tests.  Python 3 standard library and psql only.

    from cluster import Cluster, Bouncer

    with Cluster() as cluster:                      # initdb, start, a private Unix socket
        cluster.create_database("gateway")
        cluster.execute("create table t (id int)", "gateway")
        cluster.value("select count(*) from t", "gateway")         -> "0"
        cluster.rows("select 1 as a, null as b", "gateway")        -> [{"a": "1", "b": None}]
        with Bouncer(cluster) as bouncer:           # transaction pooling, 20 server connections
            bouncer.value("select 1", "gateway")
            subprocess.run([...], env=bouncer.environment("gateway"))

Server (what Cluster and Bouncer share)
    execute(sql, database)      run any number of statements in one psql, return its output;
                                SqlError carries .sqlstate and .message
    rows(sql, database)         one statement, a list of dicts, every value a str or None
    value(sql, database)        the first column of the only row, a str or None
    apply(path, database, replace={})   run a file as psql runs it, identifiers replaced first
    session(database)           a psql that stays connected: Session
    wait_until(sql, database)   poll until a query returns t; AssertionError after `timeout`
    environment(database)       os.environ with PG* and DATABASE_URL set for a child
    url(database)               the same as a URL
    log_contains(pattern)       does the log, from `since=log_size()` on, match this expression?
Cluster(settings={}, tcp=False)
    create_database(name, template=None), drop_database(name)
    stop(mode), start(), restart(mode)     mode is "fast" or "immediate" (a crash)
    host, port, user, directory, log_path
Bouncer(cluster, settings={}, users=("postgres",), server_connections=20)
    crash()                     killed, and started again
    admin(command)              rows of the admin console, as in admin("show pools")
Session                         for races: two of them, one waits for the other
    run(sql)                    send and wait; SqlError when a statement failed
    send(sql) … finish()        send without waiting; finish() waits and returns as run() does
    pid                         the backend's process id
    waits_for_lock()            wait until pg_stat_activity shows this backend waiting for a lock

Everything lives in one private directory under TMPDIR and is gone after the process has ended,
whichever way it ended: a janitor process removes what SIGKILL left.  The server refuses to run
as root, so root runs it as the user `postgres` (else `nobody`).  A program that is missing
raises Missing; skip_without() turns that into a TAP "1..0 # SKIP".

As a command, for tests in other languages: starts a cluster with one database `gateway`, runs
a command with PG*, DATABASE_URL (through the pooler with --bouncer) and DIRECT_DATABASE_URL in
its environment, and exits with its status:

    cluster.py [--bouncer] [--schema] [--tcp] -- command [argument …]

--schema installs sql/ first (tests/lib/schema.py).
"""

import argparse
import atexit
import csv
import ctypes
import glob
import io
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

START_TIMEOUT = 30.0
WAIT_TIMEOUT = 60.0
BOUNCER_PORT = 6432
SOCKET_PATH_MAX = 107
NULL = "\ue000"  # private use: what psql prints for NULL, so that '' stays ''
PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """A program that the test needs is not installed; str() is its name."""


class SqlError(Exception):
    """A statement failed.  sqlstate is None where the server sent none."""

    def __init__(self, output):
        super().__init__(output.strip())
        match = re.search(r"(?:ERROR|FATAL):  (?:([0-9A-Z]{5}): )?(.*)", output)
        self.sqlstate = match.group(1) if match else None
        self.message = match.group(2) if match else output.strip()


def find_program(name):
    """Path of a PostgreSQL program or a daemon; raises Missing.

    Debian keeps initdb and postgres out of PATH, in a directory of their version.
    """
    directories = [os.environ.get("PG_BINDIR", "")]
    directories += os.environ.get("PATH", "").split(os.pathsep) + ["/usr/sbin"]
    versions = glob.glob("/usr/lib/postgresql/*/bin")
    directories += sorted(versions, key=lambda p: int(re.sub(r"\D", "", p) or 0), reverse=True)
    for directory in filter(None, directories):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise Missing(name)


def skip_without(*names):
    """End the test with a TAP SKIP that names the first of these programs that is missing."""
    for name in names:
        try:
            find_program(name)
        except Missing:
            print(f"1..0 # SKIP {name} is not installed")
            sys.exit(0)


def free_tcp_port():
    """One below those that outgoing connections are given, which would take it from a service that is started again."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _account():
    """User arguments for Popen: whom a daemon runs as.  Empty unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Missing("an unprivileged user (postgres or nobody)")


def _die_with_parent(number):
    """A preexec_fn: have the kernel send this signal when the thread that forks has ended."""
    return lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


class _Directory:
    """A private directory that is removed when this process has ended, however it ended."""

    def __init__(self):
        account = _account()
        self.path = tempfile.mkdtemp(prefix="ocgw-")
        if account:
            os.chown(self.path, account["user"], account["group"])
        # The janitor reads a pipe that only this process holds open: end of file is our end.
        self.janitor = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'read -r _; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.3; done',
                "janitor",
                self.path,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def remove(self):
        self.janitor.stdin.close()
        self.janitor.wait()


class Server:
    """Something that speaks PostgreSQL on a Unix socket, with a log."""

    host = ""
    port = 5432
    user = "postgres"
    log_path = ""

    def environment(self, database="postgres", user=None):
        environment = dict(os.environ)
        for name in [n for n in environment if n.startswith("PG") and n != "PG_BINDIR"]:
            del environment[name]
        environment.update(
            PGHOST=self.host,
            PGPORT=str(self.port),
            PGUSER=user or self.user,
            PGDATABASE=database,
            DATABASE_URL=self.url(database, user),
        )
        return environment

    def url(self, database="postgres", user=None):
        """A URL that libpq and node-postgres both read, hence a host before the socket's."""
        user = urllib.parse.quote(user or self.user, safe="")
        if not self.host.startswith("/"):
            return f"postgresql://{user}@{self.host}:{self.port}/{database}"
        host = urllib.parse.quote(self.host, safe="")
        return f"postgresql://{user}@localhost:{self.port}/{database}?host={host}"

    def _psql(self, arguments, database, user, text):
        command = [find_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        command += ["-v", "VERBOSITY=verbose", "-P", "null=" + NULL] + arguments
        result = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            env=self.environment(database, user),
        )
        if result.returncode != 0:
            raise SqlError(result.stderr)
        return result.stdout

    def execute(self, sql, database="postgres", user=None):
        return self._psql(["-A", "-t", "-f", "-"], database, user, sql).replace(NULL, "")

    def rows(self, sql, database="postgres", user=None):
        reader = csv.reader(io.StringIO(self._psql(["--csv", "-f", "-"], database, user, sql)))
        names = next(reader, [])
        return [
            {name: None if cell == NULL else cell for name, cell in zip(names, line or [""])}
            for line in reader  # an empty line is one empty string
        ]

    def value(self, sql, database="postgres", user=None):
        rows = self.rows(sql, database, user)
        assert len(rows) == 1, f"{len(rows)} rows, expected one: {sql}"
        return next(iter(rows[0].values()))

    def apply(self, path, database="postgres", user=None, replace=None):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for word, name in (replace or {}).items():
            text = re.sub(rf"\b{re.escape(word)}\b", lambda _, n=name: n, text)
        try:
            return self.execute(text, database, user)
        except SqlError as error:
            error.args = (f"{os.path.basename(path)}: {error}",)
            raise

    def session(self, database="postgres", user=None):
        return Session(self, database, user)

    def wait_until(self, sql, database="postgres", timeout=WAIT_TIMEOUT):
        deadline = time.monotonic() + timeout
        while self.value(sql, database) != "t":
            if time.monotonic() > deadline:
                raise AssertionError(f"not true within {timeout} s: {sql}")
            time.sleep(0.02)

    def log_size(self):
        return os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0

    def log(self, since=0):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            file.seek(since)
            return file.read()

    def log_contains(self, pattern, since=0):
        return re.search(pattern, self.log(since), re.MULTILINE) is not None

    def _await_ready(self, process, database):
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return self.value("select 1", database)
            except SqlError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"did not start: {error}\n{self.log()}") from error
            time.sleep(0.02)


class Cluster(Server):
    def __init__(self, settings=None, tcp=False):
        self.process = None
        self._initdb_program = find_program("initdb")
        self._postgres_program = find_program("postgres")
        find_program("psql")
        self._directory = _Directory()
        self.directory = self._directory.path
        self.data = os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, "postgres.log")
        self.socket_directory = self.directory
        self.host = "127.0.0.1" if tcp else self.socket_directory
        self.port = free_tcp_port() if tcp else 5432
        assert len(f"{self.socket_directory}/.s.PGSQL.{self.port}") <= SOCKET_PATH_MAX, (
            f"{self.directory}: too long for a socket; set TMPDIR to a shorter directory"
        )
        self.settings = {
            "listen_addresses": "127.0.0.1" if tcp else "",
            "port": self.port,
            "unix_socket_directories": self.socket_directory,
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
            "log_line_prefix": "%m [%p] %q%u@%d/%a ",
            "log_lock_waits": "on",
            "timezone": "UTC",
        }
        self.settings.update(settings or {})
        atexit.register(self.close)
        self._initialize()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _initialize(self):
        command = [self._initdb_program, "-D", self.data, "-U", self.user, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        result = subprocess.run(
            command, capture_output=True, encoding="utf-8", cwd="/", **_account()
        )
        if result.returncode != 0:
            self.close()
            raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            for name, value in self.settings.items():
                file.write(f"{name} = '{value}'\n")

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self._postgres_program, "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_die_with_parent(signal.SIGQUIT),
                **_account(),
            )
        self._await_ready(self.process, "postgres")

    def stop(self, mode="fast"):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            self.process.wait(START_TIMEOUT)
        self.process = None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def close(self):
        atexit.unregister(self.close)
        self.stop("immediate")
        self._directory.remove()

    def create_database(self, name, template=None):
        suffix = f' template "{template}"' if template else ""
        self.execute(f'create database "{name}"{suffix};')
        return name

    def drop_database(self, name):
        self.execute(f'drop database if exists "{name}" with (force);')


class Bouncer(Server):
    """PgBouncer in transaction mode before a cluster, on a socket of its own directory."""

    port = BOUNCER_PORT

    def __init__(self, cluster, settings=None, users=("postgres",), server_connections=20):
        self.process = None
        program = find_program("pgbouncer")
        self._directory = _Directory()
        self.directory = self.host = self._directory.path
        self.log_path = os.path.join(self.directory, "pgbouncer.log")
        options = {
            "listen_addr": "",
            "listen_port": self.port,
            "unix_socket_dir": self.directory,
            "auth_type": "trust",
            "auth_file": os.path.join(self.directory, "users"),
            "admin_users": self.user,
            "pool_mode": "transaction",
            "default_pool_size": server_connections,
            "max_db_connections": server_connections,
            "max_client_conn": 500,
            "logfile": self.log_path,
        }
        options.update(settings or {})
        with open(options["auth_file"], "w", encoding="utf-8") as file:
            file.writelines(f'"{user}" ""\n' for user in users)
        configuration = os.path.join(self.directory, "pgbouncer.ini")
        self._command = [program, "-q", configuration]
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(f"[databases]\n* = host={cluster.host} port={cluster.port}\n[pgbouncer]\n")
            file.writelines(f"{name} = {value}\n" for name, value in options.items())
        open(self.log_path, "wb").close()
        account = _account()
        if account:
            for name in os.listdir(self.directory):
                path = os.path.join(self.directory, name)
                os.chown(path, account["user"], account["group"])
        atexit.register(self.close)
        self._start()

    def _start(self):
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            preexec_fn=_die_with_parent(signal.SIGKILL),
            **_account(),
        )
        self._await_ready(self.process, "postgres")

    def crash(self):
        """Kills it, and starts another in its place."""
        self.process.kill()
        self.process.wait(START_TIMEOUT)
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def admin(self, command):
        return self.rows(command, "pgbouncer")

    def close(self):
        atexit.unregister(self.close)
        if self.process is not None and self.process.poll() is None:
            # TERM waits for the clients from PgBouncer 1.23 on; a test has nothing to lose.
            self.process.kill()
            self.process.wait(START_TIMEOUT)
        self._directory.remove()


class Session:
    """One connected psql.  Statements are sent as they stand, so `begin` holds its locks."""

    END = "--end-of-answer--"
    FAILURE = re.compile(r"^psql:<stdin>:\d+: (?!(DEBUG|LOG|INFO|NOTICE|WARNING):)", re.MULTILINE)

    def __init__(self, server, database, user):
        self.server = server
        self.database = database
        self._pending = False
        self._psql = subprocess.Popen(
            [find_program("psql"), "-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", "-f", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=server.environment(database, user),
        )
        self.pid = int(self.run("select pg_backend_pid();"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, sql):
        assert not self._pending, "finish() the statement before the next send()"
        self._psql.stdin.write(f"{sql.rstrip().rstrip(';')};\n\\echo {self.END}\n")
        self._psql.stdin.flush()
        self._pending = True

    def finish(self):
        lines = []
        self._pending = False
        for line in self._psql.stdout:
            if line.rstrip("\n") == self.END:
                break
            lines.append(line)
        else:
            raise SqlError("".join(lines) or "the connection is gone")
        output = "".join(lines)
        if self.FAILURE.search(output):
            raise SqlError(output)
        return output.rstrip("\n")

    def run(self, sql):
        self.send(sql)
        return self.finish()

    def waits_for_lock(self, timeout=WAIT_TIMEOUT):
        self.server.wait_until(
            "select coalesce(bool_or(wait_event_type = 'Lock'), false)"
            f" from pg_stat_activity where pid = {self.pid}",
            self.database,
            timeout,
        )

    def close(self):
        # Closing stdin ends psql and so rolls back what it left open, unless it is waiting.
        self._psql.stdin.close()
        if self._pending:
            self._psql.kill()
        self._psql.stdout.close()
        self._psql.wait()


def main():
    parser = argparse.ArgumentParser(description="Run a command with a throw-away PostgreSQL.")
    parser.add_argument("--bouncer", action="store_true", help="DATABASE_URL through PgBouncer")
    parser.add_argument("--schema", action="store_true", help="install sql/ into the database")
    parser.add_argument("--tcp", action="store_true", help="listen on a loopback port, too")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    skip_without("initdb", "psql", *(["pgbouncer"] if arguments.bouncer else []))
    if shutil.which(arguments.command[0]) is None:
        parser.error(f"{arguments.command[0]}: not found")
    with Cluster(tcp=arguments.tcp) as cluster:
        cluster.create_database("gateway")
        if arguments.schema:
            import schema

            schema.install(cluster, "gateway")
        server = Bouncer(cluster) if arguments.bouncer else cluster
        environment = server.environment("gateway")
        environment["DIRECT_DATABASE_URL"] = cluster.url("gateway")
        status = subprocess.run(
            arguments.command, env=environment, preexec_fn=_die_with_parent(signal.SIGTERM)
        ).returncode
        if server is not cluster:
            server.close()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())

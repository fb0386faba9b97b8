# SPDX-License-Identifier: MIT
"""What stops a figure: on this machine, in this run, the least that its work cannot do without, and nothing else."""

import os
import re
import socket
import subprocess
import tempfile
import time

from cost import POSITION
from machine import Failed, load_seconds
from settled import MODEL, TABLES, statement

HERE = os.path.dirname(os.path.abspath(__file__))
CHILD = os.path.join(HERE, "..", "load", "child.c")
CONTENT = "a message of ordinary length, as agents exchange them all day long"
SINKS = 438  # agents from here on are written to and read by nobody
CLAIMED = """
select c.inbox_seq as seq, c.delivery_id as delivery
from openclaw.inbox_claim('{to}', 'bench', null, 100000, 1, 30000, null) c
where c.inbox_seq is not null
\\gset
select outcome
from openclaw.inbox_ack('openclaw-gateway', false, array['{to}'], array[:seq], array[':delivery'], array['"ok"']);
"""
WAL_MESSAGES = 300
WAL_WARM = 50
WAL_FIRST = 90_000_000  # ids of rows that nothing else has


def accept_script(sender, to):
    """One accept as a program calls it, for pgbench: the same function, one message, an id by time."""
    message = f'{{"from":"{sender}","to":"{to}","content":"{CONTENT}"}}'
    return f"""
select w.ord
from (
  select overlay(gen_random_uuid()::text placing to_char(
    (extract(epoch from clock_timestamp()) * 1000)::bigint, 'FM0000000000000') from 1 for 13) as id
) k,
lateral openclaw.workflow_commit(
  'bench', 'openclaw-gateway', 'openclaw-1', false, false, 100000000,
  array[k.id], array['routeAgentMessage'], array[true], array[k.id], array['{sender}'],
  array['{{"positionalArgs":[{message}],"namedArgs":{{}}}}'],
  array['DELAYED'], array[604800000], array[null], array[null],
  array[1], array[0], array['validateMessage'], array['{{"valid":true}}'], array[null], array[null], array[0], array[0],
  array[1], array[1], array['storeMessage'], array['{to}'], array[k.id],
  array['{message}'],
  array['{sender}'], array[2], array[null], array[0, 0, 10, 0, 604800000],
  array[1], array[1], array['accepted'], array[null]) w;
"""


def pgbench(setting, script, connections, seconds, *more):
    used = load_seconds()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        result = subprocess.run(
            ["pgbench", "-n", "-f", file.name, f"-c{connections}", f"-T{seconds}", *more],
            env=dict(os.environ, **setting.stack._connection(setting.stack.env["DATABASE_URL"])),
            check=False,
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        raise Failed(result.stderr)
    return {
        "per_second": float(re.search(r"tps = ([\d.]+)", result.stdout).group(1)),
        "mean_ms": float(re.search(r"latency average = ([\d.]+)", result.stdout).group(1)),
        "cpu_share": round((load_seconds() - used) / seconds, 3),
    }, result.stdout


def accepts(connections):
    """PostgreSQL's share of an accept: the same function, through the same pooler."""
    return lambda setting, seconds: pgbench(setting, accept_script("a0", f"a{SINKS}"), connections, seconds)[0]


def deliveries(connections):
    """The same of a full delivery: accept, claim, acknowledge; the sender is not told. The time that
    counts is that of the first, after which the recipient could be written to."""

    def function(setting, seconds):
        script = accept_script("a:client_id", "a:to") + CLAIMED.format(to="a:to")
        script = f"\\set to :client_id + {connections}\n" + script
        figures, output = pgbench(setting, script, connections, seconds, "-r")
        times = re.findall(r"^\s+([\d.]+)\s+\d+\s", output[output.index("statement latencies") :], re.M)
        figures["mean_ms"] = float(times[1])
        return figures

    return function


# ---- websocketd, and what it starts ----------------------------------------------------------------------


class Websocketd:
    """One of its own, without a web server before it."""

    def __init__(self, *command, environment=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        passed = [f"--passenv={','.join(environment)}"] if environment else []
        self.process = subprocess.Popen(
            ["websocketd", "--address=127.0.0.1", f"--port={self.port}", "--loglevel=fatal", *passed, *command],
            env=dict(os.environ, **(environment or {})),
        )
        self.url = f"ws://127.0.0.1:{self.port}/"

    def __enter__(self):
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise Failed("websocketd does not listen")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def echoes(load, count):
    """What websocketd can relay: its child is cat."""

    def function(setting, seconds):
        with Websocketd("cat") as server:
            return load(setting, server.url, "send", count, seconds, None, "--dialect", "bare")

    return function


def opened(load, with_libpq):
    """A child that says hello-ok: one with libpq, when it has connected to the pooler and asked one thing."""

    def function(setting, _seconds):
        child = os.path.join(setting.directory, "child-libpq" if with_libpq else "child")
        if not os.path.exists(child):
            flags = ["-O2", "-o", child, CHILD]
            if with_libpq:
                found = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq"], check=True, capture_output=True, text=True)
                flags += ["-DWITH_LIBPQ", *found.stdout.split()]
            subprocess.run([os.environ.get("CC", "cc"), *flags], check=True)
        with Websocketd(child, environment=setting.pooler_socket()) as server:
            return load(setting, server.url, "open", 200, 1, setting.tokens(200))

    return function


# ---- the log ---------------------------------------------------------------------------------------------


def wal(setting, _seconds):
    """The rows of a settled message in DBOS' own tables, written once as they are in the end: no update, no
    delivery state, one commit."""
    model = setting.stack.value(MODEL)
    if not model:
        raise Failed("no message has been settled that could be copied")
    tables = [table for table in TABLES if table.startswith("dbos_system.")]
    made = [statement(setting, table, model, WAL_FIRST, 1) for table in tables]

    def write(first, count):
        one = ";\n".join(["begin", *made, "commit"])
        text = [one.replace(str(WAL_FIRST), str(first + number)) for number in range(count)]
        setting.superuser("set session_replication_role = replica;\n" + ";\n".join(text), "openclaw")

    write(WAL_FIRST, WAL_WARM)
    before = float(setting.stack.value(POSITION))
    write(WAL_FIRST + WAL_WARM, WAL_MESSAGES)
    after = float(setting.stack.value(POSITION))
    return {"done": WAL_MESSAGES, "wal_bytes": round((after - before) / WAL_MESSAGES)}

# SPDX-License-Identifier: MIT
"""Our programs without web servers, one process at a time: what crash tests need.

    with Rig() as rig:                          # PostgreSQL, PgBouncer, schema, agents
        server = rig.spawn("openclaw-gateway-http")         # a Process
        rig.http("POST", "/messages", {…}, token=rig.tokens["alice"])
        with rig.session("alice") as alice:                 # stack.Client over pipes
            alice.request("send", {…})
        rig.spawn("openclaw-gateway-sweeper", "--once", fault=Kill(3)).wait()
        rig.sweep()                                         # the real sweeper, without faults

Kill(n)                 a fault: SIGKILL at the n-th fault point that the process passes
Cut(rig, n, side)       a fault: the n-th "answer" or "request" of its database connection is lost
Stall(rig, n, interlude)    a fault: the n-th request is late, after interlude()
Fault
    run(attempt)        call it, and meanwhile do what the fault is
    hit(process)        did it happen?         where(process)    after which point
    trouble(process, hit)   what is wrong with how the process ended, or None
Process
    wait(timeout)       its exit status; -9 when it was killed
    points()            the fault points that it has passed
    log()               its stderr

The client's environment is websocketd's; everything ends with the test.
"""

import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import cluster as cluster_library
import fastcgi
from cluster import Bouncer, Cluster
from proxy import Proxy
from stack import BUILD, PROGRAMS, Client
from tap import skip_all
from transition import Connection

TIMEOUT = 15.0
HOST = "crash-test"
DATABASE = "gateway"
AGENTS = ("alice", "bob")
# The time of the lease of a process of another host passes. Its row is locked where what is late is
# the rest of a transaction that registers it.
LEASE_ENDS = """
update openclaw.executor x
set seen_at = 0
from (
  select executor_id
  from openclaw.executor
  where host = 'elsewhere'
  for update skip locked
) silent
where x.executor_id = silent.executor_id
"""


class Gone(ConnectionError):
    """The process at the other end of the pipes has ended."""


class Kill:
    """SIGKILL of the process at the number-th fault point that it passes."""

    def __init__(self, number):
        self.number = number

    def environment(self):
        return {"OPENCLAW_FAULT_AT": str(self.number)}

    def run(self, attempt):
        return attempt()

    def hit(self, process):
        passed = len(process.points())
        if passed < self.number:
            return False
        if process.name == "openclaw-gateway-http":
            # the master restarts a worker, or ends with an error where it ends anyhow
            return process.worker_died() or process.popen.poll() not in (None, 0)
        return passed == self.number and process.popen.poll() == -signal.SIGKILL

    def where(self, process):
        return (process.points() or ["the start"])[-1]

    def trouble(self, process, hit):
        status = process.popen.returncode
        if not hit and (status != 0 or len(process.points()) >= self.number):
            return f"not killed by the fault, exit {status}, {len(process.points())} points passed"
        return None

    def close(self):
        pass


class Cut:
    """The number-th piece of what one side of the database connection says gets lost."""

    def __init__(self, rig, number, side, hold=False):
        self.proxy = Proxy(rig.bouncer, rig.directory, number, side, hold)
        self.options = {
            "DATABASE_URL": self.proxy.url(DATABASE),
            "DIRECT_DATABASE_URL": self.proxy.url(DATABASE),
        }

    def environment(self):
        return self.options

    def run(self, attempt):
        return attempt()

    def hit(self, process):
        return self.proxy.happened.is_set()

    def where(self, process):
        return (process.points() or ["the start"])[-1]

    def trouble(self, process, hit):
        status = process.popen.returncode
        serves = process.name in ("openclaw-gateway-http", "openclaw-gateway-session")
        if status < 0 or status != 0 and (serves or not hit):
            return f"exit {status}"
        return None

    def close(self):
        self.proxy.close()


class Stall(Cut):
    """The number-th request of the process is on its way for so long that the process, which is of
    another host, is taken for dead; interlude() is what the others do meanwhile; then it arrives.
    """

    def __init__(self, rig, number, interlude):
        super().__init__(rig, number, "request", hold=True)
        self.rig = rig
        self.interlude = interlude
        # a patience that nobody has, so that the late request is not given up
        self.options.update(HOST_NAME="elsewhere", DB_TIMEOUT_MS="600000")

    def run(self, attempt):
        results = []

        def work():
            try:
                results.append(attempt())
            except BaseException as error:
                results.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive() and not self.proxy.happened.wait(0.005):
            pass
        if self.proxy.happened.is_set():
            try:
                self.rig.execute(LEASE_ENDS)
                self.interlude()
            finally:
                self.proxy.release()
        thread.join()
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]


def skip_without_fault_points():
    cluster_library.skip_without("initdb", "psql", "pgbouncer")
    for name in PROGRAMS:
        path = os.path.join(BUILD, name)
        if not os.access(path, os.X_OK):
            skip_all(f"{name} is not built")
        with open(path, "rb") as file:
            if b"OPENCLAW_FAULT_AT" not in file.read():
                skip_all(f"{name} has no fault points: configure with --enable-fault-points")


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    _count = 0

    def __init__(self, rig, name, arguments, environment, fault, **pipes):
        Process._count += 1
        stem = os.path.join(rig.directory, f"{Process._count:05d}")
        self.name = name
        self.fault = fault
        self.fault_path = stem + ".fault"
        self.log_path = stem + ".log"
        environment = dict(environment, OPENCLAW_FAULT_LOG=self.fault_path)
        if fault is not None:
            environment.update(fault.environment())
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(
                [os.path.join(BUILD, name), *arguments],
                env=environment,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **pipes,
            )

    def wait(self, timeout=TIMEOUT):
        return self.popen.wait(timeout)

    def running(self):
        return self.popen.poll() is None

    def points(self):
        try:
            with open(self.fault_path, encoding="ascii") as file:
                return [line.split(" ", 1)[1].rstrip() for line in file]
        except OSError:
            return []

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def worker_died(self):
        return any(
            '"worker.died"' in line and '"signal":9' in line for line in self.log().splitlines()
        )

    def end(self, number=signal.SIGTERM, timeout=TIMEOUT):
        """Ask it to end, and see that it has; its exit status."""
        if self.running():
            self.popen.send_signal(number)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.destroy()
            raise

    def destroy(self):
        """SIGKILL for all of its group."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


class Pipes:
    """A session process as stack.Client wants a WebSocket: a line is a frame."""

    def __init__(self, process):
        self.process = process
        self.timeout = TIMEOUT
        self._data = b""
        self._in = process.popen.stdin
        self._out = process.popen.stdout

    def settimeout(self, seconds):
        self.timeout = seconds

    def send(self, text):
        data = text.encode() + b"\n"
        try:
            self._in.write(data)
            self._in.flush()
        except OSError as error:
            raise Gone(str(error)) from error

    def recv(self):
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self._data:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise TimeoutError("no frame in time")
            part = os.read(self._out.fileno(), 65536)
            if not part:
                raise Gone("end of file")
            self._data += part
        line, _, self._data = self._data.partition(b"\n")
        return line.decode()

    def close(self):
        """As when the client leaves: end of file; and then the process must end by itself."""
        try:
            self._in.close()
        except OSError:
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.destroy()
        self._out.close()


class Rig:
    def __init__(self, settings=None, agents=AGENTS):
        self.processes = []
        self.tokens = {}
        self._db_lock = threading.Lock()
        self.cluster = Cluster()
        self.bouncer = Bouncer(self.cluster)
        self.cluster.create_database(DATABASE)
        self._directory = tempfile.TemporaryDirectory(prefix="ocgr-")
        self.directory = self._directory.name
        self.socket_path = os.path.join(self.directory, "http.sock")
        options = {
            "GATEWAY_ENV": os.path.join(self.directory, "gateway.env"),
            "DATABASE_URL": self.bouncer.url(DATABASE),
            "DIRECT_DATABASE_URL": self.cluster.url(DATABASE),
            "RUNTIME_DIR": os.path.join(self.directory, "run"),
            "HTTP_SOCKET": self.socket_path,
            "HOST_NAME": HOST,
            "HTTP_THREADS": "4",
            "RETRY_BASE_MS": "10",
            "RETRY_MAX_MS": "10",
            **(settings or {}),
        }
        os.mkdir(options["RUNTIME_DIR"], 0o700)
        with open(options["GATEWAY_ENV"], "w", encoding="utf-8"):
            pass
        kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment.update({name: str(value) for name, value in options.items()})
        try:
            self.ctl("migrate")
            for agent in agents:
                self.tokens[agent] = self.ctl("agent", "add", agent, "--json")["token"]
        except BaseException:
            self.close()
            raise
        self.db = Connection(self.cluster, DATABASE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes:
            process.destroy()
        self.bouncer.close()
        self.cluster.close()
        self._directory.cleanup()

    def value(self, sql):
        """Of the only row the first column, over one connection past the pooler; from any thread."""
        with self._db_lock:
            return self.db.value(sql)

    def execute(self, sql):
        with self._db_lock:
            self.db.run(sql)

    def reconnect(self):
        """After the server was restarted."""
        with self._db_lock:
            self.db.close()
            self.db = Connection(self.cluster, DATABASE)

    # ---- programs

    def spawn(self, name, *arguments, fault=None, environment=None, **pipes):
        pipes.setdefault("stdin", subprocess.DEVNULL)
        pipes.setdefault("stdout", subprocess.DEVNULL)
        values = {**self.environment, **(environment or {})}
        process = Process(self, name, arguments, values, fault, **pipes)
        self.processes = [p for p in self.processes if p.running()] + [process]
        return process

    def ctl(self, *arguments):
        """gatewayctl, without faults; its output, decoded where that is JSON."""
        process = self.spawn("gatewayctl", *arguments, stdout=subprocess.PIPE)
        output = process.popen.communicate(timeout=60)[0].decode()
        if process.popen.returncode != 0:
            raise AssertionError(f"gatewayctl {arguments}: {output}{process.log()}")
        try:
            return json.loads(output)
        except ValueError:
            return output

    def sweep(self):
        """One full sweep of the real sweeper."""
        process = self.spawn("openclaw-gateway-sweeper", "--once")
        status = process.wait(60)
        assert status == 0, f"the sweeper ended with {status}: {process.log()}"

    # ---- faces

    def server(self, fault=None):
        """A responder that takes connections, or that the fault has killed already."""
        if os.path.exists(self.socket_path):
            os.unlink(self.socket_path)
        server = self.spawn("openclaw-gateway-http", fault=fault)
        deadline = time.monotonic() + TIMEOUT
        while server.running() and not server.worker_died():
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(self.socket_path)
                    return server
                except OSError:
                    assert time.monotonic() < deadline, server.log()
                    time.sleep(0.01)
        return server

    def relay(self, fault=None, environment=None):
        """A relay that takes connections, or that the fault has killed already."""
        relay = self.spawn("openclaw-gateway-relay", fault=fault, environment=environment)
        deadline = time.monotonic() + TIMEOUT
        while relay.running() and not self.is_relay(relay):
            assert time.monotonic() < deadline, relay.log()
            time.sleep(0.01)
        return relay

    def is_relay(self, process):
        """Is it the one that listens at the relay's place?"""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.path.join(self.environment["RUNTIME_DIR"], "relay.sock"))
            except OSError:
                return False
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return pid == process.popen.pid

    def http(self, method, path, body=None, token=None, headers=None, timeout=TIMEOUT):
        return fastcgi.request(self.socket_path, method, path, body, token, headers, timeout)

    def pipes(self, fault=None, environment=None):
        values = {
            "SERVER_SOFTWARE": "websocketd/0.4.1",
            "GATEWAY_INTERFACE": "websocketd-CGI/0.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_HOST": "127.0.0.1",
            "REQUEST_METHOD": "GET",
            "REQUEST_URI": "/",
            "QUERY_STRING": "",
            "PATH_INFO": "/",
            "HTTP_UPGRADE": "websocket",
            **(environment or {}),
        }
        process = self.spawn(
            "openclaw-gateway-session",
            fault=fault,
            environment=values,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return Pipes(process)

    def session(self, name, fault=None, **params):
        """A connected client of this agent."""
        return Client(self.pipes(fault), self.tokens[name], params=params)

# SPDX-License-Identifier: MIT
"""The whole gateway, real, for one test: the front server, websocketd, PgBouncer, PostgreSQL and our programs.

    from stack import Stack

    with Stack() as stack:                      # deploy/quickstart with a folder and ports of its own
        stack.http("GET", "/health")            -> (200, {…}, headers)
        stack.http("POST", "/messages", {"to": "bob", "content": "hi"}, token=stack.tokens["alice"])
        with stack.connect("bob") as bob:       # a WebSocket that has said connect
            bob.request("inbox.subscribe", {"inbox": "bob"})
            message = bob.event("inbox.message")
        stack.value("select count(*) from dbos_system.workflow_status")    # as the owner, direct
        stack.kill("http")                      # SIGKILL; the supervisor starts it again
        stack.ctl("workflow", "list", "--json")

Stack(settings={}, server={}, environment={}, start=True, front="")
    settings        lines for gateway.local.env, as {"LEASE_MS": 1000}
    server          lines for postgresql.local.conf
    environment     more variables for deploy/quickstart
    front           lighttpd, apache or nginx; "": what the variable FRONT says, else lighttpd
Stack
    front            its name, which is also the service's; websocketd_port
    url, ws_url, tokens, env (quickstart.env as a dict), directory
    http(method, path, body=None, token=…, headers={})    body: an object (JSON) or bytes
    socket(token=None, headers=())   a bare websocket.WebSocket; raw frames
    connect(name or token)           Client
    pid(service), pids(service), kill(service, signal), state(service), wait_running(service)
    stop_service(service), start_service(service)
    rows, value, execute(sql)        psql, as openclaw_owner, past the pooler
    admin(command)                   PgBouncer's console
    log(service)                     text of its log
    quickstart(*arguments)           CompletedProcess
    wait(predicate, what, timeout)
Client
    request(method, params)          payload of the final answer; Refused(code, error)
    send(object or text), receive(timeout), event(name, timeout), hello, events

Everything ends with the test, whichever way the test ends. skip_without_stack() first: SKIP where
something is not installed. Services: postgres pgbouncer http relay websocketd sweeper keeper, and the front.
"""

import atexit
import csv
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import cluster as cluster_library
from tap import skip_all

try:
    import websocket
except ImportError:  # another python3 than Debian's; the module is pure Python
    sys.path.append("/usr/lib/python3/dist-packages")
    try:
        import websocket
    except ImportError:
        websocket = None

TIMEOUT = 15.0
SOURCE = os.environ.get("abs_top_srcdir") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
BUILD = os.environ.get("abs_top_builddir") or os.getcwd()
FRONTS = {"lighttpd": "lighttpd", "apache": "apache2", "nginx": "nginx"}  # and their programs
PROGRAMS = (
    "openclaw-gateway-http",
    "openclaw-gateway-relay",
    "openclaw-gateway-session",
    "openclaw-gateway-sweeper",
    "gatewayctl",
)


def front_of_environment():
    return os.environ.get("FRONT") or "lighttpd"


def skip_without_stack(*more):
    """SKIP, with its name, whatever the stack needs and is not there."""
    front = FRONTS[front_of_environment()]
    cluster_library.skip_without(
        "initdb", "psql", "pgbouncer", front, "websocketd", "curl", "flock", "bash", *more
    )
    if websocket is None:
        skip_all("python3-websocket is not installed")
    for name in PROGRAMS:
        if not os.access(os.path.join(BUILD, name), os.X_OK):
            skip_all(f"{name} is not built")


class Refused(Exception):
    """A request was answered with ok:false."""

    def __init__(self, error):
        super().__init__(json.dumps(error))
        self.error = error
        self.code = error.get("code")


def wait(predicate, what, timeout=TIMEOUT):
    """The predicate's first true value; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"in {timeout} s not true: {what}")
        time.sleep(0.05)


class Client:
    """A WebSocket client that keeps the events it was not asked for."""

    def __init__(self, raw, token=None, connect=True, params=None):
        self.raw = raw
        self.events = []
        self.hello = None
        self._numbers = itertools.count(1)
        self.challenge = self.receive()
        if connect:
            self.hello = self.request("connect", self.connect_params(token, params))

    @staticmethod
    def connect_params(token, more=None):
        params = {
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
        }
        if token is not None:
            params["auth"] = {"token": token}
        params.update(more or {})
        return params

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.raw.close()
        except (OSError, websocket.WebSocketException):
            pass

    def send(self, value):
        self.raw.send(value if isinstance(value, str) else json.dumps(value))

    def receive(self, timeout=TIMEOUT):
        self.raw.settimeout(timeout)
        return json.loads(self.raw.recv())

    def start(self, method, params=None):
        """Sends a request and returns its id."""
        identity = f"r{next(self._numbers)}"
        frame = {"type": "req", "id": identity, "method": method}
        if params is not None:
            frame["params"] = params
        self.send(frame)
        return identity

    def answer(self, identity, timeout=TIMEOUT, final=True):
        """The payload of the answer; with final, not the preliminary one (status accepted)."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.receive(max(deadline - time.monotonic(), 0.01))
            if frame.get("type") == "event":
                self.events.append(frame)
            elif frame.get("id") == identity:
                if not frame["ok"]:
                    raise Refused(frame["error"])
                payload = frame.get("payload")
                preliminary = isinstance(payload, dict) and payload.get("status") == "accepted"
                if not (final and preliminary):
                    return payload

    def request(self, method, params=None, timeout=TIMEOUT, final=True):
        return self.answer(self.start(method, params), timeout, final)

    def event(self, name, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event["payload"]
            frame = self.receive(max(deadline - time.monotonic(), 0.01))
            if frame.get("type") == "event":
                self.events.append(frame)


class Stack:
    def __init__(self, settings=None, server=None, environment=None, start=True, front=""):
        self.front = front or front_of_environment()
        self.SERVICES = (
            *("postgres", "pgbouncer", "http", "relay", "websocketd"),
            *(self.front, "sweeper", "keeper"),
        )
        self.directory = tempfile.mkdtemp(prefix="ocgs-")
        os.chmod(self.directory, 0o755)  # the service users go through it
        ports = [cluster_library.free_tcp_port() for _ in range(4)]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "VAR_DIR": self.directory,
            "BUILD_DIR": BUILD,
            "FRONT": self.front,
            "PORT": str(ports[0]),
            "PG_PORT": str(ports[1]),
            "POOLER_PORT": str(ports[2]),
            "WS_PORT": str(ports[3]),
            **(environment or {}),
        }
        self.websocketd_port = ports[3]
        self.env = {}
        self.tokens = {}
        self._own_files(settings or {}, server or {})
        # Reads a pipe that only this process holds open: end of file is our end, however it came.
        self._janitor = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'read -r _; "$1" delete; rm -rf "$2"',
                "janitor",
                self._program("quickstart"),
                self.directory,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        atexit.register(self.close)
        if start:
            self.start()

    @staticmethod
    def _program(name):
        return os.path.join(SOURCE, "deploy", name)

    def _own_files(self, settings, server):
        os.makedirs(os.path.join(self.directory, "etc"), exist_ok=True)
        with open(os.path.join(self.directory, "etc", "gateway.local.env"), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
        with open(os.path.join(self.directory, "etc", "postgresql.local.conf"), "w") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in server.items())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends and removes everything."""
        atexit.unregister(self.close)
        if self._janitor.poll() is None:
            self._janitor.stdin.close()
            self._janitor.wait()

    # ---- the stack ------------------------------------------------------------------------------

    def quickstart(self, *arguments):
        return subprocess.run(
            ["bash", self._program("quickstart"), *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self):
        result = self.quickstart("start", "--no-install", "--no-demo")
        if result.returncode != 0:
            raise AssertionError(f"quickstart failed\n{result.stdout}\n{result.stderr}")
        self.read_environment()
        return result

    def read_environment(self):
        path = os.path.join(self.directory, "quickstart.env")
        with open(path, encoding="utf-8") as file:
            self.env = dict(line.rstrip("\n").split("=", 1) for line in file)
        self.tokens = {
            name.lower().removesuffix("_token"): value
            for name, value in self.env.items()
            if name.endswith("_TOKEN")
        }

    @property
    def url(self):
        return self.env["GATEWAY_URL"]

    @property
    def ws_url(self):
        return self.env["GATEWAY_WS_URL"]

    def _services(self):
        return os.path.join(self.directory, "services")

    def _read_pid(self, name):
        try:
            with open(os.path.join(self._services(), name), encoding="ascii") as file:
                return int(file.readline())
        except (OSError, ValueError):
            return None

    def pid(self, service):
        """The service's process; None while it is being started again."""
        return self._read_pid(f"{service}.pid")

    def supervisor(self, service):
        return self._read_pid(f"{service}.supervisor")

    def pids(self, service):
        """The service's process and all processes of its group (workers, sessions)."""
        leader = self.pid(service)
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getpgid(int(entry)) == leader:
                    found.append(int(entry))
            except OSError:
                pass
        return sorted(found)

    def sessions(self):
        """Processes of WebSocket sessions."""
        return [pid for pid in self.pids("websocketd") if pid != self.pid("websocketd")]

    def kill(self, service, number=signal.SIGKILL):
        pid = self.pid(service)
        os.kill(pid, number)
        return pid

    def state(self, service):
        result = subprocess.run(
            ["bash", self._program("supervise"), "--state", self._services(), service],
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout.strip()

    def wait_running(self, service, not_pid=None, timeout=TIMEOUT):
        """Until the service runs, as another process than not_pid; its pid."""

        def running():
            words = self.state(service).split()
            pid = int(words[1]) if words[0] == "running" else None
            return pid if pid != not_pid else None

        return wait(running, f"{service} runs again", timeout)

    def stop_service(self, service):
        """Ends one service for a while. Stop the keeper first, or it comes back."""
        subprocess.run(
            ["bash", self._program("supervise"), "--stop", self._services(), service], check=True
        )

    def start_service(self, service):
        subprocess.Popen(
            ["bash", self._program("supervise"), self._services(), service],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self.wait_running(service)

    def log(self, service):
        path = os.path.join(self.directory, "log", f"{service}.log")
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    # ---- its faces ------------------------------------------------------------------------------

    def http(self, method, path, body=None, token=None, headers=None, timeout=TIMEOUT):
        """(status, decoded body, headers). No status code is an exception."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            answer = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        try:
            decoded = json.loads(text) if text else None
        except ValueError:
            decoded = text.decode(errors="replace")
        return answer.status, decoded, answer.headers

    def socket(self, token=None, headers=(), path="", timeout=TIMEOUT):
        lines = list(headers)
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        return websocket.create_connection(
            self.ws_url.rstrip("/") + "/" + path, header=lines, timeout=timeout, suppress_origin=True
        )

    def connect(self, name, **params):
        """A connected Client of the agent with this name, or with this token."""
        return Client(self.socket(), self.tokens.get(name, name), params=params)

    def ctl(self, *arguments):
        return subprocess.run(
            [self.env["GATEWAYCTL"], *arguments],
            env={**self._environment, "GATEWAY_ENV": self.env["GATEWAY_ENV"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    # ---- its database ---------------------------------------------------------------------------

    def _psql(self, url, sql, *options):
        result = subprocess.run(
            [cluster_library.find_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
            + [*options, "-f", "-"],
            input=sql,
            env={**self._environment, **self._connection(url)},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise cluster_library.SqlError(result.stderr)
        return result.stdout

    @staticmethod
    def _connection(url):
        """PG* of a URL: a password does not belong into an argument list."""
        parts = urllib.parse.urlsplit(url)
        return {
            "PGHOST": parts.hostname,
            "PGPORT": str(parts.port),
            "PGUSER": parts.username,
            "PGPASSWORD": parts.password,
            "PGDATABASE": parts.path.lstrip("/"),
        }

    def execute(self, sql):
        return self._psql(self.env["DIRECT_DATABASE_URL"], sql, "-At").rstrip("\n")

    value = execute

    def rows(self, sql):
        """A list of dicts; every value is text."""

        text = self._psql(self.env["DIRECT_DATABASE_URL"], sql, "--csv")
        return list(csv.DictReader(io.StringIO(text)))

    def admin(self, command):
        """PgBouncer's console, as in admin("show pools"): a list of dicts."""

        owner = urllib.parse.urlsplit(self.env["DIRECT_DATABASE_URL"])
        pooler = urllib.parse.urlsplit(self.env["DATABASE_URL"])
        url = f"postgresql://{owner.username}:{owner.password}@{pooler.hostname}:{pooler.port}/pgbouncer"
        return list(csv.DictReader(io.StringIO(self._psql(url, command, "--csv"))))

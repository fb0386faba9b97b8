# SPDX-License-Identifier: MIT
"""Sessions driven through pipes, as websocketd drives them, against a throw-away cluster.

    with World() as world:                      # cluster, schema, agents alice, bob, an operator
        with world.connect("alice") as alice:   # a session that has said connect
            alice.call("ping")                  -> the payload; Refused carries the error
            alice.request("agent", {...})       -> id;  alice.answer(id) the next res of it
            alice.event("inbox.message")        -> the next event of that name, its payload

Every frame that comes is held against the official schema where it defines one: frames(), the
shapes of res, event, error, hello-ok, tick, shutdown and presence (SCHEMA below says what of it).
"""

import base64
import hashlib
import itertools
import json
import os
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cluster
import schema
from tap import Tap

BUILD = os.environ.get("abs_top_builddir") or os.getcwd()
PROGRAM = os.path.join(BUILD, "openclaw-gateway-session")
TIMEOUT = 10.0


class Refused(Exception):
    def __init__(self, frame):
        super().__init__(json.dumps(frame))
        self.error = frame["error"]
        self.code = frame["error"]["code"]
        self.details = frame["error"].get("details")


class Ended(Exception):
    """The session ended while something was expected of it."""


def check_frame(frame):
    """What protocol.schema.json of @openclaw/gateway-protocol says of a frame's outside."""
    kind = frame.get("type")
    if kind in ("workflow_result", "error"):
        return  # the oldest dialect, which the schema does not know
    if kind == "res":
        assert set(frame) <= {"type", "id", "ok", "payload", "error"}, frame
        assert isinstance(frame["id"], str) and frame["id"], frame
        assert isinstance(frame["ok"], bool), frame
        if not frame["ok"]:
            error = frame["error"]
            assert set(error) <= {"code", "message", "details", "retryable", "retryAfterMs"}, frame
            assert error["code"] and error["message"], frame
            assert isinstance(error.get("retryAfterMs", 0), int), frame
            assert error.get("retryAfterMs", 0) >= 0, frame
        return
    assert kind == "event", frame
    assert set(frame) <= {"type", "event", "payload", "seq", "stateVersion"}, frame
    assert isinstance(frame["event"], str) and frame["event"], frame
    if frame["event"] == "tick":
        assert set(frame["payload"]) == {"ts"} and isinstance(frame["payload"]["ts"], int), frame
    if frame["event"] == "shutdown":
        assert set(frame["payload"]) <= {"reason", "restartExpectedMs"}, frame
        assert frame["payload"]["reason"], frame


class Session:
    """One process of openclaw-gateway-session, and its client."""

    def __init__(self, environment, program=PROGRAM):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.frames = []  # that came and nobody asked for yet
        self.buffer = b""
        self.ids = itertools.count(1)
        self.closed = False
        self.seq = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- bytes

    def send_raw(self, data, timeout=TIMEOUT):
        """Writes without ever blocking for good; what comes meanwhile is kept."""
        descriptor = self.process.stdin.fileno()
        os.set_blocking(descriptor, False)
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            assert time.monotonic() < deadline, "the session does not read"
            _, writable, _ = select.select([], [descriptor], [], 0.05)
            if writable:
                try:
                    view = view[os.write(descriptor, view[:65536]) :]
                except BlockingIOError:
                    pass
            self._read(0)

    def send(self, frame):
        self.send_raw(json.dumps(frame).encode() + b"\n")

    def _read(self, timeout):
        """Takes what is there, at most after `timeout`; False when the output has ended."""
        if self.closed:
            return False
        descriptor = self.process.stdout.fileno()
        readable, _, _ = select.select([descriptor], [], [], max(timeout, 0))
        if not readable:
            return True
        data = os.read(descriptor, 1 << 20)
        if not data:
            assert self.buffer == b"", f"half a line at the end: {self.buffer[:200]!r}"
            self.closed = True
            return False
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            assert len(line) <= 1 << 20, f"a frame of {len(line)} bytes"
            frame = json.loads(line.decode("utf-8"))
            check_frame(frame)
            if frame.get("type") == "event" and "seq" in frame:
                assert frame["seq"] == self.seq + 1, f"seq {frame['seq']} after {self.seq}"
                self.seq = frame["seq"]
            self.frames.append(frame)
        return True

    def take(self, wanted, what="a frame", timeout=TIMEOUT):
        """The first frame for which wanted(frame), taken out of those that came."""
        deadline = time.monotonic() + timeout
        while True:
            for i, frame in enumerate(self.frames):
                if wanted(frame):
                    return self.frames.pop(i)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{what} did not come in {timeout} s; there is {self.frames!r}")
            if not self._read(left):
                for i, frame in enumerate(self.frames):
                    if wanted(frame):
                        return self.frames.pop(i)
                raise Ended(f"the session ended before {what}; there is {self.frames!r}")

    # -- frames

    def request(self, method, params=None, identity=None):
        identity = identity or f"r{next(self.ids)}"
        frame = {"type": "req", "id": identity, "method": method}
        if params is not None:
            frame["params"] = params
        self.send(frame)
        return identity

    def answer(self, identity, timeout=TIMEOUT):
        frame = self.take(
            lambda f: f.get("type") == "res" and f["id"] == identity, f"res {identity}", timeout
        )
        if not frame["ok"]:
            raise Refused(frame)
        return frame["payload"]

    def call(self, method, params=None, timeout=TIMEOUT):
        return self.answer(self.request(method, params), timeout)

    def event(self, name, timeout=TIMEOUT):
        return self.take(
            lambda f: f.get("type") == "event" and f["event"] == name, f"event {name}", timeout
        )["payload"]

    def nothing(self, name, seconds):
        """True when no event of this name comes for so long."""
        try:
            self.event(name, seconds)
        except TimeoutError:
            return True
        return False

    def connect(self, token, **params):
        full = {
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
            "role": "operator",
        }
        if token is not None:
            full["auth"] = {"token": token}
        full.update(params)
        return self.call("connect", full)

    # -- the process

    def wait(self, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while self._read(min(0.1, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise TimeoutError("the session does not end")
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def leave(self, timeout=TIMEOUT):
        """As websocketd tells it: standard input ends."""
        self.process.stdin.close()
        return self.wait(timeout)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass

    def log(self):
        self.errors.seek(0)
        return [json.loads(line) for line in self.errors.read().decode().splitlines()]

    def memory(self, key="VmRSS"):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            found = re.search(rf"{key}:\s+(\d+) kB", file.read())
            return int(found.group(1)) if found else 0  # a zombie has none


class World:
    """A cluster with the schema, the agents alice, bob, carol and the operator root."""

    AGENTS = ("alice", "bob", "carol")

    def __init__(self, bouncer=False, **options):
        cluster.skip_without("initdb", "psql", *(["pgbouncer"] if bouncer else []))
        self.cluster = cluster.Cluster()
        self.cluster.create_database("gateway")
        self.install()
        self.server = cluster.Bouncer(self.cluster) if bouncer else self.cluster
        self.runtime = tempfile.mkdtemp(prefix="ocgs-")
        self.tokens = {}
        self.options = options
        for name in self.AGENTS:
            self.sql(f"select openclaw.agent_provision('{name}', 'openclaw-gateway', 'openclaw-1')")
            self.tokens[name] = self.token(name)
        self.sql(
            "insert into openclaw.principal (principal_id, kind, scopes)"
            " values ('root', 'operator', array['operator'])"
        )
        self.tokens["root"] = self.token("root")

    def install(self):
        schema.install(self.cluster, "gateway")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.server is not self.cluster:
            self.server.close()
        self.cluster.close()
        shutil.rmtree(self.runtime, ignore_errors=True)

    def token(self, principal):
        token = "ocg_" + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.sql(
            "insert into openclaw.credential (token_sha256, principal_id)"
            f" values ('{digest}', '{principal}')"
        )
        return token

    def sql(self, text):
        return self.cluster.execute(text, "gateway")

    def value(self, text):
        return self.cluster.value(text, "gateway")

    def environment(self, **more):
        environment = self.server.environment("gateway")
        environment.update(RUNTIME_DIR=self.runtime, GATEWAY_ENV="/dev/null", LOG_LEVEL="debug")
        environment.update({k: str(v) for k, v in {**self.options, **more}.items()})
        return environment

    def open(self, **environment):
        return Session(self.environment(**environment))

    def connect(self, name, environment=None, **params):
        session = self.open(**(environment or {}))
        try:
            session.hello = session.connect(self.tokens[name], **params)
        except BaseException:
            session.close()
            raise
        return session


def message(to, text, key, **more):
    return {"to": to, "message": text, "idempotencyKey": key, **more}

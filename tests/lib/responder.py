# SPDX-License-Identifier: MIT
"""openclaw-gateway-http of the build tree, without a web server.

    from responder import Responder, Gateway

    with Gateway() as gateway:                          # a cluster with the schema
        gateway.agent("alice"), gateway.operator("root")    # make them, return their tokens
        with Responder(gateway.cluster, settings={"HTTP_THREADS": 8}) as responder:
            answer = responder.get("/workflows?limit=1", token=token)
            answer.status, answer.headers["content-type"], answer.json()
            answer = responder.post("/messages", {"to": "bob", "content": 1}, token=token,
                                    headers={"Idempotency-Key": "k1"})
            answer = responder.send("POST", "/x", b"raw", variables={"CONTENT_LENGTH": "-1"})
            answer = responder.raw(b"any bytes")        # raises fastcgi.Lost without an answer

Responder waits until the program answers, and ends it; .workers() are the pids of its worker
processes, .log() what it has written, .stop() ends it and returns its exit code.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import fastcgi
from cluster import Cluster

BUILD = os.environ.get("abs_top_builddir", ".")
TIMEOUT = 90
START_TIMEOUT = 20
STOP_TIMEOUT = 40
EVERYTHING = "array['send','inbox','workflows:read','workflows:write','agents:write','operator']"


class Gateway:
    """A throw-away cluster with the schema and whoever speaks."""

    def __init__(self, settings=None):
        self.cluster = Cluster(settings)
        self.cluster.create_database("gateway")
        subprocess.run(
            [os.path.join(BUILD, "gatewayctl"), "migrate"],
            env={**self.cluster.environment("gateway"), "GATEWAY_ENV": "/dev/null"},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cluster.close()

    def execute(self, sql):
        return self.cluster.execute(sql, "gateway")

    def value(self, sql):
        return self.cluster.value(sql, "gateway")

    def credential(self, principal):
        token = f"token-of-{principal}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.execute(
            "insert into openclaw.credential (token_sha256, principal_id)"
            f" values ('{digest}', '{principal}');"
        )
        return token

    def agent(self, name):
        self.execute(f"select openclaw.agent_provision('{name}', 'openclaw-gateway', 'openclaw-1');")
        return self.credential(name)

    def principal(self, name, kind, scopes):
        self.execute(
            f"insert into openclaw.principal (principal_id, kind, scopes)"
            f" values ('{name}', '{kind}', {scopes});"
        )
        return self.credential(name)

    def operator(self, name):
        return self.principal(name, "operator", EVERYTHING)

    def acknowledge(self, agent, response="null", limit=100):
        """What a recipient does, by SQL alone: takes what is due, `limit` at a time, until there is
        nothing left, and confirms it. One claim stops at 2 MiB, so one is not all."""
        answers = ""
        while True:
            answer = self.execute(
                "select openclaw.inbox_ack('openclaw-gateway', true, array_agg('{0}'::text),"
                " array_agg(c.inbox_seq), array_agg(c.delivery_id),"
                " array_agg({1}::text))"
                " from openclaw.inbox_claim('{0}', 'test', null, null, {2}, 30000) c"
                " where c.inbox_seq is not null having count(*) > 0;".format(agent, response, limit)
            )
            if not answer.strip():
                return answers
            answers += answer


class Responder:
    def __init__(self, database, settings=None, processes=1, wait=True):
        self.directory = tempfile.mkdtemp(prefix="ocgw-http-")
        self.path = os.path.join(self.directory, "http.sock")
        self.log_path = os.path.join(self.directory, "log")
        self.environment = database.environment("gateway")
        self.environment.update(
            GATEWAY_ENV="/dev/null",
            HTTP_SOCKET=self.path,
            RUNTIME_DIR=os.path.join(self.directory, "run"),
            HTTP_PROCESSES=str(processes),
            LOG_LEVEL="debug",
            HOST_NAME="test",
        )
        self.environment.update({name: str(value) for name, value in (settings or {}).items()})
        self.start(wait)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "openclaw-gateway-http")],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while wait and not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the responder did not start:\n{self.log()}")
            time.sleep(0.02)

    def _answers(self):
        try:
            return self.get("/healthz").status == 200
        except (OSError, fastcgi.Lost):
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def events(self, name):
        """What was logged under this name."""
        lines = [line for line in self.log().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def workers(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]

    def variables(self, method, uri, body=b"", headers=None, token=None):
        values = fastcgi.variables(method, uri, None, token)
        if body or method in ("POST", "PUT", "PATCH"):
            values["CONTENT_LENGTH"] = str(len(body))
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            values[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value
        return values

    def send(self, method, uri, body=b"", headers=None, variables=None, token=None, end=True):
        """One request; `variables` are CGI variables that replace (None: remove) the usual ones."""
        values = self.variables(method, uri, body, headers, token)
        values.update(variables or {})
        with fastcgi.Connection(self.path, TIMEOUT) as connection:
            try:
                connection.begin()
                connection.params({n: v for n, v in values.items() if v is not None})
                if body:
                    connection.stdin(body)
                if end:
                    connection.stdin(b"")
            except BrokenPipeError:
                pass
            return connection.answer(TIMEOUT)

    def get(self, uri, **arguments):
        return self.send("GET", uri, **arguments)

    def post(self, uri, document, headers=None, **arguments):
        headers = {"Content-Type": "application/json", **(headers or {})}
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send("POST", uri, body, headers, **arguments)

    def raw(self, data):
        with fastcgi.Connection(self.path, TIMEOUT) as connection:
            connection.socket.sendall(data)
            return connection.answer(TIMEOUT)

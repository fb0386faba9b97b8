#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""openclaw-gateway-http as a plain CGI program: by hand, under lighttpd's mod_cgi and Apache's mod_cgid."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import fastcgi
from cluster import find_program, free_tcp_port, skip_without
from responder import Gateway
from tap import Tap, diagnose

SOURCE = os.environ["abs_top_srcdir"]
BUILD = os.environ["abs_top_builddir"]
PROGRAM = "openclaw-gateway-http"
TIMEOUT = 60.0


class Cgi:
    """The program, started by hand as a web server does."""

    def __init__(self, environment):
        self.environment = environment

    def run(self, method, target, body=None, token=None, headers=None, arguments=(), **variables):
        values = fastcgi.variables(method, target, body, token, headers)
        values.update(SCRIPT_NAME="", PATH_INFO=target.partition("?")[0])
        values.update(variables)
        process = subprocess.run(
            [os.path.join(BUILD, PROGRAM), *arguments],
            env={**self.environment, **{n: v for n, v in values.items() if v is not None}},
            # what stands after the body is another request's: it must not be read
            input=(body or b"") + b"GET / HTTP/1.1\r\n",
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.code, self.err = process.returncode, process.stderr.decode()
        return fastcgi.Answer(process.stdout, b"", 0)


def message(content):
    return json.dumps({"to": "bob", "content": content}).encode()


def check_by_hand(tap, gateway, cgi, tokens):
    answer = cgi.run("GET", "/healthz")
    tap.equal((answer.status, cgi.code), (200, 0), "one request, one answer, and it ends")
    key = {"Idempotency-Key": "cgi-1"}
    answer = cgi.run("POST", "/messages", message("by CGI"), tokens["alice"], key)
    tap.equal((answer.status, answer.json()["success"]), (200, True), "a message is accepted")
    tap.equal(gateway.value("select count(*) from openclaw.inbox"), "1", "and committed")
    again = cgi.run("POST", "/messages", message("by CGI"), tokens["alice"], key)
    tap.equal(
        again.json()["workflowUuid"],
        answer.json()["workflowUuid"],
        "the same key is the same message",
    )
    answer = cgi.run("GET", "/agents/bob/inbox?max=5", token=tokens["bob"])
    deliveries = answer.json()["messages"]
    tap.equal([d["content"] for d in deliveries], ["by CGI"], "bob takes it from his inbox")
    ack = json.dumps({"deliveryIds": [deliveries[0]["deliveryId"]]}).encode()
    answer = cgi.run("POST", "/agents/bob/inbox/ack", ack, tokens["bob"])
    tap.equal(len(answer.json()["acked"]), 1, "and acknowledges")
    head = cgi.run("HEAD", "/healthz")
    tap.equal((head.status, head.body), (200, b""), "HEAD has no body")
    answer = cgi.run("POST", "/messages", message("x"))
    tap.equal(answer.status, 401, "without a token nothing is taken")
    answer = cgi.run("POST", "/messages", message("x"), tokens["alice"], CONTENT_LENGTH="5")
    tap.equal(answer.status, 400, "no more is read than the length says")
    answer = cgi.run("POST", "/messages", message("x"), tokens["alice"], CONTENT_LENGTH="x")
    tap.equal(answer.status, 400, "a length that is none")


def check_failed_logins(tap, cgi):
    """Each request is a process of its own: what they count, they share."""
    few = Cgi({**cgi.environment, "AUTH_FAILURES_PER_MINUTE": "3"})
    statuses = [few.run("GET", "/agents/bob/inbox", token=f"wrong-{n}").status for n in range(5)]
    tap.equal(statuses, [401] * 3 + [429] * 2, "failed logins are limited")


def check_waiting(tap, gateway, cgi, tokens):
    headers = {"Prefer": "wait=1"}
    answer = cgi.run("POST", "/messages", message("slow"), tokens["alice"], headers)
    tap.equal(
        (answer.status, answer.json()["result"]["status"]),
        (200, "queued"),
        "a wait comes to its end",
    )


def check_handed(tap, gateway, cgi, tokens):
    """lighttpd ends the program as soon as it has a whole answer; a fault point holds it there until then."""
    values = fastcgi.variables("GET", "/agents/bob/inbox?max=9&wait=20", None, tokens["bob"], None)
    values.update(SCRIPT_NAME="", PATH_INFO="/agents/bob/inbox")
    values.update(OPENCLAW_FAULT_NAME="client.written", OPENCLAW_FAULT_AT="1", OPENCLAW_FAULT_ACT="stop")
    with subprocess.Popen(
        [os.path.join(BUILD, PROGRAM)],
        env={**cgi.environment, **values},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        answer = b""
        while not answer.endswith(b"}]}"):
            part = process.stdout.read(65536)
            if not part:
                break
            answer += part
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        process.send_signal(signal.SIGCONT)
        process.wait(TIMEOUT)
    took = fastcgi.Answer(answer, b"", 0).json()["messages"]
    tap.equal([m["content"] for m in took], ["slow"], "a poll is answered")
    handed = gateway.value("select bool_and(handed) from openclaw.inbox where state = 'leased'")
    tap.equal(handed, "t", "what it was answered counts as handed over, also where it is ended at once")
    ack = json.dumps({"deliveryIds": [m["deliveryId"] for m in took]}).encode()
    cgi.run("POST", "/agents/bob/inbox/ack", ack, tokens["bob"])


def check_the_clients_words(tap, cgi):
    """What comes from the client is no argument and no option."""
    for arguments in (["--version"], ["--check-config"], ["--config", "/etc/passwd"], ["--help"]):
        answer = cgi.run("GET", "/healthz?" + arguments[0], arguments=arguments)
        tap.equal(
            (answer.status, answer.json().get("code")),
            (400, "INVALID_REQUEST"),
            f"a query {arguments[0]} is no argument",
        )
    headers = {"Threads": "none", "Socket": "/tmp/x", "Processes": "x", "Proxy": "http://6.6.6.6/"}
    answer = cgi.run("GET", "/healthz", headers=headers)
    tap.equal(answer.status, 200, "a header Threads is no option HTTP_THREADS")


def check_places(tap, cgi):
    """Wherever the web server has put it."""
    for script, info, uri in (
        ("/cgi-bin/gateway", "/healthz", "/cgi-bin/gateway/healthz"),
        ("/gateway", "/healthz", "/healthz"),
        ("", "/healthz", None),
        ("/cgi-bin/gateway", "/healthz", None),
    ):
        answer = cgi.run("GET", "/", SCRIPT_NAME=script, PATH_INFO=info, REQUEST_URI=uri)
        tap.equal(answer.status, 200, f"SCRIPT_NAME {script!r}, REQUEST_URI {uri!r}")
    for info, uri in (("", "/cgi-bin/gateway?x"), ("", None)):
        answer = cgi.run(
            "GET",
            "/",
            SCRIPT_NAME="/cgi-bin/gateway",
            PATH_INFO=info,
            REQUEST_URI=uri,
            QUERY_STRING="",
        )
        tap.ok(
            b"openclaw-gateway" in answer.body or answer.status == 400,
            f"its root, REQUEST_URI {uri!r}",
            answer.body,
        )
    answer = cgi.run(
        "GET", "/", SCRIPT_NAME="/g", PATH_INFO="/healthz", REQUEST_URI="/gateway/healthz"
    )
    tap.equal(answer.status, 404, "a name that only begins alike is not cut off")


def check_configuration(tap, cgi):
    broken = Cgi({**cgi.environment, "LEASE_MS": "soon"})
    broken.run("GET", "/healthz")
    tap.ok(
        broken.code == 78 and "LEASE_MS" in broken.err,
        "a fault of the configuration is told",
        broken.err,
    )


# ---- under a web server ---------------------------------------------------------------------------


class Server:
    """A web server from its sample, as a user who is not root."""

    def __init__(self, sample, argv, environment):
        self.directory = tempfile.mkdtemp(prefix="ocgc-")
        os.chmod(self.directory, 0o755)
        self.port = free_tcp_port()
        for name in ("empty", "tmp", "run"):
            os.mkdir(os.path.join(self.directory, name))
        shutil.copy(os.path.join(BUILD, PROGRAM), os.path.join(self.directory, PROGRAM))
        environment = {**environment, "RUNTIME_DIR": os.path.join(self.directory, "run")}
        with open(os.path.join(self.directory, "gateway.env"), "w", encoding="utf-8") as file:
            for name, value in environment.items():
                if name in ("DATABASE_URL", "RUNTIME_DIR", "HOST_NAME") or name[:2] == "PG":
                    file.write(f"{name}={value}\n")
        with open(os.path.join(SOURCE, "deploy", "cgi", sample), encoding="utf-8") as file:
            text = file.read()
        for name, value in {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "FRONT_DIR": self.directory,
            "WEB_USER": "nobody",
            "WEB_GROUP": "nogroup",
            "PROBLEM_DIR": os.path.join(SOURCE, "deploy", "problem"),
            "PROGRAM": os.path.join(self.directory, PROGRAM),
            "GATEWAY_ENV": os.path.join(self.directory, "gateway.env"),
        }.items():
            text = text.replace(f"@{name}@", value)
        configuration = os.path.join(self.directory, "front.conf")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(text)
        become = {}
        if os.getuid() == 0:
            owner = os.stat(environment["PGHOST"]).st_uid  # who can reach the cluster's socket
            become = {"user": owner, "group": pwd.getpwuid(owner).pw_gid, "extra_groups": []}
            for place in [
                self.directory,
                *(os.path.join(self.directory, n) for n in os.listdir(self.directory)),
            ]:
                os.chown(place, owner, -1)
        self.log = open(os.path.join(self.directory, "log"), "w+b")
        self.process = subprocess.Popen(
            [*argv, configuration],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            **become,
        )

    def __enter__(self):
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.http("GET", "/healthz")
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.seek(0)
        for line in self.log.read().decode(errors="replace").splitlines():
            if not line.startswith("{"):
                diagnose(line)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def http(self, method, path, body=None, token=None, headers=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, data=body
        )
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers


def check_server(tap, gateway, environment, tokens, name, program, arguments):
    path = find_program(program)
    if path is None:
        tap.skip(f"{name}: one that is started by it", f"{program} is not installed")
        return
    with Server(f"{name}.conf.in", [path, *arguments], environment) as server:
        status, body, headers = server.http("GET", "/healthz")
        tap.equal(
            (status, headers["Content-Type"].split(";")[0]),
            (200, "application/json"),
            f"{name}: GET /healthz",
        )
        status, body, _ = server.http("GET", "/")
        tap.ok(status == 200 and b"openclaw-gateway" in body, f"{name}: GET /", body)
        key = {"Idempotency-Key": f"{name}-1"}
        status, body, _ = server.http("POST", "/messages", message(name), tokens["alice"], key)
        tap.equal(status, 200, f"{name}: a message is accepted")
        identity = json.loads(body)["workflowUuid"]
        status, body, _ = server.http("GET", f"/workflows/{identity}", token=tokens["alice"])
        tap.equal(status, 200, f"{name}: its workflow can be read")
        status, body, headers = server.http(
            "POST", "/messages", message(name), tokens["alice"], {"Prefer": "respond-async"}
        )
        tap.ok(
            status == 202 and headers["Location"].startswith("/workflows/"),
            f"{name}: 202 and where to look",
        )
        status, body, _ = server.http("GET", "/no/such/place", token=tokens["alice"])
        tap.equal(
            (status, json.loads(body)["code"]), (404, "NOT_FOUND"), f"{name}: its problems pass"
        )
        status, body, _ = server.http("GET", "/healthz?--version", headers={"Threads": "x"})
        tap.ok(status in (200, 400) and b"{" in body[:1], f"{name}: a query is no argument", body)
        status, body, _ = server.http("POST", "/messages", b"x" * (2 << 20), tokens["alice"])
        tap.equal(
            (status, json.loads(body)["code"]),
            (413, "TOO_LARGE"),
            f"{name}: a body that is too large",
        )
        status, body, _ = server.http("GET", "/healthz", headers={"Range": "bytes=0-3"})
        tap.ok(status == 200 and len(body) > 4, f"{name}: a range is not looked at", (status, body))
        forged = {"Idempotency_Key": f"{name}-forged", "X_Request_Id": "forged"}
        status, body, headers = server.http("POST", "/messages", message(name), tokens["alice"], forged)
        tap.ok(
            status == 200 and b"forged" not in body and "forged" not in str(headers),
            f"{name}: an underscore is no dash",
            (status, body, str(headers)),
        )
        if name == "apache":  # lighttpd passes this one on
            status, body, headers = server.http("GET", "/healthz", headers={"Expect": "200-ok"})
            tap.equal(
                (status, headers["Content-Type"], b'"status":417' in body.replace(b" ", b"")),
                (417, "application/problem+json", True),
                f"{name}: what the server itself refuses is a problem document",
            )


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Gateway() as gateway, tempfile.TemporaryDirectory() as directory:
        tokens = {name: gateway.agent(name) for name in ("alice", "bob")}
        environment = {
            **gateway.cluster.environment("gateway"),
            "GATEWAY_ENV": "/dev/null",
            "RUNTIME_DIR": directory,
            "HOST_NAME": "cgi",
        }
        cgi = Cgi(environment)
        check_by_hand(tap, gateway, cgi, tokens)
        check_waiting(tap, gateway, cgi, tokens)
        check_handed(tap, gateway, cgi, tokens)
        check_the_clients_words(tap, cgi)
        check_places(tap, cgi)
        check_configuration(tap, cgi)
        check_failed_logins(tap, cgi)
        tap.equal(
            [name for name in os.listdir(directory) if name.endswith(".bell")],
            [],
            "none of these requests has left a doorbell behind",
        )
        for name, program, arguments in (
            ("lighttpd", "lighttpd", ["-D", "-f"]),
            ("apache", "apache2", ["-DFOREGROUND", "-f"]),
        ):
            check_server(tap, gateway, environment, tokens, name, program, arguments)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

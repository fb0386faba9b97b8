# SPDX-License-Identifier: MIT
"""Both sides, running: the gateway's stack, the peer, and one PostgreSQL below them."""

import os
import platform
import pwd
import shutil
import subprocess
import tempfile
import time
import urllib.request

from machine import processes
from stack import Stack

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
PEER_PORT = 18999
AGENTS = 400  # 200 pairs


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options)


class Setting:
    def __init__(self, peer=True):
        self.with_peer = peer
        self.directory = tempfile.mkdtemp(prefix="bench-")
        self.peer = None

    def __enter__(self):
        self.say("building a release, and the load generator")
        build = os.path.join(self.directory, "build")
        os.makedirs(build)
        if not os.path.exists(os.path.join(TOP, "configure")):
            run("autoreconf", "-fi", cwd=TOP)
        run(os.path.join(TOP, "configure"), "-q", cwd=build)
        run("make", "-s", cwd=build)
        self.wsload = os.path.join(self.directory, "wsload")
        run(os.environ.get("CC", "cc"), "-O2", "-o", self.wsload, os.path.join(TOP, "bench/load/wsload.c"))
        self.say("starting the stack")
        os.environ["abs_top_builddir"] = build
        self.stack = Stack(
            settings={"INBOX_LIMIT": 100000000, "HTTP_THREADS": 128},
            environment={"BUILD_DIR": build, "MAX_SESSIONS": "1200"},
        )
        self.stack.__enter__()
        self.make_agents()
        if self.with_peer:
            self.start_peer()
        return self

    def __exit__(self, *exception):
        if self.peer:
            self.peer.terminate()
            self.peer.wait()
        self.stack.__exit__(*exception)
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def say(what):
        print(f"  {what}", flush=True)

    def make_agents(self):
        """Agents a0 … a399 with a token each; made in the database, for 400 gatewayctl take a minute."""
        import hashlib
        import secrets

        self.agents = [(f"a{number}", "ocg_" + secrets.token_urlsafe(32)) for number in range(AGENTS)]
        rows = ",".join(f"('{name}','{hashlib.sha256(token.encode()).hexdigest()}')" for name, token in self.agents)
        self.stack.execute(
            "select openclaw.agent_provision(v.name, 'openclaw-gateway', 'openclaw-1') from (values %s) v(name, hash);"
            "insert into openclaw.credential (token_sha256, principal_id) select v.hash, v.name from (values %s) v(name, hash)"
            % (rows, rows)
        )

    def tokens(self, senders, recipients=0, first=0):
        """A file for the load generator."""
        path = os.path.join(self.directory, "tokens")
        chosen = [self.agents[(first + i) % AGENTS] for i in range(senders)]
        chosen += [self.agents[(first + senders + i) % AGENTS] for i in range(recipients)]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.writelines(f"{token} {name}\n" for name, token in chosen)
        return path

    def start_peer(self):
        self.say("installing and starting the peer")
        folder = os.path.join(self.directory, "peer")
        shutil.copytree(os.path.join(TOP, "bench/peer"), folder)
        run("npm", "ci", "--no-fund", "--no-audit", cwd=folder)
        self.superuser("create database peer owner openclaw_owner")
        url = self.stack.env["DIRECT_DATABASE_URL"].rsplit("/", 1)[0] + "/peer"
        log = open(os.path.join(self.directory, "peer.log"), "w", encoding="utf-8")
        self.peer = subprocess.Popen(
            ["node", "peer.mjs"],
            cwd=folder,
            env=dict(os.environ, PEER_DATABASE_URL=url, PEER_PORT=str(PEER_PORT), NODE_ENV="production"),
            stdout=log,
            stderr=log,
        )
        self.peer_url = f"http://127.0.0.1:{PEER_PORT}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.peer_url + "/health", timeout=1)
                return
            except OSError:
                if time.monotonic() > deadline or self.peer.poll() is not None:
                    raise SystemExit("the peer did not start: " + open(log.name, encoding="utf-8").read())
                time.sleep(0.2)

    def superuser(self, sql):
        """As the user who runs the server, through its socket."""
        folder = self.stack.value("show unix_socket_directories")
        port = self.stack.value("show port")
        command = ["psql", "-qX", "-h", folder, "-p", port, "-d", "postgres", "-c", sql]
        if os.geteuid() == 0:
            owner = os.stat(os.path.join(self.stack.directory, "postgres")).st_uid
            name = pwd.getpwuid(owner).pw_name
            command = ["runuser", "-u", name, "--", *command]
        run(*command, cwd="/")

    def pids(self, side):
        if side == "peer":
            return {"peer": [self.peer.pid], "postgres": self.postgres_pids()}
        return {
            "responder": processes(r"openclaw-gateway-http"),
            "sessions": processes(r"openclaw-gateway-session"),
            "sweeper": processes(r"openclaw-gateway-sweeper"),
            "websocketd": processes(r"^\S*websocketd "),
            "lighttpd": processes(r"^\S*lighttpd "),
            "pgbouncer": processes(r"^\S*pgbouncer "),
            "postgres": self.postgres_pids(),
        }

    @staticmethod
    def postgres_pids():
        return processes(r"^(postgres: |\S*/postgres )")

    def facts(self):
        return {
            "cpu_count": os.cpu_count(),
            "kernel": platform.release(),
            "postgres": self.stack.value("select version()"),
            "fsync": self.stack.value("show fsync"),
            "synchronous_commit": self.stack.value("show synchronous_commit"),
        }

# SPDX-License-Identifier: MIT
"""Both sides, running: the gateway's stack, the peer, and one PostgreSQL below them."""

import hashlib
import os
import platform
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from cluster import find_program
from machine import ENDED, cpu_seconds, descendants, load_seconds
from stack import Stack

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
PEER_PORT = 18999
AGENTS = 440  # 200 pairs, 50 senders of one recipient, and recipients nobody reads


def run(*command, **options):
    result = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed\n{result.stdout}\n{result.stderr}")
    return result.stdout


class Setting:
    def __init__(self, peer=True, rows=0, configure=()):
        self.with_peer = peer
        self.rows = rows  # of history
        self.configure = configure  # options of the gateway's configure
        self.directory = tempfile.mkdtemp(prefix="bench-")
        self.peer = None
        self.peer_start_s = None
        self.sinks = 0

    def __enter__(self):
        try:
            self.say("building a release, and the load generator")
            build = self.build()
            self.say("starting the stack")
            os.environ["abs_top_builddir"] = build
            self.settings = {
                "INBOX_LIMIT": 100000000,
                "HTTP_THREADS": 128,
                # as the peer: clients since 5.0 read payloads where both sides write them
                "DBOS_LEGACY_PAYLOADS": 0,
            }
            self.environment = {"BUILD_DIR": build, "MAX_SESSIONS": "1200"}
            self.stack = Stack(settings=self.settings, environment=self.environment)
            self.make_agents()
            if self.with_peer:
                self.install_peer()
                self.start_peer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self.stop_peer()
        if hasattr(self, "stack"):
            self.stack.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def say(what):
        print(f"  {what}", flush=True)

    def build(self):
        build = os.path.join(self.directory, "build")
        os.makedirs(build)
        if not os.path.exists(os.path.join(TOP, "configure")):
            run("autoreconf", "-fi", cwd=TOP)
        run(os.path.join(TOP, "configure"), "-q", *self.configure, cwd=build)
        run("make", "-s", f"-j{os.cpu_count()}", cwd=build)
        self.wsload = os.path.join(self.directory, "wsload")
        run(os.environ.get("CC", "cc"), "-O2", "-o", self.wsload, os.path.join(TOP, "bench/load/wsload.c"))
        return build

    def make_agents(self):
        """Agents a0 … with a token each; made in the database, for 400 gatewayctl take a minute."""
        self.agents = [(f"a{number}", "ocg_" + secrets.token_urlsafe(32)) for number in range(AGENTS)]
        rows = ",".join(f"('{name}','{hashlib.sha256(token.encode()).hexdigest()}')" for name, token in self.agents)
        self.stack.execute(
            "select openclaw.agent_provision(v.name, 'openclaw-gateway', 'openclaw-1') from (values %s) v(name, hash);"
            "insert into openclaw.credential (token_sha256, principal_id) select v.hash, v.name from (values %s) v(name, hash)"
            % (rows, rows)
        )

    def tokens(self, senders, recipients=0, first=0, repeat=1):
        """A file for the load generator; repeat: as many connections for each sender."""
        path = os.path.join(self.directory, "tokens")
        chosen = [self.agents[first + i] for i in range(senders)] * repeat
        chosen += [self.agents[first + senders + i] for i in range(recipients)]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.writelines(f"{token} {name}\n" for name, token in chosen)
        return path

    def pooler_socket(self):
        """PG* of the way a session goes to the database: the pooler's Unix socket."""
        with open(self.stack.env["GATEWAY_ENV"], encoding="utf-8") as file:
            url = next(line for line in file if line.startswith("DATABASE_URL=")).partition("=")[2].strip().strip("'")
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query))
        return {
            "PGHOST": query["host"],
            "PGPORT": query["port"],
            "PGUSER": parts.username,
            "PGDATABASE": parts.path.lstrip("/"),
        }

    def install_peer(self):
        self.say("installing and starting the peer")
        self.peer_folder = os.path.join(self.directory, "peer")
        shutil.copytree(os.path.join(TOP, "bench/peer"), self.peer_folder)
        run("npm", "ci", "--no-fund", "--no-audit", cwd=self.peer_folder)
        self.superuser("create database peer owner openclaw_owner")

    def start_peer(self):
        url = self.stack.env["DIRECT_DATABASE_URL"].rsplit("/", 1)[0] + "/peer"
        log = open(os.path.join(self.directory, "peer.log"), "a", encoding="utf-8")
        began = time.monotonic()
        self.peer = subprocess.Popen(
            ["node", "peer.mjs"],
            cwd=self.peer_folder,
            env=dict(os.environ, PEER_DATABASE_URL=url, PEER_PORT=str(PEER_PORT), NODE_ENV="production"),
            stdout=log,
            stderr=log,
        )
        self.peer_url = f"http://127.0.0.1:{PEER_PORT}"
        while True:
            try:
                urllib.request.urlopen(self.peer_url + "/health", timeout=1)
                return time.monotonic() - began
            except OSError:
                if time.monotonic() > began + 60 or self.peer.poll() is not None:
                    raise SystemExit("the peer did not start: " + open(log.name, encoding="utf-8").read())
                time.sleep(0.01)

    def stop_peer(self):
        if self.peer:
            self.peer.terminate()
            self.peer.wait()
            self.peer = None

    def superuser(self, sql, database="postgres"):
        """As the user who runs the server, through its socket; no call waits for the log's flush."""
        folder = self.stack.value("show unix_socket_directories")
        command = [find_program("psql"), "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", folder]
        command += ["-p", self.stack.value("show port"), "-d", database, "-f", "-"]
        if os.geteuid() == 0:
            owner = os.stat(os.path.join(self.stack.directory, "postgres")).st_uid
            command = ["runuser", "-u", pwd.getpwuid(owner).pw_name, "--", *command]
        return run(*command, cwd="/", input=sql)

    def pids(self, side):
        """Its processes, by what they are."""
        postgres = descendants(self.stack.pid("postgres"))
        if side == "peer":
            return {"peer": descendants(self.peer.pid) if self.peer else [], "postgres": postgres}
        stack = self.stack
        return {
            "responder": stack.pids("http"),
            "relay": stack.pids("relay"),
            "sessions": stack.sessions(),
            "sweeper": stack.pids("sweeper"),
            "websocketd": [stack.pid("websocketd")],
            "lighttpd": stack.pids("lighttpd"),
            "pgbouncer": stack.pids("pgbouncer"),
            "postgres": postgres,
        }

    def cpu(self, side):
        """Seconds used so far, by what used them; sessions that have ended too."""
        pids = self.pids(side)
        used = {name: cpu_seconds(each) for name, each in pids.items()}
        if side == "gateway":
            ended = cpu_seconds(pids["websocketd"], (ENDED,))
            used["websocketd"] -= ended
            used["sessions"] += ended
        return used

    def cpu_of_all(self):
        used = self.cpu("gateway")
        if self.peer:
            used["peer"] = self.cpu("peer")["peer"]
        return sum(used.values()) + load_seconds() + cpu_seconds([os.getpid()])

    def facts(self):
        def show(name):
            return self.stack.value(f"show {name}")

        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
        return {
            "cpu": model,
            "cpu_count": os.cpu_count(),
            "kernel": platform.release(),
            "postgres": self.stack.value("select version()"),
            **{name: show(name) for name in ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")},
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

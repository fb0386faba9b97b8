# SPDX-License-Identifier: MIT
"""What is looked at all the time.

    Connections(stack, inbox)    server connections of the gateway: .most, .samples; the inbox's .deepest
    Steps(path)             when each outside step of a test workflow ran: .runs, [(time, "id/step")]
    RemoteSweeper(world)    a sweeper that passes for one of another host, started again when it ends

Each is a thread, or has one; close() ends it.
"""

import os
import subprocess
import threading
import time

from cluster import find_program
from stack import BUILD

SAMPLE_SECONDS = 0.1
OURS = "chaos"  # application_name of the test's own connections
COUNT = f"""
select 'connections', count(*), (
  select count(*) from openclaw.inbox where agent_id = '%s' and state in ('ready', 'leased')
)
from pg_stat_activity
where backend_type = 'client backend'
  and usename in ('openclaw_gateway', 'openclaw_sweeper')
  and application_name <> '{OURS}'
\\watch {SAMPLE_SECONDS}
"""


class Connections(threading.Thread):
    def __init__(self, stack, inbox):
        super().__init__(daemon=True)
        self.stack = stack
        self.inbox = inbox
        self.most = self.samples = self.deepest = 0
        self._ended = threading.Event()
        self._psql = None
        self.start()

    def run(self):
        url = self.stack.env["DIRECT_DATABASE_URL"]
        environment = {
            **os.environ,
            **self.stack._connection(url),
            "PGAPPNAME": OURS,
            "PGCONNECT_TIMEOUT": "5",
        }
        while not self._ended.wait(SAMPLE_SECONDS / 2):
            self._psql = subprocess.Popen(
                [find_program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env=environment,
            )
            try:
                self._psql.stdin.write(COUNT % self.inbox)
                self._psql.stdin.close()
                for line in self._psql.stdout:
                    name, *numbers = line.strip().split("|")
                    if name == "connections":
                        self.samples += 1
                        self.most = max(self.most, int(numbers[0]))
                        self.deepest = max(self.deepest, int(numbers[1]))
            except OSError:
                pass  # it could not connect
            self._psql.wait()

    def close(self):
        self._ended.set()
        if self._psql is not None:
            self._psql.kill()
        self.join()


class Steps(threading.Thread):
    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.runs = []
        self._ended = threading.Event()
        self.start()

    def run(self):
        position, rest = 0, ""
        while not self._ended.wait(0.02):
            try:
                with open(self.path, encoding="utf-8") as file:
                    file.seek(position)
                    text = file.read()
                    position = file.tell()
            except OSError:
                continue
            *lines, rest = (rest + text).split("\n")
            self.runs += [(time.time(), line) for line in lines]

    def close(self):
        self._ended.set()
        self.join()


class RemoteSweeper(threading.Thread):
    """Its patience with the silent is EXECUTOR_LEASE_MS, whatever runs on this machine."""

    def __init__(self, world):
        super().__init__(daemon=True)
        directory = os.path.join(world.directory, "elsewhere")
        os.mkdir(directory)
        with open(os.path.join(world.stack.directory, "etc", "sweeper.env"), encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith(("DIRECT_", "RUNTIME_DIR="))]
        lines += ["HOST_NAME=elsewhere\n", f"RUNTIME_DIR={directory}\n"]
        self.settings = os.path.join(directory, "sweeper.env")
        with open(self.settings, "w", encoding="utf-8") as file:
            file.writelines(lines)
        self.log_path = os.path.join(directory, "log")
        self.starts = 0
        self.process = None
        self._ended = threading.Event()
        self.start()

    @property
    def pid(self):
        return self.process.pid if self.process is not None else None

    def run(self):
        while not self._ended.is_set():
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    [os.path.join(BUILD, "openclaw-gateway-sweeper")],
                    env={"PATH": os.environ["PATH"], "GATEWAY_ENV": self.settings},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
            self.starts += 1
            self.process.wait()
            self._ended.wait(0.2)

    def close(self):
        self._ended.set()
        if self.process is not None:
            self.process.terminate()
        self.join()

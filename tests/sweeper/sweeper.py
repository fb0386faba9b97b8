# SPDX-License-Identifier: MIT
"""A sweeper under test, a database for it, and processes that can be killed."""

import json
import os
import signal
import subprocess
import threading
import time

from cluster import Cluster
from programs import SWEEPER, ctl, environment, run
from transition import Connection

DATABASE = "gateway"


class Machine:
    """A cluster with a migrated database; db is a connection with the functions by name."""

    def __init__(self, cluster, database=DATABASE, **extra):
        self.cluster, self.database, self.extra = cluster, database, extra
        cluster.create_database(database)
        migrated = ctl(cluster, database, "migrate", **extra)
        assert migrated.code == 0, str(migrated)
        self.runtime = os.path.join(cluster.directory, "run")
        self.db = Connection(cluster, database)

    def close(self):
        self.db.close()

    def settings(self, **extra):
        made = {"HOST_NAME": "here", "SWEEP_INTERVAL_MS": "50", "LOG_LEVEL": "debug"}
        made.update(self.extra, **extra)
        return environment(self.cluster, self.database, RUNTIME_DIR=self.runtime, **made)

    def once(self, **extra):
        return run([SWEEPER, "--once"], self.settings(**extra))

    def start(self, **extra):
        return Sweeper(self.settings(**extra))

    def register(self, process, host="here", kind="http", executor=None):
        """An executor whose process this is; returns its id."""
        executor = executor or f"executor-{process.pid}"
        self.db.call(
            "executor_register",
            executor=executor,
            kind=kind,
            host=host,
            pid=process.pid,
            pid_started=started(process.pid),
            principal=None,
            client=None,
        )
        return executor


class Sweeper:
    """The service; its log as a list of events."""

    def __init__(self, settings):
        self.events = []
        self.process = subprocess.Popen(
            [SWEEPER],
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def _read(self):
        for line in self.process.stderr:
            self.events.append(json.loads(line))

    def named(self, event):
        return [e for e in list(self.events) if e["event"] == event]

    def total(self, key):
        return sum(e.get(key, 0) for e in self.named("sweep"))

    def await_event(self, event, timeout=10.0):
        wait(lambda: self.named(event), f"the event {event}", timeout)
        return self.named(event)[-1]

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.reader.join()
        return self.process.returncode


def started(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


def sleeper():
    """Some process of ours."""
    return subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)


def kill(process):
    process.kill()
    process.wait()
    return process.returncode == -signal.SIGKILL


def wait(condition, what, timeout=10.0):
    """Seconds until this was true."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - begun


__all__ = ["Cluster", "DATABASE", "Machine", "kill", "sleeper", "started", "wait"]

# SPDX-License-Identifier: MIT
"""Runs cases (*.mjs) with an official SDK against a database whose workflows a real sweeper runs.

    import clients

    clients.skip_without(node.SDK)
    with clients.Gateway() as gateway:            # cluster, migrated, a sweeper running
        gateway.run(tap, "tests/interop/messages.mjs", server, label="direct")

    clients.main("tests/interop/queues.mjs")      # all of a test: 5.3.0, direct and through PgBouncer

What a case can ask of this side, host(CALL, …): ran (the keys of external steps, in order), kill (the
sweeper, SIGKILL; starts another), sweeper (so many sweepers from now on, on
hosts of their own where that is true), restart (one
sweeper with these settings), prune (gatewayctl prune).
"""

import json
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("sweeper", "ctl", "lib"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))

import node
from cluster import Bouncer, Cluster
from cluster import skip_without as skip_without_programs
from programs import SWEEPER, ctl
from sweeper import DATABASE, Machine
from tap import Tap, skip_all

SDK_4 = "dbos-sdk-4"
CASE_TIMEOUT = 600


def skip_without(*packages):
    skip_without_programs("initdb", "psql", "pgbouncer")
    node.skip_without(*packages)
    with open(SWEEPER, "rb") as file:
        if b"canonicalWorkflow" not in file.read():
            skip_all("the test workflows are not compiled in: configure --enable-test-workflows")


class Gateway:
    def __init__(self, **settings):
        self.settings = settings
        self.cluster = Cluster()
        self.bouncer = Bouncer(self.cluster)
        self.machine = Machine(self.cluster, DATABASE, **settings)
        os.makedirs(self.machine.runtime, exist_ok=True)
        self.sweepers = [self.machine.start(**settings)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sweeper in self.sweepers:
            sweeper.__exit__(None, None, None)
        self.machine.close()
        self.bouncer.close()
        self.cluster.close()

    # ---- what cases ask for

    def ran(self):
        path = os.path.join(self.machine.runtime, "test-steps")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()

    def kill(self):
        for sweeper in self.sweepers:
            sweeper.process.kill()
            sweeper.process.wait()
        self.sweepers = [self.machine.start(**self.settings)]

    def sweeper(self, count, hosts=False):
        while len(self.sweepers) > count:
            self.sweepers.pop().__exit__(None, None, None)
        while len(self.sweepers) < count:
            host = {"HOST_NAME": f"host-{len(self.sweepers)}"} if hosts else {}
            self.sweepers.append(self.machine.start(**self.settings, **host))

    def restart(self, settings):
        self.sweeper(0)
        self.sweepers = [self.machine.start(**self.settings, **settings)]

    def prune(self, *flags):
        result = ctl(self.cluster, DATABASE, "prune", "--json", *flags, **self.settings)
        assert result.code == 0, str(result)
        return result.json

    # ---- running them

    def run(self, tap, script, server, label, package=node.SDK, schema="dbos_system", only=()):
        environment = dict(os.environ, NODE_MODULES_DIR=node.modules())
        process = subprocess.Popen(
            ["node", os.path.join(node.SOURCE, script), server.url(DATABASE), schema, package, *only],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
        )
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        timer = threading.Timer(CASE_TIMEOUT, process.kill)
        timer.start()
        done = False
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if "call" in said:
                answer = getattr(self, said["call"])(*said["arguments"])
                process.stdin.write(json.dumps(answer) + "\n")
                process.stdin.flush()
            elif "done" in said:
                done = True
            else:
                detail = said.get("detail")
                tap.ok(said["ok"], f"{label}: {said['name']}", None if said["ok"] else detail)
        process.wait()
        timer.cancel()
        reader.join()
        tap.ok(done, f"{label}: {os.path.basename(script)} is through", "".join(errors)[-2000:])


def main(script, *more, gateway=Gateway, then=None):
    """The cases of a script with 5.3.0 and the packages of more, each direct and through PgBouncer, in
    one gateway; then(tap) afterwards. The arguments of the test choose cases."""
    skip_without(node.SDK, *more)
    tap = Tap()
    with gateway() as running:
        for package in (node.SDK, *more):
            version = node.version(package) + ", " if more else ""
            for label, server in (("direct", running.cluster), ("pooled", running.bouncer)):
                running.run(tap, script, server, version + label, package, only=sys.argv[1:])
    if then:
        then(tap)
    return tap.done()

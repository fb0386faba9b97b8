# SPDX-License-Identifier: MIT
"""Runs the programs of this build, as the tests of gatewayctl and of the sweeper do."""

import json
import os
import subprocess

BUILD = os.environ.get("abs_top_builddir") or os.getcwd()
CTL = os.path.join(BUILD, "gatewayctl")
RELAY = os.path.join(BUILD, "openclaw-gateway-relay")
SWEEPER = os.path.join(BUILD, "openclaw-gateway-sweeper")


class Result:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit {self.code}\n{self.out}{self.err}"


def environment(server, database, **extra):
    """What a program of ours needs to reach this database, and nothing of the caller's."""
    made = server.environment(database)
    for name in ("DATABASE_URL", "DIRECT_DATABASE_URL", "DBOS_SCHEMA", "NOTIFY_SOCKET"):
        made.pop(name, None)
    made["DATABASE_URL"] = server.url(database)
    made["GATEWAY_ENV"] = "/dev/null"
    made["RUNTIME_DIR"] = os.path.join(server.directory, "run")
    made.update(extra)
    return made


def run(command, environment):
    return Result(
        subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=120,
        )
    )


def ctl(server, database, *arguments, **extra):
    return run([CTL, *arguments], environment(server, database, **extra))


def ctl_start(server, database, *arguments, **extra):
    return subprocess.Popen(
        [CTL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(server, database, **extra),
    )

# SPDX-License-Identifier: MIT
"""Kills the processes of a running stack, and sees that they died and that they come back.

    killer = Killer(stack, sender="ws-1", receiver="bob")
    for target in killer.targets:           # a name for people
        killer.targets[target]()            # the pid that was killed; None: there is none just now
"""

import os
import random
import signal

from stack import wait

RESTART_TIMEOUT = 30.0
BACKEND = """
select pid from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid()
order by random() limit 1
"""


def alive(pid):
    """Is it there, and not a zombie?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Killer:
    """Each target: a function that kills one process and says which; None if there is none."""

    def __init__(self, stack, sender, receiver):
        self.stack = stack
        self.targets = {
            "responder worker": lambda: self.kill(self.workers()),
            "responder master": lambda: self.kill_service("http"),
            "session of a sender": lambda: self.kill(self.sessions(sender)),
            "session of the receiver": lambda: self.kill(self.sessions(receiver)),
            "sweeper": lambda: self.kill_service("sweeper"),
            "websocketd": lambda: self.kill_service("websocketd"),
            stack.front: lambda: self.kill_service(stack.front),
            "PgBouncer": lambda: self.kill_service("pgbouncer"),
            "PostgreSQL backend": lambda: self.kill([int(self.stack.value(BACKEND))]),
            "PostgreSQL postmaster": lambda: self.kill_service("postgres"),
        }

    def workers(self):
        return [pid for pid in self.stack.pids("http") if pid != self.stack.pid("http")]

    def sessions(self, principal):
        rows = self.stack.rows(
            "select pid from openclaw.executor where kind = 'session' and ended_at is null"
            f" and principal_id = '{principal}'"
        )
        alive = set(self.stack.sessions())
        return [int(row["pid"]) for row in rows if int(row["pid"]) in alive]

    def kill(self, pids):
        if not pids:
            return None
        pid = random.choice(pids)
        os.kill(pid, signal.SIGKILL)
        wait(lambda: not alive(pid), f"{pid} is dead")
        return pid

    def kill_service(self, service):
        pid = self.kill([self.stack.wait_running(service)])
        self.stack.wait_running(service, not_pid=pid, timeout=RESTART_TIMEOUT)
        return pid

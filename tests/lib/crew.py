# SPDX-License-Identifier: MIT
"""Sessions around a relay.

    with Crew(agents) as crew:              # a Rig, a relay, no sessions yet
        alice = crew.join("alice")          # a stack.Client
        with crew.standstill(alice, …):     # the relay is stopped; each of these has a call waiting there
            …start requests…                # when the block ends, the calls are there, and the relay goes on
        crew.relay.points()                 # what it has done
        crew.served()                       # how many calls it has given to the database
"""

import contextlib
import os
import signal
import socket
import time

from rig import Rig
from stack import Client, Refused

PATIENCE = 60.0


def eventually(condition, what, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def state_of(process):
    with open(f"/proc/{process.popen.pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()[0]


def sent(client):
    """How many calls the session has sent, to whomever."""
    return client.raw.process.points().count("db.sent")


def is_idle(client):
    """Has it no call on its way?  (One that the relay hands back is sent twice and answered once.)"""
    points = [point for point in client.raw.process.points() if point.startswith("db.")]
    return not points or points[-1] == "db.answer"


class Crew:
    def __init__(self, agents, settings=None, relay=True):
        self.rig = Rig({"DB_IDLE_MS": "600000", **(settings or {})}, agents)
        self.clients = []
        self.relay = self.rig.relay() if relay else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        self.rig.close()

    def join(self, agent, warm=True):
        """A session; warm: it has its connection to the relay."""
        client = Client(self.rig.pipes(), self.rig.tokens[agent])
        client.agent = agent
        self.clients.append(client)
        if warm:
            client.request("agents.list")
        return client

    def served(self):
        return self.relay.points().count("db.send")

    def stop(self):
        os.kill(self.relay.popen.pid, signal.SIGSTOP)
        eventually(lambda: state_of(self.relay) == "T", "the relay is stopped")

    def resume(self):
        os.kill(self.relay.popen.pid, signal.SIGCONT)

    def stop_between_calls(self, clients):
        """Who has a call of his own there sends the next one when that is answered."""

        def idle():
            return all(map(is_idle, clients))

        while True:
            eventually(idle, "nobody has a call on its way")
            self.stop()
            if idle():
                return
            self.resume()

    @contextlib.contextmanager
    def standstill(self, *clients):
        self.stop_between_calls(clients)
        before = [sent(client) for client in clients]
        try:
            yield
            for client, count in zip(clients, before):
                eventually(lambda: sent(client) > count, "the call is on its way")
        finally:
            self.resume()

    def at_once(self, clients, params):
        """Each sends what params(its number, its client) says; the answers or Refused."""
        with self.standstill(*clients):
            asked = [client.start("send", params(n, client)) for n, client in enumerate(clients)]
        return [answer_of(client, identity) for client, identity in zip(clients, asked)]

    def ring(self):
        """Every bell of this host."""
        directory = self.rig.environment["RUNTIME_DIR"]
        for root, _, names in os.walk(directory):
            for name in names:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
                    try:
                        bell.sendto(b"", os.path.join(root, name))
                    except OSError:
                        pass

    def transactions(self, prefix):
        """In how many transactions were the workflows of these keys written?"""
        return self.rig.value(
            "select count(distinct xmin::text) from dbos_system.workflow_status"
            f" where workflow_uuid like '%:{prefix}%'"
        )

    def stored(self, prefix):
        return self.rig.value(
            f"select count(*) from openclaw.inbox where message_uuid like '%:{prefix}%'"
        )


def answer_of(client, identity):
    try:
        return client.answer(identity, PATIENCE)
    except Refused as refused:
        return refused


def insist(client, params):
    """As a real client: what may be tried again with the same key is. The answer, and how many tries."""
    deadline = time.monotonic() + PATIENCE
    tries = 0
    while True:
        tries += 1
        try:
            return client.request("send", params, PATIENCE), tries
        except Refused as refused:
            if not refused.error.get("retryable") or time.monotonic() > deadline:
                raise
        time.sleep(0.05)

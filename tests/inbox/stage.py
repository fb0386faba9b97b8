# SPDX-License-Identifier: MIT
"""The inbox with everything that takes part in it: sessions, the responder, the sweeper, gatewayctl.

    with Stage(RETRY_BASE_MS=50) as stage:          # a cluster; alice, bob, carol, the operator root
        with stage.connect("alice") as alice: …     # a session (tests/session/sessions.py)
        stage.get("/dead-letters", "bob")           # by HTTP, as bob
        stage.post("/messages", "alice", {...}), stage.delete("/dead-letters/x", "root")
        stage.ctl("dead", "list", "--json")         # programs.Result
        stage.sweeper.kill(), stage.start_sweeper() # the real one, in its own process
        stage.accept("alice", "bob", "k1", "text")  -> the workflow's id
        stage.lead_to_death("alice", "bob", "k1")   # sends, claims, refuses for good; by HTTP

What it does not ask for is not started: Stage(sweeper=False, responder=False).
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = os.environ.get("abs_top_srcdir") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..")
)
sys.path.insert(0, os.path.join(SOURCE, "tests", "session"))

import programs
from responder import Responder
from sessions import Refused, World, message

__all__ = ["Refused", "Stage", "Task", "eventually", "message"]


class Task(threading.Thread):
    """A call in a thread of its own; result() waits for it."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function, self.value, self.error = function, None, None
        self.start()

    def run(self):
        try:
            self.value = self.function()
        except BaseException as error:
            self.error = error

    def result(self, timeout=30):
        self.join(timeout)
        assert not self.is_alive(), "it does not end"
        if self.error is not None:
            raise self.error
        return self.value


def eventually(condition, timeout=10.0, pause=0.02):
    """The first true value of condition(), or its last one when the time is up."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(pause)


class Stage(World):
    def __init__(self, sweeper=True, responder=True, **options):
        super().__init__(HOST_NAME="here", SWEEP_INTERVAL_MS=50, **options)
        self.sweeper = self.responder = None
        self.sweeper_log = tempfile.TemporaryFile()
        if responder:
            settings = {n: v for n, v in self.environment().items() if n in self.options}
            settings.update(RUNTIME_DIR=self.runtime, HOST_NAME="here")
            self.responder = Responder(self.server, settings=settings)
        if sweeper:
            self.start_sweeper()

    def install(self):
        """As an operator does it: the sweeper asks for that."""
        result = programs.ctl(self.cluster, "gateway", "migrate")
        assert result.code == 0, str(result)

    def start_sweeper(self):
        self.sweeper = subprocess.Popen(
            [programs.SWEEPER],
            stdin=subprocess.DEVNULL,
            stdout=self.sweeper_log,
            stderr=self.sweeper_log,
            env=self.environment(),
        )

    def stop_sweeper(self):
        if self.sweeper is not None:
            self.sweeper.kill()
            self.sweeper.wait()
            self.sweeper = None

    def close(self):
        self.stop_sweeper()
        if self.responder is not None:
            self.responder.__exit__()
        super().close()

    # -- HTTP

    def get(self, target, who, **more):
        return self.responder.get(target, token=self.tokens[who], **more)

    def post(self, target, who, document, **more):
        return self.responder.post(target, document, token=self.tokens[who], **more)

    def patch(self, target, who, document):
        return self.responder.send(
            "PATCH",
            target,
            json.dumps(document).encode(),
            {"Content-Type": "application/json"},
            token=self.tokens[who],
        )

    def delete(self, target, who):
        return self.responder.send("DELETE", target, token=self.tokens[who])

    def redrive(self, identity, who):
        return self.responder.send(
            "POST", f"/dead-letters/{identity}/redrive", token=self.tokens[who]
        )

    def accept(self, sender, to, key, content="hello", **more):
        answer = self.post("/messages", sender, {"id": key, "to": to, "content": content, **more})
        assert answer.status == 200, answer.body
        return answer.json()["workflowUuid"]

    def pull(self, who, **more):
        query = "&".join(f"{n}={v}" for n, v in more.items())
        answer = self.get(f"/agents/{who}/inbox?{query}" if query else f"/agents/{who}/inbox", who)
        assert answer.status == 200, answer.body
        return answer.json()["messages"]

    def ack(self, who, *deliveries, **more):
        ids = [d["deliveryId"] for d in deliveries]
        return self.post(f"/agents/{who}/inbox/ack", who, {"deliveryIds": ids, **more}).json()

    def nack(self, who, delivery, **more):
        return self.post(
            f"/agents/{who}/inbox/nack", who, {"deliveryId": delivery["deliveryId"], **more}
        ).json()

    def lead_to_death(self, sender, to, key, reason="no use", **more):
        identity = self.accept(sender, to, key, **more)
        while True:
            [delivery] = self.pull(to, max=1, wait=5)
            if delivery["workflowUuid"] == identity:
                assert self.nack(to, delivery, requeue=False, reason=reason)["status"] == "dead"
                return identity
            self.ack(to, delivery)

    def workflow(self, identity, who="root"):
        return self.get(f"/workflows/{identity}", who).json()

    # -- the others

    def ctl(self, *arguments):
        return programs.run([programs.CTL, *arguments], self.environment())

    def inbox(self, identity):
        """The delivery state of a message, as a dict of texts."""
        return self.cluster.rows(
            f"select * from openclaw.inbox where message_uuid = '{identity}'"
            " order by inbox_seq desc limit 1",
            "gateway",
        )[0]

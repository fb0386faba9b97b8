#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Two hosts and one database: a bell goes from one to the other through the sweeper that listens there;
without a direct connection, or while it is cut, who waits looks by itself. Nothing is judged by time:
rings are counted at the socket of a receiver that never looks."""

import json
import os
import socket
import subprocess
import sys
import uuid

import programs
from cluster import skip_without
from responder import Responder
from stage import Stage, Task, eventually
from tap import Tap

tap = Tap()
DEADLINE = 60


class Host:
    """A host of its own: a name, a runtime directory, a sweeper that does nothing but listen."""

    def __init__(self, stage, name, direct=True):
        self.stage, self.name = stage, name
        self.runtime = os.path.join(stage.cluster.directory, "run-" + name)
        os.makedirs(self.runtime, exist_ok=True)
        self.environment = {"HOST_NAME": name, "RUNTIME_DIR": self.runtime}
        self.log = os.path.join(self.runtime, "sweeper.log")
        environment = stage.environment()
        environment.update(self.environment, SWEEP_INTERVAL_MS="3600000", LOG_LEVEL="debug")
        environment.pop("DIRECT_DATABASE_URL", None)
        if direct:
            environment["DIRECT_DATABASE_URL"] = stage.cluster.url("gateway")
        with open(self.log, "w") as log:
            self.sweeper = subprocess.Popen(
                [programs.SWEEPER], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def events(self, name):
        with open(self.log, encoding="utf-8") as log:
            lines = [json.loads(line) for line in log if line.startswith("{") and line.endswith("}\n")]
        return [line for line in lines if line.get("event") == name]

    def listens(self, times=1):
        return eventually(lambda: len(self.events("bells.listening")) >= times, DEADLINE)

    def heard(self):
        return sum(line["rung"] for line in self.events("bells.heard"))

    def close(self):
        self.sweeper.terminate()
        self.sweeper.wait(DEADLINE)


class Receiver:
    """Subscribes to an inbox, has a doorbell, and never looks: what comes to its socket was rung."""

    def __init__(self, host, agent):
        self.executor = str(uuid.uuid4())
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(host.runtime, self.executor + ".bell"))
        host.stage.sql(
            "insert into openclaw.executor (executor_id, kind, host, pid, pid_started, principal_id)"
            f" values ('{self.executor}', 'session', '{host.name}', {os.getpid()}, 0, '{agent}');"
            "insert into openclaw.subscription (agent_id, executor_id, epoch, exclusive, max_in_flight, lease_ms)"
            f" values ('{agent}', '{self.executor}', nextval('openclaw.epoch'), false, 1, 30000)"
        )

    def rung(self, seconds=DEADLINE):
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(16) is not None
        except socket.timeout:
            return False


def from_everybody(stage, a, b):
    receiver = Receiver(b, "bob")
    tap.ok(a.listens() and b.listens(), "the sweepers of both hosts listen")
    with stage.connect("alice", a.environment) as alice:
        alice.call("send", {"to": "bob", "message": "1", "idempotencyKey": "s1"})
        tap.ok(receiver.rung(), "a session of one host rings a receiver of the other")
    environment = {**stage.environment(), **a.environment}
    sent = programs.run([programs.CTL, "message", "send", "bob", "2"], environment)
    tap.ok(sent.code == 0 and receiver.rung(), "so does gatewayctl", str(sent))
    settings = {n: v for n, v in stage.environment().items() if n in stage.options}
    with Responder(stage.server, settings={**settings, **a.environment}) as http:
        body = {"to": "bob", "content": "3"}
        answer = http.post("/messages", body, token=stage.tokens["alice"])
        tap.ok(answer.status == 200 and receiver.rung(), "so does the responder")
        waiting = Task(lambda: http.post("/messages", body, {"Prefer": "wait=50"}, token=stage.tokens["alice"]))
        tap.ok(receiver.rung(), "also where the sender waits")
        heard = a.heard()
        with stage.connect("bob", b.environment) as bob:
            bob.call("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10, "exclusive": False})
            for _ in range(4):
                delivery = bob.event("inbox.message")
                bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": "heard"})
        answer = waiting.result(DEADLINE)
        tap.equal(answer.json()["result"]["status"], "acknowledged", "who is told when it is acknowledged")
        tap.ok(eventually(lambda: a.heard() > heard, DEADLINE), "by a bell that went the other way")
    tap.ok(b.heard() >= 4, "each was one notification", b.events("bells.heard"))
    value = stage.value("select count(*) from pg_stat_activity where query like '%bell_listen%' and pid <> pg_backend_pid()")
    tap.equal(value, "2", "one connection of each host listens, and no other")
    return receiver


def cut(stage, a, b, receiver):
    stage.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where query like '%bell_listen%' and pid <> pg_backend_pid()"
    )
    tap.ok(b.listens(2), "a listener whose connection was cut listens again")
    tap.ok(b.events("bells.deaf"), "and has said so")
    while receiver.rung(0.1):
        pass
    with stage.connect("alice", a.environment) as alice:
        alice.call("send", {"to": "bob", "message": "5", "idempotencyKey": "s5"})
        # while she is there: one that is killed right behind its answer rings nobody
        tap.ok(receiver.rung(), "and rings")
    stage.ack("bob", *stage.pull("bob"))


def without(stage, a):
    c = Host(stage, "c", direct=False)
    receiver = Receiver(c, "carol")
    with stage.connect("carol", c.environment) as carol, stage.connect("alice", a.environment) as alice:
        carol.call("inbox.subscribe", {"inbox": "carol", "exclusive": False})
        alice.call("send", {"to": "carol", "message": "6", "idempotencyKey": "s6"})
        tap.equal(carol.event("inbox.message", DEADLINE)["content"], "6",
                  "without a direct connection the receiver looks by itself")
    tap.ok(not receiver.rung(0.5), "nobody rang")
    tap.equal((c.events("bells.listening"), c.heard()), ([], 0), "as nobody listens there")
    c.close()


skip_without("initdb", "psql")
with Stage(sweeper=False) as stage:
    hosts = [Host(stage, "a"), Host(stage, "b")]
    try:
        receiver = from_everybody(stage, *hosts)
        cut(stage, *hosts, receiver)
        without(stage, hosts[0])
    finally:
        for host in hosts:
            host.close()
sys.exit(tap.done())

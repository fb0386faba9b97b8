# SPDX-License-Identifier: MIT
"""A stack, its clients and their histories: one run of chaos.

    with World(stack, seed, directory, interval, tokens) as world:
        world.start()                   the clients
        world.quiet(8)                  nothing goes wrong, nobody is late
        world.storm(plan(…))            the faults, as scheduled; .faults, .failures
        world.drain(60)                 nobody sends any more; until all is settled
        world.judge()                   the violations
"""

import json
import os
import time

from clients import HttpReceiver, HttpSender, PoisonedReceiver, ScriptStarter, WsReceiver, WsSender
from cluster import SqlError
from history import History, load_all
from judge import ChaosChecker
from mischief import Mischief
from stack import BUILD, SOURCE, wait
from tap import diagnose
from watch import Connections, RemoteSweeper, Steps

INBOXES = {"bob": 6, "carol": 4, "dave": 1, "erin": 2, "frank": 3, "grace": 1}  # how often each is written to
FULL_AT = 6  # of erin, who is slow
SENDERS = {"http-1": HttpSender, "http-2": HttpSender, "ws-1": WsSender, "ws-2": WsSender}
SETTINGS = {
    "LEASE_MS": 2000,
    "EXECUTOR_LEASE_MS": 2000,
    "RETRY_BASE_MS": 50,
    "RETRY_MAX_MS": 1000,
    "MAX_ATTEMPTS": 20,
    "HTTP_PROCESSES": 2,
    "METRICS": "public",
    "HTTP_THREADS": 16,
}
UNSETTLED = """
select
  (select count(*) from openclaw.inbox where state in ('ready', 'leased'))
  + (
    select count(*) from dbos_system.workflow_status
    where status in ('PENDING', 'ENQUEUED', 'DELAYED') and name <> 'agent'
  )
"""
CLEAR = """
truncate openclaw.inbox, openclaw.subscription, openclaw.inbox_bound, openclaw.inbox_depth;
delete from dbos_system.workflow_status where name <> 'agent';
delete from dbos_system.notifications;
delete from dbos_system.operation_outputs;
delete from dbos_system.workflow_output;
truncate chaos.ledger
"""


def has_test_workflows():
    with open(os.path.join(BUILD, "openclaw-gateway-http"), "rb") as file:
        return b"testScript" in file.read()


def apply(stack, name):
    with open(os.path.join(SOURCE, "tests", "chaos", name), encoding="utf-8") as file:
        stack.execute(file.read())


class World:
    def __init__(self, stack, seed, directory, interval, tokens, late=0.01):
        self.stack, self.seed, self.directory, self.interval = stack, seed, directory, interval
        self.tokens = tokens
        self.late = late
        self.calm = True
        self.continued = []
        self.faults = []
        self.failures = []
        self.histories = {}
        self.times = {}
        self.connections = Connections(stack, "erin")
        self.remote = RemoteSweeper(self)
        self.steps = Steps(os.path.join(self.setting("RUNTIME_DIR"), "test-steps"))
        self.receivers = [
            WsReceiver(self, "bob"),
            HttpReceiver(self, "carol"),
            WsReceiver(self, "dave", strict=True),
            HttpReceiver(self, "erin", slow=True),
            WsReceiver(self, "frank", name="frank-1"),
            WsReceiver(self, "frank", name="frank-2"),
        ]
        self.poisoned = PoisonedReceiver(self, "grace", strict=True)
        self.receivers.append(self.poisoned)
        stack.execute(f"update openclaw.agent set inbox_limit = {FULL_AT} where agent_id = 'erin'")
        self.senders = [kind(self, name, INBOXES) for name, kind in SENDERS.items()]
        self.starters = [ScriptStarter(self, "operator")] if has_test_workflows() else []
        self.clients = self.receivers + self.senders + self.starters
        self.mischief = Mischief(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.stop()
        self.remote.close()
        self.connections.close()
        self.steps.close()
        for client in self.clients:
            if client.is_alive():
                client.join(5)

    def setting(self, name):
        with open(os.path.join(self.stack.directory, "etc", "gateway.env"), encoding="utf-8") as file:
            values = (line.split("=", 1)[1] for line in file if line.startswith(name + "="))
            return next(values).strip().strip("'")

    def token(self, name):
        if name not in self.tokens:
            result = self.stack.ctl("agent", "add", name, "--json")
            assert result.returncode == 0, result.stderr
            self.tokens[name] = json.loads(result.stdout)["token"]
        return self.tokens[name]

    def history(self, name):
        path = os.path.join(self.directory, f"{name}.jsonl")
        self.histories[name] = History(path, name)
        return self.histories[name]

    def check_clients(self):
        for client in self.clients:
            if client.error is not None:
                raise AssertionError(f"{client.name} ended: {client.error!r}") from client.error

    # ---- phases

    def start(self):
        for client in self.clients:
            client.start()

    def quiet(self, seconds):
        self.times["quiet"] = time.time()
        time.sleep(seconds)
        self.check_clients()

    def storm(self, faults, say=True):
        self.calm = False
        self.times["storm"] = time.time()
        notes = self.history("mischief")
        start = time.monotonic()
        for number, fault in enumerate(faults, 1):
            time.sleep(max(start + fault.at - time.monotonic(), 0))
            begun = time.time()
            try:
                evidence = self.mischief.perform(fault)
            except (AssertionError, OSError, SqlError) as error:
                self.failures.append(f"{number} {fault.kind}: {error}")
                diagnose(f"{time.monotonic() - start:7.2f} s  {number} {fault.kind} did not happen: {error}")
                continue
            begun = evidence.pop("at", begun)
            line = {"kind": fault.kind, "begun": begun, "ended": time.time(), "planned": fault.at}
            line["who"] = evidence.pop("client", None)
            self.faults.append({**line, **evidence})
            notes.note("fault", target=line["who"], **{**line, **evidence})
            if say:
                told = {k: round(v, 2) if k == "seconds" else v for k, v in evidence.items() if k != "back"}
                told = {"who": line["who"], **told} if line["who"] else told
                told = ", ".join(f"{name} {value}" for name, value in told.items())
                diagnose(f"{time.monotonic() - start:7.2f} s  {number} {fault.kind}: {told}")
            self.check_clients()
        self.times["end"] = time.time()

    def drain(self, patience):
        """True if everything came to its end; False after `patience` seconds without progress."""
        for client in self.senders + self.starters:
            client.stop()
        for client in self.senders + self.starters:
            client.join(patience)
        self.check_clients()
        least, since = None, time.monotonic()
        enough = SETTINGS["MAX_ATTEMPTS"] + 1
        while True:
            left = int(self.stack.value(UNSETTLED))
            if left == 0:
                break
            # a message that ends each connection makes its way to its last attempt, and no further
            way = (left, -min(self.poisoned.most, enough))
            if least is None or way < least:
                least, since = way, time.monotonic()
            if time.monotonic() - since > patience:
                break
            self.check_clients()
            time.sleep(0.2)
        for client in self.receivers:
            client.stop()
        for client in self.receivers:
            client.join(patience)
        self.check_clients()
        return left == 0 and not any(client.is_alive() for client in self.clients)

    def judge(self):
        self.events = load_all(self.directory)
        self.checker = ChaosChecker(
            self.stack.value, self.events, self.steps.runs, self.continued, self.connections.deepest, FULL_AT
        )
        return self.checker.check(settled=True)


def fresh(stack):
    """Ready for another run: no messages, no workflows, an empty ledger."""
    wait(lambda: stack.http("GET", "/readyz")[0] == 200, "the gateway is ready", 30)
    stack.execute(CLEAR)

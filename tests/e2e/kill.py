#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""kill -9 of every program of the stack, in turn, under a steady stream of 2 000 messages.

Two senders over HTTP and two over WebSocket, one receiver that acknowledges; all of them reconnect
and try again with the same keys.  Afterwards: all acknowledged, none answered and lost, none settled
twice, each sender's messages in their order.  Fails if a scheduled kill did not happen.
"""

import collections
import json
import os
import random
import sys
import tempfile
import time

from checker import Checker
from faults import Killer
from history import History, load_all
from stack import Stack, skip_without_stack, wait
from tap import Tap, diagnose
from traffic import STALL_TIMEOUT, HttpSender, Stream, WsReceiver, WsSender

MESSAGES = 2000
SENDERS = {"http-1": HttpSender, "http-2": HttpSender, "ws-1": WsSender, "ws-2": WsSender}
RECEIVER = "bob"
EACH = MESSAGES // len(SENDERS)
INTERVAL = 0.06  # seconds between two messages of one sender, when nothing is wrong
AFTERWARDS = 20  # messages acknowledged after a kill, for the stream to be going on
SUCCEEDED = """
select count(*)
from dbos_system.workflow_status w
join openclaw.inbox i on i.workflow_uuid = w.workflow_uuid
where w.status = 'SUCCESS' and i.state = 'acked'
"""


def add_agent(stack, name):
    result = stack.ctl("agent", "add", name, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["token"]


class Run:
    def __init__(self, stack, directory):
        self.stack = stack
        self.directory = directory
        self.receiver = WsReceiver(
            stack, RECEIVER, stack.tokens[RECEIVER], self.history("receiver")
        )
        self.senders = [
            kind(stack, name, add_agent(stack, name), RECEIVER, EACH, INTERVAL, self.history(name))
            for name, kind in SENDERS.items()
        ]
        self.stream = Stream(stack, (self.receiver, *self.senders))
        self.killer = Killer(stack, sender="ws-1", receiver=RECEIVER)
        self.gaps = {}

    def history(self, name):
        return History(os.path.join(self.directory, f"{name}.jsonl"), name)

    def kill_everything(self, tap):
        """Each target once, in an order of chance, evenly over the stream."""
        notes = self.history("killer")
        schedule = list(self.killer.targets)
        random.shuffle(schedule)
        for number, target in enumerate(schedule, 1):
            self.stream.reaches(MESSAGES * number // (len(schedule) + 1), "the kill before")
            before = self.stream.look()
            # on a slow machine the receiver may be far behind senders that are done
            loaded = before < MESSAGES or any(s.answered < EACH for s in self.senders)
            at = time.monotonic()
            pid = wait(self.killer.targets[target], f"a {target} to kill")
            notes.note("fault", kind="kill -9", target=target, pid=pid)
            tap.ok(loaded, f"killed under load: {target}", f"pid {pid}")
            self.stream.reaches(min(before + AFTERWARDS, MESSAGES), f"kill -9 of {target}")
            self.gaps[target] = time.monotonic() - at

    def finish(self, tap):
        self.stream.reaches(MESSAGES, "the last kill")
        for sender in self.senders:
            sender.join(STALL_TIMEOUT)
            good = sender.answered == EACH and sender.error is None
            tap.ok(good, f"{sender.name}: all {EACH} are answered", sender.error)
        self.receiver.stop()
        self.receiver.join(STALL_TIMEOUT)
        tap.equal(self.receiver.error, None, "the receiver went on")

    def judge(self, tap):
        events = load_all(self.directory)
        broken = Checker(self.stack.value, events).check(settled=True)
        tap.equal(broken, [], "no promise is broken")
        happened = {e["target"] for e in events if e["event"] == "fault"}
        tap.equal(happened, set(self.killer.targets), "every scheduled kill happened")
        tap.equal(int(self.stack.value(SUCCEEDED)), MESSAGES, "every message is acknowledged")
        kinds = collections.Counter(e["event"] for e in events)
        diagnose(
            f"{MESSAGES} messages: {self.receiver.delivered} deliveries, of these"
            f" {self.receiver.redelivered} again; {kinds['stale']} stale confirmations;"
            f" {sum(s.retries for s in self.senders)} retries of senders;"
            f" {self.receiver.connections} connections of the receiver; {len(broken)} violations"
        )
        for target, gap in self.gaps.items():
            diagnose(f"{target:<26} {AFTERWARDS} more acknowledged after {gap:5.2f} s")


def main():
    skip_without_stack()
    tap = Tap()
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 1_000_000))
    random.seed(seed)
    diagnose(f"KILL_SEED={seed}")
    with Stack() as stack, tempfile.TemporaryDirectory() as directory:
        wait(lambda: stack.http("GET", "/readyz")[0] == 200, "the gateway is ready")
        run = Run(stack, directory)
        for worker in (run.receiver, *run.senders):
            worker.start()
        try:
            run.kill_everything(tap)
            run.finish(tap)
            run.judge(tap)
        except Exception as error:
            tap.ok(False, "the stream comes to its end", repr(error))
            for service in ("http", "sweeper", "websocketd"):
                diagnose(f"--- {service}\n{stack.log(service)[-1500:]}")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The crash matrix of the relay: sessions whose calls go through it.

    relay.py [session|kill|stop …]

session   a session is killed at its fault point 1, 2, 3 …, with a relay that lives on
kill      the relay is killed at its fault point 1, 2, 3 …; the sessions live on, and call directly
stop      the relay is stopped there until its callers have given it up, others have done their work
          and all is settled; then it goes on with what it had in hand

Retry, recovery and judgement are those of the crash matrix. Of stop, which takes seconds each, every
fourth point: before a call is sent, behind it, and when the answer is there, in turn.
"""

import os
import signal
import sys

from campaign import campaign
from crew import eventually, state_of
from rig import Kill, skip_without_fault_points
from scenario import SCENARIOS
from tap import Tap

KILLED = ("accept-ws", "deliver", "acknowledge", "hand-over", "refuse", "settle-ws")
STOPPED = ("accept-ws", "acknowledge")
STOP_STRIDE = 4  # of three points for each call: all kinds in turn


class RelayFault:
    """The relay passes its number-th fault point."""

    act = "kill"

    def __init__(self, bench, number):
        self.bench, self.number = bench, number
        self.relay = None

    def environment(self):
        return {}  # of the session's

    def run(self, attempt):
        fault = {"OPENCLAW_FAULT_AT": str(self.number), "OPENCLAW_FAULT_ACT": self.act}
        self.relay = self.bench.rig.relay(environment=fault)
        return attempt()

    def hit(self, process):
        # its socket is closed, and a session ended, before it is a process no more
        if len(self.relay.points()) >= self.number:
            self.relay.wait()
        return self.relay.popen.poll() == -signal.SIGKILL

    def where(self, process):
        return (self.relay.points() or ["the start"])[-1]

    def trouble(self, process, hit):
        passed = len(self.relay.points())
        if hit and passed != self.number or not hit and passed >= self.number:
            return f"the relay has passed {passed} points"
        if process.popen.returncode != 0:
            return f"the session ended with {process.popen.returncode}"
        if not hit and self.relay.end() != 0:
            return f"the relay ended with {self.relay.popen.returncode}"
        return None

    def close(self):
        if self.relay.running():
            self.relay.end()


class RelayStop(RelayFault):
    """It stands still there, and goes on when nobody waits for it any more."""

    act = "stop"
    stopped = False

    def run(self, attempt):
        process = super().run(attempt)
        self.stopped = state_of(self.relay) == "T"
        if self.stopped:
            self.bench.rig.sweep()
            self.bench.drain()
            self.bench.rig.sweep()
            os.kill(self.relay.popen.pid, signal.SIGCONT)
        return process

    def hit(self, process):
        return self.stopped

    def trouble(self, process, hit):
        if process.popen.returncode != 0:
            return f"the session ended with {process.popen.returncode}"
        # what it had in hand it ends first
        if self.relay.end() != 0:
            return f"the relay ended with {self.relay.popen.returncode}"
        return None


def chosen(names, stride=1):
    kinds = [kind for kind in SCENARIOS if kind.name in names]
    return [type(kind.__name__, (kind,), {"stride": stride}) for kind in kinds]


def relay_beside(rig):
    relay = rig.relay()
    eventually(lambda: rig.is_relay(relay), "there is a relay")

    def judge(tap):
        served = relay.points().count("db.answer")
        tap.ok(served > 100 and relay.running(), f"one relay served all, {served} calls")

    return judge


def main():
    skip_without_fault_points()
    tap = Tap()
    wanted = sys.argv[1:] or ("session", "kill", "stop")
    if "session" in wanted:
        kinds = chosen(KILLED)
        campaign(kinds, lambda _, n: Kill(n), "points killed", prepare=relay_beside, tap=tap)
    if "kill" in wanted:
        campaign(chosen(KILLED), RelayFault, "relays killed", tap=tap)
    if "stop" in wanted:
        campaign(chosen(STOPPED, STOP_STRIDE), RelayStop, "relays stopped", tap=tap)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

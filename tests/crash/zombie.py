#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The dead who are not: the process's request 1, 2, 3 … is late, until a run is not hit.

    zombie.py [scenario …]

A proxy holds the N-th request of a process of "another host" back until its lease has ended, a
sweeper has recovered its work and a fresh receiver has taken in what was there.  Then the request
arrives after all.  It must change nothing that is settled: what the process believes to own is
fenced, what it confirms is stale.  Retry and judgement are those of the crash matrix.
"""

import sys

from campaign import campaign
from rig import Stall, skip_without_fault_points
from scenario import SCENARIOS

NAMES = ("accept-http", "accept-ws", "acknowledge", "hand-over", "stream", "refuse", "provision", "sweep")


def make_fault(bench, n):
    def others():
        bench.rig.sweep()
        bench.drain()
        bench.rig.sweep()

    return Stall(bench.rig, n, others)


if __name__ == "__main__":
    skip_without_fault_points()
    scenarios = [kind for kind in SCENARIOS if kind.name in NAMES]
    sys.exit(campaign(scenarios, make_fault, "late requests", sys.argv[1:]))

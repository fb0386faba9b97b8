#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""In doubt: the connection to the database is cut before answer 1, 2, 3 … until a run is not hit.

    cut.py [request] [scenario …]

A proxy between the program and PgBouncer drops both ends instead of passing on the N-th piece of
what the server answers (with `request`: of what the program asks).  The statement may have been
committed or not; nobody was told.  The program must not die of it, and must not tell its client
more than it knows.  Recovery, retry and judgement are those of the crash matrix.
"""

import sys

from campaign import campaign
from rig import Cut, skip_without_fault_points
from scenario import SCENARIOS

# acknowledge goes the same way as these; and ask-sweep, which takes minutes, as sweep
LEFT_OUT = ("deliver", "refuse", "ask-sweep")

if __name__ == "__main__":
    skip_without_fault_points()
    arguments = sys.argv[1:]
    side = "request" if "request" in arguments else "answer"
    wanted = [name for name in arguments if name != "request"]
    scenarios = [kind for kind in SCENARIOS if kind.name not in LEFT_OUT or kind.name in wanted]
    sys.exit(campaign(scenarios, lambda bench, n: Cut(bench.rig, n, side), "cuts", wanted))

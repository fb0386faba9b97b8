#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The crash matrix: killed at fault point 1, 2, 3 … until a run survives.

    matrix.py [scenario …]

Each scenario runs a real program and kills it at its N-th fault point (before and after every
database call, every write to a client), for N = 1, 2, 3 … until a run is over before its N-th
point.  After each run the real sweeper recovers, the client tries again as a real client would,
with the same key, a fresh receiver takes in what is there, and the checker judges everything that
has happened so far.

A run that was neither killed by the injected fault nor ended well by itself fails.
"""

import sys

from campaign import campaign
from rig import Kill, skip_without_fault_points
from scenario import SCENARIOS

if __name__ == "__main__":
    skip_without_fault_points()
    # of a stream, killing shows nothing that acknowledge does not
    scenarios = [kind for kind in SCENARIOS if kind.name != "stream" or "stream" in sys.argv]
    sys.exit(campaign(scenarios, lambda bench, n: Kill(n), "points killed", sys.argv[1:]))

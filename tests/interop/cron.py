#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Random cron expressions, in many time zones: ours and the official SDK's matcher must agree.

    cron.py [SEED [COUNT]]
"""

import datetime
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import node
from cluster import Cluster, skip_without
from tap import Tap
from transition import Database, SqlError, literal

SEED, COUNT = 20260329, 1500


def ours(db, cron, zone, after):
    try:
        return db.value(f"select openclaw.cron_next({literal(cron)}, {literal(zone)}, {after})") or "never"
    except SqlError as error:
        return None if error.sqlstate == "OC005" else str(error)


def show(value):
    if isinstance(value, int):
        value = datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc).isoformat()
    return value


def main():
    skip_without("initdb", "psql")
    node.skip_without(node.SDK)
    seed, count = [int(a) for a in sys.argv[1:3]] + [SEED, COUNT][len(sys.argv) - 1 :]
    tap = Tap()
    said = node.run("tests/interop/cron.mjs", str(seed), str(count))
    cases = [json.loads(line) for line in said.stdout.splitlines()]
    tap.ok(len(cases) > 3 * count, f"the SDK answers (seed {seed})", said.stderr)
    different, kinds = [], {"refused": 0, "never": 0, "found": 0}
    with Cluster() as cluster, Database(cluster) as db:
        for cron, zone, after, theirs in cases:
            mine = ours(db, cron, zone, after)
            kinds["refused" if theirs is None else "never" if theirs == "never" else "found"] += 1
            if mine != theirs:
                different.append(f"{cron} {zone} after {show(after)}: {show(mine)}, the SDK {show(theirs)}")
    tap.equal(different[:20], [], f"{len(cases)} answers are the same")
    tap.ok(min(kinds.values()) > 0, "of each kind there are some", kinds)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

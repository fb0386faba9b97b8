# SPDX-License-Identifier: MIT
"""Runs scenarios under fault 1, 2, 3 … until a run is not hit; recovers and judges after each."""

import tempfile
import time

from rig import Rig
from scenario import LOST, Bench
from stack import Refused
from tap import Tap, diagnose

FAULTS_MAX = 400  # more than any scenario has: an endless campaign is a failure
TROUBLES_MAX = 3  # then the scenario is given up
BAD_INPUT = r"ERROR:  (22021|22P02|22P05)|deadlock detected"


class Result:
    def __init__(self, name):
        self.name = name
        self.hits = 0
        self.violations = []  # promises that the checker found broken
        self.troubles = []  # runs that did not go as a run must
        self.points = set()
        self.seconds = 0.0


def recover(bench, scenario, n):
    bench.rig.sweep()
    scenario.again(n)
    bench.drain()
    bench.rig.sweep()


def run_scenario(bench, scenario, make_fault, runs=FAULTS_MAX, stride=1):
    """At most `runs` faults, every stride-th; a Result."""
    result = Result(scenario.name)
    start = time.monotonic()
    for n in range(1, runs + 1, stride):
        fault = make_fault(bench, n)
        process = fault.run(lambda: scenario.attempt(n, fault))
        hit = fault.hit(process)
        where = f"{n} ({fault.where(process)})"
        trouble = fault.trouble(process, hit)
        if trouble:
            result.troubles.append(f"{where}: {trouble}\n{process.log()[-2000:]}")
        result.hits += hit
        if hit:
            result.points.add(fault.where(process))
        fault.close()
        try:
            recover(bench, scenario, n)
        except (AssertionError, Refused, *LOST) as error:
            result.troubles.append(f"{where}: recovery: {error!r}\n{process.log()[-2000:]}")
        result.violations += [f"{where}: {violation}" for violation in bench.violations()]
        if not hit or max(len(result.troubles), len(result.violations)) > TROUBLES_MAX:
            break
    else:
        if runs == FAULTS_MAX:
            result.troubles.append(f"hit at each of {FAULTS_MAX} faults")
    result.seconds = time.monotonic() - start
    return result


def print_table(results, what):
    diagnose("")
    diagnose(f"{'scenario':<14} {what:>13} {'violations':>10} {'seconds':>8}")
    for r in results:
        diagnose(f"{r.name:<14} {r.hits:>13} {len(r.violations):>10} {r.seconds:>8.1f}")
    hits = sum(r.hits for r in results)
    violations = sum(len(r.violations) for r in results)
    diagnose(f"{'total':<14} {hits:>13} {violations:>10} {sum(r.seconds for r in results):>8.1f}")


def campaign(scenarios, make_fault, what, wanted=(), prepare=None, tap=None):
    """prepare(rig): what must be there beside the program; it returns what is asked at the end, judge(tap).
    Ends the test unless it is given a tap."""
    ends, tap = tap is None, tap or Tap()
    results = []
    with Rig() as rig, tempfile.TemporaryDirectory() as directory:
        bench = Bench(rig, directory)
        judge = prepare(rig) if prepare else None
        for kind in scenarios:
            if wanted and kind.name not in wanted:
                continue
            try:
                stride = 1 if wanted else kind.stride
                result = run_scenario(bench, kind(bench), make_fault, stride=stride)
            except Exception as error:  # the other scenarios still run
                result = Result(kind.name)
                result.troubles.append(repr(error))
            results.append(result)
            tap.equal(
                result.troubles, [], f"{kind.name}: every run was hit but the last, and recovered"
            )
            tap.equal(result.violations, [], f"{kind.name}: no promise is broken")
            tap.ok(result.hits > 2, f"{kind.name}: {result.hits} {what}", sorted(result.points))
        if judge:
            judge(tap)
        clean = not rig.cluster.log_contains(BAD_INPUT)
        tap.ok(clean, "the server saw no bad input and no deadlock")
    print_table(results, what)
    return tap.done() if ends else results

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Chaos, with a history and a checker.

    chaos.py [--seed N] [--minutes M | --seconds S] [--rate R] [--pause P] [--keep DIRECTORY] [--no-broken]

    --seed N        the same seed and length give the same faults in the same order (default: by the clock)
    --minutes M     how long things go wrong (default: 60 seconds)
    --rate R        messages a second of all senders together, when nothing is wrong (default 80)
    --pause P       mean seconds between the end of a fault and the next (default 1.0)
    --keep DIR      leave the histories there
    --no-broken     leave out the broken builds

Senders and receivers over HTTP and WebSocket use the whole stack while faults are made as scheduled;
then everything is let come to its end, and the checker reads histories and tables.  It fails where a
promise is broken, and where a scheduled fault did not happen.  README.md tells the rest.
"""

import argparse
import collections
import os
import shutil
import sys
import tempfile
import time
import traceback

import judge
import openmetrics
from schedule import KINDS, Fault, plan
from stack import Stack, skip_without_stack, wait
from tap import Tap, diagnose
from watch import OURS
from world import FULL_AT, SENDERS, SETTINGS, World, apply, fresh

QUIET_SECONDS = 8
SHORT_SECONDS = 60
DRAIN_SECONDS = 60
SHOWN = 20  # violations printed of each run
SHOWN_LENGTH = 240
CONNECTIONS_MAX = 20
BAD_INPUT = ("invalid byte sequence", "invalid input syntax", "unsupported Unicode escape")

# file, what it is, the rules that must be named (of each group one), the faults that bring it out, how
# often receivers are late
BROKEN = (
    (
        "checkpoint_apart.sql",
        "a checkpoint committed apart from its effect",
        (("missing", "once"),),
        ["kill PostgreSQL (immediate)"] * 2,
        0.01,
    ),
    (
        "settle_unfenced.sql",
        "a settle without the fence",
        (("acked",),),
        ["kill session of a receiver", "stop session of a receiver"],
        0.5,
    ),
    (
        "careless.sql",
        "no heed of limits, delays, expiry, order and attempts",
        (("limit",), ("delay",), ("expiry",), ("order",), ("bounds",)),
        ["stop session of a receiver", "pause PgBouncer"],
        0.01,
    ),
)


def arguments():
    parser = argparse.ArgumentParser(description="Chaos against the whole gateway, judged.")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float)
    length.add_argument("--seconds", type=float, default=SHORT_SECONDS)
    parser.add_argument("--rate", type=float, default=80)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--keep")
    parser.add_argument("--no-broken", action="store_true")
    given = parser.parse_args()
    if given.minutes is not None:
        given.seconds = given.minutes * 60
    return given


def report(world, violations):
    events = world.events
    kinds = collections.Counter(e["event"] for e in events)
    faults = collections.Counter(fault["kind"] for fault in world.faults)
    diagnose("")
    diagnose(f"{len({e['workflow'] for e in events if e['event'] == 'accepted'})} messages accepted")
    diagnose(
        f"{kinds['delivered']} deliveries, of these {sum(r.redelivered for r in world.receivers)} again;"
        f" {kinds['acked']} acked, {kinds['already']} already, {kinds['stale']} stale, {kinds['nacked']} refused;"
        f" {sum(row['state'] == 'dead' for row in world.checker.inbox.values())} dead letters"
    )
    options = collections.Counter(name for given in world.checker.options.values() for name in given)
    diagnose(
        f"{options['priority']} messages with a priority, {options['delayMs']} with a delay,"
        f" {options['ttlMs']} with a time to live, {len(world.checker.expired)} of all expired;"
        f" {kinds['refused'] + kinds['full']} answers that the inbox is full, at {FULL_AT}"
    )
    diagnose(
        f"{sum(s.retries for s in world.senders)} retries of senders; {len(world.checker.scripts)} workflows of steps,"
        f" {world.checker.steps_again} steps run again before they were recorded"
    )
    recovery = judge.recovery_times(events, world.faults)
    diagnose(f"{len(world.faults)} faults, and the time from the end of each until all inboxes had deliveries:")
    for kind, times in sorted(faults.items()):
        diagnose(f"  {times:4}  {kind}: {judge.tell(recovery[kind])}")
    diagnose(f"  all of them: {judge.tell([time for times in recovery.values() for time in times])}")
    report_latencies(world)
    redelivery = judge.tell(judge.redelivery_times(events, world.faults))
    diagnose(f"from kill -9 of a receiver's session to redelivery: {redelivery}")
    resumed = judge.tell(judge.resume_times(events, world.faults))
    diagnose(f"from PostgreSQL's return to the next delivery, of each inbox: {resumed}")
    diagnose(f"server connections: at most {world.connections.most} in {world.connections.samples} samples")
    diagnose(f"load of the machine, one minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    diagnose(f"{len(violations)} violations")


def report_latencies(world):
    events, at = world.events, world.times
    for name, begin, end, without in (
        ("quiet", at["quiet"] + 1, at["storm"] - 1, ()),
        ("under chaos", at["storm"], at["end"], ()),
        ("between the faults", at["storm"], at["end"], world.faults),
    ):
        for face, lossy in (("WebSocket", False), ("HTTP pull", True)):
            values = judge.latencies(events, begin, end, lossy, without)
            diagnose(
                f"from send to first delivery, {name}, {face}: p50 {judge.show(judge.percentile(values, 0.5))},"
                f" p99 {judge.show(judge.percentile(values, 0.99))},"
                f" worst {judge.show(max(values, default=None))}, of {len(values)}"
            )


def show(violations, most=SHOWN):
    for violation in violations[:most]:
        diagnose(f"  {violation[:SHOWN_LENGTH]}")
    if len(violations) > most:
        diagnose(f"  … {len(violations)} in all")


def check_database(tap, stack):
    text = stack.log("postgres")
    bad = [line for line in text.splitlines() if any(words in line for words in BAD_INPUT)]
    tap.equal(bad[:5], [], "no bad input reached PostgreSQL")
    diagnose(f"deadlocks: {text.count('deadlock detected')}")


def relayed(stack):
    """The calls that came to the relay, and those it made of them."""
    status, text, _ = stack.http("GET", "/metrics")
    assert status == 200, status
    families = openmetrics.parse(text)
    names = ("openclaw_relay_calls", "openclaw_relay_database_calls")
    return [int(openmetrics.value(families, name)) for name in names]


def run_whole(tap, stack, given, directory, tokens):
    schedule = plan(given.seed, given.seconds, given.pause)
    interval = len(SENDERS) / given.rate
    with World(stack, given.seed, directory, interval, tokens) as world:
        world.start()
        world.quiet(QUIET_SECONDS)
        world.storm(schedule)
        tap.ok(world.drain(DRAIN_SECONDS), "everything comes to its end")
        violations = world.judge()
        show(violations)
        report(world, violations)
    tap.equal(violations, [], "no promise is broken")
    tap.equal(world.failures, [], f"every one of {len(schedule)} scheduled faults happened")
    kinds = {fault["kind"] for fault in world.faults}
    if len(schedule) >= len(KINDS):
        tap.equal(sorted(set(KINDS) - kinds), [], f"and each of {len(KINDS)} kinds")
    tap.ok(world.checker.expired, "messages have expired")
    poison = {seq: world.checker.inbox[seq]["state"] for seq in world.poisoned.poison}
    diagnose(f"{len(poison)} messages ended each connection that they came to")
    tap.ok("dead" in poison.values(), "what ends every connection becomes a dead letter", poison)
    tap.ok(set(poison.values()) <= {"dead", "expired"}, "and nothing else", poison)
    told = {event["event"] for event in world.events}
    tap.ok({"refused", "full"} <= told, "senders were told that an inbox is full, some went on", told)
    calls, joined = relayed(stack)
    diagnose(f"{calls} calls of sessions came to the relay, which made {joined} of them")
    tap.ok(0 < joined < calls, "sessions used the relay, and shared calls", (calls, joined))
    connections = world.connections
    tap.ok(connections.samples > given.seconds, "server connections were counted", connections.samples)
    tap.ok(connections.most <= CONNECTIONS_MAX, f"never more than {CONNECTIONS_MAX}", connections.most)
    check_database(tap, stack)


def functions(stack):
    """The definitions of all our functions, to be put back."""
    return stack.value(
        "select string_agg(pg_get_functiondef(p.oid), E';\\n') || ';' from pg_proc p"
        " where p.pronamespace = 'openclaw'::regnamespace and p.prokind = 'f'"
    )


def run_broken(tap, stack, given, directory, tokens, broken):
    file, what, rules, faults, late = broken
    diagnose("")
    diagnose(f"broken on purpose: {what}")
    fresh(stack)
    whole = functions(stack)
    apply(stack, os.path.join("broken", file))
    os.mkdir(directory)
    schedule = [Fault(2.0 * n, kind, 0.2 * n % 1) for n, kind in enumerate(faults, 1)]
    with World(stack, given.seed, directory, len(SENDERS) / 150, tokens, late) as world:
        world.start()
        world.storm(schedule, say=False)
        world.drain(5)
        violations = world.judge()
    stack.execute(whole)
    tap.equal(world.failures, [], f"{what}: its faults happened")
    named = collections.Counter(v.partition(":")[0] for v in violations)
    caught = [[v for v in violations if v.partition(":")[0] in group] for group in rules]
    tap.ok(all(caught), f"caught: {what}: {dict(named)}", violations)
    for group in caught:
        show(group, 5 // len(rules))


def main():
    given = arguments()
    skip_without_stack()
    tap = Tap()
    diagnose(f"--seed {given.seed} --seconds {given.seconds:g}")
    began = time.monotonic()
    with (
        Stack(settings=SETTINGS, environment={"PGAPPNAME": OURS}) as stack,
        tempfile.TemporaryDirectory(prefix="ocgx-") as directory,
    ):
        os.chmod(directory, 0o755)
        wait(lambda: stack.http("GET", "/readyz")[0] == 200, "the gateway is ready")
        apply(stack, "ledger.sql")
        tokens = dict(stack.tokens)
        try:
            whole = os.path.join(directory, "whole")
            os.mkdir(whole)
            run_whole(tap, stack, given, whole, tokens)
            for number, broken in enumerate([] if given.no_broken else BROKEN):
                run_broken(tap, stack, given, os.path.join(directory, str(number)), tokens, broken)
        except Exception:
            tap.ok(False, "the run comes to its end", traceback.format_exc())
        if tap.failed:
            for service in ("http", "session", "sweeper", "websocketd"):
                diagnose(f"--- {service}\n{stack.log(service)[-1500:]}")
        if given.keep:
            aside = shutil.ignore_patterns("elsewhere")  # sockets
            shutil.copytree(directory, given.keep, ignore=aside, dirs_exist_ok=True)
    diagnose(f"{time.monotonic() - began:.0f} s in all")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

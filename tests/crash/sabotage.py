#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The crash tests can fail: each of these broken gateways is caught, by the rule that it breaks.

One function in the database is replaced by one that lacks a line; a few runs of one scenario must
then end in violations.
"""

import sys
import tempfile

from campaign import run_scenario
from rig import Kill, Rig, skip_without_fault_points
from scenario import SCENARIOS, Bench
from tap import Tap
from transition import literal

RUNS = 40

FEED_EVERYTHING = """
create or replace trigger openclaw_inbox_feed
after insert on dbos_system.notifications
for each row
when (new.destination_uuid like 'agent:%')
execute function openclaw.inbox_feed()
"""

# what is broken, the scenario that meets it, the rule that must be named; then how: a statement, or
# (function, line, what stands there instead)
SABOTAGES = (
    (
        "recovery that forgets the workflows of the dead",
        "sweep",
        "orphan",
        ("workflow_recover", "s.executor_id = any (p_executors)", "false"),
        ("workflow_adopt", "s.application_name = p_app", "false"),
    ),
    (
        "an acknowledgement that does not settle the workflow",
        "acknowledge",
        "outcome",
        ("message_settle", "s.status in ('DELAYED', 'ENQUEUED', 'PENDING')", "false"),
    ),
    (
        "an acknowledgement that is answered and not made",
        "acknowledge",
        "acked",
        ("inbox_ack", "if v_seq is not null then", "if false then"),
        ("inbox_ack", "when i.inbox_seq = any (v_settled) and g.ord = any (v_first) then 'acked'", "when true then 'acked'"),
    ),
    (
        "a message that is put into the inbox twice",
        "accept-ws",
        "once",
        ("inbox_feed", "'dbos'", "'alice'"),
        FEED_EVERYTHING,
    ),
    (
        "a checkpoint at another step",
        "accept-ws",
        "once",
        ("workflow_commit", "p_id[t.of_ord], t.id,", "p_id[t.of_ord], t.id + 3,"),
    ),
    (
        "attempts that are not counted one by one",
        "acknowledge",
        "bounds",
        ("inbox_claim", "attempt = i.attempt + 1", "attempt = i.attempt + 20"),
    ),
)


def break_it(rig, change):
    if isinstance(change, str):
        rig.db.run(change)
        return
    function, line, instead = change
    source = rig.value(
        "select pg_get_functiondef(p.oid) from pg_proc p"
        f" where p.proname = {literal(function)} and p.pronamespace = 'openclaw'::regnamespace"
    )
    assert line in source, f"{function} has no {line!r}: this test is out of date"
    rig.db.run(source.replace(line, instead))


def main():
    skip_without_fault_points()
    tap = Tap()
    kinds = {kind.name: kind for kind in SCENARIOS}
    for what, name, rule, *changes in SABOTAGES:
        with Rig() as rig, tempfile.TemporaryDirectory() as directory:
            bench = Bench(rig, directory)
            bench.drain_timeout = 2.0
            for change in changes:
                break_it(rig, change)
            result = run_scenario(bench, kinds[name](bench), lambda _, n: Kill(n), RUNS)
            caught = [v for v in result.violations if f"): {rule}: " in v]
            tap.ok(caught, f"caught: {what}", f"{result.violations}\n{result.troubles}")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

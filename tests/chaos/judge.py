# SPDX-License-Identifier: MIT
"""Judges a chaos run, and counts what it did.

    judge = ChaosChecker(value, events, steps.runs, continued)
    judge.check(settled=True)       the violations: those of tests/lib/checker.py, and
        acked       a message was settled before its current delivery was confirmed
        once        the ledger has a message settled, a checkpoint recorded or an outcome written twice;
                    a step ran again after its checkpoint was recorded; a workflow's stream or event is
                    there twice or not at all
        order       while only one may be in flight, another came between two deliveries of one message
        missing     a started workflow is not there
        limit       a message that was refused, the inbox being full, is there; or more were in an inbox
                    than its limit
        delay       a message came before its delay had ended
        bounds      a message was handed out more often than it may be
        expiry      a message was handed out after it had expired, or expired before its time
    latencies(), redelivery_times(), resume_times(), recovery_times()   what the histories tell of time
"""

import bisect
import collections
import statistics

from checker import Checker

LEDGER = "select what, id, count(*) as times, string_agg(coalesce(detail, ''), '; ') as details from chaos.ledger group by what, id having count(*) > 1"
SETTLED = """
select id::bigint as seq, split_part(detail, ' by ', 2) as delivery, extract(epoch from at) as at
from chaos.ledger
where what = 'settled' and detail like '% acked by %'
"""
SCRIPTS = """
select
  w.workflow_uuid as id, w.status,
  (select count(*) from dbos_system.streams t where t.workflow_uuid = w.workflow_uuid) as written,
  (select count(*) from dbos_system.workflow_events e where e.workflow_uuid = w.workflow_uuid) as events,
  (
    select json_object_agg(s.function_id, s.completed_at_epoch_ms)
    from dbos_system.operation_outputs s
    where s.workflow_uuid = w.workflow_uuid
  ) as recorded
from dbos_system.workflow_status w
where w.name = 'testScript'
"""
EXPIRED = """
select i.inbox_seq as seq, i.expires_at - extract(epoch from l.at) * 1000 as early
from chaos.ledger l
join openclaw.inbox i on i.inbox_seq = l.id::bigint
where l.what = 'settled' and l.detail like '% expired by %'
"""
LATE = "select inbox_seq as seq, last_attempt_at - expires_at as late from openclaw.inbox where last_attempt_at >= expires_at"
# a step is seen to run by looking at a file now and then
LOOKING_SECONDS = 1.0
ROUNDING_MS = 2
# who was stopped amid a step that another has recorded meanwhile goes on with it once
CONTINUED_SECONDS = 2.0


class ChaosChecker(Checker):
    def __init__(self, value, events, runs=(), continued=(), depth=0, limit=0):
        super().__init__(value, events)
        self.depth, self.limit = depth, limit
        self.runs = runs
        self.continued = continued
        self.ledger = self._read(value, LEDGER)
        self.settled = self._read(value, SETTLED)
        self.expired = self._read(value, EXPIRED)
        self.late = self._read(value, LATE)
        self.options = {(e["sender"], e["key"]): e["options"] for e in self._of("send")}
        self.scripts = {s["id"]: s for s in self._read(value, SCRIPTS)}

    def check(self, settled=True):
        super().check(settled)
        self.check_ledger()
        self.check_settled()
        self.check_scripts()
        self.check_strict()
        self.check_limit()
        self.check_delays()
        self.check_expiry()
        self.check_attempts()
        return self.violations

    def check_attempts(self):
        """Also of what was settled in the end, or is gone."""
        most = {}
        for event in self._of("delivered"):
            most[event["seq"]] = max(most.get(event["seq"], 0), event["attempt"])
        for seq, attempt in most.items():
            if seq in self.inbox and attempt > self.inbox[seq]["max_attempts"]:
                self.broken("bounds", f"message {seq} came with attempt {attempt}")

    def check_ledger(self):
        rules = {"settled": "acked", "step": "once", "outcome": "once"}
        for line in self.ledger:
            what = f"{line['what']} {line['id']} was written {line['times']} times: {line['details']}"
            self.broken(rules[line["what"]], what)

    def check_settled(self):
        """What confirmed a message is its current delivery, and no other one before that."""
        asked = {}
        for event in self._of("ack"):
            asked.setdefault(event["delivery"], event["at"])
        for line in self.settled:
            if asked.get(line["delivery"], float("inf")) > line["at"]:
                what = f"message {line['seq']} was settled before its delivery {line['delivery']}"
                self.broken("acked", f"{what} was confirmed")

    def check_scripts(self):
        for event in self._of("started"):
            if event["workflow"] not in self.scripts:
                self.broken("missing", f"{event['workflow']} was answered as started and is not there")
        ran = collections.Counter()
        for at, key in self.runs:
            name, _, step = key.rpartition("/")
            script = self.scripts.get(name)
            if script is None:
                continue
            ran[name, step] += 1
            recorded = (script["recorded"] or {}).get(step)
            late = recorded is not None and at - recorded / 1000 > LOOKING_SECONDS
            if late and not any(0 <= at - c < CONTINUED_SECONDS for c in self.continued):
                self.broken("once", f"step {key} ran {at - recorded / 1000:.1f} s after it was recorded")
        for name, script in self.scripts.items():
            if script["status"] != "SUCCESS":
                self.broken("outcome", f"{name} is {script['status']}")
            elif (script["written"], script["events"]) != (1, 1):
                self.broken("once", f"{name} wrote {script['written']}, set {script['events']}")
        self.steps_again = sum(times - 1 for times in ran.values())

    def check_confirmations(self):
        """Who shares an inbox and was stopped with a message in its hands may bring it when another has
        long confirmed it; that nobody claims it then is seen in the ledger."""
        events = self.events
        self.events = [e for e in events if not (e["event"] == "delivered" and e["shared"])]
        super().check_confirmations()
        self.events = events

    def check_order(self):
        """First deliveries of one sender's messages in the order of acceptance, among those of one
        priority, and none behind a later one that is less urgent.  What was delayed comes when it comes.
        Where an answer may have been lost on its way, or another may have had it first, what comes as
        a redelivery was delivered first when nobody read it."""
        last = collections.defaultdict(dict)
        seen = set()
        for event in self._of("delivered"):
            seq = event["seq"]
            if seq in seen or (event["lossy"] or event["shared"]) and event["redelivered"]:
                continue
            seen.add(seq)
            options = self.options.get((event["sender"], event["message"]), {})
            priority = options.get("priority", 0)
            of_pair = last[event["sender"], event["client"]]
            before = max((of_pair[p] for p in of_pair if p >= priority), default=0)
            if seq < before and "delayMs" not in options:
                pair = (event["sender"], event["client"])
                self.broken("order", f"{pair}: {seq} of priority {priority} came first after {before}")
            of_pair[priority] = max(seq, of_pair.get(priority, 0))

    def check_limit(self):
        for event in self._of("refused"):
            name = f"{event['client']}:{event['key']}"
            if name in self.workflows or self.by_message[name]:
                self.broken("limit", f"{name} was refused with {event['code']} and is there")
        if self.depth > self.limit:
            self.broken("limit", f"{self.depth} messages were in an inbox of at most {self.limit}")

    def check_delays(self):
        sent, came = {}, {}
        for event in self._of("send"):
            if "delayMs" in event["options"]:
                sent.setdefault((event["sender"], event["key"]), event)
        for event in self._of("delivered"):
            came.setdefault((event["sender"], event["message"]), event["at"])
        for message, event in sent.items():
            waited = (came.get(message, float("inf")) - event["at"]) * 1000
            if waited < event["options"]["delayMs"] - ROUNDING_MS:
                self.broken("delay", f"{message} came after {waited:.0f} ms of {event['options']}")

    def check_expiry(self):
        for line in self.late:
            self.broken("expiry", f"message {line['seq']} was handed out {line['late']} ms after its end")
        for line in self.expired:
            if line["early"] > ROUNDING_MS:
                self.broken("expiry", f"message {line['seq']} expired {line['early']} ms before its time")

    def check_strict(self):
        last, left = {}, collections.defaultdict(set)
        for event in self._of("delivered"):
            if not event.get("strict"):
                continue
            inbox, seq = event["inbox"], event["seq"]
            if seq in left[inbox]:
                self.broken("order", f"{inbox}: {seq} again after {last[inbox]}, one at a time")
            elif inbox in last and last[inbox] != seq:
                left[inbox].add(last[inbox])
            last[inbox] = seq


# ---- figures --------------------------------------------------------------------------------------


def percentile(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)] if values else None


def latencies(events, begin, end, lossy, faults=()):
    """Of messages first sent in this time: from the request's going out to their first delivery.

    lossy: to those who pull over HTTP; else to those who hold a WebSocket.
    faults: without the messages that were sent while one of these, in order, was under way.
    """
    begun = [fault["begun"] for fault in faults]

    def amid(at):
        place = bisect.bisect_right(begun, at)
        return place > 0 and at <= faults[place - 1]["ended"]

    sent, arrived = {}, {}
    for event in events:
        if event["event"] == "send" and not event["options"]:
            sent.setdefault((event["sender"], event["key"]), event["at"])
        elif event["event"] == "delivered" and event["lossy"] == lossy and not event["slow"]:
            arrived.setdefault((event["sender"], event["message"]), event["at"])
    return [
        arrived[message] - at
        for message, at in sent.items()
        if begin <= at < end and message in arrived and not amid(at)
    ]


def redelivery_times(events, faults):
    """For each killed session of a receiver that has its inbox alone: until each message that was out
    came again.

    Returns [(seconds, was it the only fault in that time)].
    """
    times = []
    answered = {e["delivery"]: e["at"] for e in events if e["event"] in ("acked", "already", "nacked")}
    for fault in faults:
        if fault["kind"] != "kill session of a receiver":
            continue
        of_inbox = [e for e in events if e.get("inbox") == fault["who"] and e["event"] == "delivered"]
        before = {}
        for event in of_inbox:
            if event["at"] < fault["begun"]:
                before[event["seq"]] = event["delivery"]
        out = {s for s, d in before.items() if answered.get(d, float("inf")) >= fault["begun"]}
        for event in of_inbox:
            if event["at"] >= fault["begun"] and event["seq"] in out and before[event["seq"]] != event["delivery"]:
                out.discard(event["seq"])
                alone = not any(
                    f is not fault and f["begun"] < event["at"] and f["ended"] > fault["begun"]
                    for f in faults
                )
                times.append((event["at"] - fault["begun"], alone))
    return times


class Deliveries:
    """When something was delivered, by inbox."""

    def __init__(self, events):
        self.times = collections.defaultdict(list)
        for event in events:
            if event["event"] == "delivered" and not event["slow"]:
                self.times[event["inbox"]].append(event["at"])

    def first_after(self, at):
        """Of each inbox, unless there is none any more."""
        places = ((times, bisect.bisect_right(times, at)) for times in self.times.values())
        return [times[place] for times, place in places if place < len(times)]


def resume_times(events, faults):
    """From PostgreSQL's answering again to the next delivery, of each inbox.

    Each time is (seconds, did that happen before the next fault began).
    """
    deliveries = Deliveries(events)
    times = []
    for fault, following in zip(faults, [*faults[1:], None]):
        if fault.get("back"):
            for at in deliveries.first_after(fault["back"]):
                alone = following is None or at <= following["begun"]
                times.append((at - fault["back"], alone))
    return times


def recovery_times(events, faults):
    """{kind of fault: from the end of one until each inbox had a delivery again}.

    Each time is (seconds, did that happen before the next fault began).
    """
    deliveries = Deliveries(events)
    times = collections.defaultdict(list)
    for fault, following in zip(faults, [*faults[1:], None]):
        last = max(deliveries.first_after(fault["ended"]), default=None)
        if last is not None:
            alone = following is None or last <= following["begun"]
            times[fault["kind"]].append((last - fault["ended"], alone))
    return times


def show(seconds):
    return "none" if seconds is None else f"{seconds:.3f} s"


def worst_and_median(values):
    if not values:
        return "none seen"
    return f"worst {max(values):.3f} s, median {statistics.median(values):.3f} s, of {len(values)}"


def tell(times):
    """Of times with whether no other fault came in between."""
    every = worst_and_median([seconds for seconds, _ in times])
    alone = worst_and_median([seconds for seconds, only in times if only])
    return every if every == alone else f"{alone}; with other faults in between {every}"

# SPDX-License-Identifier: MIT
"""Judges a run: reads the clients' histories and the tables, and lists every broken promise.

    from checker import Checker

    violations = Checker(value, events).check(settled=True)
    value       a function: SQL text -> the first column of the only row, as text
    events      history.load_all(directory)
    settled     every message must have reached its end (after the receivers have drained)

A violation is a text "RULE: what".  The rules are the words of the promises:

    missing     what was answered as accepted is not in the tables
    outcome     a message or a workflow has no end, two, or one that does not fit the other's
    once        a transactional effect is there twice, or not at all, or a step is out of sequence
    acked       a confirmation that was answered is not what the tables say; or two deliveries of
                one message were both answered as acked; or a message was delivered after that
    order       the messages of one sender reached a recipient in another order than accepted
    orphan      something unfinished has neither an owner that lives nor a time to look at it
    bounds      more attempts than allowed

The checker can be wrong only in being too strict: it is itself tested with broken tables and
histories in tests/function/checker_rules.py.
"""

import collections
import json

MAX_RECOVERY = 100
UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")
FITS = {"acked": "SUCCESS", "dead": "ERROR", "expired": "ERROR", "withdrawn": "ERROR"}

WORKFLOWS = """
select
  w.workflow_uuid as id, w.status, w.name, w.owner_xid as token, w.executor_id as executor,
  w.queue_name as queue, w.delay_until_epoch_ms as until, w.recovery_attempts as recoveries,
  w.completed_at is not null as completed,
  x.executor_id is not null as known, x.ended_at is null as living,
  (select count(*) from dbos_system.workflow_input i where i.workflow_uuid = w.workflow_uuid) as inputs,
  (select count(*) from dbos_system.workflow_output o where o.workflow_uuid = w.workflow_uuid) as outputs,
  (select count(*) from dbos_system.notifications n where n.message_uuid = w.workflow_uuid) as messages,
  array(
    select s.function_id from dbos_system.operation_outputs s
    where s.workflow_uuid = w.workflow_uuid order by 1
  ) as steps,
  (
    select s.output::json ->> 'inboxSeq' from dbos_system.operation_outputs s
    where s.workflow_uuid = w.workflow_uuid and s.function_name = 'storeMessage'
  )::bigint as stored
from dbos_system.workflow_status w
left join openclaw.executor x on x.executor_id = w.executor_id
"""
INBOX = """
select
  i.inbox_seq as seq, i.agent_id as agent, i.message_uuid as message, i.sender,
  i.workflow_uuid as workflow, i.state, i.attempt, i.max_attempts, i.delivery_id as delivery,
  i.due_at as due, i.await_step, openclaw.now_ms() as now,
  exists (select from dbos_system.notifications n where n.message_uuid = i.message_uuid) as stored
from openclaw.inbox i
"""


class Checker:
    def __init__(self, value, events=()):
        self.events = list(events)
        self.violations = []
        self.workflows = {w["id"]: w for w in self._read(value, WORKFLOWS)}
        self.inbox = {i["seq"]: i for i in self._read(value, INBOX)}
        self.by_message = collections.defaultdict(list)
        for row in self.inbox.values():
            self.by_message[row["message"]].append(row)

    @staticmethod
    def _read(value, sql):
        text = value(f"select coalesce(json_agg(q), '[]')::text from ({sql}) q")
        return json.loads(text)

    def broken(self, rule, what):
        self.violations.append(f"{rule}: {what}")

    def check(self, settled=True):
        self.check_accepted()
        self.check_workflows(settled)
        self.check_inbox(settled)
        self.check_confirmations()
        self.check_order()
        return self.violations

    # --- histories against tables

    def _of(self, *names):
        return [e for e in self.events if e["event"] in names]

    def check_accepted(self):
        for event in self._of("accepted"):
            name = event["workflow"]
            if name not in self.workflows:
                self.broken("missing", f"{name} was answered as accepted and is not there")
            elif not self.by_message[name]:
                self.broken("missing", f"{name} was answered as accepted and has no message")
        for event in self._of("told"):
            w = self.workflows.get(event["workflow"])
            end = "SUCCESS" if event["status"] == "acknowledged" else "ERROR"
            if w is None or w["status"] != end:
                self.broken("outcome", f"{event['workflow']} was told as {event['status']}: {w}")
        ids = collections.defaultdict(set)
        for event in self._of("accepted"):
            ids[event["client"].partition("#")[0], event["key"]].add(event["workflow"])
        for (client, key), names in ids.items():
            if len(names) > 1:
                self.broken("once", f"{client}'s key {key} was accepted as {sorted(names)}")

    def check_confirmations(self):
        acked = collections.defaultdict(set)
        when = {}
        for event in self._of("acked", "already"):
            seq = int(event["delivery"].partition(".")[0])
            acked[seq].add(event["delivery"])
            when.setdefault(seq, event["at"])
        for seq, deliveries in acked.items():
            row = self.inbox.get(seq)
            if len(deliveries) > 1:
                self.broken("acked", f"message {seq} was acknowledged by {sorted(deliveries)}")
            if row is None or row["state"] != "acked" or row["delivery"] not in deliveries:
                self.broken("acked", f"message {seq} was answered as acked by {deliveries}: {row}")
        for event in self._of("delivered"):
            if event["at"] > when.get(event["seq"], event["at"]):
                self.broken("acked", f"message {event['seq']} was delivered after it was acked")
        asked = {int(e["delivery"].partition(".")[0]) for e in self._of("ack")}
        if asked:
            for seq, row in self.inbox.items():
                if row["state"] == "acked" and seq not in asked:
                    self.broken("acked", f"message {seq} is acked and nobody asked for it")

    def check_order(self):
        """First deliveries of one sender's messages to one inbox come in the order of acceptance."""
        last = {}
        seen = set()
        for event in self._of("delivered"):
            if event["seq"] in seen:
                continue
            seen.add(event["seq"])
            pair = (event["sender"], event["inbox"])
            if event["seq"] < last.get(pair, 0):
                self.broken("order", f"{pair}: {event['seq']} came first after {last[pair]}")
            last[pair] = max(event["seq"], last.get(pair, 0))

    # --- tables

    def check_workflows(self, settled):
        for name, w in self.workflows.items():
            if w["steps"] != list(range(len(w["steps"]))):
                self.broken("once", f"{name} has the steps {w['steps']}")
            if w["inputs"] > 1 or w["outputs"] > 1:
                self.broken("once", f"{name} has {w['inputs']} inputs, {w['outputs']} outputs")
            if (w["recoveries"] or 0) > MAX_RECOVERY + 1:
                self.broken("bounds", f"{name} was recovered {w['recoveries']} times")
            if w["status"] in UNFINISHED:
                self.check_unfinished(name, w, settled)
            elif w["token"] is not None or not w["completed"]:
                self.broken("outcome", f"{name} is {w['status']} and {w}")
            elif w["status"] in ("SUCCESS", "ERROR") and w["outputs"] != 1:
                self.broken("outcome", f"{name} is {w['status']} and has {w['outputs']} outcomes")
            if w["name"] == "routeAgentMessage":
                self.check_message(name, w)

    def check_unfinished(self, name, w, settled):
        if w["name"] == "agent":
            if w["status"] != "DELAYED":
                self.broken("orphan", f"the mailbox {name} is {w['status']}")
            return
        if w["outputs"]:
            self.broken("outcome", f"{name} is {w['status']} and has an outcome")
        if w["status"] == "PENDING" and not (w["token"] and w["known"] and w["living"]):
            self.broken("orphan", f"{name} runs and its owner {w['executor']!r} does not")
        if w["status"] == "DELAYED" and not w["until"]:
            self.broken("orphan", f"{name} is parked without a time")
        if w["status"] == "ENQUEUED" and not w["queue"]:
            self.broken("orphan", f"{name} is enqueued in no queue")
        if settled:
            self.broken("outcome", f"{name} ({w['name']}) is still {w['status']}")

    def check_message(self, name, w):
        rows = [r for r in self.by_message[name] if r["workflow"] == name]
        if w["stored"] is None:
            # it ended before there was a message: refused by a step
            if rows or w["status"] in ("DELAYED", "SUCCESS"):
                self.broken("once", f"{name} is {w['status']}, stored nothing, and has {rows}")
            return
        if w["messages"] != 1 or len(rows) != 1 or rows[0]["seq"] != w["stored"]:
            self.broken(
                "once", f"{name} stored {w['stored']}, and there are {w['messages']}, {rows}"
            )
            return
        state = rows[0]["state"]
        if w["status"] in ("SUCCESS", "ERROR") and FITS.get(state) != w["status"]:
            self.broken("outcome", f"{name} is {w['status']} and its message {state}")
        if w["status"] in UNFINISHED and state in FITS:
            self.broken("outcome", f"{name} is {w['status']} and its message {state}")

    def check_inbox(self, settled):
        for seq, row in self.inbox.items():
            live = row["state"] in ("ready", "leased")
            if not 0 <= row["attempt"] <= row["max_attempts"]:
                self.broken("bounds", f"message {seq} has had {row['attempt']} attempts")
            if live and not row["stored"]:
                self.broken("missing", f"message {seq} is {row['state']} and has no text")
            if live and row["due"] is None:
                self.broken("orphan", f"message {seq} is {row['state']} without a time")
            if live and row["workflow"] and row["workflow"] not in self.workflows:
                self.broken("orphan", f"message {seq} is {row['state']} and its workflow is gone")
            if live and settled:
                self.broken("outcome", f"message {seq} is still {row['state']}")
        for message, rows in self.by_message.items():
            live = [r for r in rows if r["state"] != "withdrawn"]
            if len(live) > 1:
                self.broken("once", f"{message} is in the inbox {len(live)} times")

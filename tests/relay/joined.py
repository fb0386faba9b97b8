#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Calls of many callers made one give each caller what he would have got alone, and have the same effect.

    joined.py [seed [rounds]]

Two databases of the same history.  In each round the same calls of chance, of one kind: in one
database they run one after the other, in the other joined as the relay joins them.  Answers and
tables must be equal but for times.
"""

import os
import random
import re
import subprocess
import sys

from cluster import Cluster, skip_without
from tap import Tap, diagnose
from transition import DAY, DEFAULTS, Database, commit_arguments, message, task

BUILD = os.environ.get("abs_top_builddir", ".")
ROUNDS = 120
AGENTS = ("bob", "carol", "dave", "erin", "frank")
SENDERS = ("alice", "mallory", "zoe")
WORDS = ("", "NULL", "{", "}", ",", '"', "\\", "a,b", "it's", "\n\t", "na\u00efve \u6f22\U0001f99e", '{"a":[1]}')
EFFECTS = {
    "dbos_system.workflow_status": "workflow_uuid, status, name, authenticated_user, executor_id, recovery_attempts,"
    " creator_xid, owner_xid, queue_name, TIMELESS(output) as output, error, inputs, attributes",
    "dbos_system.workflow_input": "workflow_uuid, inputs",
    "dbos_system.workflow_output": "workflow_uuid, TIMELESS(output) as output, error",
    "dbos_system.operation_outputs": "workflow_uuid, function_id, function_name, TIMELESS(output) as output, error",
    "dbos_system.notifications": "destination_uuid, message, message_uuid, consumed",
    "dbos_system.workflow_events": "workflow_uuid, key",
    "dbos_system.workflow_events_history": "workflow_uuid, function_id, key",
    "openclaw.inbox": "inbox_seq, agent_id, message_uuid, sender, workflow_uuid, await_step, waiter, state, attempt,"
    " claims, handed, holder, delivery_id, expects_reply, priority, max_attempts, reason, result is null as bare",
    "openclaw.subscription": "agent_id, executor_id, exclusive",
}
TIMELESS = r"""regexp_replace(\1, '"lastAttemptTime":"[^"]*"', '', 'g')"""
ATTEMPT = re.compile('"lastAttemptTime":"[^"]*"')
# columns of an answer that tell a time
TIMES = {"workflow_commit": {7}, "inbox_claim": {0, 13, 14, 15}, "inbox_ack": set()}


def escape(value):
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def array(values):
    def element(value):
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "t" if value else "f"
        if isinstance(value, int):
            return str(value)
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join(element(value) for value in values) + "}"


class Caller:
    """tests/relay/joined with one database."""

    def __init__(self, db):
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests/relay/joined"), "60000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            env=dict(os.environ, DATABASE_URL=db.cluster.url(db.database), RUNTIME_DIR="/nonexistent"),
        )
        self.calls = 0

    def run(self, how, calls):
        """A list of (error, SQLSTATE, rows) for these, each a statement and its values."""
        for statement, *values in calls:
            fields = "\t".join(map(escape, values))
            self.process.stdin.write(f"call\t{statement}\t{fields}\n")
        self.process.stdin.write(how + "\n")
        self.process.stdin.flush()
        answers, rows = [], []
        while True:
            kind, *fields = self.process.stdout.readline().rstrip("\n").split("\t")
            if kind == "row":
                rows.append(fields)
            elif kind == "end":
                answers.append((*fields, rows))
                rows = []
            elif kind == "calls":
                self.calls += int(fields[0])
                return answers
            else:
                raise AssertionError(f"joined said {kind!r} {fields}")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


class Chance:
    """Calls of chance, of what has happened so far."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.keys, self.held, self.starts = [], [], 0
        self.epochs, self.asked = {}, {}

    def word(self):
        return "".join(self.random.choices(WORDS, k=self.random.randint(0, 3)))

    def key(self):
        """Mostly new, sometimes one that somebody has used; in the same round, too."""
        if self.keys and self.random.random() < 0.25:
            return self.random.choice(self.keys[-30:])
        self.keys.append(f"k{len(self.keys)}{self.word()}")
        return self.keys[-1]

    def work(self):
        draw = self.random.random()
        self.starts += 1
        if draw < 0.1:
            status = self.random.choice(("SUCCESS", "ERROR", "DELAYED", "ENQUEUED"))
            made = task(f"task-{self.random.randint(1, 40)}", status, delay=DAY)
            made["output" if status != "ERROR" else "error"] = '"' + "x" * self.random.randint(0, 9) + '"'
            made["attributes"] = self.random.choice((None, '{"a": "b,\\"c"}'))
        else:
            agent = self.random.choice((*AGENTS, "nobody"))
            options = {"waiter": self.random.choice((None, "s1")), "priority": self.random.choice((0, 0, 5))}
            made = message(self.key(), agent, self.random.choice(SENDERS), self.word(), **options)
        # twice in a round it is one request: of two that differ and are refused, either may be the first
        made = dict(self.asked.setdefault(made["id"], made), token=f"token-{self.starts}")
        return made

    def commits(self):
        self.asked = {}
        executor = self.random.choice((None, None, "executor-1"))
        calls = []
        for _ in range(self.random.randint(2, 12)):
            works = [self.work() for _ in range(self.random.choice((1, 1, 1, 2, 4)))]
            given = dict(DEFAULTS, **commit_arguments(works), executor=executor, inbox_limit=7)
            if all(value is None for value in given["attributes"]) and self.random.random() < 0.8:
                given["attributes"] = None
            calls.append(("workflow_commit", *self.commit_values(given)))
        return calls

    @staticmethod
    def commit_values(given):
        names = ("executor", "app", "version", "legacy", "auto_provision", "inbox_limit")
        values = [given[name] for name in names]
        values = [("t" if value else "f") if isinstance(value, bool) else value for value in values]
        lists = commit_arguments([])
        # no host: what is handed over depends on what comes in one call
        return values + [None if given[name] is None else array(given[name]) for name in lists] + [None]

    def claims(self):
        calls = []
        for _ in range(self.random.randint(2, 12)):
            self.starts += 1
            agent = self.random.choice((*AGENTS, *AGENTS, "nobody"))
            epoch = self.random.choice((None, None, self.epochs.get(agent)))
            if self.random.random() < 0.03:
                epoch = 1  # fenced
            holder = "s1" if epoch is not None else self.random.choice(("s1", "s2"))
            flight = self.random.choice((None, 1, 3, 10))
            limit = self.random.randint(1, 6)
            token = f"t{self.starts}" + self.random.choice(("", "", ',"\\{'))
            calls.append(("inbox_claim", agent, holder, epoch, flight, limit, 600_000, token, None))
        return calls

    def acks(self):
        calls = []
        for _ in range(self.random.randint(2, 12)):
            some = [self.delivery() for _ in range(self.random.choice((0, 1, 1, 2, 5)))]
            given = [self.random.choice((None, None, '"yes"', '{"a":"b,\\"c"}')) for _ in some]
            agents, seqs, deliveries = ([d[i] for d in some] for i in range(3))
            calls.append(
                ("inbox_ack", "openclaw-gateway", "t", array(agents), array(seqs), array(deliveries), array(given))
            )
        return calls

    def delivery(self):
        """One that is held, or was; mostly once, sometimes by somebody else, sometimes nonsense."""
        draw = self.random.random()
        if not self.held or draw < 0.05:
            return (self.random.choice(AGENTS), self.random.randint(1, 300), "1.nonsense")
        agent, seq, delivery = self.random.choice(self.held[-12:])
        if draw < 0.1:
            agent = self.random.choice(AGENTS)
        return (agent, seq, delivery)

    def learn(self, calls, answers):
        if calls[0][0] != "inbox_claim":
            return
        for (_, agent, *_), (_, _, rows) in zip(calls, answers):
            self.held += [(agent, int(row[1]), row[2].replace("\\\\", "\\")) for row in rows if row[1] != "\\N"]

    def round(self):
        kinds = (self.commits, self.commits, self.claims, self.acks)
        return self.random.choice(kinds)()


def timeless(calls, answers):
    """The answers without times; bells in no order."""
    told = []
    for (statement, *_), (error, state, rows) in zip(calls, answers):
        kept = [[ATTEMPT.sub("", v) for i, v in enumerate(row) if i not in TIMES[statement]] for row in rows]
        if statement == "workflow_commit":
            # why it would have been refused, if it were not there
            kept = sorted(row if row[1] == "refused" else row[:2] + row[3:] for row in kept)
        told.append((error, state, kept))
    return told


def effects(db):
    found = {}
    for table, columns in EFFECTS.items():
        columns = re.sub(r"TIMELESS\((\w+)\)", TIMELESS, columns)
        rows = db.rows(f"select {columns} from {table}")
        found[table] = sorted(map(str, rows))
    return found


def prepare(db):
    db.provision(*AGENTS)
    db.run("update openclaw.agent set inbox_limit = 3 where agent_id = 'erin'")
    db.run("update openclaw.agent set inbox_limit = 1 where agent_id = 'dave'")
    db.run("update openclaw.agent set allow_from = '{alice,zoe}' where agent_id in ('carol', 'erin')")
    db.register("s1", "s2", "executor-1")
    return {agent: db.subscribe(agent=agent, executor="s1")["epoch"] for agent in AGENTS}


def first_difference(calls, one, joined):
    for call, alone, together in zip(calls, one, joined):
        if alone != together:
            return f"{call}\n   alone: {alone}\ntogether: {together}"
    return ""


def play(tap, cluster, seed, rounds):
    with Database(cluster) as alone, Database(cluster) as together:
        chance = Chance(seed)
        chance.epochs = prepare(alone)
        tap.equal(prepare(together), chance.epochs, f"seed {seed}: two databases alike")
        one, many = Caller(alone), Caller(together)
        asked, right = 0, True
        for number in range(rounds):
            calls = chance.round()
            asked += len(calls)
            answers = one.run("one", calls)
            joined = many.run("joined", calls)
            chance.learn(calls, answers)
            got = timeless(calls, joined)
            expected = timeless(calls, answers)
            if got != expected:
                difference = first_difference(calls, expected, got)
                right = tap.ok(False, f"seed {seed}, round {number}: the same answers", difference)
                break
            before, after = effects(alone), effects(together)
            if before != after:
                differ = {
                    table: [row for row in before[table] if row not in after[table]][:2]
                    + ["--"]
                    + [row for row in after[table] if row not in before[table]][:2]
                    for table in before
                    if before[table] != after[table]
                }
                right = tap.ok(False, f"seed {seed}, round {number}: the same effects", (calls, differ))
                break
        tap.ok(right, f"seed {seed}: {asked} calls in {rounds} rounds: the same answers and effects")
        # nothing is shown where nothing was joined
        tap.ok(many.calls * 2 < one.calls, f"seed {seed}: {one.calls} calls were {many.calls}")
        tap.equal((one.close(), many.close()), (0, 0), f"seed {seed}: both ended well")
        return {row["state"] for row in alone.rows("select distinct state from openclaw.inbox")}


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    seeds = [int(sys.argv[1])] if len(sys.argv) > 1 else [1, 2, random.randrange(10**6)]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    diagnose(f"seeds {seeds}")
    with Cluster() as cluster:
        states = set().union(*(play(tap, cluster, seed, rounds) for seed in seeds))
    tap.ok({"ready", "leased", "acked"} <= states, "messages of every state have been there", states)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

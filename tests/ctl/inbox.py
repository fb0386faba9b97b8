#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl inbox pull, ack, nack, extend and message batch: an operator in an agent's place."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

import programs
from cluster import skip_without
from programs import CTL
from stage import Stage
from tap import Tap

tap = Tap()


def refused(stage, cases):
    for arguments, code, word in cases:
        result = stage.ctl(*arguments)
        tap.ok(
            result.code == code and word in result.err and not result.out,
            f"refused: {' '.join(arguments)}",
            str(result),
        )


def pulled(stage, *more):
    return stage.ctl("inbox", "pull", "bob", "--json", *more).json["messages"]


def pull(stage):
    tap.equal(pulled(stage), [], "of an empty inbox nothing is taken")
    for n in range(3):
        stage.accept("alice", "bob", f"p{n}", {"n": n})
    first = pulled(stage, "--limit", "2")
    tap.equal(
        [(m["messageId"], m["from"], m["content"], m["attempt"]) for m in first],
        [("p0", "alice", {"n": 0}, 1), ("p1", "alice", {"n": 1}, 1)],
        "inbox pull takes the first",
    )
    shown = stage.ctl("message", "show", "alice:p0", "--json").json
    tap.equal((shown["state"], shown["attempts"]), ("leased", 1), "which counts as an attempt")
    table = stage.ctl("inbox", "pull", "bob", "--wait", "60s")
    tap.ok(table.code == 0 and "alice" in table.out and '{"n":2}' in table.out.replace(" ", ""), "for people, too", str(table))

    ids = [m["deliveryId"] for m in first]
    acked = stage.ctl("inbox", "ack", "bob", *ids, "--result", '{"done":true}', "--json")
    tap.equal([d["outcome"] for d in acked.json["deliveries"]], ["acked", "acked"], "inbox ack")
    tap.equal(
        stage.ctl("message", "show", "alice:p1", "--json").json["result"]["response"], {"done": True}, "with its result"
    )
    again = stage.ctl("inbox", "ack", "bob", *ids, "--json").json["deliveries"]
    tap.equal([d["outcome"] for d in again], ["already", "already"], "again it is done already")
    stale = stage.ctl("inbox", "ack", "bob", "999.abc")
    tap.ok(stale.code == 65 and "stale" in stale.out, "another's delivery is none", str(stale))


def refuse(stage):
    stage.accept("alice", "bob", "n1")
    [message] = pulled(stage, "--lease", "1m")
    longer = stage.ctl("inbox", "extend", "bob", message["deliveryId"], "--lease", "10m", "--json").json
    tap.equal(longer["extended"], 1, "inbox extend")
    gain = stage.value("select due_at > openclaw.now_ms() + 300000 from openclaw.inbox where message_uuid = 'alice:n1'")
    tap.equal(gain, "t", "keeps it for longer")
    back = stage.ctl("inbox", "nack", "bob", message["deliveryId"], "--delay", "0", "--reason", "later", "--json").json
    tap.equal((back["status"], back["attempt"]), ("requeued", 1), "inbox nack gives it back")
    [message] = pulled(stage, "--wait", "60s")
    tap.equal((message["messageId"], message["attempt"], message["redelivered"]), ("n1", 2, True), "and it comes again")
    dead = stage.ctl("inbox", "nack", "bob", message["deliveryId"], "--dead", "--reason", "no use", "--json").json
    tap.equal(dead["status"], "dead", "--dead is for good")
    letters = stage.ctl("message", "dead", "--inbox", "bob", "--json").json["deadLetters"]
    tap.equal([(d["id"], d["reason"]) for d in letters], [("alice:n1", "no use")], "with its reason")
    acts = stage.value(
        "select string_agg(distinct act, ' ' order by act) from openclaw.audit"
        " where principal_id like 'os:%' and subject = 'bob' and act like 'inbox.%'"
    )
    tap.equal(acts, "inbox.ack inbox.claim inbox.extend inbox.nack", "all of it is on record")
    refused(stage, (
        (["inbox", "pull", "nobody"], 66, "agent list"),
        (["inbox", "pull", "bob", "--limit", "101"], 64, "1 to 100"),
        (["inbox", "pull", "bob", "--lease", "2h"], 64, "1s to 1h"),
        (["inbox", "ack", "bob"], 64, "usage"),
        (["inbox", "ack", "nobody", "1.a"], 66, "agent list"),
        (["inbox", "ack", "bob", "1.a", "--result", "{"], 65, "JSON"),
        (["inbox", "ack", "bob", "x" * 65], 64, "1 to 64"),
        (["inbox", "nack", "bob", "1.a"], 65, "current"),
        (["inbox", "nack", "bob", "1.a", "2.a"], 64, "usage"),
        (["inbox", "nack", "bob", "1.a", "--reason", "x" * 1001], 64, "1000"),
        (["inbox", "extend", "bob", "1.a"], 65, "current"),
        (["inbox", "extend", "bob", "1.a", "--lease", "1ms"], 64, "leaseMs"),
    ))  # fmt: skip


def batch(stage):
    lines = [{"to": "carol", "id": f"b{n}", "content": n} for n in range(3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    sent = send(stage, text, "--json")
    tap.equal(
        (sent.code, sent.json["accepted"], [r["workflowUuid"] for r in sent.json["results"]]),
        (0, 3, ["system:b0", "system:b1", "system:b2"]),
        "message batch sends what its standard input has",
    )
    again = send(stage, json.dumps(lines), "--json")
    tap.equal((again.code, [r["duplicate"] for r in again.json["results"]]), (0, [True] * 3), "as an array, too; once")
    mixed = send(stage, '{"to":"nobody","content":1}\n{\n{"to":"carol","content":2}\n', "--from", "alice")
    tap.ok(
        mixed.code == 67 and "UNKNOWN_RECIPIENT" in mixed.out and "INVALID_JSON" in mixed.out and "queued" in mixed.out,
        "each has its answer; the exit status is the first refused one's",
        str(mixed),
    )
    for text, code, word in (("", 64, "empty"), ("[1", 65, "JSON"), ('{"to":"carol","content":1}\n' * 1001, 65, "1000")):
        result = send(stage, text)
        tap.ok(result.code == code and word in result.err and not result.out, f"refused: {text[:20]!r}", str(result))
    acts = stage.value("select count(*) from openclaw.audit where act = 'message.send' and subject = 'system: a batch of 3'")
    tap.equal(int(acts), 2, "on record")


def send(stage, text, *more):
    process = subprocess.run(
        [CTL, "message", "batch", *more], input=text, capture_output=True, encoding="utf-8",
        env=stage.environment(), timeout=60,
    )  # fmt: skip
    return programs.Result(process)


skip_without("initdb", "psql", "pgbouncer")
assert os.access(CTL, os.X_OK)
with Stage() as stage:
    pull(stage)
    refuse(stage)
    batch(stage)
sys.exit(tap.done())

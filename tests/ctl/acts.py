#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl inbox pull, ack, nack, extend, chat, agent provision, heartbeat and workflow start:
what agents and programs do over the gateway's faces, done by hand."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

from cluster import skip_without
from programs import CTL
from stage import Stage
from tap import Tap

DEADLINE = 60

tap = Tap()


def background(stage, *arguments, text=None):
    process = subprocess.Popen(
        [CTL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", env=stage.environment(),
    )  # fmt: skip
    if text is not None:
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
    return process


def finish(process):
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, json.loads(out) if out else None, err


def pull_until(stage, who):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if messages := stage.pull(who):
            return messages[0]
        time.sleep(0.05)
    raise AssertionError(f"nothing came for {who}")


def refused(stage, cases):
    for arguments, code, word in cases:
        result = stage.ctl(*arguments)
        tap.ok(result.code == code and word in result.err and not result.out,
               f"refused: {' '.join(arguments)[:60]}", str(result))


def inbox(stage):
    pulled = stage.ctl("inbox", "pull", "bob", "--json")
    tap.equal((pulled.code, pulled.json["messages"]), (0, []), "an empty inbox")
    for n in range(3):
        stage.accept("alice", "bob", f"i{n}", f"text {n}")
    [message] = stage.ctl("inbox", "pull", "bob", "--lease", "10m", "--json").json["messages"]
    tap.equal((message["messageId"], message["content"], message["attempt"]), ("i0", "text 0", 1), "inbox pull takes one")
    tap.equal(int(stage.inbox("alice:i0")["attempt"]), 1, "and it counts as handed over")
    extended = stage.ctl("inbox", "extend", "bob", message["deliveryId"], "--lease", "1h", "--json").json
    tap.ok(extended["leaseExpiresAt"] > "20", "extend", extended)
    acked = stage.ctl("inbox", "ack", "bob", message["deliveryId"], "--result", '{"done":true}', "--json")
    tap.equal(acked.json, {"acked": message["deliveryId"]}, "ack")
    again = stage.ctl("inbox", "ack", "bob", message["deliveryId"], "--json")
    tap.equal((again.code, again.json), (0, {"already": message["deliveryId"]}), "again, it was already")
    shown = stage.ctl("message", "show", "alice:i0", "--json").json
    tap.equal((shown["state"], shown["result"]["response"]), ("acked", {"done": True}), "its sender has the answer")

    two = stage.ctl("inbox", "pull", "bob", "--limit", "2", "--json").json["messages"]
    tap.equal([m["messageId"] for m in two], ["i1", "i2"], "--limit takes several, in their order")
    back = stage.ctl("inbox", "nack", "bob", two[0]["deliveryId"], "--delay", "0", "--why", "not now", "--json").json
    tap.equal((back["status"], back["attempt"], back["nextAttemptInMs"]), ("requeued", 1, 0), "nack gives one back")
    dead = stage.ctl("inbox", "nack", "bob", two[1]["deliveryId"], "--dead", "--why", "of no use", "--json").json
    tap.equal((dead["status"], stage.ctl("message", "show", "alice:i2", "--json").json["reason"]),
              ("dead", "of no use"), "or refuses it for good")
    table = stage.ctl("inbox", "pull", "bob").out
    tap.ok("i1" in table and "DELIVERY" in table, "a table for people", table)
    acts = stage.value("select count(*) from openclaw.audit where principal_id like 'os:%' and subject = 'bob'")
    tap.ok(int(acts) >= 7, "each act is in the audit", acts)
    refused(stage, (
        (["inbox", "pull", "nobody"], 66, "nobody"),
        (["inbox", "pull", "bob", "--limit", "101"], 64, "1 to 100"),
        (["inbox", "pull", "bob", "--lease", "1ms"], 64, "1s to 1h"),
        (["inbox", "ack", "bob", "1.none"], 65, "pull again"),
        (["inbox", "ack", "bob", "x" * 65], 64, "64 bytes"),
        (["inbox", "ack", "bob", "1.x", "--result", "{"], 65, "JSON"),
        (["inbox", "nack", "bob", "1.x", "--why", "y" * 1001], 64, "1000 bytes"),
        (["inbox", "extend", "bob", "1.x", "--lease", "2h"], 64, "leaseMs"),
        (["inbox", "stats", "nobody"], 66, "nobody"),
    ))  # fmt: skip
    waiting = background(stage, "inbox", "pull", "carol", "--wait", "60s", "--json")
    stage.accept("alice", "carol", "w0")
    code, answer, err = finish(waiting)
    tap.equal((code, [m["messageId"] for m in answer["messages"]]), (0, ["w0"]), f"--wait waits for one {err}")
    stage.ctl("inbox", "ack", "carol", answer["messages"][0]["deliveryId"])


def chat(stage):
    asked = background(stage, "chat", "send", "carol", "-", "--key", "c1", "--json", text="how are you?")
    question = pull_until(stage, "carol")
    tap.equal(question["content"], "how are you?", "chat send asks, with what its standard input has")
    stage.ack("carol", question, result="well")
    code, answer, err = finish(asked)
    tap.equal((code, answer["result"]["response"]), (0, "well"), f"and shows the answer {err}")
    tap.equal([c["conversationId"] for c in stage.ctl("chat", "list", "--json").json["conversations"]], ["c1"], "chat list")
    said = stage.ctl("chat", "show", "c1", "--json").json["messages"]
    tap.equal([(m["role"], m["content"]) for m in said], [("user", "how are you?"), ("assistant", "well")], "chat show")
    late = stage.ctl("chat", "send", "carol", "and you?", "--conversation", "c1", "--wait", "300ms", "--key", "c2")
    tap.ok(late.code == 75 and "workflow get system:c2" in late.err, "--wait ends with how to go on", str(late))
    stage.ack("carol", pull_until(stage, "carol"), result="too")
    late = stage.ctl("chat", "send", "carol", "and you?", "--conversation", "c1", "--wait", "60s", "--key", "c2", "--json")
    tap.equal((late.code, late.json["result"]["response"]), (0, "too"), "again with its key it is the same")
    other = stage.ctl("chat", "list", "--from", "alice", "--json").json["conversations"]
    tap.equal(other, [], "each principal has its own")
    tap.equal(stage.ctl("chat", "delete", "c1", "--json").json, {"deleted": "c1"}, "chat delete")
    refused(stage, (
        (["chat", "show", "c1"], 66, "chat list"),
        (["chat", "delete", "c1"], 66, "chat list"),
        (["chat", "send", "carol", "x", "--from", "nobody"], 66, "principal"),
        (["chat", "send", "carol", "x", "--key", "a b"], 64, "--key"),
    ))  # fmt: skip
    unknown = stage.ctl("chat", "send", "nobody", "x")
    tap.equal(unknown.code, 66, "nobody there to chat with")


def lifecycle(stage):
    settings = {"name": "Dora", "persona": "careful", "model": "acme/large", "userId": "u1", "inboxLimit": 7,
                "heartbeat": {"enabled": True, "interval": "2h", "checklist": ["look around"]}, "configuration": {"a": 1}}  # fmt: skip
    made = finish(background(stage, "agent", "provision", "dora", "-", "--json", text=json.dumps(settings)))
    tap.equal((made[0], made[1]["status"]), (0, "SUCCESS"), f"agent provision {made[2]}")
    shown = stage.ctl("agent", "show", "dora", "--json").json
    tap.equal((shown["name"], shown["persona"], shown["model"], shown["inboxLimit"]), ("Dora", "careful", "acme/large", 7), "as agent show has it")
    stage.tokens["dora"] = stage.ctl("token", "add", "dora", "--json").json["token"]
    beat = background(stage, "agent", "heartbeat", "dora", "--json")
    question = pull_until(stage, "dora")
    tap.ok("look around" in question["content"], "agent heartbeat asks it", question["content"])
    stage.ack("dora", question, result="HEARTBEAT_OK")
    code, answer, err = finish(beat)
    tap.equal((code, answer["status"]), (0, "SUCCESS"), f"and waits {err}")
    beats = stage.ctl("agent", "heartbeats", "dora", "--json").json["heartbeats"]
    tap.equal([(b["response"]) for b in beats], ["HEARTBEAT_OK"], "agent heartbeats")
    refused(stage, (
        (["agent", "provision", "erik", "[1]"], 64, "JSON object"),
        (["agent", "provision", "erik", '{"agentId":"other"}'], 64, "agentId"),
        (["agent", "provision", "system", "{}"], 64, "own"),
        (["agent", "heartbeat", "nobody"], 66, "nobody"),
    ))  # fmt: skip
    acts = stage.value("select count(*) from openclaw.audit where act = 'workflow.start' and principal_id like 'os:%'")
    tap.ok(int(acts) >= 4, "the audit has who started them", acts)
    bad = stage.ctl("agent", "provision", "erik", '{"model":1}')
    tap.ok(bad.code == 64 and "model" in bad.err, "settings are checked", str(bad))


def workflows(stage):
    started = stage.ctl("workflow", "start", "delayedGreeting", '{"to":"bob","name":"Bob","delayMs":0}', "--key", "g1", "--wait", "60s", "--json")
    tap.ok(started.code == 0 and started.json["status"] == "SUCCESS", "workflow start runs it", str(started))
    again = stage.ctl("workflow", "start", "delayedGreeting", '{"to":"bob","name":"Bob","delayMs":0}', "--key", "g1", "--json")
    tap.equal(again.json["id"], started.json["id"], "with its key it is the same")
    refused(stage, (
        (["workflow", "start", "noSuch"], 66, "startable"),
        (["workflow", "start", "routeAgentMessage", "{}"], 64, "message send"),
        (["workflow", "start", "delayedGreeting", "{"], 65, "JSON"),
        (["workflow", "start", "delayedGreeting", '{"to":"carol","name":"Carol"}', "--key", "g1"], 65, "key"),
    ))  # fmt: skip


skip_without("initdb", "psql", "pgbouncer")
assert os.access(CTL, os.X_OK)
with Stage() as stage:
    inbox(stage)
    chat(stage)
    lifecycle(stage)
    workflows(stage)
sys.exit(tap.done())

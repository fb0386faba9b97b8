#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl: what HTTP has and a shell needs, too. Lists to their end, their filters, and what goes
with a message, a pause, a heartbeat, a chat and a change."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

from cluster import skip_without
from programs import CTL
from stage import Stage, Task, eventually
from tap import Tap

DEADLINE = 30
TRACE = "0af7651916cd43dd8448eb211c80319c"

tap = Tap()


def pages(stage, name, key, *arguments, limit=2):
    """The keys of all rows of a list, page by page, and how many pages there were."""
    found, cursor, count = [], [], 0
    while True:
        page = stage.ctl(*arguments, "--limit", str(limit), *cursor, "--json")
        assert page.code == 0, str(page)
        found += [row[key] for row in page.json[name]]
        count += 1
        if page.json["nextCursor"] is None or count > 50:
            return found, count
        cursor = ["--cursor", page.json["nextCursor"]]


def paging(stage):
    for n in range(5):
        stage.accept("alice", "carol", f"p{n}")
    found, count = pages(stage, "messages", "id", "message", "list", "--inbox", "carol")
    tap.equal((found, count), ([f"alice:p{n}" for n in (4, 3, 2, 1, 0)], 3), "message list goes on to its end")
    found, count = pages(stage, "messages", "id", "message", "list", "--inbox", "carol", limit=5)
    tap.equal((len(found), count), (5, 1), "and knows that it is there")
    whole = [w["id"] for w in stage.ctl("workflow", "list", "--json").json["workflows"]]
    found, count = pages(stage, "workflows", "id", "workflow", "list")
    tap.ok(found == whole and count > 2, "workflow list", (found, whole))
    whole = [a["id"] for a in stage.ctl("audit", "list", "--json").json["audit"]]
    found, count = pages(stage, "audit", "id", "audit", "list")
    tap.ok(found == whole and count > 1, "audit list", (found, whole))
    for n in range(3):
        stage.lead_to_death("alice", "bob", f"d{n}")
    found, count = pages(stage, "deadLetters", "id", "message", "dead")
    tap.equal((found, count), (["alice:d2", "alice:d1", "alice:d0"], 2), "message dead")
    table = stage.ctl("message", "dead", "--limit", "2")
    tap.ok(len(table.out.splitlines()) == 3 and "--cursor" in table.err, "a table says on stderr that it goes on", table)
    tap.equal(stage.ctl("message", "dead").err, "", "and nothing where it does not")
    for cursor in ("x", "1.x", "-1", ""):
        said = stage.ctl("message", "list", "--cursor", cursor)
        tap.ok(said.code == 64 and "--cursor" in said.err, f"refused: --cursor {cursor!r}", said)
    tap.equal(stage.ctl("workflow", "list", "--cursor", "1").code, 64, "and one of another list")


def filters(stage):
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = stage.responder.post("/messages", {"id": "t1", "to": "bob", "content": "x"}, headers=headers, token=stage.tokens["alice"])
    assert answer.status == 200, answer.body
    found = stage.ctl("workflow", "list", "--attribute", f"traceId:{TRACE}", "--json")
    tap.equal([w["id"] for w in found.json["workflows"]], ["alice:t1"], "workflow list --attribute finds a trace")
    tap.equal(stage.ctl("workflow", "list", "--attribute", "traceId").code, 64, "which has a name and a value")
    tap.equal(stage.ctl("workflow", "list", "--until", "1h", "--json").json["workflows"], [], "--until leaves out what came since")
    tap.ok(stage.ctl("workflow", "list", "--until", "0", "--json").json["workflows"], "and nothing else")
    acts = {a["act"] for a in stage.ctl("audit", "list", "--act", "agent", "--json").json["audit"]}
    tap.ok(acts and all(act.startswith("agent.") for act in acts), "audit list --act has a kind of acts", acts)
    tap.equal(stage.ctl("audit", "list", "--until", "1h", "--json").json["audit"], [], "and --until")
    stage.ack("bob", *stage.pull("bob"))


def recover(stage):
    made = stage.ctl("workflow", "start", "delayedGreeting", '{"to":"carol","name":"x","delayMs":60000}', "--key", "r1")
    assert made.code == 0, str(made)
    assert stage.ctl("workflow", "cancel", "system:r1").code == 0
    said = stage.ctl("workflow", "recover", "system:r1", "--json")
    tap.ok(said.code == 0 and said.json["changed"] == 1, "workflow recover lets a cancelled one go on", said)
    state = eventually(lambda: stage.value("select status from dbos_system.workflow_status where workflow_uuid = 'system:r1'") != "CANCELLED")
    tap.ok(state, "as resume does")
    tap.equal(stage.ctl("workflow", "recover", "system:none").code, 66, "one that there is")


def metrics(stage):
    found = {(m["name"], *m["labels"]): m["value"] for m in stage.ctl("metrics", "--json").json["metrics"]}
    accepted = int(stage.value("select count(*) from openclaw.inbox"))
    tap.equal(found[("messages_accepted",)], accepted, "metrics: what /metrics has of the database")
    tap.equal(found[("agents", "active")], 3, "with labels")
    tap.ok(stage.ctl("metrics").out.startswith("METRIC "), "for people, too")


def message(stage):
    said = stage.ctl("message", "send", "bob", "x", "--metadata", '{"ticket":7}', "--key", "m1")
    assert said.code == 0, str(said)
    [one] = stage.pull("bob")
    tap.equal(one["metadata"], {"ticket": 7}, "message send --metadata")
    stage.ack("bob", one)
    for given, code in (("[1]", 64), ("{", 65)):
        tap.equal(stage.ctl("message", "send", "bob", "x", "--metadata", given).code, code, f"refused: --metadata {given}")


def change(stage):
    version = stage.ctl("agent", "show", "bob", "--json").json["version"]
    said = stage.ctl("agent", "set", "bob", "--name", "B", "--persona", "terse", "--allow", "*", "--if-match", str(version), "--json")
    tap.equal((said.code, said.json["version"]), (0, version + 1), "agent set --if-match changes that version, once")
    shown = stage.ctl("agent", "show", "bob", "--json").json
    tap.equal((shown["name"], shown["persona"], shown["version"]), ("B", "terse", version + 1), "all of it")
    stale = stage.ctl("agent", "set", "bob", "--name", "C", "--if-match", str(version))
    tap.ok(stale.code != 0 and str(version + 1) in stale.err, "and no older one", stale)
    tap.equal(stage.ctl("agent", "show", "bob", "--json").json["name"], "B", "which changes nothing")
    tap.equal(stage.ctl("agent", "set", "bob", "--name", "C", "--if-match", "x").code, 64, "a version is a number")
    tap.equal(stage.ctl("agent", "remove", "bob", "--if-match", str(version)).code, stale.code, "nor does a removal")
    paused = stage.ctl("agent", "pause", "bob", "--reason", "moving house")
    shown = stage.ctl("agent", "show", "bob", "--json").json
    tap.equal((paused.code, shown["status"], shown["paused"]["reason"]), (0, "paused", "moving house"), "agent pause --reason")
    tap.equal(stage.ctl("agent", "pause", "bob", "--reason", "x" * 1001).code, 65, "of 1000 bytes at most")
    stage.ctl("agent", "resume", "bob")
    tap.equal(stage.ctl("agent", "show", "bob", "--json").json["paused"], None, "it goes with the pause")


def ask(stage):
    """heartbeat --checklist, and what goes with a chat."""

    def asked(*arguments):
        task = Task(lambda: stage.ctl(*arguments, "--json"))
        [one] = eventually(lambda: stage.pull("bob"), timeout=60)
        stage.ack("bob", one, result="fine")
        result = task.result(60)
        assert result.code == 0, str(result)
        return one

    one = asked("heartbeat", "start", "bob", "--checklist", '["the stove"]')
    tap.equal(one["metadata"]["checklist"], ["the stove"], "heartbeat start --checklist")
    tap.equal(stage.ctl("heartbeat", "start", "bob", "--checklist", '"x"').code, 64, "which is a list")
    history = '[{"role":"user","content":"hello"}]'
    one = asked("chat", "send", "bob", "and?", "--conversation", "c9", "--history", history,
                "--user-id", "u7", "--workspace-id", "w7")  # fmt: skip
    tap.ok('"content": "hello"' in str(one["metadata"]).replace("'", '"'), "chat send --history", one["metadata"])
    [kept] = stage.ctl("chat", "list", "--json").json["conversations"]
    tap.equal((kept["userId"], kept["workspaceId"]), ("u7", "w7"), "--user-id and --workspace-id")
    found, count = pages(stage, "messages", "role", "chat", "show", "c9", limit=1)
    tap.equal((found, count), (["user", "assistant"], 2), "chat show goes on, too")
    found, count = pages(stage, "heartbeats", "status", "heartbeat", "list", "bob", limit=1)
    tap.equal((found, count), (["completed"], 1), "and heartbeat list")


def mistyped(stage):
    """A name that means nothing is no empty list."""
    for arguments, word in (
        (["message", "list", "--from", "nosuch"], "--from nosuch"),
        (["message", "tail", "--inbox", "nosuch"], "no agent"),
        (["message", "tail", "--from", "nosuch"], "--from nosuch"),
        (["message", "redrive", "--inbox", "nosuch"], "no agent"),
        (["message", "purge", "--from", "nosuch", "--dry-run"], "--from nosuch"),
        (["audit", "list", "--principal", "nosuch"], "--principal nosuch"),
        (["workflow", "list", "--principal", "nosuch"], "--principal nosuch"),
        (["workflow", "list", "--queue", "nosuch"], "queue list"),
        (["workflow", "list", "--workflow", "nosuch"], "--workflow nosuch"),
    ):
        said = within(stage, arguments)
        tap.ok(said and said[0] == 66 and word in said[2] and not said[1], f"not there: {' '.join(arguments)}", said)
    for arguments in (
        ["message", "list", "--from", "carol"],
        ["message", "list", "--from", "system", "--inbox", "carol"],
        ["audit", "list", "--principal", "os:nobody"],
        ["workflow", "list", "--workflow", "provisionAgent", "--until", "1h"],
        ["workflow", "list", "--queue", "openclaw", "--until", "1h"],
    ):
        said = stage.ctl(*arguments, "--json")
        tap.ok(said.code == 0 and [] in said.json.values(), f"there, with nothing: {' '.join(arguments)}", said)
    for arguments, word in ((["help"], "gatewayctl --help"), (["message", "sned"], "gatewayctl message --help")):
        said = stage.ctl(*arguments)
        tap.ok(said.code == 64 and f"{word} shows" in said.err, f"{' '.join(arguments)} is told how to go on", said)
    for arguments in (["-h"], ["message", "send", "-h"]):
        said = stage.ctl(*arguments)
        tap.ok(said.code == 0 and said.out == stage.ctl(*arguments[:-1], "--help").out, f"{' '.join(arguments)}", said)


def within(stage, arguments, output=subprocess.PIPE, while_it_runs=lambda: None):
    """(exit status, stdout, stderr) of one that ends; None of one that does not."""
    process = subprocess.Popen(
        [CTL, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
        encoding="utf-8", env=stage.environment(),
    )  # fmt: skip
    try:
        while_it_runs()
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


def full(stage):
    """Who keeps a tail as a record learns that it is not kept any more."""
    with open("/dev/full", "w", encoding="utf-8") as disk:
        for n, more in enumerate((["--json"], [])):
            said = within(stage, ["message", "tail", "--interval", "20ms", *more], disk,
                          lambda: [(time.sleep(0.3), stage.accept("alice", "carol", f"f{n}{i}")) for i in range(10)])  # fmt: skip
            tap.ok(said and said[0] == 74 and "could not be written" in said[2],
                   f"a tail to a full disk ends: {more}", said)


def main():
    skip_without("initdb")
    with Stage() as stage:
        filters(stage)
        paging(stage)
        recover(stage)
        metrics(stage)
        message(stage)
        change(stage)
        ask(stage)
        mistyped(stage)
        full(stage)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

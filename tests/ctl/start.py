#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl workflow start, heartbeat and chat: workflows that an operator starts from the shell,
with a real sweeper that carries them on."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

from cluster import skip_without
from programs import CTL
from stage import Stage, Task, eventually
from tap import Tap

tap = Tap()


def refused(stage, cases):
    for arguments, code, word in cases:
        result = stage.ctl(*arguments)
        tap.ok(
            result.code == code and word in result.err and not result.out,
            f"refused: {' '.join(arguments)!a}",
            str(result),
        )


def answered(stage, who, result, call):
    """What call() returns, while `who` answers the one message that it sends."""
    task = Task(call)
    messages = eventually(lambda: stage.pull(who), timeout=60)
    stage.ack(who, *messages, result=result)
    return task.result(60), messages


def start(stage):
    greet = ["workflow", "start", "delayedGreeting", '{"to":"carol","name":"Dora","delayMs":1}', "--key", "p1"]
    made = stage.ctl(*greet, "--wait", "60s", "--json")
    tap.equal(
        (made.code, made.json["workflowUuid"], made.json["status"], made.json["result"]["greeting"]),
        (0, "system:p1", "SUCCESS", "Good day, Dora!"),
        "workflow start, waited for",
    )
    again = stage.ctl(*greet, "--json").json
    tap.equal(
        (again["workflowUuid"], again["status"], again["duplicate"]),
        ("system:p1", "SUCCESS", True),
        "with its key it is the same",
    )
    other = stage.ctl("workflow", "start", "delayedGreeting", '{"to":"carol","name":"Eve"}', "--key", "p1")
    tap.equal(other.code, 65, "which another cannot have")
    mine = stage.ctl("workflow", "start", "delayedGreeting", '{"to":"carol","name":"x","delayMs":60000}', "--from", "alice", "--json")
    tap.ok(mine.code == 0 and "result" not in mine.json, "without --wait it is started, and no more", str(mine))
    shown = stage.ctl("workflow", "get", mine.json["workflowUuid"], "--json").json
    tap.equal((shown["principal"], shown["status"]), ("alice", "DELAYED"), "--from says whose it is")
    acts = stage.value("select count(*) from openclaw.audit where act = 'workflow.start' and principal_id like 'os:%'")
    tap.equal(int(acts), 4, "the audit has who started them")
    late = stage.ctl(*greet[:3], '{"to":"carol","name":"x","delayMs":60000}', "--wait", "300ms")
    tap.ok(late.code == 75 and "workflow get" in late.err and "DELAYED" in late.out, "--wait ends with what is known", str(late))
    refused(stage, (
        (["workflow", "start", "nothing"], 66, "startable"),
        (["workflow", "start", "routeAgentMessage", "{}"], 64, "message send"),
        (["workflow", "start", "delayedGreeting", "{"], 65, "JSON"),
        (["workflow", "start", "delayedGreeting", "{}"], 64, "agent id"),
        (["workflow", "start", "delayedGreeting", "{}", "--key", "a b"], 64, "key"),
        (["workflow", "start", "delayedGreeting", "{}", "--from", "nobody"], 66, "nobody"),
        (["workflow", "start", "delayedGreeting", "{}", "--wait", "long"], 64, "time"),
        (["workflow", "start"], 64, "usage"),
    ))  # fmt: skip


def heartbeat(stage):
    result, messages = answered(
        stage, "bob", {"ok": True}, lambda: stage.ctl("heartbeat", "start", "bob", "--key", "h1", "--json")
    )
    tap.equal(
        (result.code, result.json["workflowUuid"], result.json["result"]["status"]),
        (0, "system:h1", "completed"),
        "heartbeat start asks the agent",
    )
    tap.equal(len(messages), 1, "once")
    listed = stage.ctl("heartbeat", "list", "bob", "--json").json["heartbeats"]
    tap.equal([(h["workflowUuid"], h["response"]) for h in listed], [("system:h1", {"ok": True})], "heartbeat list")
    tap.ok("system:h1" in stage.ctl("heartbeat", "list", "bob").out, "for people, too")
    late = stage.ctl("heartbeat", "start", "bob", "--wait", "200ms")
    tap.ok(late.code == 75 and "workflow get" in late.err and "PENDING" not in late.err, "who does not wait is told where to look", str(late))
    stage.ack("bob", *eventually(lambda: stage.pull("bob"), timeout=60))
    refused(stage, (
        (["heartbeat", "start", "nobody"], 66, "nobody"),
        (["heartbeat", "start", "a b"], 64, "agent"),
        (["heartbeat", "list", "nobody"], 66, "agent list"),
        (["heartbeat", "list"], 64, "usage"),
    ))  # fmt: skip


def chat(stage):
    said, [message] = answered(
        stage, "bob", "fine", lambda: stage.ctl("chat", "send", "bob", "how are you?", "--conversation", "c1", "--json")
    )
    tap.equal(
        (said.code, said.json["conversationId"], said.json["response"]), (0, "c1", "fine"), "chat send brings the answer"
    )
    plain, _ = answered(
        stage, "bob", "still fine", lambda: stage.ctl("chat", "send", "bob", "and now?", "--conversation", "c1")
    )
    tap.ok(plain.code == 0 and plain.out == "still fine\n", "for people the answer alone", str(plain))
    listed = stage.ctl("chat", "list", "--json").json["conversations"]
    tap.equal([(c["conversationId"], c["agentId"]) for c in listed], [("c1", "bob")], "chat list")
    told = stage.ctl("chat", "show", "c1", "--json").json["messages"]
    tap.equal(
        [(m["role"], m["content"]) for m in told],
        [("user", "how are you?"), ("assistant", "fine"), ("user", "and now?"), ("assistant", "still fine")],
        "chat show reads it back",
    )
    tap.equal(stage.ctl("chat", "list", "--from", "alice", "--json").json["conversations"], [], "each has its own")
    tap.equal(stage.ctl("chat", "show", "c1", "--from", "alice").code, 66, "and not another's")
    tap.equal(stage.ctl("chat", "delete", "c1").code, 0, "chat delete")
    tap.equal(stage.ctl("chat", "show", "c1").code, 66, "it is gone")
    acts = stage.value("select count(*) from openclaw.audit where act = 'chat.delete' and subject = 'system/c1'")
    tap.equal(int(acts), 1, "and on record")
    refused(stage, (
        (["chat", "delete", "c1"], 66, "chat list"),
        (["chat", "send", "nobody", "x"], 67, "there is no such agent"),
        (["chat", "send", "bob", ""], 64, "message"),
        (["chat", "send", "bob", "x", "--conversation", "a b"], 64, "conversationId"),
        (["chat", "list", "--from", "nobody"], 66, "nobody"),
        (["chat", "list", "nobody"], 66, "agent list"),
        (["chat", "list", "\udcff"], 65, "argument 3 is no UTF-8"),
        (["agent", "set", "bob", "--name", "\udcff"], 65, "--name"),
        (["message", "redrive", "--reason", "\udcff", "--dry-run"], 65, "--reason"),
    ))  # fmt: skip


def provision(stage):
    settings = ["--persona", "terse", "--model", "acme/large", "--user-id", "u1", "--inbox-limit", "7",
                "--heartbeat", '{"enabled":true,"interval":"2h"}', "--configuration", '{"a":1}']  # fmt: skip
    made = stage.ctl("agent", "add", "dora", *settings, "--json")
    tap.ok(made.code == 0 and made.json["token"].startswith("ocg_"), "agent add with settings", made.err)
    shown = stage.ctl("agent", "show", "dora", "--json").json
    tap.equal(
        [shown[m] for m in ("persona", "model", "userId", "inboxLimit", "heartbeat", "configuration")],
        ["terse", "acme/large", "u1", 7, {"enabled": True, "interval": "2h"}, {"a": 1}],
        "are its own",
    )
    planned = stage.value("select count(*) from dbos_system.workflow_status where workflow_uuid like 'heartbeat:dora:%'")
    tap.equal(int(planned), 1, "and its heartbeat is planned")
    changed = stage.ctl("agent", "set", "dora", "--persona", "", "--session-key", "agent:dora:main")
    shown = stage.ctl("agent", "show", "dora", "--json").json
    tap.equal(
        (changed.code, shown["persona"], shown["sessionKey"], shown["model"]),
        (0, None, "agent:dora:main", "acme/large"),
        "agent set changes what is given, and clears what is empty",
    )
    refused(stage, (
        (["agent", "add", "erik", "--model", "none"], 64, "model"),
        (["agent", "add", "erik", "--heartbeat", "{"], 65, "JSON"),
        (["agent", "set", "dora", "--session-key", "agent:bob:main"], 64, "sessionKey"),
        (["agent", "set", "dora", "--inbox-limit", "many"], 65, "JSON"),
        (["agent", "set", "dora"], 64, "--persona"),
    ))  # fmt: skip
    tap.equal(stage.ctl("agent", "show", "erik").code, 66, "nothing is made of what is refused")


def ticket(stage):
    given = stage.ctl("token", "ticket", "dora", "--scopes", "send")
    tap.ok(given.code == 0 and given.out.startswith("oct_") and given.out.count("\n") == 1 and "oct_" not in given.err,
           "token ticket prints the ticket only", str(given))  # fmt: skip
    kept = stage.value("select array_to_string(t.scopes, ',') from openclaw.ticket t join openclaw.credential c"
                       " using (credential_id) where c.principal_id = 'dora'")  # fmt: skip
    tap.equal(kept, "send", "which may do what it says")
    noted = stage.value("select count(*) from openclaw.audit where act = 'token.ticket' and subject = 'dora'")
    tap.equal(int(noted), 1, "and is on record")
    refused(stage, (
        (["token", "ticket", "nobody"], 66, "nobody"),
        (["token", "ticket", "dora", "--scopes", "operator"], 77, "token"),
        (["token", "ticket", "dora", "--scopes", "all"], 64, "scope"),
        (["token", "ticket", "dora", "--token", "none"], 66, "token list"),
    ))  # fmt: skip


skip_without("initdb", "psql", "pgbouncer")
assert os.access(CTL, os.X_OK)
with Stage() as stage:
    start(stage)
    heartbeat(stage)
    chat(stage)
    provision(stage)
    ticket(stage)
sys.exit(tap.done())

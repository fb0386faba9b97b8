#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A run id is found again by whom it was given to, whatever its key looks like: an id of a workflow, of somebody
else's, or of another run of one's own; and nobody finds somebody else's."""

import os
import sys
import urllib.parse
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__)))

from responder import Responder
from sessions import Refused, World, message
from tap import Tap

tap = Tap()


def code_of(session, method, params):
    try:
        session.call(method, params)
    except Refused as refusal:
        return refusal.code
    return None


def waited(session, run):
    """Which message agent.wait tells of, by the reply to it."""
    try:
        answer = session.call("agent.wait", {"runId": run, "timeoutMs": 5000})
    except Refused as refusal:
        return refusal.code
    assert answer["runId"] == run, answer
    return answer["workflowUuid"], answer["status"], answer["response"]


def prepare(world, sender, recipient):
    """Sends under keys of all shapes; {run id: workflow's id}, each answered with that id. Alice's keys are like the
    ids of bob's workflows and of her own."""
    theirs = sender["bob"].call("agent.send", {"sessionKey": "agent:carol:main", "message": "fresh"})["runId"]
    runs = {"alice": {}, "bob": {theirs: theirs}}
    for name, key in (
        ("bob", "x"), ("bob", "only-bobs"),
        ("alice", "x"), ("alice", str(uuid.uuid4())), ("alice", str(uuid.uuid4()).upper()), ("alice", "trip:1"),
        ("alice", "bob:x"), ("alice", "alice:x"), ("alice", ":"), ("alice", theirs),
        ("alice", "0" * 199 + ":"),
    ):
        answer = sender[name].call("send", message("carol", key, key))
        assert answer["runId"] == key and answer["workflowUuid"] == f"{name}:{key}", answer
        runs[name][key] = answer["workflowUuid"]
    fresh = sender["alice"].call("agent.send", {"sessionKey": "agent:carol:main", "message": "fresh"})
    runs["alice"][fresh["runId"]] = fresh["workflowUuid"]
    for _ in range(sum(map(len, runs.values()))):
        delivery = recipient.event("inbox.message")
        recipient.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]], "result": delivery["workflowUuid"]})
    return runs


def check_runs(session, name, runs):
    for run, workflow in runs[name].items():
        tap.equal(waited(session, run), (workflow, "ok", workflow), f"agent.wait of {name}'s {run[:40]}")
        status = session.call("workflow.status", {"runId": run})
        tap.equal(status["workflowUuid"], workflow, f"workflow.status of {name}'s run {run[:40]}")
        events = session.call("workflow.events", {"runId": run})
        tap.ok(events["workflowUuid"] == workflow and events["events"], f"workflow.events of {name}'s run {run[:40]}")


def check_workflows(http, world, session, name, runs):
    """By its id a workflow is that one, whatever key is the same; by its key it is found where no id is."""
    workflows = runs[name].values()
    for given in [*workflows, *(run for run in runs[name] if run not in workflows)]:
        wanted = given if given in workflows else runs[name][given]
        status = session.call("workflow.status", {"workflowUuid": given})
        tap.equal(status["workflowUuid"], wanted, f"workflow.status of {name}'s {given[:40]}")
        path = "/workflows/" + urllib.parse.quote(given, safe="")
        for uri in (path, f"{path}/steps", f"{path}/events"):
            answer = http.get(uri, token=world.tokens[name])
            tap.equal((answer.status, answer.json().get("workflowUuid")), (200, wanted), f"GET {uri[:60]}")
        answer = http.post(f"{path}/cancel", {}, token=world.tokens[name])
        tap.equal((answer.status, answer.json().get("workflowUuid")), (200, wanted), f"POST {path[:60]}/cancel")
        cancelled = session.call("workflow.cancel", {"workflowUuid": given})
        tap.equal(cancelled["workflowUuid"], wanted, f"workflow.cancel of {name}'s {given[:40]}")


def check_others(http, world, session, runs):
    [fresh] = (run for run, workflow in runs["alice"].items() if run == workflow)
    for given in ("alice:trip:1", "alice:x", fresh, "never"):
        tap.equal(waited(session, given), "NOT_FOUND", f"agent.wait of another's {given}")
        for params in ({"runId": given}, {"workflowUuid": given}):
            tap.equal(code_of(session, "workflow.status", params), "NOT_FOUND", f"workflow.status of another's {params}")
        answer = http.get("/workflows/" + urllib.parse.quote(given, safe=""), token=world.tokens["bob"])
        tap.equal(answer.status, 404, f"GET of another's {given}")


def check_operator(root, runs):
    for workflow in runs["alice"].values():
        if workflow.startswith("alice:"):
            tap.equal(waited(root, workflow), (workflow, "ok", workflow), f"an operator waits for {workflow[:40]}")
    root.call("send", message("bob", "own", "alice:x"))
    run = root.call("agent.wait", {"runId": "alice:x", "timeoutMs": 0})
    tap.equal(run["workflowUuid"], "ops:alice:x", "but for its own run rather than for the workflow of that id")
    status = root.call("workflow.status", {"workflowUuid": "alice:x"})
    tap.equal(status["workflowUuid"], "alice:x", "of which it asks by workflowUuid")


def main():
    with World() as world, Responder(world.cluster, {"RUNTIME_DIR": world.runtime}) as http:
        world.sql(
            "insert into openclaw.principal values ('ops', 'operator', array['operator']);"
            "update openclaw.principal set scopes = scopes || array['workflows:read', 'workflows:write']"
            " where principal_id in ('alice', 'bob')"
        )
        world.tokens["ops"] = world.token("ops")
        with world.connect("alice") as alice, world.connect("bob") as bob, world.connect("carol") as carol:
            carol.call("inbox.subscribe", {"inbox": "carol"})
            runs = prepare(world, {"alice": alice, "bob": bob}, carol)
            for name, session in (("alice", alice), ("bob", bob)):
                check_runs(session, name, runs)
                check_workflows(http, world, session, name, runs)
            check_others(http, world, bob, runs)
            with world.connect("ops") as root:
                check_operator(root, runs)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

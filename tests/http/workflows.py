#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Workflows over HTTP: reading, listing, starting."""

import os
import signal
import subprocess
import sys
import time
import urllib.parse

from cluster import skip_without
from responder import BUILD, Gateway, Responder
from tap import Tap

tap = Tap()


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def reading(gateway, http, alice, bob, root):
    message = {"to": "bob", "content": "hello", "metadata": {"k": 1}}
    http.post("/messages", message, {"Idempotency-Key": "m1"}, token=alice)
    for name in ("alice:m1", "alice%3Am1", "m1"):
        body = http.get(f"/workflows/{name}", token=alice).json()
        tap.equal((body["workflowUuid"], body["name"]), ("alice:m1", "routeAgentMessage"),
                  f"GET /workflows/{name}")
    tap.equal(body["status"], "DELAYED", "it waits, parked")
    tap.equal(
        (body["input"]["content"], body["input"]["from"], body["output"], body["error"]),
        ("hello", "alice", None, None), "with its input, and no output yet",
    )
    tap.ok(body["createdAt"].endswith("Z") and body["completedAt"] is None, "and its times")
    gateway.acknowledge("bob", "'\"pong\"'")
    body = http.get("/workflows/m1", token=alice).json()
    tap.equal(
        (body["status"], body["output"]["status"], body["output"]["response"]),
        ("SUCCESS", "acknowledged", "pong"), "then it has one",
    )
    steps = http.get("/workflows/m1/steps", token=alice).json()
    tap.equal(
        [(s["stepId"], s["name"]) for s in steps["steps"]],
        [(0, "validateMessage"), (1, "storeMessage"), (2, "routeMessage")], "its steps in order",
    )
    tap.ok(all(s["startedAt"] and s["completedAt"] for s in steps["steps"]), "with their times")
    events = http.get("/workflows/m1/events", token=alice).json()["events"]
    tap.ok("accepted" in [e["key"] for e in events], "its events")

    for path in ("/workflows/alice:m1", "/workflows/alice:m1/steps", "/workflows/alice:m1/events",
                 "/workflows/none", "/workflows/agent:alice", "/workflows/" + "x" * 400):
        answer = http.get(path, token=bob)
        tap.equal(code_of(answer), (404, "NOT_FOUND"), f"not bob's: {path[:40]}")
        body = answer.json()
        tap.equal(
            (body["workflowUuid"], body["status"]),
            (urllib.parse.unquote(path.split("/")[2]), "not_found"), "and the problem says which",
        )
        tap.equal(answer.headers["content-type"], "application/problem+json", "as a problem")
    tap.equal(http.get("/workflows/alice:m1", token=root).status, 200, "an operator sees all")


def foreign(gateway, http, root):
    """Rows of other DBOS applications, in their own serializations."""
    for name, serialization, inputs, output in (
        ("native", "js_superjson", '{"json":[1,{"a":2}],"__dbos_serializer":"superjson"}',
         '{"json":{"x":[3]},"__dbos_serializer":"superjson"}'),
        ("pickled", "py_pickle", "gASVBAA=", "gASVBgA="),
        ("portable", "portable_json", '{"positionalArgs":[1,2],"namedArgs":{}}', "null"),
        ("broken", "portable_json", '{"positionalArgs":[', "{"),
    ):
        gateway.execute(
            "insert into dbos_system.workflow_status (workflow_uuid, status, name, serialization)"
            f" values ('other-{name}:1', 'SUCCESS', 'theirs', '{serialization}');"
            "insert into dbos_system.workflow_input (workflow_uuid, inputs)"
            f" values ('other-{name}:1', '{inputs}');"
            "insert into dbos_system.workflow_output (workflow_uuid, output)"
            f" values ('other-{name}:1', '{output}');"
        )
    got = {n: http.get(f"/workflows/other-{n}:1", token=root).json()
           for n in ("native", "pickled", "portable", "broken")}
    tap.equal((got["native"]["input"], got["native"]["output"]), ([1, {"a": 2}], {"x": [3]}), "superjson")
    tap.equal((got["pickled"]["input"], got["pickled"]["output"]), ("gASVBAA=", "gASVBgA="), "what is no JSON is text")
    tap.equal((got["portable"]["input"], got["portable"]["output"]), ([1, 2], None), "several arguments")
    tap.equal(got["broken"]["output"], "{", "what is broken is shown as it is")


def parts(gateway, http, alice):
    """Steps and events in pages; the attributes; a fork told by a body."""
    steps, cursor = [], ""
    while cursor is not None and len(steps) < 9:
        query = "?limit=2" + (f"&cursor={cursor}" if cursor else "")
        body = http.get(f"/workflows/m1/steps{query}", token=alice).json()
        steps += [s["stepId"] for s in body["steps"]]
        cursor = body["nextCursor"]
    tap.equal(steps, [0, 1, 2], "the steps in pages")
    whole = http.get("/workflows/m1/events", token=alice).json()
    tap.equal(whole["nextCursor"], None, "few events are one page")
    events, cursor = [], ""
    while cursor is not None and len(events) < 9:
        query = "?limit=1" + (f"&cursor={cursor}" if cursor else "")
        body = http.get(f"/workflows/m1/events{query}", token=alice).json()
        events += body["events"]
        cursor = body["nextCursor"]
    tap.equal(events, whole["events"], "the events in pages")
    gateway.execute(
        """update dbos_system.workflow_status set attributes = '{"team":"a:b"}' where workflow_uuid = 'alice:m1';"""
    )
    found = http.get("/workflows?attribute=team:a:b", token=alice).json()["workflows"]
    tap.equal([w["workflowUuid"] for w in found], ["alice:m1"], "by attribute")
    tap.equal(http.get("/workflows?attribute=team:c", token=alice).json()["workflows"], [], "another value")
    tap.equal(code_of(http.get("/workflows?attribute=team", token=alice)), (400, "INVALID_REQUEST"), "no value")


def slashes(http, root):
    """A key may have one, and what it names is found again."""
    headers = {"Idempotency-Key": "orders/2026/1", "Prefer": "respond-async"}
    answer = http.post("/messages", {"to": "bob", "content": 1}, headers, token=root)
    there = answer.headers["location"]
    tap.ok("%2F2026%2F1" in there, "a key with a slash", there)
    answer = http.get(there, token=root)
    tap.equal((answer.status, answer.json()["workflowUuid"]), (200, "root:orders/2026/1"), "its Location leads there")
    tap.equal(http.send("POST", f"{there}/cancel", token=root).status, 200, "and what is below it, too")
    tap.equal(http.get("/workflows/root:orders/2026/1", token=root).status, 404, "without being encoded it is another address")


def ids_of_others(gateway, http, root):
    """What a DBOS client named as it liked is read and managed as well."""
    for name in ("order 42", 'a "quoted" \\ one', "übung/naïve%20?#", "x" * 512):
        there = "/workflows/" + urllib.parse.quote(name, safe="")
        gateway.execute(
            "insert into dbos_system.workflow_status (workflow_uuid, status, name, inputs, created_at, updated_at)"
            f" values ($id${name}$id$, 'ENQUEUED', 'theirs', '[]', 1, 1)"
        )
        body = http.get(there, token=root).json()
        tap.equal(body.get("workflowUuid"), name, f"a DBOS client's id: {name[:20]}")
        answer = http.send("POST", f"{there}/cancel", token=root)
        tap.equal((answer.status, answer.json().get("status")), (200, "CANCELLED"), "it is cancelled")
        tap.equal(http.get(f"{there}/steps", token=root).json().get("steps"), [], "its steps are read")
        tap.equal(http.send("DELETE", there, token=root).status, 200, "it is deleted")


def forks_are_ones_own(gateway, http, root):
    """Who names what it makes learns nothing of other people's ids."""
    program = gateway.principal("wprog", "program", "'{send,workflows:read,workflows:write}'")
    own = http.post("/messages", {"to": "bob", "content": 1}, token=program).json()["workflowUuid"]
    foreign = http.post("/workflows/delayedGreeting", {"input": {"to": "bob", "name": "B", "delayMs": 60000}}, token=root)
    for there in (foreign.json()["workflowUuid"], "00000000-42a3-72b0-ae7f-7614519fa087"):
        answer = http.post(f"/workflows/{own}/fork", {"newId": there}, token=program)
        tap.equal((answer.status, answer.json().get("workflowUuid")), (200, f"wprog:{there}"), "what it makes is its own")


def managing(http, root):
    body = {"input": {"to": "bob", "name": "Bob", "delayMs": 60000}}
    http.post("/workflows/delayedGreeting", body, {"Idempotency-Key": "f1"}, token=root)
    http.send("POST", "/workflows/root:f1/cancel", token=root)
    answer = http.post("/workflows/root:f1/fork", {"startStep": 1, "newId": "f2"}, token=root)
    tap.equal((answer.status, answer.json()["workflowUuid"]), (200, "root:f2"), "a fork told by a body")
    steps = http.get("/workflows/root:f2/steps", token=root).json()["steps"]
    tap.equal([s["stepId"] for s in steps], [0], "from that step on")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for verb in ("fork", "restart"):
        made = http.post(
            f"/workflows/root:f2/{verb}", {"newId": f"traced-{verb}"},
            {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": f"req-{verb}"}, token=root,
        ).json()["workflowUuid"]  # fmt: skip
        found = http.get(f"/workflows?attribute=requestId:req-{verb}", token=root).json()["workflows"]
        tap.equal([w["workflowUuid"] for w in found], [made], f"what {verb} makes is found by its request's id")
        found = http.get(f"/workflows?attribute=traceId:{trace}", token=root).json()["workflows"]
        tap.ok(made in [w["workflowUuid"] for w in found], "and by its trace")
        http.post(f"/workflows/{made}/cancel", {"children": True}, token=root)
    answer = http.post("/workflows/root:f1/fork", {"startStep": -1}, token=root)
    tap.equal(code_of(answer), (400, "INVALID_REQUEST"), "a step that is none")
    for verb, body in (("rewind", {"startStep": -1}), ("rewind", {"nonsense": 1}), ("cancel", {"children": 1}),
                       ("restart", {"startStep": 1}), ("resume", {"newId": "x"}), ("recover", {"queue": "x"})):  # fmt: skip
        answer = http.post(f"/workflows/root:f1/{verb}", body, token=root)
        tap.equal(code_of(answer), (400, "INVALID_REQUEST"), f"no body is ignored: {verb} {body}")
    answer = http.post("/workflows/root:f1/restart", {"newId": "f3"}, token=root)
    tap.equal((answer.status, answer.json().get("workflowUuid")), (200, "root:f3"), "a restart told by a body")
    http.post("/workflows/root:f3/cancel", {"children": True}, token=root)
    answer = http.post("/workflows/root:f2/rewind", {"startStep": 1, "queue": "openclaw"}, token=root)
    tap.equal(code_of(answer), (400, "INVALID_REQUEST"), "a rewind told by a body, of one that has not ended")
    for length in ("0", None):
        answer = http.send("POST", "/workflows/root:f2/cancel", token=root, variables={
            "CONTENT_LENGTH": length, "CONTENT_TYPE": "application/x-www-form-urlencoded" if length else None})  # fmt: skip
        tap.equal(answer.status, 200, f"a body of nothing is none, whatever it says it is: {length}")
    answer = http.send("POST", "/workflows/root:f1/recover", token=root)
    tap.equal((answer.status, answer.json()["status"]), (200, "ENQUEUED"), "recovered")
    for name in ("f1", "f2"):
        http.send("POST", f"/workflows/root:{name}/cancel", token=root)


def by_their_ids(gateway, http, alice, root):
    """An operator reaches workflows under whatever ids DBOS clients chose for them."""
    gateway.execute(
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, serialization, created_at, updated_at)"
        " values ('order-17', 'PENDING', 'theirs', 'portable_json', 1, 1), ('root:order-18', 'SUCCESS', 'x', null, 1, 1)"
    )
    answer = http.get("/workflows/order-17", token=root)
    tap.equal((answer.status, answer.json().get("workflowUuid")), (200, "order-17"), "as the list shows it")
    tap.equal(http.get("/workflows/order-17/steps", token=root).status, 200, "and its steps")
    tap.equal(http.get("/workflows/order-18", token=root).json()["workflowUuid"], "root:order-18", "its own by the key")
    tap.equal(http.get("/workflows/order-17", token=alice).status, 404, "nobody else")
    answer = http.send("POST", "/workflows/order-17/cancel", token=root)
    tap.equal((answer.status, answer.json().get("workflowUuid")), (200, "order-17"), "to cancel")
    tap.equal(http.send("DELETE", "/workflows/order-17", token=root).status, 200, "and to delete")


def listing(gateway, http, alice, root):
    gateway.execute(
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, authenticated_user,"
        " created_at) select 'list:' || i, case when i % 2 = 0 then 'SUCCESS' else 'ERROR' end,"
        " 'listed', 'root', 1000000 + i / 3 from generate_series(1, 25) i;"
    )
    seen, cursor, pages = [], None, 0
    while True:
        query = "/workflows?name=listed&limit=7" + (f"&cursor={cursor}" if cursor else "")
        body = http.get(query, token=root).json()
        seen += [w["workflowUuid"] for w in body["workflows"]]
        pages += 1
        cursor = body["nextCursor"]
        if cursor is None or pages > 10:
            break
    tap.equal((pages, len(seen), len(set(seen))), (4, 25, 25), "pages cover the list, once each")
    # ids of one time, so that the cursor's own decides; a client may encode what it was given, or not
    gateway.execute(
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, authenticated_user, created_at)"
        " select 'odd:' || c || i, 'SUCCESS', 'odd', 'root', 1000000"
        " from unnest(array['/', '~', '%', ' +', 'é', '~2F', '%2F', '=&']) c, generate_series(1, 3) i;"
    )
    for encode in (str, lambda given: urllib.parse.quote(given, safe="")):
        seen, cursor = [], ""
        while cursor is not None and len(seen) < 50:
            query = "/workflows?name=odd&limit=1" + (f"&cursor={encode(cursor)}" if cursor else "")
            body = http.get(query, token=root).json()
            seen += [w["workflowUuid"] for w in body["workflows"]]
            cursor = body["nextCursor"]
        tap.equal((len(seen), len(set(seen))), (24, 24), "of any ids, and whether or not the cursor is encoded")
    body = http.get("/workflows?name=listed&status=ERROR&limit=500", token=root).json()
    tap.equal(len(body["workflows"]), 13, "by status")
    answer = http.get("/workflows?name=listed&status=SUCCESS,nope", token=root)
    tap.equal((answer.status, answer.json()["code"]), (400, "INVALID_REQUEST"), "a status that does not exist")
    tap.ok('"nope"' in answer.json()["detail"] and "CANCELLED" in answer.json()["detail"],
           "is named, with those that do", answer.json())
    body = http.get("/workflows?name=listed&status=ERROR,SUCCESS", token=root).json()
    tap.equal(len(body["workflows"]), 25, "by statuses")
    body = http.get("/workflows?since=1000002&until=1000005&name=listed", token=root).json()
    tap.equal(len(body["workflows"]), 9, "by time")
    body = http.get("/workflows?queue=none", token=root).json()
    tap.equal(body, {"workflows": [], "nextCursor": None}, "by queue")
    users = {w["principal"] for w in http.get("/workflows?limit=500", token=alice).json()["workflows"]}
    tap.equal(users, {"alice"}, "a principal sees its own")
    body = http.get("/workflows?name=%27%3B%20drop", token=root).json()
    tap.equal(body["workflows"], [], "a quote is a character")


def starting(gateway, http, alice, root):
    answer = http.post("/workflows/provision-agent", {"agentId": "dora"}, token=root)
    body = answer.json()
    tap.equal(
        (answer.status, body["success"], body["status"], body["result"]["agentId"], body["result"]["created"]),
        (200, True, "SUCCESS", "dora", True), "an agent is provisioned",
    )
    again = http.post("/workflows/provision-agent", {"agentId": "dora"}, token=root)
    tap.equal((again.status, again.json()["result"]), (200, body["result"]), "again is the same workflow")
    tap.equal(again.headers.get("idempotency-replayed"), "true", "and says so")
    steps = http.get(f"/workflows/{body['workflowUuid']}/steps", token=root).json()["steps"]
    tap.equal([s["name"] for s in steps], ["validateAgent", "createAgent"], "it has its steps")
    answer = http.post("/messages", {"to": "dora", "content": 1}, token=alice)
    tap.equal(answer.status, 200, "and can be written to")
    for bad in ({}, {"agentId": 1}, {"agentId": "a b"}, {"agentId": ""}, {"agentId": "x" * 65}):
        answer = http.post("/workflows/provision-agent", bad, token=root)
        tap.equal(answer.status, 400, f"no agent's id: {str(bad)[:40]}")
    answer = http.post("/workflows/provision-agent", {"agentId": "root"}, token=root)
    tap.equal(answer.json()["success"], False, "the name of an operator is no agent's")
    answer = http.post("/workflows/provision-agent", {"agentId": "eve"}, token=alice)
    tap.equal(code_of(answer), (403, "FORBIDDEN"), "it needs the scope")

    greeting = {"input": {"to": "bob", "name": "Bob", "delayMs": 60000}}
    answer = http.post("/workflows/delayedGreeting", greeting, {"Idempotency-Key": "g1"}, token=root)
    body = answer.json()
    tap.equal((answer.status, body["workflowUuid"]), (202, "root:g1"), "a workflow is started by name")
    tap.equal(answer.headers["location"], "/workflows/root:g1", "which goes on elsewhere")
    state = http.get("/workflows/root:g1", token=root).json()
    tap.equal((state["status"], state["name"]), ("DELAYED", "delayedGreeting"), "and sleeps now")
    greeting["input"]["name"] = "Eve"
    answer = http.post("/workflows/delayedGreeting", greeting, {"Idempotency-Key": "g1"}, token=root)
    tap.equal(code_of(answer), (422, "IDEMPOTENCY_CONFLICT"), "its key is for one input")
    answer = http.post("/workflows/delayedGreeting", {"input": {"to": "b b"}}, token=root)
    tap.equal(answer.status, 400, "a first step that refuses is an answer")
    for name in ("nothing", "provisionAgent", "routeAgentMessage"):
        answer = http.post(f"/workflows/{name}", {"input": {}}, token=root)
        tap.ok(answer.status in (400, 404), f"not started by name: {name}")


def greeting(gateway, http, root):
    """The README's example: the sweeper is killed while it sleeps, and the greeting comes."""
    body = {"input": {"to": "bob", "name": "World", "delayMs": 1500}}
    http.post("/workflows/delayedGreeting", body, {"Idempotency-Key": "greet-1"}, token=root)
    sweeper = subprocess.Popen(
        [os.path.join(BUILD, "openclaw-gateway-sweeper")], env=http.environment,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.5)
    sweeper.kill()
    tap.equal(sweeper.wait(), -signal.SIGKILL, "the sweeper is killed")
    state = http.get("/workflows/root:greet-1", token=root).json()
    tap.equal(state["status"], "DELAYED", "while the workflow sleeps")
    sweeper = subprocess.Popen(
        [os.path.join(BUILD, "openclaw-gateway-sweeper")], env=http.environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while state["status"] != "SUCCESS" and time.monotonic() < deadline:
        time.sleep(0.1)
        state = http.get("/workflows/root:greet-1", token=root).json()
    sweeper.terminate()
    sweeper.wait()
    tap.equal(
        (state["status"], state["output"]), ("SUCCESS", {"greeting": "Good day, World!"}), "it ends well"
    )
    steps = http.get("/workflows/root:greet-1/steps", token=root).json()["steps"]
    tap.equal(
        [step["name"] for step in steps], ["composeGreeting", "DBOS.sleep", "sendGreeting"],
        "each of its steps is there once",
    )
    tap.equal(
        gateway.value("select count(*) from openclaw.inbox where message_uuid = 'root:greet-1/greeting'"),
        "1", "and the greeting is in bob's inbox",
    )


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice, bob, root = gateway.agent("alice"), gateway.agent("bob"), gateway.operator("root")
        with Responder(gateway.cluster, {"HTTP_THREADS": 8}) as http:
            reading(gateway, http, alice, bob, root)
            foreign(gateway, http, root)
            parts(gateway, http, alice)
            slashes(http, root)
            ids_of_others(gateway, http, root)
            forks_are_ones_own(gateway, http, root)
            managing(http, root)
            by_their_ids(gateway, http, alice, root)
            listing(gateway, http, alice, root)
            starting(gateway, http, alice, root)
            greeting(gateway, http, root)
            tap.equal(http.events("http.failure"), [], "nothing was our own failure")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

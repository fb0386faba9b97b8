#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The life of an agent over HTTP, as durable workflows: provisioned, asked now and again, paused,
resumed; and conversations with it. The real sweeper runs beside the responder."""

import json
import os
import subprocess
import sys
import threading
import time

from cluster import skip_without
from responder import BUILD, Gateway, Responder
from tap import Tap

tap = Tap()
PATIENCE = 90
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACED = {"traceparent": PARENT, "X-Request-Id": "r-7"}


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def until(condition, what):
    """Waits for what must come; what it was at last."""
    deadline = time.monotonic() + PATIENCE
    value = condition()
    while not value and time.monotonic() < deadline:
        time.sleep(0.1)
        value = condition()
    if not value:
        print(f"# it did not come: {what}")
    return value


def traced(gateway, workflow, message, what):
    """What a workflow sends in the middle of it is found by the same trace as the workflow."""
    for each in (workflow, message["workflowUuid"]):
        kept = gateway.value(f"select attributes from dbos_system.workflow_status where workflow_uuid = '{each}'")
        tap.equal(
            json.loads(kept or "null"),
            {"traceparent": PARENT, "traceId": PARENT.split("-")[1], "requestId": "r-7"},
            f"{what}: the trace of {each}",
        )
    tap.equal(message.get("traceparent"), PARENT, f"{what}: and its recipient gets it")


class Worker(threading.Thread):
    """An agent: answers what it is asked by a function of the message; None: leaves it."""

    def __init__(self, http, agent, token, reply):
        super().__init__(daemon=True)
        self.http, self.agent, self.token, self.reply = http, agent, token, reply
        self.seen, self.ending = [], threading.Event()
        self.start()

    def run(self):
        while not self.ending.is_set():
            answer = self.http.get(f"/agents/{self.agent}/inbox?wait=1&leaseMs=1000", token=self.token)
            for message in answer.json().get("messages", []):
                self.seen.append(message)
                reply = self.reply(message)
                if reply is not None:
                    self.http.post(
                        f"/agents/{self.agent}/inbox/ack",
                        {"deliveryIds": [message["deliveryId"]], "result": reply}, token=self.token,
                    )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()


SETTINGS = {
    "name": "Dora", "persona": "Curious.", "model": "anthropic/claude-opus-4.5", "userId": "u-7",
    "sessionKey": "agent:dora:main", "configuration": {"language": "en"},
    "heartbeat": {"enabled": True, "interval": "30m", "checklist": ["read the mail", "water plants"]},
}  # fmt: skip


def provisioning(gateway, http, root):
    answer = http.post("/workflows/provision-agent", {"agentId": "dora", **SETTINGS}, token=root)
    body = answer.json()
    tap.equal((answer.status, body["success"], body["status"]), (200, True, "SUCCESS"), "provisioned")
    steps = http.get(f"/workflows/{body['workflowUuid']}/steps", token=root).json()["steps"]
    tap.equal([s["name"] for s in steps], ["validateAgent", "createAgent", "configureAgent"], "its steps")
    agent = http.get("/agents/dora", token=root).json()
    tap.equal({k: agent[k] for k in SETTINGS}, SETTINGS, "with all its settings")
    tap.ok(agent["nextHeartbeatAt"], "its first heartbeat is planned")
    planned = gateway.value("select heartbeat_workflow from openclaw.agent where agent_id = 'dora'")
    state = http.get(f"/workflows/{planned}", token=root).json()
    tap.equal((state["name"], state["status"]), ("heartbeat", "DELAYED"), "as a workflow, parked")
    answer = http.post("/workflows/provision-agent", {"agentId": "dora"}, token=root)
    tap.equal(code_of(answer), (409, "ALREADY_EXISTS"), "the same agent otherwise")
    answer = http.post("/workflows/provision-agent", {"agentId": "dora", "model": "x"}, token=root)
    tap.equal(code_of(answer), (400, "INVALID_REQUEST"), "a setting that is none")

    answer = http.post("/agents", {"agentId": "emil", "name": "Emil"}, {"Idempotency-Key": "e1"}, token=root)
    tap.equal((answer.status, answer.json()["name"]), (201, "Emil"), "POST /agents makes one")
    tap.equal(
        (answer.headers["location"], answer.headers["etag"].partition(".")[0]), ("/agents/emil", '"2'), "and says where"
    )
    again = http.post("/agents", {"agentId": "emil", "name": "Emil"}, {"Idempotency-Key": "e1"}, token=root)
    tap.equal((again.status, again.headers.get("idempotency-replayed")), (201, "true"), "once for one key")
    answer = http.post("/agents", {"agentId": "emil", "name": "Eve"}, {"Idempotency-Key": "e1"}, token=root)
    tap.equal(code_of(answer), (422, "IDEMPOTENCY_CONFLICT"), "which is for one agent")
    answer = http.post("/agents", {"agentId": "emil"}, token=root)
    tap.equal(code_of(answer), (409, "ALREADY_EXISTS"), "and none that is there")
    tap.equal((answer.json()["success"], bool(answer.json()["workflowUuid"])), (False, True), "with its workflow")
    for bad in ({}, {"agentId": "a b"}, {"agentId": 7}):
        tap.equal(code_of(http.post("/agents", bad, token=root)), (400, "INVALID_ID"), f"no id: {bad}")
    for reserved in ("agent", "System", "dbos"):
        for uri in ("/agents", "/workflows/provision-agent"):
            answer = http.post(uri, {"agentId": reserved}, token=root)
            tap.equal(code_of(answer), (400, "INVALID_ID"), f"{uri}: {reserved} is the gateway's own")

    gateway.execute(
        "create function openclaw.full() returns trigger language plpgsql as"
        " $$begin raise exception 'no more'; end$$;"
        " create trigger full_audit before insert on openclaw.audit for each row execute function openclaw.full();"
    )
    answer = http.post("/agents", {"agentId": "failing"}, {"X-Request-Id": "fails-inside"}, token=root)
    tap.equal(code_of(answer), (500, "INTERNAL"), "one that fails inside is not said to have been cancelled")
    gateway.execute("drop function openclaw.full() cascade")


def beating(gateway, http, root, dora):
    def beat(body, headers=None):
        return http.post("/workflows/heartbeat", body, headers, token=root)

    planned = gateway.value("select heartbeat_workflow from openclaw.agent where agent_id = 'dora'")
    with Worker(http, "dora", dora, lambda message: "HEARTBEAT_OK") as worker:
        answer = beat({"agentId": "dora"}, {"Idempotency-Key": "beat-1", **TRACED})
        if answer.status == 202:
            until(lambda: http.get("/workflows/root:beat-1", token=root).json()["status"] == "SUCCESS", "the end")
            answer = beat({"agentId": "dora"}, {"Idempotency-Key": "beat-1"})
        body = answer.json()
        tap.equal((answer.status, body["success"], body["result"]["status"]), (200, True, "completed"), "a heartbeat")
        tap.equal(body["result"]["response"], "HEARTBEAT_OK", "with the agent's answer")
        [message] = worker.seen
        tap.ok("water plants" in message["content"] and message["expectsReply"], "it was asked its checklist")
        tap.equal(
            (message["metadata"]["kind"], message["metadata"]["checklist"], message["sessionKey"]),
            ("heartbeat", ["read the mail", "water plants"], "agent:dora:main"), "in a form for programs, too",
        )
        traced(gateway, "root:beat-1", message, "a heartbeat")
    tap.equal(
        gateway.value(f"select attributes from dbos_system.workflow_status where workflow_uuid = '{body['result']['nextHeartbeat']}'")
        or None, None, "the next heartbeat is nobody's request",
    )
    steps = http.get("/workflows/root:beat-1/steps", token=root).json()["steps"]
    tap.equal(
        [s["name"] for s in steps],
        ["validateHeartbeat", "beginHeartbeat", "routeAgentMessage", "DBOS.getResult", "recordHeartbeat",
         "scheduleHeartbeat"],
        "its steps",
    )
    acts = http.get("/audit?act=agent.heartbeat", token=root).json()["audit"]
    tap.equal(
        [(a["principal"], a["subject"], a["detail"]["workflowId"]) for a in acts], [("root", "dora", "root:beat-1")],
        "who asked for it is on record",
    )
    next_one = body["result"]["nextHeartbeat"]
    tap.ok(next_one != planned, "another one is planned")
    tap.equal(http.get(f"/workflows/{planned}", token=root).json()["status"], "CANCELLED", "in place of the first")
    due = gateway.value(
        "select s.delay_until_epoch_ms - h.started_at from dbos_system.workflow_status s, openclaw.heartbeat h"
        f" where s.workflow_uuid = '{next_one}' and h.workflow_uuid = 'root:beat-1'"
    )
    tap.equal(due, "1800000", "half an hour after this one began, however long its answer took")
    listed = http.get("/agents/dora/heartbeats", token=root).json()
    tap.equal(
        [(h["workflowUuid"], h["status"], h["response"]) for h in listed["heartbeats"]],
        [("root:beat-1", "completed", "HEARTBEAT_OK")], "the execution is on record",
    )

    # its time has come: nobody asks but the sweeper
    with Worker(http, "dora", dora, lambda message: {"mail": 3}) as worker:
        gateway.execute(
            f"update dbos_system.workflow_status set delay_until_epoch_ms = 1 where workflow_uuid = '{next_one}'"
        )
        until(lambda: http.get(f"/workflows/{next_one}", token=root).json()["status"] == "SUCCESS", "the next one")
        state = http.get(f"/workflows/{next_one}", token=root).json()
        tap.equal((state["status"], state["output"]["response"]), ("SUCCESS", {"mail": 3}), "it runs when it is due")
    tap.equal(
        gateway.value("select count(*) from dbos_system.workflow_status where name = 'heartbeat' and status = 'DELAYED'"),
        "1", "and one is planned after it",
    )
    pages = [http.get("/agents/dora/heartbeats?limit=1", token=root).json()]
    pages.append(http.get(f"/agents/dora/heartbeats?limit=1&cursor={pages[0]['nextCursor']}", token=root).json())
    tap.equal(
        [page["heartbeats"][0]["workflowUuid"] for page in pages], [next_one, "root:beat-1"], "the newest first"
    )

    # whatever ends it, there is a next one
    def planned_next():
        return gateway.value("select heartbeat_workflow from openclaw.agent where agent_id = 'dora'")

    def running_state():
        return gateway.value(
            "select (select s.status from dbos_system.workflow_status s where s.workflow_uuid = a.heartbeat_running)"
            " from openclaw.agent a where a.agent_id = 'dora'"
        )

    def lives(uuid):
        return uuid and http.get(f"/workflows/{uuid}", token=root).json()["status"] == "DELAYED"

    ended = planned_next()
    http.send("POST", f"/workflows/{ended}/cancel", token=root)
    tap.ok(until(lambda: planned_next() != ended and lives(planned_next()), "the next"), "one that is cancelled is followed")
    ended = planned_next()
    http.send("DELETE", f"/workflows/{ended}", token=root)
    tap.ok(until(lambda: planned_next() != ended and lives(planned_next()), "the next"), "one that is deleted, too")
    ended = planned_next()
    gateway.execute(f"update dbos_system.workflow_status set delay_until_epoch_ms = 1 where workflow_uuid = '{ended}'")
    until(lambda: running_state() == "DELAYED" and planned_next() is None, "it asks, and nobody answers")
    time.sleep(6)  # longer than the sweeper looks for those that are missing
    tap.equal(planned_next(), None, "none is planned while it waits for its answer")
    http.send("POST", f"/workflows/{ended}/cancel", token=root)
    tap.ok(until(lambda: lives(planned_next()), "the next"), "and one is when it is cancelled")

    # who may write to an agent is no matter of its own heartbeats
    http.send(
        "PATCH", "/agents/dora", b'{"allowFrom":["alice"]}', {"Content-Type": "application/json"}, token=root,
    )  # fmt: skip
    with Worker(http, "dora", dora, lambda message: "still here"):
        beat({"agentId": "dora"}, {"Idempotency-Key": "listed", "Prefer": "respond-async"})
        until(lambda: http.get("/workflows/root:listed", token=root).json()["status"] == "SUCCESS", "the answer")
        output = http.get("/workflows/root:listed", token=root).json()["output"]
        tap.equal(
            (output["status"], output.get("response")), ("completed", "still here"), "they come past a list of senders"
        )
    answer = http.post("/messages", {"to": "dora", "content": "me?"}, token=root)
    tap.equal(code_of(answer), (404, "UNKNOWN_RECIPIENT"), "which still keeps the same sender's messages away")
    row = (
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, authenticated_user, assumed_role,"
        " executor_id, application_id, recovery_attempts, priority, serialization, created_at, updated_at,"
        " application_name, parent_workflow_id, queue_name, inputs)"
        " select '{}', '{}', '{}', '', '', '', '', 0, 0, 'portable_json', openclaw.now_ms(), openclaw.now_ms(), {};"
    )
    question = json.dumps({"positionalArgs": [{"from": "root", "to": "dora", "content": "me?"}], "namedArgs": {}})
    gateway.execute(
        row.format("shop", "PENDING", "heartbeat", "'shop', null, null, null")
        + row.format(
            "shop-1", "ENQUEUED", "routeAgentMessage", f"'openclaw-gateway', 'shop', 'openclaw', '{question}'"
        )
    )
    until(lambda: http.get("/workflows/shop-1", token=root).json()["status"] in ("DELAYED", "ERROR"), "it is sent")
    tap.equal(
        http.get("/workflows/shop-1", token=root).json()["status"], "ERROR",
        "and those of an application whose own workflow has that name",
    )  # fmt: skip
    gateway.execute("delete from dbos_system.workflow_status where workflow_uuid in ('shop', 'shop-1')")
    http.send("PATCH", "/agents/dora", b'{"allowFrom":null}', {"Content-Type": "application/json"}, token=root)

    # no answer
    http.send(
        "PATCH", "/agents/dora",
        b'{"heartbeat":{"enabled":false,"timeoutMs":1000,"checklist":["silence"]}}',
        {"Content-Type": "application/json"}, token=root,
    )  # fmt: skip
    answer = beat({"agentId": "dora"}, {"Idempotency-Key": "beat-2", "Prefer": "respond-async"})
    tap.equal(
        (answer.status, answer.headers["location"], answer.headers["preference-applied"]),
        (202, "/workflows/root:beat-2", "respond-async"), "it can be asked for and left",
    )
    until(lambda: http.get("/workflows/root:beat-2", token=root).json()["status"] == "SUCCESS", "no answer")
    body = beat({"agentId": "dora"}, {"Idempotency-Key": "beat-2"}).json()
    tap.equal(
        (body["result"]["status"], "expired" in body["result"]["reason"], body["result"]["nextHeartbeat"]),
        ("failed", True, None), "an agent that says nothing; and none is planned where none is enabled",
    )
    answer = beat({"agentId": "nobody"})
    tap.equal(code_of(answer), (404, "NOT_FOUND"), "an agent that there is not")
    problem = answer.json()
    tap.equal(
        (problem["detail"], problem["error"]), ("there is no agent nobody", "not found: there is no agent nobody"),
        "which is said once",
    )
    tap.equal(code_of(beat({"agentId": "dora", "checklist": [1]})), (400, "INVALID_REQUEST"), "a bad checklist")


def progress(http, root):
    """The same key while the first request is being worked on."""
    body, key = {"agentId": "emil"}, {"Idempotency-Key": "slow"}
    answer = http.post("/workflows/heartbeat", body, {**key, "Prefer": "wait=0"}, token=root)
    tap.equal((answer.status, answer.headers["preference-applied"]), (202, "wait=0"), "under way")
    answer = http.post("/workflows/heartbeat", body, key, token=root)
    tap.equal(code_of(answer), (409, "IN_PROGRESS"), "the same key again")
    tap.ok("retry-after" in answer.headers and answer.headers["location"] == "/workflows/root:slow", "says where")
    answer = http.post("/workflows/heartbeat", body, {**key, "Prefer": "wait=1"}, token=root)
    tap.equal((answer.status, answer.headers.get("idempotency-replayed")), (202, "true"), "or waits along")
    answer = http.post("/workflows/heartbeat", {"agentId": "dora"}, key, token=root)
    tap.equal(code_of(answer), (422, "IDEMPOTENCY_CONFLICT"), "another body under the key")
    for bad in ("a b", "", "x" * 201, '"', "ü"):
        answer = http.post("/workflows/heartbeat", body, {"Idempotency-Key": bad}, token=root)
        tap.equal(code_of(answer), (400, "INVALID_ID"), f"no key: {bad[:9]!r}")
    http.send("POST", "/workflows/root:slow/cancel", token=root)


def pausing(gateway, http, root, alice, dora):
    def set_to(action, key, **more):
        body = {"agentId": "dora", "action": action, **more}
        return http.post("/workflows/pause-resume", body, {"Idempotency-Key": key}, token=root)

    http.send(
        "PATCH", "/agents/dora", b'{"heartbeat":{"enabled":true,"interval":"5m"}}',
        {"Content-Type": "application/json"}, token=root,
    )  # fmt: skip
    http.post("/messages", {"to": "dora", "content": "before"}, token=alice)
    answer = set_to("pause", "p1", reason="maintenance")
    body = answer.json()["result"]
    tap.equal(
        (answer.status, body["status"], body["changed"], body["pending"], body["nextHeartbeat"]),
        (200, "paused", True, 1, None), "an agent is paused",
    )
    tap.equal((body["paused"]["by"], body["paused"]["reason"]), ("root", "maintenance"), "by whom, and why")
    http.post("/messages", {"to": "dora", "content": "meanwhile"}, token=alice)
    tap.equal(http.get("/agents/dora/inbox?wait=1", token=dora).json()["messages"], [], "nothing is delivered")
    agent = http.get("/agents/dora", token=root).json()
    tap.equal((agent["status"], agent["paused"]["reason"], agent["heartbeat"]["enabled"]),
              ("paused", "maintenance", True), "its state is kept")
    beat = http.post("/workflows/heartbeat", {"agentId": "dora"}, token=root).json()
    tap.equal(beat["result"]["status"], "skipped", "and it is not asked")
    replay = set_to("pause", "p1", reason="maintenance")
    tap.equal(replay.headers.get("idempotency-replayed"), "true", "the same request again is the same pause")
    body = set_to("resume", "p2").json()["result"]
    tap.equal(
        (body["status"], body["previousStatus"], body["pending"], bool(body["nextHeartbeat"])),
        ("active", "paused", 2, True), "it is resumed, and so are its heartbeats",
    )
    got = http.get("/agents/dora/inbox?wait=10", token=dora).json()["messages"]
    tap.equal([(m["content"], m["attempt"]) for m in got], [("before", 1), ("meanwhile", 1)], "all comes, in order")
    http.post("/agents/dora/inbox/ack", {"deliveryIds": [m["deliveryId"] for m in got]}, token=dora)
    for bad in ({"agentId": "dora"}, {"agentId": "dora", "action": "stop"}):
        answer = http.post("/workflows/pause-resume", bad, token=root)
        tap.equal(code_of(answer), (400, "INVALID_REQUEST"), f"no pause: {bad}")
    answer = http.post("/workflows/pause-resume", {"agentId": "nobody", "action": "pause"}, token=root)
    tap.equal(code_of(answer), (404, "NOT_FOUND"), "nobody to pause")


def chatting(gateway, http, alice, root, dora):
    def say(text, key=None, conversation="c-1", **more):
        body = {"conversationId": conversation, "agentId": "dora", "workspaceId": "w", "message": text, **more}
        return http.post("/chat", body, {**TRACED, **({"Idempotency-Key": key} if key else {})}, token=alice)

    def reply(message):
        return {"response": f"You said {message['content']}", "tokensUsed": 12}

    with Worker(http, "dora", dora, reply) as worker:
        first = say("hello", "chat-1")
        body = first.json()
        tap.equal(
            (first.status, body["success"], body["conversationId"], body["response"], body["tokensUsed"]),
            (200, True, "c-1", "You said hello", 12), "a chat is answered",
        )
        tap.ok(body["userMessageId"] != body["assistantMessageId"], "both messages have ids")
        tap.ok(body["processingTimeMs"] >= 0 and body["workflowUuid"] == "alice:chat-1", "and it is a workflow")
        traced(gateway, "alice:chat-1", worker.seen[0], "a chat")
        again = say("hello", "chat-1")
        tap.equal((again.json(), again.headers.get("idempotency-replayed")), (body, "true"), "asked again")
        tap.equal(say("other", "chat-1").json()["code"], "IDEMPOTENCY_CONFLICT", "another question under the key")
        say("and now", "chat-2", userId="u")
        history = worker.seen[-1]["metadata"]["conversationHistory"]
        tap.equal(
            [(h["role"], h["content"]) for h in history],
            [("user", "hello"), ("assistant", "You said hello")], "the agent is told what was said before",
        )
        tap.equal(worker.seen[-1]["sessionKey"], "agent:dora:chat:c-1", "in a session of its own")
        say("own", "chat-3", "c-2", conversationHistory=[{"role": "user", "content": "mine"}])
        tap.equal(worker.seen[-1]["metadata"]["conversationHistory"], [{"role": "user", "content": "mine"}],
                  "or what the caller says")
        tap.equal(len(worker.seen), 3, "each question was asked once")
    kept = http.get("/chat/c-1", token=alice).json()
    tap.equal(
        [(m["role"], m["content"]) for m in kept["messages"]],
        [("user", "hello"), ("assistant", "You said hello"), ("user", "and now"), ("assistant", "You said and now")],
        "the conversation is kept",
    )
    tap.equal((kept["agentId"], kept["workspaceId"], kept["nextCursor"]), ("dora", "w", None), "with whom")
    seen, cursor = [], ""
    while cursor is not None and len(seen) < 9:
        page = http.get("/chat/c-1?limit=3" + (f"&cursor={cursor}" if cursor else ""), token=alice).json()
        seen += [m["messageId"] for m in page["messages"]]
        cursor = page["nextCursor"]
    tap.equal(seen, [m["messageId"] for m in kept["messages"]], "in pages, too")
    listed = http.get("/chat?agent=dora", token=alice).json()["conversations"]
    tap.equal([c["conversationId"] for c in listed], ["c-2", "c-1"], "conversations, the newest first")
    tap.equal(code_of(http.get("/chat/c-1", token=root)), (404, "NOT_FOUND"), "nobody else has it")
    tap.equal(http.get("/chat", token=root).json()["conversations"], [], "or knows of it")
    tap.equal(http.send("DELETE", "/chat/c-2", token=alice).status, 204, "it can be deleted")
    tap.equal(code_of(http.get("/chat/c-2", token=alice)), (404, "NOT_FOUND"), "and is gone")

    with Worker(http, "dora", dora, lambda message: f"plain {message['content']}"):
        body = http.post("/chat", {"agentId": "dora", "message": "x"}, {"Idempotency-Key": "c9"}, token=alice).json()
        tap.equal((body["response"], body["tokensUsed"], body["conversationId"]), ("plain x", None, "c9"),
                  "an answer of text; a conversation of its own")
    nobody = say("to nobody", agentId="nobody", conversation="c-n")
    tap.equal(code_of(nobody), (404, "UNKNOWN_RECIPIENT"), "an agent that there is not, as POST /messages has it")
    gateway.execute("update openclaw.agent set allow_from = '{root}' where agent_id = 'emil'")
    blocked = say("to emil", agentId="emil", conversation="c-e")
    same = [{k: v.replace("emil", "nobody").replace(a.json()["workflowUuid"], "w") for k, v in a.json().items()
             if isinstance(v, str) and k != "instance"} for a in (nobody, blocked)]  # fmt: skip
    tap.equal(same[1], same[0], "one that takes no messages from this sender looks the same")
    gateway.execute("update openclaw.agent set allow_from = null where agent_id = 'emil'")
    answer = say("hello", agentId="emil")
    tap.equal(code_of(answer), (409, "ALREADY_EXISTS"), "a conversation is held with one agent")
    for bad in ({"message": ""}, {"message": 1}, {"agentId": "a b"}, {"conversationId": "a b"}, {"userId": 7},
                {"conversationHistory": [1]}, {"ttlMs": 0}):  # fmt: skip
        answer = http.post("/chat", {"agentId": "dora", "message": "m", "conversationId": "b", **bad}, token=alice)
        tap.equal(answer.status, 400, f"no question: {bad}")
    answer = say("late", "chat-9", "c-9", ttlMs=500)
    if answer.status == 202:
        until(lambda: http.get("/workflows/chat-9", token=alice).json()["status"] == "ERROR", "its end")
        answer = say("late", "chat-9", "c-9", ttlMs=500)
    body = answer.json()
    tap.equal((answer.status, body["success"], body["error"]["code"]), (200, False, "EXPIRED"), "nobody answers")
    answer = http.post("/chat", {"agentId": "dora", "message": "m"}, {"Prefer": "wait=0"}, token=alice)
    tap.equal((answer.status, "location" in answer.headers), (202, True), "a question that is not waited for")


def long_key(http, alice, dora):
    with Worker(http, "dora", dora, lambda message: {"response": "yes"}):
        body = {"agentId": "dora", "message": "hello"}
        answer = http.post("/chat", body, {"Idempotency-Key": "k" * 200}, token=alice).json()
        tap.ok(answer.get("success") and len(answer["conversationId"]) <= 128,
               "a key that is too long for a conversation's id is none's fault", answer)  # fmt: skip


def deleted_meanwhile(http, alice, dora):
    body = {"agentId": "dora", "message": "hello", "conversationId": "gone"}
    http.post("/chat", body, {"Idempotency-Key": "gone", "Prefer": "respond-async"}, token=alice)
    until(lambda: http.get("/chat/gone", token=alice).status == 200, "the question")
    tap.equal(http.send("DELETE", "/chat/gone", token=alice).status, 204, "a conversation is deleted")
    with Worker(http, "dora", dora, lambda message: {"response": "too late"}):
        until(lambda: http.get("/workflows/alice:gone", token=alice).json()["status"] == "SUCCESS", "the answer")
    answer = http.get("/workflows/alice:gone", token=alice).json()["output"]["response"]
    tap.equal(answer, "too late", "who asked has the answer")
    tap.equal(http.get("/chat/gone", token=alice).status, 404, "which does not bring the conversation back")


def database_hangs(gateway, http, alice):
    """While a request waits for what it has had committed."""
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(
            http.post(
                "/chat", {"agentId": "dora", "message": "m"},
                {"Idempotency-Key": "hangs", "Prefer": "wait=6"}, token=alice,
            )
        )
    )  # fmt: skip
    asking.start()
    known = "select count(*) from dbos_system.workflow_status where workflow_uuid = 'alice:hangs'"
    until(lambda: gateway.value(known) == "1", "it is committed")
    # longer than it waits, and than a look may take
    gateway.execute(
        "begin; lock table dbos_system.workflow_status in access exclusive mode; select pg_sleep(15); commit"
    )
    asking.join()
    tap.equal(
        (answers[0].status, answers[0].headers.get("location")), (202, "/workflows/alice:hangs"),
        "a database that says nothing when the wait is over: the answer is where to look",
    )  # fmt: skip


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice, root = gateway.agent("alice"), gateway.operator("root")
        with Responder(gateway.cluster, {"HTTP_THREADS": 16}) as http:
            sweeper = subprocess.Popen(
                [os.path.join(BUILD, "openclaw-gateway-sweeper")], env=http.environment,
                stderr=subprocess.DEVNULL,
            )
            try:
                provisioning(gateway, http, root)
                dora = gateway.credential("dora")
                beating(gateway, http, root, dora)
                progress(http, root)
                pausing(gateway, http, root, alice, dora)
                chatting(gateway, http, alice, root, dora)
                long_key(http, alice, dora)
                deleted_meanwhile(http, alice, dora)
                database_hangs(gateway, http, alice)
            finally:
                sweeper.terminate()
                sweeper.wait()
            tap.equal(
                [(e["request"], e["code"]) if e["request"] == "fails-inside" else e for e in http.events("http.failure")],
                [("fails-inside", "INTERNAL")], "nothing was our own failure but what was made to fail",
            )  # fmt: skip
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""POST /messages and /messages/batch: acceptance, keys, waiting, group commit."""

import json
import sys
import threading
import time

from cluster import skip_without
from responder import Gateway, Responder
from tap import Tap

tap = Tap()


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def together(functions):
    """Runs them at the same time, returns what they return."""
    results = [None] * len(functions)
    start = threading.Barrier(len(functions))

    def run(i):
        start.wait()
        results[i] = functions[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def acceptance(gateway, http, alice):
    answer = http.post("/messages", {"to": "bob", "content": {"a": [1, "ü/"]}}, token=alice)
    body = answer.json()
    tap.equal(answer.status, 200, "a message is accepted")
    tap.equal(
        (body["success"], body["result"]["status"], body["result"]["deliveryAttempts"],
         body["result"]["lastAttemptTime"]),
        (True, "queued", 0, None),
        "and its result is the whole truth",
    )
    workflow = body["workflowUuid"]
    tap.equal(body["result"]["messageId"], workflow, "without a key the workflow's id is the message's")
    row = gateway.cluster.rows(
        "select w.status, w.name, w.authenticated_user, i.sender, i.state, n.message"
        " from dbos_system.workflow_status w"
        " join openclaw.inbox i on i.workflow_uuid = w.workflow_uuid"
        f" join dbos_system.notifications n using (message_uuid) where w.workflow_uuid = '{workflow}'",
        "gateway",
    )[0]
    tap.equal(json.loads(row["message"])["content"], {"a": [1, "ü/"]}, "its content is in the mailbox")
    tap.equal(
        (row["name"], row["authenticated_user"], row["sender"], row["state"]),
        ("routeAgentMessage", "alice", "alice", "ready"),
        "under the principal's name",
    )
    answer = http.post("/messages", {"to": "agent:bob:main", "content": 0}, token=alice)
    tap.equal(answer.status, 200, "a session key is a recipient, and 0 is content")

    for name, body, expected in (
        ("no recipient", {"content": 1}, (400, "INVALID_ID")),
        ("no content", {"to": "bob"}, (400, "INVALID_REQUEST")),
        ("null content", {"to": "bob", "content": None}, (400, "INVALID_REQUEST")),
        ("unknown recipient", {"to": "nobody", "content": 1}, (404, "UNKNOWN_RECIPIENT")),
        ("recipient that is a number", {"to": 7, "content": 1}, (400, "INVALID_REQUEST")),
        ("metadata that is a list", {"to": "bob", "content": 1, "metadata": []}, (400, "INVALID_REQUEST")),
        ("metadata too large", {"to": "bob", "content": 1, "metadata": {"a": "x" * 70000}}, (413, "TOO_LARGE")),
        ("somebody else's name", {"to": "bob", "from": "carol", "content": 1}, (403, "FORBIDDEN")),
        ("delay below zero", {"to": "bob", "content": 1, "delayMs": -1}, (400, "INVALID_REQUEST")),
        ("delay that is text", {"to": "bob", "content": 1, "delayMs": "5"}, (400, "INVALID_REQUEST")),
        ("priority 10", {"to": "bob", "content": 1, "priority": 10}, (400, "INVALID_REQUEST")),
        ("ttl of none", {"to": "bob", "content": 1, "ttlMs": 0}, (400, "INVALID_REQUEST")),
        ("empty id", {"to": "bob", "content": 1, "id": ""}, (400, "INVALID_ID")),
        ("long id", {"to": "bob", "content": 1, "id": "x" * 201}, (400, "INVALID_ID")),
        ("id with a space", {"to": "bob", "content": 1, "id": "a b"}, (400, "INVALID_ID")),
        ("id with a newline", {"to": "bob", "content": 1, "id": "a\nb"}, (400, "INVALID_ID")),
        ("id in Hebrew", {"to": "bob", "content": 1, "id": "\u05d0"}, (400, "INVALID_ID")),
        ("recipient with a slash", {"to": "a/b", "content": 1}, (400, "INVALID_ID")),
        ("recipient of 10 kB", {"to": "b" * 10000, "content": 1}, (400, "INVALID_ID")),
    ):
        answer = http.post("/messages", body, token=alice)
        tap.equal(code_of(answer), expected, f"refused: {name}")
    before = gateway.value("select count(*) from openclaw.inbox")
    tap.equal(before, "2", "what is refused leaves nothing")


def keys(gateway, http, alice):
    message = {"to": "bob", "content": "once"}
    key = {"Idempotency-Key": "k-1"}
    first = http.post("/messages", message, key, token=alice)
    tap.equal(first.json()["workflowUuid"], "alice:k-1", "a key names the workflow")
    tap.equal(first.json()["result"]["messageId"], "k-1", "and the message")
    tap.ok("idempotency-replayed" not in first.headers, "the first is no replay")
    again = http.post("/messages", message, key, token=alice)
    tap.equal((again.status, again.json()), (200, first.json()), "a repeat has the same answer")
    tap.equal(again.headers.get("idempotency-replayed"), "true", "and says that it is one")
    again = http.post("/messages", {**message, "id": "k-1"}, token=alice)
    tap.equal(again.headers.get("idempotency-replayed"), "true", "the key may stand in the body")
    again = http.post("/messages", {**message, "id": "k-1"}, {"Idempotency-Key": '"k-1"'}, token=alice)
    tap.equal(again.headers.get("idempotency-replayed"), "true", "or in both, or in quotes")
    again = http.post("/messages", {**message, "timestamp": 17}, key, token=alice)
    tap.equal(again.status, 200, "a retry's own time does not matter")
    answer = http.post("/messages", {**message, "id": "k-2"}, key, token=alice)
    tap.equal(code_of(answer), (400, "INVALID_REQUEST"), "two different keys are refused")
    answer = http.post("/messages", {"to": "bob", "content": "other"}, key, token=alice)
    tap.equal(code_of(answer), (422, "IDEMPOTENCY_CONFLICT"), "a key is for one message")
    for bad in ("a b", '"', "x" * 201, "\u00e9"):
        answer = http.post("/messages", message, {"Idempotency-Key": bad}, token=alice)
        tap.equal(code_of(answer), (400, "INVALID_ID"), f"no key: {bad[:10]!r}")
    count = gateway.value("select count(*) from openclaw.inbox where message_uuid = 'alice:k-1'")
    tap.equal(count, "1", "and there is one message")

    def send(content):
        return lambda: http.post(
            "/messages", {"to": "bob", "content": content}, {"Idempotency-Key": "race"}, token=alice
        )

    answers = together([send("same")] * 20)
    tap.equal({a.status for a in answers}, {200}, "twenty at once with one key are accepted")
    tap.equal(len({a.json()["workflowUuid"] for a in answers}), 1, "as one workflow")
    count = gateway.value("select count(*) from openclaw.inbox where message_uuid = 'alice:race'")
    tap.equal(count, "1", "and one message")

    def send_other(i):
        return lambda: http.post(
            "/messages", {"to": "bob", "content": i}, {"Idempotency-Key": "race2"}, token=alice
        )

    statuses = sorted(a.status for a in together([send_other(i) for i in range(10)]))
    tap.equal(statuses, [200] + [422] * 9, "of ten different ones with one key one wins")


def preferences(gateway, http, alice):
    message = {"to": "bob", "content": "x"}
    answer = http.post("/messages", message, {"Prefer": "respond-async"}, token=alice)
    tap.equal(answer.status, 202, "Prefer: respond-async")
    workflow = answer.json()["workflowUuid"]
    tap.equal(answer.headers["location"], f"/workflows/{workflow}", "says where to look")
    tap.equal(answer.headers["preference-applied"], "respond-async", "and what was applied")
    tap.equal(http.get(answer.headers["location"], token=alice).status, 200, "which is there")

    began = time.monotonic()
    answer = http.post("/messages", message, {"Prefer": "wait=1"}, token=alice)
    took = time.monotonic() - began
    tap.ok(0.9 < took < 15, "Prefer: wait=1 waits a second", took)
    tap.equal((answer.status, answer.json()["result"]["status"]), (200, "queued"), "and tells the truth")
    tap.equal(answer.headers["preference-applied"], "wait=1", "and what was applied")
    for value in ("wait=-1", "wait", "wait=abc", "wait=1.5"):
        answer = http.post("/messages", message, {"Prefer": value}, token=alice)
        tap.equal(
            (answer.status, answer.headers.get("preference-applied")), (200, None),
            f"Prefer: {value} is not understood, and so ignored (RFC 7240, 2)",
        )

    gateway.acknowledge("bob")
    result = []
    waiting = threading.Thread(
        target=lambda: result.append(
            (http.post("/messages", message, {"Prefer": "wait=500"}, token=alice), time.monotonic())
        )
    )
    waiting.start()
    gateway.cluster.wait_until(
        "select count(*) = 1 from openclaw.inbox where state = 'ready'", "gateway"
    )
    acknowledged = time.monotonic()
    gateway.acknowledge("bob", "'{\"pong\":1}'")
    waiting.join(30)
    answer, ended = result[0]
    body = answer.json()
    tap.equal(body["result"]["status"], "acknowledged", "a waiting caller hears of the acknowledgement")
    tap.equal(body["result"]["response"], {"pong": 1}, "and what the recipient answered")
    tap.equal(body["result"]["deliveryAttempts"], 1, "after one attempt")
    tap.ok(ended - acknowledged < 2, "within its look, without a bell", ended - acknowledged)
    tap.equal(answer.headers["preference-applied"], "wait=60", "a minute is what is waited at most")
    again = http.post(
        "/messages", message, {"Prefer": "wait=5", "Idempotency-Key": body["result"]["messageId"]},
        token=alice,
    )
    tap.equal(again.status, 200, "an id that was made for a message is no key of it")

    key = {"Idempotency-Key": "settled"}
    http.post("/messages", message, key, token=alice)
    gateway.acknowledge("bob", "'\"yes\"'")
    began = time.monotonic()
    answer = http.post("/messages", message, {**key, "Prefer": "wait=30"}, token=alice)
    tap.equal(answer.json()["result"].get("response"), "yes", "a repeat after the end has the end")
    tap.ok(time.monotonic() - began < 15, "at once")

    http.post("/messages", message, {"Idempotency-Key": "late"}, token=alice)
    result.clear()
    waiting = threading.Thread(
        target=lambda: result.append(
            http.post("/messages", message, {"Idempotency-Key": "late", "Prefer": "wait=30"}, token=alice)
        )
    )
    waiting.start()
    time.sleep(0.3)
    gateway.acknowledge("bob")
    waiting.join(30)
    tap.equal(result[0].json()["result"]["status"], "acknowledged", "a repeat may wait, too")

    executors = gateway.value("select count(*) from openclaw.executor where kind = 'http' and host = 'test'")
    tap.equal(executors, "1", "the process is known as an executor")


def waiting_room(gateway, http, alice, carol):
    """HTTP_THREADS is 16 here: eight may wait, six of them for one principal."""
    message = {"to": "bob", "content": "x"}
    results = []

    def wait(token):
        results.append(http.post("/messages", message, {"Prefer": "wait=20"}, token=token))

    def crowd(count, token, all_of_them):
        more = [threading.Thread(target=wait, args=(token,)) for _ in range(count)]
        for thread in more:
            thread.start()
        gateway.cluster.wait_until(
            f"select count(*) = {all_of_them} from openclaw.inbox where state = 'ready'", "gateway"
        )
        return more

    threads = crowd(6, alice, 6)
    answer = http.post("/messages", message, {"Prefer": "wait=20"}, token=alice)
    tap.equal(code_of(answer), (503, "OVERLOADED"), "a seventh of one principal has no place to wait")
    tap.ok("of yours" in answer.json()["detail"], "and is told that it is its own that wait")
    threads += crowd(2, carol, 8)
    tap.ok(True, "others have one")
    answer = http.post("/messages", message, {"Prefer": "wait=20"}, token=alice)
    tap.equal(code_of(answer), (503, "OVERLOADED"), "a ninth has none, whose it be")
    tap.ok(int(answer.headers["retry-after"]) >= 1, "and is told to come again")
    count = gateway.value("select count(*) from openclaw.inbox where state = 'ready'")
    tap.equal(count, "8", "nothing of its was accepted")
    began = time.monotonic()
    tap.equal(http.post("/messages", message, token=alice).status, 200, "who does not wait is served")
    busy = gateway.value(
        "select count(*) from pg_stat_activity where datname = 'gateway' and state <> 'idle'"
        " and pid <> pg_backend_pid()"
    )
    tap.equal(busy, "0", "and no waiting caller holds a transaction")
    gateway.acknowledge("bob")
    for thread in threads:
        thread.join(30)
    tap.equal({r.json()["result"]["status"] for r in results}, {"acknowledged"}, "all eight hear of it")
    tap.ok(time.monotonic() - began < 15, "soon")


def batches(gateway, http, alice):
    items = [{"to": "bob", "content": i, "id": f"b-{i}"} for i in range(1000)]
    items[7] = {"to": "nobody", "content": 1}
    items[8] = {"to": "bob"}
    items[9] = "no message"
    items[10] = {"to": "bob", "content": 1, "priority": "high"}
    before = gateway.value("select count(*) from openclaw.inbox")
    answer = http.post("/messages/batch", items, token=alice)
    body = answer.json()
    tap.equal((answer.status, body["accepted"], body["refused"]), (200, 996, 4), "a batch of a thousand")
    tap.equal(body["success"], False, "that is no success when some are refused")
    results = body["results"]
    tap.equal(len(results), 1000, "an answer for each item")
    tap.equal(
        [results[i]["code"] for i in (7, 8, 9, 10)],
        ["UNKNOWN_RECIPIENT", "INVALID_REQUEST", "INVALID_REQUEST", "INVALID_REQUEST"],
        "each refusal has its reason",
    )
    tap.equal(
        [r["workflowUuid"] for i, r in enumerate(results) if i not in (7, 8, 9, 10)],
        [f"alice:b-{i}" for i in range(1000) if i not in (7, 8, 9, 10)],
        "in the order of the items",
    )
    count = gateway.value("select count(*) from openclaw.inbox")
    tap.equal(int(count) - int(before), 996, "and the accepted ones are there")
    order = gateway.value(
        "select bool_and(a < b) from (select n.created_at_epoch_ms, i.inbox_seq as a,"
        " lead(i.inbox_seq) over (order by split_part(i.message_uuid, 'b-', 2)::int) as b"
        " from openclaw.inbox i join dbos_system.notifications n using (message_uuid)"
        " where i.message_uuid like 'alice:b-%') o where b is not null"
    )
    tap.equal(order, "t", "in the order in which they were given")
    again = http.post("/messages/batch", items, token=alice).json()
    tap.equal(
        ({r.get("duplicate") for r in again["results"] if r["success"]}, again["accepted"]),
        ({True}, 996), "a repeat of it changes nothing",
    )

    lines = b'{"to":"bob","content":1}\r\n\n{"to":"bob","content":\n{"to":"bob","content":3}'
    answer = http.post(
        "/messages/batch", lines, {"Content-Type": "application/x-ndjson"}, token=alice
    )
    body = answer.json()
    tap.equal(
        [r["success"] for r in body["results"]], [True, False, True], "NDJSON, a bad line among good ones"
    )
    tap.equal(body["results"][1]["code"], "INVALID_JSON", "says what is bad")
    for name, body, expected in (
        ("empty", [], (400, "INVALID_REQUEST")),
        ("an object", {}, (400, "INVALID_REQUEST")),
        ("an array without an end", b'[{"to":"bob","content":1}', (400, "INVALID_JSON")),
        ("an array with something behind it", b'[{"to":"bob","content":1}] 1', (400, "INVALID_JSON")),
        ("an array with a comma too many", b'[{"to":"bob","content":1},]', (400, "INVALID_JSON")),
        ("an array of what is no JSON", b'[{"to":"bob","content":1},{"to":]}]', (400, "INVALID_JSON")),
        ("too many", [{"to": "bob", "content": 1}] * 1001, (413, "TOO_LARGE")),
        ("too large", b"[" + b" " * 8388608 + b"]", (413, "TOO_LARGE")),
    ):
        answer = http.post("/messages/batch", body, token=alice)
        tap.equal(code_of(answer), expected, f"a batch that is {name}")
    deep, wide = b"[" * 31 + b"]" * 31, b"[" + b"0," * 19990 + b"0]"
    items = [
        b'{"to":"bob","content":1}',
        b'{"to":"bob","content":' + deep + b"}",
        b'{"to":"bob","content":[' + deep + b"]}",
        b'{"to":"bob","content":' + wide + b"}",
        b'{"to":"bob","content":[' + b"0," * 20000 + b"0]}",
        b'{"to":"bob","to":"bob","content":1}',
        b'{"to":"bob","content":1e999}',
        b'{"to":"bob","content":"\\u0000]\\"["}',
    ]
    alone = [http.post("/messages", item, token=alice) for item in items]
    expected = [None if answer.status == 200 else answer.json()["code"] for answer in alone]
    tap.equal(
        expected,
        [None, None, "TOO_DEEP", None, "TOO_MANY_KEYS", "DUPLICATE_KEY", "NUMBER_RANGE", "INVALID_ENCODING"],
        "messages at the limits and beyond, each alone",
    )
    for name, body, content_type in (
        ("an array", b" [ " + b" , ".join(items) + b" ] ", "application/json"),
        ("lines", b"\n".join(items), "application/x-ndjson"),
    ):
        answer = http.post("/messages/batch", body, {"Content-Type": content_type}, token=alice)
        got = [item.get("code") for item in answer.json().get("results", [])]
        tap.equal((answer.status, got), (200, expected), f"the same in one batch, {name}: the same answers")
    answer = http.post("/messages/batch", [{"to": "nobody", "content": 1}], token=alice)
    tap.equal((answer.status, answer.json()["accepted"]), (200, 0), "a batch of which nothing is left")
    twice = [{"to": "bob", "content": 1, "id": "twice"}] * 2
    body = http.post("/messages/batch", twice, token=alice).json()
    tap.equal(body["accepted"], 2, "the same message twice in a batch")
    count = gateway.value("select count(*) from openclaw.inbox where message_uuid = 'alice:twice'")
    tap.equal(count, "1", "is one message")


def group_commit(gateway, http, tokens):
    """While one transaction holds up the first call, the others gather and share the next."""
    gateway.acknowledge("bob", limit=100000)
    for token in tokens:
        http.get("/workflows?limit=1", token=token)  # known for the next seconds
    blocker = gateway.cluster.session("gateway")
    blocker.run("begin; lock table openclaw.inbox in exclusive mode;")
    answers = []

    def send(i):
        message = {"to": "bob" if i != 5 else "nobody", "content": i, "id": f"g-{i}"}
        answers.append((i, http.post("/messages", message, token=tokens[i % 2])))

    threads = [threading.Thread(target=send, args=(i,)) for i in range(14)]
    for thread in threads:
        thread.start()
    gateway.cluster.wait_until(
        "select count(*) = 2 from pg_stat_activity where wait_event_type = 'Lock'", "gateway"
    )
    time.sleep(0.5)
    tap.equal(
        gateway.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"), "2",
        "fourteen requests wait with two connections",
    )
    blocker.run("commit;")
    blocker.close()
    for thread in threads:
        thread.join(30)
    tap.equal(
        sorted(i for i, a in answers if a.status == 200), [i for i in range(14) if i != 5],
        "all are accepted when the way is free",
    )
    tap.equal(
        [a.json()["code"] for i, a in answers if i == 5], ["UNKNOWN_RECIPIENT"],
        "but the one to nobody, which costs the others nothing",
    )
    transactions = int(gateway.value(
        "select count(distinct xmin::text) from openclaw.inbox where message_uuid like '%:g-%'"
    ))
    tap.ok(transactions <= 4, "in few commits", f"{transactions} transactions for 13 messages")
    senders = gateway.value(
        "select string_agg(distinct sender, ',' order by sender) from openclaw.inbox"
        " where message_uuid like '%:g-%'"
    )
    tap.equal(senders, "alice,carol", "each under its own sender")


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
BAD_PARENTS = (
    "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
    f"00-{TRACE}-" + "0" * 16 + "-01",
    PARENT.upper(),
    "01" + PARENT[2:],
    PARENT + "-00",
    PARENT[:-1],
    PARENT.replace("-", "_"),
    "x" * 5000,
)


def attributes(gateway, workflow):
    value = gateway.value(
        f"select attributes from dbos_system.workflow_status where workflow_uuid = '{workflow}'"
    )
    return json.loads(value) if value else None


def tracing(gateway, http, alice, carol):
    everything = {"traceparent": PARENT, "traceId": TRACE, "requestId": "r-1"}
    message = {"to": "carol", "content": "traced"}
    headers = {"traceparent": PARENT, "X-Request-Id": "r-1", "Idempotency-Key": "traced"}
    answer = http.post("/messages", message, headers, token=alice)
    tap.equal((answer.status, answer.headers["x-request-id"]), (200, "r-1"), "a traced message")
    tap.equal(attributes(gateway, "alice:traced"), everything, "has its trace in its attributes")
    found = [
        [w["workflowUuid"] for w in http.get(f"/workflows?attribute={each}", token=alice).json()["workflows"]]
        for each in (f"traceparent:{PARENT}", f"traceId:{TRACE}", "requestId:r-1", "requestId:r-2")
    ]
    tap.equal(found, [["alice:traced"]] * 3 + [[]], "and is found by each of them")
    logged = [e for e in http.events("http.request") if e.get("request") == "r-1"]
    tap.equal([e.get("trace") for e in logged], [TRACE], "which the log has, too")

    headers["traceparent"] = PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902b8")
    again = http.post("/messages", message, headers, token=alice)
    tap.equal(
        (again.status, again.headers.get("idempotency-replayed")), (200, "true"),
        "the same again in another span is the same message",
    )
    tap.equal(attributes(gateway, "alice:traced"), everything, "which stays in its trace")

    for i, bad in enumerate(BAD_PARENTS):
        answer = http.post(
            "/messages", message, {"traceparent": bad, "Idempotency-Key": f"bad-{i}"}, token=alice
        )
        tap.equal(
            (answer.status, attributes(gateway, f"alice:bad-{i}")), (200, None),
            f"what is no traceparent is ignored: {bad[:60]}",
        )
    answer = http.post(
        "/messages/batch", [{**message, "id": f"tb-{i}"} for i in range(2)],
        {"traceparent": PARENT}, token=alice,
    )
    tap.equal(
        [attributes(gateway, f"alice:tb-{i}") for i in range(2)],
        [{"traceparent": PARENT, "traceId": TRACE}] * 2, "a batch's header is for all of it",
    )
    http.post("/messages", {**message, "traceparent": PARENT, "id": "body"}, token=alice)
    tap.equal(attributes(gateway, "alice:body"), None, "in a body it is nothing")
    inbox = http.get("/agents/carol/inbox?max=50", token=carol).json()["messages"]
    tap.equal(
        {m["messageId"]: m["traceparent"] for m in inbox if "traceparent" in m},
        {"traced": PARENT, "tb-0": PARENT, "tb-1": PARENT},
        "the recipient gets it where there is one",
    )
    headers = {"traceparent": PARENT, "X-Request-Id": "r-1", "Idempotency-Key": "chat"}
    http.post("/chat", {"agentId": "carol", "message": "x"}, {**headers, "Prefer": "respond-async"}, token=alice)
    tap.equal(attributes(gateway, "alice:chat"), everything, "a chat has it")
    headers["Idempotency-Key"] = "greet"
    http.post("/workflows/delayedGreeting", {"input": {"to": "carol", "name": "x"}}, headers,
              token=gateway.operator("root"))
    tap.equal(attributes(gateway, "root:greet"), everything, "and a workflow started by its name")


def blocked(gateway, http, alice):
    """Who may not write to an agent is answered as if it were not there, alone and in a batch."""
    gateway.agent("shut")
    gateway.execute("update openclaw.agent set allow_from = '{carol}' where agent_id = 'shut'")
    seen = []
    for to in ("nobody", "shut"):
        one = http.post("/messages", {"to": to, "content": 1}, {"X-Request-Id": "r"}, token=alice)
        [item] = http.post("/messages/batch", [{"to": to, "content": 1}], token=alice).json()["results"]
        seen.append((one.status, one.body, item))
    tap.equal(seen[1], seen[0], "an agent that takes nothing from this sender looks as if it were not there")


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice = gateway.agent("alice")
        carol = gateway.agent("carol")
        gateway.agent("bob")
        with Responder(gateway.cluster, {"HTTP_THREADS": 16}) as http:
            acceptance(gateway, http, alice)
            keys(gateway, http, alice)
            preferences(gateway, http, alice)
            gateway.acknowledge("bob")
            waiting_room(gateway, http, alice, carol)
            batches(gateway, http, alice)
            blocked(gateway, http, alice)
            group_commit(gateway, http, [alice, carol])
            tracing(gateway, http, alice, carol)
            failed = http.events("http.failure")
            tap.equal(failed[2:], [], "but for those two nothing was our own failure")
            asked = {e["request"] for e in http.events("http.request")}
            tap.ok(all(e.get("request") in asked for e in failed), "which are told with their request", failed)
            tap.equal(http.stop(), 0, "the end is in order")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

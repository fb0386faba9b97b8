#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The registry of agents over HTTP: reading, once more with If-None-Match, changing with If-Match, ending."""

import json
import sys

from cluster import skip_without
from responder import Gateway, Responder
from tap import Tap

tap = Tap()


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def patch(http, agent, document, token, match=None, media="application/json"):
    headers = {"Content-Type": media}
    if match is not None:
        headers["If-Match"] = match
    return http.send("PATCH", f"/agents/{agent}", json.dumps(document).encode(), headers, token=token)


def reading(http, alice, root):
    answer = http.get("/agents/alice", token=root)
    body = answer.json()
    tap.equal((answer.status, body["agentId"], body["status"]), (200, "alice", "active"), "an agent")
    tap.ok(answer.headers["etag"].startswith(f'"{body["version"]}.'), "its ETag begins with its version")
    for name in ("name", "persona", "model", "userId", "sessionKey", "inboxLimit", "allowFrom",
                 "heartbeat", "nextHeartbeatAt", "paused"):
        tap.equal(body[name], None, f"{name} is not set")
    tap.equal(body["configuration"], {}, "and there is no configuration")
    tap.equal(http.get("/agents/alice", token=alice).status, 200, "an agent sees itself")
    for path in ("/agents/bob", "/agents/nobody", "/agents/a%20b", "/agents/bob/heartbeats"):
        tap.equal(code_of(http.get(path, token=alice)), (404, "NOT_FOUND"), f"and nobody else: {path}")


def reading_again(gateway, http, root):
    """RFC 9110, 13.1.2: whoever has it already gets no body."""
    gateway.agent("ines")
    tag = http.get("/agents/ines", token=root).headers["etag"]
    for method in ("GET", "HEAD"):
        for known in (tag, f"W/{tag}", "*", f'"77", W/"x" ,{tag}'):
            answer = http.send(method, "/agents/ines", headers={"If-None-Match": known}, token=root)
            tap.equal(
                (answer.status, answer.body, answer.headers.get("etag"), answer.headers.get("content-type")),
                (304, b"", tag, None),
                f"{method}, If-None-Match {known.replace(tag, 'ETAG')}: not modified",
            )
    version = tag.partition(".")[0] + '"'
    for other in ('"77"', version, tag[:-1], tag[1:-1], "", f"x {tag}", '"'):
        answer = http.get("/agents/ines", headers={"If-None-Match": other}, token=root)
        tap.equal((answer.status, answer.json()["agentId"]), (200, "ines"),
                  f"If-None-Match {other.replace(tag, 'ETAG')!r}: the whole")
    answer = http.get("/agents/nobody", headers={"If-None-Match": "*"}, token=root)
    tap.equal(code_of(answer), (404, "NOT_FOUND"), "what is not there is not unmodified")
    answer = http.get("/agents/ines", headers={"If-None-Match": tag})
    tap.equal(code_of(answer), (401, "UNAUTHORIZED"), "nor is it told to somebody without a token")
    answer = http.get("/agents", headers={"If-None-Match": "*"}, token=root)
    tap.equal(answer.status, 200, "a list has no ETag")
    gateway.execute("update openclaw.credential set revoked_at = 1 where principal_id = 'ines'")
    answer = http.get("/agents/ines", headers={"If-None-Match": tag}, token=root)
    tap.equal((answer.status, answer.json()["credentials"]), (200, 0), "what nobody edits counts, too")
    answer = patch(http, "ines", {"name": "Ines"}, root, tag)
    tap.equal(answer.status, 200, "though not for If-Match, where nobody has edited it since")
    tap.equal(patch(http, "ines", {"name": "I."}, root, '"2"').status, 200, "which takes a bare version, too")
    for headers in ({"If-None-Match": tag}, {"If-None-Match": "*", "If-Match": "*"}):
        answer = http.send("DELETE", "/agents/ines", headers=headers, token=root)
        tap.equal(code_of(answer), (400, "INVALID_REQUEST"), f"a change does not pass over {headers}")
    http.send("DELETE", "/agents/ines", token=root)


def listing(gateway, http, alice, root):
    for n in range(7):
        gateway.agent(f"list{n}")
    seen, cursor, pages = [], "", 0
    while cursor is not None and pages < 10:
        body = http.get("/agents?limit=4" + (f"&cursor={cursor}" if cursor else ""), token=root).json()
        seen += [a["agentId"] for a in body["agents"]]
        cursor, pages = body["nextCursor"], pages + 1
    wanted = sorted(["alice", "bob"] + [f"list{n}" for n in range(7)])
    tap.equal((pages, seen), (3, wanted), "pages cover the registry, once each")
    body = http.get("/agents", token=alice).json()
    tap.equal([a["agentId"] for a in body["agents"]], ["alice"], "an agent is in its own list only")
    for query in ("limit=0", "limit=501", "cursor=a%20b", "cursor=", "page=2"):
        tap.equal(code_of(http.get(f"/agents?{query}", token=root)), (400, "INVALID_REQUEST"), query)


GOOD = {
    "name": "Bob", "persona": "Calm.", "model": "anthropic/claude-opus-4.5", "userId": "u-1",
    "sessionKey": "agent:bob:main", "inboxLimit": 500, "allowFrom": ["alice"],
    "configuration": {"tools": ["a", {"b": None}]},
    "heartbeat": {"enabled": False, "interval": "15m", "checklist": ["mail"], "timeoutMs": 5000},
}  # fmt: skip


def changing(gateway, http, alice, root):
    tag = http.get("/agents/bob", token=root).headers["etag"]
    answer = patch(http, "bob", GOOD, root, tag)
    body = answer.json()
    tap.equal(answer.status, 200, "an agent is changed")
    tap.equal({k: body[k] for k in GOOD}, GOOD, "in all that can be said of it")
    tap.ok(answer.headers["etag"] != tag, "and has another ETag")
    new = answer.headers["etag"]
    tap.equal(code_of(patch(http, "bob", {"name": "B"}, root, tag)), (412, "PRECONDITION_FAILED"),
              "who has read an older one is refused")
    tap.equal(http.get("/agents/bob", token=root).json()["name"], "Bob", "and changes nothing")
    again = patch(http, "bob", GOOD, root, tag)
    tap.equal((again.status, again.headers["etag"]), (200, new), "the same again is done already")
    tap.equal(
        gateway.value("select count(*) from openclaw.audit where act = 'agent.set' and subject = 'bob'"),
        "1", "and audited once",
    )
    tap.equal(code_of(patch(http, "bob", {"name": "B"}, root, f"W/{new}")), (412, "PRECONDITION_FAILED"),
              "a weak tag never matches")
    for match in ("3", "\"", "x", "\"1", ", "):
        tap.equal(code_of(patch(http, "bob", {"name": "B"}, root, match)), (400, "INVALID_REQUEST"),
                  f"If-Match {match!r}")
    for form in ("*", '"77", %s', '"abc" , %s', None):
        tag = http.get("/agents/bob", token=root).headers["etag"]
        answer = patch(http, "bob", {"name": f"B {form}"}, root, form and form.replace("%s", tag))
        tap.equal((answer.status, answer.json()["name"]), (200, f"B {form}"), f"If-Match {form}")
    answer = patch(http, "bob", {k: None for k in GOOD}, root)
    tap.equal({answer.json()[k] for k in GOOD if k != "configuration"}, {None}, "null clears")


def refused(http, alice, root):
    for document in (
        {"nonsense": 1}, {"agentId": "carl"}, {"name": ""}, {"name": 1}, {"model": "claude"},
        {"model": "/x"}, {"model": "x/"}, {"model": "a/b c"}, {"sessionKey": "main"}, {"sessionKey": "agent:"}, {"sessionKey": "agent::"}, {"sessionKey": "agent:bob"},
        {"sessionKey": "agent:bob:"}, {"sessionKey": "agent:carl:main"}, {"sessionKey": "agent:alicia:main"}, {"inboxLimit": 0},
        {"inboxLimit": "9"}, {"status": "gone"}, {"status": None}, {"allowFrom": "alice"},
        {"heartbeat": []}, {"heartbeat": {}}, {"heartbeat": {"enabled": 1}},
        {"heartbeat": {"enabled": True, "interval": "7m"}}, {"heartbeat": {"enabled": True, "x": 1}},
        {"heartbeat": {"enabled": True, "checklist": [1]}},
        {"heartbeat": {"enabled": True, "timeoutMs": 1}}, {"configuration": []},
        {"configuration": {"dbos": {"queue": "q"}}},
    ):  # fmt: skip
        answer = patch(http, "alice", document, root)
        tap.equal(code_of(answer), (400, "INVALID_REQUEST"), f"no change: {document}")
    tap.equal(code_of(patch(http, "alice", {"allowFrom": ["a b"]}, root)), (400, "INVALID_ID"), "no name")
    for document in ({"name": "x" * 201}, {"persona": "x" * 16385}, {"configuration": {"x": "y" * 65536}}):
        tap.equal(code_of(patch(http, "alice", document, root)), (413, "TOO_LARGE"), "too long")
    tap.equal(code_of(patch(http, "nobody", {"name": "x"}, root)), (404, "NOT_FOUND"), "nobody")
    tap.equal(code_of(patch(http, "alice", {"name": "x"}, alice)), (403, "FORBIDDEN"), "the scope")
    tap.equal(code_of(http.send("DELETE", "/agents/bob", token=alice)), (403, "FORBIDDEN"), "the scope")


def pausing(gateway, http, alice, bob, root):
    answer = patch(http, "bob", {"status": "paused"}, root)
    body = answer.json()
    tap.equal((body["status"], body["paused"]["by"]), ("paused", "root"), "paused, and by whom")
    sent = http.post("/messages", {"to": "bob", "content": "while paused"}, token=alice)
    tap.equal((sent.status, sent.json()["result"]["status"]), (200, "queued"), "a message is accepted")
    got = http.get("/agents/bob/inbox?wait=1", token=bob).json()["messages"]
    tap.equal(got, [], "and not delivered")
    tap.equal(
        gateway.value("select attempt || ' ' || claims || ' ' || state from openclaw.inbox where agent_id = 'bob'"),
        "0 0 ready", "no attempt is counted",
    )
    patch(http, "bob", {"status": "active"}, root)
    got = http.get("/agents/bob/inbox?wait=10", token=bob).json()["messages"]
    tap.equal([(m["content"], m["attempt"]) for m in got], [("while paused", 1)], "resumed, it comes")


def ending(gateway, http, alice, root):
    gateway.agent("gone")
    http.post("/messages", {"to": "gone", "content": 1}, {"Idempotency-Key": "to-gone"}, token=alice)
    tag = http.get("/agents/gone", token=root).headers["etag"]
    answer = http.send("DELETE", "/agents/gone", headers={"If-Match": '"99"'}, token=root)
    tap.equal(code_of(answer), (412, "PRECONDITION_FAILED"), "DELETE takes If-Match")
    answer = http.send("DELETE", "/agents/gone", headers={"If-Match": tag}, token=root)
    tap.equal((answer.status, answer.body), (204, b""), "an agent is deleted")
    tap.equal(code_of(http.get("/agents/gone", token=root)), (404, "NOT_FOUND"), "and is gone")
    tap.equal(code_of(http.send("DELETE", "/agents/gone", token=root)), (404, "NOT_FOUND"), "for good")
    tap.equal(http.get("/workflows", token="token-of-gone").status, 401, "with its token")
    body = http.get("/workflows/to-gone", token=alice).json()
    tap.equal((body["status"], body["error"]["code"]), ("ERROR", "WITHDRAWN"), "the sender learns it")
    answer = http.post("/messages", {"to": "gone", "content": 1}, token=alice)
    tap.equal(code_of(answer), (404, "UNKNOWN_RECIPIENT"), "and cannot write to it any more")
    tap.equal(
        gateway.value("select count(*) from dbos_system.workflow_status where workflow_uuid = 'agent:gone'"),
        "0", "the mailbox is gone",
    )
    tap.equal(
        gateway.value("select count(*) from openclaw.audit where act = 'agent.delete' and subject = 'gone'"),
        "1", "it is in the audit",
    )
    gateway.agent("gone")
    answer = http.post("/messages", {"to": "gone", "content": 2}, token=alice)
    tap.equal(answer.status, 200, "another one of the name can be made")
    answers = [patch(http, "gone", {"name": "G"}, root, tag),
               http.send("DELETE", "/agents/gone", headers={"If-Match": tag}, token=root)]  # fmt: skip
    tap.equal([code_of(a) for a in answers], [(412, "PRECONDITION_FAILED")] * 2, "which the other's ETag is not of")


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice, bob, root = gateway.agent("alice"), gateway.agent("bob"), gateway.operator("root")
        with Responder(gateway.cluster, {"HTTP_THREADS": 8}) as http:
            reading(http, alice, root)
            reading_again(gateway, http, root)
            listing(gateway, http, alice, root)
            changing(gateway, http, alice, root)
            refused(http, alice, root)
            pausing(gateway, http, alice, bob, root)
            ending(gateway, http, alice, root)
            tap.equal(http.events("http.failure"), [], "nothing was our own failure")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

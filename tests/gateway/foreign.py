#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A principal never learns whether somebody else's id exists: whatever is asked about it, over HTTP and over
WebSocket, has exactly the answer of an id that nobody ever had."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

from responder import Responder
from sessions import Refused, World
from tap import Tap

tap = Tap()
UNKNOWN_DELIVERY = "999999.0123456789abcdef0123456789abcdef"

# where {} stands an id of somebody else's, and of nobody's, of these kinds
HTTP = [
    ("workflow", "GET", "/workflows/{}", None),
    ("workflow", "GET", "/workflows/{}/steps", None),
    ("workflow", "GET", "/workflows/{}/events", None),
    ("workflow", "POST", "/workflows/{}/cancel", None),
    ("workflow", "POST", "/workflows/{}/cancel?children=1", None),
    ("workflow", "POST", "/workflows/{}/resume", None),
    ("workflow", "POST", "/workflows/{}/fork?step=1", None),
    ("workflow", "POST", "/workflows/{}/restart", None),
    ("workflow", "POST", "/workflows/{}/rewind", None),
    ("workflow", "DELETE", "/workflows/{}", None),
    ("workflow", "POST", "/workflows/alice:own/restart?newId={}", None),
    ("agent", "GET", "/agents/{}", None),
    ("agent", "PATCH", "/agents/{}", {"name": "x"}),
    ("agent", "DELETE", "/agents/{}", None),
    ("agent", "GET", "/agents/{}/inbox", None),
    ("agent", "GET", "/agents/{}/inbox?max=1&wait=0", None),
    ("agent", "POST", "/agents/{}/inbox/ack", {"deliveryIds": [UNKNOWN_DELIVERY]}),
    ("agent", "GET", "/dead-letters?inbox={}", None),
    ("agent", "GET", "/tokens?principal={}", None),
    ("agent", "POST", "/tokens/rotate", {"principal": "{}"}),
    ("delivery", "POST", "/agents/alice/inbox/ack", {"deliveryIds": ["{}"]}),
    ("delivery", "POST", "/agents/alice/inbox/nack", {"deliveryId": "{}"}),
    ("delivery", "POST", "/agents/alice/inbox/extend", {"deliveryIds": ["{}"], "leaseMs": 5000}),
    ("letter", "GET", "/dead-letters/{}", None),
    ("letter", "POST", "/dead-letters/{}/redrive", None),
    ("letter", "DELETE", "/dead-letters/{}", None),
    ("credential", "DELETE", "/tokens/{}", None),
]
WEBSOCKET = [
    ("workflow", "workflow.status", {"workflowUuid": "{}"}),
    ("workflow", "workflow.events", {"workflowUuid": "{}"}),
    ("workflow", "workflow.cancel", {"workflowUuid": "{}"}),
    ("workflow", "workflow.resume", {"workflowUuid": "{}"}),
    ("workflow", "workflow.fork", {"workflowUuid": "{}", "step": 1}),
    ("workflow", "workflow.restart", {"workflowUuid": "{}"}),
    ("workflow", "workflow.restart", {"workflowUuid": "alice:own", "newId": "{}"}),
    ("workflow", "workflow.rewind", {"workflowUuid": "{}"}),
    ("workflow", "workflow.delete", {"workflowUuid": "{}"}),
    ("workflow", "agent.wait", {"runId": "{}", "timeoutMs": 0}),
    ("agent", "inbox.subscribe", {"inbox": "{}"}),
    ("agent", "inbox.unsubscribe", {"inbox": "{}"}),
    ("agent", "inbox.pull", {"inbox": "{}", "max": 1, "waitMs": 0}),
    ("agent", "inbox.stats", {"inbox": "{}"}),
    ("agent", "inbox.dead.list", {"inbox": "{}"}),
    ("delivery", "inbox.ack", {"deliveryIds": ["{}"]}),
    ("delivery", "inbox.nack", {"deliveryId": "{}"}),
    ("delivery", "inbox.extend", {"deliveryIds": ["{}"], "leaseMs": 5000}),
    ("letter", "inbox.dead.show", {"ids": ["{}"]}),
    ("letter", "inbox.redrive", {"ids": ["{}"]}),
    ("letter", "inbox.purge", {"ids": ["{}"]}),
]


def fill(value, identity):
    if isinstance(value, str):
        return value.replace("{}", identity)
    if isinstance(value, list):
        return [fill(each, identity) for each in value]
    if isinstance(value, dict):
        return {key: fill(each, identity) for key, each in value.items()}
    return value


def without(text, identity):
    """What is left of an answer that may repeat the id, and has times and a request's id."""
    for each in (identity, identity.partition(":")[2] or identity):
        text = text.replace(each, "ID")
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UUID", text)
    return re.sub(r"\b1\d{12}\b|\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)


def by_http(http, token, method, uri, body, identity):
    data = b"" if body is None else json.dumps(fill(body, identity)).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    answer = http.send(method, uri.replace("{}", identity), data, headers, token=token)
    names = sorted(name for name in answer.headers if name not in ("x-request-id", "traceparent"))
    return answer.status, names, without(answer.body.decode(), identity)


def by_websocket(session, method, params, identity):
    try:
        return "ok", without(json.dumps(session.call(method, fill(params, identity))), identity)
    except Refused as refusal:
        return "refused", without(json.dumps(refusal.error), identity)


def prepare(world, http):
    """What bob and carol have, and alice must not see."""
    bob, carol = world.tokens["bob"], world.tokens["carol"]
    world.sql(
        "update openclaw.principal set scopes = array['send','inbox','workflows:read','workflows:write']"
        " where principal_id = 'alice'"
    )
    assert http.post("/messages", {"id": "own", "to": "bob", "content": "x"}, token=world.tokens["alice"]).status == 200
    for key in ("held", "lettered", "live"):
        assert http.post("/messages", {"id": key, "to": "carol", "content": "x"}, token=bob).status == 200
    messages = http.get("/agents/carol/inbox?max=3", token=carol).json()["messages"]
    held, dead = messages[0]["deliveryId"], messages[1]["deliveryId"]
    answer = http.post("/agents/carol/inbox/nack", {"deliveryId": dead, "requeue": False}, token=carol)
    assert answer.status == 200, answer.body
    [letter] = http.get("/dead-letters", token=carol).json()["deadLetters"]
    names = [k for k, v in letter.items() if v == "bob:lettered"]
    assert names, letter
    return {
        "workflow": ("bob:live", "bob:never"),
        "agent": ("bob", "nob"),
        "delivery": (held, UNKNOWN_DELIVERY),
        "letter": ("bob:lettered", "bob:neverwas"),
        "credential": (
            world.value("select credential_id from openclaw.credential where principal_id = 'bob'"),
            "01234567-89ab-4cde-8f01-23456789abcd",
        ),
    }


def rows(world):
    return world.value(
        "select md5(string_agg(t::text, '' order by t::text)) from ("
        " select workflow_uuid || status || coalesce(name, '') as t from dbos_system.workflow_status"
        " where authenticated_user = 'bob' or workflow_uuid like 'bob:%'"
        " union all select inbox_seq || state || attempt || coalesce(delivery_id, '') from openclaw.inbox"
        " where agent_id = 'carol'"
        " union all select credential_id || coalesce(revoked_at, 0) from openclaw.credential"
        " where principal_id <> 'alice') x"
    )


def main():
    with World() as world:
        with Responder(world.cluster, {"RUNTIME_DIR": world.runtime}) as http:
            ids = prepare(world, http)
            alice = world.tokens["alice"]
            before = rows(world)
            for kind, method, uri, body in HTTP:
                theirs, nobodys = (
                    by_http(http, alice, method, uri, body, identity) for identity in ids[kind]
                )
                tap.equal(theirs, nobodys, f"{method} {uri}" + (f" {json.dumps(body)}" if body else ""))
                tap.ok(theirs[0] in (200, 400, 403, 404, 409), f"{method} {uri}: {theirs[0]}")
            with world.connect("alice") as session:
                for kind, method, params in WEBSOCKET:
                    theirs, nobodys = (
                        by_websocket(session, method, params, identity) for identity in ids[kind]
                    )
                    tap.equal(theirs, nobodys, f"{method} {json.dumps(params)}")
            tap.equal(rows(world), before, "and nothing of theirs has changed")
            owner = by_http(http, world.tokens["bob"], "GET", "/workflows/{}", None, "bob:live")
            tap.equal(owner[0], 200, "which all the while is there for its owner")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

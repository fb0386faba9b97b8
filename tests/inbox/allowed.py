#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What an agent takes: from whom (its allow-list), how much (INBOX_LIMIT), and whether now (paused)."""

import sys

from cluster import SqlError
from stage import Refused, Stage, message
from tap import Tap

tap = Tap()


def codes(answer):
    return answer.status, answer.json().get("code")


def post(stage, who, to="bob", **more):
    return stage.post("/messages", who, {"to": to, "content": "x", **more})


def bare(session, to, identity):
    session.send({"id": identity, "to": to, "content": "x"})
    return session.take(lambda f: f.get("type") in ("workflow_result", "error"))


def allow_from(stage, agent="bob"):
    return stage.get(f"/agents/{agent}", "root").json()["allowFrom"]


def send_by_dbos(stage, key):
    stage.sql(f"select dbos_system.send_message('agent:bob', '1', message_id => '{key}')")


def setting(stage):
    tap.equal(allow_from(stage), None, "by default everybody may write")
    answer = stage.patch("/agents/bob", "root", {"allowFrom": ["alice", "dbos"]})
    tap.equal((answer.status, answer.json()["allowFrom"]), (200, ["alice", "dbos"]), "PATCH sets the list")
    answer = stage.patch("/agents/bob", "root", {"name": "Bob"})
    tap.equal((answer.json()["name"], answer.json()["allowFrom"]), ("Bob", ["alice", "dbos"]), "what is not named stays")
    tap.equal(codes(stage.patch("/agents/bob", "root", {"allowFrom": "alice"})), (400, "INVALID_REQUEST"), "it is a list")
    tap.equal(codes(stage.patch("/agents/bob", "root", {"allowFrom": ["a b"]})), (400, "INVALID_ID"), "of ids")
    tap.equal(codes(stage.patch("/agents/bob", "root", {"allow": []})), (400, "INVALID_REQUEST"), "and nothing else is taken for it")
    tap.equal(codes(stage.patch("/agents/nobody", "root", {"allowFrom": []})), (404, "NOT_FOUND"), "of an agent")
    tap.equal(codes(stage.patch("/agents/bob", "bob", {"allowFrom": []})), (403, "FORBIDDEN"), "by who manages agents")
    tap.equal(stage.ctl("agent", "set", "bob", "--allow", "*").code, 0, "gatewayctl agent set: everybody")
    tap.equal(allow_from(stage), None, "is no list")
    stage.ctl("agent", "set", "bob", "--allow", "-")
    tap.equal(allow_from(stage), [], "nobody is an empty one")
    stage.ctl("agent", "set", "bob", "--allow", "alice,root")
    tap.equal(allow_from(stage), ["alice", "root"], "or some")
    tap.equal(stage.ctl("agent", "set", "bob", "--allow", "a b!").code, 64, "a bad name is refused")
    tap.equal(stage.ctl("agent", "set", "nobody", "--allow", "*").code, 66, "an unknown agent, too")
    listed = stage.ctl("agent", "list", "--json").json["agents"]
    tap.equal([a["allowFrom"] for a in listed if a["id"] == "bob"], [["alice", "root"]], "gatewayctl agent list shows it")
    tap.equal(
        stage.value("select count(*) from openclaw.audit where act = 'agent.set' and subject = 'bob'"),
        "5",
        "each change is in the audit",
    )


def redriven(stage):
    """A dead letter of a sender that is not on the list any more is not sent once more by it."""
    dead = stage.lead_to_death("carol", "bob", "gone")
    stage.ctl("agent", "set", "bob", "--allow", "alice,root")
    tap.equal(codes(stage.redrive(dead, "carol")), (404, "NOT_FOUND"), "HTTP: its sender redrives it no more")
    with stage.connect("carol") as carol:
        answer = carol.call("inbox.redrive", {"ids": [dead]})
        tap.equal((answer["redriven"], answer["unknown"]), ([], [dead]), "nor over WebSocket")
    tap.equal(stage.inbox(dead)["state"], "dead", "it stays dead")
    tap.equal(stage.redrive(dead, "bob").json()["redriven"], True, "its recipient may")
    [delivery] = stage.pull("bob")
    stage.nack("bob", delivery, requeue=False)
    tap.equal(stage.redrive(dead, "root").json()["redriven"], True, "and an operator")
    stage.ack("bob", *stage.pull("bob"))
    stage.ctl("agent", "set", "bob", "--allow", "*")
    stage.sql("delete from dbos_system.notifications; delete from openclaw.audit where act = 'agent.set'")


def enforced(stage):
    """At every door, before anything is written."""
    before = stage.value("select count(*) from dbos_system.workflow_status")
    absent, blocked = post(stage, "carol", "nobody"), post(stage, "carol")
    tap.equal(codes(blocked), (404, "UNKNOWN_RECIPIENT"), "HTTP: who is not on it is refused")
    tap.equal(
        [{k: v for k, v in a.json().items() if k != "requestId"} for a in (blocked,)],
        [{k: v for k, v in a.json().items() if k != "requestId"} for a in (absent,)],
        "as if the agent were not there",
    )
    absent, blocked = (
        stage.post("/chat", "carol", {"agentId": name, "message": "x"}) for name in ("nobody", "bob")
    )
    tap.equal(
        (blocked.status, blocked.json().get("code"), blocked.json().get("detail", "").replace("bob", "nobody")),
        (absent.status, absent.json().get("code"), absent.json().get("detail", "")),
        "so in a chat",
    )
    stage.sql("delete from dbos_system.workflow_status where name = 'chat'")
    answer = stage.post("/messages/batch", "carol", [{"to": "bob", "content": 1}, {"to": "alice", "content": 2}])
    results = answer.json()["results"]
    tap.ok("UNKNOWN_RECIPIENT" in str(results[0]) and "UNKNOWN_RECIPIENT" not in str(results[1]), "in a batch, by itself")
    with stage.connect("carol") as carol:
        try:
            carol.call("send", message("nobody", "x", "0"))
        except Refused as refused:
            unknown = refused.code
        for method, params in (
            ("send", message("bob", "x", "1")),
            ("agent.send", {"sessionKey": "agent:bob:main", "message": "x"}),
            ("agent", {"agentId": "bob", "message": "x", "idempotencyKey": "2"}),
            ("chat.send", {"sessionKey": "bob", "message": "x", "idempotencyKey": "3"}),
        ):
            with tap.raises(Refused, f"WebSocket, {method}", code=unknown):
                carol.call(method, params)
        tap.equal(bare(carol, "bob", "c1")["code"], unknown, "a bare message")
    with tap.raises(SqlError, "a DBOS client", sqlstate="OC003"):
        send_by_dbos(stage, "not-allowed")
    after = stage.value("select count(*) from dbos_system.workflow_status")
    tap.equal(int(after) - int(before), 1, "and nothing was written but the one message to alice")
    tap.equal(stage.value("select count(*) from dbos_system.notifications where destination_uuid = 'agent:bob'"), "0", "nor sent")
    tap.equal(post(stage, "alice").status, 200, "who is on it may write")
    stage.patch("/agents/bob", "root", {"allowFrom": ["dbos"]})
    send_by_dbos(stage, "allowed")
    tap.equal(codes(post(stage, "alice")), (404, "UNKNOWN_RECIPIENT"), "a change counts at once")
    messages = stage.pull("bob")
    tap.equal([m["from"] for m in messages], ["alice", "dbos"], "what was accepted before is delivered")
    stage.ack("bob", *messages)
    stage.patch("/agents/bob", "root", {"allowFrom": None})
    tap.equal(post(stage, "carol").status, 200, "without a list everybody may")
    stage.ack("bob", *stage.pull("bob"))


def full(stage):
    stage.sql("update openclaw.agent set inbox_limit = 3 where agent_id = 'bob'")
    for n in range(3):
        post(stage, "alice", id=f"l{n}")
    tap.equal(codes(post(stage, "alice", id="l3")), (429, "INBOX_FULL"), "a full inbox refuses at send")
    with stage.connect("alice") as alice:
        with tap.raises(Refused, "WebSocket, too", code="INBOX_FULL"):
            alice.call("send", message("bob", "x", "l3"))
        tap.equal(bare(alice, "bob", "l4")["code"], "INBOX_FULL", "a bare message")
    with tap.raises(SqlError, "a DBOS client", sqlstate="OC008"):
        send_by_dbos(stage, "too-many")
    answer = post(stage, "alice", id="l1")
    tap.equal(answer.headers.get("idempotency-replayed"), "true", "a repeat is no new message, and is answered")
    held = stage.pull("bob", max=2)
    tap.equal(codes(post(stage, "alice", id="l3")), (429, "INBOX_FULL"), "what is out counts until it is acknowledged")
    stage.ack("bob", *held)
    tap.equal(post(stage, "alice", id="l3").status, 200, "then there is room, and the same key is good")
    rest = stage.pull("bob")
    tap.equal([m["messageId"] for m in held + rest], ["l0", "l1", "l2", "l3"], "nothing was dropped")
    stage.ack("bob", *rest)
    stage.sql("update openclaw.agent set inbox_limit = null where agent_id = 'bob'")


def paused(stage):
    with stage.connect("bob") as bob:
        bob.call("inbox.subscribe", {"inbox": "bob"})
        tap.equal(stage.patch("/agents/bob", "root", {"status": "paused"}).json()["status"], "paused", "an agent is paused")
        tap.equal(codes(stage.patch("/agents/bob", "root", {"status": "tired"})), (400, "INVALID_REQUEST"), "or active")
        post(stage, "alice", id="z1")
        tap.ok(bob.nothing("inbox.message", 0.7), "it is sent nothing")
        tap.equal(stage.pull("bob"), [], "and can take nothing")
        stage.patch("/agents/bob", "root", {"status": "active"})
        delivery = bob.event("inbox.message", timeout=1)
        tap.equal(delivery["messageId"], "z1", "its messages wait, and come when it is active again, at once")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})


with Stage() as stage:
    redriven(stage)
    setting(stage)
    enforced(stage)
    full(stage)
    paused(stage)
sys.exit(tap.done())

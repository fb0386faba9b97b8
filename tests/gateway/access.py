#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tokens, tickets and the audit: what is granted, for how long, to whom, and what is on record."""

import datetime
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

from responder import Responder
from sessions import Ended, Refused, World
from tap import Tap

tap = Tap()
HALF_MINUTE = 30_000


def wait(predicate, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if predicate():
            return True
        time.sleep(0.05)
    return False


def acts(world, where="true"):
    return world.value(
        f"select coalesce(string_agg(act, ' ' order by audit_id), '') from openclaw.audit where {where}"
    )


# ---- tokens -----------------------------------------------------------------------------------


def rotation(world, http):
    old = world.tokens["alice"] = world.token("alice")
    other = world.token("alice")
    answer = http.post("/tokens/rotate", {"overlapMs": 60_000, "expiresInMs": 3_600_000}, token=old)
    body = answer.json()
    tap.equal(answer.status, 200, "a token rotates itself")
    tap.equal(answer.headers.get("cache-control"), "no-store", "the answer is not to be kept")
    tap.ok(body["token"].startswith("ocg_") and len(body["token"]) == 47, "a token of 256 bits")
    tap.ok(
        world.value(
            f"select count(*) from openclaw.credential where token_sha256 = encode(sha256('{body['token']}'), 'hex')"
        )
        == "1",
        "of which the database has the SHA-256",
    )
    tap.ok(
        body["token"] not in world.cluster.execute("copy openclaw.credential to stdout", "gateway"),
        "and nothing else",
    )
    for name, token in (("the new token", body["token"]), ("the old one, for the overlap,", old),
                        ("another of the same principal", other)):
        tap.equal(http.get("/agents/alice", token=token).status, 200, f"{name} is good")
    left = world.value(
        "select max(expires_at) - openclaw.now_ms() from openclaw.credential"
        f" where token_sha256 = encode(sha256('{old}'), 'hex')"
    )
    tap.ok(0 < int(left) <= 60_000, "the old one ends with the overlap", left)
    world.sql(
        "update openclaw.credential set expires_at = openclaw.now_ms() - 1"
        f" where token_sha256 = encode(sha256('{old}'), 'hex')"
    )
    tap.ok(
        wait(lambda: http.get("/agents/alice", token=old).status == 401), "and then is no more"
    )
    answer = http.post("/tokens/rotate", {}, token=old)
    tap.equal(answer.status, 401, "nor rotates itself")
    world.tokens["alice"] = body["token"]

    listed = http.get("/tokens", token=body["token"]).json()["tokens"]
    tap.ok(
        [t["current"] for t in listed].count(True) == 1 and all(t["principal"] == "alice" for t in listed),
        "a principal sees its own tokens, and which it uses", listed,
    )
    tap.ok("token_sha256" not in json.dumps(listed) and "ocg_" not in json.dumps(listed), "not the secrets")
    detail = world.value(
        "select detail from openclaw.audit where act = 'credential.rotate' order by audit_id limit 1"
    )
    tap.equal(json.loads(detail)["ended"], 1, "the rotation is in the audit")


def narrow(world, http):
    wide = world.token("alice")
    answer = http.post("/tokens/rotate", {"scopes": ["send"]}, token=wide).json()
    token = answer["token"]
    tap.equal(
        http.get("/agents/alice/inbox", token=token).json()["code"], "FORBIDDEN",
        "a token may do less than its principal",
    )
    other = http.post("/tokens/rotate", {"overlapMs": 60_000}, token=world.token("alice")).json()
    answer = http.send("DELETE", f"/tokens/{other['credentialId']}", token=token)
    tap.equal((answer.status, answer.json()["code"]), (403, "FORBIDDEN"), "and ends none that may do more")
    tap.equal(http.get("/agents/alice/inbox", token=other["token"]).status, 200, "which goes on")
    with world.open() as session:
        tap.equal(session.connect(token)["auth"]["scopes"], ["send"], "also over WebSocket")
    answer = http.post("/tokens/rotate", {"scopes": ["send", "inbox"]}, token=token)
    tap.equal(answer.status, 403, "a narrow token makes no wider one")
    answer = http.post("/tokens/rotate", {}, token=token).json()
    tap.equal(
        http.get("/agents/alice/inbox", token=answer["token"]).json()["code"], "FORBIDDEN",
        "what replaces it is as narrow",
    )
    with world.open() as session:
        try:
            session.connect(token, scopes=["inbox"])
            tap.ok(False, "a narrow token is not asked for more")
        except Refused as refusal:
            tap.equal(refusal.code, "FORBIDDEN", "a narrow token is not asked for more")
    root = http.post("/tokens/rotate", {"scopes": ["send"]}, token=world.token("root")).json()
    tap.equal(
        http.get("/audit", token=root["token"]).status, 403, "an operator's narrow token is no operator"
    )
    for body in ({"scopes": []}, {"scopes": ["everything"]}, {"scopes": "send"}, {"overlapMs": -1},
                 {"expiresInMs": 10**13}, {"overlapMs": "1"}, {"principal": 1}):
        answer = http.post("/tokens/rotate", body, token=wide)
        tap.ok(answer.status == 400, f"{body} is refused", answer.body)


def no_more_than_before(world, http):
    """What replaces a token lives no longer and may do no more, whoever replaces it."""
    root = world.tokens["root"]
    short = http.post("/tokens/rotate", {"expiresInMs": 600_000, "scopes": ["send"]}, token=world.token("alice"))
    answer = http.post("/tokens/rotate", {}, token=short.json()["token"]).json()
    tap.ok(answer["expiresAt"] is not None, "a token that ends makes none that does not", answer)
    answer = http.post("/tokens/rotate", {"expiresInMs": 10**9}, token=answer["token"]).json()
    ends = datetime.datetime.fromisoformat(answer["expiresAt"].replace("Z", "+00:00")).timestamp()
    tap.ok(ends - time.time() < 700, "nor one that lives longer than it was given", answer)
    world.sql("update openclaw.credential set revoked_at = 1 where principal_id = 'bob'")
    narrow_one = world.token("bob")
    world.sql("update openclaw.credential set scopes = '{send}' where principal_id = 'bob'")
    tap.equal(http.get("/agents/bob/inbox", token=narrow_one).status, 403, "a narrow token")
    token = http.post("/tokens/rotate", {"principal": "bob"}, token=root).json()["token"]
    tap.equal(http.get("/agents/bob/inbox", token=token).status, 403, "is replaced by one as narrow")
    world.tokens["bob"] = world.token("bob")
    answer = http.post("/tokens/rotate", {}, token=root, headers={"Idempotency-Key": "k1"})
    tap.equal((answer.status, answer.json()["code"]), (400, "INVALID_REQUEST"), "no key is ignored here")
    answer = http.post("/messages/batch", [{"to": "bob", "content": 1}], token=root, headers={"Idempotency-Key": "k"})
    tap.equal(answer.status, 400, "nor with a batch")


def last_use(world, http):
    """When a token was used last is on record, to the minute, without a write for each use."""

    def of(token):
        return f"where token_sha256 = encode(sha256('{token}'), 'hex')"

    def used(token):
        at, row = world.value(f"select coalesce(last_used_at, 0) || ' ' || xmin from openclaw.credential {of(token)}").split()
        return int(at), row

    def by_http(token):
        tap.equal(http.get("/agents/carol", token=token).status, 200, "HTTP: the token is good")

    def by_websocket(token):
        with world.open() as session:
            session.connect(token)
            session.call("ping")

    for face, use in (("HTTP", by_http), ("WebSocket", by_websocket)):
        token = world.token("carol")
        tap.equal(used(token)[0], 0, f"{face}: a token that nobody has used")
        begun = int(world.value("select openclaw.now_ms()"))
        use(token)
        tap.ok(wait(lambda: used(token)[0] >= begun), f"{face}: its use is on record")
        kept = used(token)
        for _ in range(3):
            use(token)
        tap.equal(used(token), kept, f"{face}: not each use")
        world.sql(f"update openclaw.credential set last_used_at = openclaw.now_ms() - 61000 {of(token)}")
        tap.ok(
            wait(lambda: use(token) or used(token)[0] >= kept[0]), f"{face}: one that is a minute later is"
        )
    listed = [t["lastUsedAt"] for t in http.get("/tokens", token=token).json()["tokens"] if t["current"]]
    tap.ok(listed != [None], "who lists the tokens sees it", listed)


def at_its_end(world, http):
    """A token that ends is not taken a moment longer, however lately it was looked at."""
    token = world.token("carol")
    world.sql(
        "update openclaw.credential set expires_at = openclaw.now_ms() + 2000"
        f" where token_sha256 = encode(sha256('{token}'), 'hex')"
    )
    while int(world.value("select expires_at - openclaw.now_ms() from openclaw.credential"
                          f" where token_sha256 = encode(sha256('{token}'), 'hex')")) > 0:  # fmt: skip
        http.get("/agents/carol", token=token)
    tap.equal(http.get("/agents/carol", token=token).status, 401, "it ends when it ends")


def of_others(world, http):
    alice, root = world.tokens["alice"], world.tokens["root"]
    answer = http.post("/tokens/rotate", {"principal": "bob"}, token=alice)
    tap.equal(answer.status, 403, "nobody rotates another's token")
    answer = http.post("/tokens/rotate", {"principal": "nobody"}, token=alice)
    tap.equal(answer.status, 403, "nor learns who is there")
    tap.equal(http.get("/tokens?principal=bob", token=alice).status, 403, "nor lists them")
    for nobody in ("nobody", "-1", "a%20b"):
        answer = http.get(f"/tokens?principal={nobody}", token=root)
        tap.equal((answer.status, answer.json().get("tokens")), (200, []), f"{nobody} has none")
    answer = http.post("/tokens/rotate", {"principal": "bob", "overlapMs": 0}, token=root)
    tap.equal(answer.status, 200, "an operator does")
    old, world.tokens["bob"] = world.tokens["bob"], answer.json()["token"]
    tap.ok(wait(lambda: http.get("/agents/bob", token=old).status == 401), "without overlap at once")
    tap.equal(http.get("/agents/bob", token=world.tokens["bob"]).status, 200, "for the new one")
    tap.equal(
        http.post("/tokens/rotate", {"principal": "nobody"}, token=root).status, 404,
        "for somebody who is there",
    )


def revocation(world, http):
    token = world.token("carol")
    [mine] = [t for t in http.get("/tokens", token=token).json()["tokens"] if t["current"]]
    uri = f"/tokens/{mine['credentialId']}"
    one = http.send("DELETE", uri, token=world.tokens["alice"])
    other = http.send("DELETE", "/tokens/nonsense", token=world.tokens["alice"])
    tap.equal((one.status, one.json()["detail"]), (other.status, other.json()["detail"]),
              "another's token looks like none")
    with world.open() as session:
        session.connect(token)
        tap.equal(http.send("DELETE", uri, token=world.tokens["root"]).status, 200, "a token is revoked")
        begun = time.monotonic()
        tap.ok(wait(lambda: http.get("/agents/carol", token=token).status == 401), "over HTTP soon")
        tap.ok(time.monotonic() - begun < 10, "within seconds")
        try:
            reason = session.event("shutdown", 62)["reason"]
        except (TimeoutError, Ended) as error:
            reason = str(error)
        tap.equal(reason, "the token was revoked or has expired", "an open WebSocket ends")
        tap.ok(time.monotonic() - begun < 60, "within a minute")
    tap.equal(http.send("DELETE", uri, token=world.tokens["root"]).status, 404, "once")
    tap.equal(
        acts(world, "act = 'credential.revoke'"), "credential.revoke", "and once in the audit"
    )


# ---- tickets ----------------------------------------------------------------------------------


def refused(session):
    session.event("connect.challenge")
    try:
        session.connect(None)
    except Refused as refusal:
        return refusal.details["code"]
    return "accepted"


def ticket_of_nobody(world, http):
    """A responder remembers a token for some seconds; meanwhile its principal may have gone."""
    world.sql("select openclaw.agent_provision('gone', 'openclaw-gateway', 'openclaw-1')")
    token = world.token("gone")
    tap.equal(http.send("POST", "/ws-ticket", token=token).status, 200, "a ticket of one who is still there")
    world.sql("delete from openclaw.agent where agent_id = 'gone'; delete from openclaw.principal where principal_id = 'gone'")
    answer = http.send("POST", "/ws-ticket", token=token)
    tap.equal((answer.status, answer.json()["code"]), (401, "UNAUTHORIZED"), "there is none for a token that has gone")
    tap.ok("www-authenticate" in answer.headers, "and it says what is wanted")


def tickets(world, http):
    token = world.tokens["alice"]
    answer = http.send("POST", "/ws-ticket", token=token)
    body = answer.json()
    ticket = body["ticket"]
    tap.equal(answer.status, 200, "a ticket")
    tap.equal(answer.headers.get("cache-control"), "no-store", "which is not to be kept")
    tap.ok(ticket.startswith("oct_") and body["expiresInMs"] == HALF_MINUTE, "good for 30 s", body)
    tap.ok(
        ticket not in world.cluster.execute("copy openclaw.ticket to stdout", "gateway"),
        "stored as SHA-256",
    )
    with world.open(QUERY_STRING=f"x=1&ticket={ticket}") as session:
        tap.equal(session.connect(None)["type"], "hello-ok", "it opens a WebSocket")
        tap.equal(session.call("status")["principal"], "alice", "as whoever asked for it")
        with world.open(QUERY_STRING=f"ticket={ticket}") as second:
            tap.equal(refused(second), "AUTH_TOKEN_MISMATCH", "once")
            tap.equal(second.wait(5), 0, "and that connection ends")
            [line] = [l for l in second.log() if l["event"] == "auth.failed"]
            tap.equal(line["reason"], "bad ticket", "which the log says")
    ticket = http.send("POST", "/ws-ticket?scopes=send", token=token).json()["ticket"]
    with world.open(QUERY_STRING=f"ticket={ticket}") as session:
        tap.equal(session.call("ping") is not None, True, "no connect is needed")
        tap.equal(session.connect(None)["auth"]["scopes"], ["send"], "a ticket may do less")
    ticket = http.send("POST", "/ws-ticket?scopes=send", token=world.tokens["root"]).json()["ticket"]
    with world.open(QUERY_STRING=f"ticket={ticket}") as session:
        tap.equal(session.connect(None)["auth"]["scopes"], ["send"], "also an operator's")
    for body, status, granted in (
        ({"scopes": ["send"]}, 200, ["send"]), ({}, 200, None), ({"scopes": None}, 200, None),
        ({"scopes": ["operator"]}, 403, None), ({"scopes": ["all"]}, 400, None), ({"scopes": []}, 400, None),
        ({"scopes": "send"}, 400, None), ({"scope": ["send"]}, 400, None),
    ):  # fmt: skip
        answer = http.post("/ws-ticket", body, token=token)
        got = answer.json().get("scopes")
        tap.equal((answer.status, got if granted else None), (status, granted), f"a ticket for {body}")
    for uri, status in (("/ws-ticket?scopes=operator", 403), ("/ws-ticket?scopes=all", 400),
                        ("/ws-ticket?scopes=", 400)):
        tap.equal(http.send("POST", uri, token=token).status, status, f"{status} for {uri}")
    answer = http.send("POST", "/ws-ticket", headers={"Idempotency-Key": "k"}, token=token)
    tap.equal((answer.status, answer.json()["code"]), (400, "INVALID_REQUEST"), "no key makes a second one the first")
    tap.equal(http.send("POST", "/ws-ticket").status, 401, "none without a token")

    ticket = http.send("POST", "/ws-ticket", token=token).json()["ticket"]
    world.sql("update openclaw.ticket set expires_at = openclaw.now_ms() where redeemed_by is null")
    with world.open(QUERY_STRING=f"ticket={ticket}") as session:
        tap.equal(refused(session), "AUTH_TOKEN_MISMATCH", "an old ticket is none")
    with world.open(QUERY_STRING="ticket=" + "x" * 5000) as session:
        tap.equal(refused(session), "AUTH_TOKEN_MISMATCH", "nor is a huge one")
    with world.open(QUERY_STRING=f"ticket={token}") as session:
        tap.equal(refused(session), "AUTH_TOKEN_MISMATCH", "nor is a token")
    tap.equal(http.get("/agents", token=ticket).status, 401, "and a ticket is no token")

    fresh = world.token("alice")
    ticket = http.send("POST", "/ws-ticket", token=fresh).json()["ticket"]
    world.sql(
        "update openclaw.credential set revoked_at = openclaw.now_ms()"
        f" where token_sha256 = encode(sha256('{fresh}'), 'hex')"
    )
    with world.open(QUERY_STRING=f"ticket={ticket}") as session:
        tap.equal(refused(session), "AUTH_TOKEN_MISMATCH", "it ends with its token")

    world.sql("truncate openclaw.audit")
    http.send("POST", "/ws-ticket?scopes=send", token=token)
    row = json.loads(world.value("select json_build_array(principal_id, act, subject, detail) from openclaw.audit"))
    tap.equal(
        (row[:3], row[3]["scopes"]), (["alice", "ticket.add", "alice"], ["send"]), "who has made a ticket is on record"
    )
    statuses = [http.send("POST", "/ws-ticket", token=token).status for _ in range(101)]
    tap.ok(statuses.count(200) <= 100 and statuses[-1] == 429, "a token has 100 at a time", statuses)


# ---- the audit --------------------------------------------------------------------------------


def audit(world, http):
    root = world.tokens["root"]
    world.sql("truncate openclaw.audit")
    http.send("PATCH", "/agents/bob", b'{"name":"Bob"}', {"Content-Type": "application/json"}, token=root)
    http.post("/workflows/provision-agent", {"agentId": "dora"}, token=root)
    http.post("/workflows/provision-agent", {"agentId": "dora"}, token=root)
    http.post("/messages", {"id": "m1", "to": "bob", "content": "x"}, token=world.tokens["alice"])
    for verb in ("cancel", "cancel", "resume", "cancel", "restart?newId=n1", "restart?newId=n1"):
        answer = http.send("POST", f"/workflows/alice:m1/{verb}", token=root)
        tap.equal(answer.status, 200, f"{verb} is done")
    http.send("DELETE", "/workflows/alice:m1", token=root)
    with world.connect("root") as session:
        session.call("workflow.cancel", {"workflowUuid": "root:n1"})
    world.sql("update openclaw.setting set value = '7' where name = 'max_attempts'")
    world.sql("insert into openclaw.setting values ('max_attempts', '8') on conflict (name) do update set value = '9'")
    tap.equal(
        acts(world, "act not like 'setting%'"),
        "agent.set agent.provision workflow.cancel workflow.resume workflow.cancel workflow.restart"
        " workflow.delete workflow.cancel",
        "each act that changed something is one row",
    )
    tap.equal(
        world.value("select string_agg(distinct principal_id, ' ') from openclaw.audit where act not like 'setting%'"),
        "root", "by whoever did it",
    )
    rows = http.get("/audit?act=workflow&limit=3", token=root).json()
    tap.equal(
        [r["act"] for r in rows["audit"]], ["workflow.cancel", "workflow.delete", "workflow.restart"],
        "the newest first",
    )
    rows = http.get(f"/audit?act=workflow&limit=3&cursor={rows['nextCursor']}", token=root).json()
    tap.equal(
        [r["act"] for r in rows["audit"]], ["workflow.cancel", "workflow.resume", "workflow.cancel"],
        "page by page",
    )
    tap.equal(rows["audit"][0]["detail"]["changed"], 1, "with what it was")
    tap.equal(len(http.get("/audit?subject=dora", token=root).json()["audit"]), 1, "by its subject")
    tap.equal(len(http.get("/audit?principal=nobody", token=root).json()["audit"]), 0, "by its principal")
    tap.equal(len(http.get("/audit?until=1", token=root).json()["audit"]), 0, "by its time")
    tap.equal(http.get("/audit", token=world.tokens["alice"]).status, 403, "for operators")


def in_the_audit(world, count):
    """The newest acts, oldest first, as (who, act, whose inbox, the messages)."""
    rows = world.value(
        "select coalesce(json_agg(json_build_array(principal_id, act, subject, detail -> 'messages') order by audit_id), '[]')"
        " from openclaw.audit"
    )
    return json.loads(rows)[-count:]


def inboxes_of_others(world, http):
    """Who takes, settles or kills what is not its own is on record; whose own it is leaves none."""
    alice, bob, root = (world.tokens[name] for name in ("alice", "bob", "root"))

    def send(key):
        answer = http.post("/messages", {"id": key, "to": "bob", "content": key}, token=alice)
        tap.equal(answer.status, 200, f"{key} is sent")

    def post(verb, body, token):
        answer = http.post(f"/agents/bob/inbox/{verb}", body, token=token)
        tap.equal(answer.status, 200, f"{verb} is done")
        return answer.json()

    world.sql("truncate openclaw.audit")
    for key in ("own1", "own2"):
        send(key)
    own = [m["deliveryId"] for m in http.get("/agents/bob/inbox", token=bob).json()["messages"]]
    post("extend", {"deliveryIds": own, "leaseMs": 60_000}, bob)
    post("ack", {"deliveryIds": own[:1]}, bob)
    post("nack", {"deliveryId": own[1], "requeue": False}, bob)
    with world.connect("bob") as session:
        send("own3")
        session.call("inbox.subscribe", {"inbox": "bob"})
        session.call("inbox.ack", {"deliveryIds": [session.event("inbox.message")["deliveryId"]]})
    tap.equal(acts(world), "", "what an agent does with its own inbox is no act of anybody else")

    for key in ("other1", "other2"):
        send(key)
    taken = [m["deliveryId"] for m in http.get("/agents/bob/inbox", token=root).json()["messages"]]
    tap.equal(http.get("/agents/bob/inbox", token=root).json()["messages"], [], "an empty inbox is read")
    post("extend", {"deliveryIds": taken, "leaseMs": 60_000}, root)
    post("ack", {"deliveryIds": taken[:1]}, root)
    post("ack", {"deliveryIds": taken[:1]}, root)
    post("nack", {"deliveryId": taken[1], "requeue": False}, root)
    tap.equal(
        in_the_audit(world, 9),
        [
            ["root", "inbox.claim", "bob", ["other1", "other2"]],
            ["root", "inbox.extend", "bob", ["other1", "other2"]],
            ["root", "inbox.ack", "bob", ["other1"]],
            ["root", "inbox.nack", "bob", ["other2"]],
        ],
        "what an operator does with it is on record, and nothing that it only tried",
    )

    world.sql("truncate openclaw.audit")
    with world.connect("root") as session:
        send("pushed")
        session.call("inbox.subscribe", {"inbox": "bob"})
        pushed = session.event("inbox.message")["deliveryId"]
        session.call("inbox.extend", {"deliveryIds": [pushed], "leaseMs": 60_000})
        session.call("inbox.ack", {"deliveryIds": [pushed]})
        session.call("inbox.unsubscribe", {"inbox": "bob"})
        send("pulled")
        [pulled] = session.call("inbox.pull", {"inbox": "bob"})["messages"]
        session.call("inbox.nack", {"deliveryId": pulled["deliveryId"], "inbox": "bob", "requeue": False})
    tap.equal(
        in_the_audit(world, 9),
        [
            ["root", "inbox.subscribe", "bob", None],
            ["root", "inbox.claim", "bob", ["pushed"]],
            ["root", "inbox.extend", "bob", ["pushed"]],
            ["root", "inbox.ack", "bob", ["pushed"]],
            ["root", "inbox.claim", "bob", ["pulled"]],
            ["root", "inbox.nack", "bob", ["pulled"]],
        ],
        "also over WebSocket",
    )


def who_is_seen(world):
    """Over WebSocket, too, nobody learns of whom it has no business with."""
    world.sql("update openclaw.agent set allow_from = '{bob}' where agent_id = 'carol'")

    def seen(session):
        return (
            sorted(a["id"] for a in session.call("agents.list")["agents"]),
            sorted(s["agentId"] for s in session.call("sessions.list")["sessions"]),
            sorted({p["user"]["id"] for p in session.call("system-presence") if p["reason"] == "online"}),
        )

    world.sql("delete from openclaw.principal where principal_id = 'dora'")

    def of(ids, *more):
        return ids, ids, ids + list(more)

    with world.connect("root") as root, world.connect("carol"), world.connect("bob") as bob, \
            world.connect("alice") as alice:
        tap.equal(seen(root), of(["alice", "bob", "carol"], "root"), "an operator sees everybody")
        tap.equal(seen(bob), of(["alice", "bob", "carol"]), "an agent sees the agents that it may write to")
        tap.equal(seen(alice), of(["alice", "bob"]), "and not those who take nothing from it")
        shown = json.dumps([alice.hello, alice.call("system-presence"), alice.call("status")])
        host = world.value("select max(host) from openclaw.executor where kind = 'session'")
        tap.ok(host not in shown and "carol" not in shown and "root" not in shown, "nor on which host", shown)
        tap.ok(host in json.dumps(root.call("system-presence")), "which an operator does")
        with world.connect("alice", scopes=["inbox"]) as narrow:
            tap.equal(seen(narrow), of(["alice"]), "who may not write sees itself")
    world.sql("update openclaw.agent set allow_from = null where agent_id = 'carol'")


def main():
    with World() as world:
        with Responder(world.cluster, {"RUNTIME_DIR": world.runtime}) as http:
            rotation(world, http)
            narrow(world, http)
            no_more_than_before(world, http)
            last_use(world, http)
            at_its_end(world, http)
            of_others(world, http)
            ticket_of_nobody(world, http)
            tickets(world, http)
            audit(world, http)
            inboxes_of_others(world, http)
            who_is_seen(world)
            revocation(world, http)
            tap.equal(http.events("http.failure"), [], "nothing was our own failure")
            for token in world.tokens.values():
                tap.ok(token not in http.log(), "no token is in the log")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

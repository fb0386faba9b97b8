#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The handshake: challenge, connect at protocols 3 and 4, every way to present a credential, and
every refusal, in the words of OpenClaw's clients."""

import base64
import sys
import time

from sessions import Ended, Refused, World
from tap import Tap

CLIENT = {"id": "test", "version": "1", "platform": "linux", "mode": "test"}


def refused(tap, session, name, code, detail=None, message=None, **params):
    try:
        session.connect(params.pop("token", None), **params)
        tap.ok(False, name, "it was accepted")
    except Refused as refusal:
        got = (refusal.code, (refusal.details or {}).get("code"))
        tap.equal(got, (code, detail), name)
        if message:
            tap.equal(refusal.error["message"], message, f"{name}: its message")
    tap.equal(session.wait(5), 0, f"{name}: and the connection ends")
    session.close()


def check_challenge(tap, world):
    with world.open(DATABASE_URL="postgresql:///nowhere?host=/nonexistent") as session:
        frame = session.take(lambda f: True)
        tap.equal(frame.get("event"), "connect.challenge", "the first frame is the challenge")
        tap.ok(frame["payload"]["nonce"], "it has a nonce")
        tap.ok(isinstance(frame["payload"]["ts"], int), "its ts is an integer")
        tap.ok("seq" not in frame, "it is not counted")
    with world.open(HANDSHAKE_TIMEOUT_MS=300) as session:
        begun = time.monotonic()
        reason = session.event("shutdown")["reason"]
        tap.ok(0.2 < time.monotonic() - begun < 15, "who does not authenticate in time is told")
        tap.equal(reason, "nobody authenticated in time", "why")
        tap.equal(session.wait(), 0, "and the connection ends")
    tap.equal(
        world.value("select count(*) from openclaw.executor"), "0", "without any database work"
    )


def check_hello(tap, world):
    with world.connect("alice") as alice:
        hello = alice.hello
        tap.equal((hello["type"], hello["protocol"]), ("hello-ok", 4), "connect is answered")
        tap.equal(set(hello["server"]), {"version", "connId"}, "protocol 4: the server's fields")
        tap.equal(hello["auth"]["scopes"], ["send", "inbox", "workflows:read"], "its scopes")
        tap.equal(hello["policy"]["maxPayload"], 1048576, "the policy: maxPayload")
        tap.equal(hello["policy"]["tickIntervalMs"], 30000, "the policy: tickIntervalMs")
        tap.equal(hello["features"]["capabilities"], ["durable-inbox-v1"], "the capability")
        tap.ok("inbox.subscribe" in hello["features"]["methods"], "the methods")
        tap.ok("inbox.message" in hello["features"]["events"], "the events")
        users = [entry["user"]["id"] for entry in hello["snapshot"]["presence"]]
        tap.equal(users, ["alice"], "the snapshot knows who is here")
        tap.equal(
            world.value(
                "select principal_id || ' ' || (client->>'platform') from openclaw.executor"
                f" where executor_id = '{hello['server']['connId']}'"
            ),
            "alice linux",
            "presence is a row",
        )
        try:
            alice.connect(world.tokens["alice"])
            tap.ok(False, "a second connect is refused")
        except Refused as refusal:
            tap.equal(refusal.code, "INVALID_REQUEST", "a second connect is refused")
        tap.ok(alice.call("ping"), "and does no harm")
    with world.connect("alice", minProtocol=1, maxProtocol=3) as alice:
        tap.equal(alice.hello["protocol"], 3, "protocol 3")
        tap.equal(alice.hello["server"]["id"], "openclaw-gateway-dbos", "it names the server")
    with world.connect("alice", minProtocol=4, maxProtocol=9) as alice:
        tap.equal(alice.hello["protocol"], 4, "a newer client gets protocol 4")
    with world.open() as session:
        hello = session.connect(None, auth={"password": world.tokens["alice"]})
        tap.equal(hello["type"], "hello-ok", "a token may stand as password")
    with world.connect("alice", {"TICK_INTERVAL_MS": 100}) as alice:
        tap.ok(alice.event("tick")["ts"] and alice.event("tick")["ts"], "ticks come")


def check_refusals(tap, world):
    alice = world.tokens["alice"]
    refused(tap, world.open(), "no token", "INVALID_REQUEST", "AUTH_TOKEN_MISSING")
    wrong = alice[:-1] + ("A" if alice[-1] != "A" else "B")
    refused(
        tap, world.open(), "a wrong token", "INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", token=wrong
    )
    refused(
        tap,
        world.open(),
        "a huge token",
        "INVALID_REQUEST",
        "AUTH_TOKEN_MISMATCH",
        token="x" * 4000,
    )
    for text in ("'; drop table openclaw.agent; --", "\x01\x02", "ünïcode"):
        refused(
            tap,
            world.open(),
            f"token {text!r}",
            "INVALID_REQUEST",
            "AUTH_TOKEN_MISMATCH",
            token=text,
        )
    refused(
        tap,
        world.open(),
        "protocol 5",
        "INVALID_REQUEST",
        "PROTOCOL_MISMATCH",
        token=alice,
        minProtocol=5,
        maxProtocol=6,
    )
    refused(tap, world.open(), "no client", "INVALID_REQUEST", token=alice, client={"id": "x"})
    refused(
        tap,
        world.open(),
        "a scope that alice has not",
        "FORBIDDEN",
        "AUTH_SCOPE_MISMATCH",
        token=alice,
        scopes=["send", "operator"],
    )
    with world.open() as session:
        identity = session.request("health")
        try:
            session.answer(identity)
            tap.ok(False, "the first request must be connect")
        except Refused as refusal:
            tap.equal(
                refusal.error["message"],
                "invalid handshake: first request must be connect",
                "the first request must be connect",
            )
        tap.equal(session.wait(5), 0, "and the connection ends")
        log = [line["event"] for line in session.log()]
        tap.ok("session.close" in log, "the log says so")
    session = world.open(REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.7")
    refused(tap, session, "logged", "INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", token=wrong)


def check_log(tap, world):
    wrong = "ocg_" + "A" * 43
    with world.open(REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.7") as session:
        try:
            session.connect(wrong)
        except Refused:
            pass
        session.wait(5)
        lines = [line for line in session.log() if line["event"] == "auth.failed"]
        tap.equal(len(lines), 1, "a refusal is one line in the log")
        tap.equal(lines[0]["remote"], "192.0.2.7", "with the address that the proxy saw")
        tap.ok(wrong not in str(session.log()), "and without the token")
    for forwarded, remote in (
        ("6.6.6.6, 192.0.2.7, 10.0.0.5", "192.0.2.7"), ("6.6.6.6, 192.0.2.7,10.0.0.5, fd00::5 ", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"), ("10.0.0.5", "10.0.0.5"), ("6.6.6.6, 10.0.0.50", "10.0.0.50"),
        (" , ", "127.0.0.1"), ("", "127.0.0.1"), ("192.0.2.7", "192.0.2.7"),
    ):  # fmt: skip
        with world.open(
            REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR=forwarded, TRUSTED_PROXIES="10.0.0.5 fd00::5"
        ) as session:
            try:
                session.connect(wrong)
            except Refused:
                pass
            session.wait(5)
            said = {line["remote"] for line in session.log() if line["event"] == "auth.failed"}
            tap.equal(said, {remote}, f"behind a trusted proxy: {forwarded!r}")


def check_scopes(tap, world):
    with world.connect("alice", scopes=["send"]) as alice:
        tap.equal(alice.hello["auth"]["scopes"], ["send"], "a client may ask for less")
        try:
            alice.call("inbox.subscribe", {"inbox": "alice"})
            tap.ok(False, "and then has less")
        except Refused as refusal:
            tap.equal(refusal.code, "FORBIDDEN", "and then has less")
    with world.connect("alice", scopes=["operator.admin"]) as alice:
        tap.equal(
            alice.hello["auth"]["scopes"],
            ["send", "inbox", "workflows:read"],
            "operator.admin makes nobody an operator",
        )
    with world.connect("root") as root:
        tap.ok("operator" in root.hello["auth"]["scopes"], "an operator is one")
    with world.connect("root", scopes=["operator.read"]) as root:
        tap.equal(root.hello["auth"]["scopes"], ["inbox", "workflows:read"], "or may read only")


def check_headers(tap, world):
    token = world.tokens["alice"]
    with world.open(HTTP_AUTHORIZATION=f"Bearer {token}") as session:
        tap.ok(session.call("ping"), "Authorization: Bearer, and no connect")
        tap.equal(session.call("status")["principal"], "alice", "is alice")
        hello = session.connect(None)
        tap.equal(hello["type"], "hello-ok", "who may still say connect")
    with world.open(HTTP_AUTHORIZATION=f"Bearer {token}") as session:
        hello = session.connect(None)
        tap.equal(hello["type"], "hello-ok", "or say it first, without a token")
    with world.open(HTTP_AUTHORIZATION=f"Bearer {token}") as session:
        session.connect(world.tokens["bob"])
        tap.equal(session.call("status")["principal"], "bob", "a token in connect goes before it")
    with world.open(HTTP_AUTHORIZATION=f"Bearer {token}") as session:
        session.call("ping")
        try:
            session.connect(world.tokens["bob"])
            tap.ok(False, "one connection is one identity")
        except Refused as refusal:
            tap.equal(refusal.code, "INVALID_REQUEST", "one connection is one identity")
    coded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    with world.open(HTTP_SEC_WEBSOCKET_PROTOCOL=f"openclaw.v4, openclaw.bearer.{coded}") as session:
        tap.equal(session.call("status")["principal"], "alice", "a subprotocol carries a token")
    with world.open(HTTP_AUTHORIZATION="Bearer nonsense") as session:
        try:
            session.call("ping")
            tap.ok(False, "a wrong header is refused")
        except Refused as refusal:
            tap.equal(refusal.details["code"], "AUTH_TOKEN_MISMATCH", "a wrong header is refused")
    with world.open(QUERY_STRING=f"x=1&token={token}") as session:
        session.event("connect.challenge")
        identity = session.request("connect", {"minProtocol": 4, "maxProtocol": 4, "client": CLIENT})
        frame = session.take(lambda f: f["type"] == "res")
        tap.equal((frame["ok"], frame["id"]), (False, identity),
                  "a token in the URL is refused, under the id of the request")
        tap.equal(frame["error"]["details"]["code"], "AUTH_UNAUTHORIZED", "with its code")
        tap.equal(session.wait(5), 0, "and the connection ends")


def check_silence(tap, world):
    """A client that says nothing within the time for the handshake; its header has spoken."""
    bearer = {"HANDSHAKE_TIMEOUT_MS": 200, "TICK_INTERVAL_MS": 100}
    with world.open(HTTP_AUTHORIZATION=f"Bearer {world.tokens['alice']}", **bearer) as session:
        tap.ok(session.event("tick")["ts"], "who is known by its header stays, and hears ticks")
        tap.equal(session.call("status")["principal"], "alice", "and is who its header says")
        hello = session.connect(None)
        tap.equal(hello["type"], "hello-ok", "and may still say connect")
    with world.open(HTTP_AUTHORIZATION="Bearer nonsense", **bearer) as session:
        tap.equal(
            session.event("shutdown")["reason"],
            "unauthorized: the token is unknown, expired or revoked",
            "a wrong header is refused, though nothing was asked",
        )
        tap.equal(session.wait(5), 0, "and the connection ends")
        failed = [line["reason"] for line in session.log() if line["event"] == "auth.failed"]
        tap.equal(failed, ["bad token"], "which is logged, once")
    away = {
        "DATABASE_URL": "postgresql:///nowhere?host=/nonexistent",
        "HANDSHAKE_TIMEOUT_MS": 200,
        "DB_TIMEOUT_MS": 500,
    }
    with world.open(HTTP_AUTHORIZATION=f"Bearer {world.tokens['alice']}", **away) as session:
        tap.ok(session.event("shutdown", 30)["reason"], "without a database it ends, and says so")
        tap.equal(session.wait(5), 0, "with success")


def check_origin(tap, world):
    allowed = "https://ui.example https://b.example:8443"
    for origin, good in (
        ("https://ui.example", True),
        ("https://ui.example.evil.test", False),
        ("http://ui.example", False),
        ("null", False),
    ):
        with world.open(ALLOWED_ORIGINS=allowed, HTTP_ORIGIN=origin) as session:
            session.event("connect.challenge")
            if good:
                tap.ok(session.connect(world.tokens["alice"]), f"Origin {origin} may connect")
                continue
            identity = session.request("health")
            frame = session.take(lambda f: f["type"] == "res")
            tap.equal((frame["error"]["code"], frame["id"]), ("FORBIDDEN", identity),
                      f"Origin {origin} may not")
            refusals = [line for line in session.log() if line["event"].startswith("auth.")]
            tap.equal([line["reason"] for line in refusals], ["origin"], "it is logged, once")
            tap.equal(session.wait(5), 0, "and the connection ends")


    late = "browsers of this origin may not connect (ALLOWED_ORIGINS)"
    for header in ({}, {"HTTP_AUTHORIZATION": f"Bearer {world.tokens['alice']}"}):
        with world.open(HTTP_ORIGIN="http://evil.test", HANDSHAKE_TIMEOUT_MS=600000, **header) as session:
            reason = session.event("shutdown", 60)["reason"]
            tap.equal(reason, late, "who only listens is told, too, before the time for the handshake is up")
            tap.equal(session.wait(5), 0, "and the connection ends")
            refusals = [line["reason"] for line in session.log() if line["event"].startswith("auth.")]
            tap.equal(refusals, ["origin"], "which is logged, once")


def check_nobody(tap, world):
    with world.open(AUTH_MODE="none") as session:
        hello = session.connect(None)
        tap.ok("operator" in hello["auth"]["scopes"], "AUTH_MODE=none: everybody is the operator")


def check_revoked(tap, world):
    world.sql("insert into openclaw.principal values ('shortlived', 'program', array['send'])")
    token = world.tokens["shortlived"] = world.token("shortlived")
    with world.connect("shortlived") as session, world.connect("carol") as carol:
        carol.call("inbox.subscribe", {"inbox": "carol"})
        world.sql("update openclaw.principal set scopes = array['send'] where principal_id = 'carol'")
        tap.ok(session.call("ping"), "a token is good")
        world.sql(
            "update openclaw.credential set revoked_at = openclaw.now_ms()"
            " where principal_id = 'shortlived'"
        )
        begun = time.monotonic()
        try:
            reason = session.event("shutdown", 62)["reason"]
        except (TimeoutError, Ended) as error:
            reason = str(error)
        tap.equal(reason, "the token was revoked or has expired", "a revoked one ends the session")
        tap.ok(time.monotonic() - begun < 60, "within a minute")
        tap.equal(session.wait(5), 0, "which exits")
        try:
            reason = carol.event("shutdown", 62)["reason"]
        except (TimeoutError, Ended) as error:
            reason = str(error)
        tap.equal(reason, "a scope was taken away; connect again", "so does one who subscribes and may not any more")
        tap.ok(time.monotonic() - begun < 60, "within the same minute")
    refused(
        tap, world.open(), "and is refused", "INVALID_REQUEST", "AUTH_TOKEN_MISMATCH", token=token
    )


def main():
    tap = Tap()
    with World() as world:
        check_challenge(tap, world)
        check_hello(tap, world)
        check_refusals(tap, world)
        check_log(tap, world)
        check_scopes(tap, world)
        check_headers(tap, world)
        check_silence(tap, world)
        check_origin(tap, world)
        check_nobody(tap, world)
        check_revoked(tap, world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

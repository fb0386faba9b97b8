#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What every route has in common: addresses, methods, credentials, bodies, problems; and what a
web server may send that is no request at all."""

import gzip
import json
import struct
import sys

import fastcgi
from cluster import skip_without
from responder import Gateway, Responder
from tap import Tap

tap = Tap()


def problem(answer, status, code, name):
    """A problem of RFC 9457, whole, with this status and code."""
    try:
        body = answer.json()
    except ValueError:
        return tap.ok(False, name, f"{answer.status}: {answer.body!r}")
    good = (
        answer.status == status
        and body.get("code") == code
        and body.get("status") == status
        and isinstance(body.get("error"), str)
        and isinstance(body.get("title"), str)
        and body.get("type", "").endswith(code)
        and answer.headers.get("content-type") == "application/problem+json"
        and len(answer.headers.get("x-request-id", "")) > 0
    )
    return tap.ok(good, name, f"{answer.status} {answer.headers} {body}")


def information(http):
    answer = http.get("/")
    body = answer.json()
    tap.equal(answer.status, 200, "GET / answers")
    tap.equal(body["service"], "openclaw-gateway", "GET / names the service")
    tap.equal(body["endpoints"]["websocket"], "ws://127.0.0.1:18789", "the WebSocket's address")
    answer = http.get("/", headers={"Host": "evil\"}.example"})
    tap.equal(
        answer.json()["endpoints"]["websocket"],
        "ws://127.0.0.1:18789",
        "a Host that is none is not repeated",
    )
    answer = http.get("/", headers={"Host": "gw.example"})
    tap.equal(answer.json()["endpoints"]["websocket"], "ws://gw.example", "a Host is repeated")
    for value, scheme in (("on", "wss"), ("off", "ws"), ("", "ws")):
        answer = http.get("/", variables={"HTTPS": value})
        tap.equal(
            answer.json()["endpoints"]["websocket"].split(":")[0], scheme, f"HTTPS={value!r}: {scheme}"
        )
    answer = http.get("/health")
    body = answer.json()
    tap.equal(
        (answer.status, body["status"], body["service"], body["dbos"]),
        (200, "degraded", "openclaw-gateway", "connected"),  # no sweeper runs here
        "GET /health is healthy",
    )
    tap.ok(body["timestamp"].endswith("Z"), "and says when")
    tap.equal(http.get("/healthz").status, 200, "GET /healthz")
    tap.equal(http.get("/readyz").json(), {"status": "ready", "sweeper": "silent"}, "GET /readyz")
    tap.equal(answer.headers["cache-control"], "no-store", "answers are not stored")
    tap.equal(answer.headers["x-content-type-options"], "nosniff", "answers are not guessed at")
    answer = http.get("/healthz", headers={"X-Request-Id": "abc.1"})
    tap.equal(answer.headers["x-request-id"], "abc.1", "a request id comes back")


def methods(http, token):
    get, head = http.get("/healthz"), http.send("HEAD", "/healthz")
    tap.equal((head.status, head.body), (200, b""), "HEAD has no body")
    tap.equal(head.headers["content-length"], get.headers["content-length"], "and GET's length")
    answer = http.send("OPTIONS", "/messages")
    tap.equal((answer.status, answer.body), (204, b""), "OPTIONS")
    tap.equal(answer.headers["allow"], "POST, OPTIONS", "says what is allowed")
    tap.ok("access-control-allow-origin" not in answer.headers, "and nothing about other origins")
    tap.equal(http.send("OPTIONS", "*").status, 204, "OPTIONS *")
    answer = http.get("/messages", token=token)
    problem(answer, 405, "METHOD_NOT_ALLOWED", "a method that the address has not")
    tap.equal(answer.headers["allow"], "POST, OPTIONS", "405 says which it has")
    answer = http.send("DELETE", "/workflows", token=token)
    tap.equal(answer.headers["allow"], "GET, HEAD, OPTIONS", "HEAD comes with GET")
    for method in ("BREW", "get", ""):
        problem(http.send(method, "/"), 405, "METHOD_NOT_ALLOWED", f"method {method!r}")
    for path in ("/nothing", "/messages/", "//", "/health/x", "/a/b/c/d/e/f/g/h/i/j", "/./health"):
        problem(http.get(path, token=token), 404, "NOT_FOUND", f"no such address: {path}")
    problem(http.send("BREW", "/nothing"), 404, "NOT_FOUND", "404 comes before 405")


def cors(gateway):
    """Off by default (methods() has seen that); the listed origins only, compared whole."""
    mine, exposed = "https://console.example", "access-control-expose-headers"
    with Responder(gateway.cluster, {"CORS_ORIGINS": f"{mine} https://b.example:8443"}) as http:
        asked = {"Access-Control-Request-Method": "POST"}
        answer = http.send("OPTIONS", "/messages", headers={"Origin": mine, **asked})
        tap.equal(
            (answer.status, answer.headers.get("access-control-allow-origin"),
             answer.headers.get("access-control-allow-methods")),
            (204, mine, "POST, OPTIONS"), "a page of a listed origin asks first, and may",
        )
        tap.ok("Idempotency-Key" in answer.headers["access-control-allow-headers"], "with these headers")
        answer = http.get("/healthz", headers={"Origin": mine})
        tap.equal(
            (answer.headers.get("access-control-allow-origin"), "Location" in answer.headers.get(exposed, "")),
            (mine, True), "and reads the answer",
        )
        answer = http.get("/workflows", headers={"Origin": mine})
        tap.equal((answer.status, answer.headers.get("access-control-allow-origin")), (401, mine), "a refusal, too")
        tap.equal(answer.headers.get("vary"), "Origin", "which depends on the origin")
        for uri, headers in (("/agents/%zz", {}), ("/agents", {"Idempotency-Key": "x" * 100000})):
            answer = http.get(uri, headers={"Origin": mine, **headers})
            tap.equal(
                (answer.status, answer.headers.get("access-control-allow-origin")), (400, mine),
                f"and one that cannot be read: {uri}",
            )  # fmt: skip
        for origin in ("https://console.example.evil", "http://console.example", "null", "https://b.example",
                       f"{mine} https://b.example:8443", ""):
            answer = http.send("OPTIONS", "/messages", headers={"Origin": origin, **asked})
            allowed = [h for h in answer.headers if h.startswith("access-control")]
            tap.equal((answer.status, allowed), (204, []), f"another origin may not: {origin!r}")


def addresses(http, token):
    for uri in ("/workflows/%", "/workflows/%4", "/workflows/%zz", "/workflows/%00",
                "/workflows/a%0d%0aX:%20y", "/workflows?limit=1&limit=2", "/workflows?limit=%gg",
                "/workflows?nonsense=1", "/workflows?limit=abc", "/workflows?limit=0",
                "/workflows?limit=501", "/workflows?cursor=x", "/workflows?status=", "nothing"):
        problem(http.get(uri, token=token), 400, "INVALID_REQUEST", f"400 for {uri}")
    for uri in ("/workflows/%ff", "/workflows/%c0%af", "/workflows?name=%ed%a0%80"):
        problem(http.get(uri, token=token), 400, "INVALID_ENCODING", f"no UTF-8: {uri}")
    problem(http.get("/" + "a" * 9000), 400, "INVALID_REQUEST", "an address that is too long")
    problem(
        http.get("/health", headers={"Authorization": "x" * 100000}), 400, "INVALID_REQUEST",
        "a header of 100 kB",
    )


def credentials(gateway, http, alice):
    for name, headers in (
        ("none", {}),
        ("of another scheme", {"Authorization": "Basic YTpi"}),
        ("empty", {"Authorization": "Bearer "}),
        ("wrong", {"Authorization": "Bearer wrong"}),
        ("too long", {"Authorization": "Bearer " + "x" * 300}),
        ("not text", {"Authorization": "Bearer \udcff\udcfe"}),
    ):
        answer = http.get("/workflows", headers=headers)
        problem(answer, 401, "UNAUTHORIZED", f"credentials: {name}")
        tap.ok(answer.headers.get("www-authenticate", "").startswith("Bearer"), f"{name}: asks for Bearer")
    for spaces in (2, 20):
        answer = http.get("/workflows", headers={"Authorization": "bearer" + " " * spaces + alice})
        tap.equal(answer.status, 200, f"{spaces} spaces before the token")
    answer = http.get("/workflows", headers={"Authorization": "Bearer" + " " * 500})
    problem(answer, 401, "UNAUTHORIZED", "and nothing behind them")
    tap.ok(len(http.events("auth.failed")) >= 6, "each refusal is a line")
    tap.ok(
        all(e["remote"] == "127.0.0.1" for e in http.events("auth.failed")), "with the remote address"
    )
    tap.ok(alice not in http.log(), "no token is in the log")
    answer = http.post("/workflows/delayedGreeting", {"input": {}}, token=alice)
    problem(answer, 403, "FORBIDDEN", "a scope that the principal has not")
    tap.ok("workflows:write" in answer.json()["detail"], "403 names the scope")
    for i in range(30):
        http.get("/workflows", token="bad")
    tap.ok(len(http.events("auth.failed")) < 36, "a flood of refusals is cut in the log")

    gateway.execute(
        "update openclaw.credential set revoked_at = openclaw.now_ms() where principal_id = 'carol';"
    )
    problem(
        http.get("/workflows", token="token-of-carol"), 401, "UNAUTHORIZED", "a revoked credential"
    )


def bodies(http, alice):
    good = {"to": "bob", "content": "x"}
    answer = http.send("POST", "/messages", b"{}", {"Content-Type": "text/plain"}, token=alice)
    problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "a body that is no JSON")
    answer = http.send("POST", "/messages", b"{}", token=alice)
    problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "a body without a type")
    answer = http.send("POST", "/messages", gzip.compress(json.dumps(good).encode()),
                       {"Content-Type": "application/json", "Content-Encoding": "gzip"}, token=alice)  # fmt: skip
    problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "a body in another encoding")
    tap.equal(http.post("/messages", good, {"Content-Encoding": "identity"}, token=alice).status, 200, "or in none")
    for media in ("application/json; charset=utf-8", "application/vnd.x+json"):
        answer = http.post("/messages", good, {"Content-Type": media}, token=alice)
        tap.equal(answer.status, 200, f"a body of {media}")

    limit = 1048576
    answer = http.post("/messages", b" " * (limit + 1), token=alice)
    problem(answer, 413, "TOO_LARGE", "a body one byte over the limit")
    body = json.dumps({"to": "bob", "content": "x", "metadata": {"a": "y"}}).encode()
    body += b" " * (limit - len(body))
    tap.equal(http.post("/messages", body, token=alice).status, 200, "a body of the limit is taken")
    # what is delivered has to fit into a frame of the same limit, envelope and all
    filler = {"to": "bob", "content": "x" * (limit - 4096 - 2)}
    tap.equal(http.post("/messages", filler, token=alice).status, 200, "the longest content is taken")
    filler["content"] += "x"
    answer = http.post("/messages", filler, token=alice)
    problem(answer, 413, "TOO_LARGE", "a content one byte longer")

    def length(value, body=b"{}"):
        return http.post("/messages", body, token=alice, variables={"CONTENT_LENGTH": value})

    problem(length(None), 411, "LENGTH_REQUIRED", "no Content-Length")
    problem(length(""), 411, "LENGTH_REQUIRED", "an empty Content-Length")
    problem(
        http.post("/messages", b"{}", token=alice,
                  variables={"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}),
        411, "LENGTH_REQUIRED", "chunked, and nobody counted it",
    )
    for value in ("-1", "abc", "2 ", "0x2", "1,1"):
        problem(length(value), 400, "INVALID_REQUEST", f"Content-Length {value!r}")
    problem(length("1"), 400, "INVALID_REQUEST", "a body longer than Content-Length")
    problem(length("200"), 400, "INVALID_REQUEST", "a body shorter than Content-Length")
    problem(length("99999999999999999999"), 413, "TOO_LARGE", "Content-Length beyond all numbers")

    for name, body, code in (
        ("empty", b"", "INVALID_JSON"),
        ("cut", b'{"to":', "INVALID_JSON"),
        ("two values", b"{}{}", "INVALID_JSON"),
        ("a single word", b"nul", "INVALID_JSON"),
        ("deep", b"[" * 20000, "TOO_DEEP"),
        ("duplicate key", b'{"to":"a","to":"b","content":1}', "DUPLICATE_KEY"),
        ("huge number", b'{"to":"bob","content":1e400000}', "NUMBER_RANGE"),
        ("escaped NUL", b'{"to":"bob","content":"\\u0000"}', "INVALID_ENCODING"),
        ("raw NUL", b'{"to":"bob","content":"\x00"}', None),
        ("lone surrogate", b'{"to":"bob","content":"\\ud800"}', "INVALID_ENCODING"),
        ("invalid UTF-8", b'{"to":"bob","content":"\xff"}', "INVALID_ENCODING"),
        ("overlong", b'{"to":"bob","content":"\xc0\x80"}', "INVALID_ENCODING"),
        ("byte-order mark", b'\xef\xbb\xbf{"to":"bob","content":1}', None),
        ("an array", b"[]", "INVALID_REQUEST"),
        ("a string", b'"x"', "INVALID_REQUEST"),
        ("null", b"null", "INVALID_REQUEST"),
    ):
        answer = http.post("/messages", body, token=alice)
        problem(answer, 400, code or answer.json().get("code"), f"body: {name}")


def no_requests(http):
    """What is not FastCGI, or is not whole. The responder drops it and goes on."""

    def lost(data, name):
        try:
            answer = http.raw(data)
            tap.ok(False, name, f"answered {answer.status}")
        except (fastcgi.Lost, OSError):
            tap.ok(http.get("/healthz").status == 200, name)

    header = struct.Struct("!BBHHBx")
    lost(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP instead of FastCGI")
    lost(header.pack(9, 1, 1, 8, 0) + b"\0\1\0\0\0\0\0\0", "a version that there is not")
    lost(header.pack(1, 4, 1, 0, 0), "parameters without a beginning")
    lost(header.pack(1, 1, 1, 8, 0) + b"\0\7\0\0\0\0\0\0" + header.pack(1, 4, 1, 0, 0),
         "a role that there is not")
    begin = header.pack(1, 1, 1, 8, 0) + b"\0\1\0\0\0\0\0\0"
    pair = b"\xff\xff\xff\xff\xff\xff\xff\xff"
    lost(begin + header.pack(1, 4, 1, len(pair), 0) + pair + header.pack(1, 4, 1, 0, 0),
         "names and values of 2 GB each")
    with fastcgi.Connection(http.path) as connection:
        connection.begin()
        connection.socket.close()
    tap.equal(http.get("/healthz").status, 200, "a connection that ends after its beginning")
    connections = [fastcgi.Connection(http.path) for _ in range(10)]
    tap.equal(http.get("/healthz").status, 200, "ten connections that say nothing take ten threads")
    for connection in connections:
        connection.close()

    answer = http.raw(begin + header.pack(1, 4, 1, 0, 0) + header.pack(1, 5, 1, 0, 0))
    problem(answer, 400, "INVALID_REQUEST", "a request without a single variable")
    values = http.variables("POST", "/messages", b"xxxxx", {"Content-Type": "application/json"})
    values["HTTP_AUTHORIZATION"] = "Bearer token-of-alice"
    with fastcgi.Connection(http.path) as connection:
        connection.begin()
        connection.params(values)
        connection.stdin(b"xx")
        connection.socket.shutdown(1)
        answer = connection.answer()
    problem(answer, 400, "INVALID_REQUEST", "a web server that goes away within the body")


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice, bob = gateway.agent("alice"), gateway.agent("bob")
        gateway.agent("carol")
        with Responder(gateway.cluster, {"HTTP_THREADS": 16}) as http:
            information(http)
            methods(http, alice)
            addresses(http, alice)
            credentials(gateway, http, alice)
            bodies(http, alice)
            no_requests(http)
            tap.equal(http.events("http.failure"), [], "nothing was our own failure")
            tap.ok(bob not in http.log(), "no token is in the log")
            tap.equal(http.stop(), 0, "the end is in order")
        cors(gateway)
        with Responder(gateway.cluster, {"AUTH_MODE": "none"}) as http:
            tap.equal(http.get("/workflows").status, 200, "AUTH_MODE=none: everybody may")
            tap.equal(len(http.events("auth.none")), 1, "and the log says so")
            answer = http.post("/messages", {"from": "alice", "to": "bob", "content": 1})
            tap.equal(answer.status, 200, "and everybody is whom it says")
            sender = gateway.value("select max(sender) from openclaw.inbox where sender = 'alice'")
            tap.equal(sender, "alice", "also in the inbox")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The front server's own part: what it lets through and what not, to the responder and to websocketd;
what it says where they cannot be reached; bodies; TLS. First with the real gateway behind it, then with
two that tell what they got."""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

from backend import Responder, Upgrades
from cluster import free_tcp_port
from stack import TIMEOUT, Client, Stack, skip_without_stack, wait, websocket
from tap import Tap

MB = 1 << 20
BODY_LIMIT = 32 * MB  # of all three samples
FORGED = "6.6.6.6"
HOSTILE = [
    f"Proxy: http://{FORGED}/",
    f"Forwarded: for={FORGED}",
    f"X-Forwarded-For: {FORGED}",
    f"X_Forwarded_For: {FORGED}",
    f"X-Forwarded_For: {FORGED}",
    f"X_Forwarded-For: {FORGED}",
    # with a dash these are the gateway's own
    *(
        f"{name}: {FORGED}"
        for name in ("Idempotency_Key", "If_Match", "If_None_Match", "If_None-Match", "If-None_Match", "X_Request_Id")
        + ("X-Request_Id", "X_Request-Id", "Sec_WebSocket_Protocol", "Sec-WebSocket_Protocol", "Sec_WebSocket-Protocol")
    ),
]


class Raw:
    """One connection on which anything may be said."""

    def __init__(self, stack):
        host, port = stack.url.removeprefix("http://").split(":")
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT * 4)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False where the other side has closed."""
        try:
            self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def answer(self):
        """(status, headers, body) of a connection that ends with it, or of one that says its length."""
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            headers = {}
            for line in head.decode("latin-1").split("\r\n")[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if end and len(body) >= int(headers.get("content-length", 1 << 40)):
                break
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            if not part:
                break
            data += part
        return (int(head.split()[1]) if end else 0), headers, body


def ask(stack, *lines, body=b""):
    with Raw(stack) as raw:
        raw.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        return raw.answer()


def upgrade(stack, *lines):
    with Raw(stack) as raw:
        raw.send(
            "\r\n".join(
                [
                    "GET /?ticket=abc HTTP/1.1",
                    f"Host: {raw.host}",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Version: 13",
                    *lines,
                    "",
                    "",
                ]
            )
        )
        return raw.answer()


def check_problem(tap, answer, statuses, what, retry=False):
    status, headers, body = answer
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    tap.ok(
        status in statuses
        and headers.get("content-type") == "application/problem+json"
        and problem.get("status") == status
        and problem.get("code")
        and (not retry or int(headers.get("retry-after", 0)) > 0),
        f"{what}: a problem document ({status} {problem.get('code')})",
        (status, headers, body[:500]),
    )


# ---- with the real gateway behind it --------------------------------------------------------------


def check_browsers_tls(tap, stack, port, certificate):
    """A browser asks for HTTP/2 first. Where it gets it, and RFC 8441's setting with it, it opens WebSockets
    inside that connection, which none of the fronts hands on to websocketd."""
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    with context.wrap_socket(raw, server_hostname="localhost") as secure:
        chosen = secure.selected_alpn_protocol()
        tap.ok(chosen in (None, "http/1.1"), f"TLS: a browser speaks HTTP/1.1 (ALPN {chosen})")
        secure.sendall(
            "\r\n".join(
                [
                    f"GET / HTTP/1.1\r\nHost: localhost:{port}",
                    "Upgrade: websocket\r\nConnection: Upgrade",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13",
                    f"Authorization: Bearer {stack.tokens['alice']}\r\n\r\n",
                ]
            ).encode()
        )
        answer = b""
        while b"\r\n" not in answer and (part := secure.recv(1 << 16)):
            answer += part
        tap.ok(answer.startswith(b"HTTP/1.1 101"), "TLS: and its WebSocket opens", answer[:300])


def check_tls(tap, stack, port, certificate):
    context = ssl.create_default_context(cafile=certificate)
    raw = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    with context.wrap_socket(raw, server_hostname="localhost") as secure:
        secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while part := secure.recv(1 << 16):
            data += part
        tap.ok(data.startswith(b"HTTP/1.1 200"), "TLS: HTTP is answered", data[:300])
        tap.ok(b"strict-transport-security:" in data.lower(), "TLS: and says that it is to stay so")
        tap.ok(secure.version() in ("TLSv1.2", "TLSv1.3"), f"TLS: {secure.version()}")
    with urllib.request.urlopen(
        f"https://localhost:{port}/", timeout=TIMEOUT, context=context
    ) as answer:
        endpoint = json.load(answer)["endpoints"]["websocket"]
    tap.equal(endpoint, f"wss://localhost:{port}", "TLS: the WebSocket's address says so too")
    secure = websocket.create_connection(
        f"wss://localhost:{port}/",
        sslopt={"ca_certs": certificate},
        header=[f"Authorization: Bearer {stack.tokens['alice']}"],
        suppress_origin=True,
        timeout=TIMEOUT,
    )
    with Client(secure, stack.tokens["alice"]) as client:
        tap.equal(client.hello["protocol"], 4, "TLS: a WebSocket is taken")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as plain:
            old.wrap_socket(plain).close()
        refused = False
    except (ssl.SSLError, ConnectionResetError):
        refused = True
    tap.ok(refused, "TLS: nothing older than 1.2")


def check_too_large(tap, stack):
    """More than the gateway takes and less than the front does: the gateway's own answer."""
    body = b'{"to":"bob","content":"' + b"x" * 8 * MB + b'"}'
    headers = {"Content-Type": "application/json"}
    status, answer, _ = stack.http("POST", "/messages", body, stack.tokens["alice"], headers)
    tap.equal((status, answer.get("code")), (413, "TOO_LARGE"), "8 MB: the gateway refuses it")
    tap.ok("web server" not in answer.get("error", ""), "and says so itself", answer)


def check_whole(tap, stack):
    """No front cuts an answer into ranges: what is left out of an inbox's page would not come again."""
    status, _, body = ask(stack, "GET /healthz HTTP/1.1", "Host: x", "Range: bytes=0-1")
    tap.ok(status == 200 and len(body) > 2, "a range is not looked at", (status, body))


def check_not_modified(tap, stack):
    """An answer without a body is one, and keeps its ETag."""
    lines = [
        "GET /agents/bob HTTP/1.1",
        f"Host: {stack.url.removeprefix('http://')}",
        f"Authorization: Bearer {stack.tokens['bob']}",
    ]
    status, headers, _ = ask(stack, *lines)
    tag = headers.get("etag", "")
    tap.ok(status == 200 and tag, "an agent has an ETag", (status, headers))
    status, headers, body = ask(stack, *lines, f"If-None-Match: {tag}")
    tap.equal((status, headers.get("etag"), body), (304, tag, b""), "who has it is told so")


def check_own_answers(tap, stack):
    host = f"Host: {stack.url.removeprefix('http://')}"
    check_problem(
        tap,
        ask(stack, "GET / HTTP/1.1", host, "X-Long: " + "x" * 20000),
        (400, 431),
        "a header of 20 kB",
    )
    check_problem(
        tap,
        ask(stack, "GET /" + "x" * 20000 + " HTTP/1.1", host),
        (400, 414, 431),
        "a long address",
    )
    check_problem(tap, ask(stack, "GET / HTTP/1.1"), (400,), "no Host")
    check_problem(tap, ask(stack, "GET / HTTP/1.1", "Host: a b"), (400,), "a Host that is none")
    check_problem(
        tap,
        ask(stack, "GET /.problem/502.html HTTP/1.1", host),
        (404,),
        "nobody reads the error documents",
    )
    # the front ends it where it will not read the body to its end
    with Raw(stack) as raw:
        raw.send(f"POST /messages HTTP/1.1\r\n{host}\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n")
        check_problem(tap, raw.answer(), (413,), f"a body of {BODY_LIMIT // MB} MiB and a byte")
    status, _, _ = ask(stack, "GET /healthz HTTP/1.1", host)
    tap.equal(status, 200, "and afterwards all is as it was")


# ---- with two that tell what they got -------------------------------------------------------------


def check_responder(tap, stack, responder):
    status, _, _ = ask(
        stack,
        "POST /workflows/a%3Ab?x=1%202 HTTP/1.1",
        "Host: gateway.example",
        "Authorization: Bearer secret",
        "Idempotency-Key: k1",
        "Content-Type: application/json",
        "Content-Length: 2",
        *HOSTILE,
        body=b"{}",
    )
    tap.equal(status, 200, "a request reaches the responder")
    request = responder.requests[-1]
    got = request.variables
    expected = {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "x=1%202",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "gateway.example",
        "HTTP_AUTHORIZATION": "Bearer secret",
        "HTTP_IDEMPOTENCY_KEY": "k1",
    }
    tap.equal({name: got.get(name) for name in expected}, expected, "with what it needs")
    tap.ok(
        got["REQUEST_URI"] in ("/workflows/a%3Ab?x=1%202", "/workflows/a:b?x=1%202"),
        "and the address",
        got["REQUEST_URI"],
    )
    tap.equal(request.body, b"{}", "and the body")
    tap.ok(
        not got.get("HTTP_PROXY"), "no HTTP_PROXY, whatever the client says", got.get("HTTP_PROXY")
    )
    tap.equal(
        [name for name, value in got.items() if FORGED in value], [], "nor who it says that it is"
    )


def check_bodies(tap, stack, responder):
    """Nothing of a request goes on before all of it is there."""
    before = responder.connections
    with Raw(stack) as raw:
        raw.send(
            "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n"
        )
        raw.send(b"x" * 200000)
        time.sleep(1.0)  # it must not come: nothing tells when it does not
        tap.equal(responder.connections, before, "half a body waits in the front server")
        raw.send(b"x" * 100000)
        tap.equal(raw.answer()[0], 200, "a whole one goes on")
    tap.equal(len(responder.requests[-1].body), 300000, "with all of it")
    with Raw(stack) as raw:
        raw.send(
            "POST /messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        raw.send(b"7530\r\n" + b"y" * 30000 + b"\r\n" + b"3\r\nzzz\r\n0\r\n\r\n")
        answer = raw.answer()
    if stack.front == "apache":  # has no limit for these
        check_problem(tap, answer, (411,), "one in chunks is refused")
        return
    status = answer[0]
    got = responder.requests[-1]
    tap.ok(
        (status, len(got.body), got.variables.get("CONTENT_LENGTH")) == (200, 30003, "30003"),
        "one in chunks goes on with its length",
        (status, len(got.body), got.variables.get("CONTENT_LENGTH")),
    )


def check_hopeless(tap, stack):
    """No better later: nothing tells the client to come again."""
    head = "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    for body, status, name in (
        (b"zz\r\nhello\r\n0\r\n\r\n", 400, "chunks that are none"),
        (b"3000000\r\n", 413, "too much in chunks"),
    ):
        with Raw(stack) as raw:
            raw.send(head + "\r\nConnection: close\r\n\r\n")
            raw.send(body)
            got, headers, _ = raw.answer()
        tap.equal((got, headers.get("retry-after")), (status, None), name)


def check_answers(tap, stack, responder):
    """What the responder says goes on as it is, problems too."""
    own = b'{"type":"urn:x","status":503,"code":"UNAVAILABLE"}'
    responder.answer = (
        b"Status: 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        b"Retry-After: 7\r\nX-Request-Id: r1\r\n\r\n" + own
    )
    status, headers, body = ask(stack, "GET /messages HTTP/1.1", "Host: x")
    tap.equal(
        (
            status,
            headers.get("retry-after"),
            headers.get("x-request-id"),
            body.strip(b"\r\n0123456789abcdef"),
        ),
        (503, "7", "r1", own.strip(b"\r\n0123456789abcdef")),
        "the responder's own problem is passed on",
    )
    responder.answer = b""
    check_problem(
        tap, ask(stack, "GET /x HTTP/1.1", "Host: x"), (500, 502, 503), "a responder that hangs up"
    )


def check_upgrade(tap, stack, upgrades):
    status, _, _ = upgrade(
        stack, "Origin: https://app.example", "Authorization: Bearer secret", *HOSTILE
    )
    tap.equal(status, 429, "websocketd's refusal is passed on")
    head = upgrades.heads[-1]
    lines = head.split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            fields.setdefault(name.lower().replace("_", "-"), []).append(value.strip())
    tap.equal(lines[0], "GET /?ticket=abc HTTP/1.1", "an upgrade reaches websocketd with its query")
    tap.equal(
        (fields.get("origin"), fields.get("authorization"), [v.lower() for v in fields["upgrade"]]),
        (["https://app.example"], ["Bearer secret"], ["websocket"]),
        "with what it needs",
    )
    tap.equal(
        fields.get("x-forwarded-for"), ["127.0.0.1"], "and who the client is, from the front only"
    )
    tap.ok(not any(fields.get("proxy", [])), "no Proxy", head)
    tap.ok(FORGED not in head, "nothing that the client says of itself", head)


def check_unreachable(tap, stack):
    for path in ("/messages", "/healthz"):
        check_problem(
            tap,
            ask(stack, f"GET {path} HTTP/1.1", "Host: x"),
            (502, 503),
            f"no responder, {path}",
            True,
        )
    check_problem(tap, upgrade(stack), (502, 503), "no websocketd", True)


def make_certificate(directory):
    certificate, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ]
        + ["-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )
    os.chmod(directory, 0o755)
    os.chmod(key, 0o644)  # of a throw-away certificate: the service user reads it
    return certificate, key


def main():
    skip_without_stack("openssl")
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="ocgf-") as directory:
        certificate, key = make_certificate(directory)
        port = free_tcp_port()
        tls = {"TLS_PORT": str(port), "TLS_CERTIFICATE": certificate, "TLS_KEY": key}
        with Stack(environment=tls) as stack:
            check_tls(tap, stack, port, certificate)
            check_browsers_tls(tap, stack, port, certificate)
            check_too_large(tap, stack)
            check_whole(tap, stack)
            check_not_modified(tap, stack)
            check_own_answers(tap, stack)
            for service in ("keeper", "http", "websocketd"):
                stack.stop_service(service)
            check_unreachable(tap, stack)
            run = os.path.join(stack.directory, "runtime")
            run = os.readlink(run) if os.path.islink(run) else os.path.join(stack.directory, "run")
            with Responder(os.path.join(run, "gateway", "http.sock")) as responder:
                wait(
                    lambda: ask(stack, "GET / HTTP/1.1", "Host: x")[0] == 200,
                    "the stand-in answers",
                )
                check_responder(tap, stack, responder)
                check_bodies(tap, stack, responder)
                if stack.front == "lighttpd":  # the one that adds the header by itself, and not by the status
                    check_hopeless(tap, stack)
                check_answers(tap, stack, responder)
            with Upgrades(stack.websocketd_port) as upgrades:
                wait(lambda: upgrade(stack)[0] == 429, "the stand-in for websocketd answers")
                check_upgrade(tap, stack, upgrades)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

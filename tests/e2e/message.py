#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A message goes from alice to bob, over WebSocket and over HTTP, through the whole real stack."""

import base64
import sys
import uuid

from stack import Client, Refused, Stack, skip_without_stack, wait, websocket
from tap import Tap

SETTLED = ("SUCCESS", "ERROR", "CANCELLED")
STEPS = ["validateMessage", "storeMessage", "routeMessage"]


def workflow(stack, identity, name="alice"):
    return stack.http("GET", f"/workflows/{identity}", token=stack.tokens[name])


def wait_settled(stack, identity):
    return wait(
        lambda: next(
            (body for status, body, _ in [workflow(stack, identity)] if body["status"] in SETTLED),
            None,
        ),
        f"the workflow {identity} ends",
    )


def check_carried(tap, stack, identity, message_id, how):
    """What the workflow and its rows say of a message that was acknowledged."""
    body = wait_settled(stack, identity)
    tap.equal(body["status"], "SUCCESS", f"{how}: its workflow succeeded")
    tap.equal(body["name"], "routeAgentMessage", f"{how}: the workflow's name")
    output = body["output"]
    tap.equal(
        (output["messageId"], output["status"], output["deliveryAttempts"]),
        (message_id, "acknowledged", 1),
        f"{how}: the workflow's result",
    )
    rows = stack.rows(
        "select function_id, function_name, output, started_at_epoch_ms, completed_at_epoch_ms"
        f" from dbos_system.operation_outputs where workflow_uuid = '{identity}' order by function_id"
    )
    tap.equal([row["function_name"] for row in rows], STEPS, f"{how}: its steps in PostgreSQL")
    tap.equal([row["function_id"] for row in rows], ["0", "1", "2"], f"{how}: numbered from 0")
    tap.ok(
        all(int(r["started_at_epoch_ms"]) <= int(r["completed_at_epoch_ms"]) for r in rows),
        f"{how}: each with its start and completion",
        rows,
    )
    status, steps, _ = stack.http(
        "GET", f"/workflows/{identity}/steps", token=stack.tokens["alice"]
    )
    tap.equal(status, 200, f"{how}: GET /workflows/:id/steps")
    steps = steps if isinstance(steps, list) else steps["steps"]
    tap.equal(len(steps), len(STEPS), f"{how}: and it lists them")


def receive_and_acknowledge(tap, bob, content, how):
    message = bob.event("inbox.message")
    tap.equal(
        (message["from"], message["to"], message["content"], message["attempt"]),
        ("alice", "bob", content, 1),
        f"{how}: bob receives it",
    )
    tap.equal(message["redelivered"], False, f"{how}: for the first time")
    answer = bob.request("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
    tap.equal(answer["acked"], [message["deliveryId"]], f"{how}: and acknowledges")
    again = bob.request("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
    tap.equal(again["already"], [message["deliveryId"]], f"{how}: twice does no harm")
    return message


def check_websocket(tap, stack, bob):
    with stack.connect("alice") as alice:
        sent = alice.request(
            "agent.send",
            {"sessionKey": "agent:bob:main", "message": "over WebSocket", "idempotencyKey": "ws-1"},
        )
        tap.equal(sent["duplicate"], False, "WebSocket: agent.send is answered")
        message = receive_and_acknowledge(tap, bob, "over WebSocket", "WebSocket")
        tap.equal(message["messageId"], sent["message_id"], "WebSocket: under the same id")
        check_carried(tap, stack, sent["workflowUuid"], sent["message_id"], "WebSocket")
        repeated = alice.request(
            "agent.send",
            {"sessionKey": "agent:bob:main", "message": "over WebSocket", "idempotencyKey": "ws-1"},
        )
        tap.equal(
            (repeated["duplicate"], repeated["message_id"]),
            (True, sent["message_id"]),
            "WebSocket: the same key is the same message",
        )
        try:
            alice.request("no.such.method")
            tap.ok(False, "an unknown method is refused")
        except Refused as refusal:
            tap.equal(
                (refusal.code, refusal.error["message"]),
                ("INVALID_REQUEST", "unknown method: no.such.method"),
                "an unknown method is refused",
            )


def check_http(tap, stack, bob):
    key = str(uuid.uuid4())
    body = {"to": "bob", "content": "over HTTP"}
    status, answer, _ = stack.http(
        "POST", "/messages", body, stack.tokens["alice"], {"Idempotency-Key": key}
    )
    tap.equal((status, answer["success"]), (200, True), "HTTP: POST /messages is accepted")
    message = receive_and_acknowledge(tap, bob, "over HTTP", "HTTP")
    tap.equal(message["messageId"], answer["result"]["messageId"], "HTTP: under the same id")
    check_carried(tap, stack, answer["workflowUuid"], message["messageId"], "HTTP")
    status, again, _ = stack.http(
        "POST", "/messages", body, stack.tokens["alice"], {"Idempotency-Key": key}
    )
    tap.equal(
        (status, again["workflowUuid"]),
        (200, answer["workflowUuid"]),
        "HTTP: the same key is the same workflow",
    )


def check_waiting(tap, stack, bob):
    """Prefer: wait holds the answer until bob has acknowledged."""
    import threading

    box = {}

    def send():
        box["answer"] = stack.http(
            "POST",
            "/messages",
            {"to": "bob", "content": "waiting"},
            stack.tokens["alice"],
            {"Prefer": "wait=10"},
        )

    thread = threading.Thread(target=send)
    thread.start()
    message = bob.event("inbox.message")
    bob.request("inbox.ack", {"deliveryIds": [message["deliveryId"]], "result": {"text": "yes"}})
    thread.join()
    status, answer, _ = box["answer"]
    tap.equal(
        (status, answer["result"]["status"]),
        (200, "acknowledged"),
        "Prefer: wait is answered once acknowledged",
    )


def check_access(tap, stack):
    status, _, _ = stack.http("POST", "/messages", {"to": "bob", "content": "x"})
    tap.equal(status, 401, "without a token nothing is taken")
    status, body, _ = stack.http(
        "POST", "/messages", {"to": "nobody-there", "content": "x"}, stack.tokens["alice"]
    )
    tap.equal((status, body["code"]), (404, "UNKNOWN_RECIPIENT"), "an unknown recipient is refused")
    for path in ("/healthz", "/readyz", "/health", "/"):
        tap.equal(stack.http("GET", path)[0], 200, f"GET {path}")


def check_front(tap, stack):
    """What the web server says by itself has the same shape; a browser's subprotocol is answered."""
    # nginx knows no methods: the gateway refuses this one
    no_method = 405 if stack.front == "nginx" else 501
    for method, path, code in (("GET", "/workflows?name=%ff", 400), ("BREW", "/", no_method)):
        status, body, headers = stack.http(method, path)
        tap.equal(
            (status, headers["Content-Type"], body["status"], bool(body["code"] and body["error"])),
            (code, "application/problem+json", code, True),
            f"the web server's own {code} is a problem document",
        )
    if stack.front == "apache":  # passes the headers of a 101 on as they are
        return
    token = base64.urlsafe_b64encode(stack.tokens["alice"].encode()).decode().rstrip("=")
    raw = websocket.create_connection(
        stack.ws_url,
        subprotocols=["openclaw.v4", f"openclaw.bearer.{token}"],
        suppress_origin=True,
        timeout=10,
    )
    tap.equal(raw.getsubprotocol(), "openclaw.v4", "the subprotocol is negotiated")
    with Client(raw) as client:
        tap.equal(client.request("health")["ok"], True, "and the token beside it counts")


def check_front_alone(tap, stack):
    """With nobody behind it the web server tells clients to come again, and when."""
    for service in ("keeper", "http", "websocketd"):
        stack.stop_service(service)
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    for method, path, headers in (("GET", "/health", {}), ("POST", "/messages", {}), ("GET", "/", upgrade)):
        status, body, got = stack.http(
            method, path, {"to": "bob", "content": "x"} if method == "POST" else None, headers=headers
        )
        tap.equal(
            (status in (502, 503), got["Content-Type"], body["code"], int(got["Retry-After"] or 0) > 0),
            (True, "application/problem+json", "UNAVAILABLE", True),
            f"nobody behind it: {method} {path} {'as WebSocket' if headers else ''}",
        )
    if stack.front == "lighttpd":  # the others leave that to the gateway
        status, body, got = stack.http("GET", "/workflows?name=%ff")
        tap.equal((status, got["Retry-After"]), (400, None), "what is wrong stays wrong: no Retry-After")
    for service in ("http", "websocketd", "keeper"):
        stack.start_service(service)

    def is_back():
        try:
            stack.socket().close()
        except (OSError, websocket.WebSocketException):
            return False
        return stack.http("GET", "/health")[0] == 200

    wait(is_back, "the gateway is back", 60)


def check_secrets(tap, stack):
    url_token = "ocg_in_the_url_0123456789"
    try:
        stack.socket(path=f"?token={url_token}&ticket={url_token}").close()
    except OSError:
        pass
    logs = "".join(
        stack.log(name)
        for name in ("http", "websocketd", "session", "relay", "sweeper", stack.front, "postgres", "pgbouncer")
    )
    tap.ok(
        not any(token in logs for token in [*stack.tokens.values(), url_token]),
        "no token stands in a log",
    )
    tap.ok("over WebSocket" not in logs and "over HTTP" not in logs, "no content either")


def main():
    skip_without_stack()
    tap = Tap()
    with Stack() as stack:
        with stack.connect("bob") as bob:
            tap.equal(bob.challenge["event"], "connect.challenge", "the challenge comes first")
            tap.equal(bob.hello["protocol"], 4, "protocol 4 is spoken")
            bob.request("inbox.subscribe", {"inbox": "bob"})
            check_websocket(tap, stack, bob)
            check_http(tap, stack, bob)
            check_waiting(tap, stack, bob)
        check_access(tap, stack)
        check_front(tap, stack)
        check_front_alone(tap, stack)
        check_secrets(tap, stack)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A message travels from alice to bob, once over WebSocket and once over HTTP.

    deploy/demo.py var/quickstart.env

Needs a running stack (deploy/quickstart) and python3-websocket. Shows the frames as they are, bob's
acknowledgement, and the workflow and its steps that carried the message.
"""

import json
import os
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid

import websocket  # Debian: python3-websocket

PATIENCE = 15  # seconds that anything here may take
WIDTH = 110


class Failure(Exception):
    pass


def read_environment(path):
    with open(path, encoding="utf-8") as file:
        return dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)


def show(who, text):
    print(f"       {who:<7}{text}", flush=True)


def show_json(value):
    text = json.dumps(value, ensure_ascii=False)
    for line in textwrap.wrap(text, WIDTH, break_long_words=True) or [""]:
        print(f"              {line}", flush=True)


class Agent:
    """One agent on a WebSocket."""

    def __init__(self, name, url, token):
        self.name = name
        self.count = 0
        self.events = []
        self.socket = websocket.create_connection(url, timeout=PATIENCE, suppress_origin=True)
        challenge = self.receive()
        if challenge.get("event") != "connect.challenge":
            raise Failure(f"expected connect.challenge, got {challenge}")
        client = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
        hello = self.request(
            "connect",
            {"minProtocol": 3, "maxProtocol": 4, "client": client, "auth": {"token": token}},
        )
        show(name, f"connected over WebSocket, protocol {hello['protocol']}")

    def receive(self):
        return json.loads(self.socket.recv())

    def request(self, method, params):
        """The final answer to a request; events that come between are kept."""
        self.count += 1
        identity = f"{self.name}-{self.count}"
        frame = {"type": "req", "id": identity, "method": method, "params": params}
        self.socket.send(json.dumps(frame))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self.receive()
            if answer.get("type") == "event":
                self.events.append(answer)
            elif answer.get("id") == identity:
                if not answer["ok"]:
                    raise Failure(f"{method} was refused: {answer['error']}")
                if answer["payload"].get("status") != "accepted":
                    return answer["payload"]
        raise Failure(f"no answer to {method} in {PATIENCE} s")

    def event(self, name):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event["payload"]
            frame = self.receive()
            if frame.get("type") == "event":
                self.events.append(frame)
        raise Failure(f"no {name} event in {PATIENCE} s")


class Http:
    def __init__(self, url, token):
        self.url, self.token = url, token

    def call(self, method, path, body=None, **headers):
        request = urllib.request.Request(
            self.url + path, method=method, data=json.dumps(body).encode() if body else None
        )
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failure(f"{method} {path}: {error.code} {error.read().decode()}") from error


def take_and_acknowledge(bob, reply, message_id):
    """Bob's next message is the one with this id; whatever waited before it is acknowledged too."""
    while True:
        message = bob.event("inbox.message")
        answer = bob.request(
            "inbox.ack", {"deliveryIds": [message["deliveryId"]], "result": {"text": reply}}
        )
        if message["deliveryId"] not in answer["acked"]:
            raise Failure(f"the acknowledgement was not taken: {answer}")
        if message_id is None or message["messageId"] == message_id:
            return message


def show_received(message):
    show("bob", f"receives (event inbox.message, attempt {message['attempt']}), and acknowledges:")
    show_json({key: message[key] for key in ("from", "content", "messageId", "deliveryId")})


def await_settled(http, workflow):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = http.call("GET", f"/workflows/{workflow}")
        if status["status"] not in ("PENDING", "ENQUEUED", "DELAYED"):
            return status
        time.sleep(0.05)
    raise Failure(f"the workflow {workflow} did not end in {PATIENCE} s")


def steps_of(answer):
    return answer if isinstance(answer, list) else answer["steps"]


def field(row, *names):
    """SDKs spell fields in more than one way; take the first that is there."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    settings = read_environment(sys.argv[1])
    url = settings["GATEWAY_WS_URL"]
    bob = Agent("bob", url, settings["BOB_TOKEN"])
    bob.request("inbox.subscribe", {"inbox": "bob"})
    show("bob", "subscribes to his inbox")
    alice = Agent("alice", url, settings["ALICE_TOKEN"])

    sent = alice.request(
        "agent.send",
        {
            "sessionKey": "agent:bob:main",
            "message": "Hello Bob, over WebSocket.",
            "idempotencyKey": str(uuid.uuid4()),
        },
    )
    show("alice", f"agent.send over WebSocket -> {sent['status']}, message {sent['message_id']}")
    show_received(take_and_acknowledge(bob, "Hello Alice.", sent["message_id"]))

    http = Http(settings["GATEWAY_URL"], settings["ALICE_TOKEN"])
    accepted = http.call(
        "POST",
        "/messages",
        {"to": "bob", "content": "Hello Bob, over HTTP."},
        Idempotency_Key=str(uuid.uuid4()),
    )
    result = accepted["result"]
    show("alice", f"POST /messages -> {result['status']}, message {result['messageId']}")
    show_received(take_and_acknowledge(bob, "Received.", result["messageId"]))

    workflow = accepted["workflowUuid"]
    status = await_settled(http, workflow)
    name = field(status, "name", "workflowName")
    print(f"       its workflow, in PostgreSQL: {name} {workflow}", flush=True)
    show("", f"{status['status']}, result:")
    show_json(status["output"])
    for step in steps_of(http.call("GET", f"/workflows/{workflow}/steps")):
        number = field(step, "functionID", "functionId", "function_id", "stepId", "id")
        step_name = field(step, "name", "functionName", "function_name")
        show("", f"step {number} {step_name:<16} {json.dumps(step.get('output'))[:WIDTH - 30]}")
    if status["status"] != "SUCCESS":
        raise Failure(f"the workflow ended as {status['status']}")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError, KeyError, ValueError, websocket.WebSocketException) as error:
        sys.exit(f"demo: {type(error).__name__}: {error}")

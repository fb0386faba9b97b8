# SPDX-License-Identifier: MIT
"""Clients that keep going: senders and a receiver, each a thread with a history of its own.

    HttpSender(stack, "sender-1", token, "bob", count, interval, history)
    WsSender(…)                     the same over a WebSocket
    WsReceiver(stack, "bob", token, history)        acknowledges whatever arrives, until stop()
    Stream(stack, workers).reaches(1000, "…")       waits until so many are acknowledged

A sender sends message 1, 2, 3 …, one at a time, each until it is answered: after an error, a lost
connection or a 5xx it tries again with the same key.  Everybody reconnects for as long as it takes.
"""

import http.client
import json
import random
import threading
import time
import urllib.parse

from cluster import SqlError
from stack import Client, Refused, websocket

ANSWER_TIMEOUT = 10.0
CONNECT_TIMEOUT = 5.0
PAUSE_FIRST, PAUSE_MAX = 0.05, 0.5
STALL_TIMEOUT = 60.0
ACKED = "select count(*) from openclaw.inbox where state = 'acked'"
LOST = (OSError, http.client.HTTPException, ValueError) + (
    (websocket.WebSocketException,) if websocket else ()
)
RETRY_CODES = {"UNAVAILABLE", "OVERLOADED", "IN_DOUBT", "IN_PROGRESS", "TIMEOUT"}


class Again(Exception):
    """No answer, or one that asks for another try."""


class Worker(threading.Thread):
    """A thread that must not end with an error: `error` says which."""

    def __init__(self, name):
        super().__init__(name=name, daemon=True)
        self.error = None

    def run(self):
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self):
        raise NotImplementedError


class Sender(Worker):
    def __init__(self, stack, name, token, to, count, interval, history):
        super().__init__(name)
        self.stack, self.token, self.to = stack, token, to
        self.count, self.interval = count, interval
        self.history = history
        self.answered = 0
        self.retries = 0

    def work(self):
        due = time.monotonic()
        for number in range(1, self.count + 1):
            self.send_until_answered(f"{self.name}-{number:05d}", number)
            self.answered = number
            due += self.interval * random.uniform(0.5, 1.5)
            time.sleep(max(due - time.monotonic(), 0))
        self.close()

    def send_until_answered(self, key, number):
        pause = PAUSE_FIRST
        while True:
            self.history.note("send", key=key, sender=self.name, to=self.to)
            try:
                workflow, duplicate = self.attempt(key, {"n": number})
                break
            except Again as error:
                self.history.note("unknown", key=key, why=str(error))
                self.retries += 1
                self.close()
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, PAUSE_MAX)
        self.history.note("accepted", key=key, workflow=workflow, duplicate=duplicate)

    def attempt(self, key, content):
        """(workflow id, was it there before); Again; anything else is a failure of the test."""
        raise NotImplementedError

    def close(self):
        pass


class HttpSender(Sender):
    connection = None

    def attempt(self, key, content):
        parts = urllib.parse.urlsplit(self.stack.url)
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(
                    parts.hostname, parts.port, timeout=ANSWER_TIMEOUT
                )
            self.connection.request(
                "POST",
                "/messages",
                json.dumps({"to": self.to, "content": content}),
                {
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self.token}",
                    "Idempotency-Key": key,
                    "Prefer": "respond-async",
                },
            )
            response = self.connection.getresponse()
            text = response.read()
        except LOST as error:
            raise Again(repr(error)) from error
        if response.status >= 500 or response.status in (409, 429):
            raise Again(f"{response.status} {text[:200]!r}")
        assert response.status in (200, 202), (response.status, text)
        body = json.loads(text)
        return body["workflowUuid"], body.get("duplicate", False)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class WsSender(Sender):
    client = None

    def attempt(self, key, content):
        try:
            if self.client is None:
                self.client = Client(self.stack.socket(timeout=CONNECT_TIMEOUT), self.token)
            answer = self.client.request(
                "send",
                {"to": self.to, "message": json.dumps(content), "idempotencyKey": key},
                ANSWER_TIMEOUT,
            )
        except LOST as error:
            raise Again(repr(error)) from error
        except Refused as error:
            if error.code in RETRY_CODES or error.error.get("retryable"):
                raise Again(str(error)) from error
            raise
        return answer["workflowUuid"], answer["duplicate"]

    def close(self):
        if self.client is not None:
            self.client.close()
            self.client = None


class WsReceiver(Worker):
    """Acknowledges what arrives; counts what was answered as acked."""

    def __init__(self, stack, name, token, history, max_in_flight=50, lease_ms=30000):
        super().__init__(f"receiver-{name}")
        self.stack, self.inbox, self.token = stack, name, token
        self.history = history
        self.parameters = {
            "inbox": name,
            "maxInFlight": max_in_flight,
            "leaseMs": lease_ms,
            "exclusive": True,
        }
        self.acked = 0
        self.delivered = 0
        self.redelivered = 0
        self.connections = 0
        self._ended = threading.Event()

    def stop(self):
        self._ended.set()

    def work(self):
        pause = PAUSE_FIRST
        while not self._ended.is_set():
            client = None
            try:
                client = Client(self.stack.socket(timeout=CONNECT_TIMEOUT), self.token)
                client.request("inbox.subscribe", self.parameters, ANSWER_TIMEOUT)
                self.connections += 1
                pause = PAUSE_FIRST
                self.serve(client)
            except LOST as error:
                self.history.note("lost", why=repr(error))
            except Refused as error:
                if not (error.code in RETRY_CODES or error.error.get("retryable")):
                    raise
                self.history.note("lost", why=str(error))
            finally:
                if client is not None:
                    client.close()
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, PAUSE_MAX)

    def serve(self, client):
        asked = {}
        for event in client.events:
            self.take(client, event, asked)
        while not self._ended.is_set():
            try:
                frame = client.receive(0.5)
            except (TimeoutError, websocket.WebSocketTimeoutException):
                continue
            if frame.get("type") == "event":
                self.take(client, frame, asked)
            elif frame.get("id") in asked:
                self.note_answer(asked.pop(frame["id"]), frame)

    def take(self, client, event, asked):
        if event["event"] != "inbox.message":
            return
        payload = event["payload"]
        delivery = payload["deliveryId"]
        self.delivered += 1
        self.redelivered += bool(payload["redelivered"])
        self.history.note(
            "delivered",
            delivery=delivery,
            seq=payload["inboxSeq"],
            message=payload["messageId"],
            sender=payload["from"],
            inbox=payload["inbox"],
            attempt=payload["attempt"],
        )
        self.history.note("ack", delivery=delivery)
        asked[client.start("inbox.ack", {"deliveryIds": [delivery]})] = delivery

    def note_answer(self, delivery, frame):
        if not frame["ok"]:
            self.history.note("unacked", delivery=delivery, code=frame["error"]["code"])
            if frame["error"]["code"] not in RETRY_CODES and not frame["error"].get("retryable"):
                raise Refused(frame["error"])
            return  # the lease will end, and it will be delivered again
        for outcome in ("acked", "already", "stale"):
            if delivery in frame["payload"][outcome]:
                self.history.note(outcome, delivery=delivery)
                self.acked += outcome != "stale"


class Stream:
    """The messages on their way, as the tables know them: a receiver whose session is killed never
    learns of its last confirmations."""

    def __init__(self, stack, workers):
        self.stack = stack
        self.workers = workers
        self.acked = 0

    def look(self):
        try:
            self.acked = int(self.stack.value(ACKED))
        except SqlError:
            pass  # it was killed, and is not back yet
        return self.acked

    def reaches(self, goal, what):
        """Wait until so many are acknowledged; the pauses on the way are bounded."""
        best, since = -1, time.monotonic()
        while self.look() < goal:
            for worker in self.workers:
                if worker.error is not None:
                    raise worker.error
            if self.acked > best:
                best, since = self.acked, time.monotonic()
            if time.monotonic() - since > STALL_TIMEOUT:
                raise AssertionError(
                    f"{STALL_TIMEOUT} s without progress after {what}: {best} of {goal}"
                )
            time.sleep(0.05)

# SPDX-License-Identifier: MIT
"""The clients: each a thread with a history and a memory of its own, which behaves as a real one.

    HttpSender, WsSender(world, name, inboxes)      send to these inboxes, weighted, until stop()
    WsReceiver(world, inbox, strict=False)          exclusive subscription; confirms, refuses, is late
    WsReceiver(world, inbox, name=…)                one of several that share the inbox
    HttpReceiver(world, inbox, slow=False)          long poll
    ScriptStarter(world, name)                      starts workflows of several steps

`world` has stack, seed, token(name), history(name), interval, late (how often a receiver confirms after
its lease) and calm: True while nobody may refuse or be late.
Every client
    cut(timeout)        its next request goes out and the connection is reset before the answer
    stop()              finish what is begun, then end
    error               what ended it, or None
They reconnect for as long as it takes, send again with the same key, and confirm again what they do not
know to be confirmed: over a later connection also what an earlier one had delivered.
"""

import heapq
import http.client
import itertools
import json
import random
import socket
import struct
import threading
import time
import urllib.parse

from stack import Client, Refused, websocket
from traffic import ANSWER_TIMEOUT, CONNECT_TIMEOUT, LOST, PAUSE_FIRST, PAUSE_MAX, RETRY_CODES
from traffic import Again, Worker

LEASE_MS = 2000
LATE_SECONDS = (LEASE_MS / 1000 * 1.05, LEASE_MS / 1000 * 1.5)
WORK_SECONDS = (0.005, 0.06)  # between a delivery and its confirmation
REFUSES, BURIES = 0.02, 0.003
WAITS = 0.05  # of the HTTP senders' requests: Prefer: wait
SLOW_SECONDS = (0.05, 0.5)  # the same, of a receiver that its inbox's limit has to protect
# what part of the messages has which option, and between which bounds
OPTIONS = {"priority": (0.2, 1, 9), "delayMs": (0.04, 100, 1500), "ttlMs": (0.06, 20, 800)}
GIVES_UP = 0.9  # of those who are told that the inbox is full
POLL_SECONDS = 0.2
RESET = struct.pack("ii", 1, 0)


class Full(Exception):
    """The inbox is full."""


def reset(raw):
    """Ends a TCP connection as a crash of the client's host does: without a goodbye."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    raw.close()


class ChaosClient(Worker):
    def __init__(self, world, name, principal=None):
        super().__init__(name)
        self.world, self.stack = world, world.stack
        self.principal = principal or name
        self.token = world.token(self.principal)
        self.history = world.history(name)
        self.chance = random.Random(f"{world.seed}/{name}")
        self.ended = threading.Event()
        self.to_cut = threading.Event()
        self.was_cut = threading.Event()
        self.http = None

    def stop(self):
        self.ended.set()

    def cut(self, timeout):
        self.was_cut.clear()
        self.to_cut.set()
        return self.was_cut.wait(timeout)

    def cut_now(self, raw):
        """To be called between a request and its answer."""
        if self.to_cut.is_set():
            self.to_cut.clear()
            reset(raw)
            self.was_cut.set()
            raise ConnectionResetError("cut by the test")

    def pauses(self):
        """Growing ones, with jitter."""
        pause = PAUSE_FIRST
        while True:
            yield pause * self.chance.uniform(0.5, 1)
            pause = min(pause * 2, PAUSE_MAX)

    def call(self, method, path, body=None, headers=None):
        """(status, decoded body) over one kept connection."""
        parts = urllib.parse.urlsplit(self.stack.url)
        try:
            if self.http is None:
                self.http = http.client.HTTPConnection(
                    parts.hostname, parts.port, timeout=ANSWER_TIMEOUT
                )
            self.http.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self.token}",
                    **(headers or {}),
                },
            )
            self.cut_now(self.http.sock)
            response = self.http.getresponse()
            text = response.read()
            body = json.loads(text)
            if body.get("code") == "INBOX_FULL":
                raise Full
            if response.status >= 500 or body.get("code") in RETRY_CODES or response.status == 429:
                raise Again(f"{response.status} {text[:200]!r}")
            return response.status, body
        except LOST as error:
            self.http_close()
            raise Again(repr(error)) from error

    def http_close(self):
        if self.http is not None:
            self.http.close()
            self.http = None


# ---- senders --------------------------------------------------------------------------------------


class Sender(ChaosClient):
    def __init__(self, world, name, inboxes):
        super().__init__(world, name)
        self.inboxes = inboxes
        self.answered = 0
        self.retries = 0

    def work(self):
        due = time.monotonic()
        for number in itertools.count(1):
            if self.ended.is_set():
                return
            to = self.chance.choices(list(self.inboxes), list(self.inboxes.values()))[0]
            self.send_until_answered(f"{self.name}-{number:06d}", to, number)
            self.answered = number
            due = max(due, time.monotonic() - 1) + self.world.interval * self.chance.uniform(0.5, 1.5)
            time.sleep(max(due - time.monotonic(), 0))

    def options(self):
        """Some messages are urgent or not, come later, or live for a moment only."""
        chance = self.chance
        return {
            name: chance.randint(low, high)
            for name, (part, low, high) in OPTIONS.items()
            if chance.random() < part
        }

    def send_until_answered(self, key, to, number):
        pauses = self.pauses()
        waits = self.chance.random() < WAITS
        options = self.options()
        unknown = False
        while True:
            self.history.note("send", key=key, sender=self.name, to=to, options=options)
            try:
                workflow, duplicate, status = self.attempt(key, to, {"n": number}, options, waits)
                break
            except Full:
                # whoever had no answer before may have been accepted then: it has to ask again
                if not unknown and self.chance.random() < GIVES_UP:
                    self.history.note("refused", key=key, code="INBOX_FULL")
                    return
                self.history.note("full", key=key)
            except Again as error:
                unknown = True
                self.history.note("unknown", key=key, why=str(error))
                self.retries += 1
            time.sleep(next(pauses))
        self.history.note("accepted", key=key, workflow=workflow, duplicate=duplicate)
        if status in ("acknowledged", "failed", "expired"):
            self.history.note("told", workflow=workflow, status=status)

    def attempt(self, key, to, content, options, waits):
        """(workflow id, was it there before, what is known of it), or Again, or Full."""
        raise NotImplementedError


class HttpSender(Sender):
    def attempt(self, key, to, content, options, waits):
        prefer = "wait=2" if waits else "respond-async"
        status, body = self.call(
            "POST",
            "/messages",
            {"to": to, "content": content, **options},
            {"Idempotency-Key": key, "Prefer": prefer},
        )
        assert status in (200, 202), (status, body)
        return body["workflowUuid"], body.get("duplicate", False), body["result"]["status"]


class WsSender(Sender):
    client = None

    def attempt(self, key, to, content, options, waits):
        params = {"to": to, "message": json.dumps(content), "idempotencyKey": key, **options}
        try:
            if self.client is None:
                self.client = Client(self.stack.socket(timeout=CONNECT_TIMEOUT), self.token)
            identity = self.client.start("send", params)
            self.cut_now(self.client.raw.sock)
            answer = self.client.answer(identity, ANSWER_TIMEOUT)
        except LOST as error:
            self.leave()
            raise Again(repr(error)) from error
        except Refused as error:
            if error.code == "INBOX_FULL":
                raise Full from error
            if error.code in RETRY_CODES or error.error.get("retryable"):
                raise Again(str(error)) from error
            raise
        return answer["workflowUuid"], answer["duplicate"], answer["status"]

    def leave(self):
        if self.client is not None:
            self.client.close()
            self.client = None


class ScriptStarter(ChaosClient):
    """Workflows of three outside steps, a sleep, an event and a stream, each started once by key."""

    SCRIPT = (
        ["step", "a", 20],
        ["sleep", 50],
        ["write", "log", "one"],
        ["step", "b", 50],
        ["setEvent", "seen", "yes"],
        ["step", "c", 20],
    )
    PERIOD = 0.5

    def __init__(self, world, name):
        super().__init__(world, name)
        self.started = []

    def work(self):
        for number in itertools.count(1):
            if self.ended.wait(self.PERIOD * self.chance.uniform(0.5, 1.5)):
                return
            self.started.append(self.start_until_answered(f"script-{number:05d}"))

    def start_until_answered(self, key):
        for pause in self.pauses():
            try:
                status, body = self.call(
                    "POST",
                    "/workflows/testScript",
                    {"input": self.SCRIPT},
                    {"Idempotency-Key": key, "Prefer": "respond-async"},
                )
            except Again:
                time.sleep(pause)
                continue
            assert status in (200, 202), (status, body)
            self.history.note("started", key=key, workflow=body["workflowUuid"])
            return body["workflowUuid"]


# ---- receivers ------------------------------------------------------------------------------------


class Receiver(ChaosClient):
    """Remembers deliveries and what it is going to do with each, and when."""

    poison = None  # what ends its connection
    lossy = False  # a delivery may have been written to a connection that nobody read

    def __init__(self, world, inbox, name=None, strict=False, slow=False):
        super().__init__(world, name or inbox, inbox)
        self.inbox = inbox
        self.shared = name is not None
        self.strict = strict
        self.slow = slow
        self.pending = []  # (due, number, act, delivery)
        self.delivered = self.redelivered = self.connections = 0
        self._numbers = itertools.count()

    def finished(self):
        return self.ended.is_set() and not self.pending

    def decide(self):
        """(what to do with a delivery, after how long)."""
        chance = self.chance.random()
        seconds = self.chance.uniform(*(SLOW_SECONDS if self.slow else WORK_SECONDS)) / (4 if self.strict else 1)
        if self.world.calm:
            return "ack", seconds
        if chance < REFUSES:
            return "nack", seconds
        if not self.strict and chance < REFUSES + BURIES:
            return "bury", seconds
        if not self.strict and chance < REFUSES + BURIES + self.world.late:
            return "ack", self.chance.uniform(*LATE_SECONDS)
        return "ack", seconds

    def plan(self, act, delivery, seconds):
        entry = (time.monotonic() + seconds, next(self._numbers), act, delivery)
        heapq.heappush(self.pending, entry)

    def due(self):
        """The (act, delivery) whose time has come."""
        found = []
        while self.pending and self.pending[0][0] <= time.monotonic():
            found.append(heapq.heappop(self.pending)[2:])
        return found

    def take(self, payload):
        self.delivered += 1
        self.redelivered += bool(payload["redelivered"])
        self.history.note(
            "delivered",
            delivery=payload["deliveryId"],
            seq=payload["inboxSeq"],
            message=payload["messageId"],
            sender=payload["from"],
            inbox=self.inbox,
            attempt=payload["attempt"],
            redelivered=payload["redelivered"],
            lossy=self.lossy,
            shared=self.shared,
            slow=self.slow,
            strict=self.strict,
        )
        act, seconds = self.decide()
        self.plan(act, payload["deliveryId"], seconds)

    def note_acked(self, delivery, answer):
        for outcome in ("acked", "already", "stale"):
            if delivery in answer[outcome]:
                self.history.note(outcome, delivery=delivery)

    @staticmethod
    def nack(act, delivery, chance):
        params = {"deliveryId": delivery, "reason": "chaos"}
        return {**params, "requeue": False} if act == "bury" else {**params, "delayMs": chance}


class WsReceiver(Receiver):
    def __init__(self, world, inbox, **kind):
        super().__init__(world, inbox, **kind)
        self.to_take_over = threading.Event()
        self.took_over = threading.Event()
        self.asked = {}  # id of a request: (act, delivery)

    def take_over(self, timeout):
        """Subscribe over a new connection while the old one still stands."""
        self.took_over.clear()
        self.to_take_over.set()
        return self.took_over.wait(timeout)

    def open(self):
        client = Client(self.stack.socket(timeout=CONNECT_TIMEOUT), self.token)
        try:
            client.request(
                "inbox.subscribe",
                {
                    "inbox": self.inbox,
                    "maxInFlight": 1 if self.strict else 50,
                    "leaseMs": LEASE_MS,
                    "exclusive": not self.shared,
                },
                ANSWER_TIMEOUT,
            )
        except BaseException:
            client.close()
            raise
        self.connections += 1
        return client

    def work(self):
        pauses = self.pauses()
        while not self.finished():
            client = None
            try:
                client = self.open()
                pauses = self.pauses()
                client = self.serve(client)
            except LOST as error:
                self.history.note("lost", why=repr(error))
            except Refused as error:
                if not (error.code in RETRY_CODES or error.error.get("retryable")):
                    raise
                self.history.note("lost", why=str(error))
            finally:
                if client is not None:
                    client.close()
            # whether these were confirmed is not known: ask again
            for act, delivery in self.asked.values():
                self.plan(act, delivery, 0)
            self.asked = {}
            time.sleep(next(pauses))

    def serve(self, client):
        while not (self.finished() and not self.asked):
            for event in client.events:
                self.frame(event)
            client.events = []
            if self.to_take_over.is_set():
                self.replace(client)
                return client
            for act, delivery in self.due():
                self.act(client, act, delivery)
            wait = self.pending[0][0] - time.monotonic() if self.pending else POLL_SECONDS
            try:
                self.frame(client.receive(max(min(wait, POLL_SECONDS), 0.001)))
            except (TimeoutError, websocket.WebSocketTimeoutException):
                continue
        return client

    def replace(self, client):
        newer = self.open()
        self.to_take_over.clear()
        self.took_over.set()
        client.close()
        try:
            self.serve(newer)
        finally:
            newer.close()

    def act(self, client, act, delivery):
        if act == "ack":
            self.history.note("ack", delivery=delivery)
            identity = client.start("inbox.ack", {"deliveryIds": [delivery]})
        else:
            self.history.note("nack", delivery=delivery)
            params = self.nack(act, delivery, self.chance.randrange(200))
            identity = client.start("inbox.nack", params)
        self.asked[identity] = (act, delivery)
        self.cut_now(client.raw.sock)

    def frame(self, frame):
        if frame.get("type") == "event":
            if frame["event"] == "inbox.message":
                self.take(frame["payload"])
            elif frame["event"] == "inbox.fenced":
                raise ConnectionError("fenced")
        elif frame.get("id") in self.asked:
            self.answered(*self.asked.pop(frame["id"]), frame)

    def answered(self, act, delivery, frame):
        if frame["ok"] and act == "ack":
            self.note_acked(delivery, frame["payload"])
        elif frame["ok"]:
            self.history.note("nacked", delivery=delivery, state=frame["payload"]["status"])
        else:
            error = frame["error"]
            self.history.note("unacked", delivery=delivery, code=error["code"])
            if error["code"] in RETRY_CODES or error.get("retryable"):
                self.plan(act, delivery, 0.1)
            elif act == "ack":
                raise AssertionError(f"ack of {delivery}: {error}")


class PoisonedReceiver(WsReceiver):
    """Some messages end its connection, each time that they come, as one does that crashes its agent."""

    POISONS = 0.025

    def __init__(self, world, inbox, **kind):
        super().__init__(world, inbox, **kind)
        self.poison = {}  # inboxSeq: the attempts that were seen
        self.harmless = set()

    def take(self, payload):
        seq, delivery = payload["inboxSeq"], payload["deliveryId"]
        super().take(payload)
        if seq in self.harmless or not self.is_poison(seq):
            self.harmless.add(seq)
            return
        self.poison[seq] = max(self.poison.get(seq, 0), payload["attempt"])
        self.pending = [entry for entry in self.pending if entry[3] != delivery]
        heapq.heapify(self.pending)
        self.history.note("poisoned", delivery=delivery, seq=seq, attempt=payload["attempt"])
        raise ConnectionError("poisoned")

    def is_poison(self, seq):
        if self.world.calm:
            return False
        return seq in self.poison or not self.poison or self.chance.random() < self.POISONS

    @property
    def most(self):
        return max(self.poison.values(), default=0)


class HttpReceiver(Receiver):
    lossy = True

    def work(self):
        pauses = self.pauses()
        while not self.finished():
            try:
                self.settle(self.due())
                if not self.pending:
                    self.poll()
                elif self.pending[0][0] > time.monotonic():
                    time.sleep(min(max(self.pending[0][0] - time.monotonic(), 0), POLL_SECONDS))
                    self.poll_if_late()
                pauses = self.pauses()
            except Again as error:
                self.history.note("lost", why=str(error))
                time.sleep(next(pauses))

    def poll_if_late(self):
        """What is held back beyond its lease does not keep the others waiting."""
        if self.pending and self.pending[0][0] - time.monotonic() > POLL_SECONDS:
            self.poll()

    def poll(self):
        wait = 0 if self.pending else 1
        path = f"/agents/{self.inbox}/inbox?max=20&wait={wait}&leaseMs={LEASE_MS}"
        status, body = self.call("GET", path)
        assert status == 200, (status, body)
        self.connections += 1
        for payload in body["messages"]:
            self.take(payload)

    def settle(self, due):
        acks = [delivery for act, delivery in due if act == "ack"]
        try:
            if acks:
                for delivery in acks:
                    self.history.note("ack", delivery=delivery)
                status, body = self.call("POST", f"/agents/{self.inbox}/inbox/ack", {"deliveryIds": acks})
                assert status == 200, (status, body)
                for delivery in acks:
                    self.note_acked(delivery, body)
                due = [entry for entry in due if entry[0] != "ack"]
            while due:
                act, delivery = due[0]
                self.history.note("nack", delivery=delivery)
                body = self.nack(act, delivery, self.chance.randrange(200))
                status, body = self.call("POST", f"/agents/{self.inbox}/inbox/nack", body)
                if status == 200:
                    self.history.note("nacked", delivery=delivery, state=body["status"])
                else:
                    self.history.note("unacked", delivery=delivery, code=body.get("code"))
                due = due[1:]
        except Again:
            for act, delivery in due:
                self.plan(act, delivery, 0.05)
            raise

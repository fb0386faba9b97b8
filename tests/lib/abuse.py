# SPDX-License-Identifier: MIT
"""Misbehaviour through the whole stack, and what must hold while it goes on.

    with Abuse(settings, …) as abuse:           # the stack, a bystander, a watch over memory
        raw = abuse.raw()                       # a TCP connection that has said Upgrade: RawSocket
        raw.frame(b"…", opcode=BINARY, fin=False)
        raw.answer("r1")                        # the frame that answers it; events are kept
        with abuse.during(tap, "an attack"):    # the bystander had its answers before, in it and after
            …
        abuse.judge(tap)                        # nothing bad in PostgreSQL's log, all within bounds

The bystander is a second client that behaves: on one connection, from beginning to end, it sends
itself a message, receives and acknowledges it, again and again. The check of PostgreSQL's log is made
to fail first: the three SQLSTATEs are provoked by hand, and must be seen.
"""

import contextlib
import itertools
import json
import os
import re
import socket
import struct
import threading
import time

from stack import TIMEOUT, Client, Refused, Stack, wait

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE = 60.0  # nothing here must be quick
MB = 1 << 20

# What a character that is not valid, a text that is no number and an escaped NUL are to PostgreSQL.
BAD_STATES = ("22021", "22P02", "22P05")
PROVOCATIONS = (
    r"select convert_from('\xff', 'utf8')",
    "select 'x'::integer",
    r"""select '"\u0000"'::jsonb ->> 0""",
)
LOG_PREFIX = "%m [%p] state=%e %q%u@%d/%a "

# KiB of resident memory at its peak. A session: SESSION_BUFFER_BYTES and a frame on the way out, five
# frames on the way in, the requests read of them (document trees are some times their text).
SESSION_BOUND = 32 * 1024
OTHERS_BOUND = {"http": 128 * 1024, "sweeper": 64 * 1024, "front": 192 * 1024}


class Gone(Exception):
    """The other side closed the connection."""


class RawSocket:
    """A WebSocket client that may do anything. Never blocks for good."""

    def __init__(self, url, headers=(), receive_buffer=None, upgrade=True):
        host, port = re.match(r"ws://([^:/]+):(\d+)", url).groups()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.bytes = b""
        self.message = b""  # its first fragments
        self.status = None
        self.frames = []  # that came and nobody asked for yet
        self.numbers = itertools.count(1)
        self.close_code = None
        if upgrade:
            self.upgrade(f"{host}:{port}", headers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # ---- bytes ----------------------------------------------------------------------------------

    def write(self, data):
        """False when the other side has closed."""
        try:
            self.socket.settimeout(PATIENCE)
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def _fill(self, timeout):
        self.socket.settimeout(max(timeout, 0.01))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone(f"closed with {self.close_code}")
        self.bytes += data

    def ask_upgrade(self, host, headers=()):
        lines = [
            "GET / HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.write("\r\n".join([*lines, "", ""]).encode())

    def read_upgrade(self, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while b"\r\n\r\n" not in self.bytes:
            if time.monotonic() > deadline:
                raise TimeoutError("no answer to Upgrade")
            self._fill(deadline - time.monotonic())
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        return self.status

    def upgrade(self, host, headers=()):
        self.ask_upgrade(host, headers)
        assert self.read_upgrade() == 101, self.status

    # ---- frames ---------------------------------------------------------------------------------

    @staticmethod
    def header(length, opcode=TEXT, fin=True):
        """With the mask 0, so that what goes out is what is given."""
        first = bytes([(0x80 if fin else 0) | opcode])
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 1 << 16:
            size = bytes([0x80 | 126]) + struct.pack(">H", length)
        else:
            size = bytes([0x80 | 127]) + struct.pack(">Q", length)
        return first + size + bytes(4)

    def frame(self, payload, opcode=TEXT, fin=True):
        payload = payload if isinstance(payload, bytes) else payload.encode()
        return self.write(self.header(len(payload), opcode, fin) + payload)

    def request(self, method, params=None, identity=None):
        identity = identity or f"q{next(self.numbers)}"
        frame = {"type": "req", "id": identity, "method": method}
        if params is not None:
            frame["params"] = params
        self.frame(json.dumps(frame))
        return identity

    def _parse(self):
        """The next whole frame of the server: opcode, FIN, payload; or None."""
        data = self.bytes
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + length:
            return None
        self.bytes = data[at + length :]
        return data[0] & 0x0F, bool(data[0] & 0x80), data[at : at + length]

    def receive(self, timeout=PATIENCE):
        """The next JSON frame; Gone when there is none any more."""
        deadline = time.monotonic() + timeout
        while True:
            parsed = self._parse()
            if parsed is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no frame in {timeout} s")
                self._fill(deadline - time.monotonic())
            elif parsed[0] == CLOSE:
                self.close_code = int.from_bytes(parsed[2][:2], "big")
            elif parsed[0] in (TEXT, CONTINUATION):
                self.message += parsed[2]
                if parsed[1]:
                    message, self.message = self.message, b""
                    return json.loads(message)

    def take(self, wanted, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        for frame in self.frames:
            if wanted(frame):
                self.frames.remove(frame)
                return frame
        while True:
            frame = self.receive(deadline - time.monotonic())
            if wanted(frame):
                return frame
            self.frames.append(frame)

    def answer(self, identity, timeout=PATIENCE):
        """The payload; Refused carries the error."""
        frame = self.take(lambda f: f.get("type") == "res" and f["id"] == identity, timeout)
        if not frame["ok"]:
            raise Refused(frame["error"])
        return frame["payload"]

    def call(self, method, params=None, timeout=PATIENCE):
        return self.answer(self.request(method, params), timeout)

    def code(self, identity="invalid", timeout=PATIENCE):
        """The code with which it was refused; None when it was not."""
        try:
            self.answer(identity, timeout)
        except Refused as refusal:
            return refusal.code
        return None

    def event(self, name, timeout=PATIENCE):
        return self.take(lambda f: f.get("type") == "event" and f["event"] == name, timeout)[
            "payload"
        ]

    def ended(self, timeout=PATIENCE):
        """Until the other side closes; the reason it gave, "" without one."""
        reason = ""
        deadline = time.monotonic() + timeout
        while True:
            try:
                frame = (
                    self.frames.pop(0) if self.frames else self.receive(deadline - time.monotonic())
                )
            except Gone:
                return reason
            if frame.get("event") == "shutdown":
                reason = frame["payload"]["reason"]

    def connect(self, token, **params):
        return self.call("connect", Client.connect_params(token, params))


class Bystander(threading.Thread):
    """The client that behaves. Every round trip is answered, or `complaints` says which was not."""

    def __init__(self, stack, token, name="carol", refusals=()):
        super().__init__(daemon=True)
        self.client = Client(stack.socket(timeout=PATIENCE), token)
        self.name = name
        self.refusals = refusals  # codes that are an answer too
        self.trips = self.refused = 0
        self.worst = 0.0
        self.complaints = []
        self.ending = False
        self.client.request("inbox.subscribe", {"inbox": name}, PATIENCE)
        self.start()

    def trip(self, number):
        text = f"trip {number}"
        key = f"trip-{number}"
        params = {"to": self.name, "message": text, "idempotencyKey": key}
        if not self.until_done("send", params):
            return
        message = self.client.event("inbox.message", PATIENCE * 3)
        assert message["content"] == text, f"{message['content']!r} instead of {text!r}"
        self.until_done("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
        self.client.events.clear()  # of its messages' fate, which it does not wait for

    def until_done(self, method, params):
        while not self.ending:
            try:
                return self.client.request(method, params, PATIENCE)
            except Refused as refusal:
                if refusal.code not in self.refusals:
                    raise
                self.refused += 1
                time.sleep(0.1)
        return None

    def run(self):
        for number in itertools.count(1):
            if self.ending:
                return
            begun = time.monotonic()
            try:
                self.trip(number)
            except Exception as error:  # whatever it is, it must not happen
                self.complaints.append(f"trip {number}: {type(error).__name__} {error}")
                return
            self.worst = max(self.worst, time.monotonic() - begun)
            self.trips += 1
            time.sleep(0.05)

    def wait_trips(self, more):
        """Until so many further round trips were answered; False: one was not."""
        target = self.trips + more
        deadline = time.monotonic() + PATIENCE * 3
        while self.trips < target and self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.trips >= target

    def end(self):
        self.ending = True
        self.join(PATIENCE)
        self.client.close()


class Watch(threading.Thread):
    """The peak memory of each process of ours, in KiB, and of database connections."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack = stack
        self.peaks = {}
        self.sessions_seen = set()
        self.ending = False
        self.start()

    @staticmethod
    def peak(pid):
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                text = file.read()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        return int(found.group(1)) if found else 0

    @staticmethod
    def is_session(pid):
        try:
            return os.readlink(f"/proc/{pid}/exe").endswith("openclaw-gateway-session")
        except OSError:
            return False

    def look(self):
        leader = self.stack.pid("websocketd")
        for pid in self.stack.pids(self.stack.front):
            self.note("front", pid)
        for name in ("http", "sweeper", "websocketd"):
            for pid in [leader] if name == "websocketd" else self.stack.pids(name):
                self.note(name, pid)
        for pid in self.stack.pids("websocketd"):
            if pid != leader and self.is_session(pid):
                self.sessions_seen.add(pid)
                self.note("session", pid)

    def note(self, name, pid):
        if pid:
            self.peaks[name] = max(self.peaks.get(name, 0), self.peak(pid))

    def run(self):
        while not self.ending:
            self.look()
            time.sleep(0.1)

    def end(self):
        self.ending = True
        self.join()
        self.look()


class Abuse:
    """The stack for one file of tests, with a bystander and a watch."""

    def __init__(self, settings=None, server=None, environment=None, refusals=()):
        server = {"log_line_prefix": LOG_PREFIX, **(server or {})}
        self.stack = Stack(settings, server, environment)
        try:
            self.check_fails = self._provoke()
            self.tokens = {**self.stack.tokens, "carol": self.agent("carol")}
            self.bystander = Bystander(self.stack, self.tokens["carol"], refusals=refusals)
            self.watch = Watch(self.stack)
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.watch.end()
        self.bystander.ending = True
        self.stack.close()

    def agent(self, name, *more):
        """A new agent's token."""
        return json.loads(self.stack.ctl("agent", "add", name, "--json", *more).stdout)["token"]

    # ---- PostgreSQL's log -----------------------------------------------------------------------

    def bad_states(self, since=0):
        text = self.stack.log("postgres")[since:]
        return sorted(set(re.findall(r"state=(" + "|".join(BAD_STATES) + r")\b", text)))

    def _provoke(self):
        """The check can fail: each of the states is provoked, and seen."""
        for statement in PROVOCATIONS:
            with contextlib.suppress(Exception):
                self.stack.execute(statement)
        with contextlib.suppress(AssertionError):
            wait(lambda: self.bad_states() == sorted(BAD_STATES), "the log has them", PATIENCE)
        seen = self.bad_states() == sorted(BAD_STATES)
        self.since = len(self.stack.log("postgres"))
        return seen

    # ---- clients --------------------------------------------------------------------------------

    def raw(self, name=None, headers=(), receive_buffer=None, **params):
        """With a name: one that has said connect."""
        raw = RawSocket(self.stack.ws_url, headers, receive_buffer)
        if name is not None:
            raw.hello = raw.connect(self.tokens[name], **params)
        return raw

    @contextlib.contextmanager
    def during(self, tap, what, trips=3):
        """The bystander's round trips are answered while the body runs, and after it."""
        before = self.bystander.trips
        yield
        inside = self.bystander.trips - before
        after = self.bystander.wait_trips(trips)
        peaks = ", ".join(f"{name} {peak}" for name, peak in sorted(self.watch.peaks.items()))
        print(f"# {what}: {inside} round trips meanwhile; peaks so far in KiB: {peaks}", flush=True)
        tap.ok(
            after and not self.bystander.complaints,
            f"{what}: the other client's round trips are answered",
            f"{inside} during, {self.bystander.complaints}",
        )

    def deliveries(self, name, count, prefix="", **params):
        """What a well-behaved reader gets; `count` messages, acknowledged: list of payloads."""
        got = []
        with self.raw(name) as reader:
            reader.call("inbox.subscribe", {"inbox": name, "maxInFlight": 50, **params})
            while len(got) < count:
                message = reader.event("inbox.message")
                reader.call("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
                if message["messageId"].startswith(prefix):
                    got.append(message)
        return got

    # ---- the end --------------------------------------------------------------------------------

    def judge(self, tap, websocketd_bound=640 * 1024):
        """What must hold at the end of every file."""
        self.bystander.end()
        self.watch.end()
        tap.ok(self.check_fails, "the check of PostgreSQL's log sees 22021, 22P02 and 22P05")
        tap.equal(self.bad_states(self.since), [], "nothing bad reached PostgreSQL")
        tap.equal(self.bystander.complaints, [], "a client that behaves was never disturbed")
        tap.ok(self.bystander.trips > 0, f"{self.bystander.trips} round trips of its")
        print(
            f"# its worst round trip took {self.bystander.worst:.1f} s, refused {self.bystander.refused}"
        )
        bounds = {"session": SESSION_BOUND, "websocketd": websocketd_bound, **OTHERS_BOUND}
        for name, bound in bounds.items():
            peak = self.watch.peaks.get(name, 0)
            tap.ok(0 < peak <= bound, f"{name}: never more than {bound} KiB", f"{peak} KiB")
            print(f"# {name}: {peak} KiB at its peak")
        tap.ok(
            len(self.watch.sessions_seen) > 1, f"{len(self.watch.sessions_seen)} sessions watched"
        )

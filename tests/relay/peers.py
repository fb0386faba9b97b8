#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whoever may be at the other end: sessions with a relay that is none, a relay with callers that are none.

What a session says to the relay is caught by a false relay, and said to the real one by false callers.
"""

import os
import random
import resource
import socket
import struct
import sys
import threading
import time

from cluster import skip_without
from crew import PATIENCE, Crew, eventually, insist
from rig import skip_without_fault_points
from stack import Client, Refused
from tap import Tap

ALIVE, ROWS, FAILURE, OTHER_BUILD, BUSY = range(5)
CLIENTS_MAX = 4096  # as in src/relay/relay.h
LARGE = 15 * 1024 * 1024
CALLS_MAX = 5000  # of one that reads no answer; a socket holds a few hundred
MEMORY_MAX = 300 * 1024  # KiB of a relay that is abused
tap = Tap()


def frame(*numbers, more=b""):
    body = struct.pack(f"<{len(numbers)}I", *numbers) + more
    return struct.pack("<I", len(body)) + body


def message(to, text, key):
    return {"to": to, "message": text, "idempotencyKey": key}


def read_frame(connection):
    """What was sent up to the end of the first frame; None: it hung up."""
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack_from("<I", data)[0]:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    return data


class FalseRelay:
    """Stands at the relay's place, and answers each call as answer(connection) does."""

    def __init__(self, crew, answer):
        self.path = os.path.join(crew.rig.environment["RUNTIME_DIR"], "relay.sock")
        self.answer, self.calls = answer, []
        self.ended = False

    def __enter__(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)

    def accept(self):
        while not self.ended:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                while call := read_frame(connection):
                    self.calls.append(call)
                    if not self.answer(connection):
                        return
            except OSError:
                pass


def says(data, goes_on=False):
    def answer(connection):
        connection.sendall(data)
        return goes_on

    return answer


def keeps_silent(connection):
    time.sleep(5)
    return False


def lives_on_and_dies(connection):
    for _ in range(3):
        connection.sendall(frame(ALIVE))
        time.sleep(0.1)
    return False


FALSE = (
    ("is busy", says(frame(BUSY))),
    ("is of another build", says(frame(OTHER_BUILD))),
    ("hangs up", says(b"")),
    ("says garbage", says(random.randbytes(5000), True)),
    ("says more than there can be", says(b"\xff\xff\xff\xff" + b"x" * 100, True)),
    ("says a part of an answer", says(frame(ROWS, 1, 1, 25)[:10])),
    ("says nothing", keeps_silent),
    ("lives and then dies", lives_on_and_dies),
    ("counts what is not there", says(frame(ROWS, 2**32 - 1, 2**32 - 1), True)),
    ("has no rows to its columns", says(frame(ROWS, 1, 3, 25), True)),
    ("fails in half a failure", says(frame(FAILURE, 5), True)),
    ("fails without an error", says(frame(FAILURE, more=b"\0" * 1000), True)),
    ("answers in no known way", says(frame(77), True)),
    ("says nothing in an answer", says(struct.pack("<I", 0), True)),
)


def patiently(crew, agent):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return crew.join(agent, warm=False)
        except Refused as refused:
            if not refused.error.get("retryable") or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def false_relays(crew):
    for number, (what, answer) in enumerate(FALSE):
        with FalseRelay(crew, answer) as relay:
            client = patiently(crew, "alice")
            for n in range(2):
                insist(client, message("bob", what, f"false-{number}-{n}"))
            tap.ok(relay.calls, f"a relay that {what} was asked")
        tap.equal(crew.stored(f"false-{number}-"), 2, "and the messages went past it, once each")
        client.close()
        tap.equal(client.raw.process.popen.returncode, 0, "the session ends well")


def caught(crew):
    """Calls as a session says them."""
    with FalseRelay(crew, says(frame(BUSY))) as relay:
        patiently(crew, "alice").close()
        assert relay.calls
        return relay.calls[0]


def connect(path, *data):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    for part in data:
        try:
            connection.sendall(part)
        except OSError:
            break  # it has had enough
    return connection


def asks_on(connection, call):
    """Asks as long as it is listened to; how many calls were taken."""
    connection.settimeout(1)
    try:
        for number in range(CALLS_MAX):
            connection.sendall(call)
            time.sleep(0.0005)
    except OSError:
        return number
    return CALLS_MAX


def memory(process):
    with open(f"/proc/{process.popen.pid}/status", encoding="ascii") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmRSS")))


class Honest(threading.Thread):
    """A session that sends all the while, and is answered each time at its first try."""

    def __init__(self, crew, agent):
        super().__init__(daemon=True)
        self.crew, self.client = crew, crew.join(agent)
        self.sent, self.wrong, self.ended = 0, [], False
        self.start()

    def run(self):
        while not self.ended:
            try:
                self.client.request("send", message("bob", "x", f"honest-{self.sent}"), PATIENCE)
                self.sent += 1
            except Exception as error:  # what it is, the test tells
                self.wrong.append(repr(error))
                return

    def goes_on(self, what):
        sent, served = self.sent, self.crew.served()
        eventually(lambda: self.wrong or self.sent > sent + 20, what)
        eventually(lambda: self.wrong or self.crew.served() > served, f"{what}: by the relay")
        tap.equal(self.wrong, [], what)


def false_callers(crew, call):
    path = os.path.join(crew.rig.environment["RUNTIME_DIR"], "relay.sock")
    relay = crew.relay
    honest = Honest(crew, "alice")
    honest.goes_on("a session among false callers is served")

    for _ in range(200):
        connect(path, random.randbytes(random.choice((1, 4, 12, 100, 5000)))).close()
    honest.goes_on("beside garbage that hangs up")
    noisy = [connect(path, random.randbytes(5000)) for _ in range(100)]
    # half of these announce more than there is room for, the rest are of another build
    honest.goes_on("beside garbage that stays")
    halves = [connect(path, call[: random.randrange(1, len(call))]) for _ in range(300)]
    honest.goes_on("beside three hundred halves of a call")
    with connect(path, struct.pack("<I", 400 * 1024 * 1024) + call[4:]) as greedy:
        greedy.settimeout(PATIENCE)
        tap.equal(greedy.recv(100), frame(BUSY), "who announces too much is told so")
    with connect(path, call[:4] + bytes(8) + call[12:]) as other:
        other.settimeout(PATIENCE)
        tap.equal(other.recv(100), frame(OTHER_BUILD), "and so is who is of another build")
    with connect(path, call) as right:
        right.settimeout(PATIENCE)
        answer = read_frame(right)
        tap.equal(struct.unpack_from("<I", answer, 4)[0], ROWS, "what was caught is a call")
    deaf = [connect(path)]
    said = asks_on(deaf[0], call)
    honest.goes_on("beside a caller that asks and asks and reads no answer")
    tap.ok(said < CALLS_MAX, "who is not listened to any more", said)
    tap.ok(memory(relay) < MEMORY_MAX, "nothing piles up", memory(relay))
    for _ in range(300):
        connect(path, call).close()
    honest.goes_on("beside callers that ask and go")
    for one in noisy + halves + deaf:
        one.close()

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < CLIENTS_MAX + 500:
        tap.skip("more connections than it takes", f"this machine allows {hard} descriptors")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        crowd, pipes = [], crew.rig.pipes()  # these first: select(2) knows low numbers only
        while len(crowd) < CLIENTS_MAX + 100:
            try:
                crowd.append(connect(path))
            except BlockingIOError:
                time.sleep(0.01)
        honest.goes_on("beside more connections than it takes")
        crowd[-1].settimeout(PATIENCE)
        tap.equal(crowd[-1].recv(100), frame(BUSY), "who comes then is told that nothing was done")
        late = Client(pipes, crew.rig.tokens["bob"])
        late.request("send", message("alice", "x", "late-1"), PATIENCE)
        tap.ok(True, "and a session that comes then is served without the relay")
        for one in (*crowd, late):
            one.close()
    honest.ended = True
    honest.join()
    tap.equal(crew.stored("honest-"), honest.sent, f"all {honest.sent} are there, once each")
    tap.ok(relay.running(), "the relay lives through all of this", relay.log())


def large_calls(crew):
    clients = [crew.join(agent) for agent in ("alice", "carol")]
    large = clients[0].start("send", message("bob", "x" * LARGE, "large-1"))
    for n in range(30):
        clients[1].request("send", message("bob", "small", f"small-{n}"), PATIENCE)
    clients[0].answer(large, PATIENCE)
    served = crew.served()
    tap.ok(served > 0, "a message of 15 MiB beside small ones")
    stored = crew.rig.value(
        "select length(message) from dbos_system.notifications where message_uuid = 'alice:large-1'"
    )
    tap.ok(stored > LARGE, "is stored whole", stored)


def main():
    skip_without("initdb", "psql", "pgbouncer")
    skip_without_fault_points()  # by whose log is seen who was asked
    settings = {"MAX_MESSAGE_SIZE": 16 * 1024 * 1024, "SESSION_BUFFER_BYTES": 64 * 1024 * 1024}
    with Crew(["alice", "bob", "carol"], settings, relay=False) as crew:
        false_relays(crew)
        call = caught(crew)
        crew.relay = crew.rig.relay()
        large_calls(crew)
        false_callers(crew, call)
        tap.equal(crew.relay.end(), os.EX_OK, "and ends when it is asked to")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

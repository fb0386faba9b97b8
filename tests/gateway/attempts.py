#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Failed attempts to authenticate: who fails too often is told to wait, nobody else is, and the log says
it in a line that fail2ban reads."""

import datetime
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

from cluster import free_tcp_port
from responder import Responder
from sessions import PROGRAM, Refused, World
from tap import Tap

try:
    import websocket
except ImportError:
    websocket = None

tap = Tap()
LIMIT = 5
FILTER = os.path.join(
    os.environ["abs_top_srcdir"], "deploy", "fail2ban", "openclaw-gateway.filter.conf"
)


def attempt(http, address, token):
    return http.get("/agents", token=token, variables={"REMOTE_ADDR": address})


def exhaust(http, address, token="bad"):
    """Until it is told to wait; what the answers were."""
    answers = [attempt(http, address, token) for _ in range(LIMIT)]
    deadline = time.monotonic() + 60
    while answers[-1].status != 429 and time.monotonic() < deadline:
        answers.append(attempt(http, address, token))
    return answers


def over_http(world, http):
    alice, bob, address = world.tokens["alice"], world.tokens["bob"], "192.0.2.1"
    tap.equal(attempt(http, address, alice).status, 200, "alice is known")
    answers = exhaust(http, address)
    tap.equal([a.status for a in answers[:LIMIT]], [401] * LIMIT, "so many attempts are answered")
    tap.equal(answers[-1].json()["code"], "AUTH_RATE_LIMITED", "and then no more")
    said = re.search(r"in (\d+) ms", answers[-1].json()["detail"])
    tap.equal(
        int(answers[-1].headers["retry-after"]), -(-int(said[1]) // 1000),
        "with Retry-After: no earlier than the problem says",
    )  # fmt: skip
    tap.equal(attempt(http, address, alice).status, 200, "alice is taken from there all the same")
    tap.equal(attempt(http, "192.0.2.2", bob).status, 200, "and others from elsewhere")
    tap.equal(attempt(http, "192.0.2.3", "bad").status, 401, "where an attempt is answered")
    exhaust(http, "2001:db8:1:2::1")
    tap.equal(attempt(http, "2001:db8:1:2:ffff::9", "bad").status, 429, "an IPv6 network is one")
    tap.equal(attempt(http, "2001:db8:1:3::1", "bad").status, 401, "and the next one another")
    exhaust(http, "fe80::1%eth0")
    tap.equal(attempt(http, "fe80::2%eth1", "bad").status, 429, "a zone makes no other network of it")


def over_websocket(world, http):
    carol, address = world.tokens["carol"], "198.51.100.7"
    with world.open(REMOTE_ADDR=address) as session:
        session.connect(world.tokens["alice"])
    for _ in range(LIMIT + 3):
        with world.open(REMOTE_ADDR=address) as session:
            try:
                session.connect("ocg_bad")
            except Refused as refusal:
                last = refusal
    tap.equal(last.details["code"], "AUTH_RATE_LIMITED", "over WebSocket too")
    tap.ok(last.error["retryable"] and last.error["retryAfterMs"] > 0, "with when to come again", last)
    tap.equal(attempt(http, address, "bad").status, 429, "both count together")
    with world.open(REMOTE_ADDR=address) as session:
        tap.ok(session.connect(world.tokens["alice"]), "who is known connects from there")
    ticket = http.send("POST", "/ws-ticket", token=world.tokens["alice"]).json()["ticket"]
    tap.equal(attempt(http, address, "bad").status, 429, "while others still have to wait")
    with world.open(REMOTE_ADDR=address, QUERY_STRING=f"ticket={ticket}") as session:
        tap.ok(session.connect(None), "so does its ticket")
    deadline = time.monotonic() + 120
    answer = attempt(http, address, carol)
    while answer.status == 429 and time.monotonic() < deadline:
        time.sleep(int(answer.headers["retry-after"]))
        answer = attempt(http, address, carol)
    tap.equal(answer.status, 200, "who is not gets in, too, by coming again when told to")


def by_principal(world, http):
    token = world.token("bob")
    world.sql(
        "update openclaw.credential set revoked_at = openclaw.now_ms()"
        f" where token_sha256 = encode(sha256('{token}'), 'hex')"
    )
    statuses = [attempt(http, f"203.0.113.{i}", token).status for i in range(LIMIT + 8)]
    tap.equal(statuses[:LIMIT], [401] * LIMIT, "an ended token")
    tap.ok(429 in statuses, "is counted for its principal, wherever it comes from", statuses)
    tap.equal(attempt(http, "203.0.113.1", world.tokens["bob"]).status, 200, "whose other token is good")
    tap.ok(
        any(e.get("principal") == "bob" for e in http.events("auth.failed")), "the log says whose it was"
    )


def matches(lines):
    """Which lines fail2ban would count, and the address it finds in each."""
    with open(FILTER, encoding="utf-8") as file:
        text = file.read()
    regex = re.search(r"^failregex = (.*)$", text, re.M).group(1)
    # fail2ban takes the time stamp out of a line before it looks
    stamp = re.compile(r'"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"')
    pattern = re.compile(regex.replace("<ADDR>", r"(?P<address>[0-9A-Fa-f.:]+)"))
    found = [pattern.match(stamp.sub("", line, count=1)) for line in lines]
    return [m.group("address") for m in found if m]


def fail2ban(world, http):
    own = []
    for address in ("198.51.100.99", "fe80::5%eth0"):
        with world.open(REMOTE_ADDR=address) as session:
            try:
                session.connect("ocg_bad")
            except Refused:
                pass
            session.wait(10)
            session.errors.seek(0)
            own += session.errors.read().decode().splitlines()
    lines = http.log().splitlines()
    failed = [line for line in lines if '"event":"auth.failed"' in line]
    tap.equal(len(matches(lines)), len(failed), "the filter finds each failed attempt over HTTP")
    tap.equal(matches(own), ["198.51.100.99", "fe80::5"], "and over WebSocket, with the address")
    # as websocketd passes a child's line on, with the URL as the client sent it
    line = next(line for line in own if "auth.failed" in line)
    fake = line.replace("198.51.100.99", "192.0.2.200")
    prefix = "Sun, 22 Nov 2026 16:00:00 +0000 | ERROR  | stderr     | url:'http://x/?a' id:'1' | "
    tap.equal(matches([prefix + line]), ["198.51.100.99"], "also behind what websocketd puts before it")
    evil = prefix.replace("?a", "?| " + fake)
    tap.equal(matches([evil + line]), ["198.51.100.99"], "where a URL pretends to be such a line, the real one counts")
    harmless = line.replace("auth.failed", "session.open")
    tap.equal(matches([evil + harmless, evil + "CONNECT"]), [], "or none")
    for journal in ("myhost openclaw-gateway-http[1558]: ", "my.host websocketd[7]: " + prefix, "h websocketd: "):
        tap.equal(matches([journal + line]), ["198.51.100.99"], f"from the journal: {journal}")
        tap.equal(matches([journal + harmless]), [], "and nothing else")
    program = shutil.which("fail2ban-regex")
    if program is None:
        tap.skip("fail2ban itself reads them", "fail2ban-regex is missing")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        with open(path, "w", encoding="utf-8") as file:
            journal = f"myhost openclaw-gateway-http[1558]: {failed[0]}"
            file.write("\n".join([*failed[:20], *own, evil + harmless, journal]) + "\n")
        shutil.copy(FILTER, os.path.join(directory, "filter.conf"))
        done = subprocess.run(
            [program, "-v", path, os.path.join(directory, "filter.conf")],
            capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC-9"},
        )  # fmt: skip
    tap.ok(
        re.search(r"Failregex: 23 total", done.stdout), "fail2ban itself reads them",
        done.stdout + done.stderr,
    )
    # it says the time of each in its own zone, nine hours ahead of what the line says
    stamp = datetime.datetime.strptime(json.loads(failed[0])["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")
    local = (stamp + datetime.timedelta(hours=9)).strftime("%a %b %d %H:%M:%S %Y")
    tap.ok(local in done.stdout, f"and takes their time for what it is: {local}", done.stdout)


def journaled():
    """Under the unit's own command line, what a session says reaches the stream that systemd gave the
    service as standard error, which is what the jail's journalmatch looks at."""
    name = "a session's failure is in the journal of the unit, as the filter wants it"
    program = shutil.which("websocketd")
    if program is None or websocket is None:
        tap.skip(name, "websocketd or python3-websocket is missing")
        return
    unit = os.path.join(os.environ["abs_top_builddir"], "deploy/systemd/openclaw-gateway-websocketd.service")
    with open(unit, encoding="utf-8") as file:
        command = re.search(r"^ExecStart=(.*)$", file.read(), re.M).group(1)
    port = free_tcp_port()
    command = re.sub(r"\S*/openclaw-gateway-session", PROGRAM, command)
    command = command.replace("/usr/bin/websocketd", program).replace("18800", str(port))
    ours, journal = socket.socketpair()
    environment = {"PATH": os.environ["PATH"], "GATEWAY_ENV": "/dev/null"}
    process = subprocess.Popen(
        shlex.split(command), stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, env=environment
    )
    journal.close()
    ours.settimeout(60)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        url = f"ws://127.0.0.1:{port}/?token=ocg_secret"
        client = websocket.create_connection(url, timeout=60, suppress_origin=True)
        with ours.makefile("r", encoding="utf-8") as lines:
            said = []
            try:
                while not said or "auth.failed" not in said[-1]:
                    said.append(lines.readline())
            except TimeoutError:
                pass
        client.close()
        stream = [f"myhost websocketd[7]: {line.rstrip()}" for line in said]
        tap.equal(matches(stream), ["127.0.0.1"], name)
        tap.ok("ocg_secret" not in str(said), "and without the URL, in which a secret stood", said)
    finally:
        process.terminate()
        process.wait(60)


def main():
    with World(AUTH_FAILURES_PER_MINUTE=LIMIT) as world:
        settings = {"RUNTIME_DIR": world.runtime, "AUTH_FAILURES_PER_MINUTE": LIMIT}
        with Responder(world.cluster, settings, processes=2) as http:
            over_http(world, http)
            over_websocket(world, http)
            by_principal(world, http)
            fail2ban(world, http)
    journaled()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

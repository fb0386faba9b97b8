#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""kill -9 of every process of the stack, one after the other: it is back within a second, and what was
accepted before is delivered after."""

import os
import signal
import socket
import sys
import time

from stack import Stack, skip_without_stack, wait
from tap import Tap, diagnose

HEALED_SECONDS = 1.0
# PostgreSQL syncs its files and replays its log, at the pace of the disk, and PgBouncer finds it again
POSTGRES_SECONDS = 30.0


def refusal(stack):
    """None, or what a client was told (or not)."""
    try:
        status, answer, _ = stack.http("GET", "/readyz", timeout=2)
    except OSError as error:
        return repr(error)
    return None if status == 200 else f"{status} {answer}"


def websocket_refusal(stack):
    try:
        stack.connect("alice").close()
        return None
    except Exception as error:  # whatever is not up yet
        return repr(error)


def answers(stack):
    return refusal(stack) is None


def websocket_answers(stack):
    return websocket_refusal(stack) is None


def check_service(tap, stack, name):
    limit = POSTGRES_SECONDS if name == "postgres" else HEALED_SECONDS
    began = time.monotonic()
    dead = stack.kill(name)
    stack.wait_running(name, not_pid=dead)
    back = time.monotonic() - began
    wait(lambda: answers(stack), f"the gateway is ready after {name} was killed", POSTGRES_SECONDS)
    ready = time.monotonic() - began
    wait(lambda: websocket_answers(stack), f"and takes WebSockets after {name} was killed")
    healed = time.monotonic() - began
    tap.ok(back < HEALED_SECONDS, f"{name}: killed, started again within {HEALED_SECONDS:.0f} s")
    tap.ok(healed < limit + 1, f"{name}: the gateway answers again", f"after {healed:.2f} s")
    diagnose(f"{name}: process back after {back:.2f} s, ready {ready:.2f} s, gateway whole after {healed:.2f} s")


def check_welcome(tap, stack, name, refused):
    """Who comes while a backend is away is told so; who comes when it is back is served, at once."""
    turned_away = []
    for _ in range(3):
        stack.stop_service(name)
        told = [refused(stack) for _ in range(3)]
        tap.ok(None not in told, f"{name} is away, and three clients are told so")
        stack.start_service(name)
        wait(lambda: is_listening(stack, name), f"{name} is back")
        turned_away.append(refused(stack))
    tap.equal(turned_away, [None] * 3, f"{name} is back, and the first client to come is served")


def http_socket(stack):
    state = os.path.join(stack.directory, "state")  # where the folder's path is too long for a socket's
    inside = state if os.path.exists(state) else stack.directory
    with open(os.path.join(inside, "etc", "gateway.env"), encoding="utf-8") as file:
        [line] = [line for line in file if line.startswith("HTTP_SOCKET=")]
    return line.strip().split("=", 1)[1].strip("'")


def is_listening(stack, name):
    """Past the front server, which must not hear of a connection that is refused."""
    family = socket.AF_UNIX if name == "http" else socket.AF_INET
    address = http_socket(stack) if name == "http" else ("127.0.0.1", stack.websocketd_port)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address) == 0


def check_supervisor(tap, stack, name):
    supervisor, service = stack.supervisor(name), stack.pid(name)
    os.kill(supervisor, signal.SIGKILL)
    wait(lambda: stack.supervisor(name) not in (None, supervisor), f"{name}'s supervisor is replaced")
    stack.wait_running(name)
    tap.equal(stack.pid(name), service, f"{name}: its supervisor killed and replaced, itself untouched")
    again = stack.kill(name)
    stack.wait_running(name, not_pid=again)
    tap.ok(True, f"{name}: and the new supervisor does its work")


def send(stack, content):
    def once():
        try:
            status, answer, _ = stack.http(
                "POST",
                "/messages",
                {"to": "bob", "content": content},
                stack.tokens["alice"],
                {"Idempotency-Key": content.replace(" ", "-")},
            )
        except OSError:
            return None
        return answer if status == 200 else None

    return wait(once, f"{content!r} is accepted")


def check_nothing_lost(tap, stack, names):
    """Accepted while bob is away, delivered after everything has been killed since."""
    for name in names:
        send(stack, f"before {name}")
        dead = stack.kill(name)
        stack.wait_running(name, not_pid=dead)
    wait(lambda: answers(stack), "the gateway is ready")
    wait(lambda: websocket_answers(stack), "and takes WebSockets")
    expected = [f"before {name}" for name in names]
    received = []
    with stack.connect("bob") as bob:
        bob.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 100})
        while len(received) < len(expected):
            message = bob.event("inbox.message")
            received.append(message["content"])
            bob.request("inbox.ack", {"deliveryIds": [message["deliveryId"]]})
    tap.equal(received, expected, "nothing accepted is lost, and the order is kept")
    unfinished = "select count(*) from dbos_system.workflow_status where name = 'routeAgentMessage'"
    unfinished += " and status <> 'SUCCESS'"
    wait(lambda: stack.value(unfinished) == "0", "every workflow ends")
    tap.equal(stack.value(unfinished), "0", "every workflow has ended well")


def main():
    skip_without_stack()
    tap = Tap()
    with Stack() as stack:
        for name in stack.SERVICES:
            check_service(tap, stack, name)
        stack.stop_service("keeper")
        check_welcome(tap, stack, "websocketd", websocket_refusal)
        check_welcome(tap, stack, "http", refusal)
        stack.start_service("keeper")
        for name in ("postgres", "http", "websocketd", "sweeper"):
            check_supervisor(tap, stack, name)
        keeper = stack.supervisor("keeper")
        os.kill(keeper, signal.SIGKILL)
        wait(lambda: stack.supervisor("keeper") not in (None, keeper), "the keeper's supervisor")
        tap.ok(True, "the keeper's own supervisor is replaced")
        check_nothing_lost(tap, stack, [n for n in stack.SERVICES if n != "keeper"])
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

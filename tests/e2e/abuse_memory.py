#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many clients that each send one frame without an end. websocketd has to hold all of it; its address
space is limited, so that it ends before the host's memory does. It is back at once, what its sessions
held is given back, and nothing that was accepted is lost."""

import os
import re
import sys

from abuse import MB, PATIENCE, TEXT, RawSocket
from stack import Client, Stack, skip_without_stack, wait
from tap import Tap, diagnose

ADDRESS_SPACE_MIB = 2048
ATTACKERS = 30
FRAME = 60 * MB  # below what the front server lets through


def peak(pid):
    """KiB of addresses and of memory."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return 0, 0
    values = [re.search(rf"{name}:\s+(\d+) kB", text) for name in ("VmPeak", "VmHWM")]
    return tuple(int(value.group(1)) if value else 0 for value in values)


def attack(stack, before):
    """Until websocketd has ended; its peaks."""
    raws = [RawSocket(stack.ws_url) for _ in range(ATTACKERS)]
    peaks = (0, 0)
    for raw in raws:
        raw.write(raw.header(FRAME, TEXT))
    for _ in range(FRAME // MB):
        for raw in raws:
            raw.write(b"x" * MB)
        peaks = tuple(map(max, peaks, peak(before)))
        if stack.pid("websocketd") != before:
            break
    for raw in raws:
        raw.close()
    return peaks


def main():
    skip_without_stack()
    tap = Tap()
    environment = {"WEBSOCKETD_ADDRESS_SPACE": str(ADDRESS_SPACE_MIB)}
    with Stack({"LEASE_MS": 3600000}, environment=environment) as stack:
        bob = stack.connect("bob")
        bob.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10})
        with stack.connect("alice") as alice:
            for i in range(10):
                params = {"to": "bob", "message": f"m{i}", "idempotencyKey": f"m{i}"}
                alice.request("send", params, PATIENCE)
        for _ in range(10):
            bob.event("inbox.message", PATIENCE)
        before = stack.pid("websocketd")
        addresses, memory = attack(stack, before)
        diagnose(f"websocketd's peaks: {addresses} KiB of addresses, {memory} KiB of memory")
        after = stack.wait_running("websocketd", not_pid=before, timeout=PATIENCE)
        tap.ok(after != before, f"{ATTACKERS} large frames at once: websocketd ends, and is back")
        tap.ok(
            0 < addresses <= ADDRESS_SPACE_MIB * 1024,
            f"it never had more than {ADDRESS_SPACE_MIB} MiB",
            addresses,
        )
        tap.ok(os.path.exists(f"/proc/{stack.pid('http')}"), "others live")
        tap.equal(stack.http("GET", "/readyz", timeout=PATIENCE)[0], 200, "HTTP is answered")

        def connected():
            try:
                return Client(stack.socket(timeout=PATIENCE), stack.tokens["bob"])
            except Exception:  # whatever is not up yet
                return None

        again = wait(connected, "WebSockets are taken again", PATIENCE)
        again.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10}, PATIENCE)
        got = []
        while len(got) < 10:
            message = again.event("inbox.message", PATIENCE)
            got.append(message["content"])
            again.request("inbox.ack", {"deliveryIds": [message["deliveryId"]]}, PATIENCE)
        tap.equal(got, [f"m{i}" for i in range(10)], "what was held is given back, in order")
        again.close()
        bob.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

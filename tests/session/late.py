#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""libpq is loaded by the first attempt to connect, not before; and a session outlives that it cannot be."""

import os
import sys
import tempfile
import time

from programs import run
from sessions import PROGRAM, Refused, World
from tap import Tap

CONNECT = {
    "minProtocol": 3,
    "maxProtocol": 4,
    "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
}
FAMILY = ("libpq.", "libssl.", "libcrypto.", "libgssapi", "libldap")


def mapped(session):
    """The files that the process has mapped, by their names without folders."""
    with open(f"/proc/{session.process.pid}/maps", encoding="utf-8") as file:
        paths = {line.split()[5] for line in file if len(line.split()) > 5}
    return {os.path.basename(path): path for path in paths}


def family(session):
    return sorted(name for name in mapped(session) if name.startswith(FAMILY))


def check_when(tap, world, directory):
    """The database as a gateway.env names it, with a line for libpq: judging these would load it."""
    config = os.path.join(directory, "gateway.env")
    environment = world.environment()
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'DATABASE_URL="{environment["DATABASE_URL"]}"\nPGCONNECT_TIMEOUT=9\n')
    with world.open(GATEWAY_ENV=config, DATABASE_URL="") as alice:
        alice.event("connect.challenge")
        tap.equal(family(alice), [], "a session that nobody has spoken to has no libpq")
        alice.connect(world.tokens["alice"])
        tap.ok("libpq." in " ".join(family(alice)), "one that has connected has", mapped(alice))
        tap.equal(alice.leave(), 0, "and ends well")


def wait_for_detail(tap, session, words, name):
    deadline = time.monotonic() + 20
    while True:
        details = [line.get("detail", "") for line in session.log()]
        if any(words in detail for detail in details) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    tap.ok(any(words in detail for detail in details), name, details)
    tap.equal(
        [detail for detail in details if words in detail and "install libpq5" not in detail],
        [],
        "and what to do",
    )


def check_missing(tap, world, directory):
    """A file of that name which is no library goes before the real one."""
    library = os.path.join(directory, "libpq.so.5")
    with open(library, "wb"):
        pass
    path = ":".join(filter(None, (directory, os.environ.get("LD_LIBRARY_PATH"))))
    words = "libpq.so.5 cannot be loaded: "
    settings = {"LD_LIBRARY_PATH": path, "DB_TIMEOUT_MS": 1000}

    with world.open(**settings) as alice:
        try:
            alice.connect(world.tokens["alice"])
            tap.ok(False, "without libpq nobody is let in")
        except Refused as refusal:
            tap.equal(refusal.code, "UNAVAILABLE", "without libpq nobody is let in: UNAVAILABLE")
            tap.ok(words not in str(refusal.error), "the client is not told of our libraries")
        tap.equal(alice.wait(), 0, "and the session ends as it should")
        wait_for_detail(tap, alice, words, "the log says why")

    with world.open(**{**settings, "DB_TIMEOUT_MS": 60000}) as alice:
        alice.event("connect.challenge")
        identity = alice.request("connect", {**CONNECT, "auth": {"token": world.tokens["alice"]}})
        wait_for_detail(tap, alice, words, "one that waits has said why")
        os.unlink(library)
        tap.ok(alice.answer(identity, 60), "once it can be loaded, who waited is let in")

    with world.open(**settings) as alice:
        alice.event("connect.challenge")
        other = next(path for name, path in mapped(alice).items() if name.startswith("libnettle."))
        os.symlink(other, library)
        alice.request("connect", {**CONNECT, "auth": {"token": world.tokens["alice"]}})
        wait_for_detail(
            tap, alice, "undefined symbol: PQ", "so does one that finds another library"
        )
    os.unlink(library)
    with open(library, "wb"):
        pass

    environment = world.environment(LD_LIBRARY_PATH=path)
    said = run([PROGRAM, "--check-config"], environment)
    tap.equal(said.code, 78, "--check-config without libpq: exit 78")
    tap.ok("DATABASE_URL: " in said.err and "install libpq5" in said.err, "and why", said.err)
    said = run([PROGRAM, "--version"], environment)
    tap.equal(said.code, 0, "--version needs none")


def main():
    tap = Tap()
    with World() as world, tempfile.TemporaryDirectory(prefix="ocgl-") as directory:
        check_when(tap, world, directory)
        check_missing(tap, world, directory)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

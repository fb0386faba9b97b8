#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl on a terminal: tables fit it, and nothing that somebody wrote steers it. And what it
refuses of times and scopes."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

from cluster import skip_without
from programs import CTL
from stage import Stage
from tap import Tap

COLUMNS = 80
STEERING = ("\u0085", "\u009b31m", "\u009d", "\u200e", "\u2028", "\u202e", "\u2066", "\u061c", "\x1b[2J", "\x07")

tap = Tap()


def on_terminal(stage, *arguments, columns=COLUMNS, rows=24, **more):
    """What it prints where standard output is a terminal of this size."""
    environment = {**stage.environment(), **more}
    for name in ("COLUMNS", "LINES"):
        if name not in more:
            environment.pop(name, None)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execve(CTL, [CTL, *arguments], environment)
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:
        pass  # Linux says EIO at the end
    os.waitpid(child, 0)
    os.close(terminal)
    return said.decode("utf-8").replace("\r\n", "\n")


def steering(stage):
    name = "begin" + "".join(f"{mark}x" for mark in STEERING) + "end"
    made = stage.ctl("agent", "set", "bob", "--name", name)
    tap.equal(made.code, 0, "a name may hold any character")
    for arguments in (["agent", "show", "bob"], ["agent", "list"]):
        said = stage.ctl(*arguments).out
        tap.ok("end" in said and not any(mark[0] in said for mark in STEERING),
               f"{' '.join(arguments)}: but nothing steers the terminal", said)
    tap.equal(stage.ctl("agent", "show", "bob", "--json").json["name"], name, "--json has it as it is")
    stage.ctl("agent", "set", "bob", "--name", "Grüße, 世界")
    tap.ok("Grüße, 世界" in stage.ctl("agent", "show", "bob").out, "letters stay")


def width(stage):
    for n in range(30):
        stage.ctl("message", "send", "bob", f"message {n}", "--key", f"a-rather-long-key-of-the-message-{n}")
    wide = stage.ctl("message", "list").out.splitlines()
    tap.ok(max(map(len, wide)) > COLUMNS and "…" not in "".join(wide), "elsewhere a table is not cut")
    narrow = on_terminal(stage, "message", "list").splitlines()
    tap.equal(len(narrow), len(wide), "on a terminal it has the same rows")
    tap.ok(max(map(len, narrow)) <= COLUMNS, "and is as wide as the terminal at most", narrow[:3])
    tap.ok(any("…" in line for line in narrow), "what is cut says so")
    tap.ok(max(map(len, on_terminal(stage, "message", "list", COLUMNS="400").splitlines())) > COLUMNS,
           "COLUMNS says otherwise")  # fmt: skip
    tap.ok("…" not in on_terminal(stage, "doctor"), "what doctor says is never cut")


def told_apart(stage):
    """What tells one row from another is what a narrow terminal keeps: the time of day, the ends of ids."""
    head, *rows = on_terminal(stage, "message", "list").splitlines()
    tap.equal(len(set(row.split()[0] for row in rows)), len(rows), "no two rows begin alike")
    tap.ok(all(row.split()[0].endswith(f"-message-{29 - n}") for n, row in enumerate(rows)), "an id keeps its end", rows)
    tap.ok("ACCEPTED" in head and "DUE" not in head, "when a message is due goes before that", head)
    tap.ok(all(re.search(r" \d\d:\d\d(:\d\d)?Z ", row) for row in rows), "of a stamp the time of day stays", rows[:3])
    tap.ok("DUE" in on_terminal(stage, "message", "list", columns=200).splitlines()[0], "where there is room nothing goes")
    for arguments in (["workflow", "list"], ["token", "list"], ["audit", "list"], ["agent", "list"], ["workflow", "steps", "system:a-rather-long-key-of-the-message-1"]):
        for columns in (60, 80):
            lines = on_terminal(stage, *arguments, columns=columns).splitlines()
            tap.ok(max(map(len, lines)) <= columns, f"{columns} columns: {' '.join(arguments)}", lines[:3])
    head, *rows = on_terminal(stage, "workflow", "list").splitlines()
    tap.ok(sum(f"-message-{n}" in row for n in range(30) for row in rows) >= 30, "workflow list, too", rows[:3])
    stamp = "2025-07-03T10:00:00.000Z"
    stage.sql(f"update openclaw.audit set at = extract(epoch from '{stamp}'::timestamptz) * 1000")
    tap.ok("2025-07-03 " in on_terminal(stage, "audit", "list", columns=60), "of another year its date")


def refused(stage):
    for arguments, word in (
        (["message", "send", "bob", "x", "--delay", "90"], "500ms"),
        (["token", "add", "bob", "--expires", "90"], "500ms"),
        (["token", "add", "bob", "--expires", "0"], "more than nothing"),
        (["agent", "add", "nobodyyet", "--expires", "0"], "more than nothing"),
        (["health", "--watch", "--interval", "0"], "20ms or more"),
        (["message", "tail", "--interval", "0"], "20ms or more"),
    ):
        said = stage.ctl(*arguments)
        tap.ok(said.code == 64 and word in said.err, f"refused: {' '.join(arguments)}", said)
    before = len(stage.ctl("token", "list", "bob", "--json").json["tokens"])
    said = stage.ctl("token", "add", "bob", "--scopes", "send,operator")
    tap.ok(said.code == 77 and "operator" in said.err, "a token has no more than its principal", said)
    tap.equal(len(stage.ctl("token", "list", "bob", "--json").json["tokens"]), before, "and none is made")
    tap.equal(stage.ctl("token", "add", "bob", "--scopes", "send").code, 0, "less it may have")


def main():
    skip_without("initdb")
    with Stage() as stage:
        steering(stage)
        width(stage)
        told_apart(stage)
        refused(stage)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

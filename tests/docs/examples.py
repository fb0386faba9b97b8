#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the examples of README.md and docs/*.md as they stand, and compares what they print with what the
document says they print. One deploy/quickstart, its demonstration included, serves all of them, one after
the other in the order in which README's "Read on" names them: as for somebody who reads on.

    examples.py [DOCUMENT ...]  (or $DOCUMENTS) only these, in this order

A fenced block is an example by its info string; what else stands there is a name=value:

    ```sh example=NAME          run; all of one document in one shell, in the order of the document
    ```python file=NAME         written to a file, for an example that follows (any language)
    ```html file=NAME browser=NAME  written to a file, and opened in chromium by python's http.server;
                                enter=VARIABLE of var/quickstart.env goes into its first field
    ```output                   what the example before it prints: `…` is anything, within a line or,
                                alone on one, for any number of lines

    status=N                    the exit status of the example (0)
    needs=NAME,NAME             SKIP without: a program, node:PACKAGE, or typescript (node 22.19)

Each document has a shell and a folder of its own, which looks like a clone after deploy/quickstart: there are
deploy, src and var, and node_modules as after npm install. `<!-- stack: NAME=VALUE … -->` in a document gives settings. In
addresses the ports 8000 and 18789 stand for those of the test.
"""

import glob
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import browser
import cluster
import node
from stack import SOURCE, Stack, skip_without_stack, wait, websocket
from tap import Tap

PATIENCE = 90.0  # seconds that one example may take
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
SERVED_PORT, GATEWAY_PORT = "8000", "18789"
TYPESCRIPT_NODE = (22, 19)  # what @openclaw/gateway-client asks for

tap = Tap()


class Block:
    def __init__(self, language, info, text):
        self.language, self.text = language, text
        self.info = dict(word.split("=", 1) for word in info.split() if "=" in word)
        self.output = None


def blocks_of(text):
    """The blocks of a document that are meant to be run, with their outputs."""
    found = []
    for language, info, body in FENCE.findall(text):
        if language == "output":
            found[-1].output = body
        else:
            found.append(Block(language, info, body))
    return [block for block in found if block.info.keys() & {"example", "file", "browser"}]


def matcher(wanted):
    """The regular expression of an output block."""
    out = []
    for line in wanted.rstrip("\n").split("\n"):
        if line.strip() == "…":
            out.append(r"(?:[^\n]*\n)*?")
        else:
            parts = (re.escape(part) for part in line.rstrip().split("…"))
            out.append(r"[^\n]*".join(parts) + r"[ \t]*\n")
    return re.compile("".join(out))


def printed(text):
    """Without the frills of a terminal, and with one end."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    return text.strip() + "\n"


def missing(need):
    """Why there is no such thing, or None."""
    if need == "typescript":
        if shutil.which("node") is None:
            return "node is not installed"
        version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        numbers = tuple(int(part) for part in version.strip().lstrip("v").split(".")[:2])
        return None if numbers >= TYPESCRIPT_NODE else f"node {version.strip()} runs no TypeScript"
    if need.startswith("node:"):
        return node.missing(need.removeprefix("node:"))
    return None if shutil.which(need) else f"{need} is not installed"


# ---- a reader's terminal --------------------------------------------------------------------------


class Terminal:
    """One bash, to which blocks are given as a reader would paste them."""

    MARK = "the-example-has-ended"

    def __init__(self, directory, environment):
        self.directory = directory
        self._quiet = os.pipe()  # a keyboard that nobody touches
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
            pass_fds=[self._quiet[0]],
        )

    def run(self, text):
        """(status, what it printed); status None: it did not end in time."""
        path = os.path.join(self.directory, ".block")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        line = f". {shlex.quote(path)} <&{self._quiet[0]}; printf '\\n{self.MARK} %s\\n' $?\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        return self._read_until_mark()

    def _read_until_mark(self):
        got, deadline = b"", time.monotonic() + PATIENCE
        pattern = re.compile(rb"\n" + self.MARK.encode() + rb" (\d+)\n")
        while not pattern.search(got):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None, got.decode(errors="replace")
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                return None, got.decode(errors="replace")
            got += part
        found = pattern.search(got)
        return int(found.group(1)), got[: found.start()].decode(errors="replace")

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Place:
    """The quick start that all documents are read at, with the settings that they ask for."""

    def __init__(self, texts):
        self.port = str(cluster.free_tcp_port())
        settings = {}
        for text in texts:
            found = re.search(r"^<!-- stack: (.*?) -->$", text, re.M)
            settings |= dict(word.split("=", 1) for word in found.group(1).split()) if found else {}
        settings = {key: value.replace(SERVED_PORT, self.port) for key, value in settings.items()}
        self.stack = Stack(settings=settings, start=False)
        result = self.stack.quickstart("start", "--no-install")
        tap.ok(result.returncode == 0, "deploy/quickstart", result.stdout + result.stderr)
        self.stack.read_environment()
        self.gateway_port = urllib.parse.urlsplit(self.stack.url).port

    def close(self):
        self.stack.close()


class Reader:
    """Somebody who goes through one document."""

    def __init__(self, name, place):
        self.name, self.stack = name, place.stack
        self.port, self.gateway_port = place.port, place.gateway_port
        self.directory = tempfile.mkdtemp(prefix="ocgd-")
        links = {name: os.path.join(SOURCE, name) for name in ("deploy", "src", "docs")}
        links |= {"var": self.stack.directory, "node_modules": node.modules()}
        for link, target in links.items():
            if target:
                os.symlink(target, os.path.join(self.directory, link))
        self.terminal = Terminal(self.directory, self._environment())
        self.server = None

    def _environment(self):
        environment = dict(self.stack._environment)
        local = os.path.join(self.directory, "bin")
        os.makedirs(local)
        with open(os.path.join(local, "python3"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        os.chmod(os.path.join(local, "python3"), 0o755)
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(websocket.__file__))
        environment["PATH"] = f"{local}:{environment['PATH']}"
        environment["npm_config_offline"] = "true"
        environment["npm_config_loglevel"] = "error"
        return environment

    def replaced(self, text):
        """With the ports of this test, where an address has those of the document."""
        text = text.replace(f"localhost:{SERVED_PORT}", f"localhost:{self.port}")
        return text.replace(f":{GATEWAY_PORT}/", f":{self.gateway_port}/")

    def take(self, block):
        if "file" in block.info:
            path = os.path.join(self.directory, block.info["file"])
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.replaced(block.text))
        label = block.info.get("example") or block.info.get("browser")
        if not label:
            return
        needs = [need for need in block.info.get("needs", "").split(",") if need]
        reason = next(filter(None, map(missing, needs)), None)
        if reason:
            tap.skip(f"{self.name}: {label}", reason)
        elif "browser" in block.info:
            self._open(block, label)
        else:
            self._run(block, label)

    def _run(self, block, label):
        status, output = self.terminal.run(self.replaced(block.text))
        wanted = int(block.info.get("status", "0"))
        good = status == wanted
        if good and block.output is not None:
            good = matcher(self.replaced(block.output)).fullmatch(printed(output))
        detail = f"exit status {status}\n{printed(output)}"
        if block.output is not None:
            detail += f"---- but the document says:\n{block.output}"
        tap.ok(good, f"{self.name}: {label}", detail)

    def _open(self, block, label):
        self._serve()
        url = f"http://localhost:{self.port}/{block.info['file']}"
        wanted = matcher(self.replaced(block.output))
        enter = self.stack.env.get(block.info.get("enter"))
        text = browser.shown(
            url, lambda shown: wanted.fullmatch(printed(shown)), PATIENCE, enter=enter
        )
        good = wanted.fullmatch(printed(text))
        tap.ok(good, f"{self.name}: {label}", f"{text}\n---- but the document says:\n{block.output}")

    def _serve(self):
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "http.server", self.port, "--bind", "localhost"],
                cwd=self.directory,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

            def answers():
                try:
                    urllib.request.urlopen(f"http://localhost:{self.port}/", timeout=5).close()
                    return True
                except OSError:
                    return False

            wait(answers, "the folder is served")

    def close(self):
        self.terminal.close()
        if self.server:
            self.server.kill()
            self.server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def test_runner():
    """That the comparison can fail."""
    good = matcher("a … c\n…\nend\n")
    tap.ok(good.fullmatch(printed("a b c\n1\n2\nend")), "the comparison takes what is meant")
    tap.ok(not good.fullmatch(printed("a b c\n1\n2\nthe end")), "and nothing else")


def read(document):
    with open(os.path.join(SOURCE, document), encoding="utf-8") as file:
        return file.read()


def reading_order():
    """README.md, what its "Read on" names, and what it does not name."""
    readme = read("README.md")
    named = re.findall(r"\]\((docs/[\w-]+\.md)\)", readme[readme.index("\n## Read on") :])
    there = [os.path.relpath(path, SOURCE) for path in sorted(glob.glob(f"{SOURCE}/docs/*.md"))]
    return [*dict.fromkeys(["README.md", *named, *there])]


def test_document(name, place):
    # whoever reads on does so at leisure: what a document has killed at its end is back
    wait(lambda: place.stack.http("GET", "/health")[1].get("status") == "healthy", "it is healthy", PATIENCE)
    reader = Reader(name, place)
    try:
        for block in blocks_of(read(name)):
            reader.take(block)
    finally:
        reader.close()


def test_documents(chosen):
    documents = [name for name in chosen if blocks_of(read(name))]
    place = Place([read(name) for name in documents])
    try:
        for name in documents:
            test_document(name, place)
    finally:
        place.close()


skip_without_stack("jq")
test_runner()
test_documents(sys.argv[1:] or os.environ.get("DOCUMENTS", "").split() or reading_order())
sys.exit(tap.done())

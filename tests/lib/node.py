# SPDX-License-Identifier: MIT
"""The official Node.js clients that tests run against the gateway (tests/node/package.json).

    import node

    node.skip_without(node.SDK)                 # ends the test as skipped, naming what is missing
    node.missing(node.SDK)                      the same as a sentence, or None
    node.dbos_schema(url, "-s", "dbos_system")  the official CLI makes its schema
    node.run("tests/migration/x.mjs", argument, env={...})      -> subprocess.CompletedProcess
    node.package(node.SDK)                      its directory
    node.version(node.SDK)                      what is installed there

The packages are looked for in $NODE_MODULES_DIR, then in tests/node/node_modules of the build and
of the source tree; `npm ci` in tests/node puts them there.  Nothing is installed by a test.
A script gets NODE_MODULES_DIR and loads a package with
createRequire(`${process.env.NODE_MODULES_DIR}/`): ES imports look only beside the script.
"""

import json
import os
import shutil
import subprocess

from tap import skip_all

SOURCE = os.environ.get("abs_top_srcdir") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..")
)
SDK = "@dbos-inc/dbos-sdk"
NODE_MAJOR_MIN = 20  # what @dbos-inc/dbos-sdk asks for


def modules():
    """The node_modules directory, or None."""
    candidates = [os.environ.get("NODE_MODULES_DIR")]
    for tree in (os.environ.get("abs_top_builddir"), SOURCE):
        candidates.append(tree and os.path.join(tree, "tests", "node", "node_modules"))
    return next((path for path in candidates if path and os.path.isdir(path)), None)


def package(name):
    return os.path.join(modules() or "", name)


def _pinned(name):
    with open(os.path.join(SOURCE, "tests", "node", "package.json"), encoding="utf-8") as file:
        return json.load(file)["dependencies"][name]


def missing(*packages):
    """Why these packages cannot be used, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    said = subprocess.run(["node", "--version"], capture_output=True, encoding="utf-8").stdout
    if int(said.lstrip("v").split(".")[0]) < NODE_MAJOR_MIN:
        return f"node {said.strip()} is older than {NODE_MAJOR_MIN}"
    for name in packages:
        try:
            installed = version(name)
        except OSError:
            return f"{name} is not installed: run npm ci in tests/node"
        if installed != _pinned(name).split("@")[-1]:  # an alias is npm:NAME@VERSION
            return f"{name} is {installed}, the tests want {_pinned(name)}: run npm ci"
    return None


def version(name):
    """The version of a package that is installed."""
    with open(os.path.join(package(name), "package.json"), encoding="utf-8") as file:
        return json.load(file)["version"]


def skip_without(*packages):
    reason = missing(*packages)
    if reason:
        skip_all(reason)


def dbos_schema(*arguments):
    """Run the official `dbos schema` with these arguments; its output."""
    command = ["node", os.path.join(package(SDK), "dist", "src", "cli", "cli.js"), "schema"]
    result = subprocess.run(
        [*command, *arguments], capture_output=True, encoding="utf-8", timeout=120
    )
    if result.returncode != 0:
        raise RuntimeError(f"dbos schema failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def run(script, *arguments, env=None, timeout=120):
    """Run a script of the source tree; its output is captured as text."""
    environment = dict(env or os.environ, NODE_MODULES_DIR=modules())
    return subprocess.run(
        ["node", os.path.join(SOURCE, script), *arguments],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        timeout=timeout,
    )

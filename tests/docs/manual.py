#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The manual pages are well-formed, and say what the source's tables say: options, errors, verbs."""

import difflib
import glob
import os
import re
import shutil
import subprocess
import sys

from tap import Tap

SOURCE = os.environ["abs_top_srcdir"]
BUILD = os.environ["abs_top_builddir"]
GATEWAYCTL = os.path.join(BUILD, "gatewayctl")

sys.path.insert(0, os.path.join(SOURCE, "man"))
import sync  # noqa: E402

PAGES = sorted(glob.glob(os.path.join(SOURCE, "man", "*.[578]")))
PROGRAMS = (
    "openclaw-gateway-http",
    "openclaw-gateway-relay",
    "openclaw-gateway-session",
    "openclaw-gateway-sweeper",
    "gatewayctl",
)

tap = Tap()


def test_lint():
    if not shutil.which("mandoc"):
        for path in PAGES:
            tap.skip(f"{os.path.basename(path)} is well-formed", "mandoc is not installed")
        return
    for path in PAGES:
        result = subprocess.run(
            ["mandoc", "-T", "lint", path], capture_output=True, text=True
        )
        # which other manuals there are depends on the machine
        said = [line for line in result.stdout.splitlines() if "referenced manual not found" not in line]
        tap.equal(said, [], f"{os.path.basename(path)} is well-formed")


def test_references():
    here = {tuple(os.path.basename(path).rsplit(".", 1)) for path in PAGES}
    elsewhere = {("psql", "1"), ("cron", "8"), ("systemd", "1")}
    for path in PAGES:
        named = set(re.findall(r"^\.Xr (\S+) (\d)", sync.read(path), flags=re.M))
        unknown = named - here - elsewhere
        tap.ok(not unknown, f"{os.path.basename(path)} refers to pages that there are", unknown)


def test_in_step():
    program = GATEWAYCTL if os.access(GATEWAYCTL, os.X_OK) else None
    if not program:
        tap.skip("gatewayctl(8) is compared", "gatewayctl is not built")
    wanted = sync.wanted(program)
    for path, text in wanted.items():
        is_now = sync.read(path)
        difference = difflib.unified_diff(
            is_now.splitlines(), text.splitlines(), path, "the tables", lineterm="", n=1
        )
        name = f"{path} says what the source says (man/sync.py --write --gatewayctl PROGRAM mends it)"
        tap.ok(is_now == text, name, "\n".join(difference))


def test_options():
    page = sync.read("man/gateway.env.5")
    known, described = sync.options(), sync.option_items(page)
    tap.ok(len(known) > 30, "the table of options could be read", sorted(known))
    tap.equal(sorted(described), sorted(known), "every option is described once, and no other")
    for name, lines in described.items():
        prose = [line for line in lines if not sync.FACT.match(line)]
        tap.ok(prose, f"what {name} does is said")
    table = sync.read("docs/configuration.md")
    shown = re.findall(r"^\| `([A-Z0-9_]+)` \|", table, flags=re.M)
    tap.equal(sorted(shown), sorted(known), "docs/configuration.md has every option once")


def test_errors():
    page = sync.read("man/openclaw-gateway.7")
    codes = {row[1] for _, row in sync.rows("src/base/error.def", "ERROR")}
    tap.ok(len(codes) > 25, "the table of errors could be read", sorted(codes))
    block = page.split('.\\" errors begins\n')[1].split('.\\" errors ends')[0]
    shown = re.findall(r"^\.It Sy ([A-Z_]+) Pq", block, flags=re.M)
    tap.equal(sorted(shown), sorted(codes), "every code is in openclaw-gateway(7) once")


def block(name):
    page = sync.read("man/openclaw-gateway.7")
    return page.split(f'.\\" {name} begins\n')[1].split(f'.\\" {name} ends')[0]


def test_protocol():
    """Routes, methods and events: each row of the source's tables is told of, and nothing else."""
    source = sync.read("src/http/route.c")
    known = set(re.findall(r'{(?:HTTP_)?([A-Z]+), "([^"]+)"', source))
    shown = set(re.findall(r"Cm ([A-Z]+) Pa (\S+)", block("routes")))
    tap.ok(len(known) > 20, "the table of routes could be read", known)
    tap.equal(sorted(known - shown), [], "every route is in openclaw-gateway(7)")
    tap.equal(sorted(shown - known), [], "and no other")
    known = set(re.findall(r'^    {"([a-z.-]+)", method_', sync.read("src/session/request.c"), re.M))
    shown = set(re.findall(r"Cm ([a-z.-]+)", block("methods")))
    tap.ok(len(known) > 20, "the table of methods could be read", known)
    tap.equal(sorted(known ^ shown), [], "every method is in openclaw-gateway(7), and no other")
    source = sync.read("src/session/handshake.c").split("event_names[] = {")[1].split("}")[0]
    known = set(re.findall(r'"([a-z.]+)"', source))
    shown = set(re.findall(r"Cm ([a-z.]+)", block("events")))
    tap.equal(sorted(known ^ shown), [], "every event is in openclaw-gateway(7), and no other")


def test_arguments():
    """What a page's synopsis promises the program knows, and the other way round."""
    for program in PROGRAMS:
        path = os.path.join(BUILD, program)
        if not os.access(path, os.X_OK):
            tap.skip(f"{program}(8) has the arguments of {program}", f"{program} is not built")
            continue
        usage = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
        page = sync.read(f"man/{program}.8")
        known = set(re.findall(r"--[a-z][a-z-]*", usage))
        synopsis = page.split(".Sh SYNOPSIS")[1].split(".Sh DESCRIPTION")[0]
        shown = {"--" + word for word in re.findall(r"Fl Fl ([a-z-]+)", synopsis)}
        shown |= {"--" + word for word in re.findall(r"^\.It Fl Fl ([a-z-]+)", page, flags=re.M)}
        tap.equal(sorted(shown), sorted(known), f"{program}(8) has the arguments of {program}")


test_lint()
test_references()
test_in_step()
test_options()
test_errors()
test_protocol()
test_arguments()
sys.exit(tap.done())

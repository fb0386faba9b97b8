#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The alert rules and the dashboard ask for metrics, labels and label values that there are."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

import openmetrics
from responder import Responder
from sessions import World
from tap import Tap

tap = Tap()
DEPLOY = os.path.join(os.environ["abs_top_srcdir"], "deploy")
RULES = os.path.join(DEPLOY, "prometheus", "openclaw-gateway.rules.yml")
DASHBOARD = os.path.join(DEPLOY, "grafana", "openclaw-gateway.json")
USE = re.compile(r"\b(openclaw_[a-z_]+)(?:\{([^}]*)\})?")


def expressions():
    """Of both files, with where they stand."""
    with open(RULES, encoding="utf-8") as file:
        for number, text in enumerate(re.findall(r"^\s+expr: (.*)$", file.read(), re.M), 1):
            yield f"rule {number}", text
    with open(DASHBOARD, encoding="utf-8") as file:
        for panel in json.load(file)["panels"]:
            for target in panel["targets"]:
                yield f"panel {panel['title']}", target["expr"]


def samples(families):
    """Of every sample's name the label sets there are."""
    found = {}
    for family in families.values():
        for name, labels in family.samples:
            found.setdefault(name, []).append(dict(labels))
    return found


def check_use(found, families, where, name, matchers):
    known = name in found or name in {f"{family}_bucket" for family in families}
    # what has no sample until there is something to say has its metadata from the start
    known = known or name.removesuffix("_total") in families
    tap.ok(known, f"{where}: {name} exists")
    for label, text in re.findall(r'(\w+)="([^"]*)"', matchers or ""):
        tap.ok(
            any(labels.get(label) == text for labels in found.get(name, [])),
            f"{where}: {name} has {label}={text}",
        )


def main():
    with World() as world:
        with Responder(world.cluster, {"RUNTIME_DIR": world.runtime, "METRICS": "public"}) as http:
            text = http.get("/metrics").body.decode()
    families = openmetrics.parse(text)
    found = samples(families)
    used, count = set(), 0
    for where, expression in expressions():
        for name, matchers in USE.findall(expression):
            check_use(found, families, where, name, matchers)
            used.add(name)
            count += 1
    tap.ok(count > 40, "there is something to check", count)
    asked = {re.sub(r"(_total|_bucket|_count|_sum|_info)$", "", name) for name in used}
    tap.equal(sorted(set(families) - asked), [], "every metric is on the dashboard or in a rule")
    with open(DASHBOARD, encoding="utf-8") as file:
        ids = [panel["id"] for panel in json.load(file)["panels"]]
    tap.equal(len(ids), len(set(ids)), "each panel has an id of its own")
    program = shutil.which("promtool")
    if program is None:
        tap.skip("Prometheus itself takes the rules", "promtool is missing")
    else:
        done = subprocess.run([program, "check", "rules", RULES], capture_output=True, text=True, check=False)
        tap.equal(done.returncode, 0, "Prometheus itself takes the rules")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance case 25: another DBOS application in the database, killed and started again; the CLI."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
import node
from cluster import SqlError
from sweeper import DATABASE

ALIAS = os.path.join(node.SOURCE, "deploy", "sql", "dbos_alias.sql")
CLI = ("dist", "src", "cli", "cli.js")


class Neighbourhood(clients.Gateway):
    """A gateway, and beside it an application of the official SDK, which is a process of its own."""

    neighbour = None

    def __exit__(self, *arguments):
        self.neighbour_kill()
        super().__exit__(*arguments)

    def launch(self):
        self.neighbour = subprocess.Popen(
            ["node", os.path.join(node.SOURCE, "tests/interop/neighbour.mjs"),
             self.cluster.url(DATABASE), "dbos_system"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=dict(os.environ, NODE_MODULES_DIR=node.modules()),
        )  # fmt: skip
        line = self.neighbour.stdout.readline().strip()
        assert line == "launched", f"the neighbour says {line!r}"

    def neighbour_kill(self):
        if self.neighbour is not None and self.neighbour.poll() is None:
            self.neighbour.kill()
            self.neighbour.wait()

    def provision(self, agent):
        self.machine.db.provision(agent)

    def acknowledge(self, agent, response):
        """A recipient takes what is in the inbox and answers."""
        db = self.machine.db
        db.register("recipient", host="elsewhere")  # the sweeper here would miss its process
        db.subscribe(agent=agent, executor="recipient")
        got = db.claim(agent=agent, holder="recipient")
        db.ack(*got, agent=agent, response=response)
        return len(got)


class CommandLine:
    """npx dbos, which only knows the schema dbos."""

    def __init__(self, url):
        self.url = url

    def __call__(self, *arguments):
        result = subprocess.run(
            ["node", os.path.join(node.package(node.SDK), *CLI), "workflow", *arguments, "-s", self.url],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        lines = [line for line in result.stdout.splitlines() if line[:1] in "[{"]
        return json.loads(lines[-1]) if lines else None


def check_cli(tap):
    """In a schema of the name that it knows, and in views of that name."""
    with clients.Gateway(DBOS_SCHEMA="dbos") as gateway:
        gateway.machine.db.provision("alice")
        for label, server in (("direct", gateway.cluster), ("pooled", gateway.bouncer)):
            check_commands(tap, gateway, server, label)
        try:
            gateway.cluster.apply(ALIAS, DATABASE)
            tap.ok(False, "no views in the place of a schema dbos that is there")
        except SqlError:
            tap.ok(True, "no views in the place of a schema dbos that is there")
    with clients.Gateway() as gateway:
        gateway.machine.db.provision("alice")
        for _ in range(2):
            gateway.cluster.apply(ALIAS, DATABASE)
        for label, server in (("views, direct", gateway.cluster), ("views, pooled", gateway.bouncer)):
            check_commands(tap, gateway, server, label, "dbos_system")


def check_commands(tap, gateway, server, label, schema="dbos"):
    db, cli = gateway.machine.db, CommandLine(server.url(DATABASE))
    done, waits, forked = (f"{word}-{label}".replace(", ", "-") for word in ("done", "waits", "forked"))
    enqueue = f"select {schema}" ".enqueue_workflow('testScript', 'openclaw', array[{}::json]," \
        " workflow_id => '{}', application_name => 'openclaw-gateway') as id"  # fmt: skip
    gateway.cluster.wait_until(f"select count(*) = 1 from {schema}.queues", DATABASE)
    for identity, script in ((done, [["step", 1]]), (waits, [["recv", "t", 600000]])):
        db.run(enqueue.format("'" + json.dumps(script) + "'", identity))
    status = f"select status = '{{}}' from {schema}.workflow_status where workflow_uuid = '{{}}'"
    gateway.cluster.wait_until(status.format("SUCCESS", done), DATABASE)
    gateway.cluster.wait_until(status.format("DELAYED", waits), DATABASE)

    listed = {row["workflowID"]: row["status"] for row in cli("list", "-l", "100")}
    ours = {row: listed.get(row) for row in (done, waits, "agent:alice")}
    tap.equal(
        ours, {done: "SUCCESS", waits: "DELAYED", "agent:alice": "DELAYED"}, f"{label}: dbos workflow list, mailboxes too"
    )
    tap.equal(list(listed)[-1], waits, f"{label}: in the order of time")
    named = [row["workflowID"] for row in cli("list", "-n", "testScript", "-S", "DELAYED", "-a", "openclaw-gateway")]
    tap.equal(named, [waits], f"{label}: by name, status and application")
    tap.equal(cli("get", done)["workflowName"], "testScript", f"{label}: dbos workflow get")
    tap.equal([step["name"] for step in cli("steps", done)], ["testStep"], f"{label}: dbos workflow steps")
    queued = [row["workflowID"] for row in cli("queue", "list", "-q", "openclaw")]
    tap.equal(queued, [waits], f"{label}: dbos workflow queue list")
    cli("cancel", waits)
    tap.equal(cli("get", waits)["status"], "CANCELLED", f"{label}: dbos workflow cancel")
    cli("resume", waits)
    gateway.cluster.wait_until(status.format("DELAYED", waits), DATABASE)
    tap.ok(True, f"{label}: dbos workflow resume: it waits on")
    cli("fork", done, "-S", "0", "-f", forked)
    gateway.cluster.wait_until(status.format("SUCCESS", forked), DATABASE)
    tap.equal(cli("get", forked)["forkedFrom"], done, f"{label}: dbos workflow fork")
    cli("cancel", waits)


if __name__ == "__main__":
    sys.exit(clients.main("tests/interop/applications.mjs", gateway=Neighbourhood, then=check_cli))

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl agent, principal and workflow, through the pooler, as a role that owns nothing."""

import hashlib
import json
import re
import sys

from cluster import Bouncer, Cluster, skip_without
from programs import SWEEPER, ctl, run
from programs import environment as programs_environment
from tap import Tap

APP = "openclaw_gateway"
TOKEN = re.compile(r"ocg_[A-Za-z0-9_-]{43}")


class Gateway:
    def __init__(self, cluster, bouncer):
        self.cluster, self.bouncer = cluster, bouncer

    def run(self, *arguments, **extra):
        extra.setdefault("DATABASE_URL", self.bouncer.url("gateway", APP))
        return ctl(self.bouncer, "gateway", *arguments, **extra)

    def value(self, sql):
        return self.cluster.value(sql, "gateway")

    def token_is_valid(self, token):
        digest = hashlib.sha256(token.encode()).hexdigest()
        return (
            self.value(
                "select exists (select from openclaw.credential where revoked_at is null"
                f" and token_sha256 = '{digest}' and (expires_at is null or expires_at > openclaw.now_ms()))"
            )
            == "t"
        )


def adding(tap, gateway):
    added = gateway.run("agent", "add", "alice")
    tap.ok(
        added.code == 0 and TOKEN.fullmatch(added.out.strip()),
        "agent add prints the token only",
        str(added),
    )
    tap.ok(gateway.token_is_valid(added.out.strip()), "and the token is valid")
    tap.equal(
        gateway.value(
            "select status from dbos_system.workflow_status where workflow_uuid = 'agent:alice'"
        ),
        "DELAYED",
        "it has a mailbox",
    )
    again = gateway.run("agent", "add", "alice")
    tap.ok(
        again.code == 73 and "token rotate alice" in again.err and again.out == "",
        "a second one of the same name says what to do",
        str(again),
    )
    tap.equal(gateway.value("select count(*) from openclaw.credential"), "1", "and adds no token")

    bob = gateway.run("--json", "agent", "add", "bob", "--name", "Bob B", "--scopes", "send,inbox")
    tap.ok(
        bob.code == 0 and gateway.token_is_valid(bob.json["token"]),
        "--json prints one object",
        str(bob),
    )
    tap.equal(
        gateway.value("select scopes::text from openclaw.principal where principal_id = 'bob'"),
        "{send,inbox}",
        "--scopes are what it may do",
    )
    short = gateway.run("agent", "add", "short", "--expires=1ms")
    tap.ok(not gateway.token_is_valid(short.out.strip()), "--expires ends a token")
    listed = gateway.run("agent", "list", "--json")
    tap.equal(
        [(a["id"], a.get("name"), a["tokens"]) for a in listed.json["agents"]],
        [("alice", None, 1), ("bob", "Bob B", 1), ("short", None, 0)],
        "agent list shows them",
    )
    tap.ok("send,inbox" in gateway.run("agent", "list").out, "for people as a table")

    operator = gateway.run("principal", "add", "boss", "--kind", "operator")
    tap.ok(
        gateway.token_is_valid(operator.out.strip()),
        "principal add makes an operator",
        str(operator),
    )
    tap.equal(
        gateway.value(
            "select kind || scopes::text from openclaw.principal where principal_id = 'boss'"
        ),
        "operator{operator}",
        "who may do everything",
    )
    clash = gateway.run("agent", "add", "boss")
    tap.ok(clash.code == 73 and "operator" in clash.err, "whose name no agent gets", str(clash))


def bridging(tap, gateway):
    """An agent that is a DBOS application, made and unmade."""
    bridge = "select configuration -> 'dbos' ->> 'queue' from openclaw.agent where agent_id = 'robot'"
    made = gateway.run("agent", "add", "robot", "--dbos-queue", "q", "--dbos-workflow", "w")
    tap.ok(made.code == 0 and gateway.value(bridge) == "q", "agent add makes a bridge", str(made))
    for arguments, expected in (
        (["--no-dbos"], None),
        (["--dbos-queue", "p", "--dbos-workflow", "w", "--application", "a", "--name", "R"], "p"),
    ):
        changed = gateway.run("agent", "set", "robot", *arguments)
        tap.ok(
            changed.code == 0 and gateway.value(bridge) == expected,
            f"agent set {' '.join(arguments)}",
            str(changed),
        )
    shown = gateway.run("agent", "show", "robot", "--json").json
    tap.equal(
        [shown[key] for key in ("name", "status", "dbosQueue", "dbosApplication", "tokens", "ready")],
        ["R", "active", "p", "a", 1, 0],
        "agent show",
    )
    tap.equal(gateway.run("agent", "show", "nobody").code, 66, "of one that there is not: exit 66")
    for verb, status in (("pause", "paused"), ("resume", "active")):
        gateway.run("agent", verb, "robot")
        value = gateway.value("select status from openclaw.agent where agent_id = 'robot'")
        tap.equal(value, status, f"agent {verb}")
    tap.equal(gateway.run("agent", "pause", "boss").code, 66, "only agents are paused")
    gone = gateway.run("agent", "remove", "robot")
    tap.ok(
        gone.code == 0
        and gateway.value("select count(*) from openclaw.principal where principal_id = 'robot'") == "0"
        and not gateway.token_is_valid(made.out.strip()),
        "agent remove",
        str(gone),
    )
    tap.equal(gateway.run("agent", "remove", "robot").code, 66, "once")


def refusing(tap, gateway):
    for arguments, code, word in (
        (["agent", "add", "a b"], 64, "letter or digit"),
        (["agent", "add", "Agent"], 64, "gateway's own"),
        (["agent", "add", "x" * 65], 64, "64"),
        (["agent", "add"], 64, "agent add NAME"),
        (["agent", "add", "x", "y"], 64, "agent add NAME"),
        (["agent", "add", "x", "--scopes", "root"], 64, "workflows:read"),
        (["agent", "add", "x", "--overlap", "5m"], 64, "--overlap"),
        (["agent", "add", "x", "--expires", "soon"], 64, "30s, 5m"),
        (["agent", "add", "x", "--expires"], 64, "--expires TIME"),
        (["agent", "rotate", "nobody"], 66, "agent add"),
        (["token", "revoke", "nobody"], 66, "agent list"),
        (["token", "revoke", "alice", "--token", "none"], 66, "token list alice"),
        (["agent", "set", "alice"], 64, "--no-dbos"),
        (["agent", "set", "alice", "--dbos-queue", "q"], 64, "--dbos-workflow"),
        (["agent", "list", "--interval", "soon", "--watch"], 64, "30s, 5m"),
        (["principal", "add", "x"], 64, "--kind"),
        (["workflow", "get", "none"], 66, "workflow list"),
        (["workflow", "list", "--state", "DONE"], 64, "SUCCESS"),
        (["workflow", "list", "--limit", "0"], 64, "1000"),
        (["make", "coffee"], 64, "make coffee"),
        ([], 64, "--help"),
    ):
        result = gateway.run(*arguments)
        tap.ok(
            result.code == code and word in result.err and result.out == "",
            f"refused: {' '.join(arguments)[:60]}",
            str(result),
        )
    result = gateway.run("agent", "revoke", "nobody", "--json")
    tap.equal(
        json.loads(result.err)["error"]["code"], "NOT_FOUND", "with --json an error is an object"
    )
    result = gateway.run("agent", "list", DATABASE_URL="postgresql://127.0.0.1:1/x")
    tap.ok(result.code == 69, "a database that is away is exit status 69", str(result))
    tap.equal(
        gateway.value("select count(*) from openclaw.principal"),
        "4",
        "none of them has made anything",
    )


def tokens(tap, gateway):
    first = gateway.run("token", "rotate", "alice").out.strip()
    tap.equal(
        gateway.value(
            "select count(*) from openclaw.credential where principal_id = 'alice'"
            " and revoked_at is null"
        ),
        "1",
        "rotate ends the older tokens",
    )
    second = gateway.run("agent", "rotate", "alice", "--overlap", "1h", "--json").json["token"]
    tap.ok(
        gateway.token_is_valid(first) and gateway.token_is_valid(second),
        "with --overlap they stay valid for that long",
    )
    third = gateway.run("agent", "rotate", "alice", "--overlap", "1ms").out.strip()
    tap.ok(gateway.token_is_valid(third) and not gateway.token_is_valid(first), "and no longer")
    fourth = gateway.run("token", "add", "alice", "--expires", "1h", "--json").json
    listed = gateway.run("token", "list", "alice", "--json").json["tokens"]
    tap.equal(
        sorted(token["state"] for token in listed if token["id"] == fourth["credentialId"]),
        ["valid"],
        "token list shows a token that token add made",
    )
    tap.ok(
        all(token["principal"] == "alice" and "token" not in token for token in listed),
        "only of her, and not the token itself",
        listed,
    )
    one = gateway.run("token", "revoke", "alice", "--token", fourth["credentialId"], "--json")
    tap.ok(
        one.json["revoked"] == 1
        and gateway.token_is_valid(third)
        and not gateway.token_is_valid(fourth["token"]),
        "token revoke --token ends that one",
        str(one),
    )
    revoked = gateway.run("agent", "revoke", "alice", "--json")
    tap.ok(
        revoked.json["revoked"] >= 1 and not gateway.token_is_valid(third), "revoke ends them all"
    )
    tap.equal(
        gateway.value(
            "select string_agg(distinct act, ' ' order by act) from openclaw.audit"
            " where subject = 'alice' and principal_id like 'os:%'"
        ),
        "agent.add agent.provision credential.revoke credential.rotate",
        "the audit has each act",
    )
    narrow = gateway.run("token", "add", "alice", "--scopes", "send", "--json").json["credentialId"]
    listed = {token["id"]: token for token in gateway.run("token", "list", "--json").json["tokens"]}
    tap.equal(listed[narrow]["scopes"], ["send"], "a token may do less than its principal")
    gateway.run("token", "revoke", "alice")
    audit = gateway.run("audit", "list", "alice", "--limit", "2", "--json").json["audit"]
    tap.equal([row["act"] for row in audit], ["credential.revoke", "credential.rotate"], "audit list")
    dump = gateway.cluster.execute(
        "copy openclaw.credential to stdout; copy openclaw.audit to stdout", "gateway"
    )
    tap.ok(not any(t in dump for t in (first, second, third)), "no token is in the database")


def workflows(tap, gateway):
    for name in ("one", "two"):
        gateway.cluster.execute(
            "select dbos_system.enqueue_workflow('provisionAgent', 'openclaw',"
            f" array['{{\"agentId\":\"{name}\"}}']::json[], workflow_id => 'provision:{name}')",
            "gateway",
        )
    environment = {"DATABASE_URL": gateway.bouncer.url("gateway", APP)}
    swept = run([SWEEPER, "--once"], programs_environment(gateway.bouncer, "gateway", **environment))
    tap.equal(swept.code, 0, "two workflows are run")
    got = gateway.run("workflow", "get", "provision:one", "--json")
    tap.equal(
        (got.json["status"], got.json["output"]["mailbox"], got.json["input"]["positionalArgs"]),
        ("SUCCESS", "agent:one", [{"agentId": "one"}]),
        "workflow get",
    )
    steps = gateway.run("workflow", "steps", "provision:one", "--json").json["steps"]
    tap.equal([s["name"] for s in steps], ["validateAgent", "createAgent"], "workflow steps")
    tap.equal(
        gateway.run("workflow", "events", "provision:one", "--json").json,
        {"events": []},
        "workflow events",
    )
    arguments = ["--state", "SUCCESS,ERROR", "--workflow", "provisionAgent", "--since", "1h"]
    listed = gateway.run("workflow", "list", *arguments, "--limit", "1", "--json")
    tap.equal(
        [w["id"] for w in listed.json["workflows"]],
        ["provision:two"],
        "workflow list filters, and shows the newest first",
    )
    table = gateway.run("workflow", "list", "--workflow", "provisionAgent").out.splitlines()
    tap.ok(
        table[0].startswith("WORKFLOW ") and len(table) == 3,
        "for people as a table",
        "\n".join(table),
    )


def interrupted(tap, gateway):
    """What fails before the token is stored leaves nothing behind."""
    gateway.cluster.execute(
        "create function public.fail() returns trigger language plpgsql as"
        " $$ begin raise exception 'no' using errcode = '57P01'; end $$;"
        "create trigger fail before insert on openclaw.credential execute function public.fail();",
        "gateway",
    )
    result = gateway.run("agent", "add", "carol", "--dbos-queue", "q", "--dbos-workflow", "w")
    tap.ok(
        result.code == 69 and result.out == "",
        "a token that was not stored is not shown",
        str(result),
    )
    tap.equal(
        gateway.value(
            "select (select count(*) from openclaw.principal where principal_id = 'carol')"
            " + (select count(*) from openclaw.audit where subject = 'carol')"
            " + (select count(*) from dbos_system.workflow_status where workflow_uuid like '%carol')"
        ),
        "0",
        "nor is there anything else of the agent",
    )
    gateway.cluster.execute("drop trigger fail on openclaw.credential", "gateway")
    again = gateway.run("agent", "add", "carol")
    tap.ok(gateway.token_is_valid(again.out.strip()), "so that it can be made again", str(again))


def main():
    skip_without("initdb", "psql", "pgbouncer")
    tap = Tap()
    with Cluster() as cluster:
        cluster.create_database("gateway")
        cluster.execute(f"create role {APP} login")
        migrated = ctl(cluster, "gateway", "migrate")
        tap.ok(migrated.code == 0, "migrated", str(migrated))
        with Bouncer(cluster, users=("postgres", APP)) as bouncer:
            gateway = Gateway(cluster, bouncer)
            adding(tap, gateway)
            bridging(tap, gateway)
            refusing(tap, gateway)
            workflows(tap, gateway)
            tokens(tap, gateway)
            interrupted(tap, gateway)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

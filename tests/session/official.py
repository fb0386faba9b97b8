#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What OpenClaw itself thinks of us: every frame against the JSON schema of
@openclaw/gateway-protocol, and @openclaw/gateway-client, unmodified, through websocketd."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import cluster
import node
from sessions import PROGRAM, Refused, World, message
from tap import Tap

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


class Schema:
    """As much of JSON Schema as the protocol's schema uses; a word it does not know is an error."""

    WORDS = set(
        "type required properties additionalProperties patternProperties const enum anyOf oneOf"
        " items minLength maxLength minimum maximum pattern $ref discriminator default"
        " minItems maxItems uniqueItems description title".split()
    )

    def __init__(self):
        path = os.path.join(node.package("@openclaw/gateway-protocol"), "protocol.schema.json")
        with open(path, encoding="utf-8") as file:
            self.definitions = json.load(file)["definitions"]

    def faults(self, name, value):
        return list(self._check(self.definitions[name], value, name))

    def _check(self, schema, value, where):
        unknown = {word for word in schema if not word.startswith("x-")} - self.WORDS
        assert not unknown, f"{where}: {unknown}"
        if "$ref" in schema:
            yield from self._check(self.definitions[schema["$ref"].split("/")[-1]], value, where)
        for word in ("anyOf", "oneOf"):
            if word in schema and all(list(self._check(s, value, where)) for s in schema[word]):
                yield f"{where}: {value!r} is none of {word}"
        if "const" in schema and value != schema["const"]:
            yield f"{where}: {value!r} is not {schema['const']!r}"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is not one of {schema['enum']}"
        if "type" in schema:
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            good = any(
                isinstance(value, TYPES[kind])
                and (kind == "boolean" or not isinstance(value, bool))
                for kind in kinds
            )
            if not good:
                yield f"{where}: {value!r} is not {schema['type']}"
                return
        if isinstance(value, str):
            if len(value) < schema.get("minLength", 0) or len(value) > schema.get("maxLength", 1e9):
                yield f"{where}: the length of {value!r}"
            if "pattern" in schema and not re.search(schema["pattern"], value):
                yield f"{where}: {value!r} does not match {schema['pattern']}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value < schema.get("minimum", value) or value > schema.get("maximum", value):
                yield f"{where}: {value} is out of range"
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                yield from self._check(schema["items"], item, f"{where}[{i}]")
        if isinstance(value, dict):
            yield from self._check_object(schema, value, where)

    def _check_object(self, schema, value, where):
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{where}: {key} is missing"
        for key, item in value.items():
            known = schema.get("properties", {}).get(key)
            for pattern, other in schema.get("patternProperties", {}).items():
                if known is None and re.search(pattern, key):
                    known = other
            if known is not None:
                yield from self._check(known, item, f"{where}.{key}")
            elif schema.get("additionalProperties") is False:
                yield f"{where}: {key} is not known"


def check_schema(tap, world):
    schema = Schema()
    frames = []

    def keep(session):
        """Every frame of the session, also those that are taken."""
        take = session.take

        def wrapped(*arguments, **more):
            frame = take(*arguments, **more)
            frames.append(frame)
            return frame

        session.take = wrapped
        return session

    def good(name, value, what):
        faults = schema.faults(name, value)
        tap.equal(faults, [], what)

    tap.ok(schema.faults("TickEvent", {"ts": "x", "y": 1}), "the schema has teeth")
    tap.ok(schema.faults("HelloOk", {"type": "hello-ok"}), "also for hello-ok")
    with keep(world.open(TICK_INTERVAL_MS=200)) as alice, keep(world.open()) as bob:
        alice.event("connect.challenge")
        good("HelloOk", alice.connect(world.tokens["alice"]), "hello-ok")
        bob.connect(world.tokens["bob"])
        with world.connect("carol") as carol:
            good("HelloOk", carol.hello, "hello-ok with others here")
        bob.call("inbox.subscribe", {"inbox": "bob"})
        for method in ("health", "status", "config.get", "ping", "sessions.list"):
            alice.call(method)
        for entry in alice.call("system-presence"):
            good("PresenceEntry", entry, f"system-presence: {entry['text']} {entry['reason']}")
        good("AgentsListResult", alice.call("agents.list"), "agents.list")
        good("TickEvent", alice.event("tick"), "tick")
        identity = alice.request(
            "agent", {"message": "x", "idempotencyKey": "schema-1", "agentId": "bob"}
        )
        alice.answer(identity)
        delivery = bob.event("inbox.message")
        bob.call("inbox.nack", {"deliveryId": delivery["deliveryId"], "delayMs": 0})
        delivery = bob.event("inbox.message")
        bob.call("inbox.ack", {"deliveryIds": [delivery["deliveryId"]]})
        alice.answer(identity)
        for method, params in (
            ("send", message("nobody", "x", "schema-2")),
            ("send", {}),
            ("inbox.subscribe", {"inbox": "bob"}),
            ("agent.wait", {"runId": "none"}),
            ("unknown", None),
        ):
            try:
                alice.call(method, params)
            except Refused:
                pass
        alice.send_raw(b"rubbish\n" * 12)
        good("ShutdownEvent", alice.event("shutdown"), "shutdown")
        alice.wait()
        frames += alice.frames
    with keep(world.open()) as session:
        try:
            session.connect("ocg_wrong")
        except Refused:
            pass
    faults = [fault for frame in frames for fault in schema.faults("GatewayFrame", frame)]
    tap.equal(faults, [], f"all {len(frames)} frames are the protocol's")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_client(tap, world):
    environment = world.environment(TICK_INTERVAL_MS=300, LOG_LEVEL="warn")
    names = [name for name in environment if name.startswith("PG")] + [
        "DATABASE_URL",
        "GATEWAY_ENV",
        "RUNTIME_DIR",
        "TICK_INTERVAL_MS",
        "LOG_LEVEL",
    ]
    port = free_port()
    command = [cluster.find_program("websocketd"), "--address=127.0.0.1", f"--port={port}"]
    command += [f"--passenv={','.join(names)}", "--loglevel=fatal", PROGRAM]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        result = node.run(
            "tests/session/official.mjs",
            env={
                **os.environ,
                "GATEWAY_WS_URL": f"ws://127.0.0.1:{port}",
                "ALICE_TOKEN": world.tokens["alice"],
                "BOB_TOKEN": world.tokens["bob"],
            },
        )
    finally:
        server.terminate()
        server.wait()
    if not tap.equal(result.returncode, 0, "the official client runs"):
        print(f"# {result.stderr}")
        return
    seen = json.loads(result.stdout)
    tap.equal(seen["protocol"], 4, "it connects at protocol 4")
    tap.ok(seen["health"]["ok"], "calls health")
    tap.equal(seen["accepted"]["status"], "accepted", "its agent call is accepted first")
    tap.equal(
        (seen["final"]["status"], seen["final"]["result"]["payloads"][0]["text"]),
        ("ok", "pong to ping"),
        "and then has its final answer",
    )
    tap.ok("tick" in seen["events"] and "inbox.message" in seen["events"], "events reach it")
    tap.equal(seen["refused"], "AUTH_TOKEN_MISMATCH", "a wrong token is told in its words")
    world.cluster.wait_until(
        "select count(*) = 0 from openclaw.executor where ended_at is null"
        " and client->>'id' = 'gateway-client'",
        "gateway",
    )
    tap.ok(True, "no session is left behind")


def main():
    node.skip_without("@openclaw/gateway-client", "@openclaw/gateway-protocol", "ws")
    cluster.skip_without("websocketd")
    tap = Tap()
    with World() as world:
        check_schema(tap, world)
        check_client(tap, world)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

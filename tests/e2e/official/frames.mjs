// SPDX-License-Identifier: MIT
// Exercises every method over a plain WebSocket and judges every frame that comes by the official
// schema. Prints a JSON object: how many frames of what, and what is wrong with them.
//
//   frames.mjs URL ALICE_TOKEN BOB_TOKEN
//
// Says READY when it waits for the goodbye of a server that was told to end.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const WebSocket = require("ws");
const Ajv = require("ajv");

const [url, alice, bob] = process.argv.slice(2);
const WAIT_MS = 20000;
const path = `${process.env.NODE_MODULES_DIR}/@openclaw/gateway-protocol/protocol.schema.json`;
const schema = JSON.parse(readFileSync(path, "utf8"));
const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema({ $id: "protocol", definitions: schema.definitions });
const judge = (name) => ajv.getSchema(`protocol#/definitions/${name}`);

const seen = { frames: {}, faults: [] };

function check(name, value, what) {
  const valid = judge(name);
  if (!valid(value))
    seen.faults.push({ what, definition: name, value, errors: ajv.errorsText(valid.errors) });
}

// What the payload of an answer or an event must be; the rest has no definition of its own.
const ANSWERS = { connect: "HelloOk", "agents.list": "AgentsListResult" };
const EVENTS = { tick: "TickEvent", shutdown: "ShutdownEvent" };

function record(frame, methods) {
  const name = frame.type === "event" ? `event ${frame.event}` : `res ${methods.get(frame.id) ?? "?"}`;
  seen.frames[name] = (seen.frames[name] ?? 0) + 1;
  check(frame.type === "event" ? "EventFrame" : "ResponseFrame", frame, name);
  check("GatewayFrame", frame, name);
  if (frame.type === "event" && EVENTS[frame.event]) check(EVENTS[frame.event], frame.payload, name);
  if (frame.type === "res" && frame.ok && ANSWERS[methods.get(frame.id)])
    check(ANSWERS[methods.get(frame.id)], frame.payload, name);
  if (frame.type === "res" && methods.get(frame.id) === "system-presence" && frame.ok)
    for (const entry of frame.payload) check("PresenceEntry", entry, name);
  if (frame.type === "event" && frame.event === "presence")
    for (const entry of frame.payload.presence ?? []) check("PresenceEntry", entry, name);
  if (frame.type === "res" && !frame.ok) check("ErrorShape", frame.error, name);
}

class Client {
  constructor() {
    this.methods = new Map();
    this.waiting = new Map();
    this.frames = [];
    this.watchers = [];
    this.number = 0;
    this.socket = new WebSocket(url);
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => {
      const frame = JSON.parse(data.toString());
      record(frame, this.methods);
      this.frames.push(frame);
      this.watchers.forEach((look) => look());
    });
  }

  until(predicate, what) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), WAIT_MS);
      const look = () => {
        const frame = this.frames.find(predicate);
        if (!frame) return;
        this.frames.splice(this.frames.indexOf(frame), 1);
        this.watchers.splice(this.watchers.indexOf(look), 1);
        clearTimeout(timer);
        resolve(frame);
      };
      this.watchers.push(look);
      look();
    });
  }

  event(name) {
    return this.until((frame) => frame.type === "event" && frame.event === name, name);
  }

  start(method, params) {
    const id = `${++this.number}`;
    this.methods.set(id, method);
    this.socket.send(JSON.stringify({ type: "req", id, method, ...(params === undefined ? {} : { params }) }));
    return id;
  }

  async request(method, params) {
    const id = this.start(method, params);
    const final = (f) =>
      f.type === "res" && f.id === id && !(f.ok && f.payload?.status === "accepted");
    return this.until(final, method);
  }

  async connect(token, protocol) {
    await this.event("connect.challenge");
    return this.request("connect", {
      minProtocol: 3,
      maxProtocol: protocol,
      client: { id: "cli", version: "1", platform: "linux", mode: "cli" },
      ...(token ? { auth: { token } } : {}),
    });
  }
}

async function exercise() {
  const receiver = new Client();
  await receiver.connect(bob, 4);
  const sender = new Client();
  await sender.connect(alice, 4);

  for (const [method, params] of [
    ["ping", {}],
    ["health"],
    ["status", {}],
    ["system-presence", {}],
    ["config.get", {}],
    ["agents.list", {}],
    ["sessions.list", {}],
    ["no.such.method", {}],
    ["agent.wait", { runId: "alice:unheard-of", timeoutMs: 10 }],
    ["send", { to: "nobody", message: "x", idempotencyKey: "f0" }],
    ["send", {}],
    ["inbox.subscribe", { inbox: "bob" }],
    ["connect", {}],
  ])
    await sender.request(method, params);

  await receiver.request("inbox.subscribe", { inbox: "bob", maxInFlight: 10, leaseMs: 30000 });
  const asked = ["agent", "agent.send", "send", "chat.send", "sessions.send"];
  const requests = [
    sender.request("agent", { agentId: "bob", message: "1", idempotencyKey: "f1" }),
    sender.request("agent.send", {
      sessionKey: "agent:bob:main", message: "2", idempotencyKey: "f2", waitFor: "reply", timeout: 15,
    }),
    sender.request("send", { to: "bob", message: "3", idempotencyKey: "f3" }),
    sender.request("chat.send", { sessionKey: "agent:bob:main", message: "4", idempotencyKey: "f4" }),
    sender.request("sessions.send", { key: "agent:bob:main", message: "5" }),
  ];
  for (const _ of asked) {
    const { payload } = await receiver.event("inbox.message");
    const deliveryIds = [payload.deliveryId];
    if (payload.content === "3") {
      await receiver.request("inbox.extend", { deliveryIds, leaseMs: 60000 });
      await receiver.request("inbox.nack", { deliveryId: payload.deliveryId, delayMs: 0 });
      const again = await receiver.event("inbox.message");
      await receiver.request("inbox.nack", { deliveryId: again.payload.deliveryId, requeue: false });
    } else {
      await receiver.request("inbox.ack", { deliveryIds, result: { text: "heard" } });
      await receiver.request("inbox.ack", { deliveryIds });
    }
  }
  await Promise.all(requests);
  await sender.request("agent", { agentId: "bob", message: "1", idempotencyKey: "f1" });
  await sender.request("agent", { agentId: "bob", message: "other", idempotencyKey: "f1" });
  await sender.request("agent.wait", { runId: "alice:f1", timeoutMs: 1000 });
  await receiver.request("inbox.pull", { inbox: "bob", max: 1, waitMs: 10 });
  await receiver.request("inbox.stats", { inbox: "bob" });
  await receiver.request("inbox.unsubscribe", { inbox: "bob" });
  await sender.event("tick");

  const stranger = new Client();
  const refused = await stranger.connect("not-a-token", 4);
  seen.refused = refused.error?.details?.code;
  const early = new Client();
  await early.event("connect.challenge");
  early.start("health");
  await early.until((f) => f.type === "res", "the refusal of a request before connect");
  const old = new Client();
  await old.event("connect.challenge");
  await old.request("connect", { minProtocol: 1, maxProtocol: 1, client: { id: "cli", version: "1", platform: "linux", mode: "cli" } });

  console.log("READY");
  await sender.event("shutdown");
}

// the judge can say no
if (judge("EventFrame")({ type: "event" }) || judge("HelloOk")({ type: "hello-ok", protocol: 4 }))
  seen.faults.push("the schema accepts anything");
try {
  await exercise();
} catch (error) {
  seen.error = error.stack;
}
console.log(JSON.stringify(seen));
process.exit(0);

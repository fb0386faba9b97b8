// SPDX-License-Identifier: MIT
// Two official clients, unmodified: one asks an agent, the other is the agent. Prints a JSON object.
//
//   client.mjs URL ALICE_TOKEN BOB_TOKEN

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const modules = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const entry = modules
  .resolve.paths("@openclaw/gateway-client")
  .map((path) => `${path}/@openclaw/gateway-client/dist/index.mjs`)
  .find((path) => path.startsWith(process.env.NODE_MODULES_DIR));
const { GatewayClient } = await import(pathToFileURL(entry));

const [url, alice, bob] = process.argv.slice(2);
const WAIT_MS = 30000;
const seen = {};

// GatewayClient keeps trying; here the first failure counts.
function connect(token, onEvent = () => {}) {
  return new Promise((resolve, reject) => {
    const client = new GatewayClient({
      url,
      token,
      minProtocol: 4,
      maxProtocol: 4,
      deviceIdentity: null,
      requestTimeoutMs: WAIT_MS,
      onEvent: (event) => onEvent(event, client),
      onHelloOk: (hello) => resolve({ client, hello }),
      onConnectError: reject,
    });
    client.start();
  });
}

async function refusal(promise) {
  try {
    return { payload: await promise };
  } catch (error) {
    return { code: error.gatewayCode ?? error.code, message: error.message };
  }
}

try {
  seen.deliveries = [];
  const acks = [];
  const receiver = await connect(bob, (event, client) => {
    if (event.event !== "inbox.message") return;
    const { deliveryId, content, from, attempt, expectsReply } = event.payload;
    seen.deliveries.push({ content, from, attempt, expectsReply });
    acks.push(
      client.request("inbox.ack", { deliveryIds: [deliveryId], result: `heard: ${JSON.stringify(content)}` }),
    );
  });
  seen.protocol = receiver.hello.protocol;
  seen.subscription = await receiver.client.request("inbox.subscribe", { inbox: "bob" });

  const { client } = await connect(alice);
  seen.health = await client.request("health");
  seen.status = typeof (await client.request("status", {}));
  seen.presence = Array.isArray(await client.request("system-presence", {}));
  seen.config = await client.request("config.get", {});
  seen.agents = (await client.request("agents.list", {})).agents.map((agent) => agent.id);
  seen.unknown = await refusal(client.request("no.such.method", {}));

  const request = { message: "what is up?", agentId: "bob", idempotencyKey: "official-1" };
  seen.final = await client.request("agent", request, {
    expectFinal: true,
    timeoutMs: WAIT_MS,
    onAccepted: (payload) => (seen.accepted = payload),
  });
  seen.waited = await client.request("agent.wait", { runId: seen.final.runId, timeoutMs: WAIT_MS });
  seen.repeated = await client.request("agent", request, { expectFinal: true, timeoutMs: WAIT_MS });
  seen.sent = await client.request("send", {
    to: "bob",
    message: "and this?",
    idempotencyKey: "official-2",
  });
  while (acks.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  seen.acks = await Promise.all(acks);
  client.stop();
  receiver.client.stop();

  seen.refused = await refusal(connect("not-a-token").then(() => "connected"));
} catch (error) {
  seen.error = error.stack;
}
console.log(JSON.stringify(seen));
process.exit(0);

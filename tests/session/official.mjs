// SPDX-License-Identifier: MIT
// The official client, unmodified: bob receives, alice asks. Prints one JSON object of what it saw.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { GatewayClient } = await import(require.resolve("@openclaw/gateway-client"));
const seen = { events: [] };

function connect(token, onEvent) {
  return new Promise((resolve, reject) => {
    const client = new GatewayClient({
      url: process.env.GATEWAY_WS_URL,
      token,
      deviceIdentity: null,
      clientName: "gateway-client",
      clientVersion: "1.0.0",
      platform: "linux",
      mode: "backend",
      onHelloOk: (hello) => resolve({ client, hello }),
      onConnectError: (error) => {
        reject(error); // before stop(), which reports an error of its own
        client.stop();
      },
      onEvent,
    });
    client.start();
  });
}

const bob = await connect(process.env.BOB_TOKEN, async (event) => {
  seen.events.push(event.event);
  if (event.event === "inbox.message") {
    await bob.client.request("inbox.ack", {
      deliveryIds: [event.payload.deliveryId],
      result: `pong to ${event.payload.content}`,
    });
  }
});
seen.protocol = bob.hello.protocol;
seen.subscribed = await bob.client.request("inbox.subscribe", { inbox: "bob" });
const alice = await connect(process.env.ALICE_TOKEN, () => {});
seen.health = await alice.client.request("health");
seen.final = await alice.client.request(
  "agent",
  { message: "ping", agentId: "bob", idempotencyKey: "official-1" },
  { expectFinal: true, onAccepted: (payload) => (seen.accepted = payload) },
);
await new Promise((resolve) => setTimeout(resolve, 700));
alice.client.stop();
bob.client.stop();
try {
  await connect("ocg_wrong", () => {});
} catch (error) {
  seen.refused = error.details?.code ?? String(error);
}
console.log(JSON.stringify(seen));
process.exit(0);

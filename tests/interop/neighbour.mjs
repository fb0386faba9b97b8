// SPDX-License-Identifier: MIT
// A DBOS application of another name in the same database, as tests start, kill and start it again.
//
//   neighbour.mjs URL SCHEMA        prints "launched"; runs until it is killed

import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { DBOS } = require("@dbos-inc/dbos-sdk");
const [url, schema] = process.argv.slice(2);

DBOS.registerWorkflow(
  async (name) => {
    const said = await DBOS.runStep(async () => `hello ${name}`, { name: "say" });
    await DBOS.sleep(1500);
    return { said };
  },
  { name: "greet", serialization: "portable" },
);

// an agent of the gateway: its input is a message, its result the reply
DBOS.registerWorkflow(
  async (message) => {
    const heard = await DBOS.runStep(async () => message.content, { name: "hear" });
    await DBOS.sleep(1500);
    return { heard, from: message.from };
  },
  { name: "answer", serialization: "portable" },
);

DBOS.registerWorkflow(
  async () => {
    throw new Error("not today");
  },
  { name: "refuse", serialization: "portable" },
);

// of the same name as one of the gateway's: whoever runs it tells by its result
DBOS.registerWorkflow(async () => "the neighbour ran it", { name: "testScript", serialization: "portable" });

// Waits for an event, a message, the next value of a stream. It would look by itself every ten minutes:
// who ends sooner was woken.
const patiently = { timeoutSeconds: 600, pollingIntervalMs: 600000 };
const watch = (name, wait) => DBOS.registerWorkflow(wait, { name, serialization: "portable" });
watch("watchEvent", (id, key) => DBOS.getEvent(id, key, patiently));
watch("watchMessage", (topic) => DBOS.recv(topic, patiently));
watch("watchStream", async (id, key) => {
  for await (const value of DBOS.readStream(id, key, patiently)) return value;
});
watch("watchResult", (id) => DBOS.retrieveWorkflow(id).getResult());

// asks an agent of the gateway, and waits for the answer
DBOS.registerWorkflow(
  async (to, content) => {
    const handle = await DBOS.enqueueWorkflowWithOptions(
      { applicationName: "openclaw-gateway", queueName: "openclaw", workflowName: "routeAgentMessage" },
      { from: "neighbour", to, content },
    );
    const { status, response } = await handle.getResult();
    return { status, response, carrier: handle.workflowID };
  },
  { name: "ask", serialization: "portable" },
);

// what a schedule starts
DBOS.registerWorkflow(async (date, context) => ({ ...context, date: date instanceof Date }), { name: "tick" });

DBOS.setConfig({
  name: "neighbour",
  systemDatabaseUrl: url,
  systemDatabaseSchemaName: schema,
  runMigrations: false,
  applicationVersion: "neighbour-1",
  logLevel: "error",
});
await DBOS.launch();
await DBOS.registerQueue("neighbour-queue", { onConflict: "always_update" });
console.log("launched");
setInterval(() => {}, 1000);

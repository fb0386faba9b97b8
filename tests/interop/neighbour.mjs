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

// waits for an event and reads a stream of another application's workflow, and says when
DBOS.registerWorkflow(
  async (id) => {
    const value = await DBOS.getEvent(id, "late", { timeoutSeconds: 30 });
    return { value, at: Date.now() };
  },
  { name: "watch", serialization: "portable" },
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

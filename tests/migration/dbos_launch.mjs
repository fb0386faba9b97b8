// SPDX-License-Identifier: MIT
// An application of the official SDK on the database that it is given: launches, does a little of
// everything that its schema is for, prints what came of it as JSON.
//
//   dbos_launch.mjs URL SCHEMA migrate|verify listen|poll

import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { DBOS, DBOSClient } = require("@dbos-inc/dbos-sdk");

const [url, schema, migrations, waiting] = process.argv.slice(2);
const often = { pollingIntervalMs: 100 };
// A listener polls every 10 s at most: that recv returns within 5 s is the trigger's doing.
const poll = waiting === "listen" ? {} : often;
const PROMPT_MS = 5000;

const work = DBOS.registerWorkflow(
  async (name) => {
    const said = await DBOS.runStep(async () => `hello ${name}`, { name: "say" });
    await DBOS.setEvent("said", said);
    await DBOS.writeStream("words", said);
    await DBOS.closeStream("words");
    return [said, await DBOS.recv("reply", { timeoutSeconds: 30, ...poll })];
  },
  { name: "work" },
);

DBOS.setConfig({
  name: "launch-test",
  systemDatabaseUrl: url,
  systemDatabaseSchemaName: schema,
  runMigrations: migrations === "migrate",
  useListenNotify: waiting === "listen",
  logLevel: "error",
});

const seen = {};
try {
  await DBOS.launch();
  await DBOS.registerQueue("launch-queue");
  const client = await DBOSClient.create({
    systemDatabaseUrl: url,
    systemDatabaseSchemaName: schema,
    applicationName: "launch-test",
  });
  const workflowID = `launch-${migrations}-${waiting}`;
  const handle = await client.enqueue(
    { workflowName: "work", queueName: "launch-queue", workflowID },
    "world",
  );
  seen.event = await client.getEvent(workflowID, "said", { timeoutSeconds: 30, ...often });
  const sent = Date.now();
  await client.send(workflowID, "bye", "reply");
  seen.result = await handle.getResult(often);
  seen.prompt = Date.now() - sent < PROMPT_MS;
  seen.stream = [];
  for await (const word of client.readStream(workflowID, "words")) seen.stream.push(word);
  // recv records a sleep when it had to wait, and nothing makes it wait here.
  const steps = (await client.listWorkflowSteps(workflowID)).map((step) => step.name);
  seen.steps = steps.filter((name) => name !== "DBOS.sleep");
  seen.status = (await client.getWorkflow(workflowID)).status;
  await client.destroy();
  await DBOS.shutdown();
} catch (error) {
  seen.error = `${error.name}: ${error.message}`;
}
console.log(JSON.stringify(seen));
process.exit(0);

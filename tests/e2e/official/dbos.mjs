// SPDX-License-Identifier: MIT
// The official DBOS client looks at messages that the gateway carried, and sends one itself.
// Prints a JSON object.
//
//   dbos.mjs DATABASE-URL WORKFLOW-ID FAILED-WORKFLOW-ID

import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { DBOSClient } = require("@dbos-inc/dbos-sdk");

const [url, done, failed] = process.argv.slice(2);
const often = { pollingIntervalMs: 50 };
const seen = {};

try {
  const client = await DBOSClient.create({
    systemDatabaseUrl: url,
    systemDatabaseSchemaName: "dbos_system",
    applicationName: "openclaw-gateway",
  });
  const row = await client.getWorkflow(done);
  seen.workflow = {
    id: row.workflowID,
    status: row.status,
    name: row.workflowName,
    user: row.authenticatedUser,
    input: row.input,
    application: row.applicationName,
  };
  seen.result = await client.retrieveWorkflow(done).getResult(often);
  seen.steps = (await client.listWorkflowSteps(done)).map(({ functionID, name, output, error }) => ({
    functionID,
    name,
    output,
    error: error === null || error === undefined ? null : String(error),
  }));
  seen.accepted = await client.getEvent(done, "accepted", { timeoutSeconds: 5, ...often });
  seen.acknowledged = await client.getEvent(done, "acknowledged", { timeoutSeconds: 5, ...often });
  try {
    seen.failure = { result: await client.retrieveWorkflow(failed).getResult(often) };
  } catch (error) {
    seen.failure = { name: error.name, message: error.message, code: error.code, data: error.data };
  }
  seen.listed = (await client.listWorkflows({ workflowIDs: [done, failed] })).map((w) => w.status);

  // portable, native, and one with an idempotency key sent twice
  await client.send("agent:alice", { text: "portable" }, undefined, undefined, {
    serializationType: "portable",
  });
  await client.send("agent:alice", { text: "native", when: new Date(0) });
  await client.send("agent:alice", "twice", undefined, "key-1", { serializationType: "portable" });
  await client.send("agent:alice", "twice", undefined, "key-1", { serializationType: "portable" });

  const handle = await client.enqueuePortable(
    { workflowName: "provisionAgent", queueName: "openclaw", workflowID: "from-dbos" },
    [{ agentId: "carol" }],
  );
  seen.provisioned = await handle.getResult(often);
  await client.destroy();
} catch (error) {
  seen.error = error.stack;
}
console.log(JSON.stringify(seen));
process.exit(0);

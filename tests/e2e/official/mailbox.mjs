// SPDX-License-Identifier: MIT
// An official DBOS client that does as it is told: each line of the input is [method, ...arguments] of
// DBOSClient, each line of the output {result} or {error: name}. A handle's result is its workflow's id.
//
//   mailbox.mjs DATABASE-URL

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { DBOSClient } = require("@dbos-inc/dbos-sdk");

const client = await DBOSClient.create({
  systemDatabaseUrl: process.argv[2],
  systemDatabaseSchemaName: "dbos_system",
  applicationName: "openclaw-gateway",
});
for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...args] = JSON.parse(line).map((value) => (value === null ? undefined : value));
  let answer;
  try {
    const result = method === "result" ? await client.retrieveWorkflow(args[0]).getResult({ pollingIntervalMs: 50 }) : await client[method](...args);
    answer = { result: result?.workflowID ?? result ?? null };
  } catch (error) {
    answer = { error: error.constructor.name, code: error.code ?? null, message: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);

// SPDX-License-Identifier: MIT
// What the cases stand on: a client of the official SDK, and checks that a Python test reports.
//
//   node FILE URL SCHEMA PACKAGE [CASE...]      the cases of FILE whose names begin so; default: all
//
// Every line of the output is JSON: {ok, name, detail} for a check, {call, arguments} for something
// that the Python side does (it answers with a line), {done} at the end.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const [url, schema, packageName, ...chosen] = process.argv.slice(2);
export const sdk = require(packageName);
export const pg = require("pg");
export const APPLICATION = "openclaw-gateway";
export const often = { pollingIntervalMs: 50 };
export { url, schema };

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let number = 0;
const run = `${packageName.includes("-4") ? "v4" : "v5"}-${process.pid}`;

export function connect(options = {}) {
  return sdk.DBOSClient.create({
    systemDatabaseUrl: url,
    systemDatabaseSchemaName: schema,
    applicationName: APPLICATION,
    ...options,
  });
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function cases(table) {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const client = await connect();
  for (const [name, test] of Object.entries(table)) {
    if (chosen.length && !chosen.some((start) => name.startsWith(`${start} `))) continue;
    const t = {
      client,
      ok: (ok, what, detail) => say({ ok: Boolean(ok), name: `${name}: ${what}`, detail }),
      equal(got, wanted, what) {
        t.ok(isDeepStrictEqual(got, wanted), what, { got, wanted });
      },
      async rejects(promise, errorName, what) {
        const got = await promise.then(
          (value) => ({ value }),
          (error) => ({ error }),
        );
        t.ok(got.error?.constructor?.name === errorName, what, {
          got: got.error ? `${got.error.constructor.name}: ${got.error.message}` : got,
        });
        return got.error;
      },
      id: (what = "w") => `${run}-${what}-${++number}`,
      rows: async (sql, ...values) => (await pool.query(sql.replaceAll("SCHEMA", schema), values)).rows,
      row: async (sql, ...values) => (await t.rows(sql, ...values))[0],
      status: (id) => t.row("select * from SCHEMA.workflow_status where workflow_uuid = $1", id),
      steps: (id) =>
        t.rows("select * from SCHEMA.operation_outputs where workflow_uuid = $1 order by function_id", id),
      async until(what, predicate, timeout = 15000) {
        const end = Date.now() + timeout;
        for (;;) {
          const value = await predicate();
          if (value) return value;
          if (Date.now() > end) throw new Error(`not true in ${timeout} ms: ${what}`);
          await sleep(25);
        }
      },
      reaches: (id, status) => t.until(`${id} is ${status}`, async () => (await t.status(id))?.status === status),
      script: (operations, options = {}) =>
        client.enqueuePortable(
          { queueName: "openclaw", workflowName: "testScript", workflowID: t.id(), ...options },
          [operations],
        ),
      // the keys of the external steps of a workflow that ran, in order, as a file outside tells
      async ran(id) {
        return (await t.host("ran")).filter((key) => key.startsWith(`${id}/`)).map((key) => Number(key.slice(id.length + 1)));
      },
      async host(call, ...args) {
        say({ call, arguments: args });
        return JSON.parse((await answers.next()).value);
      },
    };
    try {
      await test(t);
    } catch (error) {
      t.ok(false, "comes to its end", error.stack);
    }
  }
  await client.destroy();
  await pool.end();
  say({ done: true });
  process.exit(0);
}

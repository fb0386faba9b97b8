// SPDX-License-Identifier: MIT
// Cases 1 to 7: enqueue and result, golden texts, errors, messages, events, streams.

import { cases, often, sleep } from "./case.mjs";

const GOLDEN_OUTPUT =
  '{"echo_text":"hello-interop","echo_num":42,"echo_dt":"2025-06-15T10:30:00.000Z","items_count":3,' +
  '"meta_keys":["key1","key2","nested"],"flag":true,"empty":null,' +
  '"received":{"sender":"test","payload":[1,2,3]}}';
const GOLDEN_EVENT = '{"text":"hello-interop","num":42,"flag":true}';
const GOLDEN_STREAM = '{"item":"hello-interop"}';
const CANONICAL = [
  "hello-interop",
  42,
  "2025-06-15T10:30:00.000Z",
  ["alpha", "beta", "gamma"],
  { key1: "value1", key2: 99, nested: { deep: true } },
  true,
  null,
];

async function read(stream, limit = 100) {
  const values = [];
  for await (const value of stream) {
    values.push(value);
    if (values.length === limit) break;
  }
  return values;
}

await cases({
  "a missing key is an error": async (t) => {
    for (const operation of [
      ["setEvent", null, 1], ["getEvent", null, "k", 100], ["getEvent", "x", null, 100], ["send", null, "t", 1],
      ["write", null, 1], ["close", null], ["stepWrite", null, 1, 0], ["child", null, []], ["result", null],
    ]) {
      const handle = await t.script([operation]);
      const ended = await handle.getResult(often).then((value) => ({ value }), (error) => ({ error }));
      t.ok(ended.error?.message.includes("needs"), `${JSON.stringify(operation)}: it says what is missing`, ended);
    }
    const handle = await t.script([["step", 1]]);
    t.equal(await handle.getResult(often), [1], "and the next workflow runs");
  },

  "1 enqueuePortable": async (t) => {
    const handle = await t.script([["step", { a: [1, "é/"] }], ["arguments"]]);
    const id = handle.workflowID;
    t.equal(await handle.getResult(often), [{ a: [1, "é/"] }, []], "the result");
    const row = await t.status(id);
    t.equal(
      [row.status, row.serialization, row.owner_xid, row.application_name],
      ["SUCCESS", "portable_json", null, "openclaw-gateway"],
      "the row",
    );
    t.ok(row.completed_at > 0, "it says when it was complete");
    const payload = await t.row("select output from SCHEMA.workflow_output where workflow_uuid = $1", id);
    t.equal(payload.output, '[{"a":[1,"é/"]},[]]', "the output is in workflow_output");
    t.equal(row.output, payload.output, "and where older clients look");
  },

  "2 golden": async (t) => {
    const handle = await t.client.enqueuePortable(
      { queueName: "openclaw", workflowName: "canonicalWorkflow", workflowClassName: "interop", workflowID: t.id() },
      CANONICAL,
    );
    const id = handle.workflowID;
    await t.reaches(id, "DELAYED"); // it waits for the message
    await t.client.send(id, { sender: "test", payload: [1, 2, 3] }, "interop_topic", undefined, {
      serializationType: "portable",
    });
    t.equal(await handle.getResult(often), JSON.parse(GOLDEN_OUTPUT), "the result");
    const row = await t.row(
      "select w.class_name, coalesce(o.output, w.output) as output from SCHEMA.workflow_status w" +
        " join SCHEMA.workflow_output o using (workflow_uuid) where workflow_uuid = $1",
      id,
    );
    t.equal(row, { class_name: "interop", output: GOLDEN_OUTPUT }, "the output, byte for byte");
    const tables = { workflow_events: GOLDEN_EVENT, workflow_events_history: GOLDEN_EVENT, streams: GOLDEN_STREAM };
    for (const [table, value] of Object.entries(tables)) {
      const rows = await t.rows(`select * from SCHEMA.${table} where workflow_uuid = $1`, id);
      t.equal(rows.map((r) => [r.value, r.serialization]), [[value, "portable_json"]], `${table}, byte for byte`);
      if (table === "streams") t.equal(rows[0].offset, 0, "streams begin at 0");
    }
  },

  "3 failure": async (t) => {
    const handle = await t.script([["fail", "OutOfCheese", "redo from start", 418, { universe: 2 }]]);
    const error = await t.rejects(handle.getResult(often), "PortableWorkflowError", "getResult rejects");
    t.equal(
      [error?.name, error?.message, error?.code, error?.data],
      ["OutOfCheese", "redo from start", 418, { universe: 2 }],
      "with name, message, code and data",
    );
    const [listed] = await t.client.listWorkflows({ workflowIDs: [handle.workflowID] });
    t.equal(
      JSON.parse(listed.error.message),
      { name: "OutOfCheese", message: "redo from start", code: 418, data: { universe: 2 } },
      "listed as the raw JSON",
    );
    const second = await t.script([["nonsense"]]);
    const told = await t.rejects(second.getResult(often), "PortableWorkflowError", "a mistake in the input");
    t.equal(told?.code, "INVALID_REQUEST", "has the gateway's code");
  },

  "4 send and recv": async (t) => {
    const handle = await t.script([
      ["recv", null, 20000],
      ["recv", "topic", 20000],
      ["recv", "native", 20000],
      ["recv", "never", 100],
    ]);
    const id = handle.workflowID;
    await t.client.send(id, { n: 1 }, "topic", undefined, { serializationType: "portable" });
    await t.reaches(id, "DELAYED");
    await t.client.send(id, "plain", undefined, undefined, { serializationType: "portable" });
    await t.client.send(id, { when: "now" }, "native");
    t.equal(await handle.getResult(often), ["plain", { n: 1 }, { when: "now" }, null], "each topic its message");
    const messages = await t.rows(
      "select topic, consumed, consumed_by_function_id as step, serialization" +
        " from SCHEMA.notifications where destination_uuid = $1 order by 3",
      id,
    );
    t.equal(
      messages,
      [
        { topic: "__null__topic__", consumed: true, step: 0, serialization: "portable_json" },
        { topic: "topic", consumed: true, step: 2, serialization: "portable_json" },
        { topic: "native", consumed: true, step: 4, serialization: "js_superjson" },
      ],
      "each is consumed by its step",
    );
    const steps = (await t.steps(id)).filter((step) => step.function_name === "DBOS.recv");
    t.equal(
      steps.map((s) => [s.function_id, s.serialization, s.output === null]),
      [
        [0, "portable_json", false],
        [2, "portable_json", false],
        [4, "js_superjson", false],
        [6, "portable_json", true],
      ],
      "a step each, in the message's serialization",
    );
  },

  "5 send once": async (t) => {
    const handle = await t.script([["recv", "t", 20000], ["recv", "t", 300]]);
    const id = handle.workflowID;
    await t.client.send(id, "once", "t", "key");
    await t.client.send(id, "once", "t", "key");
    const rows = await t.rows("select message_uuid from SCHEMA.notifications where destination_uuid = $1", id);
    t.equal(rows, [{ message_uuid: `key::${id}` }], "one row under a key");
    t.equal(await handle.getResult(often), ["once", null], "delivered once");
    await t.rejects(t.client.send("nobody", 1), "DBOSNonExistentWorkflowError", "to nobody");
    const sender = await t.script([["send", "nobody", null, 1]]);
    const error = await t.rejects(sender.getResult(often), "PortableWorkflowError", "our own send to nobody");
    t.equal(error?.code, "NOT_FOUND", "is told so");
    const receiver = await t.script([["recv", "t", 20000]]);
    await (await t.script([["send", receiver.workflowID, "t", { from: "ours" }]])).getResult(often);
    t.equal(await receiver.getResult(often), [{ from: "ours" }], "from one workflow to another");
  },

  "6 events": async (t) => {
    const handle = await t.script([
      ["setEvent", "k", 1],
      ["sleep", 700],
      ["setEvent", "k", { two: 2 }],
      ["setEvent", "l", null],
    ]);
    const id = handle.workflowID;
    const get = (key, timeoutSeconds) => t.client.getEvent(id, key, { timeoutSeconds, ...often });
    const late = get("l", 20);
    t.equal(await get("k", 20), 1, "waits for the first value");
    t.equal(await get("missing", 0.2), null, "a missing key is null in time");
    await handle.getResult(often);
    t.equal([await get("k", 1), await late], [{ two: 2 }, null], "the last value, after the end");
    const history = await t.rows(
      "select function_id, key, value from SCHEMA.workflow_events_history where workflow_uuid = $1 order by 1",
      id,
    );
    t.equal(
      history,
      [
        { function_id: 0, key: "k", value: "1" },
        { function_id: 2, key: "k", value: '{"two":2}' },
        { function_id: 3, key: "l", value: "null" },
      ],
      "its history by step",
    );
    const tardy = await t.script([["recv", "go", 600000], ["setEvent", "tardy", 7], ["setEvent", "tardy", 8]]);
    const seen = (timeoutSeconds) => t.client.getEvent(tardy.workflowID, "tardy", { timeoutSeconds, ...often });
    t.equal(await seen(0.3), null, "a key that is set too late is null");
    const patient = seen(60);
    await t.client.send(tardy.workflowID, 1, "go");
    t.ok([7, 8].includes(await patient), "who asks again has it");
    await tardy.getResult(often);
    t.equal(await seen(1), 8, "and who asks last the last");
    const other = await t.script([["getEvent", id, "k", 1000], ["getEvent", id, "missing", 200]]);
    t.equal(await other.getResult(often), [{ two: 2 }, null], "our getEvent");
    const setter = t.id();
    const waiter = await t.script([["getEvent", setter, "later", 20000]]);
    await t.reaches(waiter.workflowID, "DELAYED");
    await t.script([["setEvent", "later", "now"]], { workflowID: setter });
    t.equal(await waiter.getResult(often), ["now"], "our getEvent waits");
  },

  "7 streams": async (t) => {
    const handle = await t.script([
      ["write", "s", 1],
      ["sleep", 300],
      ["write", "s", { b: 2 }],
      ["stepWrite", "s", 3, 0],
      ["close", "s"],
      ["write", "open", "x"],
    ]);
    const id = handle.workflowID;
    const options = { ...often };
    t.equal(await read(t.client.readStream(id, "s", options)), [1, { b: 2 }, 3], "a live tail, to the close");
    t.equal(await read(t.client.readStream(id, "open", options)), ["x"], "an open one ends with its workflow");
    if (!process.argv[4].includes("-4"))
      t.equal(await read(t.client.readStream(id, "s", { offset: 2, ...options })), [3], "from an offset");
    const rows = await t.rows(
      'select "offset", value, function_id, serialization from SCHEMA.streams where workflow_uuid = $1 and key = $2 order by 1',
      id,
      "s",
    );
    t.equal(rows.map((r) => r.offset), [0, 1, 2, 3], "without a gap");
    t.equal(rows.map((r) => r.function_id), [0, 2, 3, 4], "each by its step");
    t.equal(
      [rows[3].value, rows[3].serialization],
      ['"__DBOS_STREAM_CLOSED__"', "portable_json"],
      "the sentinel has its quotes",
    );
    const names = (await t.steps(id)).map((s) => s.function_name);
    t.equal(
      names,
      ["DBOS.writeStream", "DBOS.sleep", "DBOS.writeStream", "testStep", "DBOS.closeStream", "DBOS.writeStream"],
      "a write within a step is none of its own",
    );
    const append = (n) => t.rows("select * from openclaw.step_stream($1, 9, 'x', null, 'crowd', $2)", id, `${n}`);
    await Promise.all([...Array(40).keys()].map(append));
    const crowd = await t.rows("select \"offset\" from SCHEMA.streams where key = 'crowd' and workflow_uuid = $1 order by 1", id);
    t.equal(crowd.map((r) => r.offset), [...Array(40).keys()], "many writers at once leave no gap");
    if (!process.argv[4].includes("-4"))
      await t.rejects(read(t.client.readStream("nobody", "s", options)), "DBOSNonExistentWorkflowError", "of nobody");
    await sleep(0);
  },

  "24 orphans": async (t) => {
    const tables = ["workflow_status", "workflow_input", "workflow_output", "operation_outputs"];
    const left = async (id) =>
      (await Promise.all(tables.map((table) => t.row(`select count(*)::int as n from SCHEMA.${table} where workflow_uuid = $1`, id))))
        .map((row) => row.n)
        .join();
    const old = 4 * 86400000;
    const handle = await t.script([["step", "old"], ["setEvent", "k", 1]]);
    const id = handle.workflowID;
    await handle.getResult(often);
    await t.client.deleteWorkflow(id);
    const v4 = process.argv[4].includes("-4");
    t.equal(await left(id), v4 ? "0,0,1,2" : "0,0,0,0", v4 ? "4.27.6 deletes the row alone" : "5.3.0 deletes all of it");
    await t.host("sweeper", 0); // it would prune them itself
    for (const table of tables.slice(1))
      await t.rows(`update SCHEMA.${table} set retention_timestamp = retention_timestamp - ${old} where workflow_uuid = $1`, id);
    const foretold = await t.host("prune", "--dry-run");
    const gone = await t.host("prune");
    t.equal([foretold.orphans, gone.orphans], v4 ? [3, 3] : [0, 0], "gatewayctl prune says what is left over, and deletes it");
    t.equal(await left(id), "0,0,0,0", "nothing is left of it");
    await t.host("sweeper", 1);
  },
});

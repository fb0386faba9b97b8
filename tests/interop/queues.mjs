// SPDX-License-Identifier: MIT
// Cases 19 to 21: queues and their limits, changed while they are used; delays, priorities, debounce;
// timeouts. Two gateways run them.

import { cases, connect, often, sdk, sleep } from "./case.mjs";

const step = (value, pause = 0) => ["step", value, pause];

// How many ran at the same time, and in which order they began, by their rows.
async function overlap(t, ids) {
  const rows = await t.rows(
    "select workflow_uuid as id, started_at_epoch_ms::float8 as began, completed_at::float8 as ended, executor_id" +
      " from SCHEMA.workflow_status where workflow_uuid = any ($1) order by began",
    ids,
  );
  const most = Math.max(...rows.map((r) => rows.filter((o) => o.began <= r.began && o.ended > r.began).length));
  return { most, order: rows.map((r) => r.id), began: rows.map((r) => r.began), executors: new Set(rows.map((r) => r.executor_id)) };
}

const all = (handles) => Promise.all(handles.map((handle) => handle.getResult(often)));

await cases({
  "19 limits": async (t) => {
    await t.host("sweeper", 2);
    const queue = async (options) => {
      const name = t.id("queue");
      await t.client.registerQueue(name, { onConflict: "always_update", ...options });
      return name;
    };
    const many = (count, queueName, more = () => ({}), pause = 150) =>
      Promise.all([...Array(count).keys()].map((n) => t.script([step(n, pause)], { queueName, ...more(n) })));
    const ids = (handles) => handles.map((h) => h.workflowID);

    const two = await queue({ concurrency: 2 });
    let handles = await many(8, two);
    await all(handles);
    let seen = await overlap(t, ids(handles));
    t.ok(seen.most === 2, "concurrency 2: two at a time, by two gateways", seen.most);
    t.equal((await Promise.all(ids(handles).map((id) => t.ran(id)))).flat().length, 8, "each ran once");

    const local = await queue({ workerConcurrency: 1 });
    handles = await many(8, local);
    await all(handles);
    seen = await overlap(t, ids(handles));
    t.ok(seen.most === 2 && seen.executors.size === 2, "worker concurrency 1: one for each gateway", seen.most);

    const free = await queue({});
    handles = await many(30, free, undefined, 20);
    await all(handles);
    seen = await overlap(t, ids(handles));
    t.ok(seen.most > 2 && seen.executors.size === 2, "no limit: both gateways run them", [...seen.executors]);
    t.equal((await Promise.all(ids(handles).map((id) => t.ran(id)))).flat().length, 30, "each once");

    const rated = await queue({ rateLimit: { limitPerPeriod: 3, periodSec: 1 } });
    handles = await many(9, rated, undefined, 0);
    await all(handles);
    const { began } = await overlap(t, ids(handles));
    const crowded = began.filter((at, n) => n >= 3 && at - began[n - 3] < 1000);
    t.equal(crowded, [], "rate 3 a second: no fourth within a second");

    const closed = await queue({ concurrency: 0 });
    const first = await t.script([step(0, 100)], { queueName: closed, priority: 5 });
    const urgent = await t.script([step(1, 100)], { queueName: closed, priority: 1 });
    const third = await t.script([step(2, 100)], { queueName: closed, priority: 5 });
    const last = await t.script([step(3, 100)], { queueName: closed, priority: 1 });
    await t.client.setWorkflowPriority(last.workflowID, 9);
    await sleep(400);
    t.equal((await t.status(urgent.workflowID)).status, "ENQUEUED", "concurrency 0: nothing runs");
    await t.client.registerQueue(closed, { concurrency: 1, onConflict: "always_update" });
    await all([first, urgent, third, last]);
    const { order } = await overlap(t, ids([first, urgent, third, last]));
    t.equal(order, ids([urgent, first, third, last]), "opened while it is full: by priority, then age");

    const parted = await queue({ partitionConcurrency: 1 });
    handles = await many(6, parted, (n) => ({ queuePartitionKey: n % 2 ? "odd" : "even" }));
    await all(handles);
    for (const rest of [0, 1]) {
      const part = await overlap(t, ids(handles.filter((_, n) => n % 2 === rest)));
      t.equal(part.most, 1, `one of a partition at a time (${rest})`);
    }
    t.equal((await overlap(t, ids(handles))).most, 2, "and the partitions beside each other");

    const each = await queue({ partitionWorkerConcurrency: 1 });
    handles = await many(8, each, (n) => ({ queuePartitionKey: n % 2 ? "odd" : "even" }));
    await all(handles);
    for (const rest of [0, 1]) {
      const part = await overlap(t, ids(handles.filter((_, n) => n % 2 === rest)));
      t.ok(part.most <= part.executors.size, `one of a partition for each gateway (${rest})`, part);
    }
    const slow = await queue({ partitionRateLimit: { limitPerPeriod: 2, periodSec: 1 } });
    handles = await many(10, slow, (n) => ({ queuePartitionKey: n % 2 ? "odd" : "even" }), 0);
    await all(handles);
    for (const rest of [0, 1]) {
      const part = await overlap(t, ids(handles.filter((_, n) => n % 2 === rest)));
      t.equal(part.began.filter((at, n) => n >= 2 && at - part.began[n - 2] < 1000), [], `two of a partition in a second (${rest})`);
    }
    await t.host("sweeper", 1);
  },

  "19 order on a queue": async (t) => {
    await t.host("sweeper", 2);
    for (const concurrency of [1, 2]) {
      const name = t.id("queue");
      await t.client.registerQueue(name, { concurrency: 0, onConflict: "always_update" });
      const handles = [];
      for (let n = 0; n < 18; n++) handles.push(await t.script([step(n, 30)], { queueName: name, priority: (n * 7) % 4 }));
      await t.client.registerQueue(name, { concurrency, onConflict: "always_update" });
      await all(handles);
      const rows = await t.rows(
        "select priority, created_at::float8 as made, started_at_epoch_ms::float8 as began from SCHEMA.workflow_status" +
          " where queue_name = $1 order by started_at_epoch_ms, priority, created_at",
        name,
      );
      const before = (a, b) => a.began === b.began || a.priority < b.priority || (a.priority === b.priority && a.made <= b.made);
      t.equal(rows.filter((r, n) => n && !before(rows[n - 1], r)), [], `concurrency ${concurrency}, two gateways: by priority, then by age`);
      const { most } = await overlap(t, handles.map((h) => h.workflowID));
      t.ok(most <= concurrency, `never more than ${concurrency}`, most);
    }
    await t.host("sweeper", 1);
  },

  "20 two debounce": async (t) => {
    const other = await connect();
    const options = { workflowName: "testScript", startWorkflowParams: { queueName: "openclaw" }, serializationType: "portable" };
    const both = [t.client, other].map((client) => new sdk.DebouncerClient(client, options));
    const key = t.id("key");
    const handles = await Promise.all([...Array(12).keys()].map((n) => both[n % 2].debounce(key, 4000, [step(n)])));
    const ids = new Set(handles.map((h) => h.workflowID));
    const results = await Promise.all([...ids].map((id) => t.client.retrieveWorkflow(id).getResult(often)));
    t.equal(ids.size, 1, "two clients at once debounce one workflow");
    t.ok(results[0].length === 1 && results[0][0] < 12, "with the input of one of them", results);
    t.equal(await t.ran([...ids][0]), [0], "which runs once");
    await other.destroy();
  },

  "19 changed while parked": async (t) => {
    const changes = {
      deleted: (name) => t.client.deleteQueue(name),
      partitioned: (name) => t.client.registerQueue(name, { partitionConcurrency: 1, onConflict: "always_update" }),
      "partitioned as by DBOS 4": (name) => t.rows("update SCHEMA.queues set partition_queue = true where name = $1", name),
    };
    for (const [change, make] of Object.entries(changes)) {
      const name = t.id("queue");
      await t.client.registerQueue(name, { concurrency: 5, onConflict: "always_update" });
      const sleeps = await t.script([step(0), ["sleep", 1500], step(2)], { queueName: name });
      const waits = await t.script([step(0), ["recv", "go", 600000], step(3)], { queueName: name });
      for (const { workflowID } of [sleeps, waits]) await t.reaches(workflowID, "DELAYED");
      await make(name);
      const late = await t.script([step("late")], { queueName: name });
      await t.client.send(waits.workflowID, "on", "go");
      const soon = (handle) => Promise.race([handle.getResult(often), sleep(20000).then(() => "stranded")]);
      t.equal(await soon(waits), [0, "on", 3], `its queue ${change}, who waits goes on`);
      t.equal(await soon(sleeps), [0, null, 2], `its queue ${change}, who sleeps goes on`);
      t.equal((await t.status(late.workflowID)).status, "ENQUEUED", `its queue ${change}, who has not begun waits for it`);
      await t.client.cancelWorkflow(late.workflowID);
    }
    const limited = t.id("queue");
    await t.client.registerQueue(limited, { concurrency: 1, onConflict: "always_update" });
    const waiter = await t.script([["recv", "go", 600000], step(1)], { queueName: limited });
    await t.reaches(waiter.workflowID, "DELAYED");
    const busy = await t.script([step(0, 1500)], { queueName: limited });
    await t.until("it runs", async () => (await t.ran(busy.workflowID)).length > 0);
    await t.client.send(waiter.workflowID, "on", "go");
    await all([waiter, busy]);
    const ends = await Promise.all([waiter, busy].map(async (h) => Number((await t.status(h.workflowID)).completed_at)));
    t.ok(ends[0] >= ends[1], "on a queue that is as it was, who wakes waits for a slot", ends);
  },

  "20 a sleeper's time": async (t) => {
    for (const [operation, delaySeconds, what] of [
      [["sleep", 1500], 3600, "later"],
      [["sleep", 1500], 0.1, "earlier"],
    ]) {
      const began = Date.now();
      const handle = await t.script([step(0), operation, step(2)]);
      await t.reaches(handle.workflowID, "DELAYED");
      const wake = (await t.status(handle.workflowID)).delay_until_epoch_ms;
      await t.client.setWorkflowDelay(handle.workflowID, { delaySeconds });
      t.equal((await t.status(handle.workflowID)).delay_until_epoch_ms, wake, `setWorkflowDelay does not wake a sleeper ${what}`);
      const got = await Promise.race([handle.getResult(often), sleep(20000).then(() => "overslept")]);
      t.equal(got, [0, null, 2], "it wakes");
      t.ok(Date.now() - began >= 1500, "at its own time", Date.now() - began);
    }
  },

  "20 delays": async (t) => {
    const early = Date.now();
    const handle = await t.script([step(0)], { delaySeconds: 1 });
    t.equal((await t.status(handle.workflowID)).status, "DELAYED", "delayed");
    await handle.getResult(often);
    t.ok(Date.now() - early >= 1000, "and not run early", Date.now() - early);
    const far = await t.script([step(0)], { delaySeconds: 3600 });
    await t.client.setWorkflowDelay(far.workflowID, { delaySeconds: 0.2 });
    t.equal(await far.getResult(often), [0], "a delay can be shortened");

    const debouncer = new sdk.DebouncerClient(t.client, {
      workflowName: "testScript",
      startWorkflowParams: { queueName: "openclaw" },
      serializationType: "portable",
      debounceTimeoutMs: 3000,
    });
    const key = t.id("key");
    const handles = [];
    for (let n = 0; n < 4; n++) handles.push(await debouncer.debounce(key, 400, [step(n)]));
    t.equal(new Set(handles.map((h) => h.workflowID)).size, 1, "debounced: one workflow");
    t.equal(await handles[0].getResult(often), [3], "with the last input");
    const began = Date.now();
    let bounced;
    do {
      bounced = await debouncer.debounce(`${key}-2`, 1000, [step(Date.now())]);
      await sleep(200);
    } while ((await t.status(bounced.workflowID)).status === "DELAYED" && Date.now() - began < 8000);
    t.ok(Date.now() - began < 5000, "and its deadline caps the delay", Date.now() - began);
    const native = new sdk.DebouncerClient(t.client, { workflowName: "testScript" });
    const late = [await native.debounce(key, 300, [step("a")]), await native.debounce(key, 300, [step("b")])];
    t.equal([late[0].workflowID, await late[0].getResult(often)], [late[1].workflowID, ["b"]], "native, on no queue of ours, too");
    const after = await debouncer.debounce(key, 200, [step("again")]);
    t.equal(await after.getResult(often), ["again"], "the key is free again");
  },

  "21 timeouts": async (t) => {
    const id = t.id();
    const handle = await t.script(
      [["child", "testScript", [[["recv", "never", 60000]]]], ["result", `${id}-0`]],
      { workflowID: id, workflowTimeoutMS: 700, delaySeconds: 1 },
    );
    t.equal((await t.status(id)).workflow_deadline_epoch_ms, null, "no deadline before it runs");
    await t.rejects(handle.getResult(often), "DBOSAwaitedWorkflowCancelledError", "cancelled at its deadline");
    const row = await t.status(id);
    const ran = Number(row.completed_at) - Number(row.workflow_deadline_epoch_ms);
    t.ok(ran >= 0 && ran < 2000, "which counts from when it began", ran);
    const [listed] = await t.client.listWorkflows({ workflowIDs: [id] });
    t.ok(listed.deadlineEpochMS > 0 && listed.timeoutMS === 700, "it is listed", listed.deadlineEpochMS);
    const child = await t.status(`${id}-0`);
    t.equal(
      [child.status, child.workflow_deadline_epoch_ms],
      ["CANCELLED", row.workflow_deadline_epoch_ms],
      "with its child, by the same deadline",
    );
    const whole = await t.script([["recv", "never", 60000]], { workflowID: t.id() });
    const parent = await t.script([["child", "testScript", [[["recv", "never", 60000]]]], ["recv", "never", 60000]]);
    await t.reaches(`${parent.workflowID}-0`, "DELAYED");
    await t.client.cancelWorkflow(parent.workflowID, { cancelChildren: true });
    t.equal((await t.status(`${parent.workflowID}-0`)).status, "CANCELLED", "cancelled with its children");
    await t.client.cancelWorkflow(whole.workflowID);
  },
});

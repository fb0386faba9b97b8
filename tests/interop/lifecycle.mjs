// SPDX-License-Identifier: MIT
// Cases 9 to 18 and 22 to 24: cancel, resume, recovery, the fence, fork, ids, listings, serializations,
// the database's own functions, dead letters, delete and rewind.

import { cases, connect, often, pg, sdk, sleep, url, APPLICATION } from "./case.mjs";

const step = (value, pause = 0) => ["step", value, pause];
const SLOW = 400; // ms within a step, so that something can be done meanwhile

await cases({
  "9 cancel": async (t) => {
    const handle = await t.script([step(0), step(1, SLOW), step(2), step(3)]);
    const id = handle.workflowID;
    await t.until("it is in step 1", async () => (await t.ran(id)).includes(1));
    await t.client.cancelWorkflow(id);
    await t.rejects(handle.getResult(often), "DBOSAwaitedWorkflowCancelledError", "its result");
    await sleep(2 * SLOW);
    t.equal((await t.steps(id)).map((s) => s.function_id), [0], "no step is recorded any more");
    t.equal(await t.ran(id), [0, 1], "and none runs");
    t.equal((await t.status(id)).status, "CANCELLED", "it stays cancelled");
    const done = await t.script([step(1)]);
    await done.getResult(often);
    await t.client.cancelWorkflow(done.workflowID);
    t.equal((await t.status(done.workflowID)).status, "SUCCESS", "who has ended cannot be cancelled");
    const parked = await t.script([["recv", "never", 60000]]);
    await t.reaches(parked.workflowID, "DELAYED");
    await t.client.cancelWorkflow(parked.workflowID);
    await t.client.send(parked.workflowID, 1, "never");
    await sleep(SLOW);
    t.equal((await t.status(parked.workflowID)).status, "CANCELLED", "who waits is not woken any more");
  },

  "10 resume": async (t) => {
    const handle = await t.script([step(0), step(1, SLOW), step(2)]);
    const id = handle.workflowID;
    await t.until("it is in step 1", async () => (await t.ran(id)).includes(1));
    await t.client.cancelWorkflow(id);
    await sleep(2 * SLOW);
    await t.client.resumeWorkflow(id);
    t.equal(await handle.getResult(often), [0, 1, 2], "it goes on");
    t.equal(await t.ran(id), [0, 1, 1, 2], "from its last checkpoint");
    const row = await t.status(id);
    t.equal([row.queue_name, row.recovery_attempts], ["_dbos_internal_queue", "1"], "its attempts are reset");
    await t.client.resumeWorkflow(id);
    t.equal((await t.status(id)).status, "SUCCESS", "who has succeeded is not resumed");
    await t.rejects(t.client.resumeWorkflow("nobody"), "DBOSNonExistentWorkflowError", "nobody is not either");
  },

  "11 recovery": async (t) => {
    const handle = await t.script([step(0), step(1, 2 * SLOW), step(2), step(3)]);
    const id = handle.workflowID;
    await t.until("it is in step 1", async () => (await t.ran(id)).includes(1));
    await t.host("kill");
    t.equal(await handle.getResult(often), [0, 1, 2, 3], "killed and started again, it comes to its end");
    t.equal(await t.ran(id), [0, 1, 1, 2, 3], "what was recorded did not run again");
    t.equal((await t.status(id)).recovery_attempts, "2", "it was claimed twice");
    t.equal((await t.steps(id)).map((s) => s.function_id), [0, 1, 2, 3], "its steps are there once");
  },

  "12 fence": async (t) => {
    await t.host("sweeper", 2);
    const handle = await t.script([step(0), step(1, 3 * SLOW), step(2)]);
    const id = handle.workflowID;
    await t.until("it is in step 1", async () => (await t.ran(id)).includes(1));
    await t.client.resumeWorkflow(id); // while it runs: a second run begins
    t.equal(await handle.getResult(often), [0, 1, 2], "resumed while it runs, it has one result");
    await sleep(3 * SLOW);
    const times = (await t.steps(id)).map((s) => s.completed_at_epoch_ms);
    t.equal(times.length, 3, "and each step once");
    t.equal((await t.ran(id)).filter((n) => n === 2).length, 1, "the former owner did not go on");
    const stolen = await t.script([step(0), step(1, SLOW), step(2)]);
    await t.until("it is in step 1", async () => (await t.ran(stolen.workflowID)).includes(1));
    await t.rows("update SCHEMA.workflow_status set owner_xid = 'thief' where workflow_uuid = $1", stolen.workflowID);
    await sleep(2 * SLOW);
    t.equal((await t.steps(stolen.workflowID)).length, 1, "who is robbed records nothing");
    const row = await t.status(stolen.workflowID);
    t.equal([row.status, row.owner_xid], ["PENDING", "thief"], "and ends nothing");
    await t.client.cancelWorkflow(stolen.workflowID);
    await t.host("sweeper", 1);
  },

  "13 fork": async (t) => {
    const script = [step(0), ["setEvent", "k", 1], ["write", "s", "a"], step(3), ["setEvent", "k", 2], step(5)];
    const handle = await t.script(script);
    const id = handle.workflowID;
    await handle.getResult(often);
    const forked = await t.client.forkWorkflow(id, 3, { newWorkflowID: t.id("fork") });
    t.equal(await t.client.retrieveWorkflow(forked).getResult(often), [0, null, null, 3, null, 5], "the result");
    t.equal(await t.ran(forked), [3, 5], "steps before the fork did not run again");
    const row = await t.status(forked);
    t.equal([row.forked_from, (await t.status(id)).was_forked_from], [id, true], "each knows of the other");
    t.equal(await t.client.getEvent(forked, "k", { timeoutSeconds: 1, ...often }), 2, "events go on");
    const values = await t.rows("select value from SCHEMA.streams where workflow_uuid = $1", forked);
    t.equal(values, [{ value: '"a"' }], "a stream below it is there once");
    await t.client.registerQueue("forks");
    const other = await t.client.forkWorkflow(id, 0, { queueName: "forks", applicationVersion: "openclaw-1" });
    t.equal(await t.client.retrieveWorkflow(other).getResult(often), [0, null, null, 3, null, 5], "on another queue");
    t.equal(await t.ran(other), [0, 3, 5], "from the start, all of it ran");

    const child = t.id("child");
    const parent = await t.script([["child", "testScript", [[step("old")]], null, null], ["result", `${child}-0`], step(2)], {
      workflowID: child,
    });
    t.equal(await parent.getResult(often), [`${child}-0`, ["old"], 2], "with a child");
    const again = await t.client.forkWorkflow(child, 2);
    t.equal(await t.client.retrieveWorkflow(again).getResult(often), [`${child}-0`, ["old"], 2], "forked behind it");
    const caller = t.id("caller");
    const called = await t.script([["call", "testScript", [[step("old")]]], step(2)], { workflowID: caller });
    t.equal(await called.getResult(often), [["old"], 2], "a child and its result");
    const substitute = await t.script([step("new")]);
    await substitute.getResult(often);
    const replaced = await t.client.forkWorkflow(caller, 1, {
      replacementChildren: { [`${caller}-0`]: substitute.workflowID },
    });
    t.equal(await t.client.retrieveWorkflow(replaced).getResult(often), [["new"], 2], "forked with another child");
  },

  "14 workflow ids": async (t) => {
    const id = t.id();
    const first = await t.script([step(1, SLOW)], { workflowID: id });
    const second = await t.script([step(2)], { workflowID: id });
    t.equal([await first.getResult(often), await second.getResult(often)], [[1], [1]], "one id, one workflow");
    t.equal(await t.ran(id), [0], "which ran once");
    await t.rejects(
      t.client.enqueuePortable({ queueName: "openclaw", workflowName: "other", workflowID: id }, []),
      "DBOSConflictingWorkflowError",
      "another name under it",
    );
    await t.rejects(
      t.script([step(3)], { workflowID: id, workflowIDReusePolicy: "reject" }),
      "DBOSWorkflowIDInUseError",
      "its use can be refused",
    );
  },

  "15 deduplication": async (t) => {
    const options = { deduplicationID: t.id("dedup") };
    const enqueue = (script, more = {}) => t.script(script, { ...options, ...more });
    for (const [what, script, end] of [
      ["SUCCESS", [step(1, SLOW)], (handle) => handle.getResult(often)],
      ["ERROR", [step(1, SLOW), ["fail", "E", "e"]], (handle) => handle.getResult(often).catch(() => 0)],
      ["CANCELLED", [["recv", "never", 60000]], (handle) => t.client.cancelWorkflow(handle.workflowID)],
    ]) {
      const handle = await enqueue(script);
      await t.rejects(enqueue([step(2)]), "DBOSQueueDuplicatedError", `the slot is taken until ${what}`);
      const same = await enqueue([step(2)], { duplicationPolicy: "return-existing" });
      t.equal(same.workflowID, handle.workflowID, "who wants gets the holder");
      await end(handle);
      t.equal((await t.status(handle.workflowID)).status, what, `it ends as ${what}`);
    }
    await (await enqueue([step(3)])).getResult(often);
    t.ok(true, "and then it is free");
  },

  "16 listings": async (t) => {
    const prefix = t.id("list");
    const ids = [0, 1, 2, 3].map((n) => `${prefix}-${n}`);
    for (const [n, id] of ids.entries())
      await (await t.script([["arguments"]], { workflowID: id, attributes: { n, all: true } })).getResult(often);
    const list = async (filter) =>
      (await t.client.listWorkflows({ workflow_id_prefix: prefix, ...filter })).map((w) => w.workflowID);
    t.equal(await list({}), ids, "by prefix, the oldest first");
    t.equal(await list({ sortDesc: true, limit: 2, offset: 1 }), [ids[2], ids[1]], "in pages, descending");
    t.equal(await list({ status: "SUCCESS", workflowName: "testScript" }), ids, "by status and name");
    t.equal(await list({ status: "ERROR" }), [], "by a status that none has");
    t.equal(await list({ attributes: { n: 2 } }), [ids[2]], "by attributes");
    t.equal(await list({ queueName: "openclaw" }), ids, "by queue");
    t.equal(await list({ applicationName: "another" }), [], "by application");
    const [one] = await t.client.listWorkflows({ workflowIDs: [ids[0]] });
    t.equal([one.input, one.output, one.applicationName], [[[["arguments"]]], [[]], APPLICATION], "decoded");
    const [bare] = await t.client.listWorkflows({ workflowIDs: [ids[0]], loadInput: false, loadOutput: false });
    t.equal([bare.input, bare.output], [undefined, undefined], "without payloads");
    const parked = await t.script([["sleep", 20000]]);
    await t.reaches(parked.workflowID, "DELAYED");
    const queued = await t.client.listQueuedWorkflows({ workflowIDs: [parked.workflowID] });
    t.equal(queued.map((w) => w.status), ["DELAYED"], "among the queued ones");
    for (const status of [
      "PENDING", "SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "CANCELLED", "ENQUEUED", "DELAYED",
    ]) {
      const row = await t.row("select workflow_uuid as id from SCHEMA.workflow_status where status = $1 limit 1", status);
      const got = row && (await t.client.getWorkflow(row.id));
      if (row) t.equal(got?.status, status, `getWorkflow of one that is ${status}`);
    }
    await t.client.cancelWorkflow(parked.workflowID);
  },

  "17 steps": async (t) => {
    const id = t.id();
    const handle = await t.script(
      [step({ a: 1 }), ["sleep", 300], ["child", "testScript", [[step(1)]]], ["result", `${id}-2`], ["patch", "p"]],
      { workflowID: id },
    );
    t.equal(await handle.getResult(often), [{ a: 1 }, null, `${id}-2`, [1], true], "the result");
    const steps = await t.client.listWorkflowSteps(id);
    t.equal(
      steps.map((s) => [s.functionID, s.name, s.childWorkflowID]),
      [
        [0, "testStep", null],
        [1, "DBOS.sleep", null],
        [2, "testScript", `${id}-2`],
        [3, "DBOS.getResult", `${id}-2`],
        [4, "DBOS.patch-p", null],
      ],
      "ids, names, children",
    );
    t.ok(steps.every((s) => s.startedAtEpochMs <= s.completedAtEpochMs), "each begins before it ends", steps);
    t.equal([steps[0].output, steps[3].output], [{ a: 1 }, [1]], "outputs are decoded");
    t.equal(steps[1].output, steps[1].completedAtEpochMs, "a sleep is complete when it wakes");
    t.equal((await t.client.listWorkflowSteps(id, { offset: 1, limit: 2 })).map((s) => s.functionID), [1, 2], "in pages");
    t.equal((await t.status(`${id}-2`)).parent_workflow_id, id, "the child knows its parent");
  },

  "18 native": async (t) => {
    const options = { queueName: "openclaw", workflowName: "testScript" };
    const when = new Date("2026-01-02T03:04:05.678Z");
    const handle = await t.client.enqueue(options, [["arguments"]], when, { x: [1] });
    t.equal(await handle.getResult(often), [[when.toISOString(), { x: [1] }]], "native arguments, native result");
    t.equal((await t.status(handle.workflowID)).serialization, "js_superjson", "the row is native");
    const failing = await t.client.enqueue(options, [["fail", "Bad", "very"]]);
    const error = await t.rejects(failing.getResult(often), "Error", "a native error");
    t.equal([error?.name, error?.message], ["Bad", "very"], "with its name and message");
    const pickled = t.id();
    await t.rows(
      // in one: it would be run without its input
      "with enqueued as (insert into SCHEMA.workflow_status" +
        " (workflow_uuid, status, name, queue_name, serialization, application_name)" +
        " values ($1, 'ENQUEUED', 'testScript', 'openclaw', 'py_pickle', $2))" +
        " insert into SCHEMA.workflow_input (workflow_uuid, inputs) values ($1, 'gASVAA==')",
      pickled,
      APPLICATION,
    );
    const told = await t.rejects(
      t.client.retrieveWorkflow(pickled).getResult(often),
      "PortableWorkflowError",
      "what cannot be read fails visibly",
    );
    t.ok(told?.message.includes("py_pickle"), "and says why", told?.message);
    const broken = t.id();
    await t.client.enqueuePortable({ ...options, workflowID: broken, delaySeconds: 1 }, []);
    await t.rows("update SCHEMA.workflow_input set inputs = '{' where workflow_uuid = $1", broken);
    await t.rejects(t.client.retrieveWorkflow(broken).getResult(often), "PortableWorkflowError", "as does broken JSON");
  },

  "18 odd inputs": async (t) => {
    const enqueue = async (serialization, inputs) => {
      const id = t.id();
      await t.rows(
        "insert into SCHEMA.workflow_status (workflow_uuid, status, name, queue_name, serialization, application_name, inputs)" +
          " values ($1, 'ENQUEUED', 'testScript', 'openclaw', $2, $3, $4)",
        id, serialization, APPLICATION, inputs,
      );
      return t.client.retrieveWorkflow(id);
    };
    const odd = [
      ["DBOS_JSON", "W10="],
      ["DBOS_GOB", "AAAA"],
      ["java_jackson", "[[]]"],
      ["py_pickle", "gASVAA=="],
      ["custom_serializer", "whatever"],
      ["js_superjson", "{"],
      ["js_superjson", '"no object"'],
      ["js_superjson", "{}"],
      ["portable_json", "[1]"],
      ["portable_json", '{"positionalArgs":{}}'],
      ["portable_json", '{"positionalArgs":[],"namedArgs":[]}'],
      ["portable_json", "{"],
      [null, '{"positionalArgs":[]}'],
    ];
    for (const [serialization, inputs] of odd) {
      const handle = await enqueue(serialization, inputs);
      const row = await t.until("it has ended", async () => {
        const row = await t.status(handle.workflowID);
        return ["ERROR", "SUCCESS"].includes(row.status) && row;
      });
      const ended = await handle.getResult(often).then((value) => ({ value }), (error) => ({ error }));
      const what = `${serialization} ${inputs}`;
      t.equal(row.status, "ERROR", `${what}: a visible ERROR`);
      t.ok(ended.error instanceof Error && ended.error.message.length > 0, `${what}: which the client reads`, ended);
    }
    for (const inputs of [null, "{}", '{"positionalArgs":null,"namedArgs":null}'])
      t.equal(await (await enqueue("portable_json", inputs)).getResult(often), [], `portable_json ${inputs}: no arguments`);
  },

  "22 SQL functions": async (t) => {
    const call = async (values) => (await t.row(`select SCHEMA.enqueue_workflow(${values}) as id`)).id;
    const result = (id) => t.client.retrieveWorkflow(id).getResult(often);
    const script = `'testScript', 'openclaw', array['[["arguments"]]'::json, '{"n": 1}'::json]`;
    const id = await call(`${script}, application_name => '${APPLICATION}', authenticated_user => 'carol'`);
    t.equal(await result(id), [[{ n: 1 }]], "enqueue_workflow");
    t.equal((await t.status(id)).authenticated_user, "carol", "with its user");
    const later = await call(`${script}, delay_until_epoch_ms => (extract(epoch from now()) * 1000)::bigint + 700`);
    t.equal((await t.status(later)).status, "DELAYED", "delayed");
    t.equal(await result(later), [[{ n: 1 }]], "and run in time");
    const receiver = await t.script([["recv", "t", 20000]]);
    await t.rows("select SCHEMA.send_message($1, '{\"m\":1}'::json, topic => 't')", receiver.workflowID);
    t.equal(await receiver.getResult(often), [{ m: 1 }], "send_message");

    const transaction = new pg.Client({ connectionString: url });
    await transaction.connect();
    const inside = { queueName: "openclaw", workflowName: "testScript" };
    for (const end of ["commit", "rollback"]) {
      const receiving = await t.script([["recv", "tx", end === "commit" ? 20000 : 700]]);
      await transaction.query("begin");
      const handle = await t.client.enqueuePortableInTransaction(transaction, { ...inside, workflowID: t.id() }, [[step(1)]]);
      await t.client.sendInTransaction(transaction, receiving.workflowID, "sent", "tx");
      await transaction.query(end);
      t.equal(await receiving.getResult(often), [end === "commit" ? "sent" : null], `sendInTransaction, ${end}`);
      const row = await t.status(handle.workflowID);
      t.equal(Boolean(row), end === "commit", `enqueueInTransaction, ${end}`);
    }
    await transaction.end();
  },

  "23 dead letters": async (t) => {
    const handle = await t.script([step(0)], { delaySeconds: 2 });
    const id = handle.workflowID;
    await t.rows("update SCHEMA.workflow_status set recovery_attempts = 101 where workflow_uuid = $1", id);
    await t.rejects(
      handle.getResult(often),
      "DBOSAwaitedWorkflowExceededMaxRecoveryAttempts",
      "the 102nd claim is one too many",
    );
    const row = await t.status(id);
    t.equal([row.recovery_attempts, row.queue_name, row.owner_xid], ["102", null, null], "it runs nowhere");
    t.equal(await t.ran(id), [], "and did not run");
    await t.client.resumeWorkflow(id);
    t.equal(await handle.getResult(often), [0], "resumed it lives again");
  },

  "24 delete and rewind": async (t) => {
    const TABLES = [
      "workflow_status", "workflow_input", "workflow_output", "operation_outputs",
      "workflow_events", "workflow_events_history", "streams",
    ];
    const count = async (id) => {
      const counts = await Promise.all(
        TABLES.map((table) => t.row(`select count(*)::int as n from SCHEMA.${table} where workflow_uuid = $1`, id)),
      );
      return counts.map((row) => row.n);
    };
    const id = t.id();
    const script = [step(0), ["setEvent", "k", 1], ["write", "s", 1], ["close", "s"], step(4)];
    const handle = await t.script(script, { workflowID: id });
    await handle.getResult(often);
    t.equal(await count(id), [1, 1, 1, 5, 1, 1, 2], "a workflow in all tables");
    const rewound = await t.client.rewindWorkflow(id, { startStep: 4 });
    t.equal(await rewound.getResult(often), [0, null, null, null, 4], "rewound");
    t.equal(await t.ran(id), [0, 4, 4], "what was before the cut did not run again");
    await t.client.deleteWorkflow(id);
    t.equal(await count(id), [0, 0, 0, 0, 0, 0, 0], "deleted it is gone from all");
    await t.script([step("new")], { workflowID: id });
    t.equal(await t.client.retrieveWorkflow(id).getResult(often), ["new"], "the id is used again");

    const parent = t.id();
    await (
      await t.script([["child", "testScript", [[step(1)]]], ["result", `${parent}-0`]], { workflowID: parent })
    ).getResult(often);
    await t.client.deleteWorkflow(parent, true);
    t.equal([(await count(parent))[0], (await count(`${parent}-0`))[0]], [0, 0], "with its children");
  },
});

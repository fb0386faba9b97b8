// SPDX-License-Identifier: MIT
// What a DBOS client may do to the workflow of a message while its recipient has it, and afterwards:
// fork and rewind it, at every step; and to a mailbox.

import { cases, often, pg, sleep, url, APPLICATION } from "./case.mjs";

const QUEUE = { queueName: "openclaw", workflowName: "routeAgentMessage", applicationName: APPLICATION };

// The two ways in which a client can send: the workflow's input is then one of two formats.
const WAYS = {
  portable: (t, to, workflowID) => t.client.enqueuePortable({ ...QUEUE, workflowID }, [{ from: "ts", to, content: workflowID }]),
  native: (t, to, workflowID) => t.client.enqueue({ ...QUEUE, workflowID }, { from: "ts", to, content: workflowID }),
};

async function waiting(t, way, agent) {
  const handle = await WAYS[way](t, agent, t.id());
  await t.reaches(handle.workflowID, "DELAYED");
  return handle;
}

const within = (handle, what, ms = 20000) =>
  Promise.race([handle.getResult(often), sleep(ms).then(() => `nothing in ${ms} ms: ${what}`)]);

await cases({
  "19 messages one after the other": async (t) => {
    const agent = t.id("agent");
    await t.host("provision", agent);
    for (let n = 0; n < 60; n++) await t.client.enqueuePortable(QUEUE, [{ from: "ts", to: agent, content: n }]);
    const rows = await t.until("all are in the inbox", async () => {
      const inbox = await t.rows(
        `select n.message::json ->> 'content' as content from openclaw.inbox i
         join SCHEMA.notifications n using (message_uuid) where i.agent_id = $1 order by i.inbox_seq`,
        agent,
      );
      return inbox.length === 60 && inbox;
    }, 60000);
    t.equal(rows.map((row) => Number(row.content)), [...Array(60).keys()], "come to the inbox in that order");
  },

  "13 forks of a message": async (t) => {
    for (const way of Object.keys(WAYS)) {
      const agent = t.id(way);
      await t.host("provision", agent);
      const handle = await waiting(t, way, agent);
      const forks = [];
      for (const step of [2, 3, 9]) forks.push(await t.client.forkWorkflow(handle.workflowID, step));
      for (const id of forks) await t.reaches(id, "DELAYED");
      t.equal(await t.host("acknowledge", agent, '{"yes":1}'), 1, `${way}: forks behind the sending step send nothing`);
      const result = await handle.getResult(often);
      t.equal([result.status, result.response], ["acknowledged", { yes: 1 }], `${way}: the message has its reply`);
      for (const [n, id] of forks.entries())
        t.equal(await within(t.client.retrieveWorkflow(id), id), result, `${way}: so has fork ${n} that waited for it`);
      for (const step of [2, 3]) {
        const late = await t.client.forkWorkflow(handle.workflowID, step);
        t.equal(await within(t.client.retrieveWorkflow(late), late), result, `${way}: and one made afterwards, at step ${step}`);
      }
      const again = await t.client.forkWorkflow(forks[0], 2);
      t.equal(await within(t.client.retrieveWorkflow(again), again), result, `${way}: and the fork of a fork`);
    }
  },

  "13 forks of a message that is not acknowledged": async (t) => {
    const agent = t.id("agent");
    await t.host("provision", agent);
    const handle = await waiting(t, "portable", agent);
    const fork = await t.client.forkWorkflow(handle.workflowID, 2);
    await t.reaches(fork, "DELAYED");
    await t.client.cancelWorkflow(handle.workflowID);
    const error = await t.rejects(within(t.client.retrieveWorkflow(fork), fork), "PortableWorkflowError", "its carrier cancelled, a fork ends");
    t.equal(error?.code, "WITHDRAWN", "and says why");
  },

  "24 a mailbox": async (t) => {
    const agent = t.id("agent");
    const box = `agent:${agent}`;
    await t.host("provision", agent);
    await t.client.send(box, "unread");
    const state = async () => {
      const { status, queue_name, completed_at, started_at_epoch_ms, delay_until_epoch_ms } = await t.status(box);
      return [status, queue_name, completed_at, started_at_epoch_ms, Number(delay_until_epoch_ms) > Date.now() + 1e12];
    };
    const parked = ["DELAYED", null, null, null, true];
    for (const verb of ["cancelWorkflow", "resumeWorkflow"]) {
      await t.client[verb](box);
      t.equal(await state(), parked, `${verb} leaves it as it is`);
    }
    await t.client.setWorkflowDelay(box, { delaySeconds: 1 });
    t.equal(await state(), parked, "so does setWorkflowDelay");
    const told = (promise) => promise.then(() => "nothing", (error) => error.message);
    t.ok((await told(t.client.forkWorkflow(box, 0))).includes("a mailbox cannot be forked"), "a fork is refused");
    t.ok((await told(t.client.deleteWorkflow(box))).includes("cannot be deleted while its agent is there"), "and so is its end");
    await t.client.send(box, "later");
    t.equal(await t.host("acknowledge", agent, '"both"'), 2, "what was sent to it before and after is there");
    const copies = await t.rows("select workflow_uuid from SCHEMA.workflow_status where name = 'agent' and workflow_uuid not like 'agent:%'");
    t.equal(copies, [], "nothing is left of the fork");
  },

  "22 a transaction left open": async (t) => {
    const agent = t.id("agent");
    const transaction = new pg.Client({ connectionString: url });
    await t.host("provision", agent);
    await transaction.connect();
    await transaction.query("begin");
    await t.client.sendInTransaction(transaction, `agent:${agent}`, "inside");
    await t.client.send(`agent:${agent}`, "outside");
    t.equal(await t.host("acknowledge", agent, "null"), 1, "while it is open, others send to the agent, too");
    await transaction.query("commit");
    t.equal(await t.host("acknowledge", agent, "null"), 1, "and its message is there when it has committed");
    await transaction.end();
  },

  "24 rewinds of a message": async (t) => {
    for (const way of Object.keys(WAYS)) {
      const agent = t.id(way);
      await t.host("provision", agent);
      const handle = await waiting(t, way, agent);
      const id = handle.workflowID;
      await t.host("acknowledge", agent, '{"yes":2}');
      const result = await handle.getResult(often);
      for (const time of ["once", "again"]) {
        await t.client.rewindWorkflow(id, { startStep: 2 });
        t.equal(await within(handle, id), result, `${way}: rewound to its wait, ${time}, it has the reply still`);
      }
      t.equal(await t.host("acknowledge", agent, '"nothing"'), 0, `${way}: and was not sent again`);
      const late = await t.client.forkWorkflow(id, 2);
      t.equal(await within(t.client.retrieveWorkflow(late), late), result, `${way}: nor is a fork without it`);
      await t.client.rewindWorkflow(id, { startStep: 1 });
      await t.reaches(id, "DELAYED");
      t.equal(await t.host("acknowledge", agent, '{"yes":3}'), 1, `${way}: rewound to its sending it is sent again`);
      t.equal((await within(handle, id)).response, { yes: 3 }, `${way}: and has the new reply`);
    }
  },
});

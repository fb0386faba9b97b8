// SPDX-License-Identifier: MIT
// Case 25, applications: another one in the same database, launched, killed and launched again. Its
// workflows are children of ours, it sends to our agents, and neither takes what is the other's.

import { cases, connect, often, sleep } from "./case.mjs";

const step = (value, pause = 0) => ["step", value, pause];
const NEIGHBOUR = ["neighbour", "neighbour-queue"];

await cases({
  "25 neighbour": async (t) => {
    await t.host("launch");
    const ours = await t.script([["step", 1]]);
    t.equal(await ours.getResult(often), [1], "what is ours is run by us, though it knows the name");

    const parent = await t.script([["call", "greet", ["you"], ...NEIGHBOUR]]);
    t.equal(await parent.getResult(often), [{ said: "hello you" }], "our workflow calls one of its");
    const child = await t.status(`${parent.workflowID}-0`);
    t.equal([child.application_name, child.executor_id !== ""], ["neighbour", true], "which it ran");
    const refused = await t.script([["call", "refuse", [], ...NEIGHBOUR]]);
    const error = await t.rejects(refused.getResult(often), "PortableWorkflowError", "its error");
    t.equal(error?.message, "not today", "is ours");

    const waiting = await t.script([["call", "greet", ["again"], ...NEIGHBOUR]]);
    await t.until("it greets", async () => (await t.steps(`${waiting.workflowID}-0`)).length > 0);
    await t.host("neighbour_kill");
    await sleep(500);
    t.equal((await t.status(`${waiting.workflowID}-0`)).status, "PENDING", "killed, its workflow is left alone by us");
    await t.host("launch");
    t.equal(await waiting.getResult(often), [{ said: "hello again" }], "launched again, it goes on, and so do we");

    const theirs = await connect({ applicationName: "neighbour" });
    await t.host("provision", "alice");
    const message = await theirs.enqueuePortable(
      { applicationName: "openclaw-gateway", queueName: "openclaw", workflowName: "routeAgentMessage", workflowID: t.id() },
      [{ from: "neighbour", to: "alice", content: { text: "hi" } }],
    );
    await t.reaches(message.workflowID, "DELAYED");
    await t.host("acknowledge", "alice", '{"text":"hi yourself"}');
    const result = await message.getResult(often);
    t.equal(
      [result.status, result.response, result.deliveryAttempts],
      ["acknowledged", { text: "hi yourself" }, 1],
      "it sends to an agent of ours, and has the reply",
    );

    // rows that look abandoned are left to their application
    const pending = await t.rows(
      "select workflow_uuid, application_name, executor_id from SCHEMA.workflow_status where status = 'PENDING'",
    );
    t.equal(pending, [], "nothing is left running");
    await t.host("neighbour_kill");
    const lost = t.id();
    await theirs.enqueuePortable({ workflowName: "testScript", queueName: "neighbour-queue", workflowID: lost }, []);
    await theirs.enqueuePortable({ workflowName: "testScript", queueName: "openclaw", workflowID: `${lost}-2` }, []);
    await sleep(1000);
    t.equal(
      [(await t.status(lost)).status, (await t.status(`${lost}-2`)).status],
      ["ENQUEUED", "ENQUEUED"],
      "what is its is not taken by us, on whichever queue",
    );
    await theirs.destroy();
  },

  "25 both killed": async (t) => {
    await t.host("launch");
    const theirs = await connect({ applicationName: "neighbour" });
    const mine = await t.script([step(0), step(1, 2500), step(2)]);
    const its = await theirs.enqueuePortable({ workflowName: "greet", queueName: "neighbour-queue", workflowID: t.id() }, ["both"]);
    const ids = [mine.workflowID, its.workflowID];
    await t.until("both run", async () => (await t.ran(ids[0])).includes(1) && (await t.steps(ids[1])).length > 0);
    const owners = async () => (await t.rows("select application_name as app from SCHEMA.workflow_status where workflow_uuid = any ($1) order by 1", ids)).map((r) => r.app);
    await t.host("neighbour_kill");
    await t.host("kill"); // and starts another gateway, alone
    t.equal(await mine.getResult(often), [0, 1, 2], "both killed, the gateway goes on with its own");
    t.equal(await t.ran(ids[0]), [0, 1, 1, 2], "from its checkpoint");
    const left = await t.status(ids[1]);
    t.equal([left.status, left.application_name], ["PENDING", "neighbour"], "and leaves what is the other's");
    await t.host("sweeper", 0);
    const waiting = await t.script([step("ours")]);
    await t.host("launch");
    t.equal(await its.getResult(often), { said: "hello both" }, "which it goes on with, launched again, alone");
    t.equal((await t.status(waiting.workflowID)).status, "ENQUEUED", "and leaves what is ours");
    await t.host("sweeper", 1);
    t.equal(await waiting.getResult(often), ["ours"], "for us");
    t.equal(await owners(), ["neighbour", "openclaw-gateway"], "each is still its own");
    await theirs.destroy();
    await t.host("neighbour_kill");
  },

  "25 wake-ups": async (t) => {
    await t.host("launch");
    const theirs = await connect({ applicationName: "neighbour" });
    const watch = async (workflowName, ...args) => {
      const handle = await theirs.enqueuePortable({ workflowName, queueName: "neighbour-queue", workflowID: t.id() }, args);
      await t.reaches(handle.workflowID, "PENDING");
      await sleep(1000); // now it has looked, and waits
      return handle;
    };
    const woken = async (handle, value, what) => {
      const got = await Promise.race([handle.getResult(often), sleep(60000).then(() => "nothing in a minute")]);
      t.equal(got, value, `${what} wakes who waits, not looking by itself for ten minutes`);
    };
    const id = t.id();
    let watched = await watch("watchEvent", id, "late");
    await t.script([["sleep", 500], ["setEvent", "late", "now"]], { workflowID: id });
    await woken(watched, "now", "an event of ours");

    watched = await watch("watchMessage", "topic");
    await t.script([["send", watched.workflowID, "topic", { n: 1 }]]);
    await woken(watched, { n: 1 }, "a message of ours");

    for (const [operation, what] of [
      [["write", "s", 1], "a stream of ours"],
      [["stepWrite", "s", 1, 120000], "one within a step that goes on for long"],
    ]) {
      const writer = t.id();
      const wait = t.id();
      await t.script([["recv", "go", 600000], operation, ["recv", "never", 600000]], { workflowID: writer });
      await t.reaches(writer, "DELAYED");
      watched = await watch("watchStream", writer, "s");
      await t.client.send(writer, "go", "go", wait, { serializationType: "portable" });
      await woken(watched, 1, what);
      await t.client.cancelWorkflow(writer);
    }

    const slow = await t.script([["sleep", 1000], ["step", "done"]]);
    watched = await watch("watchResult", slow.workflowID);
    await woken(watched, [null, "done"], "(by looking each second: DBOS has no channel for them) a result of ours");

    await t.host("provision", "dora");
    const letter = await theirs.enqueuePortable(
      { applicationName: "openclaw-gateway", queueName: "openclaw", workflowName: "routeAgentMessage", workflowID: t.id() },
      [{ from: "neighbour", to: "dora", content: "hi" }],
    );
    await t.reaches(letter.workflowID, "DELAYED");
    watched = await watch("watchEvent", letter.workflowID, "acknowledged");
    await t.host("acknowledge", "dora", '"hi"');
    t.equal((await watched.getResult(often)).attempt, 1, "so does the acknowledgement of a message that it sent");
    await theirs.destroy();
    await t.host("neighbour_kill");
  },

  "25 asks an agent": async (t) => {
    await t.host("launch");
    await t.host("provision", "clara");
    const theirs = await connect({ applicationName: "neighbour" });
    const asks = await theirs.enqueuePortable({ workflowName: "ask", queueName: "neighbour-queue", workflowID: t.id() }, ["clara", { q: 1 }]);
    const carrier = () =>
      t.row("select workflow_uuid as id from SCHEMA.workflow_status where parent_workflow_id = $1 and status = 'DELAYED'", asks.workflowID);
    await t.until("the message is in the inbox", carrier);
    const { id } = await carrier();
    await t.host("neighbour_kill");
    await t.host("acknowledge", "clara", '{"a":2}');
    await t.host("launch");
    t.equal(
      await asks.getResult(often),
      { status: "acknowledged", response: { a: 2 }, carrier: id },
      "a workflow of an application asks an agent, is killed, and has the answer",
    );
    await theirs.destroy();
    await t.host("neighbour_kill");
  },
});

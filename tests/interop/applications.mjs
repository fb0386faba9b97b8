// SPDX-License-Identifier: MIT
// Case 25, applications: another one in the same database, launched, killed and launched again. Its
// workflows are children of ours, it sends to our agents, and neither takes what is the other's.

import { cases, connect, often, sleep } from "./case.mjs";

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
    const setter = t.id();
    const watch = await theirs.enqueuePortable({ workflowName: "watch", queueName: "neighbour-queue" }, [setter]);
    await t.reaches(watch.workflowID, "PENDING");
    await sleep(500);
    await t.script([["sleep", 500], ["setEvent", "late", "now"], ["step", 0, 300]], { workflowID: setter });
    const seen = await watch.getResult(often);
    const set = Number((await t.steps(setter))[1].completed_at_epoch_ms);
    t.equal(seen.value, "now", "it waits for an event of ours");
    t.ok(seen.at - set < 1000, "and is woken, not polling every 10 s", seen.at - set);

    await t.client.retrieveWorkflow(setter).getResult(often);

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
});

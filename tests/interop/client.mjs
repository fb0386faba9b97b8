// SPDX-License-Identifier: MIT
// Case 26: every public method of DBOSClient is used by some case, or is named here with the reason;
// and what no other case uses: queues by hand, several workflows at once, waiting for one of many,
// versions, another name for the application.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cases, connect, often, pg, sdk, sleep, url, APPLICATION } from "./case.mjs";

const step = (value, pause = 0) => ["step", value, pause];
const QUEUE = { queueName: "openclaw", workflowName: "testScript" };

await cases({
  "26 methods": async (t) => {
    const here = dirname(fileURLToPath(import.meta.url));
    const texts = readdirSync(here)
      .filter((file) => file.endsWith(".mjs"))
      .map((file) => readFileSync(join(here, file), "utf8").replace(/^\/\/.*/gm, ""))
      .join("\n");
    const methods = Object.entries(Object.getOwnPropertyDescriptors(sdk.DBOSClient.prototype))
      .filter(([name, { value }]) => typeof value === "function" && name !== "constructor")
      .map(([name]) => name);
    t.ok(methods.length > 40, `DBOSClient has ${methods.length} methods`, methods);
    const within = {
      // DebouncerClient calls these two; see case 20
      enqueueDebounced: "DebouncerClient",
      debounceDelayedWorkflow: "DebouncerClient",
    };
    const unused = methods.filter((name) => !texts.includes(`.${name}(`) && !texts.includes(within[name] ?? `.${name}(`));
    t.equal(unused, [], "each is used by a case");
  },

  "26 queues": async (t) => {
    const name = t.id("queue");
    await t.client.registerQueue(name, { concurrency: 0, workerConcurrency: 0 });
    const queue = await t.client.retrieveQueue(name);
    t.equal([queue.name, await queue.getGlobalConcurrency(), queue.applicationName], [name, 0, APPLICATION], "retrieved");
    t.ok((await t.client.listQueues()).some((q) => q.name === "openclaw"), "ours is listed");
    const handle = await t.script([step(1)], { queueName: name });
    await sleep(500);
    t.equal((await t.status(handle.workflowID)).status, "ENQUEUED", "nothing runs");
    await queue.setGlobalConcurrency(undefined);
    await queue.setWorkerConcurrency(undefined);
    t.equal(await handle.getResult(often), [1], "its limits taken away, it runs");
    await queue.setPartitionConcurrency(1);
    const lost = await t.script([step(1)], { queueName: name });
    await sleep(500);
    t.equal((await t.status(lost.workflowID)).status, "ENQUEUED", "partitioned: what has no partition does not run");
    await queue.setPartitionConcurrency(undefined);
    t.equal(await lost.getResult(often), [1], "until it is no longer");
    await t.client.deleteQueue(name);
    t.equal(await t.client.retrieveQueue(name), null, "deleted");
    const left = await t.script([step(1)], { queueName: name });
    await sleep(500);
    t.equal((await t.status(left.workflowID)).status, "ENQUEUED", "what is put in it then waits");
    await t.client.registerQueue(name);
    t.equal(await left.getResult(often), [1], "for it to be there again");
  },

  "26 many": async (t) => {
    const ids = [t.id(), t.id(), t.id()];
    for (const workflowID of ids) await t.script([step(0), ["recv", "go", 600000]], { workflowID });
    for (const id of ids) await t.reaches(id, "DELAYED");
    await t.client.cancelWorkflows(ids.slice(0, 2));
    const states = async () => Promise.all(ids.map(async (id) => (await t.status(id))?.status));
    t.equal(await states(), ["CANCELLED", "CANCELLED", "DELAYED"], "several are cancelled");
    const handles = await t.client.resumeWorkflows(ids.slice(0, 2));
    for (const id of ids) await t.reaches(id, "DELAYED");
    for (const id of ids) await t.client.send(id, id, "go");
    t.equal(await handles[1].getResult(often), [0, ids[1]], "and resumed");
    t.equal(await t.ran(ids[0]), [0], "what they had done is not done again");
    await t.client.deleteWorkflows(ids);
    t.equal(await states(), [undefined, undefined, undefined], "and deleted");
  },

  "26 waiting": async (t) => {
    const slow = await t.script([["recv", "never", 600000]]);
    const quick = await t.script([step(1)]);
    t.equal((await t.client.waitFirst([slow, quick], often)).workflowID, quick.workflowID, "waitFirst");
    const other = await t.script([["sleep", 300], step(2)]);
    t.equal((await t.client.waitAll([quick, other], often)).length, 2, "waitAll");
    await t.client.cancelWorkflow(slow.workflowID);
    const writer = await t.script([["write", "s", "a"], ["sleep", 500], ["write", "s", "b"]]);
    t.equal(await t.client.readStreamOffset(writer.workflowID, "s", 1, often), "b", "readStreamOffset waits for the place");
    t.equal((await t.client.retrieveWorkflow(writer.workflowID).getStatus()).status, "SUCCESS", "its status");
  },

  "26 transactions": async (t) => {
    const transaction = new pg.Client({ connectionString: url });
    await transaction.connect();
    for (const end of ["rollback", "commit"]) {
      await transaction.query("begin");
      const handle = await t.client.enqueueInTransaction(transaction, { ...QUEUE, workflowID: t.id() }, [["arguments"]], new Date(0));
      t.equal(await t.status(handle.workflowID), undefined, "enqueueInTransaction: nobody sees it");
      await transaction.query(end);
      if (end === "commit") t.equal(await handle.getResult(often), [["1970-01-01T00:00:00.000Z"]], "until it is committed");
      else t.equal(await t.status(handle.workflowID), undefined, "nor when it is rolled back");
    }
    await transaction.end();
  },

  "26 versions": async (t) => {
    const latest = await t.client.getLatestApplicationVersion();
    t.equal(latest.versionName, "openclaw-1", "the gateway has registered its version");
    await t.rows(
      "insert into SCHEMA.application_versions (version_id, version_name, application_name) values ('next', 'openclaw-next', $1)" +
        " on conflict do nothing",
      APPLICATION,
    );
    t.ok((await t.client.listApplicationVersions()).length >= 2, "listed");
    await t.client.setLatestApplicationVersion("openclaw-next");
    const any = await t.script([step("any")]);
    const named = await t.script([step("named")], { appVersion: "openclaw-1" });
    const next = await t.script([step("next")], { appVersion: "openclaw-next" });
    t.equal(await named.getResult(often), ["named"], "what is of its version runs");
    await sleep(500);
    t.equal((await t.status(any.workflowID)).status, "ENQUEUED", "what is of none waits for the latest");
    await t.client.setLatestApplicationVersion("openclaw-1");
    t.equal(await any.getResult(often), ["any"], "which this one is again");
    t.equal((await t.status(next.workflowID)).status, "ENQUEUED", "what is of another waits for that");
    await t.host("restart", { APP_VERSION: "openclaw-next" });
    t.equal(await next.getResult(often), ["next"], "which then runs it");
    await t.host("restart", {});
    await t.client.setLatestApplicationVersion("openclaw-1");
  },

  "26 another name": async (t) => {
    const id = t.id();
    await t.script([step(0), ["recv", "go", 600000]], { workflowID: id });
    await t.reaches(id, "DELAYED");
    await t.host("sweeper", 0);
    const moved = await t.client.renameApplication(APPLICATION, "renamed");
    t.ok(moved.queues > 0 && moved.versions > 0 && moved.workflows > 0 && moved.steps > 0, "all of it is another application's", moved);
    await t.host("restart", { APP_NAME: "renamed" });
    const client = await connect({ applicationName: "renamed" });
    await client.send(id, "on", "go");
    t.equal(await client.retrieveWorkflow(id).getResult(often), [0, "on"], "a gateway of that name goes on with it");
    const fresh = await client.enqueuePortable({ ...QUEUE, workflowID: t.id() }, [[step("new")]]);
    t.equal(await fresh.getResult(often), ["new"], "and takes what is new");
    await t.host("sweeper", 0);
    await client.renameApplication("renamed", APPLICATION);
    await client.destroy();
    await t.host("restart", {});
    t.equal(await (await t.script([step("back")])).getResult(often), ["back"], "and back");
  },
});

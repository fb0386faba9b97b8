// SPDX-License-Identifier: MIT
// Schedules: made, paused, changed, triggered and backfilled by the official client; fired by the
// gateways, several of them, each time once; and by a launched application beside them, each its own.

import { cases, connect, often, sleep, APPLICATION } from "./case.mjs";

const EVERY_SECOND = "* * * * * *";

await cases({
  "schedule fires": async (t) => {
    await t.host("sweeper", 0);
    await t.host("sweeper", 2, true);
    const name = t.id("fires");
    const script = [["step", 1]];
    const when = new Date("2026-01-02T03:04:05.678Z");
    await t.client.createSchedule({
      scheduleName: name,
      workflowName: "testSchedule",
      schedule: EVERY_SECOND,
      context: { script, when },
      options: { cronTimezone: "Europe/Berlin" },
    });
    const fired = () => t.client.listWorkflows({ scheduleName: name });
    await t.until("it was fired four times", async () => (await fired()).length >= 4, 60000);
    const list = await fired();
    const times = list.map((w) => w.workflowID.slice(`sched-${name}-`.length));
    t.equal(times, list.map((w) => new Date(w.input[0]).toISOString()), "each under the id of its time, which it is given");
    t.ok(list.every((w) => w.input[0] instanceof Date), "as a date", list[0].input);
    const gaps = times.slice(1).map((time, n) => Date.parse(time) - Date.parse(times[n]));
    t.ok(gaps.every((gap) => gap === 1000), "each second once, by two gateways on two hosts", times);
    t.equal(list[0].input[1], { script, when }, "with its context, decoded by the client");
    const first = list[0];
    t.equal(
      [first.queueName, first.applicationName, first.scheduleName, first.workflowName],
      ["_dbos_internal_queue", APPLICATION, name, "testSchedule"],
      "on the internal queue, ours",
    );
    t.equal(await t.client.retrieveWorkflow(first.workflowID).getResult(often), { at: times[0], script, when: when.toISOString() }, "and it runs");
    const schedule = await t.client.getSchedule(name);
    t.ok(times.includes(new Date(schedule.lastFiredAt).toISOString()) || schedule.lastFiredAt > times.at(-1), "the schedule says when it was fired last", schedule.lastFiredAt);

    await t.client.pauseSchedule(name);
    const before = (await fired()).length;
    await t.until("a gateway has seen it", async () => !(await t.row("select from openclaw.schedule where schedule_name = $1", name)), 60000);
    await sleep(3000);
    t.equal((await fired()).length, before, "paused it is not fired");
    await t.client.resumeSchedule(name);
    await t.until("it is fired again", async () => (await fired()).length > before, 60000);
    t.equal(
      (await fired()).filter((w, n, all) => n && Date.parse(all[n - 1].workflowID.slice(-24)) === Date.parse(w.workflowID.slice(-24))),
      [],
      "resumed it goes on",
    );
    const pauses = (await fired()).map((w) => Date.parse(w.workflowID.slice(-24)));
    t.ok(pauses[before] - pauses[before - 1] >= 3000, "with what comes, not with what it missed", pauses);
    await t.client.deleteSchedule(name);
    const last = (await fired()).length;
    await sleep(2500);
    t.equal((await fired()).length, last, "deleted it is gone");
    await t.host("sweeper", 0);
    await t.host("sweeper", 1);
  },

  "schedule by hand": async (t) => {
    const name = t.id("hand");
    await t.client.applySchedules([
      { scheduleName: name, workflowName: "testSchedule", schedule: "0 0 1 1 *", context: { n: 1 }, queueName: "openclaw" },
    ]);
    t.equal((await t.client.listSchedules({ scheduleNamePrefix: name })).map((s) => [s.scheduleName, s.status]), [[name, "ACTIVE"]], "listed");
    const triggered = await t.client.triggerSchedule(name);
    const result = await triggered.getResult(often);
    t.ok(triggered.workflowID.startsWith(`sched-${name}-trigger-`) && result.n === 1, "triggered, it runs", result);
    const handles = await t.client.backfillSchedule(name, new Date("2020-06-01T00:00:00Z"), new Date("2024-06-01T00:00:00Z"));
    const years = await Promise.all(handles.map(async (h) => (await h.getResult(often)).at));
    t.equal(years, ["2021", "2022", "2023", "2024"].map((y) => `${y}-01-01T00:00:00.000Z`), "backfilled, four years run");
    await t.client.updateSchedule(name, { schedule: EVERY_SECOND, context: { n: 2 } });
    await t.until(
      "it is fired",
      async () => (await t.client.listWorkflows({ scheduleName: name })).some((w) => w.input[1].n === 2),
      60000,
    );
    t.ok(true, "changed, it is fired as it is now");
    await t.client.deleteSchedule(name);
  },

  "schedule backfill": async (t) => {
    const name = t.id("backfill");
    await t.client.createSchedule({
      scheduleName: name,
      workflowName: "testSchedule",
      schedule: EVERY_SECOND,
      context: {},
      options: { automaticBackfill: true },
    });
    const times = async () =>
      (await t.client.listWorkflows({ scheduleName: name, limit: 1000 })).map((w) => Date.parse(w.input[0])).sort((a, b) => a - b);
    await t.until("it is fired", async () => (await times()).length > 1, 60000);
    await t.host("sweeper", 0);
    await sleep(3000);
    await t.host("sweeper", 1);
    const back = Date.now();
    await t.until("it has caught up", async () => (await times()).at(-1) >= back, 60000);
    await t.client.pauseSchedule(name);
    const seen = await times();
    t.equal(seen.filter((at, n) => n && at - seen[n - 1] !== 1000), [], "what was due while no gateway ran is made up for");
    t.equal(new Set(seen).size, seen.length, "once");
    await t.client.deleteSchedule(name);
  },

  "schedule neighbour": async (t) => {
    await t.host("launch");
    const theirs = await connect({ applicationName: "neighbour" });
    const mine = t.id("mine");
    const their = t.id("theirs");
    await theirs.createSchedule({ scheduleName: their, workflowName: "tick", schedule: EVERY_SECOND, context: { of: "theirs" } });
    await t.client.createSchedule({ scheduleName: mine, workflowName: "testSchedule", schedule: EVERY_SECOND, context: {} });
    const done = async (client, name) => (await client.listWorkflows({ scheduleName: name, status: "SUCCESS" })).length;
    await t.until("both are fired, and run", async () => (await done(t.client, mine)) > 2 && (await done(theirs, their)) > 2, 90000);
    const rows = await t.rows(
      "select schedule_name as name, application_name as app, count(*)::int as n, count(distinct executor_id)::int as executors" +
        " from SCHEMA.workflow_status where schedule_name = any ($1) and status = 'SUCCESS' group by 1, 2 order by 1",
      [mine, their],
    );
    t.equal(
      rows.map((r) => [r.name, r.app]),
      [[mine, APPLICATION], [their, "neighbour"]],
      "ours is run by us, the neighbour's by it",
    );
    await t.rejects(
      theirs.createSchedule({ scheduleName: mine, workflowName: "tick", schedule: EVERY_SECOND, context: {} }),
      "DBOSError",
      "a name belongs to one application",
    );
    const [one] = await theirs.listWorkflows({ scheduleName: their, status: "SUCCESS", limit: 1 });
    t.equal(one.output, { of: "theirs", date: true }, "which has a date and the context");

    // a schedule that nobody owns is fired by both, under one id
    const nobody = t.id("nobody");
    const anonymous = await connect({ applicationName: undefined });
    await anonymous.createSchedule({ scheduleName: nobody, workflowName: "testSchedule", schedule: EVERY_SECOND, context: {} });
    await t.until("it is fired", async () => (await t.rows("select from SCHEMA.workflow_status where schedule_name = $1", nobody)).length > 4, 90000);
    await t.client.deleteSchedule(nobody);
    const fired = (await t.rows("select workflow_uuid as id from SCHEMA.workflow_status where schedule_name = $1", nobody)).map((r) => r.id);
    const seconds = fired.map((id) => Date.parse(id.slice(-24)) / 1000).sort();
    t.equal(seconds.map((at) => at - seconds[0]), [...seconds.keys()], "one that nobody owns is fired once for each time");
    for (const name of [mine, their]) await t.client.deleteSchedule(name);
    await anonymous.destroy();
    await theirs.destroy();
    await t.host("neighbour_kill");
  },
});

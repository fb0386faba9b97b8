// SPDX-License-Identifier: MIT
// What the official SDK makes of random cron expressions: a JSON line each, [expression, time zone,
// after, what its matcher says is next, or null where it refuses the expression].
//
//   node cron.mjs SEED COUNT

import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(`${process.env.NODE_MODULES_DIR}/`);
const { TimeMatcher } = require(join(require.resolve("@dbos-inc/dbos-sdk"), "..", "scheduler", "crontab.js"));
let [seed, count] = process.argv.slice(2).map(Number);

// a small generator of our own, so that a seed says it all
function random(limit) {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * limit);
}
const pick = (list) => list[random(list.length)];
const between = (low, high) => low + random(high - low + 1);

function item(low, high) {
  switch (random(8)) {
    case 0:
      return "*";
    case 1:
      return `*/${between(1, high)}`;
    case 2:
      return `${between(low, high)}-${between(low, high)}`;
    case 3:
      return `${between(low, high)}-${between(low, high)}/${between(1, 7)}`;
    default:
      return String(between(low, high));
  }
}
const list = (one) => Array.from({ length: pick([1, 1, 1, 2, 3]) }, one).join(",");
const sparse = (low, high) => (random(2) ? "*" : list(() => item(low, high)));
const MONTHS = ["jan", "february", "MAR", "apr", "May", "june", "jul", "aug", "SEPTEMBER", "oct", "nov", "dec"];
const DAYS = ["sun", "monday", "TUE", "wed", "Thursday", "fri", "sat"];

function expression() {
  const day = () => (random(4) ? item(1, 31) : pick(["L", "l-3", "15W", "lw", "1W", "31w", "L-30"]));
  const weekday = () => (random(4) ? item(0, 7) : pick(["5L", "1#2", "mon#5", "friL", "mon-fri", "7#1", pick(DAYS)]));
  const month = () => (random(4) ? item(1, 12) : pick([pick(MONTHS), `${pick(MONTHS)}-${pick(MONTHS)}`]));
  const fields = [sparse(0, 59), sparse(0, 23), pick(["*", "?", list(day)]), pick(["*", list(month)]), pick(["*", "?", list(weekday)])];
  if (random(2)) fields.unshift(list(() => item(0, 59)));
  return fields.join(" ");
}

const WRONG = ["* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "1,,2 * * * *",
  "5/10 * * * *", "a * * * *", "* * 30 2 *", "* * 31 apr,jun *", "@reboot", "", "* * * * * * *", "* * 1-15W * *", "* * 32W * *", "* * L-31 * *",
  "* * * * 1#6", "* * * * 8L", "L * * * *", "* * * * L", "1- * * * *", "-1 * * * *", "* * * foo *", "? * * * *", "* * * ? *", "1-2-3 * * * *"];
const NICKNAMES = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", " @Hourly "];
// none whose future is a forecast (Africa/Casablanca, Asia/Gaza): there two releases of the time zones differ
const ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
  "America/St_Johns", "Antarctica/Troll", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"];
// around changes of the clock, leap days, ends of years
const TIMES = ["2024-02-28T23:00:00Z", "2023-12-31T22:00:00Z", "2026-03-29T00:30:00Z", "2026-10-25T00:10:00Z", "2026-03-08T06:30:00Z",
  "2026-11-01T05:10:00Z", "2026-04-04T14:50:00Z", "2026-10-03T15:10:00Z", "2011-12-29T12:00:00Z", "2026-02-15T01:00:00Z", "2100-02-28T00:00:00Z"];

function say(cron, zone, after) {
  let next = null;
  try {
    const matcher = new TimeMatcher(cron, zone);
    const found = matcher.nextWakeupTime(after);
    next = matcher.match(found) ? found.getTime() : "never";
  } catch {
    // it is refused
  }
  console.log(JSON.stringify([cron, zone, after, next]));
}
for (const cron of [...WRONG, ...NICKNAMES]) say(cron, "UTC", Date.parse(TIMES[0]));
while (count-- > 0) {
  const cron = expression();
  const zone = pick(ZONES);
  let after = Date.parse(pick(TIMES)) + random(7200) * 500;
  for (let n = 0; n < 3; n++) {
    say(cron, zone, after);
    after += random(3) ? 1000 : random(5 * 86400) * 1000;
  }
}

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Cron expressions against known answers, and the firing of schedules."""

import datetime
import json
import sys
import threading

from cluster import Cluster, skip_without
from tap import Tap
from transition import APP, Database, SqlError, literal

skip_without("initdb", "psql")
tap = Tap()

# expression, time zone, after, and the instants that come next
NEXT = [
    ("* * * * *", None, "2026-01-01T00:00:00Z", ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]),
    ("* * * * * *", None, "2026-01-01T00:00:00.5Z", ["2026-01-01T00:00:01Z"]),
    ("@hourly", None, "2026-12-31T23:00:00Z", ["2027-01-01T00:00:00Z"]),
    ("@DAILY", None, "2026-02-28T00:00:00Z", ["2026-03-01T00:00:00Z"]),
    ("@weekly", None, "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z"]),
    ("@yearly", None, "2026-01-01T00:00:00Z", ["2027-01-01T00:00:00Z"]),
    ("*/20 9-17/4 * * MON-fri", None, "2026-01-02T17:20:00Z", ["2026-01-02T17:40:00Z", "2026-01-05T09:00:00Z"]),
    ("0 22-2 * * *", None, "2026-01-01T22:00:00Z", ["2026-01-01T23:00:00Z", "2026-01-02T00:00:00Z"]),
    ("0 0 * jan,Mar-april sunday", None, "2026-01-25T00:00:00Z", ["2026-03-01T00:00:00Z"]),
    ("0 0 * * 7", None, "2026-01-01T00:00:00Z", ["2026-01-04T00:00:00Z"]),
    ("0 0 13 * 5", None, "2026-01-01T00:00:00Z", ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]),
    ("0 0 29 2 *", None, "2096-02-29T00:00:00Z", ["2104-02-29T00:00:00Z"]),
    ("0 0 29 2 *", None, "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z"]),
    ("0 0 31 * *", None, "2026-03-31T00:00:00Z", ["2026-05-31T00:00:00Z"]),
    ("0 0 L * ?", None, "2028-02-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"]),
    ("0 0 LW * *", None, "2026-05-01T00:00:00Z", ["2026-05-29T00:00:00Z"]),
    ("0 0 15W * *", None, "2026-08-01T00:00:00Z", ["2026-08-14T00:00:00Z"]),
    ("0 0 1W * *", None, "2026-07-02T00:00:00Z", ["2026-08-03T00:00:00Z"]),
    ("0 0 ? * 1#2", None, "2026-06-01T00:00:00Z", ["2026-06-08T00:00:00Z"]),
    ("0 0 * * friL", None, "2026-06-01T00:00:00Z", ["2026-06-26T00:00:00Z"]),
    # clocks that skip an hour: 02:30 is not there on this day; 03:00 comes a second after 01:59:59
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-30T00:30:00Z"]),
    ("0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]),
    # and that repeat one: 02:30 comes twice
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
     ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]),
    ("30 1 * * *", "america/new_york", "2026-10-31T12:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"]),
    # a day that a country left out
    ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", ["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"]),
    ("0 0 * * *", "+05:30", "2026-01-01T00:00:00Z", ["2026-01-01T18:30:00Z"]),
    ("0 0 1 1 *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", ["2026-12-31T18:15:00Z"]),
]  # fmt: skip
WRONG = {
    "* * * *": "has 4 fields",
    "": "has 0 fields",
    "* * * * * * *": "has 7 fields",
    "60 * * * *": '"60" is no minute of a schedule: 0 to 59',
    "61 * * * * *": '"61" is no second',
    "* 24 * * *": '"24" is no hour',
    "* * 0 * *": '"0" is no day of the month',
    "* * * 13 *": '"13" is no month',
    "* * * * 8": '"8" is no day of the week',
    "* * * foo *": '"foo" is no month',
    "*/0 * * * *": '"*/0" is no minute',
    "5/10 * * * *": '"5/10" is no minute',
    "1,,2 * * * *": '"" is no minute',
    "* * 1-15W * *": '"1-15w" is no day of the month',
    "* * * * 1#6": '"1#6" is no day of the week',
    "L * * * *": '"l" is no minute',
    "* * 30 2 *": "never comes",
    "* * 31 4,6,9,11 *": "never comes",
    "@reboot": 'no nickname "@reboot"',
}


def ms(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def next_of(db, cron, zone, after):
    return db.value(f"select openclaw.cron_next({literal(cron)}, {literal(zone)}, {after})")


def check_cron(db):
    for cron, zone, after, wanted in NEXT:
        got, at = [], ms(after)
        for _ in wanted:
            at = next_of(db, cron, zone, at)
            got.append(at)
        tap.equal(got, [ms(w) for w in wanted], f"{cron} {zone or ''} after {after}")
    for cron, says in WRONG.items():
        try:
            db.run(f"select openclaw.cron_check({literal(cron)}, null)")
            tap.ok(False, f"refused: {cron}")
        except SqlError as error:
            tap.ok(error.sqlstate == "OC005" and says in str(error), f"refused: {cron}", str(error))
    for zone, good in (("Mars/Olympus", 0), ("UTC+3", 0), ("+25:00", 0), ("etc/gmt+5", 1), ("-03:30", 1)):
        try:
            db.run(f"select openclaw.cron_check('@daily', {literal(zone)})")
            tap.ok(good, f"time zone {zone}")
        except SqlError as error:
            tap.ok(not good and "there is no time zone" in str(error), f"time zone {zone}", str(error))
    never = db.value("select openclaw.cron_next('0 0 31W 2 *', null, 0) is null")
    tap.ok(never, "what never comes is not waited for")


# ---- firing -------------------------------------------------------------------------------------

CONTEXT = '{"json":{"n":1},"__dbos_serializer":"superjson"}'


def schedule(db, name="s", cron="* * * * *", **columns):
    columns = {
        "schedule_id": name, "schedule_name": name, "workflow_name": "greet", "schedule": cron,
        "context": CONTEXT, "application_name": APP, **columns,
    }  # fmt: skip
    db.run(
        f"insert into dbos_system.workflow_schedules ({', '.join(columns)})"
        f" values ({', '.join(literal(v) for v in columns.values())})"
    )


def fire(db, limit=100):
    [row] = db.call("schedule_fire", name=["greet"], limit=limit)
    return row["fired"], row["more"], row["failed"]


def due(db, ago, name="s"):
    """As if it had been due so many milliseconds ago, to the minute; returns the instant."""
    at = (db.value("select openclaw.now_ms()") - ago) // 60000 * 60000
    db.run(f"update openclaw.schedule set next_at = {at} where schedule_name = '{name}'")
    return at


def fired(db):
    return [r["workflow_uuid"] for r in db.rows("select workflow_uuid from dbos_system.workflow_status"
                                                " where schedule_name is not null order by 1")]  # fmt: skip


def clear(db):
    db.run("delete from dbos_system.workflow_schedules")
    db.run("delete from dbos_system.workflow_status where schedule_name is not null")
    fire(db)


def iso(at):
    return datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def check_fire(db):
    schedule(db)
    tap.equal([fire(db), fired(db)], [(0, False, []), []], "a new schedule waits for its time")
    at = due(db, 0)
    tap.equal([fire(db), fired(db)], [(1, False, []), [f"sched-s-{iso(at)}"]], "and is fired then")
    row = db.row("select s.*, i.inputs as input from dbos_system.workflow_status s"
                 " join dbos_system.workflow_input i using (workflow_uuid) where schedule_name = 's'")  # fmt: skip
    tap.equal(
        {k: row[k] for k in ("status", "name", "queue_name", "application_name", "application_version",
                             "serialization", "recovery_attempts", "authenticated_roles", "class_name")},
        {"status": "ENQUEUED", "name": "greet", "queue_name": "_dbos_internal_queue", "application_name": APP,
         "application_version": "openclaw-1", "serialization": "js_superjson", "recovery_attempts": 0,
         "authenticated_roles": "[]", "class_name": None},
        "as a workflow of the latest version",
    )  # fmt: skip
    tap.equal(
        json.loads(row["input"]),
        {"json": [iso(at), {"n": 1}], "meta": {"values": {"0": ["Date"]}}, "__dbos_serializer": "superjson"},
        "with the time and the context",
    )
    last = db.value("select last_fired_at from dbos_system.workflow_schedules")
    tap.equal(last, iso(at), "the schedule says when")
    db.run(f"update openclaw.schedule set next_at = {at}")
    tap.equal([fire(db)[0], len(fired(db))], [0, 1], "the same time is not fired again")

    clear(db)
    schedule(db)
    fire(db)
    due(db, 3600_000)
    tap.ok(5 <= fire(db)[0] <= 6, "of what was missed, the last five minutes' is made up for", fired(db))
    clear(db)
    schedule(db, automatic_backfill=True)
    fire(db)
    due(db, 3600_000)
    tap.equal(fire(db, 40)[:2], (40, True), "with backfill all of it, in batches")
    tap.ok(20 <= fire(db, 40)[0] <= 22, "to the end")
    hours = db.value("select openclaw.iso(openclaw.now_ms() - 7200000)")
    clear(db)
    schedule(db, automatic_backfill=True, last_fired_at=hours)
    tap.ok(119 <= fire(db, 1000)[0] <= 121, "since the last firing, where the schedule is new here")

    clear(db)
    schedule(db)
    fire(db)
    db.run("update dbos_system.workflow_schedules set status = 'PAUSED'")
    due(db, 30_000)
    tap.equal([fire(db)[0], fired(db)], [0, []], "paused it is not fired")
    db.run("update dbos_system.workflow_schedules set status = 'ACTIVE'")
    tap.equal([fire(db)[0], fired(db)], [0, []], "nor, resumed, for what it missed")
    tap.ok(db.value("select next_at > openclaw.now_ms() from openclaw.schedule"), "it goes on")
    due(db, 3600_000)
    db.run("update dbos_system.workflow_schedules set schedule = '@yearly'")
    tap.equal([fire(db)[0], fired(db)], [0, []], "changed, it goes on from now")
    db.run("delete from dbos_system.workflow_schedules")
    fire(db)
    tap.equal(db.value("select count(*) from openclaw.schedule"), 0, "deleted, it is forgotten")


def check_whose(db):
    clear(db)
    for name, app, workflow in (("a", APP, "greet"), ("b", None, "greet"), ("c", "other", "greet"), ("d", None, "unknown")):
        schedule(db, name, application_name=app, workflow_name=workflow)
    fire(db)
    ours = [r["schedule_name"] for r in db.rows("select schedule_name from openclaw.schedule order by 1")]
    tap.equal(ours, ["a", "b"], "ours, and nobody's of workflows that we know")
    due(db, 0, "b")
    fire(db)
    app = db.value("select application_name from dbos_system.workflow_status where schedule_name = 'b'")
    tap.equal(app, APP, "which is then run by us")

    clear(db)
    schedule(db, "bad", "61 * * * *")
    schedule(db, "bad zone", cron_timezone="Nowhere")
    schedule(db, "good")
    count, _, failed = fire(db)
    tap.ok(len(failed) == 2 and "61" in failed[0] and "Nowhere" in failed[1], "what is wrong is named", failed)
    due(db, 0, "good")
    tap.equal(fire(db), (1, False, []), "once, and keeps no other from its time")
    db.run("update dbos_system.workflow_schedules set schedule = '@daily' where schedule_name = 'bad'")
    fire(db)
    fault = db.value("select next_at is not null and fault is null from openclaw.schedule where schedule_name = 'bad'")
    tap.ok(fault, "mended, it is taken up")

    clear(db)
    schedule(db)
    fire(db)
    due(db, 0)
    db.run("create function pg_temp.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$")
    db.run("create trigger no before insert on dbos_system.workflow_status for each row execute function pg_temp.no()")
    tap.equal([len(fire(db)[2]), fire(db)[2]], [1, []], "kept from being fired, it is put off")
    db.run("drop trigger no on dbos_system.workflow_status")
    db.run("update openclaw.schedule set look_at = 0")
    tap.equal(fire(db), (1, False, []), "and made up for when that is over")


def check_context(db):
    shapes = {
        '{"json":{"a":"2026-01-01T00:00:00.000Z"},"meta":{"values":{"a":["Date"]}},"__dbos_serializer":"superjson"}':
            ({"a": "2026-01-01T00:00:00.000Z"}, {"values": {"0": ["Date"], "1.a": ["Date"]}}),
        '{"json":null,"meta":{"values":["undefined"]},"__dbos_serializer":"superjson"}':
            (None, {"values": {"0": ["Date"], "1": ["undefined"]}}),
        '{"json":{"x":{},"y":{}},"meta":{"referentialEqualities":{"x":["y"]}},"__dbos_serializer":"superjson"}':
            ({"x": {}, "y": {}}, {"values": {"0": ["Date"]}, "referentialEqualities": {"1.x": ["1.y"]}}),
        '{"plain": 1.50}': ({"plain": 1.5}, {"values": {"0": ["Date"]}}),
        "no JSON": ("no JSON", {"values": {"0": ["Date"]}}),
    }  # fmt: skip
    for context, (value, meta) in shapes.items():
        got = db.value(f"select openclaw.schedule_input(0, {literal(context)})")
        wanted = {"json": ["1970-01-01T00:00:00.000Z", value], "meta": meta, "__dbos_serializer": "superjson"}
        tap.equal(json.loads(got), wanted, f"context {context[:40]}")
    tap.ok("1.50" in db.value("select openclaw.schedule_input(0, '{\"plain\": 1.50}')"), "as it was written")


def check_crowd(db):
    """Several sweepers at once, each second of a minute."""
    clear(db)
    schedule(db, cron="* * * * * *", automatic_backfill=True)
    fire(db)
    at = due(db, 120_000)
    counts = []

    def sweep():
        with db.another() as mine:
            while True:
                count, more, _ = fire(mine, 7)
                counts.append(count)
                if not more and mine.value("select next_at > openclaw.now_ms() - 60000 from openclaw.schedule"):
                    break

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = fired(db)
    tap.equal(ids[:60], [f"sched-s-{iso(at + 1000 * n)}" for n in range(60)], "each second is fired")
    tap.equal(sum(counts), len(ids), "by one of several sweepers")


def main():
    with Cluster() as cluster, Database(cluster) as db:
        db.run(
            "insert into dbos_system.application_versions (version_id, version_name, version_timestamp,"
            f" application_name) values ('1', 'openclaw-0', 1, '{APP}'), ('2', 'openclaw-1', 2, '{APP}'),"
            " ('3', 'theirs', 3, 'other')"
        )
        check_cron(db)
        check_fire(db)
        check_whose(db)
        check_context(db)
        check_crowd(db)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

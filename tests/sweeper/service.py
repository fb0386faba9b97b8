#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The sweeper as a service: at once, for ever, beside another, with poison, without its database."""

import os
import signal
import socket
import sys
import time

from cluster import Cluster, skip_without
from sweeper import Machine, kill, sleeper, wait
from tap import Tap
from transition import message, task

ROWS = 2000
RUNS = 300
INPUT = '{"positionalArgs":[{"agentId":"%s"}],"namedArgs":{}}'


def provisioning(agent, **fields):
    return task(f"provision:{agent}", name="provisionAgent", input=INPUT % agent, **fields)


def count(db, table, where="true"):
    return db.count(table, where)


def bells(machine):
    return [name for name in os.listdir(machine.runtime) if name.endswith(".bell")]


def at_once(tap, machine):
    """design.md, section 6: recovered within a second of the owner's death."""
    db = machine.db
    with machine.start() as sweeper:
        wait(
            lambda: count(db, "openclaw.executor", "kind = 'sweeper' and ended_at is null"),
            "the sweeper",
        )
        longest = 0.0
        for turn in range(5):
            victim = sleeper()
            executor = machine.register(victim)
            db.commit(provisioning(f"fast{turn}"), executor=executor)
            time.sleep(0.2)
            tap.ok(
                count(
                    db,
                    "dbos_system.workflow_status",
                    f"executor_id = '{executor}' and status = 'PENDING'",
                )
                == 1
                and kill(victim),
                f"an owner is killed with -9 ({turn})",
            )
            longest = max(
                longest,
                wait(
                    lambda n=turn: count(
                        db,
                        "dbos_system.workflow_status",
                        f"workflow_uuid = 'provision:fast{n}' and status = 'SUCCESS'",
                    ),
                    "the recovery",
                ),
            )
        tap.ok(
            longest < 1.0, "its workflow is recovered and run within a second", f"{longest:.3f} s"
        )
        print(f"# longest recovery {longest:.3f} s")
        tap.equal(sweeper.stop(), 0, "SIGTERM ends it with 0")
    tap.equal(
        count(db, "openclaw.executor", "kind = 'sweeper' and ended_at is null"),
        0,
        "and its row says so",
    )
    tap.equal(bells(machine), [], "and its socket is gone")
    with machine.start(SWEEP_INTERVAL_MS="3600000") as idle:
        wait(lambda: bells(machine), "its bell")
        time.sleep(0.3)
        db.commit(provisioning("rung", status="ENQUEUED"))
        path = os.path.join(machine.runtime, bells(machine)[0])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", path)
        wait(
            lambda: count(
                db,
                "dbos_system.workflow_status",
                "workflow_uuid = 'provision:rung' and status = 'SUCCESS'",
            ),
            "the sweep that a bell asked for",
        )
        tap.ok(True, "a bell wakes it")
        begun = time.monotonic()
        tap.ok(idle.stop() == 0 and time.monotonic() - begun < 15, "and a signal does, at once")
    db.clear()


def twins(tap, machine):
    """A host of the same name: its programs are no processes of this one, and register again."""
    db = machine.db
    other = sleeper()
    executor = machine.register(other, kind="sweeper")
    kill(other)
    gone = f"executor_id = '{executor}' and ended_at is not null"
    with machine.start() as sweeper:
        wait(lambda: count(db, "openclaw.executor", gone), "it is taken for dead", 60)
        time.sleep(0.5)
        tap.equal(sweeper.named("sweep.host_name_shared"), [], "who is dead, is dead")
        db.run(f"update openclaw.executor set ended_at = null where executor_id = '{executor}'")
        said = sweeper.await_event("sweep.host_name_shared", 60)
        tap.equal((said["host"], said["executor"]), ("here", executor), "who lives all the same has our name")
        sweeper.stop()
    db.clear()


def elsewhere(tap, machine):
    """A sweeper of our name on another machine: this one does not begin, until that one has been silent."""
    db = machine.db
    other = sleeper()
    executor = machine.register(other, kind="sweeper")
    kill(other)
    row = f"executor_id = '{executor}'"
    db.run(
        "update openclaw.executor set client = '{\"machine\": \"another\"}',"
        f" seen_at = openclaw.now_ms() + 3600000 where {row}"
    )
    said = machine.once()
    tap.equal(said.code, 78, "a single sweep is refused")
    tap.ok("another machine has this HOST_NAME too (here)" in said.out, "and says why", said.out)
    with machine.start() as sweeper:
        said = sweeper.await_event("sweep.host_name_shared", 60)
        tap.ok(said["host"] == "here" and "HOST_NAME" in said["note"], "a sweeper says so, too", said)
        time.sleep(1)
        tap.equal(count(db, "openclaw.executor"), 1, "and does not come")
        tap.equal(count(db, "openclaw.executor", f"{row} and ended_at is null"), 1, "nor takes it for dead")
        tap.equal(len(sweeper.named("sweep.host_name_shared")), 1, "and says it once")
        db.run(f"update openclaw.executor set seen_at = 0 where {row}")
        wait(lambda: count(db, "openclaw.executor", f"{row} and ended_at is not null"), "the other's burial", 60)
        tap.ok(True, "who has been silent is taken for dead")
        mine = "kind = 'sweeper' and ended_at is null and client ->> 'machine' like '%pid:%'"
        tap.equal(count(db, "openclaw.executor", mine), 1, "and it sweeps, and says on which machine")
        sweeper.stop()
    db.clear()


def supervised(tap, machine):
    path = os.path.join(machine.cluster.directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(5)
        with machine.start(NOTIFY_SOCKET=path) as sweeper:
            said = [supervisor.recv(100) for _ in range(3)]
            tap.equal(said, [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"], "systemd is told")
            sweeper.stop()
        while said[-1] != b"STOPPING=1":
            said.append(supervisor.recv(100))
        tap.ok(True, "and when it stops")
    machine.db.clear()


def poisoned(tap, machine):
    """One row that cannot be changed does not stop a sweep, nor the duty it is of."""
    db = machine.db
    db.provision("bob")
    db.run(
        "create function public.poison() returns trigger language plpgsql as $$ begin"
        " raise exception 'poison' using errcode = 'XX001'; end $$;"
        "create trigger poison before update on dbos_system.workflow_status for each row"
        " when (old.workflow_uuid like '%poison%') execute function public.poison();"
        "create trigger poison before update on openclaw.inbox for each row"
        " when (old.message_uuid like '%venom%' and new.state = 'ready') execute function public.poison()"
    )
    db.commit(*(provisioning(f"w{n}", status="DELAYED", delay=0) for n in range(5)))
    db.commit(provisioning("poison1", status="DELAYED", delay=0))
    db.commit(*(message(f"m{n}") for n in range(5)), message("venom"))
    db.handed(*db.claim(lease_ms=1))
    db.commit(provisioning("poison2"), task("late"), executor="nobody")
    db.run(
        "alter table dbos_system.workflow_status disable trigger poison;"
        "update dbos_system.workflow_status set workflow_deadline_epoch_ms = 1"
        " where workflow_uuid in ('provision:poison2', 'late');"
        "alter table dbos_system.workflow_status enable trigger poison"
    )
    with machine.start() as sweeper:
        wait(
            lambda: count(
                db,
                "dbos_system.workflow_status",
                "workflow_uuid like 'provision:w%' and status = 'SUCCESS'",
            )
            == 5,
            "the workflows beside the poisoned one",
        )
        tap.ok(True, "the others are woken and run")
        wait(lambda: count(db, "openclaw.inbox", "state = 'ready'") == 5, "the messages beside")
        tap.ok(True, "the others are redelivered")
        wait(
            lambda: count(
                db, "dbos_system.workflow_status", "workflow_uuid = 'late' and status = 'CANCELLED'"
            ),
            "the deadline beside",
        )
        tap.ok(True, "the others are cancelled")
        wait(
            lambda: {e["duty"] for e in sweeper.named("sweep.row_failed")}
            >= {"wake", "leases", "deadlines"},
            "the names of the rows",
        )
        rows = {e["duty"]: e["row"] for e in sweeper.named("sweep.row_failed")}
        tap.equal(
            rows,
            {
                "wake": "provision:poison1: XX001",
                "leases": "alice:venom: XX001",
                "deadlines": "provision:poison2: XX001",
            },
            "each poisoned row is named",
        )
        tap.ok(
            count(
                db,
                "openclaw.inbox",
                "message_uuid = 'alice:venom' and due_at > openclaw.now_ms() + 30000",
            ),
            "and put off where that is possible",
        )
        db.run(
            "drop trigger poison on dbos_system.workflow_status; drop trigger poison on openclaw.inbox;"
            "update openclaw.inbox set due_at = 1 where state = 'leased'"
        )
        wait(
            lambda: count(db, "openclaw.inbox", "message_uuid = 'alice:venom' and state = 'ready'"),
            "the cure",
        )
        tap.ok(True, "a row that was cured goes on")
        tap.equal(sweeper.stop(), 0, "and the sweeper lives")
    db.clear()


def fill(db):
    db.provision("bob")
    for first in range(0, ROWS, 500):
        db.commit(
            *(task(f"alice:d{n}", status="DELAYED", delay=0) for n in range(first, first + 500))
        )
    for first in range(0, ROWS, 500):
        db.commit(*(message(f"m{n}") for n in range(first, first + 500)))
    while held := db.claim(lease_ms=1, limit=500):
        db.handed(*held)
    for first in range(0, RUNS, 100):
        db.commit(*(provisioning(f"r{n}", status="ENQUEUED") for n in range(first, first + 100)))
    for n in range(20):
        victim = sleeper()
        db.register(f"dead{n}")
        db.run(f"update openclaw.executor set pid = {victim.pid} where executor_id = 'dead{n}'")
        kill(victim)
        db.commit(task(f"alice:lost{n}"), executor=f"dead{n}")


def is_done(db):
    return (
        count(
            db,
            "dbos_system.workflow_status",
            "status = 'DELAYED' and workflow_uuid like 'alice:d%'",
        )
        == 0
        and count(db, "openclaw.inbox", "state = 'leased'") == 0
        and count(
            db,
            "dbos_system.workflow_status",
            "status = 'SUCCESS' and workflow_uuid like 'provision:r%'",
        )
        == RUNS
        and count(db, "dbos_system.workflow_status", "status = 'PENDING'") == 0
    )


def together(tap, machine):
    """Two sweepers never do one thing twice."""
    db = machine.db
    fill(db)
    with machine.start() as one, machine.start() as other:
        seconds = wait(lambda: is_done(db), "both to be done", 60)
        time.sleep(0.3)
        tap.equal((one.stop(), other.stop()), (0, 0), "both end well")
        shares = {}
        for key, total in (
            ("woken", ROWS),
            ("redelivered", ROWS),
            ("ran", RUNS),
            ("executors", 20),
            ("recovered", 20),
        ):
            shares[key] = (one.total(key), other.total(key))
            tap.equal(sum(shares[key]), total, f"each of {total} {key} once")
        print(f"# {seconds:.1f} s, shares {shares}")
        failed = [e for s in (one, other) for e in s.events if e["level"] in ("warn", "error")]
        tap.equal(failed, [], "and no failure is logged")
    tap.equal(
        db.value(
            "select max(recovery_attempts) from dbos_system.workflow_status"
            " where workflow_uuid like 'provision:r%'"
        ),
        1,
        "no workflow was claimed twice",
    )
    tap.equal(
        (
            db.value("select min(attempt) from openclaw.inbox"),
            db.value("select max(attempt) from openclaw.inbox"),
        ),
        (1, 1),
        "no message lost an attempt more",
    )
    db.clear()


def outage(tap, machine):
    """PostgreSQL crashes in the middle, is away, and comes back (scenario 4)."""
    db = machine.db
    fill(db)
    machine.db.close()
    cluster = machine.cluster
    with machine.start() as sweeper:
        sweeper.await_event("workflow.ran")
        cluster.stop("immediate")
        sweeper.await_event("sweep.database_away")
        tap.ok(sweeper.process.poll() is None, "it outlives a crash of the database")
        time.sleep(2.5)
        tap.equal(len(sweeper.named("sweep.database_away")), 1, "and says so once")
        cluster.start()
        begun = time.monotonic()
        sweeper.await_event("sweep.database_back")
        tap.ok(time.monotonic() - begun < 15, "and goes on at once when it is back")
        machine.db = db = type(db)(cluster, machine.database)
        unfinished = count(
            db,
            "dbos_system.workflow_status",
            "status <> 'SUCCESS' and workflow_uuid like 'provision:r%'",
        )
        tap.ok(unfinished > 0, "the crash came in the middle", f"{unfinished} unfinished")
        wait(lambda: is_done(db), "the rest", 60)
        tap.ok(True, "everything is done in the end")
        tap.ok(
            not [e for e in sweeper.named("sweep") if e.get("executors", 0) > 20],
            "no living executor was buried",
        )
        begun = time.monotonic()
        cluster.stop("immediate")
        tap.ok(
            sweeper.stop() == 0 and time.monotonic() - begun < 15,
            "without its database SIGTERM ends it, too",
        )
    cluster.start()
    machine.db = type(db)(cluster, machine.database)
    machine.db.clear()


def killed(tap, machine):
    """A sweeper that is killed is buried by the next one; what it had claimed is run."""
    db = machine.db
    db.commit(*(provisioning(f"k{n}", status="ENQUEUED") for n in range(200)))
    with machine.start() as sweeper:
        sweeper.await_event("workflow.ran")
        sweeper.process.send_signal(signal.SIGKILL)
        sweeper.process.wait()
    unfinished = count(
        db,
        "dbos_system.workflow_status",
        "status <> 'SUCCESS' and workflow_uuid like 'provision:k%'",
    )
    tap.ok(unfinished > 0, "a sweeper is killed in the middle", f"{unfinished} unfinished")
    result = machine.once()
    tap.ok(result.code == 0 and "executors 1" in result.out, "the next one buries it", str(result))
    tap.equal(
        count(
            db,
            "dbos_system.workflow_status",
            "status = 'SUCCESS' and workflow_uuid like 'provision:k%'",
        ),
        200,
        "and finishes its work",
    )
    db.clear()


def buried_alive(tap, machine):
    """Another host's sweeper has taken this one for dead."""
    db = machine.db
    with machine.start(EXECUTOR_LEASE_MS="1000") as sweeper:
        wait(lambda: count(db, "openclaw.executor", "kind = 'sweeper'"), "the sweeper")
        db.run("update openclaw.executor set ended_at = 1 where kind = 'sweeper'")
        wait(
            lambda: count(db, "openclaw.executor", "kind = 'sweeper' and ended_at is null"),
            "its protest",
            3,
        )
        tap.ok(True, "a sweeper that was taken for dead says that it lives")
        sweeper.stop()
    db.clear()


def schema(tap, machine):
    """Started before its schema is there, it waits for it."""
    db = machine.db
    digest = db.value("select value from openclaw.setting where name = 'functions_digest'")
    db.run("update openclaw.setting set value = 'other' where name = 'functions_digest'")
    db.commit(provisioning("early", status="ENQUEUED"))
    with machine.start() as sweeper:
        event = sweeper.await_event("sweep.database_away")
        tap.ok(
            "gatewayctl migrate" in event["detail"],
            "a schema that does not fit is said",
            str(event),
        )
        time.sleep(0.5)
        tap.equal(
            db.count("dbos_system.workflow_status", "status = 'ENQUEUED'"),
            1,
            "and nothing is touched",
        )
        db.run(f"update openclaw.setting set value = '{digest}' where name = 'functions_digest'")
        sweeper.await_event("sweep.database_back")
        wait(
            lambda: db.count("dbos_system.workflow_status", "status = 'ENQUEUED'") == 0, "the work"
        )
        tap.ok(True, "after the migration it goes on by itself")
        sweeper.stop()  # a killed one's last statement would meet the truncation
    db.clear()


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Cluster() as cluster:
        machine = Machine(cluster)
        for test in (at_once, twins, elsewhere, supervised, poisoned, together, killed, buried_alive, outage, schema):
            test(tap, machine)
        machine.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

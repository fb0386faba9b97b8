#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every duty of the sweeper, each with the fault that makes it necessary, by --once."""

import os
import socket
import sys

from cluster import Cluster, skip_without
from sweeper import Machine, kill, sleeper
from tap import Tap
from transition import literal, message, task

PROVISION = '{"positionalArgs":[{"agentId":"%s"}],"namedArgs":{}}'


def provisioning(agent, **fields):
    return task(f"provision:{agent}", name="provisionAgent", input=PROVISION % agent, **fields)


def status(db, identity):
    return db.value(
        f"select status from dbos_system.workflow_status where workflow_uuid = {literal(identity)}"
    )


def swept(tap, machine, name, *words, **extra):
    result = machine.once(**extra)
    tap.ok(
        result.code == 0
        and result.out.startswith("swept: ")
        and all(w in result.out for w in words),
        name,
        str(result),
    )
    return result


def nothing(tap, machine):
    swept(tap, machine, "a first sweep", "swept:")
    swept(tap, machine, "with nothing to do it says so", "swept: nothing to do")
    tap.equal(
        machine.db.rows(
            "select version_name, application_name from dbos_system.application_versions"
        ),
        [{"version_name": "openclaw-1", "application_name": "openclaw-gateway"}],
        "the version of the workflows is registered",
    )
    swept(tap, machine, "options that functions read", "nothing to do", MAX_ATTEMPTS="7")
    tap.equal(
        machine.db.value("select value from openclaw.setting where name = 'max_attempts'"),
        "7",
        "are told to the database",
    )


def dead_owner(tap, machine):
    db = machine.db
    alive, victim = sleeper(), sleeper()
    mine, its = machine.register(alive), machine.register(victim)
    db.commit(provisioning("lost"), executor=its)
    db.commit(provisioning("kept"), executor=mine)
    db.provision("bob")
    db.call(
        "inbox_subscribe",
        agent="bob",
        executor=its,
        consumer=None,
        exclusive=False,
        max_in_flight=10,
        lease_ms=30000,
        call=1,
    )
    db.commit(message("held"))
    held = db.claim(holder=its)
    swept(tap, machine, "who lives is left alone", "nothing to do")
    tap.ok(kill(victim), "an owner is killed with -9")
    swept(
        tap,
        machine,
        "and recovered",
        "executors 1",
        "workflows recovered 1",
        "deliveries released 1",
        "workflows run 1",
    )
    tap.equal(status(db, "provision:lost"), "SUCCESS", "its workflow is run to its end")
    tap.equal(
        db.value(
            "select recovery_attempts from dbos_system.workflow_status"
            " where workflow_uuid = 'provision:lost'"
        ),
        2,
        "at its second attempt",
    )
    tap.equal(status(db, "provision:kept"), "PENDING", "the other's is not touched")
    row = db.inbox(held[0]["message_uuid"])
    tap.equal(
        (row["state"], row["attempt"]), ("ready", 0), "its delivery is ready, and counts no attempt"
    )
    swept(tap, machine, "once", "nothing to do")

    again = machine.register(alive, executor="same pid, another start")
    db.run(
        f"update openclaw.executor set pid_started = pid_started - 1 where executor_id = {literal(again)}"
    )
    swept(tap, machine, "a pid that is used again is another process", "executors 1")
    db.run("update openclaw.executor set seen_at = 0")
    swept(tap, machine, "and a living one", "nothing to do")
    tap.ok(
        db.value(f"select seen_at > 0 from openclaw.executor where executor_id = {literal(mine)}"),
        "is reported as seen",
    )
    kill(alive)
    swept(tap, machine, "gone too", "executors 1", "workflows recovered 1")
    db.clear()


def silent_host(tap, machine):
    db = machine.db
    process = sleeper()
    machine.register(process, host="elsewhere", executor="far")
    db.commit(provisioning("far"), executor="far")
    swept(tap, machine, "another host's executor", "nothing to do")
    db.run("update openclaw.executor set seen_at = seen_at - 10000")
    swept(tap, machine, "that was silent for less than its lease", "nothing to do")
    db.run("update openclaw.executor set seen_at = seen_at - 10000")
    swept(tap, machine, "or for longer, is dead", "executors 1", "workflows run 1")
    tap.equal(status(db, "provision:far"), "SUCCESS", "and its workflow is run")
    kill(process)
    db.clear()


def orphan(tap, machine):
    """A workflow whose executor nobody knows."""
    db = machine.db
    db.commit(provisioning("orphan"), executor="nobody")
    swept(
        tap, machine, "a workflow of nobody is adopted", "workflows recovered 1", "workflows run 1"
    )
    db.clear()


def leases(tap, machine):
    db = machine.db
    db.provision("bob")
    db.commit(message("late"), message("last", max_attempts=1))
    held = db.claim(holder="s1", lease_ms=1)
    db.handed(*held)
    swept(tap, machine, "leases that have ended", "redelivered 1", "dead letters 1")
    rows = db.rows("select message_uuid, state, attempt from openclaw.inbox order by 1")
    tap.equal(
        [(r["message_uuid"], r["state"], r["attempt"]) for r in rows],
        [("alice:last", "dead", 1), ("alice:late", "ready", 1)],
        "are redelivered, or dead letters",
    )
    tap.equal(status(db, "alice:last"), "ERROR", "a dead letter ends its workflow")
    db.clear()


def expiry(tap, machine):
    db = machine.db
    db.provision("bob")
    db.run("""select dbos_system.send_message('agent:bob', '"hello"'::json)""")
    db.run("update openclaw.inbox set expires_at = 1")
    swept(tap, machine, "a DBOS client's message that nobody took expires", "expired 1")
    db.commit(message("old"))
    db.run("update openclaw.inbox set expires_at = 1 where state = 'ready'")
    db.run(
        "set openclaw.writer = 'gateway';"
        " update dbos_system.workflow_status set delay_until_epoch_ms = 1 where workflow_uuid = 'alice:old';"
        " reset openclaw.writer"
    )
    swept(tap, machine, "one of ours is woken and expires itself", "woken 1", "workflows run 1")
    tap.equal(
        (status(db, "alice:old"), db.inbox("alice:old")["state"]),
        ("ERROR", "expired"),
        "with its workflow",
    )
    db.clear()


def timers(tap, machine):
    db = machine.db
    db.commit(
        provisioning("parked", status="DELAYED", delay=0),
        provisioning("later", status="DELAYED", delay=60000),
    )
    swept(
        tap, machine, "a parked workflow whose time has come is woken", "woken 1", "workflows run 1"
    )
    tap.equal(
        (status(db, "provision:parked"), status(db, "provision:later")),
        ("SUCCESS", "DELAYED"),
        "no other",
    )
    db.run(
        "update dbos_system.workflow_status set workflow_deadline_epoch_ms = 1 where workflow_uuid = 'provision:later'"
    )
    swept(tap, machine, "a workflow past its deadline", "cancelled 1")
    tap.equal(status(db, "provision:later"), "CANCELLED", "is cancelled")
    tap.equal(status(db, "agent:bob"), "DELAYED", "mailboxes stay parked")
    db.clear()


def queued(tap, machine):
    db = machine.db
    db.run(
        "select dbos_system.enqueue_workflow(workflow_name => 'provisionAgent', queue_name => 'openclaw',"
        " workflow_id => 'by-a-client', positional_args => array['{\"agentId\":\"carol\"}'::json])"
    )
    swept(tap, machine, "what a DBOS client has enqueued is run", "workflows run 1")
    tap.equal(status(db, "by-a-client"), "SUCCESS", "to its end")
    tap.equal(db.count("openclaw.agent", "agent_id = 'carol'"), 1, "with its effect")
    db.commit(task("unknown", status="ENQUEUED"))
    swept(tap, machine, "one that this program does not know is left", "nothing to do")
    tap.equal(status(db, "unknown"), "ENQUEUED", "to whoever does")
    db.run(
        "update dbos_system.workflow_status set name = 'provisionAgent' where workflow_uuid = 'unknown'"
    )
    swept(tap, machine, "one whose input makes no sense", "workflows run 1")
    tap.equal(status(db, "unknown"), "ERROR", "ends in an error")
    db.clear()


def bells(tap, machine):
    """A bell was lost: the message is there, the session sleeps."""
    db = machine.db
    db.provision("bob")
    process = sleeper()
    executor = machine.register(process, kind="session")
    db.subscribe(executor=executor)
    os.makedirs(machine.runtime, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.bind(os.path.join(machine.runtime, executor + ".bell"))
        bell.settimeout(0)
        db.commit(message("unheard"))
        db.run("update openclaw.inbox set due_at = due_at - 60000")
        swept(tap, machine, "a message that lies there although somebody is subscribed", "bells 1")
        try:
            rung = bell.recv(1) is not None
        except BlockingIOError:
            rung = False
        tap.ok(rung, "rings its session")
    tap.equal(
        db.rows("select agent_id, depth from openclaw.inbox_depth"),
        [{"agent_id": "bob", "depth": 1}],
        "and the inboxes are counted",
    )
    kill(process)
    swept(tap, machine, "the session is gone", "executors 1")
    db.clear()


def dead_bells(tap, machine):
    """Sockets of those who were killed; in a folder of tmpfs each costs an inode for ever."""
    os.makedirs(machine.runtime, exist_ok=True)
    paths = [os.path.join(machine.runtime, f"{name}.bell") for name in ("dead", "living")]
    bells = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in paths]
    for bell, path in zip(bells, paths):
        bell.bind(path)
        os.utime(path, (1, 1))
    bells[0].close()
    swept(tap, machine, "a sweep", "nothing to do")
    tap.equal([os.path.exists(path) for path in paths], [False, True], "takes the bells of the dead")
    bells[1].close()
    os.unlink(paths[1])


def schema(tap, machine):
    result = machine.once(DATABASE_URL="postgresql://127.0.0.1:1/x")
    tap.ok(
        result.code == 69 and result.out.startswith("swept: "),
        "no database is exit status 69",
        str(result),
    )
    machine.db.run("update openclaw.setting set value = 'x' where name = 'functions_digest'")
    result = machine.once()
    tap.ok(
        result.code == 78 and "migrate" in result.out,
        "another schema is 78, and says what to do",
        str(result),
    )


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Cluster() as cluster:
        machine = Machine(cluster)
        for test in (
            nothing,
            dead_owner,
            silent_host,
            orphan,
            leases,
            expiry,
            timers,
            queued,
            bells,
            dead_bells,
            schema,
        ):
            test(tap, machine)
        machine.close()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

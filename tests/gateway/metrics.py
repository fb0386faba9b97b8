#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""GET /metrics: strictly OpenMetrics, complete from the start, and true: held against known traffic, across
retention, a redrive, kill -9 of workers and of the sweeper, and the fold that adds it all up."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "session"))

import openmetrics
from responder import Responder
from sessions import BUILD, World
from stack import wait
from tap import Tap

tap = Tap()


class Migrated(World):
    """With what a sweeper wants to see of a migration."""

    def install(self):
        self.ctl("migrate")

    def ctl(self, *arguments):
        environment = self.cluster.environment("gateway")
        environment.update(GATEWAY_ENV="/dev/null")
        return subprocess.run(
            [os.path.join(BUILD, "gatewayctl"), *arguments],
            env=environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip


class Scrapes:
    """Scrapes, each held against the grammar and against the one before it; not more often than each
    worker asks the database, or an older answer may come behind a newer one."""

    PAUSE = 1.1

    def __init__(self, http, token):
        self.http, self.token, self.last, self.back = http, token, {}, []

    def __call__(self):
        time.sleep(self.PAUSE)
        answer = self.http.get("/metrics", token=self.token)
        assert answer.status == 200, answer.body
        families = openmetrics.parse(answer.body.decode())
        counters = openmetrics.counters(families)
        self.back += [
            f"{key}: {self.last[key]} -> {counters.get(key)}"
            for key in self.last
            if not counters.get(key, -1) >= self.last[key]
        ]
        self.last.update(counters)
        return families

    def until(self, predicate, name, seconds=90):
        deadline = time.monotonic() + seconds
        families = self()
        while not predicate(families) and time.monotonic() < deadline:
            families = self()
        tap.ok(predicate(families), name, totals(families))
        return families


def totals(families):
    def of(name, **labels):
        return openmetrics.value(families, name, **labels)

    return {
        "accepted": of("openclaw_messages_accepted"),
        "delivered": of("openclaw_messages_delivered"),
        "redelivered": of("openclaw_messages_redelivered"),
        **{
            outcome: of("openclaw_messages_settled", outcome=outcome)
            for outcome in ("acked", "dead", "expired", "withdrawn")
        },
        **{
            state: of("openclaw_inbox_messages", state=state) for state in ("ready", "leased")
        },
        "letters": of("openclaw_inbox_messages", state="dead"),
    }


def expect(scrapes, name, **wanted):
    full = dict.fromkeys(
        ("accepted", "delivered", "redelivered", "acked", "dead", "expired", "withdrawn", "ready",
         "leased", "letters"), 0,
    )  # fmt: skip
    full.update(wanted)
    return scrapes.until(lambda families: totals(families) == full, f"{name}: {wanted}")


def start_sweeper(world, **settings):
    return subprocess.Popen(
        [os.path.join(BUILD, "openclaw-gateway-sweeper")],
        env=world.environment(**settings), stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill(process):
    process.kill()
    process.wait()


def access(world, http):
    for token, status in ((None, 401), (world.tokens["alice"], 403), (world.tokens["root"], 200)):
        tap.equal(http.get("/metrics", token=token).status, status, f"{status} as METRICS=token has it")
    world.sql("insert into openclaw.principal values ('prometheus', 'program', array['metrics'])")
    token = world.token("prometheus")
    answer = http.get("/metrics", token=token)
    tap.equal(answer.status, 200, "the scope metrics is enough")
    tap.equal(http.get("/workflows", token=token).status, 403, "and is good for nothing else")
    tap.equal(
        answer.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8", "the media type",
    )
    for setting, status in (("off", 404), ("public", 200)):
        with Responder(world.cluster, {"RUNTIME_DIR": world.runtime, "METRICS": setting}) as other:
            tap.equal(other.get("/metrics").status, status, f"METRICS={setting}")
    return token


def step_names():
    """As the sources of the workflows call their steps."""
    folder = os.path.join(os.path.dirname(__file__), "..", "..", "src", "workflow")
    for name in os.listdir(folder):
        if name.endswith(".c") and name != "test_workflows.c":
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                yield from re.findall(r'(?:workflow_step_\w+|store)\(workflow, "([^"]+)"', file.read())


def from_zero(scrapes):
    families = scrapes()
    for name, labels in (
        ("openclaw_messages_accepted", {}), ("openclaw_messages_settled", {"outcome": "dead"}),
        ("openclaw_workflows_recovered", {}), ("openclaw_sweeps", {}), ("openclaw_sessions_opened", {}),
        ("openclaw_relay_calls", {}), ("openclaw_relay_database_calls", {}),
        ("openclaw_inbox_messages", {"state": "ready"}), ("openclaw_inbox_oldest_age_seconds", {}),
        ("openclaw_executors", {"kind": "session"}), ("openclaw_auth_failures", {"face": "session"}),
        ("openclaw_workflows_ended", {"name": "routeAgentMessage", "status": "ERROR"}),
        ("openclaw_http_responses", {"code": "503"}), ("openclaw_swept", {"what": "expired"}),
        ("openclaw_http_requests", {"method": "POST", "route": "/messages", "status": "5xx"}),
    ):  # fmt: skip
        tap.equal(openmetrics.value(families, name, **labels), 0, f"{name} {labels} is there from zero")
    for workflow in ("routeAgentMessage", "provisionAgent", "heartbeat", "pauseResume", "chat"):
        gone = {"name": workflow, "status": "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
        parked = {"name": workflow, "status": "DELAYED"}
        tap.equal(
            (openmetrics.value(families, "openclaw_workflows_ended", **gone),
             openmetrics.value(families, "openclaw_workflows", **parked)),
            (0, 0), f"the workflow {workflow} is there from zero",
        )  # fmt: skip
    steps = set(step_names()) | {"DBOS.sleep", "DBOS.getResult"}
    counts = families["openclaw_step_duration_seconds"].samples
    missing = [
        step for step in sorted(steps)
        if counts.get(("openclaw_step_duration_seconds_count", frozenset({("step", step)}))) != 0
    ]  # fmt: skip
    tap.ok(len(steps) > 15, "steps were found in the sources", sorted(steps))
    tap.equal(missing, [], "every step of a workflow is there from zero")
    for family in ("openclaw_http_threads", "openclaw_database_pool_connections"):
        tap.ok(openmetrics.value(families, family, state="free") > 0, f"{family}: free, at the first scrape")
    tap.equal(openmetrics.value(families, "openclaw_http_workers"), 2, "two workers")
    tap.equal(openmetrics.value(families, "openclaw_database_up"), 1, "the database is there")


def traffic(world, http, scrapes):
    alice, bob = world.tokens["alice"], world.tokens["bob"]

    def send(count, **more):
        for _ in range(count):
            assert http.post("/messages", {"to": "bob", "content": "x", **more}, token=alice).status == 200

    def pull(count):
        return http.get(f"/agents/bob/inbox?max={count}", token=bob).json()["messages"]

    def ack(messages):
        ids = [m["deliveryId"] for m in messages]
        assert http.post("/agents/bob/inbox/ack", {"deliveryIds": ids}, token=bob).status == 200

    def nack(message, **more):
        body = {"deliveryId": message["deliveryId"], "delayMs": 0, **more}
        assert http.post("/agents/bob/inbox/nack", body, token=bob).status == 200

    send(10)
    expect(scrapes, "sent", accepted=10, ready=10)
    messages = pull(5)
    expect(scrapes, "pulled", accepted=10, ready=5, leased=5, delivered=5)
    ack(messages[:4])
    expect(scrapes, "acknowledged", accepted=10, ready=5, leased=1, delivered=5, acked=4)
    nack(messages[4])
    expect(scrapes, "given back", accepted=10, ready=6, delivered=5, acked=4)
    again = pull(1)
    tap.ok(again[0]["redelivered"], "it comes again")
    expect(scrapes, "redelivered", accepted=10, ready=5, leased=1, delivered=6, redelivered=1, acked=4)
    nack(again[0], requeue=False)
    state = dict(accepted=10, ready=5, delivered=6, redelivered=1, acked=4, dead=1, letters=1)
    expect(scrapes, "a dead letter", **state)
    root = world.tokens["root"]
    [letter] = http.get("/dead-letters", token=root).json()["deadLetters"]
    identity = next(v for k, v in letter.items() if k in ("messageUuid", "deadLetterId", "id", "workflowUuid"))
    answer = http.post(f"/dead-letters/{identity}/redrive", {}, token=root)
    tap.equal(answer.status, 200, "which is redriven")
    state.update(ready=6, letters=0)
    expect(scrapes, "and still was one", **state)
    world.sql(
        "do $$ begin perform openclaw.dead_letter_purge('t', true, null, null, array['none']); end $$"
    )
    return state


def killed(world, http, scrapes, state):
    """Nothing that was counted is lost with a process."""
    alice = world.tokens["alice"]
    before = scrapes()
    route = {"method": "POST", "route": "/messages", "status": "2xx"}
    sent = openmetrics.value(before, "openclaw_http_requests", **route)
    tap.equal(sent, state["accepted"], "each request is counted, whichever worker answered it")
    for _ in range(3):
        for worker in http.workers():
            os.kill(worker, signal.SIGKILL)
        for _ in range(2):
            answer = None
            while answer is None:
                try:
                    answer = http.post("/messages", {"to": "bob", "content": "y"}, token=alice)
                except OSError:
                    time.sleep(0.05)
            state["accepted"] += 1
            state["ready"] += 1
    expect(scrapes, "across kill -9 of the workers", **state)
    scrapes.until(
        lambda f: openmetrics.value(f, "openclaw_http_requests", **route) == state["accepted"],
        "and so are the requests",
    )
    scrapes.until(lambda f: openmetrics.value(f, "openclaw_http_workers") == 2, "two live again")


def folded(world, scrapes, state):
    """The sweeper adds up, is killed, goes on; the sums stay the same all the while."""
    for _ in range(3):
        sweeper = start_sweeper(world)
        deadline = time.monotonic() + 60
        seen = world.value("select folded_at from openclaw.metric_fold")
        while world.value("select folded_at from openclaw.metric_fold") == seen and time.monotonic() < deadline:
            scrapes()
        kill(sweeper)
    tap.ok(openmetrics.value(scrapes(), "openclaw_sweeps") > 0, "sweeps are counted, though killed")
    sweeper = start_sweeper(world)
    wanted = {"messages_accepted": state["accepted"], "messages_settled": state["acked"] + state["dead"]}

    def sums():
        return {
            name: int(world.value(f"select coalesce(sum(value), 0) from openclaw.metric where name = '{name}'"))
            for name in wanted
        }

    deadline = time.monotonic() + 120
    while sums() != wanted and time.monotonic() < deadline:
        families = scrapes()
        assert all(totals(families)[k] == state[k] for k in ("accepted", "acked", "dead", "delivered"))
    tap.equal(sums(), wanted, "all that has settled is folded")
    expect(scrapes, "and counted once", **state)
    families = scrapes.until(
        lambda f: openmetrics.value(f, "openclaw_workflows_ended", name="routeAgentMessage", status="SUCCESS")
        == state["acked"], "workflows that ended",
    )
    steps = families["openclaw_step_duration_seconds"].samples
    tap.equal(
        steps.get(("openclaw_step_duration_seconds_count", frozenset({("step", "routeMessage")}))),
        state["acked"] + state["dead"], "steps and how long they took",
    )
    tap.ok(openmetrics.value(families, "openclaw_sweeper_seen_seconds") is not None, "the sweeper is seen")
    tap.equal(openmetrics.value(families, "openclaw_inbox_depth", agent="bob"), state["ready"], "bob's depth")
    tap.ok(openmetrics.value(families, "openclaw_inbox_oldest_age_seconds") > 0, "the age of the oldest")
    kill(sweeper)

    world.sql("update openclaw.inbox set due_at = due_at - 10 * 86400000 where state = 'acked'")
    gone = world.value("select messages from openclaw.prune('openclaw-gateway', 86400000, 1000)")
    tap.ok(int(gone) == state["acked"], "retention deletes them", gone)
    expect(scrapes, "which they are counted after", **state)


def young_ones_pruned(world, http, scrapes, state):
    """What retention deletes before it was folded is counted all the same."""
    alice = world.tokens["alice"]
    for _ in range(2):
        http.post("/messages", {"to": "carol", "content": "x"}, token=alice)
    messages = http.get("/agents/carol/inbox?max=2", token=world.tokens["carol"]).json()["messages"]
    http.post("/agents/carol/inbox/ack", {"deliveryIds": [m["deliveryId"] for m in messages]},
              token=world.tokens["carol"])
    state.update(accepted=state["accepted"] + 2, acked=state["acked"] + 2, delivered=state["delivered"] + 2)
    expect(scrapes, "two more", **state)
    world.sql(
        "select openclaw.prune('openclaw-gateway', -1000, 1000)"
    )
    tap.equal(
        world.value("select count(*) from openclaw.inbox where agent_id = 'carol'"), "0", "pruned at once"
    )
    expect(scrapes, "and counted", **state)


def oldest(world, http, scrapes, state):
    """Since it was due: neither hidden by what is more urgent, nor what is meant to wait."""
    hour = 3600000
    for more, aged in (({"priority": 9}, "accepted_at = accepted_at - {0}, due_at = due_at - {0}"),
                       ({"delayMs": hour}, "accepted_at = accepted_at - 3 * {0}")):  # fmt: skip
        http.post("/messages", {"to": "bob", "content": "x", **more}, token=world.tokens["alice"])
        world.sql(
            f"update openclaw.inbox set {aged.format(2 * hour)}"
            " where inbox_seq = (select max(inbox_seq) from openclaw.inbox)"
        )
    state.update(accepted=state["accepted"] + 2, ready=state["ready"] + 2)

    def age():
        return openmetrics.value(scrapes(), "openclaw_inbox_oldest_age_seconds")

    listed = json.loads(world.ctl("inbox", "stats", "bob", "--json").stdout)["inboxes"][0]["oldestMs"] / 1000
    tap.ok(7200 <= age() < 10800, "the oldest is the least urgent, not the one with a delay", age())
    tap.ok(7200 <= listed < 10800, "as gatewayctl says", listed)
    world.sql("update openclaw.agent set status = 'paused' where agent_id = 'bob'")
    tap.ok(age() < 3600, "what waits for a paused agent is meant to", age())
    world.sql("update openclaw.agent set status = 'active' where agent_id = 'bob'")
    expect(scrapes, "counted as before", **state)


def durations(world, http, state):
    """A step that had to wait in the database took that time."""
    held = "select count(*) from pg_locks where relation = 'openclaw.inbox'::regclass and mode = 'ExclusiveLock' and granted"
    holder = threading.Thread(
        target=lambda: world.sql(
            "begin; lock table openclaw.inbox in exclusive mode; do $$ begin while not exists"
            " (select from pg_locks where relation = 'openclaw.inbox'::regclass and not granted)"
            " loop perform pg_sleep(0.02); end loop; perform pg_sleep(1); end $$; commit"
        )
    )
    holder.start()
    wait(lambda: world.value(held) == "1", "somebody holds the inbox")
    answer = http.post("/messages", {"to": "bob", "content": "slow"}, token=world.tokens["alice"])
    holder.join()
    state.update(accepted=state["accepted"] + 1, ready=state["ready"] + 1)
    took = world.value(
        "select completed_at_epoch_ms - started_at_epoch_ms from dbos_system.operation_outputs"
        f" where function_name = 'storeMessage' and workflow_uuid = '{answer.json()['workflowUuid']}'"
    )
    tap.ok(int(took) >= 900, "a step's duration is what it had to wait for, too", took)


def sessions(world, scrapes):
    opened = openmetrics.value(scrapes(), "openclaw_sessions_opened")
    with world.connect("alice") as one, world.connect("bob"):
        scrapes.until(
            lambda f: openmetrics.value(f, "openclaw_sessions_opened") == opened + 2
            and openmetrics.value(f, "openclaw_executors", kind="session") == 2,
            "WebSockets, each a process of its own, are counted together",
        )
        one.process.kill()


def relayed(world, scrapes):
    """What sessions give to the relay, and what it makes of it; its counters outlive it."""
    families = scrapes()
    tap.equal(openmetrics.value(families, "openclaw_relay_calls"), 0, "without a relay it counts nothing")
    for _ in range(2):
        before = openmetrics.value(families, "openclaw_relay_calls")
        relay = subprocess.Popen(
            [os.path.join(BUILD, "openclaw-gateway-relay")],
            env=world.environment(), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait(lambda: os.path.exists(os.path.join(world.runtime, "relay.sock")), "the relay listens")
            with world.connect("alice"):
                families = scrapes.until(
                    lambda f, before=before: openmetrics.value(f, "openclaw_relay_calls") > before
                    and 0
                    < openmetrics.value(f, "openclaw_relay_database_calls")
                    <= openmetrics.value(f, "openclaw_relay_calls"),
                    "a session's calls pass the relay, and are not more to the database",
                )
        finally:
            kill(relay)
            os.unlink(os.path.join(world.runtime, "relay.sock"))


TOKEN_REMEMBERED_S = 5  # src/http/authenticate.h


def away(world, http, token):
    world.cluster.stop("immediate")
    deadline = time.monotonic() + 60
    up, families = 1, {}
    while up != 0 and time.monotonic() < deadline:
        answer = http.get("/metrics", token=token)
        if answer.status == 200:
            families = openmetrics.parse(answer.body.decode())
            up = openmetrics.value(families, "openclaw_database_up")
    tap.equal(up, 0, "without the database /metrics says so")
    tap.ok("openclaw_messages_accepted" not in families, "and no counter goes back to zero")
    time.sleep(TOKEN_REMEMBERED_S + 1)
    answer = http.get("/metrics", token=token)
    tap.equal(answer.status, 200, "it goes on saying so to who has scraped before, when its token cannot be looked up")
    stranger = http.get("/metrics", token="nobody-s")
    tap.ok(stranger.status in (401, 503), "and to nobody else", (stranger.status, stranger.body))
    world.cluster.start()


def main():
    with Migrated() as world:
        settings = {"RUNTIME_DIR": world.runtime, "HOST_NAME": "", "DB_TIMEOUT_MS": 5000}
        with Responder(world.cluster, settings, processes=2) as http:
            scrapes = Scrapes(http, None)
            scrapes.token = access(world, http)
            from_zero(scrapes)
            state = traffic(world, http, scrapes)
            killed(world, http, scrapes, state)
            folded(world, scrapes, state)
            young_ones_pruned(world, http, scrapes, state)
            oldest(world, http, scrapes, state)
            durations(world, http, state)
            expect(scrapes, "and counted", **state)
            sessions(world, scrapes)
            relayed(world, scrapes)
            tap.equal(scrapes.back, [], "no counter ever went back")
        with Responder(world.cluster, settings) as http:
            tap.equal(http.get("/metrics", token=scrapes.token).status, 200, "a scrape while the database is there")
            away(world, http, scrapes.token)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

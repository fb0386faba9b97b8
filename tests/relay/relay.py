#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sessions and their relay: joined calls, and everything that can happen to a relay.

That calls were joined is seen in the database: what was written in one transaction has one xmin.
"""

import collections
import os
import signal
import sys
import threading
import time

from cluster import skip_without
from crew import PATIENCE, Crew, answer_of, eventually, insist, sent
from rig import skip_without_fault_points
from stack import Refused
from tap import Tap, diagnose

SENDERS = [f"s{n}" for n in range(12)]
TRIES = 10  # until calls meet: the machine may be slow, and a caller waits three seconds at most
tap = Tap()


def message(to, text, key):
    return {"to": to, "message": text, "idempotencyKey": key}


def code_of(answer):
    return answer.code if isinstance(answer, Refused) else "ok"


def meet(crew, clients, params, name):
    """at_once(), again with other keys until all calls were one; the key's prefix and the answers."""
    for number in range(TRIES):
        prefix = f"{name}{number}-"
        answers = crew.at_once(clients, lambda n, client: params(n, client, prefix))
        if crew.transactions(prefix) == 1:
            return prefix, answers
    raise AssertionError(f"{name}: the calls did not meet")


# ---- joined ------------------------------------------------------------------------------------


def sends_are_joined(crew, clients):
    before = crew.served()
    prefix, answers = meet(
        crew, clients, lambda n, _, p: message("bob", f"m{n}", f"{p}{n}"), "joined"
    )
    tap.equal([code_of(a) for a in answers], ["ok"] * len(clients), "sends of many sessions at once")
    tap.ok(crew.served() > before, "went through the relay")
    tap.equal(crew.stored(prefix), len(clients), "in one transaction, each is stored")
    ids = {(a["messageId"], a["runId"]) for a in answers}
    tap.equal(len(ids), len(clients), "each sender got its own answer")
    for n, answer in enumerate(answers):
        told = crew.rig.value(
            "select openclaw.message_id(sender, message_uuid) from openclaw.inbox"
            f" where message_uuid = '{clients[n].agent}:{prefix}{n}'"
        )
        if told != answer["messageId"]:
            tap.equal(answer["messageId"], told, f"sender {n} got the answer of its message")


def order_holds(crew, clients):
    count = 25

    def stream(client):
        asked = [
            client.start("send", message("carol", str(n), f"order-{n:03}")) for n in range(count)
        ]
        for identity in asked:
            client.answer(identity, PATIENCE)

    threads = [threading.Thread(target=stream, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = crew.transactions("order-")
    tap.ok(written < len(clients) * count, f"{len(clients) * count} sends in {written} transactions")
    carol = crew.join("carol")
    carol.request("inbox.subscribe", {"inbox": "carol", "maxInFlight": 16})
    heard = collections.defaultdict(list)
    while sum(map(len, heard.values())) < len(clients) * count:
        payload = carol.event("inbox.message", PATIENCE)
        heard[payload["from"]].append(payload["message"] if "message" in payload else payload["content"])
        carol.request("inbox.ack", {"deliveryIds": [payload["deliveryId"]]}, PATIENCE)
    wanted = [str(n) for n in range(count)]
    wrong = {sender: told for sender, told in heard.items() if [str(t) for t in told] != wanted}
    tap.equal(wrong, {}, "each sender's messages come in the order in which they were sent")


def one_key_is_one_message(crew):
    twins = [crew.join("s0"), crew.join("s0")]
    prefix, answers = meet(crew, twins, lambda n, _, p: message("bob", "same", f"{p}twin"), "twins")
    tap.equal([code_of(a) for a in answers], ["ok", "ok"], "one key from two sessions in one call")
    tap.equal(answers[0]["messageId"], answers[1]["messageId"], "is one message")
    tap.equal(crew.stored(prefix), 1, "stored once")
    prefix, answers = meet(crew, twins, lambda n, _, p: message("bob", f"{n}", f"{p}odd"), "odds")
    tap.equal(
        sorted(map(code_of, answers)), ["IDEMPOTENCY_CONFLICT", "ok"],
        "one key for two requests: one of them",
    )  # fmt: skip
    tap.equal(crew.stored(prefix), 1, "is stored")
    return twins


def limit_is_exact(crew, clients, twins):
    """Who is not allowed, and who repeats, takes no room from those behind him."""
    crew.rig.execute(
        "update openclaw.agent set inbox_limit = 0, allow_from = array(select 's' || g from"
        " generate_series(0, 10) g) where agent_id = 'small'"
    )
    everybody = [*twins, *clients]  # s0, s0; s0 … s11, of whom s11 is not allowed
    for number in range(TRIES):
        crew.rig.execute("update openclaw.agent set inbox_limit = 5 where agent_id = 'small'")
        prefix = f"full{number}-"

        def params(n, client):
            key = f"{prefix}twin" if n < 2 else f"{prefix}{n}"
            return message("small", "x" if n < 2 else str(n), key)

        answers = crew.at_once(everybody, params)
        told = collections.Counter(map(code_of, answers))
        stored = crew.stored(prefix)
        if crew.transactions(prefix) == 1:
            break
        crew.rig.execute("update openclaw.inbox set state = 'withdrawn' where agent_id = 'small'")
    tap.equal(stored, 5, "an inbox of five takes five of those who come at once")
    tap.equal(code_of(answers[-1]), "UNKNOWN_RECIPIENT", "who is not allowed learns nothing")
    # the twins are one message
    right = told["ok"] == stored + (code_of(answers[0]) == code_of(answers[1]) == "ok")
    tap.ok(right and told["INBOX_FULL"] == len(everybody) - 1 - told["ok"], "the others are told", told)


def refusals_cost_nobody(crew, clients):
    prefix, answers = meet(
        crew, clients,
        lambda n, _, p: message(("bob", "nobody")[n % 2], f"m{n}", f"{p}{n}"), "refused",
    )  # fmt: skip
    wanted = ["ok", "UNKNOWN_RECIPIENT"] * (len(clients) // 2)
    tap.equal([code_of(a) for a in answers], wanted, "refused recipients among others")
    tap.equal(crew.stored(prefix), len(clients) // 2, "the others' messages are stored")


def claims_meet_a_fence(crew, clients):
    for client in clients:
        client.request("inbox.subscribe", {"inbox": client.agent, "exclusive": True})
    victim = clients[3]
    crew.rig.db.register("somebody-else")
    with crew.standstill(*clients):
        for client in clients:
            crew.rig.execute(
                f"select * from dbos_system.send_message('agent:{client.agent}', '\"claimed\"'::json)"
            )
        crew.rig.execute(
            "select * from openclaw.inbox_subscribe("
            f"'{victim.agent}', 'somebody-else', null, true, 10, 30000, 1)"
        )
        crew.ring()
    victim.event("inbox.fenced", PATIENCE)
    for client in clients:
        if client is not victim:
            client.delivery = client.event("inbox.message", PATIENCE)
    tap.ok(True, "claims together with one that is fenced: it is told, the others have theirs")
    tap.ok(not [e for e in victim.events if e["event"] == "inbox.message"], "the fenced one has none")
    others = [client for client in clients if client is not victim]
    with crew.standstill(*others):
        asked = [
            client.start("inbox.ack", {"deliveryIds": [client.delivery["deliveryId"], "1.no"]})
            for client in others
        ]
    answers = [client.answer(identity, PATIENCE) for client, identity in zip(others, asked)]
    right = all(
        (answer["acked"], answer["stale"]) == ([client.delivery["deliveryId"]], ["1.no"])
        for client, answer in zip(others, answers)
    )
    tap.ok(right, "acknowledgements at once: each is told of its own", answers)
    for client in clients:
        if client is not victim:
            client.request("inbox.unsubscribe", {"inbox": client.agent})


# ---- a relay in trouble ----------------------------------------------------------------------------


def relay_stands_still(crew, clients):
    crew.stop()
    served = crew.served()
    asked = [
        client.start("send", message("bob", "still", "still-1")) for client in clients
    ]
    answers = [answer_of(client, identity) for client, identity in zip(clients, asked)]
    ok = [a for a in answers if not isinstance(a, Refused)]
    bad = [a.code for a in answers if isinstance(a, Refused) and not a.error.get("retryable")]
    tap.equal(bad, [], f"the relay stands still: nobody is told wrongly ({len(ok)} served)")
    for client in clients:
        insist(client, message("bob", "still", "still-1"))
    tap.equal(crew.stored("still-1"), len(clients), "meanwhile all are served directly")
    crew.resume()
    insist(crew.join("s0"), message("bob", "after", "still-2"))
    tap.equal(crew.stored("still-"), len(clients) + 1, "when it goes on nothing is done twice")
    # the probe's own calls, and nothing of those who had gone
    late = crew.served() - served
    tap.ok(late < len(clients), f"nor late: {late} calls since")


def relay_is_killed(crew, clients):
    """Between and in calls, again and again, while everybody sends."""
    stop = threading.Event()
    done = collections.Counter()

    def send_on(client):
        while not stop.is_set():
            insist(client, message("dave", "on", f"kill-{done[client.agent]:04}"))
            done[client.agent] += 1

    threads = [threading.Thread(target=send_on, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for number in range(6):
        count = sum(done.values())
        eventually(lambda: sum(done.values()) > count + 2 * len(clients), "they are served")
        crew.relay.popen.send_signal(signal.SIGTERM if number == 3 else signal.SIGKILL)
        crew.relay.wait()
        count = sum(done.values())
        eventually(lambda: sum(done.values()) > count + 2 * len(clients), "they are served without")
        crew.relay = crew.rig.relay()
        eventually(lambda: crew.served() > 2, "the next relay is asked")
    stop.set()
    for thread in threads:
        thread.join()
    tap.equal(
        crew.stored("kill-"), sum(done.values()),
        f"killed six times under load: {sum(done.values())} messages, each once",
    )  # fmt: skip


def relay_of_another_build(crew, clients):
    crew.relay.end()
    other = crew.rig.environment["DATABASE_URL"] + "&application_name=other"
    crew.relay = crew.rig.relay(environment={"DATABASE_URL": other})
    time.sleep(1.1)  # who found none a moment ago does not look for one
    for client in clients:
        insist(client, message("bob", "other", "other-1"))
    tap.equal(crew.stored("other-1"), len(clients), "a relay of another configuration")
    tap.equal(crew.served(), 0, "does nothing")
    crew.relay.end()
    crew.relay = crew.rig.relay()


def database_goes_away(crew):
    """Under fresh sessions: those of before avoid the relay, which was of another build."""
    clients = [crew.join(agent) for agent in SENDERS[:6]]
    eventually(lambda: crew.served() > 0, "the relay is used again")
    for what, restart in (
        ("PostgreSQL crashes", lambda: crew.rig.cluster.restart("immediate")),
        ("PostgreSQL restarts", lambda: crew.rig.cluster.restart("fast")),
        ("PgBouncer is killed", crew.rig.bouncer.crash),
    ):
        stop = threading.Event()
        done = collections.Counter()
        prefix = what.replace(" ", "")

        def send_on(client):
            while not stop.is_set():
                insist(client, message("dave", "on", f"{prefix}-{done[client.agent]:04}"))
                done[client.agent] += 1

        threads = [threading.Thread(target=send_on, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(done.values()) > len(clients), "they are served")
        restart()
        served, count = crew.served(), sum(done.values())
        eventually(lambda: sum(done.values()) > count + 2 * len(clients), "they are served again")
        eventually(lambda: crew.served() > served, "by the relay")
        stop.set()
        for thread in threads:
            thread.join()
        crew.rig.reconnect()
        tap.equal(crew.stored(f"{prefix}-"), sum(done.values()), f"{what}: each message once")
    tap.ok(crew.relay.running(), "and the relay lives")


# ---- somebody's lock ---------------------------------------------------------------------------------


def lock_holds_up_its_own(crew, lockers, others, name):
    """While somebody's transaction keeps an inbox, everybody else is answered."""
    own, free = crew.rig.value("select openclaw.inbox_bucket('bob')"), "carol"
    assert own != crew.rig.value(f"select openclaw.inbox_bucket('{free}')")
    times = []
    with crew.rig.db.another() as holder:
        holder.run(f"begin; select pg_advisory_xact_lock(hashtext('openclaw.inbox'), {own})")
        with crew.standstill(*lockers, *others):
            held = [c.start("send", message("bob", "held", f"{name}-held")) for c in lockers]
            asked = [c.start("send", message(free, "first", f"{name}-free")) for c in others]
            begun = time.monotonic()
        first = [answer_of(client, identity) for client, identity in zip(others, asked)]
        times.append(time.monotonic() - begun)
        tap.ok(times[0] > 0.9, f"{name}: they meet at a lock", times)
        bad = [a.code for a in first if isinstance(a, Refused)]
        tap.equal(bad, [], f"{name}: who was joined with them is answered while the lock is held")
        for round_ in range(10):
            for client in others:
                begun = time.monotonic()
                client.request("send", message(free, "x", f"{name}-{round_}"), PATIENCE)
                times.append(time.monotonic() - begun)
        tap.ok(True, f"{name}: and goes on")
        waiting = crew.rig.value(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        )
        tap.ok(waiting > 0, f"{name}: the lock was in somebody's way all the while", waiting)
        holder.run("rollback")
    for client, identity in zip(lockers, held):
        answer = answer_of(client, identity)
        if isinstance(answer, Refused) and not answer.error.get("retryable"):
            tap.ok(False, f"{name}: those who waited for the lock", answer)
        insist(client, message("bob", "held", f"{name}-held"))
    tap.equal(crew.stored(f"{name}-held"), len(lockers), f"{name}: then they, too; once each")
    times.sort()
    diagnose(f"{name}: others waited {times[-1]:.2f} s at most, {times[len(times) // 2]:.3f} s mostly")


def main():
    skip_without("initdb", "psql", "pgbouncer")
    skip_without_fault_points()  # by whose log is seen who was asked
    agents = [*SENDERS, "alice", "bob", "carol", "dave", "small"]
    # nobody is helped by a call that ends because its time is up
    with Crew(agents, {"DB_TIMEOUT_MS": "180000"}) as crew:
        clients = [crew.join(agent) for agent in SENDERS]
        tap.ok(all(sent(client) for client in clients) and crew.served(), "sessions use the relay")
        sends_are_joined(crew, clients)
        order_holds(crew, clients)
        twins = one_key_is_one_message(crew)
        limit_is_exact(crew, clients, twins)
        refusals_cost_nobody(crew, clients)
        claims_meet_a_fence(crew, clients)
        lock_holds_up_its_own(crew, clients[:1], clients[1:], "one")
        lock_holds_up_its_own(crew, clients[:6], clients[6:], "six")
        relay_stands_still(crew, clients)
        clients = [crew.join(agent) for agent in SENDERS]  # the others avoid it for a while
        relay_is_killed(crew, clients)
        relay_of_another_build(crew, clients)
        database_goes_away(crew)
        bad = crew.rig.cluster.log_contains(r"ERROR:  (22021|22P02|22P05)|deadlock detected")
        tap.ok(not bad, "the server saw no bad input and no deadlock")
        tap.equal(crew.relay.end(), os.EX_OK, "the relay ends when it is asked to")
        for client in crew.clients:
            client.close()
        tap.equal(
            {client.raw.process.popen.returncode for client in crew.clients}, {0},
            "all sessions ended well",
        )  # fmt: skip
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

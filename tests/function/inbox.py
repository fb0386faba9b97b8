#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The recipient's functions: claim, handed, ack, nack, extend, release, retry, and the feed."""

import json
import sys

from cluster import Cluster, skip_without
from tap import Tap
from transition import DAY, Database, SqlError, message

skip_without("initdb", "psql")
tap = Tap()


def ids(deliveries):
    return [d["message_id"] for d in deliveries]


def test_claim_order(db):
    db.commit(*[message(f"a{n}") for n in (1, 2, 3)])
    db.commit(message("b1", sender="carol"))
    tap.equal(ids(db.claim(limit=2)), ["a1", "a2"], "messages come as they were accepted")
    tap.equal(ids(db.claim()), ["a3", "b1"], "and nothing is given out twice")
    tap.equal(ids(db.claim()), [], "until there is nothing more")
    [row] = db.rows("select * from openclaw.inbox where message_uuid = 'alice:a1'")
    tap.equal(
        (row["state"], row["attempt"], row["handed"], row["holder"]),
        ("leased", 1, False, "s1"),
        "a lease",
    )


def test_claim_bytes(db):
    """Nobody has to hold a hundred large messages at a time."""
    db.commit(message("small"))
    db.commit(*[message(f"large{n}", content="x" * 900_000) for n in range(6)])
    db.commit(message("vast", content="x" * 3_000_000), message("last"))
    claims = []
    while not claims or claims[-1]:
        claims.append(ids(db.claim(limit=100)))
    tap.equal(
        claims,
        [
            ["small", "large0", "large1", "large2"],
            ["large3", "large4", "large5"],
            ["vast"],
            ["last"],
            [],
        ],
        "a claim brings 2 MiB and what began within them, in order; a larger message comes alone",
    )


def test_clock_goes_back(db):
    """By an hour, before the messages are claimed: as if they had been accepted in an hour's time."""
    db.commit(message("cb1"), message("cb2", delay=1))
    db.run("update openclaw.inbox set accepted_at = accepted_at + 3600000, due_at = due_at + 3600000, expires_at = expires_at + 3600000")
    db.commit(message("cb3"), message("cb4", sender="carol"))
    tap.equal(ids(db.claim()), ["cb1", "cb3", "cb4"], "what was not delayed is due in its order, though the clock went back")
    db.call("inbox_release", agent="bob", holders=["s1"], known=[])
    tap.equal(ids(db.claim()), ["cb1", "cb3", "cb4"], "and so is what was given back")


def test_claim_fields(db):
    db.commit(message("f1", content={"text": "hi"}, expects_reply=1, max_attempts=4))
    [d] = db.claim()
    tap.equal(json.loads(d["message"])["content"], {"text": "hi"}, "a delivery carries the message")
    tap.equal(
        (
            d["sender"],
            d["workflow_uuid"],
            d["attempt"],
            d["max_attempts"],
            d["redelivered"],
            d["expects_reply"],
        ),
        ("alice", "alice:f1", 1, 4, False, True),
        "and what the recipient must know of it",
    )
    tap.equal(
        d["lease_expires_at"] - d["accepted_at"] >= 30_000,
        True,
        "its lease ends after the lease time",
    )


def test_held_by_waiting(db):
    db.commit(message("h1"), message("h2"), message("h3", sender="carol"), message("h4"))
    [head] = db.claim(limit=1)
    [answer] = db.nack(head, delay_ms=60_000)
    tap.equal(
        (answer["state"], answer["attempt"]),
        ("ready", 1),
        "a refused delivery waits for its next try",
    )
    tap.equal(ids(db.claim(max_in_flight=1)), [], "in a strict line it holds everybody")
    tap.equal(ids(db.claim(max_in_flight=10)), ["h3"], "else only its sender's later messages")
    db.run("update openclaw.inbox set due_at = 0 where message_uuid = 'alice:h1'")
    tap.equal(ids(db.claim()), ["h1", "h2", "h4"], "until its time has come")
    [row] = db.rows("select * from openclaw.inbox where message_uuid = 'alice:h1'")
    tap.equal((row["attempt"], row["claims"]), (2, 2), "which is its second attempt")


def test_head_of_line(db):
    """One at a time: what was refused goes before everything, also where that is more urgent or older."""
    db.commit(message("hl0", sender="carol", delay=3_600_000), message("hl1", priority=1), message("hl2"))
    db.run("update openclaw.inbox set claims = 1 where message_uuid = 'alice:hl1'")
    db.run("update openclaw.inbox set due_at = due_at - 3600000 where message_uuid = 'carol:hl0'")
    tap.equal(ids(db.claim(max_in_flight=1, limit=1)), ["hl1"], "a line's head, when its time has come again")
    tap.equal(ids(db.claim(max_in_flight=9)), ["hl0", "hl2"], "where several are taken by rank")


def test_what_is_left(db):
    """The last row of a claim says whether asking again is worth it, and when."""
    db.commit(message("w1"), message("w2"), message("w3", delay=60_000))

    def last(limit):
        rows = db.call(
            "inbox_claim", agent="bob", holder="s1", epoch=None, max_in_flight=None, limit=limit, lease_ms=1000
        )
        return len(rows) - 1, rows[-1]["inbox_seq"], rows[-1]["next_due_ms"]

    tap.equal(last(1), (1, None, 0), "where more could be taken: at once")
    count, none, due = last(9)
    tap.ok((count, none) == (1, None) and 50_000 < due <= 60_000, "where one is for later: then", due)
    db.run("delete from openclaw.inbox where message_uuid = 'alice:w3'")
    db.commit(message("w4"))
    tap.equal(last(1), (1, None, None), "where nothing is waiting: never, though the limit was reached")


def test_held_by_taken(db):
    """Who shares an inbox may die before it has handed over what it took: nothing may overtake that."""
    db.commit(message("t1"), message("t2", sender="carol"), message("t3"), message("t4"))
    [first] = db.claim(holder="s1", limit=1)
    tap.equal(ids(db.claim(holder="s2", limit=1)), ["t2"], "of another sender there is something")
    [none] = db.call(
        "inbox_claim", agent="bob", holder="s2", epoch=None, max_in_flight=None, limit=9, lease_ms=1000
    )
    tap.equal(none["inbox_seq"], None, "of this one not while its first is not handed over")
    tap.ok(0 < none["next_due_ms"] <= 100, "and that is soon", none)
    tap.equal(ids(db.claim(holder="s1", limit=1)), ["t3"], "who has the first may have the next, too")
    db.call("inbox_release", agent=None, holders=["s1"], known=[])  # it was killed
    tap.equal(ids(db.claim(holder="s2", limit=1)), ["t1"], "then the first comes first")
    db.handed(db.inbox("alice:t1"))
    tap.equal(ids(db.claim(holder="s3")), ["t3", "t4"], "and once it is handed over the next to anybody")


def test_claim_again(db):
    """The answer of a pull was lost: asked again with the same token it gives the same."""
    db.commit(*[message(f"y{n}") for n in range(4)])
    lost = db.claim(limit=2, token="00ff", known=0)
    again = db.claim(limit=2, token="00ff", known=0)
    tap.equal(ids(lost), ["y0", "y1"], "a pull takes two")
    tap.equal(again, lost, "and again the same two, as the same deliveries")
    tap.equal(ids(db.claim(limit=1, token="00fe", known=0)), ["y2"], "another pull takes others")
    tap.equal(ids(db.claim(holder="s2", token="00ff", known=0)), [], "and nobody else gets them by it")
    tap.equal([a["outcome"] for a in db.ack(*again)], ["acked"] * 2, "they are confirmed as any")


def test_claim_unknown(db):
    """A holder that does not know what it holds, for its answers go to whoever asks and may be lost."""
    db.commit(*[message(f"u{n}") for n in range(5)])
    db.commit(message("u9", sender="carol"))
    lost = db.claim(limit=1, token="aa.0")
    tap.equal(ids(lost), ["u0"], "a pull takes the first")
    tap.equal(ids(db.claim(limit=1, token="aa.1")), ["u1"], "and its next portion the second")
    tap.equal(ids(db.claim(token="bb.0")), ["u9"], "another gets nothing later of the sender while that is not handed over")
    [none] = db.call(
        "inbox_claim", agent="bob", holder="s1", epoch=None, max_in_flight=None, limit=9, lease_ms=1000, token="bb.1"
    )
    tap.ok(0 < none["next_due_ms"] <= 100, "and is told to look again soon", none)
    tap.equal(db.claim(limit=1, token="aa.0"), lost, "the first asks again and has what it had")
    db.handed(*(db.inbox(f"alice:u{n}") for n in (0, 1)))
    tap.equal(ids(db.claim(limit=1, token="cc.0")), ["u2"], "handed over they stand in nobody's way")
    db.run("update openclaw.inbox set due_at = 0 where message_uuid = 'alice:u2'")
    db.call("inbox_expire_leases", base_ms=0, max_ms=0)
    tap.equal(ids(db.claim(token="dd.0")), ["u2", "u3", "u4"], "and what was lost comes first when its lease has ended")


def test_in_flight(db):
    db.commit(*[message(f"i{n}") for n in range(5)])
    first = db.claim(max_in_flight=2)
    tap.equal(ids(first), ["i0", "i1"], "no more than max_in_flight at once")
    tap.equal(ids(db.claim(max_in_flight=2)), [], "what is in flight counts")
    db.handed(*first)
    second = db.claim(holder="s2", max_in_flight=1)
    tap.equal(ids(second), ["i2"], "each holder's for itself")
    db.handed(*second)
    db.ack(first[0])
    tap.equal(ids(db.claim(max_in_flight=2)), ["i3"], "an acknowledgement makes room")


def test_priority(db):
    db.commit(message("p1", priority=9), message("p2", priority=5), message("p3"))
    tap.equal(ids(db.claim()), ["p3", "p2", "p1"], "a lower number comes first")
    db.commit(message("p4", priority=1))
    db.run("select setval(pg_get_serial_sequence('openclaw.inbox', 'inbox_seq'), 1000000)")
    db.commit(message("p5"))
    tap.equal(
        ids(db.claim()), ["p4", "p5"], "but who has waited long enough comes before a later one"
    )
    db.commit(message("q1", priority=3), message("q2", priority=3), message("q3", priority=1), message("q4", priority=3))
    [first] = db.claim(limit=1)
    db.commit(message("q5"), message("q6", priority=1))
    rest = ids(db.claim())
    tap.equal(
        (first["message_id"], rest), ("q3", ["q5", "q6", "q1", "q2", "q4"]),
        "of one sender, too, the more urgent comes first, and within a priority what was accepted first",
    )  # fmt: skip


def test_not_to_be_delivered(db):
    db.commit(message("n1", ttl=1), message("n2"), message("n3", delay=60_000), message("n4"))
    db.run(
        "update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid = 'alice:n2'"
    )
    db.run("update openclaw.agent set status = 'paused' where agent_id = 'bob'")
    tap.equal(ids(db.claim()), [], "a paused agent gets nothing")
    db.run("update openclaw.agent set status = 'active' where agent_id = 'bob'")
    db.run("select pg_sleep(0.005)")
    tap.equal(
        ids(db.claim()), ["n4"], "nor is delivered what has expired, was cancelled, or is for later"
    )
    rows = db.call(
        "inbox_claim",
        agent="bob",
        holder="s1",
        epoch=None,
        max_in_flight=None,
        limit=9,
        lease_ms=1000,
    )
    tap.ok(
        50_000 < rows[0]["next_due_ms"] <= 60_000,
        "without a message the answer says when one is due",
        rows,
    )
    rows = db.call(
        "inbox_claim",
        agent="carol",
        holder="s1",
        epoch=None,
        max_in_flight=None,
        limit=9,
        lease_ms=1000,
    )
    tap.equal(
        [(r["inbox_seq"], r["next_due_ms"]) for r in rows],
        [(None, None)],
        "another's inbox is another's; and where nothing is to come, no time is told to come again",
    )


def test_epochs(db):
    db.register("s1", "s2", "s3")
    one = db.subscribe(executor="s1")
    db.commit(message("e1"), message("e2"))
    [held] = db.claim(epoch=one["epoch"], limit=1)
    two = db.subscribe(executor="s2", exclusive=True)
    tap.ok(two["epoch"] > one["epoch"], "a newer subscription has a higher epoch")
    tap.equal(two["bells"], ["here/s1"], "the fenced one is told")
    tap.equal((two["pending"], two["in_flight"]), (2, 0), "what it held is ready again")
    with tap.raises(SqlError, "the fenced one gets nothing more", sqlstate="OC001"):
        db.claim(epoch=one["epoch"])
    tap.equal(db.ack(held)[0]["outcome"], "stale", "and its acknowledgement is stale")
    [again, other] = db.claim(holder="s2", epoch=two["epoch"])
    tap.equal(
        (again["message_id"], again["attempt"], again["redelivered"]),
        ("e1", 1, True),
        "what was never handed over counts no attempt",
    )
    three = db.subscribe(executor="s3")
    with tap.raises(SqlError, "a shared subscription ends an exclusive one, too", sqlstate="OC001"):
        db.claim(holder="s2", epoch=two["epoch"])
    tap.equal(len(db.claim(holder="s3", epoch=three["epoch"])), 2, "which then receives")
    with tap.raises(SqlError, "there is no subscribing to nobody", sqlstate="OC002"):
        db.subscribe(agent="nobody")
    db.twice(
        tap,
        "subscribe (but for its epoch)",
        lambda: (db.subscribe(executor="s3"), db.run("update openclaw.subscription set epoch = 1")),
    )


def test_late_calls(db):
    """A call of a connection that was lost comes when others have been answered since."""
    db.register("s1", "s2")
    gone = lambda call: db.call("inbox_unsubscribe", agent="bob", executor="s1", call=call)[0]["inbox_unsubscribe"]

    epoch = db.subscribe(executor="s1", call=2)["epoch"]
    db.commit(message("l0"), message("l1"))
    [held] = db.claim(holder="s1", epoch=epoch, limit=1)
    tap.equal(gone(1), False, "a late unsubscribing ends nothing that was subscribed since")
    with tap.raises(SqlError, "a late resuming", sqlstate="OC001"):
        db.call("inbox_resume", agent="bob", executor="s1", epoch=epoch, known=[], call=1)
    tap.equal(ids(db.claim(holder="s1", epoch=epoch, limit=1)), ["l1"], "fences nobody")
    tap.equal([a["outcome"] for a in db.ack(held)], ["acked"], "and takes nothing back")
    tap.equal(gone(3), True, "who unsubscribes has unsubscribed")
    other = db.subscribe(executor="s2", exclusive=True)["epoch"]
    with tap.raises(SqlError, "and the subscribing that comes late", sqlstate="OC001"):
        db.subscribe(executor="s1", exclusive=True, call=2)
    tap.equal(ids(db.claim(holder="s2", epoch=other)), ["l1"], "fences nobody else")
    db.call("executor_reap", executors=["s1"])
    with tap.raises(SqlError, "nor does that of a receiver that has ended", sqlstate="OC001"):
        db.subscribe(executor="s1", exclusive=True, call=9)
    with tap.raises(SqlError, "or was never registered", sqlstate="OC001"):
        db.subscribe(executor="s3", exclusive=True)
    tap.equal(db.claim(holder="s2", epoch=other), [], "who has the inbox keeps it")


def test_resume(db):
    """A claim's answer was lost: what it leased is given out again, before anything later."""
    db.register("s1", "s2")
    epoch = db.subscribe(executor="s1")["epoch"]
    db.commit(*[message(f"z{n}") for n in range(4)])
    [known] = db.claim(epoch=epoch, limit=1)
    db.handed(known)
    lost = db.claim(epoch=epoch, limit=2)

    def resume(old):
        return db.call(
            "inbox_resume", agent="bob", executor="s1", epoch=old, known=[known["delivery_id"]], call=1
        )[0]["inbox_resume"]

    newer = resume(epoch)
    tap.ok(newer > epoch, "resuming gives a newer epoch")
    newest = resume(epoch)
    tap.ok(newest > newer, "also to who did not hear of it")
    with tap.raises(SqlError, "a claim that was on its way gets nothing", sqlstate="OC001"):
        db.claim(epoch=epoch)
    again = db.claim(epoch=newest)
    tap.equal(ids(again), ["z1", "z2", "z3"], "what was lost comes before what is later")
    tap.equal([d["attempt"] for d in again], [1, 1, 1], "and was no attempt")
    tap.equal(
        [a["outcome"] for a in db.ack(known, *lost)],
        ["acked", "stale", "stale"],
        "what is known stays",
    )
    db.subscribe(executor="s2", exclusive=True)
    with tap.raises(SqlError, "who was fenced cannot resume", sqlstate="OC001"):
        resume(newest)


def test_ack(db):
    db.commit(message("k1", waiter="w1"), message("k2"))
    db.register("w1", kind="http")
    one, two = db.claim()
    foreign = db.ack(one, agent="carol")
    tap.equal(foreign[0]["outcome"], "stale", "who acknowledges another's message learns nothing")
    tap.equal(db.inbox("alice:k1")["state"], "leased", "and changes nothing")
    forged = db.ack(
        dict(one, delivery_id=f"{one['inbox_seq']}.0123"), dict(one, inbox_seq=999_999_999)
    )
    tap.equal([f["outcome"] for f in forged], ["stale", "stale"], "nor who guesses")
    [three] = db.commit(message("k3")) and db.claim()
    both = db.ack(dict(three, delivery_id=f"{three['inbox_seq']}.4567"), three)
    tap.equal(
        [b["outcome"] for b in both], ["stale", "acked"], "two deliveries of one message have each its own outcome"
    )
    first, second = db.twice(tap, "ack", lambda: db.ack(one, one, response='{"text":"yes"}'))
    tap.equal([a["outcome"] for a in first], ["acked", "already"], "a delivery is acknowledged, once")
    tap.equal([a["outcome"] for a in second], ["already", "already"], "and again: already")
    tap.equal(first[0]["bell"], "here/w1", "who waits is rung")
    tap.equal([a["bell"] for a in second], [None, None], "once")
    row = db.workflow("alice:k1")
    outcome = json.loads(row["output"])
    tap.equal(
        (
            row["status"],
            outcome["messageId"],
            outcome["status"],
            outcome["deliveryAttempts"],
            outcome["response"],
        ),
        ("SUCCESS", "k1", "acknowledged", 1, {"text": "yes"}),
        "the workflow has its outcome",
    )
    tap.equal(
        [s["function_id"] for s in row["steps"]],
        [0, 1, 2],
        "the step that waited has its checkpoint",
    )
    tap.equal(row["steps"][2]["output"], row["output"], "which is the outcome")
    tap.equal(
        sorted(row["events"]),
        ["accepted", "acknowledged", "delivered"],
        "the log has the whole way",
    )
    tap.equal(
        db.value("select consumed from dbos_system.notifications where message_uuid = 'alice:k1'"),
        True,
        "the mailbox's message is consumed",
    )
    both = db.ack(one, two)
    tap.equal(
        [a["outcome"] for a in both], ["already", "acked"], "several at once, each for itself"
    )
    tap.equal(
        json.loads(db.workflow("alice:k2")["output"]).get("response", "none"),
        "none",
        "no response, none recorded",
    )


def test_handed(db):
    db.commit(message("g1", waiter="w1"), message("g2"))
    db.register("w1", kind="http")
    one, two = db.claim()
    first, second = db.twice(tap, "handed", lambda: db.handed(one))
    tap.equal([b["bell"] for b in first], ["here/w1"], "the first handing over rings who waits")
    tap.equal(second, [], "the second nobody")
    tap.equal("delivered" in db.workflow("alice:g1")["events"], True, "and is in the log")
    tap.equal(db.handed(two), [], "where nobody waits nobody is rung")
    tap.equal("delivered" in db.workflow("alice:g2")["events"], True, "but it is in the log, too")
    tap.equal(db.inbox("alice:g2")["handed"], True, "and noted")


def test_release(db):
    db.commit(message("r1"), message("r2"))
    one, two = db.claim()
    db.handed(one)
    db.twice(tap, "release", lambda: db.call("inbox_release", agent=None, holders=["s1"], known=[]))
    tap.equal(
        (db.inbox("alice:r1")["attempt"], db.inbox("alice:r2")["attempt"]),
        (1, 0),
        "only what was handed over has counted",
    )
    again = db.claim(holder="s2")
    tap.equal(
        [(d["message_id"], d["attempt"], d["redelivered"]) for d in again],
        [("r1", 2, True), ("r2", 1, True)],
        "a redelivery says so",
    )
    tap.equal(
        [a["outcome"] for a in db.ack(one, two)], ["stale", "stale"], "the old deliveries are stale"
    )
    tap.equal(
        db.call("inbox_release", agent="carol", holders=["s2"], known=[])[0]["inbox_release"],
        0,
        "one agent's only",
    )
    tap.equal([a["outcome"] for a in db.ack(*again)], ["acked", "acked"], "the new ones count")


def test_release_used_up(db):
    """What ends every connection that it comes to ends as a dead letter."""
    db.commit(message("u1", max_attempts=2))
    for attempt in (1, 2):
        [one] = db.claim(holder=f"s{attempt}")
        tap.equal(one["attempt"], attempt, f"attempt {attempt} is handed over")
        db.handed(one)
        db.call("inbox_release", agent=None, holders=[f"s{attempt}"], known=[])
    tap.equal(db.claim(holder="s3"), [], "there is no third")
    tap.equal(db.call("inbox_expire_leases")[0]["dead"], 1, "it is a dead letter at once")
    tap.equal(db.inbox("alice:u1")["state"], "dead", "and stays one")


def test_not_a_mailbox(db):
    """An id that begins as a mailbox's is none where there is no such agent."""
    db.run(
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, application_name)"
        " values ('agent:42', 'PENDING', 'theirs', 'theirs')"
    )
    db.run("select dbos_system.send_message('agent:42', '1', message_id => 'theirs-1')")
    tap.equal(db.count("dbos_system.notifications", "message_uuid = 'theirs-1'"), 1, "it gets messages")
    tap.equal(db.count("openclaw.inbox", "message_uuid = 'theirs-1'"), 0, "that are no affair of ours")
    with tap.raises(SqlError, "no agent takes it for its mailbox", sqlstate="OC005"):
        db.provision("42")
    db.run("delete from dbos_system.workflow_status where workflow_uuid = 'agent:42'")


def test_feed_too_large(db):
    db.run("insert into openclaw.setting values ('max_message_size', '16384')")
    with tap.raises(SqlError, "what no session could hand over is refused", sqlstate="OC005"):
        db.run("select dbos_system.send_message('agent:bob', to_json(repeat('x', 12288)))")
    db.run("select dbos_system.send_message('agent:bob', to_json(repeat('x', 12000)))")
    tap.equal(len(db.claim()), 1, "what is smaller comes")
    db.run("delete from openclaw.setting where name = 'max_message_size'")


def test_feed_id(db):
    for name, identity in (
        ("empty", "''"), ("longer than 512 bytes", "repeat('é', 256) || 'x'"), ("a newline", "E'a\\nb'"),
        ("DEL", "E'a\\x7f'"), ("C1", "U&'a\\009b'"),
    ):
        with tap.raises(SqlError, f"an id that no dead letter could be named by is refused: {name}", sqlstate="OC005"):
            db.run(f"select dbos_system.send_message('agent:bob', '1', message_id => {identity})")
    for identity in ("repeat('é', 256)", "' a/b?\"c\" \\ %0a\u00a0€'"):
        db.run(f"select dbos_system.send_message('agent:bob', '1', message_id => {identity})")
        [d] = db.claim()
        tap.equal(d["message_id"], db.value(f"select {identity}"), f"any other comes: {identity}")
        db.ack(d)


def test_lease_outlives_ttl(db):
    """Expiry is looked at when a message is claimed: what was handed over in time has its whole lease."""
    db.commit(message("l1"))
    [one] = db.claim()
    db.handed(one)
    db.run("update openclaw.inbox set expires_at = openclaw.now_ms() - 1")
    [row] = db.call("message_review", seq=db.inbox("alice:l1")["inbox_seq"], id="alice:l1")
    tap.equal(row["state"], "leased", "its carrier leaves it to its recipient")
    tap.ok(row["again_ms"] > 1, "and looks again when the lease ends", row)
    tap.equal([a["outcome"] for a in db.ack(one)], ["acked"], "who may still acknowledge it")


def test_reply_to_cancelled(db):
    """A reply to a workflow that was cancelled meanwhile is there when it is resumed."""
    db.commit(message("c1"))
    [one] = db.claim()
    db.handed(one)
    db.run(
        "set session_replication_role = replica;"
        " update dbos_system.workflow_status set status = 'CANCELLED' where workflow_uuid = 'alice:c1';"
        " reset session_replication_role"
    )
    db.ack(one, response='"R"')
    [row] = db.call("message_review", seq=db.inbox("alice:c1")["inbox_seq"], id="alice:c1")
    tap.equal(json.loads(row["result"])["response"], "R", "the message keeps it")


def test_nack(db):
    db.commit(message("m1", max_attempts=2, waiter="w1"), message("m2"))
    db.register("w1", kind="http")
    one, two = db.claim()
    tap.equal(db.nack(one, agent="carol"), [], "another's delivery cannot be refused")
    first, second = db.twice(tap, "nack", lambda: db.nack(one, delay_ms=0))
    tap.equal(
        (first[0]["state"], first[0]["attempt"], first[0]["bell"]),
        ("ready", 1, "here/w1"),
        "a refusal counts an attempt, and who waits for the handing over is rung",
    )
    tap.equal("delivered" in db.workflow("alice:m1")["events"], True, "which it says, too")
    tap.equal(second, [], "once: the delivery is no longer the current one")
    [last] = [d for d in db.claim() if d["message_id"] == "m1"]
    first, second = db.twice(tap, "the last nack", lambda: db.nack(last, reason="never again"))
    tap.equal(
        (first[0]["state"], first[0]["attempt"], first[0]["bell"]),
        ("dead", 2, "here/w1"),
        "after the last attempt it is a dead letter, and who waits is rung",
    )
    row = db.workflow("alice:m1")
    error = json.loads(row["error"])
    tap.equal(
        (row["status"], error["code"], error["data"]["reason"]),
        ("ERROR", "DEAD_LETTER", "never again"),
        "its workflow says why",
    )
    tap.equal(row["steps"][2]["error"], row["error"], "and so does the step")
    [answer] = db.nack(two, requeue=False)
    tap.equal(answer["state"], "dead", "or at once, where the recipient wants it so")
    tap.equal(db.ack(two)[0]["outcome"], "stale", "a dead letter cannot be acknowledged")


def test_retry_unhanded_holds_line(db):
    """A message that was leased and not handed over waits for another try: nothing overtakes it."""
    db.commit(message("h1"))
    db.claim()
    db.commit(message("h2"), message("h3", sender="carol"))
    db.run("update openclaw.inbox set due_at = 0 where state = 'leased'")
    db.call("inbox_expire_leases", base_ms=60_000)
    db.run(
        "update openclaw.inbox set due_at = openclaw.now_ms() + 60000 where message_uuid = 'alice:h1'"
    )
    tap.equal(db.inbox("alice:h1")["attempt"], 0, "it has had no attempt")
    tap.equal(db.claim(max_in_flight=1), [], "where one may be in flight, it holds the whole line")
    claimed = [d["message_id"] for d in db.claim(max_in_flight=None)]
    tap.equal(claimed, ["h3"], "a pull gets another sender's next, and not the same sender's")


def test_retry_unhanded(db):
    """What was never handed over uses up no attempt, however often its lease ends."""
    db.commit(message("u1", max_attempts=1))
    for _ in range(3):
        [d] = db.claim()
        db.run("update openclaw.inbox set due_at = 0 where state = 'leased'")
        [answer] = db.call("inbox_expire_leases")
        tap.equal((answer["retried"], answer["dead"]), (1, 0), "an ended lease is another try")
        db.run("update openclaw.inbox set due_at = 0 where state = 'ready'")
    [d] = db.claim()
    db.handed(d)
    db.run("update openclaw.inbox set due_at = 0 where state = 'leased'")
    first, second = db.twice(tap, "the end of leases", lambda: db.call("inbox_expire_leases"))
    tap.equal(
        (first[0]["retried"], first[0]["dead"]),
        (0, 1),
        "handed over and not answered in time: dead after its only attempt",
    )
    tap.equal((second[0]["retried"], second[0]["dead"]), (0, 0), "once")
    tap.equal(db.inbox("alice:u1")["attempt"], 1, "with one attempt")


def test_extend(db):
    db.commit(message("x1", waiter="w1"), message("x2"))
    db.register("w1", kind="http")
    one, two = db.claim(lease_ms=1000)
    db.ack(two)

    def extend(agent):
        return db.call(
            "inbox_extend",
            agent=agent,
            lease_ms=60_000,
            seq=[one["inbox_seq"], two["inbox_seq"]],
            delivery=[one["delivery_id"], two["delivery_id"]],
        )

    tap.equal(extend("carol"), [], "another's lease cannot be extended")
    rows = extend("bob")
    tap.equal([r["delivery_id"] for r in rows], [one["delivery_id"]], "what is current is extended")
    tap.ok(rows[0]["lease_expires_at"] - one["lease_expires_at"] > 50_000, "to the time asked for")
    db.run("update openclaw.inbox set due_at = openclaw.now_ms() + 60000 where state = 'leased'")
    tap.equal(db.call("inbox_expire_leases")[0]["retried"], 0, "so that its lease does not end")
    tap.equal(db.inbox("alice:x1")["handed"], True, "who extends was handed it")
    tap.equal(rows[0]["bell"], "here/w1", "who waits for that is rung")
    tap.equal("delivered" in db.workflow("alice:x1")["events"], True, "and the log says it")
    tap.equal(extend("bob")[0]["bell"], None, "once")


def test_backoff(db):
    rows = db.rows(
        "select openclaw.backoff_ms(500, 60000, n) as ms, n from generate_series(1, 50) n, generate_series(1, 40)"
    )
    tap.ok(
        all(0 <= r["ms"] <= min(60_000, 500 * 2 ** (r["n"] - 1)) for r in rows),
        "backoff stays in its bounds",
    )
    tap.ok(max(r["ms"] for r in rows if r["n"] > 10) > 30_000, "and grows to its longest")
    tap.ok(len({r["ms"] for r in rows if r["n"] == 50}) > 30, "with jitter")


def test_feed(db):
    """What a DBOS client sends to a mailbox is a message like any other."""
    db.run("insert into openclaw.setting values ('max_attempts', '3'), ('message_ttl_ms', '5000')")
    db.twice(
        tap,
        "send_message",
        lambda: db.run(
            "select dbos_system.send_message('agent:bob', '{\"text\":\"hi\"}', message_id => 'foreign-1')"
        ),
    )
    row = db.inbox("foreign-1")
    tap.equal(
        (
            row["sender"],
            row["workflow_uuid"],
            row["max_attempts"],
            row["expires_at"] - row["accepted_at"],
        ),
        ("dbos", None, 3, 5000),
        "it has a place in the inbox, by the settings",
    )
    [d] = db.claim()
    tap.equal(
        (d["message_id"], json.loads(d["message"]), d["serialization"]),
        ("foreign-1", {"text": "hi"}, "portable_json"),
        "and is delivered",
    )
    db.twice(tap, "ack of a foreign message", lambda: db.ack(d))
    tap.equal(
        db.value("select consumed from dbos_system.notifications where message_uuid = 'foreign-1'"),
        True,
        "and consumed",
    )
    db.commit(message("mine"))
    db.run(
        "insert into dbos_system.notifications (destination_uuid, message) values ('alice:mine', '1')"
    )
    tap.equal(
        db.count("openclaw.inbox", "sender = 'dbos'"),
        1,
        "a message to any other workflow is not ours",
    )
    tap.equal(
        db.count("openclaw.inbox", "message_uuid = 'alice:mine'"), 1, "and our own is fed once"
    )
    db.run("select dbos_system.send_message('agent:bob', '2', message_id => 'foreign-2')")
    db.run("update openclaw.inbox set expires_at = 0 where message_uuid = 'foreign-2'")
    first, second = db.twice(
        tap, "expiry of foreign messages", lambda: db.call("inbox_expire_foreign")
    )
    tap.equal(
        (first[0]["inbox_expire_foreign"], second[0]["inbox_expire_foreign"]), (1, 0), "it expires"
    )
    tap.equal(db.inbox("foreign-2")["state"], "expired", "for good")


TESTS = (
    test_claim_order,
    test_claim_bytes,
    test_clock_goes_back,
    test_claim_fields,
    test_held_by_waiting, test_head_of_line,
    test_what_is_left,
    test_held_by_taken,
    test_claim_again,
    test_claim_unknown,
    test_in_flight,
    test_priority,
    test_not_to_be_delivered,
    test_epochs,
    test_late_calls,
    test_resume,
    test_ack,
    test_handed,
    test_release,
    test_release_used_up,
    test_not_a_mailbox,
    test_feed_too_large,
    test_feed_id,
    test_lease_outlives_ttl,
    test_reply_to_cancelled,
    test_retry_unhanded_holds_line,
    test_nack,
    test_retry_unhanded,
    test_extend,
    test_backoff,
    test_feed,
)

with Cluster() as cluster:
    with Database(cluster) as empty:
        empty.provision("alice", "bob", "carol")
        for test in TESTS:
            empty.clear()
            try:
                test(empty)
            except (SqlError, AssertionError, IndexError, ValueError) as error:
                tap.ok(False, f"{test.__name__} comes to its end", repr(error))
sys.exit(tap.done())

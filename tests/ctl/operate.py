#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl message, inbox, session and queue: what an operator does from the shell, on a real
database, with a real sweeper and real sessions."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("abs_top_srcdir", "."), "tests", "inbox"))

from cluster import skip_without
from programs import CTL
from stage import Stage
from tap import Tap

DEADLINE = 60

tap = Tap()


def start(stage, *arguments):
    return subprocess.Popen(
        [CTL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", env=stage.environment(),
        # a shell's background job, which the tests may be, ignores it, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def send(stage):
    sent = stage.ctl("message", "send", "bob", "hello", "--key", "k1", "--json").json
    tap.equal((sent["id"], sent["status"], sent["duplicate"]), ("system:k1", "queued", False), "message send")
    again = stage.ctl("message", "send", "bob", "hello", "--key", "k1", "--json").json
    tap.equal((again["id"], again["duplicate"]), ("system:k1", True), "with the same key it is the same message")
    other = stage.ctl("message", "send", "bob", "other", "--key", "k1")
    tap.equal(other.code, 65, "another text with that key is refused")
    sent = stage.ctl("message", "send", "bob", '{"n":1}', "--as-json", "--from", "alice", "--priority", "3", "--json")
    [first, second] = stage.pull("bob", max=5)
    tap.equal(
        (first["from"], first["content"], second["from"], second["content"]),
        ("system", "hello", "alice", {"n": 1}),
        "they arrive",
    )
    stage.ack("bob", first, second, result="thanks")
    shown = stage.ctl("message", "show", "system:k1", "--json").json
    tap.equal(
        (shown["state"], shown["attempts"], shown["message"]["content"], shown["result"]["response"]),
        ("acked", 1, "hello", "thanks"),
        "message show tells what became of one",
    )
    waited = stage.ctl("message", "send", "bob", "anybody there?", "--wait", "300ms", "--key", "k2")
    tap.ok(waited.code == 75 and "message show system:k2" in waited.err and "queued" in waited.out,
           "--wait ends with what is known so far", waited)
    stage.ack("bob", *stage.pull("bob"), result="yes")
    waited = stage.ctl("message", "send", "bob", "anybody there?", "--wait", "60s", "--key", "k2", "--json")
    tap.equal((waited.code, waited.json["response"]), (0, "yes"), "or with the answer")
    for arguments, code, word in (
        (["send", "nobody", "x"], 67, "agent add"),
        (["send", "bob", "x", "--from", "nobody"], 66, "principal"),
        (["send", "bob", "x", "--priority", "10"], 64, "0 to 9"),
        (["send", "bob", "{", "--as-json"], 65, "JSON"),
        (["show", "none"], 66, "message list"),
        (["list", "--state", "gone"], 64, "withdrawn"),
        (["list", "--inbox", "a b"], 64, "--inbox"),
        (["list", "--inbox", "nobody"], 66, "agent list"),
        (["dead", "--inbox", "nobody"], 66, "agent list"),
        (["redrive"], 64, "--dry-run"),
        (["purge", "x", "--all"], 64, "--all"),
    ):
        result = stage.ctl("message", *arguments)
        tap.ok(result.code == code and word in result.err and not result.out,
               f"refused: message {' '.join(arguments)}", str(result))
    acts = stage.value("select count(*) from openclaw.audit where act = 'message.send' and subject = 'system to bob'")
    tap.ok(int(acts) >= 3, "the audit has who sent what to whom", acts)


def from_stdin(stage):
    process = start(stage, "message", "send", "bob", "-")
    out, err = process.communicate("from a pipe", timeout=DEADLINE)
    tap.ok(process.returncode == 0, "message send reads its standard input", out + err)
    [message] = stage.pull("bob")
    tap.equal(message["content"], "from a pipe", "all of it")
    stage.ack("bob", message)


def listing(stage):
    for n in range(3):
        stage.accept("alice", "carol", f"l{n}")
    listed = stage.ctl("message", "list", "--inbox", "carol", "--state", "ready,leased", "--limit", "2", "--json")
    tap.equal([m["id"] for m in listed.json["messages"]], ["alice:l2", "alice:l1"], "message list, the newest first")
    stats = stage.ctl("inbox", "stats", "carol", "--json").json["inboxes"]
    tap.equal([(i["inbox"], i["ready"], i["inFlight"], i["dead"]) for i in stats], [("carol", 3, 0, 0)], "inbox stats")
    tap.ok(stats[0]["oldestMs"] > 0, "and how old the oldest is")
    table = stage.ctl("inbox", "stats").out.splitlines()
    nobody = stage.ctl("inbox", "stats", "nobody")
    tap.ok(nobody.code == 66 and "agent list" in nobody.err and not nobody.out, "nobody has no inbox", str(nobody))
    starts = [table[0].index(heading) for heading in ("READY", "IN FLIGHT", "DEAD", "OLDEST")]
    tap.ok(
        len(table) > 3 and all(line[start - 1] == " " != line[start] for line in table[1:] for start in starts),
        "for people aligned",
        "\n".join(table),
    )
    stage.ack("carol", *stage.pull("carol", max=3))
    with stage.connect("alice"):
        sessions = stage.ctl("session", "list", "--json").json["sessions"]
        tap.equal([s["principal"] for s in sessions if s["state"] == "online"], ["alice"], "session list")
    queues = {q["name"]: q for q in stage.ctl("queue", "list", "--json").json["queues"]}
    tap.equal(queues["openclaw"]["waiting"], 0, "queue list")
    stage.stop_sweeper()
    stage.sql("select dbos_system.enqueue_workflow('nobodyKnows', 'openclaw', array['{}']::json[])")
    queues = {q["name"]: q for q in stage.ctl("queue", "list", "--json").json["queues"]}
    tap.ok(queues["openclaw"]["waiting"] == 1 and queues["openclaw"]["oldestMs"] >= 0, "with what waits", queues)
    stage.start_sweeper()


def watching(stage):
    """--watch looks again, also over an outage; message tail tells each change once."""
    process = start(stage, "inbox", "stats", "bob", "--watch", "--interval", "50ms", "--json")
    seen = lambda: json.loads(process.stdout.readline())["inboxes"][0]["ready"]
    before = seen()
    stage.accept("alice", "bob", "w1")
    deadline = time.monotonic() + DEADLINE
    while (now := seen()) == before and time.monotonic() < deadline:
        pass
    tap.equal((before, now), (0, 1), "inbox stats --watch shows what changes")
    process.send_signal(signal.SIGINT)
    process.wait(DEADLINE)
    process.communicate()

    tail = start(stage, "message", "tail", "--inbox", "bob", "--interval", "20ms", "--json")
    came = queue.Queue()
    threading.Thread(target=lambda: [came.put(line) for line in tail.stdout], daemon=True).start()
    heard = []

    def hear(key=None, state=None, seconds=DEADLINE):
        """Until this was told, or anything at all."""
        deadline = time.monotonic() + seconds
        while (key, state) not in heard and not (key is None and heard):
            try:
                line = json.loads(came.get(timeout=max(deadline - time.monotonic(), 0.01)))
            except queue.Empty:
                return False
            heard.append((line["id"], line["state"]))
        return True

    # its first look decides what is new: send until one is heard of
    for n in range(200):
        stage.accept("alice", "bob", f"t{n}")
        if hear(seconds=0.3):
            break
    tap.equal(heard[0][1], "ready", "message tail tells of a new message")
    stage.accept("alice", "carol", "elsewhere")
    stage.accept("alice", "bob", "last")
    hear("alice:last", "ready")
    while messages := stage.pull("bob", max=50):
        stage.ack("bob", *messages)
    tap.ok(hear("alice:last", "acked"), "and of its end", heard)
    tap.ok(not any(key == "alice:elsewhere" for key, _ in heard), "not of other inboxes")
    tap.equal(len(heard), len(set(heard)), "nothing twice")
    tail.kill()
    tail.wait()
    stage.ack("carol", *stage.pull("carol"))


def many(stage):
    """Bulk redrive and purge: by filter, dry, in pages, and called again."""
    count = 450
    stage.sql(
        "insert into dbos_system.notifications (destination_uuid, topic, message, message_uuid, serialization)"
        " select case when n % 3 = 0 then 'agent:carol' else 'agent:bob' end, '__null__topic__', '\"x\"',"
        f" 'many-' || n, 'portable_json' from generate_series(1, {count}) n;"
        "update openclaw.inbox i set state = 'dead', attempt = 1,"
        " due_at = openclaw.now_ms() - case when n.n < 100 then 7200000 else 0 end,"
        " reason = case when n.n % 2 = 0 then 'too odd' else 'timeout' end"
        f" from generate_series(1, {count}) n where i.message_uuid = 'many-' || n.n;"
        "update dbos_system.notifications set consumed = true where message_uuid like 'many-%';"
    )
    dead = "select count(*) from openclaw.inbox where state = 'dead' and message_uuid like 'many-%'"
    started = int(stage.value(dead))
    tap.equal(started, count, "there are many dead letters")
    dry = stage.ctl("message", "redrive", "--inbox", "carol", "--dry-run", "--json").json
    tap.equal((dry["matched"], dry["dryRun"]), (150, True), "--dry-run counts them")
    tap.equal(int(stage.value(dead)), count, "and changes nothing")
    result = stage.ctl("message", "redrive", "--inbox", "carol", "--reason", "odd", "--limit", "20", "--json")
    tap.equal((result.json["matched"], result.json["redriven"]), (20, 20), "--limit holds")
    result = stage.ctl("message", "redrive", "--inbox", "carol", "--reason", "odd", "--json")
    tap.equal((result.json["matched"], result.json["redriven"]), (55, 55), "called again it does the rest")
    left = stage.value(dead + " and agent_id = 'carol' and reason = 'too odd'")
    tap.equal(int(left), 0, "none of them is left")
    result = stage.ctl("message", "purge", "--older-than", "1h", "--from", "dbos", "--json")
    tap.equal(result.json["purged"], int(result.json["matched"]), "purge --older-than")
    young = "select count(*) from openclaw.inbox where state = 'dead' and due_at < openclaw.now_ms() - 3600000"
    tap.equal(int(stage.value(young)), 0, "takes the old ones")
    left = int(stage.value(dead))
    tap.ok(left > 200, "and leaves the others", left)
    listed = stage.ctl("message", "dead", "--limit", "3", "--json").json["deadLetters"]
    tap.equal(len(listed), 3, "message dead lists them")
    shown = stage.ctl("message", "dead", listed[0]["id"], "--json").json
    tap.equal((shown["id"], shown["content"]), (listed[0]["id"], "x"), "or shows one")
    result = stage.ctl("message", "purge", "--all", "--json")
    tap.equal((result.json["purged"], int(stage.value(dead))), (left, 0), "purge --all, over several pages")
    while messages := stage.pull("carol", max=50):
        stage.ack("carol", *messages)
    again = stage.ctl("message", "purge", "--all", "--json").json
    tap.equal((again["matched"], again["purged"]), (0, 0), "again there is nothing to do")

    stage.sql("update openclaw.agent set inbox_limit = 1 where agent_id = 'bob'")
    two = [stage.lead_to_death("alice", "bob", f"full{n}") for n in range(2)]
    full = stage.ctl("message", "redrive", "--from", "alice", "--json")
    tap.ok(full.code == 75 and full.json["inboxFull"] == 1 and full.json["redriven"] == 1,
           "what an inbox has no room for stays dead, and the exit status says so", (two, str(full)))
    stage.sql("update openclaw.agent set inbox_limit = null where agent_id = 'bob'")


def health(stage):
    well = stage.ctl("health", "--json")
    tap.equal((well.code, well.json["status"], well.json["sweeper"]), (0, "healthy", "running"), "health")
    stage.stop_sweeper()
    stage.sql("update openclaw.executor set seen_at = seen_at - 3600000 where kind = 'sweeper'")
    ill = stage.ctl("health", "--json").json
    tap.equal((ill["status"], ill["sweeper"]), ("degraded", "silent"), "without a sweeper it says so")
    stage.sql("update openclaw.setting set value = 'other' where name = 'functions_digest'")
    other = stage.ctl("health")
    tap.ok(other.code == 78 and "migrate" in other.err and not other.out, "and with another schema", str(other))


def help_text(stage):
    whole = stage.ctl("--help").out
    part = stage.ctl("message", "redrive", "--help")
    tap.ok(part.code == 0 and "--older-than" in part.out and "workflow fork" not in part.out, "a verb's own --help", part)
    group = stage.ctl("token", "--help").out
    tap.ok(all(word in group for word in ("token add", "token list", "token rotate", "token revoke"))
           and "message" not in group.split("\n\n", 1)[1].split("The exit")[0], "or that of its group", group)
    half = stage.ctl("heartbeat")
    tap.ok(half.code == 64 and '"heartbeat";' in half.err and "heartbeat --help" in half.err, "half a verb is told how to go on", half.err)
    tap.ok("message tail" in whole and "75 try again" in whole, "--help has all, with the exit statuses")


skip_without("initdb", "psql", "pgbouncer")
assert os.access(CTL, os.X_OK)
with Stage() as stage:
    send(stage)
    from_stdin(stage)
    listing(stage)
    watching(stage)
    many(stage)
    help_text(stage)
    health(stage)
sys.exit(tap.done())

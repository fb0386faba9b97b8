#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the responder does when something is away, killed, stopped, or too much."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import fastcgi
import responder
from cluster import Bouncer, skip_without
from responder import Gateway, Responder
from tap import Tap

tap = Tap()
RSS_LIMIT_KB = 16 * 1024


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def timed(function):
    began = time.monotonic()
    return function(), time.monotonic() - began


def database_away(gateway, http, alice):
    message = {"to": "bob", "content": "through"}
    http.get("/workflows", token=alice)  # the credential is known now
    gateway.cluster.stop("immediate")
    answer, took = timed(lambda: http.get("/health"))
    while answer.status == 200:  # what was found out a moment ago counts for a second
        answer, took = timed(lambda: http.get("/health"))
    body = answer.json()
    tap.equal((answer.status, body["status"], body["dbos"]), (503, "unhealthy", "disconnected"),
              "without a database the gateway is not healthy")
    tap.ok(took < 15, "and says so within two seconds", took)
    answer = http.get("/readyz")
    tap.equal(code_of(answer), (503, "UNAVAILABLE"), "nor ready")
    tap.equal(http.get("/healthz").status, 200, "but alive")
    answer, took = timed(lambda: http.post("/messages", message, {"Idempotency-Key": "k"}, token=alice))
    tap.equal(code_of(answer), (503, "UNAVAILABLE"), "a message is refused")
    tap.ok(int(answer.headers["retry-after"]) >= 1, "and who sent it told to come again")
    tap.ok(took < 15, "in time", took)
    answer = http.get("/workflows", token="never seen")
    tap.equal(code_of(answer), (503, "UNAVAILABLE"), "an unknown credential is not called wrong")
    gateway.cluster.start()
    answer = http.post("/messages", message, {"Idempotency-Key": "k"}, token=alice)
    tap.equal(answer.status, 200, "the same message is accepted when the database is back")
    count = gateway.value("select count(*) from openclaw.inbox where message_uuid = 'alice:k'")
    tap.equal(count, "1", "once")
    time.sleep(1.1)
    tap.equal(http.get("/readyz").status, 200, "and all is well by itself")


def restart_while_sending(gateway, http, alice):
    """What was asked while the database restarts is answered when it is there."""
    answers = []
    stop = threading.Event()

    def send(i):
        n = 0
        while not stop.is_set():
            key = f"r-{i}-{n}"
            answer = http.post("/messages", {"to": "bob", "content": n}, {"Idempotency-Key": key}, token=alice)
            answers.append((key, answer.status))
            n += answer.status == 200
            time.sleep(0.005)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.3)
        gateway.cluster.restart("immediate")
    time.sleep(0.3)
    killed = int(gateway.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = 'gateway' and pid <> pg_backend_pid()"
    ))
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(30)
    tap.ok(killed > 0, "connections were cut")
    tap.ok({status for _, status in answers} <= {200, 503}, "accepted or away, nothing else",
           {status for _, status in answers})
    accepted = {key for key, status in answers if status == 200}
    stored = set(gateway.execute(
        "select message_uuid from openclaw.inbox where message_uuid like 'alice:r-%';"
    ).replace("alice:", "").split())
    tap.ok(len(accepted) > 50, "many were accepted", len(accepted))
    tap.equal(accepted - stored, set(), "what was accepted is there")
    twice = gateway.value(
        "select count(*) from (select message_uuid from openclaw.inbox group by 1 having count(*) > 1) t"
    )
    tap.equal(twice, "0", "once each")


def in_doubt(gateway, http, alice):
    """The connection is cut while the call that accepts a message waits for a lock within it."""
    blocker = gateway.cluster.session("gateway")
    blocker.run("begin; lock table dbos_system.workflow_status in exclusive mode;")
    result = []
    thread = threading.Thread(target=lambda: result.append(
        http.post("/messages", {"to": "bob", "content": 1}, {"Idempotency-Key": "doubt"}, token=alice)
    ))
    thread.start()
    waits = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock'"
    gateway.cluster.wait_until(waits, "gateway")
    gateway.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock';"
    )
    gateway.cluster.wait_until(waits, "gateway")
    blocker.run("commit;")
    blocker.close()
    thread.join(30)
    tap.equal(result[0].status, 200, "a cut connection is another try")
    count = gateway.value("select count(*) from openclaw.inbox where message_uuid = 'alice:doubt'")
    tap.equal(count, "1", "and one message")


def pool_is_taken(gateway, http, alice):
    blocker = gateway.cluster.session("gateway")
    blocker.run("begin; lock table dbos_system.workflow_status in access exclusive mode;")
    answers = []

    def send():
        answers.append(timed(lambda: http.post("/messages", {"to": "bob", "content": 1}, token=alice)))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    tap.equal(http.get("/health").status, 200, "a busy pool is not a database that is away")
    for thread in threads:
        thread.join(30)
    blocker.run("rollback;")
    blocker.close()
    tap.equal({a.status for a, _ in answers}, {503}, "who finds no connection is told to come again")
    tap.ok(max(t for _, t in answers) < 6, "in time", [t for _, t in answers])
    tap.equal(http.post("/messages", {"to": "bob", "content": 1}, token=alice).status, 200, "then it goes on")


def many_at_once(http, alice):
    answers = []

    def work(i):
        for n in range(10):
            answers.append(
                http.post("/messages", {"to": "bob", "content": n}, {"Idempotency-Key": f"c-{i}-{n}"},
                          token=alice).status
            )

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    _, took = timed(lambda: [thread.start() for thread in threads] and [t.join() for t in threads])
    tap.equal((len(answers), set(answers)), (640, {200}), "64 at once, ten times")
    print(f"# {640 / took:.0f} messages per second")
    large = {"to": "bob", "content": "x" * 1000000}
    threads = [
        threading.Thread(target=lambda: answers.append(http.post("/messages", large, token=alice).status))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tap.ok(set(answers) <= {200, 503}, "and six of a megabyte, or too much at once", answers)
    time.sleep(0.5)
    for pid in http.workers():
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            rss = int(next(line for line in file if line.startswith("VmRSS")).split()[1])
        print(f"# resident {rss} kB")
        if os.environ.get("SANITIZER", "no") == "no":
            tap.ok(rss <= RSS_LIMIT_KB, "it stays small", f"{rss} kB")


def killed_workers(gateway, alice):
    """kill -9 of workers under load: queued connections are served by the others."""
    settings = {"HTTP_THREADS": 4}
    with Responder(gateway.cluster, settings, processes=2) as http:
        stop = threading.Event()
        history, lost = [], []

        def send(i):
            n = 0
            while not stop.is_set():
                key = f"w-{i}-{n}"
                try:
                    status = http.post(
                        "/messages", {"to": "bob", "content": n}, {"Idempotency-Key": key}, token=alice
                    ).status
                    history.append((key, status))
                    n += 1
                except (fastcgi.Lost, ConnectionError):
                    lost.append(key)

        threads = [threading.Thread(target=send, args=(i,)) for i in range(32)]
        for thread in threads:
            thread.start()
        kills = 0
        for _ in range(8):
            time.sleep(0.25)
            for pid in http.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                kills += 1
        stop.set()
        for thread in threads:
            thread.join(60)
        tap.ok(kills >= 6, "workers were killed", kills)
        tap.equal({status for _, status in history}, {200}, "whoever was answered was accepted")
        tap.ok(0 < len(lost) <= kills * 4, "only what a killed worker had in hand was lost",
               f"{len(lost)} lost, {kills} killed, 4 threads each")
        accepted = {key for key, _ in history}
        rows = gateway.execute(
            "select message_uuid from openclaw.inbox where message_uuid like 'alice:w-%';"
        ).replace("alice:", "").split()
        tap.equal(accepted - set(rows), set(), "what was accepted is there")
        tap.equal(len(rows), len(set(rows)), "once each")
        time.sleep(2.2)
        tap.equal(len(http.workers()), 2, "and there are two workers again")
        tap.equal(len(http.events("worker.died")), kills, "each death is a line")

        workers = http.workers()
        http.process.kill()
        http.process.wait()
        deadline = time.monotonic() + 5
        while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        tap.ok(not any(alive(pid) for pid in workers), "no worker survives its master")
        tap.ok(stat.S_ISSOCK(os.stat(http.path).st_mode), "which left its socket")
        http.start()
        tap.equal(http.get("/healthz").status, 200, "a new master takes its place")
        tap.equal(stat.S_IMODE(os.stat(http.path).st_mode), 0o660, "for its group and itself")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def drained(gateway, alice):
    """SIGTERM with callers that wait, one that is at work, and some in the queue."""
    with Responder(gateway.cluster, {"HTTP_THREADS": 6}) as http:
        gateway.acknowledge("bob", limit=100000)
        http.get("/workflows", token=alice)
        ready = "select count(*) from openclaw.inbox where state = 'ready'"
        before = int(gateway.cluster.value(ready, "gateway"))
        waiting, working, queued = [], [], []

        def wait():
            waiting.append(http.post("/messages", {"to": "bob", "content": 1}, {"Prefer": "wait=50"}, token=alice))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        gateway.cluster.wait_until(f"select ({ready}) >= {before + 3}", "gateway")
        blocker = gateway.cluster.session("gateway")
        blocker.run("begin; lock table openclaw.inbox in exclusive mode;")

        def work(results):
            results.append(http.post("/messages", {"to": "bob", "content": 2}, token=alice))

        threads += [threading.Thread(target=work, args=(working,)) for _ in range(3)]
        for thread in threads[3:]:
            thread.start()
        gateway.cluster.wait_until(
            "select count(*) >= 1 from pg_stat_activity where wait_event_type = 'Lock'", "gateway"
        )
        time.sleep(0.2)
        late = [threading.Thread(target=work, args=(queued,)) for _ in range(2)]
        for thread in late:
            thread.start()
        time.sleep(0.2)
        http.process.send_signal(signal.SIGTERM)
        for thread in threads[:3]:
            thread.join(10)
        tap.equal(
            [(a.status, a.json()["result"]["status"]) for a in waiting], [(200, "queued")] * 3,
            "waiting callers are told the truth so far",
        )
        tap.ok(http.process.poll() is None, "who is at work is waited for")
        tap.ok(not os.path.exists(http.path), "nobody new can come")
        blocker.run("commit;")
        blocker.close()
        for thread in threads + late:
            thread.join(20)
        tap.equal([a.status for a in working], [200] * 3, "and is answered")
        tap.equal([a.status for a in queued], [200] * 2, "as are those that had queued")
        tap.equal(http.process.wait(20), 0, "the end is in order")
        runtime = os.listdir(os.path.join(http.directory, "run"))
        bells = [name for name in runtime if name.endswith(".bell")]
        tap.equal(bells, [], "no bell is left")


def gone(gateway, http, alice):
    """Callers that go away while they wait give their places back."""
    gateway.acknowledge("bob", limit=100000)
    ready = "select count(*) from openclaw.inbox where state = 'ready'"
    before = int(gateway.cluster.value(ready, "gateway"))
    connections = []
    for _ in range(3):
        connection = fastcgi.Connection(http.path)
        body = b'{"to":"bob","content":1}'
        headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
        connection.begin()
        connection.params(http.variables("POST", "/messages", body, headers, alice))
        connection.stdin(body)
        connection.stdin(b"")
        connections.append(connection)
    gateway.cluster.wait_until(f"select ({ready}) >= {before + 3}", "gateway")
    wait = lambda: http.post("/messages", {"to": "bob", "content": 1}, {"Prefer": "wait=1"}, token=alice)
    tap.equal(wait().status, 503, "three wait, there is no place for another")
    for connection in connections:
        connection.close()
    time.sleep(1.5)
    tap.equal(wait().status, 200, "they have gone, there is")


def sockets(gateway, alice):
    """The socket is made by somebody else: as descriptor 0, and as systemd passes it."""
    for name in ("descriptor 0", "LISTEN_FDS"):
        directory = tempfile.mkdtemp(prefix="ocgw-fd-")
        path = os.path.join(directory, "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(path)
            listening.listen(64)
            program = os.path.join(responder.BUILD, "openclaw-gateway-http")
            environment = {**gateway.cluster.environment("gateway"), "GATEWAY_ENV": "/dev/null",
                           "HTTP_SOCKET": "/nonexistent/s", "RUNTIME_DIR": directory + "/run"}
            if name == "descriptor 0":
                process = subprocess.Popen([program], stdin=listening, env=environment,
                                           stderr=subprocess.DEVNULL)
            else:
                # the shell keeps its pid when it becomes the program
                command = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3<&%d' % listening.fileno()
                process = subprocess.Popen(["/bin/bash", "-c", command, program], env=environment,
                                           pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
            answer = fastcgi.request(path, "GET", "/healthz")
            tap.equal(answer.status, 200, f"a socket passed as {name} is used")
            process.terminate()
            tap.equal(process.wait(20), 0, "and left")
            tap.ok(os.path.exists(path), "where it is")
            with fastcgi.Connection(path) as connection:
                connection.begin()
                connection.params(fastcgi.variables("GET", "/healthz"))
                connection.stdin(b"")
                process = subprocess.Popen([program], stdin=listening, env=environment,
                                           stderr=subprocess.DEVNULL)
                tap.equal(connection.answer().status, 200, "who came in between is served by the next")
                process.terminate()
                process.wait(20)
        shutil.rmtree(directory)
    result = subprocess.run([program], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    tap.equal((result.returncode, b"HTTP_SOCKET" in result.stderr), (74, True),
              "a socket that cannot be made is said so")


def silent(gateway):
    """A connection that says nothing does not hold up the end."""
    with Responder(gateway.cluster, {"HTTP_THREADS": 4}) as http:
        connection = fastcgi.Connection(http.path)
        time.sleep(0.2)
        code, took = timed(http.stop)
        tap.ok(code == 0 and took < 15, "who says nothing is not waited for", took)
        connection.close()


def pooler_stops(gateway, alice):
    with Bouncer(gateway.cluster, server_connections=2) as bouncer:
        with Responder(bouncer, {"HTTP_THREADS": 8, "DB_TIMEOUT_MS": 1500}) as http:
            tap.equal(http.post("/messages", {"to": "bob", "content": 1}, token=alice).status, 200,
                      "through a pooler")
            bouncer.admin("pause")
            answer, took = timed(lambda: http.get("/health"))
            while answer.status == 200:
                answer, took = timed(lambda: http.get("/health"))
            tap.ok(answer.status == 503 and took < 15, "a paused pooler is not healthy, within two seconds", took)
            answer, took = timed(
                lambda: http.post("/messages", {"to": "bob", "content": 1}, {"Idempotency-Key": "p"}, token=alice)
            )
            tap.equal(answer.status, 503, "nor does it take messages")
            tap.ok("retry-after" in answer.headers and took < 15, "and says when to come again", took)
            bouncer.admin("resume")
            answer = http.post("/messages", {"to": "bob", "content": 1}, {"Idempotency-Key": "p"}, token=alice)
            tap.equal(answer.status, 200, "when it goes on, so do we")
            sessions = [
                bouncer.session("gateway") for _ in range(2)
            ]
            for session in sessions:
                session.run("begin; select 1;")
            answer = http.post("/messages", {"to": "bob", "content": 1}, token=alice)
            tap.equal(answer.status, 503, "all server connections taken is 503, not 500")
            for session in sessions:
                session.run("commit;")
                session.close()
            answer = http.post("/messages", {"to": "bob", "content": 1}, token=alice)
            tap.equal(answer.status, 200, "and passes")
            tap.equal(
                [e for e in http.events("http.request") if e["status"] == 500], [], "there was no 500"
            )


def starting_without(gateway, alice):
    """The responder starts before its database does."""
    gateway.cluster.stop()
    with Responder(gateway.cluster, {"HTTP_THREADS": 4, "DB_TIMEOUT_MS": 500}) as http:
        tap.equal(http.get("/health").status, 503, "it starts without a database")
        answer = http.get("/readyz")
        tap.equal(code_of(answer), (503, "UNAVAILABLE"), "it is not ready then")
        tap.ok(
            not any(word in str(answer.body) for word in ("connect:", "socket", ".s.PGSQL")),
            "and does not tell strangers where its database is",
            answer.body,
        )
        gateway.cluster.start()
        time.sleep(1.1)
        tap.equal(http.get("/health").status, 200, "and finds it when it is there")
        gateway.cluster.wait_until(
            "select count(*) = 1 from openclaw.executor where pid = " + str(http.workers()[0]), "gateway"
        )
        tap.ok(True, "and makes itself known")
    gateway.execute("alter table openclaw.setting rename to setting_gone;")
    with Responder(gateway.cluster, {"HTTP_THREADS": 4}) as http:
        tap.equal(code_of(http.get("/readyz")), (503, "SCHEMA_MISMATCH"), "another schema is not ready")
        tap.equal(http.get("/health").status, 503, "nor healthy")
    gateway.execute("alter table openclaw.setting_gone rename to setting;")
    gateway.execute("update openclaw.setting set value = 'older' where name = 'functions_digest';")
    with Responder(gateway.cluster, {"HTTP_THREADS": 4}) as http:
        answer = http.get("/readyz")
        tap.equal(code_of(answer), (503, "SCHEMA_MISMATCH"), "nor are other functions")
        tap.ok("gatewayctl migrate" in answer.json()["detail"], "and it says what to do")
        answer = http.post("/messages", {"to": "bob", "content": 1}, token=alice)
        tap.equal(answer.status, 200, "though what works goes on")


def main():
    skip_without("initdb", "psql", "pgbouncer")
    with Gateway() as gateway:
        alice = gateway.agent("alice")
        gateway.agent("bob")
        settings = {"HTTP_THREADS": 64, "DB_TIMEOUT_MS": 1500, "INBOX_LIMIT": 1000000}
        with Responder(gateway.cluster, settings) as http:
            many_at_once(http, alice)
            database_away(gateway, http, alice)
            restart_while_sending(gateway, http, alice)
            in_doubt(gateway, http, alice)
            pool_is_taken(gateway, http, alice)
            tap.equal([e for e in http.events("http.request") if e["status"] == 500], [], "there was no 500")
        killed_workers(gateway, alice)
        drained(gateway, alice)
        with Responder(gateway.cluster, {"HTTP_THREADS": 6}) as http:
            gone(gateway, http, alice)
        silent(gateway)
        sockets(gateway, alice)
        pooler_stops(gateway, alice)
        starting_without(gateway, alice)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

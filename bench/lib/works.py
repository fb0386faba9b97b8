# SPDX-License-Identifier: MIT
"""What is measured. A work has a name and up to three sides: the gateway, the peer, PostgreSQL itself."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from machine import cpu_seconds, memory_kb, processes

HERE = os.path.dirname(os.path.abspath(__file__))
LUA = os.path.join(HERE, "..", "load", "post.lua")
COUNTERS = """
    select (select xact_commit from pg_stat_database where datname = '%s') as commits,
           wal_sync, wal_bytes, wal_records
    from pg_stat_wal
"""


class Work:
    def __init__(self, name, gateway=None, peer=None, postgres=None, once=False, key="per_second"):
        self.name, self.gateway, self.peer, self.postgres = name, gateway, peer, postgres
        self.once = once
        self.key = key  # the figure whose ratio is told


class Cost:
    """Transactions, flushes, WAL and processor time of what runs inside, for each message."""

    def __init__(self, setting, side):
        self.setting, self.side = setting, side
        self.database = "peer" if side == "peer" else "openclaw"

    def read(self):
        time.sleep(1.2)  # the statistics of a backend come in once a second
        row = self.setting.stack.rows(COUNTERS % self.database)[0]
        counters = {name: float(value) for name, value in row.items()}
        counters["cpu"] = {name: cpu_seconds(pids) for name, pids in self.setting.pids(self.side).items()}
        return counters

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        self.after = self.read()

    def figures(self, messages):
        if not messages:
            return {}
        each = {
            name: round((self.after[name] - self.before[name]) / messages, 3)
            for name in ("commits", "wal_sync", "wal_bytes", "wal_records")
        }
        cpu = {
            name: round(1e6 * (self.after["cpu"][name] - self.before["cpu"].get(name, 0)) / messages, 1)
            for name in self.after["cpu"]
        }
        return {"per_message": each, "cpu_us_per_message": cpu}


# ---- HTTP -------------------------------------------------------------------------------------------


def wrk(url, connections, seconds, token=""):
    """wrk with bench/load/post.lua; the token goes by the environment, not by argv."""
    output = subprocess.run(
        ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "-s", LUA, url],
        env=dict(os.environ, TOKEN=token),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output[output.rindex("{") :])


def http_accept(connections):
    def gateway(setting, seconds):
        return wrk(setting.stack.url + "/messages", connections, seconds, setting.agents[0][1])

    def peer(setting, seconds):
        return wrk(setting.peer_url + "/messages", connections, seconds)

    return Work(f"http.accept.{connections}", gateway, peer)


def http_cost(connections):
    def side(name):
        def function(setting, seconds):
            with Cost(setting, name) as cost:
                url = setting.peer_url if name == "peer" else setting.stack.url
                token = "" if name == "peer" else setting.agents[0][1]
                figures = wrk(url + "/messages", connections, seconds, token)
            figures.update(cost.figures(figures["done"]))
            return figures

        return function

    return Work(f"http.cost.{connections}", side("gateway"), side("peer"))


def batch(setting, seconds):
    lines = "\n".join(json.dumps({"to": "a399", "content": f"message {i}"}) for i in range(1000)).encode()
    done, times, end = 0, [], time.monotonic() + seconds
    while time.monotonic() < end:
        request = urllib.request.Request(
            setting.stack.url + "/messages/batch",
            lines,
            {"Authorization": "Bearer " + setting.agents[0][1], "Content-Type": "application/x-ndjson"},
        )
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        times.append(1000 * (time.monotonic() - began))
        done += 1000
    return {"done": done, "per_second": done / seconds, "p50_ms": sorted(times)[len(times) // 2]}


# ---- PostgreSQL itself ---------------------------------------------------------------------------------


def accept_script():
    """One accept as the responder calls it, for pgbench: the same function, one message."""
    return r"""
select ord from openclaw.workflow_commit(
  'bench', 'openclaw-gateway', 'openclaw-1', true, false, 100000000,
  array[:'id'], array['routeAgentMessage'], array[true], array[:'id'], array['a0'],
  array['{"positionalArgs":[{"from":"a0","to":"a399","content":"a message of ordinary length, as agents exchange them all day long"}],"namedArgs":{}}'],
  array['DELAYED'], array[604800000], array[null], array[null],
  array[1], array[0], array['validateMessage'], array['{"valid":true}'], array[null], array[null], array[0], array[0],
  array[1], array[1], array['storeMessage'], array['a399'], array[:'id'],
  array['{"messageId":"m","from":"a0","to":"a399","content":"a message of ordinary length, as agents exchange them all day long"}'],
  array['a0'], array[2], array[null], array[0, 0, 10, 0, 604800000],
  array[1], array[1], array['accepted'], array[null]);
"""


def pgbench(connections):
    def postgres(setting, seconds):
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write("select gen_random_uuid() as id \\gset\n" + accept_script())
            script.flush()
            output = subprocess.run(
                ["pgbench", "-n", "-f", script.name, f"-c{connections}", f"-T{seconds}", setting.stack.env["DATABASE_URL"]],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        return {
            "per_second": float(re.search(r"tps = ([\d.]+)", output).group(1)),
            "p50_ms": float(re.search(r"latency average = ([\d.]+)", output).group(1)),
        }

    return postgres


def against_pgbench(connections):
    work = http_accept(connections)
    return Work(f"http.against.pgbench.{connections}", work.gateway, None, pgbench(8))


# ---- WebSocket --------------------------------------------------------------------------------------------


def wsload(setting, mode, count, seconds, url, tokens=None, *more):
    command = [setting.wsload, mode, "--url", url, "--count", str(count), "--seconds", str(seconds)]
    output = subprocess.run(
        command + (["--tokens", tokens] if tokens else []) + list(more), check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output)


def ws_url(url):
    return url.replace("http:", "ws:") + "/"


def ws_send(count):
    def gateway(setting, seconds):
        tokens = setting.tokens(count)
        return wsload(setting, "send", count, seconds, ws_url(setting.stack.url), tokens, "--to", "a399")

    def peer(setting, seconds):
        return wsload(setting, "send", count, seconds, ws_url(setting.peer_url), None, "--dialect", "bare")

    return Work(f"ws.send.{count}", gateway, peer)


def delivery(count):
    def gateway(setting, seconds):
        tokens = setting.tokens(count, count)
        with Cost(setting, "gateway") as cost:
            figures = wsload(setting, "pairs", count, seconds, ws_url(setting.stack.url), tokens)
        figures.update(cost.figures(figures["done"]))
        return figures

    # the peer delivers to nobody: its mere send is what the delivery is held against
    return Work(f"ws.delivery.{count}", gateway, ws_send(count).peer)


def fanin(count):
    def gateway(setting, seconds):
        tokens = setting.tokens(count, 1, first=300)
        return wsload(setting, "fanin", count, seconds, ws_url(setting.stack.url), tokens)

    return Work(f"ws.fanin.{count}", gateway)


def ws_open(setting, _seconds):
    return wsload(setting, "open", 200, 1, ws_url(setting.stack.url), setting.tokens(200))


def ws_idle(count):
    def gateway(setting, _seconds):
        tokens = setting.tokens(count % 400 or 400)
        with open(tokens, encoding="ascii") as file:
            lines = file.readlines()
        with open(tokens, "w", encoding="ascii") as file:
            file.writelines(lines[i % len(lines)] for i in range(count))
        before = sum(memory_kb(pid) for pid in setting.pids("gateway")["websocketd"])
        load = subprocess.Popen(
            [setting.wsload, "idle", "--url", ws_url(setting.stack.url), "--count", str(count), "--seconds", "8", "--tokens", tokens],
            stdout=subprocess.PIPE,
            text=True,
        )
        load.stdout.readline()
        time.sleep(4)
        sessions = processes(r"openclaw-gateway-session")
        figures = {
            "sessions": len(sessions),
            "session_pss_kb": round(sum(memory_kb(pid) for pid in sessions) / max(len(sessions), 1)),
            "websocketd_kb_each": round(
                (sum(memory_kb(pid) for pid in setting.pids("gateway")["websocketd"]) - before) / max(len(sessions), 1)
            ),
            "server_connections": int(setting.stack.value("select count(*) from pg_stat_activity where datname = 'openclaw'")),
        }
        figures["pss_mb"] = round((figures["session_pss_kb"] + figures["websocketd_kb_each"]) / 1024, 3)
        load.wait()
        return figures

    return Work(f"ws.idle.{count}", gateway, once=True, key="pss_mb")


# ---- memory, recovery ---------------------------------------------------------------------------------------


def memory(setting, seconds):
    figures = {"idle_mb": biggest(setting, "Rss")}
    peak = {}
    load = threading.Thread(target=lambda: wrk(setting.stack.url + "/messages", 64, seconds, setting.agents[0][1]))
    load.start()
    while load.is_alive():
        for name, value in biggest(setting, "Rss").items():
            peak[name] = max(peak.get(name, 0), value)
        time.sleep(0.2)
    load.join()
    figures["loaded_mb"] = peak
    return figures


def biggest(setting, what):
    return {
        name: round(max((memory_kb(pid, what) for pid in pids), default=0) / 1024, 1)
        for name, pids in setting.pids("gateway").items()
    }


def recovery(setting, _seconds):
    """An executor with 200 unfinished workflows is killed; until the last one is settled."""
    owner = subprocess.Popen(["sleep", "600"])
    with open(f"/proc/{owner.pid}/stat", encoding="ascii") as file:
        started = file.read().rpartition(")")[2].split()[19]
    name = f"bench-{time.monotonic_ns()}"
    setting.stack.execute(
        f"""
        select openclaw.executor_register('{name}', 'http',
          (select host from openclaw.executor where kind = 'sweeper' and ended_at is null limit 1),
          {owner.pid}, {started}, null, null);
        insert into dbos_system.workflow_status (workflow_uuid, status, name, executor_id, owner_xid,
          application_name, application_version, serialization, recovery_attempts, authenticated_user)
        select '{name}-' || n, 'PENDING', 'delayedGreeting', '{name}', '{name}', 'openclaw-gateway',
          'openclaw-1', 'portable_json', 1, 'a0'
        from generate_series(1, 200) n;
        insert into dbos_system.workflow_input (workflow_uuid, inputs)
        select '{name}-' || n, '{{"positionalArgs":[{{"to":"a398","name":"World","delayMs":0}}],"namedArgs":{{}}}}'
        from generate_series(1, 200) n;
        """
    )
    time.sleep(1)
    began = time.monotonic()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    unfinished = f"select count(*) from dbos_system.workflow_status where workflow_uuid like '{name}-%' and status <> 'SUCCESS'"
    while setting.stack.value(unfinished) != "0" and time.monotonic() < began + 60:
        time.sleep(0.05)
    return {"seconds_to_last": round(time.monotonic() - began, 2)}


ALL = [
    *(http_accept(n) for n in (1, 8, 32, 64)),
    against_pgbench(32),
    http_cost(1),
    Work("http.batch.1000", batch),
    *(ws_send(n) for n in (1, 50, 200)),
    *(delivery(n) for n in (1, 50, 200)),
    fanin(50),
    Work("ws.open", ws_open),
    ws_idle(200),
    ws_idle(1000),
    Work("memory", memory, once=True, key="loaded_mb"),
    Work("recovery.200", recovery, key="seconds_to_last"),
]

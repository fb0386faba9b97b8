# SPDX-License-Identifier: MIT
"""What is measured. A work has a name and sides: the gateway and the peer, or a limit of both (limits.py)."""

import json
import os
import signal
import subprocess
import time
import urllib.request

import limits
import settled
from cost import Cost, counted
from limits import CONTENT, SINKS
from machine import Failed, load_seconds, memory_kb

HERE = os.path.dirname(os.path.abspath(__file__))
LUA = os.path.join(HERE, "..", "load", "post.lua")


class Work:
    """against: the work whose other side this one is held against, where it has none of its own."""

    def __init__(self, name, gateway=None, peer=None, limit=None, once=False, key="per_second", against=None, asked=False):
        self.name, self.gateway, self.peer, self.limit = name, gateway, peer, limit
        self.once, self.key, self.against = once, key, against
        self.asked = asked  # only where --only names it


# ---- HTTP -------------------------------------------------------------------------------------------


def wrk(url, connections, seconds, token="", to=f"a{SINKS}"):
    """wrk with bench/load/post.lua; the token goes by the environment, not by argv."""
    used = load_seconds()
    output = subprocess.run(
        ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "-s", LUA, url],
        env=dict(os.environ, TOKEN=token, RECIPIENT=to),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    figures = json.loads(output[output.rindex("{") :])
    figures["cpu_share"] = round((load_seconds() - used) / seconds, 3)
    return figures


def http_post(setting, side, connections, seconds):
    if side == "peer":
        return wrk(setting.peer_url + "/messages", connections, seconds)
    return wrk(setting.stack.url + "/messages", connections, seconds, setting.agents[0][1])


def http_accept(connections):
    def side(name):
        def function(setting, seconds):
            with Cost(setting, name) as cost:
                figures = http_post(setting, name, connections, seconds)
            return cost.add(figures, figures["done"])

        return function

    return Work(f"http.accept.{connections}", side("gateway"), side("peer"))


def batch(setting, seconds):
    lines = "\n".join(json.dumps({"to": f"a{SINKS}", "content": f"{i} {CONTENT}"}) for i in range(1000)).encode()
    times, began = [], time.monotonic()
    with Cost(setting, "gateway") as cost:
        while time.monotonic() < began + seconds:
            request = urllib.request.Request(
                setting.stack.url + "/messages/batch",
                lines,
                {"Authorization": "Bearer " + setting.agents[0][1], "Content-Type": "application/x-ndjson"},
            )
            sent = time.monotonic()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times.append(1000 * (time.monotonic() - sent))
        took = time.monotonic() - began
    times.sort()
    done = 1000 * len(times)
    figures = {"done": done, "per_second": done / took, "p50_ms": times[len(times) // 2], "max_ms": times[-1]}
    return cost.add(figures, done)


# ---- WebSocket --------------------------------------------------------------------------------------------


def ws_url(setting, side):
    return (setting.peer_url if side == "peer" else setting.stack.url).replace("http:", "ws:") + "/"


def wsload(setting, side, mode, count, seconds, tokens=None, *more, cost=None):
    """side: or a URL; cost: counts from when all connections are open to when the last message is done."""
    url = side if side.startswith("ws:") else ws_url(setting, side)
    command = [setting.wsload, mode, "--url", url, "--count", str(count), "--seconds", str(seconds)]
    command += (["--tokens", tokens] if tokens else []) + list(more) + (["--start", "asked"] if cost else [])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        if cost and load.stdout.readline() == "ready\n":
            with cost:
                load.stdin.write("go\n")
                load.stdin.close()
                line = load.stdout.readline()
        else:
            line = load.stdout.readline()
        failure = load.stderr.read()
    if load.returncode != 0 or not line:
        raise Failed(f"wsload {mode} {count}: {failure.strip()}")
    figures = json.loads(line)
    return cost.add(figures, figures["done"]) if cost else figures


def ws_send(count):
    def gateway(setting, seconds):
        return wsload(setting, "gateway", "send", count, seconds, setting.tokens(count), "--to", f"a{SINKS}", cost=Cost(setting, "gateway"))

    def peer(setting, seconds):
        return wsload(setting, "peer", "send", count, seconds, None, "--dialect", "bare", cost=Cost(setting, "peer"))

    return Work(f"ws.send.{count}", gateway, peer)


def delivery(count):
    def gateway(setting, seconds):
        return wsload(setting, "gateway", "pairs", count, seconds, setting.tokens(count, count), cost=Cost(setting, "gateway"))

    # the peer delivers to nobody: its mere send is what the delivery is held against
    return Work(f"ws.delivery.{count}", gateway, against=f"ws.send.{count}")


def fanin(count):
    def gateway(setting, seconds):
        return wsload(setting, "gateway", "fanin", count, seconds, setting.tokens(count, 1, first=SINKS - count - 2), cost=Cost(setting, "gateway"))

    return Work(f"ws.fanin.{count}", gateway)


def ws_open(setting, _seconds):
    return wsload(setting, "gateway", "open", 200, 1, setting.tokens(200))


def held_open(setting, count, seconds):
    """That many authenticated WebSockets, for a while."""
    tokens = setting.tokens(200, repeat=count // 200)
    command = [setting.wsload, "idle", "--url", ws_url(setting, "gateway"), "--count", str(count)]
    load = subprocess.Popen(command + ["--seconds", str(seconds), "--tokens", tokens], stdout=subprocess.PIPE, text=True)
    if load.stdout.readline() != "ready\n":
        raise Failed(f"{count} WebSockets could not be opened")
    return load


def ws_idle(count, busy=0):
    """What an idle WebSocket holds; and, with some busy beside them, how many server connections."""

    def gateway(setting, seconds):
        websocketd = [setting.stack.pid("websocketd")]
        before = sum(map(memory_kb, websocketd))
        load = held_open(setting, count, seconds + 60)
        time.sleep(4)  # an idle session closes its connection after two seconds
        sessions = setting.stack.sessions()
        figures = {
            "sessions": len(sessions),
            "session_pss_kb": round(sum(map(memory_kb, sessions)) / max(len(sessions), 1)),
            "websocketd_kb_each": round((sum(map(memory_kb, websocketd)) - before) / max(len(sessions), 1)),
        }
        figures["pss_mb"] = round((figures["session_pss_kb"] + figures["websocketd_kb_each"]) / 1024, 3)
        if busy:
            figures.update(server_connections(setting, busy, seconds))
        load.terminate()
        load.wait()
        return figures

    return Work(f"ws.idle.{count}", gateway, once=True, key="pss_mb")


def server_connections(setting, busy, seconds):
    tokens = setting.tokens(busy, busy, first=200)
    command = [setting.wsload, "pairs", "--url", ws_url(setting, "gateway"), "--count", str(busy)]
    load = subprocess.Popen(command + ["--seconds", str(seconds), "--tokens", tokens], stdout=subprocess.PIPE, text=True)
    most = 0
    while load.poll() is None:
        sql = "select count(*) from pg_stat_activity where datname = 'openclaw' and backend_type = 'client backend' and pid <> pg_backend_pid()"
        most = max(most, int(setting.stack.value(sql)))
        time.sleep(0.1)
    return {"server_connections": most, "busy_per_second": json.loads(load.stdout.read())["per_second"]}


# ---- memory, start, recovery ---------------------------------------------------------------------------------


def resident(setting, side):
    return {
        name: round(max((memory_kb(pid, "Rss") for pid in pids), default=0) / 1024, 1)
        for name, pids in setting.pids(side).items()
        if name not in ("sessions", "postgres")
    }


def memory(side):
    def function(setting, seconds):
        figures = {"idle_mb": resident(setting, side)}
        peak = {}
        url = setting.peer_url if side == "peer" else setting.stack.url
        token = "" if side == "peer" else setting.agents[0][1]
        load = subprocess.Popen(
            ["wrk", "-t2", "-c64", f"-d{seconds}s", "-s", LUA, url + "/messages"],
            env=dict(os.environ, TOKEN=token, RECIPIENT=f"a{SINKS}"),
            stdout=subprocess.DEVNULL,
        )
        while load.poll() is None:
            for name, value in resident(setting, side).items():
                peak[name] = max(peak.get(name, 0), value)
            time.sleep(0.2)
        figures["loaded_mb"] = peak
        figures["rss_mb"] = peak["peer" if side == "peer" else "responder"]
        return figures

    return function


def cold_start(setting, _seconds):
    """From kill -9 of the responder, master and workers, to the first answer of the next one; the
    supervisor's pause of a second before it starts one again is in it."""
    gone = setting.stack.pids("http")
    began = time.monotonic()
    for pid in gone:
        os.kill(pid, signal.SIGKILL)
    while time.monotonic() < began + 60:
        try:
            if setting.stack.http("GET", "/healthz", timeout=2)[0] == 200:
                return {"start_s": round(time.monotonic() - began, 3)}
        except OSError:
            pass
        time.sleep(0.005)
    raise Failed("the responder did not come back")


def peer_start(setting, _seconds):
    setting.stop_peer()
    return {"start_s": round(setting.start_peer(), 3)}


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
        select '{name}-' || n, '{{"positionalArgs":[{{"to":"a{SINKS + 1}","name":"World","delayMs":0}}],"namedArgs":{{}}}}'
        from generate_series(1, 200) n;
        """
    )
    time.sleep(1)
    began = time.monotonic()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    unfinished = f"select count(*) from dbos_system.workflow_status where workflow_uuid like '{name}-%' and status <> 'SUCCESS'"
    while setting.stack.value(unfinished) != "0":
        if time.monotonic() > began + 60:
            raise Failed("after 60 seconds not all of the 200 workflows are settled")
        time.sleep(0.05)
    return {"seconds_to_last": round(time.monotonic() - began, 2)}


# ---- what a message costs, counted --------------------------------------------------------------------------


def counted_accept(side):
    return lambda setting, seconds: counted(setting, side, lambda: http_post(setting, side, 1, seconds))


def counted_delivery(setting, seconds):
    """Accepted, claimed, delivered and acknowledged, one after the other."""
    return counted(setting, "gateway", lambda: wsload(setting, "gateway", "pairs", 1, seconds, setting.tokens(1, 1, first=430)))


def counted_settle(setting, _seconds):
    """Only the acknowledgements of what had been accepted and claimed before."""
    inbox, token = f"/agents/a{SINKS - 1}/inbox", setting.agents[SINKS - 1][1]
    for _ in range(100):
        setting.stack.http("POST", "/messages", {"to": f"a{SINKS - 1}", "content": CONTENT}, setting.agents[0][1])
    _, answer, _ = setting.stack.http("GET", inbox + "?max=100&leaseMs=600000", token=token)
    deliveries = [message["deliveryId"] for message in answer["messages"]]

    def acknowledge():
        times = []
        for delivery in deliveries:
            began = time.monotonic()
            setting.stack.http("POST", inbox + "/ack", {"deliveryId": delivery}, token)
            times.append(1000 * (time.monotonic() - began))
        times.sort()
        return {"done": len(times), "p50_ms": times[len(times) // 2], "p99_ms": times[-1 - len(times) // 100]}

    return counted(setting, "gateway", acknowledge)


# ---- ten million settled messages -----------------------------------------------------------------------------


def throughput_with_history(setting, seconds):
    """Accepts per second in turn on a stack with that history and on one without."""
    ratios = []
    with settled.Beside(setting) as beside:
        for _ in range(5):
            full = http_post(setting, "gateway", 32, seconds)["per_second"]
            empty = wrk(beside.url + "/messages", 32, seconds, beside.token, beside.agent)["per_second"]
            ratios.append(full / empty)
            print(f"      {full:.0f} with {setting.rows} settled messages, {empty:.0f} without", flush=True)
    ratios.sort()
    return {"rows": setting.rows, "ratios": ratios, "ratio": ratios[2], **settled.size(setting)}


ALL = [
    *(http_accept(n) for n in (1, 8)),
    http_accept(32),
    Work("limit.accept.32", limit=limits.accepts(32)),
    http_accept(64),
    Work("http.batch.1000", batch),
    *(ws_send(n) for n in (1, 50, 200)),
    Work("limit.accept.50", limit=limits.accepts(50)),
    Work("limit.echo.50", limit=limits.echoes(wsload, 50)),
    *(delivery(n) for n in (1, 50, 200)),
    Work("limit.delivery.1", limit=limits.deliveries(1)),
    Work("limit.delivery.50", limit=limits.deliveries(50)),
    fanin(50),
    Work("ws.open", ws_open),
    Work("limit.open.libpq", limit=limits.opened(wsload, True)),
    Work("limit.open.bare", limit=limits.opened(wsload, False)),
    Work("recovery.200", recovery, key="seconds_to_last"),
    Work("start", cold_start, peer_start, key="start_s"),
    Work("cost.accept", counted_accept("gateway"), counted_accept("peer"), once=True, key="wal_bytes"),
    Work("cost.settled", counted_settle, once=True, key="wal_bytes"),
    Work("cost.delivered", counted_delivery, once=True, key="wal_bytes", against="cost.accept"),
    Work("limit.wal", limit=limits.wal, once=True, key="wal_bytes"),
    ws_idle(200),
    ws_idle(1000, busy=50),
    Work("memory", memory("gateway"), memory("peer"), once=True, key="rss_mb"),
    Work("history", throughput_with_history, once=True, key="ratio", asked=True),
]

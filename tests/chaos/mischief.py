# SPDX-License-Identifier: MIT
"""Does to a running stack what the schedule says, and sees that it happened.

    mischief = Mischief(world)
    mischief.perform(fault)     a dict of evidence; AssertionError where the fault could not be made
"""

import os
import signal
import time

from clients import LEASE_MS, HttpReceiver, HttpSender, WsReceiver, WsSender
from cluster import SqlError
from faults import alive
from stack import wait

PATIENCE = 30.0  # for a victim to appear, and for a service to be back
STOP_SECONDS = (LEASE_MS / 1000 * 1.25, LEASE_MS / 1000 * 2)
PAUSE_SECONDS = (1.0, 5.0)  # the second is beyond the pooler's query_wait_timeout

# For a moment ends every backend that is seen waiting for its commit to reach the disk, or that runs a
# statement at all; tells how many of either.
TERMINATE = """
do $$
declare
  v_end constant timestamptz := clock_timestamp() + interval '500 ms';
  v_in_commit integer := 0;
  v_active integer := 0;
  v_commit integer;
  v_other integer;
begin
  while clock_timestamp() < v_end loop
    perform pg_stat_clear_snapshot();
    select
      count(*) filter (where b.in_commit and b.ended),
      count(*) filter (where not b.in_commit and b.ended)
    into v_commit, v_other
    from (
      select
        a.wait_event in ('WALSync', 'WALWrite', 'WALWriteLock') or a.query ilike 'commit%%' as in_commit,
        pg_terminate_backend(a.pid) as ended
      from pg_stat_activity a
      where a.backend_type = 'client backend'
        and a.state = 'active'
        and a.usename in ('openclaw_gateway', 'openclaw_sweeper')
        and (%s or a.wait_event in ('WALSync', 'WALWrite', 'WALWriteLock') or a.query ilike 'commit%%')
    ) b;
    v_in_commit := v_in_commit + coalesce(v_commit, 0);
    v_active := v_active + coalesce(v_other, 0);
    perform pg_sleep(0.001);
  end loop;
  perform set_config('chaos.terminated', v_in_commit || ' ' || v_active, false);
end
$$;
select current_setting('chaos.terminated');
"""


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()[0]


class Mischief:
    def __init__(self, world):
        self.world, self.stack = world, world.stack
        self.table = {
            "kill responder worker": lambda draw: self.kill(self.workers, draw),
            "kill responder master": lambda draw: self.signal_service("http", signal.SIGKILL),
            "kill session of a sender": lambda draw: self.kill_session(WsSender, draw),
            "kill session of a receiver": lambda draw: self.kill_session(WsReceiver, draw),
            "kill websocketd": lambda draw: self.signal_service("websocketd", signal.SIGKILL),
            "kill sweeper": self.kill_sweeper,
            "kill relay": lambda draw: self.signal_service("relay", signal.SIGKILL),
            "restart relay": lambda draw: self.signal_service("relay", signal.SIGTERM),
            "kill front server": lambda draw: self.signal_service(self.stack.front, signal.SIGKILL),
            "kill PgBouncer": lambda draw: self.signal_service("pgbouncer", signal.SIGKILL),
            "restart PgBouncer": lambda draw: self.signal_service("pgbouncer", signal.SIGTERM),
            "pause PgBouncer": self.pause_pooler,
            "kill PostgreSQL (immediate)": lambda draw: self.restart_postgres(signal.SIGQUIT),
            "restart PostgreSQL": lambda draw: self.restart_postgres(signal.SIGINT),
            "terminate backends in COMMIT": self.terminate,
            "stop session of a receiver": lambda draw: self.stop_session(WsReceiver, draw),
            "stop responder worker": lambda draw: self.stop(self.workers, draw),
            "stop sweeper": lambda draw: self.stop(lambda: [self.stack.pid("sweeper")], draw),
            "stop relay": lambda draw: self.stop(lambda: [self.stack.pid("relay")], draw),
            "cut HTTP sender": lambda draw: self.cut(HttpSender, draw),
            "cut WebSocket sender": lambda draw: self.cut(WsSender, draw),
            "cut HTTP receiver": lambda draw: self.cut(HttpReceiver, draw),
            "cut WebSocket receiver": lambda draw: self.cut(WsReceiver, draw),
            "take the inbox over": self.take_over,
        }

    def perform(self, fault):
        return self.table[fault.kind](fault.draw)

    # ---- victims

    def clients(self, kind):
        """Those that have trouble enough with their own messages are spared."""
        return [
            client
            for client in self.world.clients
            if isinstance(client, kind) and getattr(client, "poison", None) is None
        ]

    def client(self, kind, draw):
        clients = self.clients(kind)
        return clients[int(draw * len(clients))]

    def workers(self):
        return [pid for pid in self.stack.pids("http") if pid != self.stack.pid("http")]

    def sessions(self, principal):
        try:
            rows = self.stack.rows(
                # also those that another host has taken for dead, and that are not
                "select pid from openclaw.executor where kind = 'session'"
                f" and principal_id = '{principal}' order by started_at desc limit 20"
            )
        except SqlError:
            return []
        there = set(self.stack.sessions())
        return sorted(int(row["pid"]) for row in rows if int(row["pid"]) in there)

    @staticmethod
    def one_of(find, draw):
        pids = wait(lambda: [pid for pid in find() if pid and alive(pid)], "a victim", PATIENCE)
        return pids[int(draw * len(pids))]

    # ---- kills

    def kill(self, find, draw):
        pid = self.one_of(find, draw)
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        wait(lambda: not alive(pid), f"{pid} is dead", PATIENCE)
        return {"pid": pid, "at": at}

    def kill_session(self, kind, draw):
        client = self.client(kind, draw)
        return {"client": client.name, **self.kill(lambda: self.sessions(client.principal), draw)}

    def kill_sweeper(self, draw):
        """Of this host, or the one that passes for another's."""
        if draw < 0.7:
            return self.signal_service("sweeper", signal.SIGKILL)
        return {"host": "another", **self.kill(lambda: [self.world.remote.pid], draw)}

    def signal_service(self, service, number):
        pid = self.stack.wait_running(service, timeout=PATIENCE)
        at = time.time()
        os.kill(pid, number)
        self.stack.wait_running(service, not_pid=pid, timeout=PATIENCE)
        assert not alive(pid), f"{service} {pid} outlived its signal {number}"
        return {"pid": pid, "at": at}

    def restart_postgres(self, number):
        evidence = self.signal_service("postgres", number)

        def answers():
            try:
                return self.stack.value("select 1") == "1"
            except SqlError:
                return False

        wait(answers, "PostgreSQL answers", PATIENCE)
        return {**evidence, "back": time.time()}

    # ---- stops

    def stop(self, find, draw):
        pid = self.one_of(find, draw)
        low, high = STOP_SECONDS
        at = time.time()
        os.kill(pid, signal.SIGSTOP)
        wait(lambda: state_of(pid) == "T", f"{pid} is stopped", PATIENCE)
        try:
            time.sleep(low + (high - low) * draw)
            assert state_of(pid) == "T", f"{pid} did not stay stopped"
        finally:
            self.world.continued.append(time.time())
            os.kill(pid, signal.SIGCONT)
        return {"pid": pid, "at": at, "seconds": time.time() - at}

    def stop_session(self, kind, draw):
        client = self.client(kind, draw)
        return {"client": client.name, **self.stop(lambda: self.sessions(client.principal), draw)}

    # ---- the pooler and the backends

    def pause_pooler(self, draw):
        low, high = PAUSE_SECONDS
        at = time.time()
        paused = []
        try:
            for database in ("openclaw", "openclaw_sweeper"):
                self.stack.admin(f"pause {database}")  # waits until no transaction runs
                paused.append(database)
            time.sleep(low + (high - low) * draw)
            still = {row["name"] for row in self.stack.admin("show databases") if row["paused"] == "1"}
        finally:
            for database in paused:
                self.stack.admin(f"resume {database}")
        assert still >= set(paused), f"paused were {still}"
        return {"at": at, "seconds": time.time() - at}

    def terminate(self, draw):
        in_commit = others = 0
        at = time.time()
        deadline = time.monotonic() + PATIENCE
        while in_commit == 0:
            assert time.monotonic() < deadline, f"no backend seen in COMMIT, {others} in statements"
            counts = self.stack.value(TERMINATE % ("true" if draw < 0.5 else "false"))
            committing, active = map(int, counts.split()[-2:])
            in_commit += committing
            others += active
        return {"at": at, "in_commit": in_commit, "in_statements": others}

    # ---- connections

    def cut(self, kind, draw):
        client = self.client(kind, draw)
        at = time.time()
        assert client.cut(PATIENCE), f"{client.name} was not cut"
        return {"client": client.name, "at": at}

    def take_over(self, draw):
        exclusive = [client for client in self.clients(WsReceiver) if not client.shared]
        client = exclusive[int(draw * len(exclusive))]
        at = time.time()
        assert client.take_over(PATIENCE), f"{client.name} did not subscribe anew"
        return {"client": client.name, "at": at}

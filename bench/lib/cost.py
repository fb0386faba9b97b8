# SPDX-License-Identifier: MIT
"""What a message costs inside: transactions, flushes, the log's bytes, rows, processor time."""

import time

# what a backend has counted is seen when it has been idle for this long
SETTLE_S = 10.5

POSITION = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as wal_bytes"
FLUSHES = "select wal_sync from pg_stat_wal"
ROWS = """
    select coalesce(sum(n_tup_ins), 0) as rows_inserted, coalesce(sum(n_tup_upd), 0) as rows_updated,
      coalesce(sum(n_tup_del), 0) as rows_deleted,
      (select xact_commit from pg_stat_database where datname = current_database()) as commits
    from pg_stat_user_tables
"""


class Cost:
    """The log's bytes and processor time for each message; neither is late."""

    def __init__(self, setting, side):
        self.setting, self.side = setting, side

    def read(self):
        return float(self.setting.stack.value(POSITION)), self.setting.cpu(self.side)

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        self.after = self.read()

    def add(self, figures, messages):
        """To the figures of so many messages."""
        if messages:
            (bytes_before, cpu_before), (bytes_after, cpu_after) = self.before, self.after
            figures["wal_bytes"] = round((bytes_after - bytes_before) / messages)
            figures["cpu_us"] = {
                name: round(1e6 * max(cpu_after[name] - cpu_before.get(name, 0), 0) / messages) for name in cpu_after
            }
        return figures


def counters(setting, side):
    time.sleep(SETTLE_S)
    found = {"flushes": setting.stack.value(FLUSHES)}
    database = "peer" if side == "peer" else "openclaw"
    line = setting.superuser(ROWS, database).split("|")
    found.update(zip(("rows_inserted", "rows_updated", "rows_deleted", "commits"), line))
    return {name: float(value) for name, value in found.items()}


def counted(setting, side, work):
    """Everything countable for each message of this work, less what the idle stack does by itself."""
    first = counters(setting, side)
    before, began = counters(setting, side), time.monotonic()
    with Cost(setting, side) as cost:
        figures = work()
    after, took = counters(setting, side), time.monotonic() - began
    messages = max(figures["done"], 1)
    for name in after:
        by_itself = (before[name] - first[name]) / SETTLE_S * took
        figures[name] = round((after[name] - before[name] - by_itself) / messages, 3)
    figures["rows"] = round(sum(figures[f"rows_{what}"] for what in ("inserted", "updated", "deleted")), 3)
    return cost.add(figures, messages)

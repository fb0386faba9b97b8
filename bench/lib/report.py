# SPDX-License-Identifier: MIT
"""Tables of what was measured, and of what it should be."""

import statistics

SHOWN = (
    "per_second", "p50_ms", "p99_ms", "mean_ms", "wal_bytes", "flushes", "rows", "commits", "pss_mb", "rss_mb",
    "server_connections", "seconds_to_last", "start_s", "ratio", "refused", "cpu_share",
)  # fmt: skip
COMPARED = ("per_second", "p50_ms", "p99_ms", "wal_bytes", "flushes", "rows", "commits", "start_s", "rss_mb")
ALONE = ("mean_ms", "pss_mb", "server_connections", "seconds_to_last", "ratio")


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def brief(figures):
    return "  ".join(
        f"{name} {number(figures[name])}" for name in SHOWN if isinstance(figures.get(name), (int, float))
    )


class Results:
    """Of all repetitions. A work without another side of its own is held against that of another."""

    def __init__(self, rows, works):
        self.rows, self.works = rows, {work.name: work for work in works}

    def series(self, name, side, key):
        return {
            row["repetition"]: row[key]
            for row in self.rows
            if row["work"] == name and row["side"] == side and isinstance(row.get(key), (int, float))
        }

    def ours(self, name, key):
        return self.series(name, "gateway", key) or self.series(name, "limit", key)

    def other(self, name, key):
        own = self.series(name, "peer", key)
        against = self.works[name].against if name in self.works else None
        return own if own or not against else self.series(against, "peer", key)

    def ratios(self, name, key):
        """Of the gateway to the other side, repetition by repetition."""
        ours, other = self.ours(name, key), self.other(name, key)
        return [ours[i] / other[i] for i in ours if other.get(i)]

    def median(self, name, key):
        values = list(self.ours(name, key).values())
        return statistics.median(values) if values else None


def spread(values):
    return " ".join(f"{number(value):>9}" for value in (min(values), statistics.median(values), max(values)))


def table(results):
    print(f"{'':32}{'gateway':^30}  {'peer':^30}  {'ratio':^30}")
    print(f"{'':32}" + f"{'min':>9} {'median':>9} {'max':>9}   " * 3)
    for name in results.works:
        for key in (*COMPARED, *ALONE):
            ours = list(results.ours(name, key).values())
            if not ours:
                continue
            line = f"{name + ' ' + key:32}{spread(ours)}"
            other, ratios = list(results.other(name, key).values()), results.ratios(name, key)
            if other and ratios:
                line += f"   {spread(other)}   {spread(ratios)}"
            print(line)


def quotients(ours, other):
    return [ours[i] / other[i] for i in ours if other.get(i)]


def against_pgbench(results):
    return quotients(results.series("http.accept.32", "gateway", "per_second"), results.series("limit.accept.32", "limit", "per_second"))


def limit_against_peer(limit, work):
    """What the limit would be as a ratio to the peer."""
    return lambda r: quotients(r.series(limit, "limit", "per_second"), r.series(work, "peer", "per_second"))


def against_message(name):
    """The log's bytes of a settled message, against the peer's whole message."""

    def values(results):
        ours, peer = results.median(name, "wal_bytes"), results.series("cost.accept", "peer", "wal_bytes")
        return [ours / value for value in peer.values()] if ours and peer else []

    return values


class Target:
    """least: the bound is the least that is wanted, else the most. limit: what stops it, and its words."""

    def __init__(self, what, values, least, bound, limit=None, why=None):
        self.what, self.values, self.least, self.bound, self.limit, self.why = what, values, least, bound, limit, why

    def row(self, results):
        """None where nothing was measured."""
        values = list(self.values(results))
        if not values:
            return None
        median = statistics.median(values)
        row = {
            "what": self.what,
            "least" if self.least else "most": round(self.bound, 3),
            "min": round(min(values), 3),
            "median": round(median, 3),
            "max": round(max(values), 3),
            "met": median >= self.bound if self.least else median <= self.bound,
        }
        limits = list(self.limit(results)) if self.limit else []
        if limits:
            row.update(limit=round(statistics.median(limits), 3), limit_is=self.why)
        return row


def ratio(name, key):
    return lambda r: r.ratios(name, key)


def ours(name, key):
    return lambda r: list(r.ours(name, key).values())


TARGETS = (
    Target("HTTP accept, 32 connections, throughput against the peer", ratio("http.accept.32", "per_second"), True, 15),
    Target("the same, p99", ratio("http.accept.32", "p99_ms"), False, 1 / 10),
    Target("HTTP accept, 1 connection, p50 against the peer", ratio("http.accept.1", "p50_ms"), False, 1 / 6),
    Target("HTTP accept against pgbench calling the same function", against_pgbench, True, 0.5),
    Target(
        "WebSocket send, 50 connections, throughput against the peer",
        ratio("ws.send.50", "per_second"),
        True,
        10,
        limit_against_peer("limit.accept.50", "ws.send.50"),
        "pgbench, 50 clients, the same function through the same pooler: no WebSocket, no process of ours",
    ),
    Target(
        "full delivery, 50 pairs, against the peer's mere send",
        ratio("ws.delivery.50", "per_second"),
        True,
        6,
        limit_against_peer("limit.delivery.50", "ws.send.50"),
        "pgbench, 50 clients: accept, claim and acknowledge through the same pooler, nobody written to or told",
    ),
    Target(
        "full delivery, one pair, p50 ms from send to receipt",
        ours("ws.delivery.1", "p50_ms"),
        False,
        2,
        ours("limit.delivery.1", "mean_ms"),
        "pgbench, one client: the accept through the same pooler, ms",
    ),
    Target("flushes per accepted message, alone", ours("cost.accept", "flushes"), False, 1.05),
    Target("flushes per settled message, alone", ours("cost.settled", "flushes"), False, 1.05),
    Target(
        "WAL bytes, accepted and settled, against the peer's message",
        against_message("cost.delivered"),
        False,
        0.7,
        against_message("limit.wal"),
        "the message's rows in DBOS' own tables, written once in their final form in one commit, without delivery state",
    ),
    Target("responder, resident MB, loaded", ours("memory", "rss_mb"), False, 16),
    Target("one idle WebSocket, PSS MB, of 1 000", ours("ws.idle.1000", "pss_mb"), False, 2),
    Target(
        "WebSockets opened per second, to hello-ok",
        ours("ws.open", "per_second"),
        True,
        200,
        ours("limit.open.libpq", "per_second"),
        "websocketd alone, a child that connects by libpq and asks one thing",
    ),
    Target("server connections, 1 000 WebSockets open, 50 busy", ours("ws.idle.1000", "server_connections"), False, 20),
    Target("seconds to the last of 200 workflows after kill -9", ours("recovery.200", "seconds_to_last"), False, 2),
    Target("accept throughput with ten million settled messages against empty", ours("history", "ratio"), True, 0.9),
)


def targets(results):
    """A row for each target of which something was measured."""
    return [row for row in (target.row(results) for target in TARGETS) if row]


def print_targets(rows):
    """What it should show, whether the median does, and where the limit is."""
    print(f"{'':67}{'min':>9} {'median':>9} {'max':>9}   {'target':20} limit")
    for row in rows:
        wanted = f">= {number(row['least'])}" if "least" in row else f"<= {number(row['most'])}"
        limit = number(row["limit"]) if "limit" in row else ""
        print(
            f"{row['what']:67}{spread([row['min'], row['median'], row['max']])}   "
            f"{wanted:9} {'met' if row['met'] else 'NOT MET':10} {limit}".rstrip()
        )
    for row in rows:
        if "limit" in row:
            print(f"limit of {row['what']}: {row['limit_is']}")


def markdown(rows, facts, noise):
    """The same for the repository, beside the chart."""
    lines = [
        "# What the last run showed",
        "",
        "![Messages per second of the gateway and of its peer](results.svg)",
        "",
        "Written by `bench/run`; medians of one run, both sides in turn on one machine and one PostgreSQL. A limit is",
        "what the same machine does in the same run where only the unavoidable is left.",
        "",
        "| | target | got | | limit |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        wanted = f"≥ {number(row['least'])}" if "least" in row else f"≤ {number(row['most'])}"
        limit = number(row["limit"]) if "limit" in row else ""
        lines.append(f"| {row['what']} | {wanted} | {number(row['median'])} | {'met' if row['met'] else 'not met'} | {limit} |")
    lines += ["", "The limits:", ""]
    lines += [f"* {row['what']}: {row['limit_is']}" for row in rows if "limit" in row]
    machine = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    lines += ["", f"{machine}."] + (["", noise] if noise else [])
    return "\n".join(lines) + "\n"

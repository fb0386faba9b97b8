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
        return self.series(name, "gateway", key) or self.series(name, "postgres", key)

    def other(self, name, key):
        own = self.series(name, "peer", key)
        against = self.works[name].against if name in self.works else None
        if own or not against:
            return own
        if self.series(name, "postgres", key):  # PostgreSQL itself: the gateway is held against it
            return {}
        return self.series(against, "peer", key)

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


def against_pgbench(results):
    ours, limit = results.series("http.accept.32", "gateway", "per_second"), results.series("pgbench.32", "postgres", "per_second")
    return [ours[i] / limit[i] for i in ours if limit.get(i)]


def wal_of_settled(results):
    """Accepted and settled here, against the peer's whole message."""
    ours, peer = results.median("cost.delivered", "wal_bytes"), results.series("cost.accept", "peer", "wal_bytes")
    return [ours / value for value in peer.values()] if ours and peer else []


TARGETS = (
    # what, its values, at least (True) or at most (False), the bound
    ("HTTP accept, 32 connections, throughput against the peer", lambda r: r.ratios("http.accept.32", "per_second"), True, 15),
    ("the same, p99", lambda r: r.ratios("http.accept.32", "p99_ms"), False, 1 / 10),
    ("HTTP accept, 1 connection, p50 against the peer", lambda r: r.ratios("http.accept.1", "p50_ms"), False, 1 / 6),
    ("HTTP accept against pgbench calling the same function", against_pgbench, True, 0.5),
    ("WebSocket send, 50 connections, throughput against the peer", lambda r: r.ratios("ws.send.50", "per_second"), True, 10),
    ("full delivery, 50 pairs, against the peer's mere send", lambda r: r.ratios("ws.delivery.50", "per_second"), True, 6),
    ("full delivery, one pair, p50 ms from send to receipt", lambda r: r.ours("ws.delivery.1", "p50_ms").values(), False, 2),
    ("flushes per accepted message, alone", lambda r: r.ours("cost.accept", "flushes").values(), False, 1.05),
    ("flushes per settled message, alone", lambda r: r.ours("cost.settled", "flushes").values(), False, 1.05),
    ("WAL bytes, accepted and settled, against the peer's message", wal_of_settled, False, 0.7),
    ("responder, resident MB, loaded", lambda r: r.ours("memory", "rss_mb").values(), False, 16),
    ("one idle WebSocket, PSS MB, of 1 000", lambda r: r.ours("ws.idle.1000", "pss_mb").values(), False, 2),
    ("WebSockets opened per second, to hello-ok", lambda r: r.ours("ws.open", "per_second").values(), True, 200),
    ("server connections, 1 000 WebSockets open, 50 busy", lambda r: r.ours("ws.idle.1000", "server_connections").values(), False, 20),
    ("seconds to the last of 200 workflows after kill -9", lambda r: r.ours("recovery.200", "seconds_to_last").values(), False, 2),
    ("accept throughput with settled messages against empty", lambda r: r.ours("history", "ratio").values(), True, 0.9),
)


def targets(results):
    """What it should show, and whether the median does."""
    print(f"{'':64}{'min':>9} {'median':>9} {'max':>9}   target")
    for what, values, least, bound in TARGETS:
        values = list(values(results))
        if not values:
            continue
        median = statistics.median(values)
        met = median >= bound if least else median <= bound
        print(f"{what:64}{spread(values)}   {'>=' if least else '<='} {number(bound):6} {'met' if met else 'NOT MET'}")

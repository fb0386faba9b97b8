# SPDX-License-Identifier: MIT
"""The chart for the README: messages per second of both sides, readable on light and on dark."""

import statistics
from xml.sax.saxutils import escape

WORKS = (
    ("http.accept.1", "HTTP, 1 connection"),
    ("http.accept.8", "HTTP, 8 connections"),
    ("http.accept.32", "HTTP, 32 connections"),
    ("http.accept.64", "HTTP, 64 connections"),
    ("ws.send.1", "WebSocket, 1 sender"),
    ("ws.send.50", "WebSocket, 50 senders"),
    ("ws.send.200", "WebSocket, 200 senders"),
    ("ws.delivery.50", "delivered and acknowledged, 50 pairs"),
)
LEFT, WIDE, ROW = 275, 400, 46
STYLE = """
    text { font: 13px sans-serif; fill: #24292f } .head { font-weight: bold } .small { font-size: 11px; fill: #57606a }
    .ours { fill: #1f6feb } .peer { fill: #9a9fa6 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .small { fill: #9da7b1 } .ours { fill: #58a6ff } .peer { fill: #6e7681 }
    }
"""


def bars(results):
    for name, label in WORKS:
        ours, peer = (list(values(name, "per_second").values()) for values in (results.ours, results.other))
        ratios = results.ratios(name, "per_second")
        if ours and ratios:
            yield label, statistics.median(ours), statistics.median(peer), statistics.median(ratios)


def draw(results, facts, path):
    rows = list(bars(results))
    if not rows:
        return False
    most = max(max(ours, peer) for _, ours, peer, _ in rows)
    height = 68 + ROW * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 790 {height}" role="img">',
        "<title>Messages per second of the gateway and of its peer</title>",
        f"<style>{STYLE}</style>",
        '<text class="head" x="10" y="20">Messages per second</text>',
        f'<rect class="ours" x="{LEFT}" y="10" width="12" height="12"/><text x="{LEFT + 18}" y="20">gateway</text>',
        f'<rect class="peer" x="{LEFT + 100}" y="10" width="12" height="12"/>'
        f'<text x="{LEFT + 118}" y="20">Express + ws + DBOS SDK</text>',
    ]
    for index, (label, ours, peer, ratio) in enumerate(rows):
        y = 36 + ROW * index
        wide, narrow = (max(2, WIDE * value / most) for value in (ours, peer))
        out += [
            f'<text x="10" y="{y + 23}">{escape(label)}</text>',
            f'<rect class="ours" x="{LEFT}" y="{y + 4}" width="{wide:.0f}" height="15" rx="2"/>',
            f'<text x="{LEFT + 6 + wide:.0f}" y="{y + 16}">{ours:.0f}, {ratio:.0f} ×</text>',
            f'<rect class="peer" x="{LEFT}" y="{y + 21}" width="{narrow:.0f}" height="15" rx="2"/>',
            f'<text x="{LEFT + 6 + narrow:.0f}" y="{y + 33}">{peer:.0f}</text>',
        ]
    out.append(
        f'<text class="small" x="10" y="{height - 10}">Medians of one run; a factor is the median of its turns\' factors.'
        f" {facts['cpu_count']} processors, load generator included; {escape(facts['postgres'].split(' (')[0])}, fsync {facts['fsync']}.</text>"
    )
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
    return True

# SPDX-License-Identifier: MIT
"""Tables and a chart of what was measured."""

import statistics
from xml.sax.saxutils import escape


def brief(figures):
    shown = []
    for name in ("per_second", "p50_ms", "p99_ms", "pss_mb", "seconds_to_last", "refused", "loaded_mb", "per_message"):
        if name in figures:
            value = figures[name]
            shown.append(f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}")
    return "  ".join(shown)


def spread(values):
    return f"{min(values):10.1f} {statistics.median(values):10.1f} {max(values):10.1f}"


def series(results, work, side, key):
    return {
        figures["repetition"]: figures[key]
        for figures in results
        if figures["work"] == work.name and figures["side"] == side and isinstance(figures.get(key), (int, float))
    }


def ratios(results, work, key="per_second"):
    """Of the gateway to the other side, repetition by repetition."""
    ours = series(results, work, "gateway", key)
    theirs = series(results, work, "peer", key) or series(results, work, "postgres", key)
    return [ours[i] / theirs[i] for i in ours if theirs.get(i)]


def table(results, works):
    print(f"{'':30}{'':10}{'min':>10} {'median':>10} {'max':>10}")
    for work in works:
        for key in ("per_second", "p50_ms", "p99_ms", work.key):
            if key == work.key and key == "per_second":
                continue
            lines = [(side, series(results, work, side, key)) for side in ("gateway", "peer", "postgres")]
            lines = [(side, values) for side, values in lines if values]
            for side, values in lines:
                print(f"{work.name + ' ' + key:30}{side:10}{spread(list(values.values()))}")
            if len(lines) > 1:
                found = ratios(results, work, key)
                print(f"{'':30}{'ratio':10}{min(found):10.2f} {statistics.median(found):10.2f} {max(found):10.2f}")


def chart(results, works, path):
    """Messages per second of both, and how many times the gateway's is."""
    rows = []
    for work in works:
        ours, theirs = (list(series(results, work, side, "per_second").values()) for side in ("gateway", "peer"))
        if ours and theirs:
            rows.append((work.name, statistics.median(ours), statistics.median(theirs), statistics.median(ratios(results, work))))
    if not rows:
        return
    most = max(max(ours, theirs) for _, ours, theirs, _ in rows)
    height = 40 + 46 * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="760" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="22" font-weight="bold">Messages per second: the gateway (dark) and its peer (light)</text>',
    ]
    for number, (name, ours, theirs, ratio) in enumerate(rows):
        y = 38 + 46 * number
        wide, narrow = (max(2, 440 * value / most) for value in (ours, theirs))
        out += [
            f'<text x="10" y="{y + 22}">{escape(name)}</text>',
            f'<rect x="150" y="{y + 4}" width="{wide:.0f}" height="15" fill="#1f4e79"/>',
            f'<text x="{156 + wide:.0f}" y="{y + 16}">{ours:.0f}  ({ratio:.1f} ×)</text>',
            f'<rect x="150" y="{y + 21}" width="{narrow:.0f}" height="15" fill="#9dc3e6"/>',
            f'<text x="{156 + narrow:.0f}" y="{y + 33}">{theirs:.0f}</text>',
        ]
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")

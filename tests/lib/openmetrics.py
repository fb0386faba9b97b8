# SPDX-License-Identifier: MIT
"""OpenMetrics 1.0 text, read strictly: parse(text) -> {family: Family}; Malformed says what is wrong.

    families["openclaw_sweeps"].kind == "counter"
    value(families, "openclaw_inbox_messages", state="ready")      the one sample of these labels
"""

import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|\+Inf|-Inf|NaN")
SUFFIXES = {
    "counter": {"_total", "_created"},
    "gauge": {""},
    "histogram": {"_bucket", "_count", "_sum", "_created"},
    "info": {"_info"},
}


class Malformed(ValueError):
    pass


class Family:
    def __init__(self, name):
        self.name, self.kind, self.unit, self.help = name, None, None, None
        self.samples = {}  # (sample name, frozen labels) -> value


def _labels(text, line):
    labels, rest = {}, text
    while rest:
        match = LABEL.match(rest)
        if not match:
            raise Malformed(f"labels: {line}")
        if match.group(1) in labels:
            raise Malformed(f"a label twice: {line}")
        labels[match.group(1)] = re.sub(
            r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), match.group(2)
        )
        rest = rest[match.end() :]
        if rest and not (rest.startswith(",") and len(rest) > 1):
            raise Malformed(f"labels: {line}")
        rest = rest[1:]
    return labels


def _sample(line):
    match = re.fullmatch(r"([^ {]+)(?:\{(.*)\})? ([^ ]+)", line)
    if not match or not NAME.fullmatch(match.group(1)) or not NUMBER.fullmatch(match.group(3)):
        raise Malformed(f"a sample: {line}")
    return match.group(1), _labels(match.group(2) or "", line), float(match.group(3))


def _check(family):
    if family.kind not in SUFFIXES:
        raise Malformed(f"{family.name}: type {family.kind}")
    if family.unit and not family.name.endswith("_" + family.unit):
        raise Malformed(f"{family.name} does not end with its unit {family.unit}")
    for (name, labels), number in family.samples.items():
        if name[len(family.name) :] not in SUFFIXES[family.kind]:
            raise Malformed(f"{name} is no sample of the {family.kind} {family.name}")
        if family.kind in ("counter", "histogram") and not number >= 0:
            raise Malformed(f"{name}{dict(labels)} is {number}")
    if family.kind == "histogram":
        _check_histogram(family)


def _check_histogram(family):
    groups = {}
    for (name, labels), number in family.samples.items():
        rest = frozenset((k, v) for k, v in labels if k != "le")
        group = groups.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            if dict(labels)["le"] not in ("+Inf", str(bound)):
                raise Malformed(f"{family.name}: le={dict(labels)['le']} is no canonical number")
            group["buckets"].append((bound, number))
        else:
            group[name[len(family.name) :]] = number
    for group in groups.values():
        bounds = [b for b, _ in group["buckets"]]
        counts = [n for _, n in group["buckets"]]
        if bounds != sorted(set(bounds)) or not bounds or bounds[-1] != float("inf"):
            raise Malformed(f"{family.name}: buckets {bounds}")
        if counts != sorted(counts) or counts[-1] != group.get("_count") or "_sum" not in group:
            raise Malformed(f"{family.name}: counts {counts}, {group}")


def parse(text):
    families, family = {}, None
    if not text.endswith("# EOF\n") or text.count("# EOF") != 1:
        raise Malformed("it does not end with one # EOF")
    for line in text.split("\n")[:-2]:
        if line.startswith("#"):
            match = re.fullmatch(r"# (TYPE|UNIT|HELP) ([^ ]+) (.+)", line)
            if not match or not NAME.fullmatch(match.group(2)):
                raise Malformed(f"metadata: {line}")
            what, name, value = match.groups()
            if family is None or family.name != name:
                if name in families:
                    raise Malformed(f"{name} stands at two places")
                family = families[name] = Family(name)
            key = {"TYPE": "kind", "UNIT": "unit", "HELP": "help"}[what]
            if getattr(family, key) is not None or family.samples:
                raise Malformed(f"metadata twice, or behind samples: {line}")
            setattr(family, key, value)
            continue
        name, labels, number = _sample(line)
        if family is None or not name.startswith(family.name):
            raise Malformed(f"a sample without metadata: {line}")
        key = (name, frozenset(labels.items()))
        if key in family.samples:
            raise Malformed(f"a sample twice: {line}")
        family.samples[key] = number
    for each in families.values():
        _check(each)
    return families


def value(families, name, /, **labels):
    """Of a counter without its suffix; None: there is no such sample."""
    family = families[name]
    full = name + {"counter": "_total", "info": "_info"}.get(family.kind, "")
    return family.samples.get((full, frozenset(labels.items())))


def counters(families):
    """Everything that must never go back."""
    return {
        key: number
        for family in families.values()
        if family.kind in ("counter", "histogram")
        for key, number in family.samples.items()
    }

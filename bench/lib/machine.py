# SPDX-License-Identifier: MIT
"""What the machine does beside the work: processor time by process, memory, and noise."""

import os
import re
import resource

TICK = os.sysconf("SC_CLK_TCK")
FOREIGN_MAX = 0.10  # of all processors; above it somebody else was at work
STEAL_MAX = 0.05


class Failed(Exception):
    """One measurement could not be made; the others go on."""


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def descendants(root):
    """The process and everything below it."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            children.setdefault(int(_stat(name)[1]), []).append(int(name))
        except OSError:
            pass
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


OWN, ENDED = slice(11, 13), slice(13, 15)  # user and system time of /proc/PID/stat


def cpu_seconds(pids, parts=(OWN, ENDED)):
    """Of these processes, and of children of theirs that have ended."""
    total = 0
    for pid in pids:
        try:
            fields = _stat(pid)
            total += sum(int(field) for part in parts for field in fields[part])
        except OSError:
            pass
    return total / TICK


def load_seconds():
    """Of the load generators that this process has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_kb(pid, what="Pss"):
    """Pss or Rss of one process, in kB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(rf"^{what}:\s+(\d+)", file.read(), re.M).group(1))
    except (OSError, AttributeError):
        return 0


class Noise:
    """Processor time that this machine's host or other programs took, since the last look."""

    def __init__(self, ours):
        self.ours = ours  # seconds of everything that belongs to the bench
        self.last = self.look()
        self.worst = {"steal": 0.0, "foreign": 0.0}

    def look(self):
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, idle, wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
        busy = user + nice + system
        return busy / TICK, steal / TICK, (busy + idle + wait + irq + softirq + steal) / TICK, self.ours()

    def since(self):
        now = self.look()
        busy, steal, total, ours = (new - old for new, old in zip(now, self.last))
        self.last = now
        found = {
            "steal": round(steal / max(total, 1e-9), 3),
            # what has ended takes its time along: ours may be less than before
            "foreign": round(min(max(busy - max(ours, 0), 0) / max(total, 1e-9), 1), 3),
        }
        for name, share in found.items():
            self.worst[name] = max(self.worst[name], share)
        return found

    def verdict(self, results):
        """What to say of the machine; None where it was quiet."""
        noisy = [r for r in results if r["noise"]["foreign"] > FOREIGN_MAX or r["noise"]["steal"] > STEAL_MAX]
        if len(noisy) * 10 <= len(results):
            return None
        return (
            f"This machine was noisy in {len(noisy)} of {len(results)} measurements: other programs took up to"
            f" {100 * self.worst['foreign']:.0f} % of the processors, its host up to {100 * self.worst['steal']:.0f} %."
            " Quote the medians of the ratios, or run again when it is quiet."
        )

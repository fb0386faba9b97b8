# SPDX-License-Identifier: MIT
"""What the machine does beside the work: processor time by process, memory, and noise."""

import os
import re

TICK = os.sysconf("SC_CLK_TCK")


def processes(pattern):
    """Pids whose command line matches."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if re.search(pattern, line):
                found.append(int(name))
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_kb(pid, what="Pss"):
    """Pss or Rss of one process, in kB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(rf"^{what}:\s+(\d+)", file.read(), re.M).group(1))
    except (OSError, AttributeError):
        return 0


class Noise:
    """Processor time that was taken from this machine by its host or by other programs."""

    def __init__(self):
        self.last = self.steal_ticks()
        self.worst = 0.0

    @staticmethod
    def steal_ticks():
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(field) for field in file.readline().split()[1:]]
        return fields[7], sum(fields[:8])

    def since(self):
        steal, total = self.steal_ticks()
        share = (steal - self.last[0]) / max(total - self.last[1], 1)
        self.last = steal, total
        self.worst = max(self.worst, share)
        return round(share, 4)

    def verdict(self):
        load = os.getloadavg()[2]
        if self.worst > 0.05 or load > 3 * os.cpu_count():
            print(
                f"This machine was noisy: up to {100 * self.worst:.0f} % of the time stolen by its host,"
                f" load {load:.1f}. Quote the medians of the ratios, or run again."
            )

"""What a process tree has used, read from ``/proc``: CPU time and memory (Linux only)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessStat", "cpu_seconds", "parse_pss", "parse_stat", "pss_bytes", "read_stats", "tree"]

PROC = Path("/proc")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessStat:
    """The fields of ``/proc/PID/stat`` that are used here; times are clock ticks."""

    pid: int
    parent: int
    session: int
    user_ticks: int
    system_ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Reads one ``/proc/PID/stat`` line. The name stands in brackets and may hold spaces and brackets itself."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        pid=int(head.split("(", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        user_ticks=int(fields[11]),
        system_ticks=int(fields[12]),
    )


def parse_pss(text: str) -> int:
    """Bytes, from ``smaps_rollup``: private memory and each shared page's part."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def read_stats() -> list[ProcessStat]:
    """Every process that can be read; one that ends meanwhile is left out."""
    stats = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stats.append(parse_stat((entry / "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return stats


def tree(root: int, stats: Iterable[ProcessStat]) -> list[ProcessStat]:
    """The process ``root``, all that descend from it, and whatever else is in the session that it leads.

    A double-forked worker that a subreaper adopted is a descendant; one that fell to init is found by its session.
    """
    stats = list(stats)
    known = {root} | {stat.pid for stat in stats if stat.session == root}
    while True:
        more = {stat.pid for stat in stats if stat.parent in known} - known
        if not more:
            return [stat for stat in stats if stat.pid in known]
        known |= more


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, in seconds, to 1/100 s; of processes that are alive."""
    return sum(stat.user_ticks + stat.system_ticks for stat in tree(root, read_stats())) / CLOCK_TICKS


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree."""
    total = 0
    for stat in tree(root, read_stats()):
        try:
            total += parse_pss((PROC / str(stat.pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total

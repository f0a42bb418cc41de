"""How many cores this process may really use: CPU affinity and the cgroup's quota."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["usable_processors"]


def usable_processors(root: str = "/", affinity: int | None = None) -> int:
    """The smaller of the affinity mask and the cgroup quota (v1 or v2), rounded up; at least 1.

    ``os.sched_getaffinity`` and ``os.process_cpu_count`` do not see the quota (cpython#149452), so a container with two
    cores on a machine of 64 would start 64 workers.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
        affinity: the number of cores in the mask; default: this process's.
    """
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(root)
    if quota is None:
        return max(1, affinity)
    return max(1, min(affinity, -int(-quota // 1)))


def _cgroup_quota(root: str) -> float | None:
    """Cores that the tightest of this process's cgroups grants, or None where there is no limit."""
    lines = _read(os.path.join(root, "proc/self/cgroup"))
    if lines is None:
        return None
    quotas: list[float] = []
    for line in lines.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                quotas += _walk(os.path.join(root, mount), path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for mount in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
                quotas += _walk(os.path.join(root, mount), path, _quota_v1)
    return min(quotas, default=None)


def _walk(mount: str, path: str, quota_of: Callable[[str], float | None]) -> list[float]:
    """The quotas of a cgroup and of all its parents: the tightest one counts.

    Inside a container the path is the host's, and the mount is the container's own cgroup: then only the mount exists.
    """
    found: list[float] = []
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        quota = quota_of(os.path.join(mount, *parts[:depth]))
        if quota is not None:
            found.append(quota)
    return found


def _quota_v2(directory: str) -> float | None:
    words = (_read(os.path.join(directory, "cpu.max")) or "max").split()
    if words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(directory: str) -> float | None:
    quota = _read(os.path.join(directory, "cpu.cfs_quota_us"))
    period = _read(os.path.join(directory, "cpu.cfs_period_us"))
    if quota is None or period is None or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return None

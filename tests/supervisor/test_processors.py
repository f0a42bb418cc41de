from __future__ import annotations

import os

import pytest

from fastlane.supervisor.processors import usable_processors


@pytest.fixture
def machine(tmp_path):
    """Write files of a made-up /proc and /sys."""

    def write(**files: str) -> str:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path)

    return write


def test_without_cgroups_the_affinity_counts(tmp_path):
    assert usable_processors(str(tmp_path), 6) == 6
    assert usable_processors(str(tmp_path)) == len(os.sched_getaffinity(0))
    assert usable_processors() >= 1


def test_a_machine_without_affinity_counts_its_cores(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_processors(str(tmp_path)) == 3


@pytest.mark.parametrize(("limit", "expected"), [("150000 100000", 2), ("max 100000", 8), ("50000 100000", 1)])
def test_the_quota_of_cgroup_v2_is_rounded_up(machine, limit, expected):
    root = machine(proc__self__cgroup="0::/a/b\n", sys__fs__cgroup__a__b__cpu_dot_max=limit + "\n")
    assert usable_processors(root, 8) == expected


def test_the_tightest_of_all_parents_counts(machine):
    root = machine(
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__b__cpu_dot_max="400000 100000",
        sys__fs__cgroup__a__cpu_dot_max="200000 100000",
        sys__fs__cgroup__cpu_dot_max="max 100000",
    )
    assert usable_processors(root, 8) == 2


def test_inside_a_container_only_the_mount_exists(machine):
    root = machine(proc__self__cgroup="0::/../../docker/abc\n", sys__fs__cgroup__cpu_dot_max="300000 100000")
    assert usable_processors(root, 8) == 3


def test_cgroup_v1_has_quota_and_period(machine):
    root = machine(
        proc__self__cgroup="3:cpuset:/\n1:cpu,cpuacct:/a\n",
        sys__fs__cgroup__cpu__a__cpu_dot_cfs_quota_us="250000",
        sys__fs__cgroup__cpu__a__cpu_dot_cfs_period_us="100000",
    )
    assert usable_processors(root, 8) == 3


def test_cgroup_v1_without_a_limit_says_minus_1(machine):
    root = machine(
        proc__self__cgroup="1:cpu:/\n",
        sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us="-1",
        sys__fs__cgroup__cpu__cpu_dot_cfs_period_us="100000",
    )
    assert usable_processors(root, 8) == 8

"""The figures read from /proc."""

import os
from itertools import starmap

import pytest

from bench.processes import ProcessStat, cpu_seconds, parse_pss, parse_stat, pss_bytes, tree

LINE = "4711 (a (odd) name) S 17 4711 4711 0 -1 4194560 9 0 0 0 250 50 7 8 20 0 1 0 1 2 3"


def test_a_stat_line_is_read_behind_a_name_with_spaces_and_brackets():
    assert parse_stat(LINE) == ProcessStat(pid=4711, parent=17, session=4711, user_ticks=250, system_ticks=50)


def test_pss_is_given_in_bytes():
    assert (
        parse_pss("55d0-7fff ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:    512 kB\nPss_Anon: 1 kB\n") == 524_288
    )


def test_a_process_without_memory_of_its_own_has_no_pss():
    assert parse_pss("") == 0


def stats(*rows: tuple[int, int, int]) -> list[ProcessStat]:
    return list(starmap(lambda pid, parent, session: ProcessStat(pid, parent, session, 0, 0), rows))


def test_a_tree_holds_descendants_of_any_depth_and_nobody_else():
    found = tree(10, stats((1, 0, 1), (10, 1, 10), (11, 10, 10), (12, 11, 12), (13, 1, 13)))

    assert [stat.pid for stat in found] == [10, 11, 12]


def test_a_tree_holds_what_fell_to_init_but_stayed_in_the_session():
    found = tree(10, stats((1, 0, 1), (10, 1, 10), (11, 1, 10), (12, 11, 12)))

    assert [stat.pid for stat in found] == [10, 11, 12]


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="Linux only")
def test_this_process_has_used_time_and_memory():
    assert cpu_seconds(os.getpid()) > 0
    assert pss_bytes(os.getpid()) > 1_000_000

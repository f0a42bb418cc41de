from __future__ import annotations

import logging
import signal

import pytest

from fastlane.supervisor.crew import described
from tests.supervisor.world import World


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.DEBUG, "fastlane.supervisor")


def test_a_dead_worker_is_replaced_after_the_backoff(caplog):
    world = World(workers=2)
    first, second = world.boot()
    world.die(first, status=-9)
    assert world.orders == []
    assert "worker 0 (pid 102) ended with SIGKILL" in caplog.text
    world.pass_time(0.2)
    [third] = world.fork()
    assert world.serving() == [second, third]


def test_a_worker_that_lived_long_is_replaced_at_once():
    world = World()
    [pid] = world.boot()
    world.pass_time(60)
    world.die(pid, status=9)
    assert len(world.orders) == 1


def test_a_crash_loop_makes_fewer_than_20_starts_in_10_seconds_whatever_the_number_of_workers():
    world = World(workers=4)
    pids = world.boot()
    starts = len(pids)
    end = world.clock + 10
    while world.clock < end:
        world.die(*pids, status=7)
        world.pass_time(0.1)
        pids = world.fork()
        world.ready(*pids)
        starts += len(pids)
    assert 8 < starts < 20


def test_a_lifespan_that_fails_later_is_retried_and_takes_no_sibling_along(caplog):
    world = World(workers=2)
    first, second = world.boot()
    world.die(first, status=-9)
    world.pass_time(1)
    [third] = world.fork()
    world.fails(third, "no database")
    assert "failed, starting another in 0.2 s: no database" in caplog.text
    assert world.serving() == [second]
    assert world.supervisor.exit_code is None


def test_a_worker_that_exceeds_the_boot_timeout_later_is_killed_and_tried_again(caplog):
    world = World(boot_timeout=10, workers=2)
    first, _ = world.boot()
    world.die(first, status=-9)
    world.pass_time(1)
    [third] = world.fork()
    world.pass_time(11)
    assert world.shot() == [third]
    world.die(third, status=-9)
    assert "was not ready within --boot-timeout 10 s" in caplog.text


def test_a_blocked_worker_is_asked_for_its_stack_and_replaced(caplog):
    world = World(workers=2, timeout=30)
    first, second = world.boot()
    world.pass_time(29, first)
    assert world.asked == []
    world.pass_time(1.1, first)
    assert world.asked == [first]
    world.stack_text = 'File "app.py", line 3 in spin'
    world.pass_time(0.6, first)
    assert world.shot() == [first]
    assert "the event loop of worker 0 (pid 102) has been blocked for 30.7 s" in caplog.text
    assert "line 3 in spin" in caplog.text
    world.die(first, status=-9)
    assert "was killed, starting another" in caplog.text
    assert [index for _, index, *_ in world.orders] == [0]
    assert world.serving()[0] == second


def test_a_blocked_worker_that_turns_again_is_spared(caplog):
    world = World(timeout=30)
    [pid] = world.boot()
    world.pass_time(31, pid)
    world.pass_time(0.6)
    assert world.killed == []
    assert "turns again" in caplog.text
    world.pass_time(1)
    assert world.serving() == [pid]


def test_a_worker_without_a_stack_hangs_in_c_code(caplog):
    world = World(timeout=30)
    [pid] = world.boot()
    world.pass_time(31, pid)
    world.pass_time(0.6, pid)
    assert "it hangs in a system call or in C code" in caplog.text


def test_a_stopped_worker_is_not_called_blocked(caplog):
    world = World(timeout=30)
    [pid] = world.boot()
    world.states[pid] = "T"
    world.pass_time(31, pid)
    world.pass_time(0.6, pid)
    assert "has been stopped (SIGSTOP" in caplog.text
    assert "blocked" not in caplog.text


def test_without_a_timeout_nobody_is_blocked():
    world = World(timeout=None)
    [pid] = world.boot()
    world.pass_time(1e6, pid)
    assert world.asked == []


def test_a_worker_that_somebody_told_to_stop_is_replaced_while_it_drains():
    world = World(workers=2)
    first, second = world.boot()
    world.drains(first)
    assert [index for _, index, *_ in world.orders] == [0]
    assert world.killed == []
    world.die(first)
    [third] = world.fork()
    assert world.serving() == [second, third]


def test_a_worker_that_drains_too_long_is_killed():
    world = World(workers=2, graceful_timeout=10, idle_timeout=20)
    first, _ = world.boot()
    world.signal(signal.SIGTTOU)
    [drained] = world.termed()
    assert drained != first
    world.pass_time(31.9)
    assert world.shot() == []
    world.pass_time(0.2)
    assert world.shot() == [drained]
    world.die(drained, status=-9)
    assert world.serving() == [first]


@pytest.mark.parametrize("limit", ["max_requests", "max_lifetime", "max_rss"])
def test_a_worker_beyond_a_limit_is_replaced_successor_first_and_one_at_a_time(limit, caplog):
    world = World(workers=2, **{limit: 1000})
    pids = world.boot()
    for pid in pids:
        world.board.slot(world.slot_of(pid)).beat(0, 1000, 0)
        world.memory[pid] = 1000
    if limit == "max_lifetime":
        world.clock += 1000
    world.pass_time(0)
    assert world.termed() == []
    [successor] = world.fork()
    world.pass_time(1)
    assert world.orders == []
    world.ready(successor)
    assert world.termed() == [pids[0]]
    world.die(pids[0])
    assert len(world.orders) == 1
    assert f"--{limit.replace('_', '-')}" in caplog.text


def test_a_successor_that_fails_leaves_the_old_worker_alone():
    world = World(max_requests=10)
    [old] = world.boot()
    world.board.slot(world.slot_of(old)).beat(0, 10, 0)
    world.pass_time(1)
    [successor] = world.fork()
    world.fails(successor, "no database")
    assert world.serving() == [old]
    assert world.orders == []
    world.pass_time(0.2)
    assert len(world.orders) == 1


def test_each_worker_draws_a_limit_of_its_own():
    world = World(workers=20, max_requests=1_000_000)
    world.boot()
    limits = {worker.request_limit for worker in world.supervisor.crew.fleet}
    assert len(limits) > 10
    assert all(900_000 <= limit <= 1_000_000 for limit in limits)


def test_no_worker_is_ordered_without_a_slot(caplog):
    world = World(workers=3, capacity=2)
    world.load()
    assert len(world.orders) == 2
    assert "no slot is free" in caplog.text


def test_a_word_about_a_birth_that_is_no_longer_wanted_is_ignored():
    world = World()
    world.load()
    assert world.supervisor.crew.born(0, 99, 12345) is None
    assert world.supervisor.crew.born(5, 1, 12345) is None


def test_a_worker_that_is_not_even_born_in_time_is_tried_again_and_may_not_be_born_any_more(caplog):
    world = World(boot_timeout=10, workers=2)
    first, _ = world.boot()
    world.die(first, status=-9)
    world.pass_time(1)
    world.pass_time(11)
    [(_, _, slot, order)] = world.orders
    world.pass_time(0.3)
    assert "was not ready within --boot-timeout" in caplog.text
    assert not world.board.slot(slot).begin(4711, 1, order)
    assert len(world.orders) == 2


def test_only_some_strangers_are_remembered():
    world = World()
    crew = world.supervisor.crew
    for pid in range(10_000, 10_100):
        assert crew.find(pid, 0) is None
    assert len(crew._strangers) == 64


def test_ways_to_end_have_names():
    assert described(None) == "an unknown status"
    assert described(3) == "exit code 3"
    assert described(-11) == "SIGSEGV"
    assert described(-63) == "signal 63"

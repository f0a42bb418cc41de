from __future__ import annotations

import os
import time

import pytest

from fastlane.supervisor.scoreboard import DRAINING, EMPTY, LATENCY_BOUNDS, READY, Scoreboard

# Threads that other tests have left, or that are just ending, are nothing to this: Python warns of a fork beside them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_a_slot_tells_what_its_worker_wrote():
    slot = Scoreboard(2).slot(1)
    slot.order(7)
    assert slot.begin(123, 4, 7)
    slot.beat(connections=5, requests=6, in_flight=1)
    slot.state = READY
    assert (slot.pid, slot.generation, slot.connections, slot.requests, slot.in_flight) == (123, 4, 5, 6, 1)
    assert abs(slot.heartbeat - time.monotonic()) < 1
    slot.clear()
    assert (slot.pid, slot.state, slot.heartbeat) == (0, EMPTY, 0)


def test_slots_do_not_overlap():
    board = Scoreboard(3)
    for number in range(3):
        board.slot(number).connections = number + 1
    assert [board.slot(number).connections for number in range(3)] == [1, 2, 3]
    assert not board.stopping


def test_there_are_only_so_many():
    board = Scoreboard(2)
    for number in (-1, 2):
        with pytest.raises(IndexError):
            board.slot(number)


def test_a_worker_whose_order_was_taken_back_does_not_begin():
    slot = Scoreboard(1).slot(0)
    slot.order(1)
    assert slot.take_back() == 0
    assert not slot.begin(123, 1, 1)


def test_who_takes_an_order_back_learns_of_a_worker_that_began():
    slot = Scoreboard(1).slot(0)
    slot.order(1)
    assert slot.begin(123, 1, 1)
    assert slot.take_back() == 123


def test_only_ready_workers_with_a_fresh_heartbeat_are_peers():
    board = Scoreboard(5)
    slots = [board.slot(number) for number in range(5)]
    for slot in slots[:4]:
        slot.beat(10, 0, 0)
        slot.state = READY
    slots[1].state = DRAINING
    board.words[(2 + 1) * 40 + 3] -= 2_100_000_000
    assert [board.words[index] for index in slots[0].accepting_peers()] == [10]
    assert slots[0].accepting_peers() == slots[1].accepting_peers()[-1:]


def test_another_process_sees_the_same_words():
    board = Scoreboard(1)
    pid = os.fork()
    if pid == 0:
        board.slot(0).connections = 42
        board.stopping = True
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.slot(0).connections == 42
    assert board.stopping


def test_latencies_and_refusals_are_told_beside_the_rest():
    board = Scoreboard(2)
    slot, other = board.slot(0), board.slot(1)
    counts = list(range(len(LATENCY_BOUNDS) + 1))
    slot.publish_latencies(counts, 1.5)
    slot.refuse(True)
    slot.beat(connections=1, requests=2, in_flight=3)
    assert (slot.latencies, slot.latency_sum, slot.refuses) == (counts, 1.5, True)
    assert (slot.connections, slot.requests, slot.in_flight) == (1, 2, 3)
    assert (other.latencies, other.latency_sum, other.refuses) == ([0] * len(counts), 0.0, False)
    slot.clear()
    assert slot.latencies == other.latencies


def test_a_predecessor_is_an_older_ready_worker_of_the_same_index_that_beats():
    board = Scoreboard(4)
    old, other, new = board.slot(0), board.slot(1), board.slot(2)
    for order, (slot, index) in enumerate([(old, 1), (other, 0), (new, 1)], start=1):
        slot.order(order)
        slot.index = index
        slot.begin(100 + order, 1, order)
    assert not new.has_predecessor()
    old.state = other.state = READY
    assert new.has_predecessor()
    assert not old.has_predecessor()
    old.works = True
    old.state = DRAINING
    assert new.has_predecessor()
    old.works = False
    assert not new.has_predecessor()

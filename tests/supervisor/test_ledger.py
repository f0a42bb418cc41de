from __future__ import annotations

import signal

from fastlane.supervisor.scoreboard import LATENCY_BOUNDS
from tests.supervisor.world import World


def test_the_totals_of_a_dead_worker_are_kept_for_its_place():
    world = World(workers=1)
    [pid] = world.boot()
    slot = world.board.slot(world.slot_of(pid))
    slot.beat(connections=3, requests=40, in_flight=1)
    slot.publish_latencies([1] * (len(LATENCY_BOUNDS) + 1), 0.5)
    world.die(pid, status=-signal.SIGKILL)
    [(index, tally)] = world.supervisor.crew.ledger.tallies
    assert (index, tally.requests, tally.latency_sum, tally.restarts) == (0, 40, 0.5, 1)
    assert tally.latencies == [1] * (len(LATENCY_BOUNDS) + 1)


def test_a_worker_that_was_told_to_end_is_no_restart():
    world = World(workers=2)
    pids = world.boot()
    world.signal(signal.SIGTTOU)
    world.die(pids[1])
    assert world.supervisor.crew.ledger.of(1).restarts == 0


def test_the_totals_of_a_place_add_up():
    world = World(workers=1)
    [pid] = world.boot()
    for _ in range(2):
        world.board.slot(world.slot_of(pid)).beat(connections=0, requests=5, in_flight=0)
        world.die(pid, status=1)
        world.pass_time(30)
        [pid] = world.fork()
        world.ready(pid)
    assert world.supervisor.crew.ledger.of(0).requests == 10
    assert world.supervisor.crew.ledger.of(0).restarts == 2

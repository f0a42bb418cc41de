from __future__ import annotations

import logging
import signal

import pytest

from fastlane.supervisor.fleet import Generation
from fastlane.supervisor.heir import Heir
from fastlane.supervisor.herald import Herald
from tests.supervisor.world import World


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "fastlane.supervisor")


def test_completeness_is_said_once_a_generation(caplog):
    world = World()
    world.board.awaited = 2
    herald = Herald(world, world.board)
    generation = Generation(1, world.settings, 0, 0.0)
    herald.complete(generation, 2)
    herald.complete(generation, 2)
    assert world.board.awaited == 0
    assert world.told == ["READY=1", "STATUS=generation 1, 2 workers"]
    assert caplog.text.count("ready, 2 workers") == 1
    herald.reloading("a:app", 2)
    herald.complete(Generation(2, world.settings, 0, 0.0), 1)
    assert world.told[2:] == ["RELOADING=1", "MONOTONIC_USEC=1000000000", "READY=1", "STATUS=generation 2, 1 worker"]


def test_systemd_is_told_who_serves_on(caplog):
    world = World()
    herald, heir = Herald(world, world.board), Heir(world)
    herald.stopping(signal.SIGTERM, 30.0, heir)
    heir.start()
    herald.stopping(signal.SIGTERM, 30.0, heir)
    assert world.told == ["STOPPING=1", "MAINPID=555", "STOPPING=1"]
    assert "SIGTERM: stopping, within 30 s" in caplog.text

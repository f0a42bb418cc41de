from __future__ import annotations

import logging

from fastlane.supervisor.heir import Heir
from tests.supervisor.world import World


def test_there_is_one_at_a_time(caplog):
    world = World()
    heir = Heir(world)
    assert heir.assignments == []
    heir.start()
    heir.start()
    assert heir.assignments == ["MAINPID=555"]
    assert "there is a new supervisor already (pid 555)" in caplog.text


def test_the_death_of_another_process_is_none_of_its_own(caplog):
    heir = Heir(World())
    assert not heir.died(555, 0)
    heir.start()
    assert not heir.died(556, 0)
    assert heir.died(555, 3)
    assert heir.assignments == []
    assert "ended with exit code 3; this one serves on" in caplog.text


def test_process_1_has_none(caplog):
    world = World()
    world.successor = None
    with caplog.at_level(logging.ERROR, "fastlane.supervisor"):
        Heir(world).start()
    assert "not possible as process 1" in caplog.text

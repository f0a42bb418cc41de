from __future__ import annotations

from fastlane.supervisor.backoff import Backoff


def test_the_delay_doubles_up_to_the_longest():
    backoff = Backoff(first=0.1, longest=1.0)
    assert [backoff.died(now, 0.0) for now in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_worker_that_lived_is_restarted_at_once_and_changes_nothing():
    backoff = Backoff()
    assert backoff.died(0, 0.0) == 0.1
    assert backoff.died(1, 5.0) == 0.0
    assert backoff.died(2, 0.0) == 0.2


def test_a_quiet_time_forgives():
    backoff = Backoff(healthy=5.0)
    backoff.died(0, 0.0)
    backoff.died(0, 0.0)
    assert backoff.died(10, 0.0) == 0.4
    assert backoff.died(20.1, 0.0) == 0.1

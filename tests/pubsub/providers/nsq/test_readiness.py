from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastlane.pubsub.providers.nsq.readiness import MANY, grants, quotas

lanes = st.lists(st.booleans(), max_size=6)
counts = st.integers(0, 6)


@given(st.integers(0, 300), lanes, counts, st.integers(0, 100), st.booleans())
def test_all_permits_are_given_out_and_no_more(total, busy, replays, turn, replaying):
    parts = quotas(total, busy, replays, turn=turn, replaying=replaying)
    assert len(parts) == len(busy) + replays
    assert min(parts, default=0) >= 0
    if busy or total <= replays:
        assert sum(parts) == (total if parts else 0)


@given(st.integers(1, 300), lanes.filter(len), st.booleans())
def test_every_connection_has_its_turn(total, busy, replaying):
    had = [0] * len(busy)
    for turn in range(len(busy)):
        for index, part in enumerate(quotas(total, busy, 0, turn=turn, replaying=replaying)):
            had[index] += part
    assert min(had) > 0


@given(st.integers(1, 300), lanes, st.integers(1, 6))
def test_replays_have_their_turn_too(total, busy, replays):
    had = [0] * replays
    for turn in range(replays):
        for index, part in enumerate(quotas(total, busy, replays, turn=turn, replaying=True)[len(busy) :]):
            had[index] += part
    assert min(had) > 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6), st.integers(0, 300))
def test_never_more_are_in_flight_than_were_allowed(connections, extra):
    parts, in_flight = [each[0] for each in connections], [each[1] for each in connections]
    total = sum(in_flight) + extra
    ready = grants(total, parts, in_flight)
    assert sum(max(now, count) for now, count in zip(in_flight, ready, strict=True)) <= total
    assert all(count <= part for count, part in zip(ready, parts, strict=True))


@given(st.integers(0, 100), lanes.filter(len))
def test_when_nothing_is_in_flight_everyone_gets_its_part(total, busy):
    parts = quotas(total, busy, 0, turn=0, replaying=False)
    assert grants(total, parts, [0] * len(busy)) == parts


def test_busy_connections_share_what_the_idle_ones_do_not_need():
    assert quotas(100, [True, False, False], 0, turn=0, replaying=False) == [98, 1, 1]
    assert quotas(100, [False, False], 0, turn=0, replaying=False) == [50, 50]


def test_with_few_permits_replays_get_theirs_at_times_only():
    assert quotas(2, [True], 1, turn=0, replaying=False) == [2, 0]
    assert quotas(2, [True], 1, turn=0, replaying=True) == [1, 1]
    assert quotas(MANY, [True], 1, turn=0, replaying=False) == [MANY - 1, 1]

"""Lanes: whatever is added and taken in whichever order, a key keeps its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic
from fastlane.pubsub.publishing.lanes import Ticket, Waiting, lane_of

NOW = datetime.now(UTC)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 50)),
        st.tuples(st.just("take"), st.integers(1, 6), st.integers(1, 100)),
        st.tuples(st.just("finish"), st.integers(0, 5), st.just(0)),
    ),
    max_size=60,
)


def waiting(number: int, key: str, size: int, ticket: Ticket) -> Waiting:
    return Waiting(Outgoing(str(number), b"", {}, key, NOW, 0.0, ""), size, ticket)


@given(STEPS, st.booleans())
def test_a_lane_gives_everything_once_and_a_key_in_order(steps: list[tuple[str, Any, int]], ordered: bool) -> None:
    lane = lane_of(BoundTopic(name="t", physical="t", ordered=ordered))
    loop = asyncio.new_event_loop()
    ticket = Ticket(loop.create_future(), 1000)
    under_way: list[list[Waiting]] = []
    taken: list[Waiting] = []
    added = 0

    def take(count: int, size: int) -> None:
        batch = lane.take(count, size)
        assert len(batch) <= count
        assert sum(one.size for one in batch) <= size or len(batch) == 1
        if ordered:
            busy = {one.message.ordering_key for other in under_way for one in other}
            assert not busy & {one.message.ordering_key for one in batch}
        if batch:
            under_way.append(batch)
            taken.extend(batch)

    for step, first, second in steps:
        if step == "add":
            lane.add(waiting(added, str(first), second, ticket))
            added += 1
        elif step == "take":
            take(first, second)
        elif under_way:
            lane.finish(under_way.pop(first % len(under_way)))
    while under_way or len(lane):
        take(3, 60)
        if under_way:
            lane.finish(under_way.pop())
    loop.close()

    assert len(taken) == added
    for key in "abc" if ordered else ("abc",):
        numbers = [int(one.message.id) for one in taken if (one.message.ordering_key or "") in key]
        assert numbers == sorted(numbers)

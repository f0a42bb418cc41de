"""What a broker can't keep is refused at boot, by name: everything that `Capabilities` says."""

from __future__ import annotations

import pytest
from msgspec import Struct

from fastlane.pubsub import Retry
from tests.conformance.stage import Stage


def mistakes(stage: Stage, topic: object) -> str:
    return "\n".join(stage.service(topic).check())  # type: ignore[arg-type]


async def nothing(number: int) -> None: ...


class _Step(Struct):
    key: str


def test_order(stage: Stage) -> None:
    topic = stage.topic(dict[str, str])
    ordered = stage.topic(_Step, order_by="key")
    assert mistakes(stage, topic) == ""
    found = mistakes(stage, ordered)
    if stage.broker.capabilities.ordering:
        assert found == ""
    else:
        assert ordered.name in found
        assert "mend: " in found


def test_exactly_once(stage: Stage) -> None:
    topic = stage.topic(int, delivery="exactly-once")
    found = mistakes(stage, topic)
    if stage.broker.capabilities.exactly_once:
        assert found == ""
    else:
        assert topic.name in found
        assert "mend: " in found


def test_a_lease_out_of_range(stage: Stage) -> None:
    least, most = stage.broker.capabilities.ack_deadline
    for seconds in (least / 2, None if most is None else most + 1):
        if seconds is None:
            continue
        topic = stage.topic(int)
        topic.subscribe("all", ack_deadline=seconds)(nothing)
        found = mistakes(stage, topic)
        assert f"{topic.name}/all" in found
        assert "mend: " in found


@pytest.mark.parametrize("what", ["max_backoff", "timeout"])
def test_times_beyond_the_broker_s(stage: Stage, what: str) -> None:
    limits = {"max_backoff": stage.broker.capabilities.max_backoff, "timeout": stage.broker.capabilities.max_timeout}
    limit = limits[what]
    if limit is None:
        pytest.skip("it has no limit")
    topic = stage.topic(int)
    if what == "max_backoff":
        topic.subscribe("all", retry=Retry(max_backoff=limit + 1))(nothing)
    else:
        topic.subscribe("all", timeout=limit + 1)(nothing)
    found = mistakes(stage, topic)
    assert f"{topic.name}/all" in found
    assert "mend: " in found

"""The look at the brokers: what is missing stops the boot, what can't be looked at does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub import Topic
from fastlane.pubsub.placement.boot import look
from fastlane.pubsub.placement.placements import Placements, place_topics
from fastlane.pubsub.provider import Administrator, BrokerForbidden, BrokerUnavailable, Step
from fastlane.pubsub.providers.memory import MemoryProvider
from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import PubSubOptions, ResourceConfiguration
from fastlane.resources.surroundings import Surroundings
from tests.pubsub.application import serving


class Event(Struct):
    id: int


class Told(MemoryProvider):
    """Answers a plan as it is told to."""

    def __init__(self, answers: list[Callable[[], Any]]) -> None:
        from fastlane.resources.configuration import MemoryOptions

        super().__init__("events", MemoryOptions())
        self.answers = answers
        self.closed = 0

    async def open_administrator(self) -> Administrator:
        provider = self
        administrator = await super().open_administrator()

        class Telling(type(administrator)):  # type: ignore[misc]
            async def plan(self, topics: Any, subscriptions: Any) -> Sequence[Step]:
                answer = provider.answers.pop(0)()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                return list(answer)

            async def close(self) -> None:
                provider.closed += 1

        administrator.__class__ = Telling
        return administrator


def told(*answers: Callable[[], Any]) -> tuple[Placements, Told]:
    topic = Topic("events", Event)
    placements = place_topics({"events": topic}, ResourceConfiguration(), Surroundings(mode="test"))
    provider = Told(list(answers))
    placement = placements.topics["events"]
    moved = type(placement)(topic, placement.bound, provider, placement.subscriptions)
    return Placements({"events": moved}, []), provider


def unavailable() -> Sequence[Step]:
    raise BrokerUnavailable("connection refused")


def forbidden() -> Sequence[Step]:
    raise BrokerForbidden("not allowed")


def looked(placements: Placements, timeout: float = 5.0) -> tuple[list[str], list[str]]:
    waited: list[str] = []

    async def main() -> list[str]:
        return await asyncio.wait_for(look(placements, timeout, waited.append), 20)

    return asyncio.run(main()), waited


def test_what_is_missing_is_listed_with_the_command_that_makes_it() -> None:
    steps = [Step("create", "topic", "events"), Step("create", "queue policy", "events-mail", "SNS may send")]
    placements, provider = told(lambda: steps)
    (mistake,), _ = looked(placements)
    assert mistake == (
        "provider 'events' lacks what the app needs:\n      topic events\n      queue policy events-mail\n"
        "    mend: fastlane pubsub provision APP    (--dry-run shows what it would do)"
    )
    assert provider.closed == 1


def test_what_differs_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    placements, _ = told(lambda: [Step("change", "subscription", "events-mail", "ack deadline 10 s, not 30")])
    assert looked(placements)[0] == []
    assert "subscription events-mail differs from what is declared (ack deadline 10 s, not 30)" in caplog.text


def test_who_may_not_look_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    placements, _ = told(forbidden)
    assert looked(placements)[0] == []
    assert "it may not be looked whether everything is there: not allowed" in caplog.text


def test_a_broker_that_comes_up_is_waited_for() -> None:
    placements, provider = told(unavailable, unavailable, list)
    found, waited = looked(placements)
    assert found == []
    assert waited == ["waiting for provider 'events'"] * 2
    assert provider.closed == 3


@pytest.mark.parametrize("answer", [unavailable, lambda: asyncio.sleep(60)], ids=["refused", "black hole"])
def test_one_that_does_not_come_up_is_left_to_the_workers(
    answer: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    placements, _ = told(*[answer] * 100)
    found, _ = looked(placements, timeout=0.3)
    assert found == []
    assert "can't be reached within 0.3 s: the app starts without it" in caplog.text


def test_nothing_is_waited_for_that_nobody_uses() -> None:
    assert looked(Placements({}, [])) == ([], [])


def test_the_boot_stops_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    placements, _ = told(lambda: [Step("create", "topic", "events")])
    service = PubSubService(ResourceConfiguration(), Surroundings(mode="serve"))
    monkeypatch.setattr(service, "_placements", placements)
    with pytest.raises(ConfigurationError, match="lacks what the app needs"):
        asyncio.run(service.prepare())


def test_the_local_broker_is_made_ready_by_the_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))
    topic = Topic("events", Event)
    handled = asyncio.Event()
    got: list[Event] = []

    @topic.subscribe("mail")
    async def mail(event: Event) -> None:
        got.append(event)
        handled.set()

    async def main() -> None:
        configuration = ResourceConfiguration(pubsub=PubSubOptions(provider="local"))
        async with serving(configuration, mode="serve", boot_timeout=10.0):
            await topic.publish(Event(1))
            async with asyncio.timeout(20):
                await handled.wait()
            with pytest.raises(RuntimeError, match="what was published is known in tests alone"):
                topic.messages

    asyncio.run(main())
    assert got == [Event(1)]

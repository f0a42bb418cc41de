"""Topics that are published to, and subscriptions that are consumed, with the broker of tests behind them."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Struct

from fastlane.errors import ConfigurationError, FastlaneError, Unavailable
from fastlane.pubsub import Attribute, Batch, Message, MessageTooLarge, Reject, Retry, Topic
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.providers.memory import MemoryProvider
from fastlane.pubsub.publishing.binding import TopicBinding
from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import PubSubOptions, ResourceConfiguration
from fastlane.resources.declaration import NotBound
from tests.pubsub.application import serving


class Event(Struct):
    id: int
    country: Annotated[str, Attribute()] = "se"
    body: str = ""


class Unlike(Struct):
    name: str


def test_a_message_reaches_every_subscription() -> None:
    topic = Topic("events", Event)
    got: list[tuple[str, object]] = []

    @topic.subscribe("value")
    async def value(event: Event) -> None:
        got.append(("value", event))

    @topic.subscribe("thread")
    def thread(message: Message[Event]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        got.append(("thread", message.value))

    async def main() -> None:
        async with serving() as service:
            identifier = await topic.publish(Event(1))
            await service.settle()
            assert sorted(got, key=str) == [("thread", Event(1)), ("value", Event(1))]
            (sent,) = topic.messages
            assert (sent.id, sent.value, sent.attributes, sent.ordering_key) == (
                identifier,
                Event(1),
                {"country": "se"},
                None,
            )

    asyncio.run(main())


def test_ten_attempts_with_ten_minutes_between_take_no_time_and_end_among_the_dead_letters() -> None:
    topic = Topic("events", Event)
    attempts: list[int] = []

    @topic.subscribe("mail", retry=Retry(min_backoff="10m", max_backoff="10m"))
    async def mail(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        raise ValueError("no such user")

    async def main() -> None:
        async with serving() as service:
            identifier = await topic.publish(Event(1))
            await service.settle()
            assert attempts == list(range(1, 11))
            (letter,) = topic.dead_letters("mail")
            assert (letter.id, letter.reason, letter.attempt, letter.source) == (
                identifier,
                "attempts",
                10,
                "events/mail",
            )
            assert "no such user" in letter.error
            with pytest.raises(KeyError):
                topic.dead_letters("nobody")

    asyncio.run(main())


def test_the_order_of_a_key_is_kept_through_failures() -> None:
    topic = Topic("events", Event, order_by="country")
    got: list[tuple[str, int]] = []
    failed: set[int] = set()

    @topic.subscribe("mail", retry=Retry(min_backoff="1h", max_backoff="1h"))
    async def mail(event: Event) -> None:
        if event.id % 3 == 0 and event.id not in failed:
            failed.add(event.id)
            raise ValueError
        got.append((event.country, event.id))

    async def main() -> None:
        async with serving() as service:
            await topic.publish_many([Event(n, "abc"[n % 3]) for n in range(30)])
            await topic.publish(Event(99), ordering_key="b")
            await service.settle()
        for key in "abc":
            numbers = [number for country, number in got if country == key]
            assert numbers == sorted(numbers) == [n for n in range(30) if "abc"[n % 3] == key]
        assert ("se", 99) in got

    asyncio.run(main())


def test_filters_batches_and_rejection() -> None:
    topic = Topic("events", Event)
    swedish: list[int] = []
    batches: list[int] = []

    @topic.subscribe("swedish", filter={"country": "se"})
    async def only(event: Event) -> None:
        swedish.append(event.id)

    @topic.subscribe("batches", batch=Batch(4, wait="1h"))
    async def several(events: list[Event]) -> None:
        batches.append(len(events))

    @topic.subscribe("picky")
    async def picky(event: Event) -> None:
        raise Reject("never")

    async def main() -> None:
        async with serving() as service:
            await topic.publish_many([Event(n, "se" if n % 2 else "no") for n in range(6)])
            await service.settle()
            assert sorted(swedish) == [1, 3, 5]
            assert batches == [4, 2]
            assert [letter.reason for letter in topic.dead_letters("picky")] == ["rejected"] * 6

    asyncio.run(main())


def test_a_delay_is_jumped_over() -> None:
    topic = Topic("events", Event)
    got: list[int] = []

    @topic.subscribe("mail")
    async def mail(event: Event) -> None:
        got.append(event.id)

    async def main() -> None:
        async with serving() as service:
            await topic.publish(Event(1), delay="2d")
            await topic.publish(Event(2))
            await service.settle()
            assert got == [2, 1]
            with pytest.raises(ValueError, match="a duration"):
                await topic.publish(Event(3), delay=-1)
            with pytest.raises(TypeError, match="expected a dict of texts"):
                await topic.publish(Event(3), attributes=[("a", "b")])  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_handler_publishes_and_settling_waits_for_that_too() -> None:
    first, second = Topic("first", Event), Topic("second", Event)
    got: list[int] = []

    @first.subscribe("forward")
    async def forward(event: Event) -> None:
        await asyncio.sleep(0.02)
        await second.publish(event, delay=5)

    @second.subscribe("keep")
    async def keep(event: Event) -> None:
        got.append(event.id)

    async def main() -> None:
        async with serving() as service:
            await first.publish_many([Event(1), Event(2)])
            await service.settle()
        assert sorted(got) == [1, 2]

    asyncio.run(main())


def test_settling_tells_what_never_ends() -> None:
    topic = Topic("events", Event)

    @topic.subscribe("mail", retry=Retry(max_attempts=None))
    async def mail(event: Event) -> None:
        raise ValueError

    async def main() -> None:
        from fastlane.pubsub.providers.memory import settle

        async with serving():
            await topic.publish(Event(1))
            with pytest.raises(TimeoutError, match=r"events/mail: 1, such as .* in attempt \d"):
                await settle(timeout=0.3)

    asyncio.run(main())


def test_publishes_fail_on_demand() -> None:
    topic = Topic("events", Event)

    async def main() -> None:
        async with serving():
            with topic.failing(times=1):
                with pytest.raises(Unavailable):
                    await topic.publish(Event(1))
                await topic.publish(Event(2))
            with topic.failing(), pytest.raises(Unavailable):
                await topic.publish_many([Event(3)])
            await topic.publish(Event(4))
            assert [message.value.id for message in topic.messages] == [2, 4]

    asyncio.run(main())


def test_what_was_published_is_seen_from_outside_of_the_event_loop() -> None:
    topic = Topic("events", Event)
    opened, seen = threading.Event(), threading.Event()

    async def main() -> None:
        async with serving():
            await topic.publish(Event(1))
            opened.set()
            await asyncio.to_thread(seen.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert opened.wait(10)
    try:
        assert [message.value for message in topic.messages] == [Event(1)]
    finally:
        seen.set()
        thread.join()
    with pytest.raises(NotBound):
        topic.messages


def test_attributes_by_hand_replace_those_of_fields_and_are_checked() -> None:
    topic = Topic("events", Event)

    async def main() -> None:
        async with serving():
            await topic.publish(Event(1), attributes={"country": "fi", "source": "import"})
            assert topic.messages[0].attributes == {"country": "fi", "source": "import"}
            with pytest.raises(ValueError, match="is no name for an attribute"):
                await topic.publish(Event(1), attributes={"two words": "x"})
            with pytest.raises(TypeError, match="the attribute 'n' is 5, expected a text"):
                await topic.publish(Event(1), attributes={"n": 5})  # type: ignore[dict-item]
            with pytest.raises(TypeError, match=r"topic 'events': the attribute 'n' is '\\ud800', expected a text"):
                await topic.publish(Event(1), attributes={"n": "\ud800"})
            with pytest.raises(ValueError, match="9 attributes, and a message has at most 8"):
                await topic.publish(Event(1), attributes={f"a{n}": "x" for n in range(8)})

    asyncio.run(main())


def test_a_message_that_is_too_large_is_not_sent() -> None:
    topic = Topic("events", Event)

    async def main() -> None:
        async with serving():
            with pytest.raises(MessageTooLarge, match=r"topic 'events' has .* the limit is 262144") as caught:
                await topic.publish(Event(1, body="x" * 262_144))
            assert isinstance(caught.value, FastlaneError)
            assert isinstance(caught.value, ValueError)
            assert caught.value.size > caught.value.limit == 262_144
            with pytest.raises(MessageTooLarge):
                await topic.publish_many([Event(1), Event(2, country="x" * 262_144)])
            assert topic.messages == []
        async with serving(ResourceConfiguration(pubsub=PubSubOptions(max_message_size=10))):
            with pytest.raises(MessageTooLarge, match="the limit is 10"):
                await topic.publish(Event(1))

    asyncio.run(main())


def test_options_that_a_topic_would_ignore_are_refused() -> None:
    topic = Topic("events", Event)
    ordered = Topic("ordered", Event, order_by="id", delivery="exactly-once")

    async def main() -> None:
        async with serving():
            with pytest.raises(ValueError, match="has no order, and ordering_key='a' would be ignored"):
                await topic.publish(Event(1), ordering_key="a")
            with pytest.raises(ValueError, match="dedupe_id='a' would be ignored"):
                await topic.publish(Event(1), dedupe_id="a")
            for no_text in ("", "\ud800"):
                with pytest.raises(ValueError, match=r"ordering_key='.*' is no text"):
                    await ordered.publish(Event(1), ordering_key=no_text)
                with pytest.raises(ValueError, match=r"dedupe_id='.*' is no text"):
                    await ordered.publish(Event(1), dedupe_id=no_text)
            with pytest.raises(TypeError, match="topic 'events' carries Event, not Unlike"):
                await topic.publish(Unlike("x"))  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="one for each of the 2 events"):
                await ordered.publish_many([Event(1), Event(2)], dedupe_ids=["a"])

    asyncio.run(main())


def test_a_delay_beyond_what_the_broker_can_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, ordered = Topic("events", Event), Topic("ordered", Event, order_by="id")
    able = msgspec.structs.replace(MemoryProvider.capabilities, max_delay=60.0, ordered_delay=False)
    unable = msgspec.structs.replace(able, max_delay=0.0)

    async def main() -> None:
        async with serving():
            for capabilities, text in ((able, "has delays of at most 60 s"), (unable, "has no delays")):
                monkeypatch.setattr(MemoryProvider, "capabilities", capabilities)
                with pytest.raises(ValueError, match=f"delay='2m', and its provider 'memory' {text}"):
                    await topic.publish(Event(1), delay="2m")
            monkeypatch.setattr(MemoryProvider, "capabilities", able)
            with pytest.raises(ValueError, match="'memory' can't delay where order is kept"):
                await ordered.publish(Event(1), delay=1)
            await ordered.publish(Event(1), delay=0)

    asyncio.run(main())


def test_exactly_once_delivers_a_repeated_publish_once() -> None:
    topic = Topic("events", Event, delivery="exactly-once")

    async def main() -> None:
        async with serving():
            await topic.publish(Event(1), dedupe_id="one")
            await topic.publish_many([Event(2), Event(3)], dedupe_ids=["one", "two"])
            assert [message.value.id for message in topic.messages] == [1, 3]

    asyncio.run(main())


def test_a_transaction_needs_an_outbox_which_gets_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic("events", Event)
    written: list[tuple[str, str, Any]] = []

    async def outbox(binding: TopicBinding, tx: Any, messages: Any) -> None:
        written.extend((binding.bound.name, tx, message) for message in messages)

    async def main() -> None:
        async with serving():
            # Which of the two depends on whether another test of this process has declared a database that lives.
            with pytest.raises((RuntimeError, TypeError), match=r"this app has no outbox|tx='tx' is no transaction"):
                await topic.publish(Event(1), tx="tx")
        monkeypatch.setattr(PubSubService, "outbox", staticmethod(outbox))
        async with serving():
            identifier = await topic.publish(Event(1), tx="tx")
            await topic.publish_many([Event(2)], tx="tx")
            assert topic.messages == []
            assert [entry[:2] for entry in written] == [("events", "tx")] * 2
            message = written[0][2]
            assert isinstance(message, Outgoing)
            assert message.id == identifier

    asyncio.run(main())


def test_only_what_was_asked_for_is_consumed() -> None:
    topic = Topic("events", Event)
    got: list[str] = []

    @topic.subscribe("one")
    async def one(event: Event) -> None:
        got.append("one")

    @topic.subscribe("two")
    async def two(event: Event) -> None:
        got.append("two")

    @topic.subscribe("three")
    async def three(event: Event) -> None:
        got.append("three")

    async def main() -> None:
        async with serving(subscriptions=("two", "events/three")) as service:
            await topic.publish(Event(1))
            await service.settle()
        assert sorted(got) == ["three", "two"]

    asyncio.run(main())


def test_a_worker_with_no_share_consumes_nothing() -> None:
    topic = Topic("events", Event)
    got: list[int] = []

    @topic.subscribe("mail", max_concurrency=1)
    async def mail(event: Event) -> None:
        got.append(event.id)

    async def main() -> None:
        for index in (1, 0):
            async with serving(workers=2, index=index) as service:
                await topic.publish(Event(index))
                await service.settle()
        assert got == [0]

    asyncio.run(main())


def test_what_a_worker_has_done_is_told_when_it_is_closed_too() -> None:
    topic = Topic("events", Event)

    @topic.subscribe("mail", retry=Retry(min_backoff=0, max_attempts=2))
    async def mail(event: Event) -> None:
        if event.id == 2:
            raise ValueError

    async def main() -> None:
        async with serving() as service:
            await topic.publish_many([Event(1), Event(2)])
            await service.settle()
        work = service.work()
        assert work is not None
        assert (work.handled, work.failed, work.dead, work.running) == (1, 2, 1, 0)

    asyncio.run(main())


def test_a_service_that_was_not_started_publishes_and_consumes_nothing() -> None:
    topic = Topic("events", Event)

    @topic.subscribe("mail")
    async def mail(event: Event) -> None:
        raise AssertionError

    async def main() -> None:
        async with serving(start=False) as service:
            await topic.publish(Event(1))
            await service.settle()
            assert len(topic.messages) == 1

    asyncio.run(main())


def test_an_unknown_subscription_is_a_mistake() -> None:
    topic = Topic("events", Event)

    @topic.subscribe("mail-users")
    async def mail(event: Event) -> None: ...

    from fastlane.resources.surroundings import Surroundings

    service = PubSubService(ResourceConfiguration(), Surroundings(mode="test", subscriptions=("mail-user",)))
    (mistake,) = service.check()
    assert mistake == (
        "--subscriptions: there is no subscription 'mail-user'\n"
        "    mend: did you mean 'mail-users'? Else use some of: events/mail-users"
    )


def test_mistakes_stop_what_opens_without_a_check() -> None:
    topic = Topic("events", Event)

    async def main() -> None:
        from fastlane.resources.surroundings import Surroundings

        service = PubSubService(ResourceConfiguration(), Surroundings(mode="serve"))
        with pytest.raises(ConfigurationError, match="no provider is configured for topic 'events'"):
            await service.open()
        await service.close()
        with pytest.raises(NotBound):
            topic.binding

    asyncio.run(main())

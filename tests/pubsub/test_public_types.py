"""Topics as a type checker sees them: pyright (strict) and mypy read what pytest runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, assert_type

from msgspec import Struct

from fastlane.pubsub import Attribute, Batch, Message, Reject, Retry, Topic
from tests.pubsub.application import serving


class Signup(Struct):
    id: int
    country: Annotated[str, Attribute()] = "se"


class Left(Struct, tag=True):
    id: int


class Moved(Struct, tag=True):
    id: int


def test_a_topic_knows_its_events_and_a_handler_keeps_its_type() -> None:
    signups = Topic("signups", Signup, delivery="at-least-once", order_by="country")
    assert_type(signups, Topic[Signup])
    got: list[str] = []

    @signups.subscribe("value", ack_deadline="1m", retry=Retry(min_backoff=1, max_attempts=None))
    async def value(event: Signup) -> None:
        got.append(event.country)

    @signups.subscribe("message", filter={"country": ["se", "no"], "other": None})
    def message(message: Message[Signup]) -> None:
        if message.attempt > 3:
            raise Reject("enough")
        got.append(message.value.country)

    @signups.subscribe("values", batch=Batch(10, wait=0.5))
    async def values(events: list[Signup]) -> None:
        got.extend(event.country for event in events)

    @signups.subscribe("messages", batch=Batch(10))
    async def messages(events: list[Message[Signup]]) -> None:
        events[0].retry(delay="10s") if events[0].attempt < 2 else events[0].reject("no")

    typed_value: Callable[[Signup], Coroutine[Any, Any, None]] = value
    typed_values: Callable[[list[Signup]], Coroutine[Any, Any, None]] = values
    assert_type(message, Callable[[Message[Signup]], None])
    assert (typed_value, typed_values) == (value, values)

    async def main() -> None:
        async with serving() as service:
            assert_type(await signups.publish(Signup(1), delay="5s"), str)
            assert_type(await signups.publish_many([Signup(2)]), list[str])
            assert_type(signups.messages[0].value, Signup)
            await service.settle()

    asyncio.run(main())
    assert got == ["se"] * 6


def test_a_handler_that_does_not_fit_is_an_error_of_types() -> None:
    signups = Topic("signups", Signup)

    async def other(event: Left) -> None: ...

    async def several(events: list[Signup]) -> None: ...

    def declare() -> None:
        signups.subscribe("other")(other)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
        signups.subscribe("several")(several)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]

    async def publish() -> None:
        await signups.publish(Left(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert callable(declare)
    assert callable(publish)


def test_what_no_class_names_is_declared_with_its_type_beside_it() -> None:
    people: Topic[Left | Moved] = Topic("people", Left | Moved, order_by="id")

    @people.subscribe("count")
    async def count(event: Left | Moved) -> None: ...

    assert people.subscriptions["count"].takes == "value"

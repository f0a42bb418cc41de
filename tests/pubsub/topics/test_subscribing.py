"""Declaring subscriptions: handlers are returned as they are, and what can't work is refused where it stands."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any

import pytest
from msgspec import Struct

from fastlane import Depends, Header, Request
from fastlane.errors import CompileError
from fastlane.pubsub import Batch, Message, Retry, Topic


class Event(Struct):
    id: int


class Narrow(Event):
    pass


class Other(Struct):
    id: int


class FakeDatabase:
    kind = "database"


def number() -> int:
    return 1


Number = Annotated[int, Depends(number)]


def refused(handler: Any, **options: Any) -> str:
    topic = Topic("refusals", Event)
    with pytest.raises(CompileError) as caught:
        topic.subscribe("mail", **options)(handler)
    assert caught.value.file == __file__
    assert topic.subscriptions == {}
    return str(caught.value)


def taken(handler: Any, event: Any = Event, **options: Any) -> str:
    topic: Topic[Any] = Topic("taking", event)
    assert topic.subscribe("mail", **options)(handler) is handler
    return topic.subscriptions["mail"].takes


def test_the_defaults_are_those_of_the_contract() -> None:
    topic = Topic("defaults", Event)

    @topic.subscribe("mail")
    async def mail(event: Event) -> None: ...

    one = topic.subscriptions["mail"]
    assert (one.ack_deadline, one.timeout, one.max_concurrency) == (30, 600, 100)
    assert one.retry == Retry(min_backoff=10, max_backoff=600, max_attempts=10)
    assert (one.filter, one.batch, one.once, one.is_async, one.ordered) == (None, None, None, True, False)
    assert one.source == "defaults/mail"
    assert repr(one) == f"<subscription 'defaults/mail' from {one.place}>"
    assert one.decode(b'{"id":1}') == Event(1)


def test_durations_are_written_in_any_way() -> None:
    topic = Topic("durations", Event)

    @topic.subscribe("mail", ack_deadline="1m", timeout=timedelta(hours=1))
    def mail(event: Event) -> None: ...

    one = topic.subscriptions["mail"]
    assert (one.ack_deadline, one.timeout, one.is_async) == (60, 3600, False)


def test_a_handler_takes_a_value_a_message_or_lists_of_them() -> None:
    async def value(event: Event) -> None: ...
    async def message(event: Message[Event]) -> None: ...
    async def bare_message(event: Message) -> None: ...  # type: ignore[type-arg]
    async def values(events: list[Event]) -> None: ...
    async def messages(events: list[Message[Event]]) -> None: ...
    async def sequence(events: Sequence[Event]) -> None: ...
    async def bare_list(events: list) -> None: ...  # type: ignore[type-arg]
    async def nothing(event) -> None: ...  # type: ignore[no-untyped-def]
    async def anything(event: Any) -> None: ...
    async def noted(event: Annotated[Event, "note"]) -> None: ...

    assert taken(value) == taken(nothing) == taken(anything) == taken(noted) == "value"
    assert taken(message) == taken(bare_message) == "message"
    batch = Batch(10)
    assert taken(values, batch=batch) == taken(sequence, batch=batch) == taken(bare_list, batch=batch) == "values"
    assert taken(nothing, batch=batch) == "values"
    assert taken(messages, batch=batch) == "messages"


def test_a_handler_may_take_more_than_the_topic_carries() -> None:
    def base(event: Event) -> None: ...
    def either(event: Event | Other) -> None: ...
    def message_of_base(event: Message[Event]) -> None: ...

    assert taken(base, Narrow) == "value"
    assert taken(either) == "value"
    assert taken(message_of_base, Narrow) == "message"


def test_a_handler_of_something_else_is_refused() -> None:
    def other(event: Other) -> None: ...
    def narrower(event: Narrow) -> None: ...
    def a_list(event: list[Event]) -> None: ...
    def one(event: Event) -> None: ...

    assert "parameter 'event': it takes Other, and the topic carries Event" in refused(other)
    assert "it takes Narrow" in refused(narrower)
    text = refused(a_list)
    assert "it takes list[Event]" in text
    assert "for lists give `batch=Batch(100, wait=1)`" in text
    text = refused(one, batch=Batch(3))
    assert "with batch= it gets a list of Event" in text
    assert "write `event: list[Event]`" in text


def test_a_handler_has_one_ordinary_parameter() -> None:
    def none() -> None: ...
    def two(event: Event, other: int) -> None: ...
    def keyword(*, event: Event) -> None: ...
    def many(*events: Event) -> None: ...
    def all_of_them(**events: Event) -> None: ...

    assert "it has no parameter" in refused(none)
    assert "it has 2 parameters" in refused(two)
    assert "event is no ordinary parameter" in refused(keyword)
    assert "*events is no ordinary parameter" in refused(many)
    assert "**events is no ordinary parameter" in refused(all_of_them)


def test_dependencies_and_what_belongs_to_requests_are_refused() -> None:
    def depends(event: Event, n: Annotated[int, Depends(number)]) -> None: ...
    def default(event: Event, n: int = Depends(number)) -> None: ...  # type: ignore[assignment]
    def first(event: Annotated[Event, Depends(number)]) -> None: ...
    def header(event: Annotated[Event, Header()]) -> None: ...
    def request(event: Request) -> None: ...

    def alias(event: Event, n: Number) -> None: ...
    def unknown(event: Event, n: Nowhere) -> None: ...  # noqa: F821

    assert "it has 2 parameters" in refused(unknown)
    for handler in (depends, default, first, alias):
        assert "a subscription has no dependencies" in refused(handler)
    assert "it asks for Header, and there is no request here" in refused(header)
    assert "it asks for Request" in refused(request)


def test_generators_and_classes_are_refused() -> None:
    def generator(event: Event) -> Iterator[int]:
        yield 1

    async def asynchronous(event: Event) -> AsyncIterator[int]:
        yield 1

    assert "it is a generator" in refused(generator)
    assert "it is a generator" in refused(asynchronous)
    assert "Event'> is no function" in refused(Event)
    assert "5 is no function" in refused(5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ack_deadline": "soon"}, "ack_deadline is 'soon', expected a duration"),
        ({"ack_deadline": 0}, "ack_deadline is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"max_concurrency": True}, "max_concurrency=True"),
        ({"retry": 3}, "retry=3"),
        ({"batch": 3}, "batch=3"),
        ({"once": "db"}, "once='db'"),
        ({"filter": {}}, "is no filter"),
        ({"once": FakeDatabase(), "batch": Batch(3)}, "once= goes with one message at a time"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], text: str) -> None:
    def handler(event: Event) -> None: ...

    assert text in refused(handler, **options)


def test_a_filter_that_nobody_would_await_is_refused() -> None:
    def handler(event: Event) -> None: ...

    async def wanted(it: Any) -> bool:
        return False

    class Wanted:
        async def __call__(self, it: Any) -> bool:
            return False

    for condition in (wanted, functools.partial(wanted), Wanted(), {"country": wanted}):
        assert "nobody would await it" in refused(handler, filter=condition)


def test_once_needs_a_handler_on_the_event_loop() -> None:
    def plain(event: Event) -> None: ...
    async def on_the_loop(event: Event) -> None: ...

    assert "it is a plain def, and once=" in refused(plain, once=FakeDatabase())
    assert taken(on_the_loop, once=FakeDatabase()) == "value"


@pytest.mark.parametrize("name", ["Mail", "a_b", "x" * 31, 5])
def test_the_name_of_a_subscription_follows_the_rules(name: Any) -> None:
    topic = Topic("names", Event)
    with pytest.raises(CompileError, match="is no name for a subscription"):
        topic.subscribe(name)


def test_a_second_subscription_of_a_name_is_refused_and_a_reloaded_one_replaces() -> None:
    topic = Topic("doubles", Event)

    def declare() -> Callable[[Event], None]:
        @topic.subscribe("mail")
        def mail(event: Event) -> None: ...

        return mail

    declare()
    again = declare()
    assert topic.subscriptions["mail"].handler is again
    with pytest.raises(CompileError, match="has a subscription 'mail' already, at "):

        @topic.subscribe("mail")
        def other(event: Event) -> None: ...


def test_a_subscription_that_comes_when_the_app_runs_is_refused_and_a_reloaded_one_replaces() -> None:
    topic = Topic("late", Event)

    def declare(name: str) -> Callable[[Event], None]:
        @topic.subscribe(name)
        def handle(event: Event) -> None: ...

        return handle

    declare("mail")
    loop = asyncio.new_event_loop()
    topic.bind(None, loop)  # type: ignore[arg-type]  # nobody looks at it
    try:
        again = declare("mail")
        assert topic.subscriptions["mail"].handler is again
        with pytest.raises(CompileError, match="is in use already, and nobody would consume its subscription 'count'"):
            declare("count")
    finally:
        topic.unbind(loop)
        loop.close()
    assert list(topic.subscriptions) == ["mail"]


def test_annotations_may_name_what_is_defined_later_in_the_function() -> None:
    topic: Topic[Any] = Topic("locals", Event)

    @topic.subscribe("early")
    async def early(event: Local) -> None: ...

    with pytest.raises(CompileError, match="names something that does not exist"):
        topic.subscriptions["early"].takes
    Local = Event
    assert topic.complete() == []
    assert topic.subscriptions["early"].takes == "value"


def test_a_name_that_never_comes_is_told_at_boot() -> None:
    topic: Topic[Any] = Topic("never", Event)

    @topic.subscribe("mail")
    async def mail(event: Nowhere) -> None: ...  # noqa: F821

    (mistake,) = topic.complete()
    assert "names something that does not exist: name 'Nowhere' is not defined" in str(mistake)
    assert str(mistake).startswith(f"{__file__}:")


def test_an_annotation_that_fails_is_refused() -> None:
    def broken(event: Event[0]) -> None: ...  # type: ignore[misc]

    assert "can't be evaluated" in refused(broken)


def test_a_local_type_that_came_in_time_does_not_hold_the_stack() -> None:
    class Thing:
        pass

    def declare() -> tuple[Topic[Any], weakref.ref[Thing]]:
        class Mine(Struct):
            id: int

        thing = Thing()
        topic: Topic[Any] = Topic("stack", Mine)

        @topic.subscribe("mail")
        def mail(event: Mine) -> None: ...

        return topic, weakref.ref(thing)

    topic, thing = declare()
    gc.collect()
    assert topic.subscriptions["mail"].takes == "value"
    assert thing() is None


def test_methods_partials_and_wrapped_handlers_are_called_as_what_they_are() -> None:
    class Mailer:
        async def send(self, event: Event) -> None: ...

        async def __call__(self, event: Event) -> None: ...

    def wrap(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def wrapper(*args: Any) -> Any:
            return handler(*args)

        return wrapper

    async def with_option(option: int, event: Event) -> None: ...

    @wrap
    async def wrapped(event: Event) -> None: ...

    topic = Topic("callables", Event)
    for name, handler in {
        "method": Mailer().send,
        "callable": Mailer(),
        "partial": functools.partial(with_option, 1),
        "wrapped": wrapped,
    }.items():
        topic.subscribe(name)(handler)
        assert topic.subscriptions[name].is_async
        assert topic.subscriptions[name].takes == "value"

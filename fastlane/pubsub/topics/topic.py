"""A topic: what is published to it, and who subscribes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args, overload

from fastlane.errors import CompileError
from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.publishing.binding import Spy, TopicBinding
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.filters import FilterSpecification
from fastlane.pubsub.topics.inspection import inspected
from fastlane.pubsub.topics.message import Message
from fastlane.pubsub.topics.retry import Retry
from fastlane.pubsub.topics.schema import Schema, UnresolvedSchema
from fastlane.pubsub.topics.subscribing import BatchSubscribing, Subscribing, SubscriptionOptions
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.resources.declaration import Kind, Place, Resource, check_name
from fastlane.resources.quantities import Duration

if TYPE_CHECKING:
    from fastlane.sql import Database

__all__ = ["Guarantee", "Topic"]

T = TypeVar("T")
Guarantee: TypeAlias = Literal["at-least-once", "exactly-once"]


class Topic(Resource[TopicBinding], Generic[T]):
    """Events of one type, carried to every subscription.

    Args:
        name: unique in the app.
        type: of the events: a Struct, a dataclass, or whatever else msgspec can encode and decode.
        delivery: ``at-least-once``; ``exactly-once`` where the broker can: a publish that is repeated with its
            ``dedupe_id`` is delivered once, an acknowledgement that was confirmed is final. A handler that was killed
            runs again.
        order_by: the field of an event whose value is the ordering key. Messages of one key are handled one after
            the other, as they were published.

    Attributes:
        subscriptions: by name.

    Raises:
        CompileError: a value that makes no sense, with the place of the topic.

    Example:
        >>> signups = Topic("user-signups", UserSignup)
        >>> @signups.subscribe("send-welcome-mail")
        ... async def welcome(event: UserSignup) -> None: ...
        >>> await signups.publish(UserSignup(id=1))
    """

    kind: ClassVar[Kind] = "topic"

    @overload
    def __init__(
        self, name: str, type: type[T], *, delivery: Guarantee = "at-least-once", order_by: str | None = None
    ) -> None: ...

    @overload  # a union, a Literal, and what else is no class: no type checker can name it
    def __init__(
        self: Topic[Any], name: str, type: object, *, delivery: Guarantee = "at-least-once", order_by: str | None = None
    ) -> None: ...

    def __init__(
        self,
        name: str,
        type: Any,  # noqa: A002 - what it is
        *,
        delivery: Guarantee = "at-least-once",
        order_by: str | None = None,
    ) -> None:
        place = Place.of_caller()
        check_name(Topic, name, place)
        if delivery not in get_args(Guarantee):
            raise CompileError(
                f"topic {name!r}: delivery={delivery!r}",
                mend='write delivery="at-least-once" or delivery="exactly-once"',
                file=place.file,
                line=place.line,
            )
        self.type = type
        self.delivery = delivery
        self.order_by = order_by
        self.subscriptions: dict[str, Subscription[T]] = {}
        self._schema: Schema[T] | None = None
        try:
            self._schema = Schema(name, type, order_by, place)
        except UnresolvedSchema:
            pass  # a field may name a class that is defined below; the boot asks again
        super().__init__(name, place)  # last: what failed is not declared

    @property
    def ordered(self) -> bool:
        """The order of a key is kept."""
        return self.order_by is not None

    @property
    def exactly_once(self) -> bool:
        """``delivery="exactly-once"``."""
        return self.delivery == "exactly-once"

    @property
    def schema(self) -> Schema[T]:
        """Of the events.

        Raises:
            CompileError: the type can't be carried, or names something that does not exist.
        """
        if self._schema is None:
            self._schema = Schema(self.name, self.type, self.order_by, self.place)
        return self._schema

    @property
    def decode(self) -> Callable[[bytes], T]:
        """The event in a payload. Raises ``msgspec.DecodeError`` (a ``ValidationError`` is one)."""
        return self.schema.decode

    def complete(self) -> list[CompileError]:
        """Understand what could not be understood at import: names that were defined later. Answers what is wrong."""
        mistakes = []
        steps: list[Callable[[], object]] = [lambda: self.schema]
        steps += [subscription.complete for subscription in self.subscriptions.values()]
        for step in steps:
            try:
                step()
            except CompileError as error:
                mistakes.append(error)
        return mistakes

    @overload
    def subscribe(
        self,
        name: str,
        *,
        ack_deadline: Duration = ...,
        timeout: Duration = ...,
        max_concurrency: int = ...,
        retry: Retry = ...,
        filter: FilterSpecification | None = ...,
        batch: None = None,
        once: Database | None = ...,
    ) -> Subscribing[T]: ...

    @overload
    def subscribe(
        self,
        name: str,
        *,
        ack_deadline: Duration = ...,
        timeout: Duration = ...,
        max_concurrency: int = ...,
        retry: Retry = ...,
        filter: FilterSpecification | None = ...,
        batch: Batch,
        once: Database | None = ...,
    ) -> BatchSubscribing[T]: ...

    def subscribe(
        self,
        name: str,
        *,
        ack_deadline: Duration = 30.0,
        timeout: Duration = 600.0,
        max_concurrency: int = 100,
        retry: Retry | None = None,
        filter: FilterSpecification | None = None,  # noqa: A002 - what users call it
        batch: Batch | None = None,
        once: Database | None = None,
    ) -> Any:
        """Decorate a handler: an ``async def``, or a ``def``, which runs in a thread. It is returned unchanged.

        Its one parameter is the event, or a ``Message`` of it; with ``batch`` a list of either. It succeeds by
        returning; what it returns is ignored.

        Args:
            name: unique on this topic; every subscription gets every message.
            ack_deadline: how soon another worker gets the message when this one dies. It is extended while the handler
                runs. Default: 30 s.
            timeout: after which a handler is cancelled, and has failed. Default: 10 minutes.
            max_concurrency: handlers at the same time on one machine, split over its workers.
            retry: of what failed. Default: `Retry()`.
            filter: which messages are wanted, by attributes: ``{"country": "se"}``, or ``["se", "no"]`` for either.
            batch: take lists.
            once: a database that remembers which messages were handled, so that a second delivery is acknowledged and
                not handled.

        Raises:
            CompileError: a value, or a handler, that makes no sense.
        """
        options = SubscriptionOptions(
            name, Place.of_caller(), ack_deadline, timeout, max_concurrency, retry, filter, batch, once
        )
        return Subscribing(self, options) if batch is None else BatchSubscribing(self, options)

    def add(self, subscription: Subscription[T]) -> None:
        """Take a subscription; `subscribe` is how to make one.

        The same name from the same place replaces: a module was loaded again.

        Raises:
            CompileError: another one has its name; or the app runs already, and nobody would consume it.
        """
        other = self.subscriptions.get(subscription.name)
        if other is not None and other.place != subscription.place:
            raise CompileError(
                f"topic {self.name!r} has a subscription {subscription.name!r} already, at {other.place}",
                mend="rename one of them: each subscription gets every message",
                file=subscription.place.file,
                line=subscription.place.line,
            )
        if other is None and self._bindings:
            raise CompileError(
                f"topic {self.name!r} is in use already, and nobody would consume its subscription "
                f"{subscription.name!r}",
                mend="declare it where the application is imported, before it starts",
                file=subscription.place.file,
                line=subscription.place.line,
            )
        self.subscriptions[subscription.name] = subscription

    async def publish(
        self,
        event: T,
        *,
        ordering_key: str | None = None,
        attributes: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        dedupe_id: str | None = None,
        tx: Any = None,
    ) -> str:
        """Answers the message's id once the broker has confirmed it.

        Args:
            ordering_key: instead of the field that the topic is ordered by.
            attributes: beside those that are lifted from fields, which they replace; all in all at most 8.
            delay: before anybody gets it.
            dedupe_id: of an exactly-once topic: what is published again with it, is delivered once.
            tx: a transaction: the message is sent if, and only if, it commits.

        Raises:
            Unavailable: the broker has not confirmed within ``publish_timeout``. Whether it has the message is unknown.
            PublishRefused: the broker will never take it.
            MessageTooLarge: with its attributes it is larger than ``max_message_size``.
            TypeError: the event is not what the topic carries.
            ValueError: an option that the topic, or its broker, can't keep.
            NotBound: the app does not run.
        """
        binding = self.binding
        message = binding.outgoing(
            self, event, ordering_key=ordering_key, attributes=attributes, delay=delay, dedupe_id=dedupe_id
        )
        if tx is not None:
            await binding.publish_in_transaction(tx, [message])
        else:
            await binding.dispatcher.publish(binding.lane, message)
        return message.id

    async def publish_many(
        self,
        events: Iterable[T],
        *,
        ordering_key: str | None = None,
        attributes: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        dedupe_ids: Sequence[str] | None = None,
        tx: Any = None,
    ) -> list[str]:
        """Publish several events, in as few requests as the broker allows. Answers their ids in the same order.

        The options hold for each event. They are no unit: when one fails, the others may have been sent, and what is
        published at the same time may come in between. Nothing is sent when one of the events is not valid.

        Args:
            dedupe_ids: of an exactly-once topic: one for each event.

        Raises:
            What `publish` raises: the first failure there was.
        """
        binding = self.binding
        listed = list(events)
        if dedupe_ids is not None and (isinstance(dedupe_ids, str) or len(dedupe_ids) != len(listed)):
            raise ValueError(f"topic {self.name!r}: dedupe_ids has to have one for each of the {len(listed)} events")
        messages = [
            binding.outgoing(
                self,
                event,
                ordering_key=ordering_key,
                attributes=attributes,
                delay=delay,
                dedupe_id=None if dedupe_ids is None else dedupe_ids[number],
            )
            for number, event in enumerate(listed)
        ]
        if tx is not None:
            await binding.publish_in_transaction(tx, messages)
        else:
            await binding.dispatcher.publish_many(binding.lane, messages)
        return [message.id for message in messages]

    @property
    def messages(self) -> list[Message[T]]:
        """In a test: everything that was published, in that order; ``attempt`` is 0.

        Raises:
            NotBound: the app does not run.
            RuntimeError: this is no test.
        """
        binding, spy = self._inspected()
        return [
            Message(
                message.id,
                broker_id,
                self.decode(message.payload),
                0,
                message.published_at,
                message.attributes,
                message.ordering_key,
            )
            for broker_id, message in spy.published(binding.bound)
        ]

    def dead_letters(self, subscription: str) -> list[DeadLetter]:
        """In a test: what ended among the dead letters of a subscription, oldest first.

        Raises:
            NotBound: the app does not run.
            RuntimeError: this is no test.
            KeyError: there is no such subscription.
        """
        binding, spy = self._inspected()
        return spy.dead(binding.subscriptions[self.subscriptions[subscription].name])

    @contextmanager
    def failing(self, *, times: int | None = None) -> Iterator[None]:
        """In a test: publishing fails as it does when the broker can't be reached, with ``Unavailable``, at once.

        Args:
            times: the next so many publishes; None: all inside the block.
        """
        binding, spy = self._inspected()
        with spy.failing(binding.bound, times):
            yield

    def _inspected(self) -> tuple[TopicBinding, Spy]:
        return inspected(self, list(self._bindings.values()))

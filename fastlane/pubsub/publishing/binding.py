"""What stands behind a topic while the app runs: its place in a broker, and the way there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fastlane.pubsub.attributes import MAX_ATTRIBUTES, attribute_name_problem
from fastlane.pubsub.envelope import DeadLetter, Outgoing
from fastlane.pubsub.failures import MessageTooLarge
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Provider
from fastlane.pubsub.publishing.dispatcher import Dispatcher
from fastlane.pubsub.publishing.identifiers import uuid7
from fastlane.pubsub.publishing.lanes import lane_of
from fastlane.resources.quantities import Duration, seconds

if TYPE_CHECKING:
    from fastlane.pubsub.topics.topic import Topic

__all__ = ["Outbox", "Spy", "TopicBinding"]

Outbox: TypeAlias = Callable[["TopicBinding", Any, Sequence[Outgoing]], Awaitable[None]]
"""``await outbox(binding, tx, messages)``: write them down in the transaction, to be sent once it has committed.

``tx`` is a transaction of ``fastlane.sql``, or an ``asyncpg.Connection``.
"""


class Spy(Protocol):
    """What tests may ask of the broker in memory."""

    def published(self, topic: BoundTopic) -> Sequence[tuple[str, Outgoing]]:
        """The broker's id and the message, of everything that was published."""

    def dead(self, subscription: BoundSubscription) -> list[DeadLetter]:
        """Its dead letters, oldest first."""

    def failing(self, topic: BoundTopic, times: int | None) -> AbstractContextManager[None]:
        """The next publishes fail; None: all inside the block."""


class TopicBinding:
    """A topic on one event loop.

    Attributes:
        bound: its place.
        provider: that carries it.
        subscriptions: their places, by name.
        dispatcher, lane: the way out.
        spy: in a test.
        outbox: what `publish_in_transaction` calls; whoever brings one (the SQL room) sets it.
    """

    __slots__ = (
        "_limit",
        "bound",
        "dispatcher",
        "lane",
        "outbox",
        "provider",
        "spy",
        "subscriptions",
    )

    def __init__(
        self,
        bound: BoundTopic,
        *,
        provider: Provider,
        dispatcher: Dispatcher,
        max_message_size: int,
        subscriptions: Mapping[str, BoundSubscription],
        spy: Spy | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.bound = bound
        self.provider = provider
        self.subscriptions = subscriptions
        self.dispatcher = dispatcher
        self.lane = lane_of(bound)
        self.spy = spy
        self.outbox = outbox
        self._limit = max_message_size

    def outgoing(
        self,
        topic: Topic[Any],
        event: Any,
        *,
        ordering_key: str | None = None,
        attributes: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        dedupe_id: str | None = None,
    ) -> Outgoing:
        """The message for an event.

        Raises:
            TypeError, ValueError, MessageTooLarge: see `Topic.publish`.
        """
        schema = topic.schema
        payload = schema.encode(event)
        lifted = schema.attributes(event)
        if attributes:
            lifted.update(_checked(topic.name, attributes))
            if len(lifted) > MAX_ATTRIBUTES:
                raise ValueError(
                    f"topic {topic.name!r}: {len(lifted)} attributes, and a message has at most {MAX_ATTRIBUTES}: "
                    f"{', '.join(lifted)}"
                )
        identifier = uuid7()
        message = Outgoing(
            identifier,
            payload,
            lifted,
            schema.key(event) if ordering_key is None else self._key(topic, ordering_key),
            datetime.now(UTC),
            0.0 if delay is None else self._delay(topic, delay),
            identifier if dedupe_id is None else self._dedupe_id(topic, dedupe_id),
        )
        size = message.size
        if size > self._limit:
            raise MessageTooLarge(topic.name, size, self._limit)
        return message

    async def publish_in_transaction(self, tx: Any, messages: Sequence[Outgoing]) -> None:
        """Send the messages if, and only if, the transaction commits.

        Raises:
            RuntimeError: nothing here can do that.
        """
        if self.outbox is None:
            raise RuntimeError(
                f"topic {self.bound.name!r} can't be published to in a transaction: this app has no outbox\n"
                "    mend: declare the Database whose transaction it is (fastlane.sql), or publish after the commit"
            )
        await self.outbox(self, tx, messages)

    def _key(self, topic: Topic[Any], key: str) -> str:
        if not topic.ordered:
            raise ValueError(
                f"topic {topic.name!r} has no order, and ordering_key={key!r} would be ignored\n"
                "    mend: declare it with order_by="
            )
        if not key or not _is_text(key):
            raise ValueError(f"topic {topic.name!r}: ordering_key={key!r} is no text, or an empty one")
        return key

    def _delay(self, topic: Topic[Any], delay: Duration) -> float:
        try:
            wanted = seconds(delay)
        except ValueError as error:
            raise ValueError(f"topic {topic.name!r}: delay={delay!r}, expected {error}") from None
        able, name = self.provider.capabilities, self.provider.name
        if able.max_delay is not None and wanted > able.max_delay:
            limit = "no delays" if able.max_delay == 0 else f"delays of at most {able.max_delay:g} s"
            raise ValueError(f"topic {topic.name!r}: delay={delay!r}, and its provider {name!r} has {limit}")
        if wanted and topic.ordered and not able.ordered_delay:
            raise ValueError(
                f"topic {topic.name!r}: delay={delay!r}, and its provider {name!r} can't delay where order is kept"
            )
        return wanted

    def _dedupe_id(self, topic: Topic[Any], dedupe_id: str) -> str:
        if not topic.exactly_once:
            raise ValueError(
                f"topic {topic.name!r} is delivered at least once, and dedupe_id={dedupe_id!r} would be ignored\n"
                '    mend: declare it with delivery="exactly-once"'
            )
        if not _is_text(dedupe_id) or not 1 <= len(dedupe_id) <= 128:
            raise ValueError(f"topic {topic.name!r}: dedupe_id={dedupe_id!r} is no text of 1 to 128 characters")
        return dedupe_id


def _is_text(value: object) -> bool:
    """Of a half of a surrogate pair no broker's encoding has anything."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _checked(topic: str, attributes: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(attributes, Mapping):
        raise TypeError(f"topic {topic!r}: attributes={attributes!r}, expected a dict of texts")
    for name, value in attributes.items():
        problem = attribute_name_problem(name)
        if problem is not None:
            raise ValueError(f"topic {topic!r}: {problem}")
        if not _is_text(value):
            raise TypeError(f"topic {topic!r}: the attribute {name!r} is {value!r}, expected a text")
    return attributes

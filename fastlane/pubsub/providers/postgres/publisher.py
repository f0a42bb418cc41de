"""Publishing: a row for each message and subscription, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Publisher, PublishRefused
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.pubsub.refusals import no_text, publish_others

__all__ = ["PUBLISH", "PostgresPublisher", "columns", "unfit"]

PUBLISH: Final = "SELECT fastlane.pubsub_publish($1, $2, $3, $4, $5, $6, $7, $8, $9)"
FAR: Final = 3e9
"""Seconds, a century: PostgreSQL's calendar ends."""


def columns(messages: Sequence[Outgoing]) -> tuple[list[object], ...]:
    """What the functions take: ids, keys, times, delays, dedupe ids, attributes, bodies."""
    return (
        [message.id for message in messages],
        [message.ordering_key for message in messages],
        [message.published_at for message in messages],
        [min(message.delay, FAR) for message in messages],
        [message.dedupe_id for message in messages],
        [msgspec.json.encode(message.attributes).decode() if message.attributes else "{}" for message in messages],
        [message.payload for message in messages],
    )


def unfit(message: Outgoing) -> str | None:
    """Why PostgreSQL can't keep it: a text of it knows neither NUL nor lone surrogates. None: it can."""
    why = no_text(message)
    if why is not None:
        return why
    if "\x00" in message.dedupe_id or "\x00" in (message.ordering_key or ""):
        return f"message {message.id}: a key or dedupe id has a NUL character, which PostgreSQL can't keep"
    return None


class PostgresPublisher(Publisher):
    """Answers with the message's number in the database; with the message's own id where nobody subscribes, and
    nothing is kept."""

    def __init__(self, links: Links, release: Callable[[], Awaitable[None]]) -> None:
        self._links = links
        self._release = release

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        refused = {index: PublishRefused(why) for index, m in enumerate(messages) if (why := unfit(m)) is not None}
        return await publish_others(messages, refused, lambda taken: self._publish(topic, taken))

    async def _publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> list[str]:
        arguments = columns(messages)
        numbers = await self._links.value(PUBLISH, topic.physical, *arguments, topic.exactly_once)
        if numbers is None:
            return [message.id for message in messages]
        return [str(number) for number in numbers]

    async def close(self) -> None:
        await self._release()

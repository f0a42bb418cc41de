"""Publishing to the file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Publisher, PublishRefused
from fastlane.pubsub.providers.local import intake
from fastlane.pubsub.providers.local.database import Database
from fastlane.pubsub.refusals import no_text, publish_others

__all__ = ["LocalPublisher"]


class LocalPublisher(Publisher):
    """Answers with the message's number in the file; with the message's own id where nobody subscribes, and nothing is
    kept."""

    def __init__(self, database: Database, release: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._release = release

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        for message in messages:
            if no_text(message) is not None:
                break
        else:
            return await self._publish(topic, messages)
        refused = {index: PublishRefused(why) for index, m in enumerate(messages) if (why := no_text(m)) is not None}
        return await publish_others(messages, refused, lambda taken: self._publish(topic, taken))

    def _publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> asyncio.Future[list[str | Exception]]:
        return self._database.submit(intake.publish, intake.Publication(topic, messages), durable=True)

    async def close(self) -> None:
        await self._release()

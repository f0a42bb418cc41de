"""Publishing to the file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Publisher, PublishRefused
from fastlane.pubsub.providers.local import intake
from fastlane.pubsub.providers.local.database import Database

__all__ = ["LocalPublisher"]


class LocalPublisher(Publisher):
    """Answers with the message's number in the file; with the message's own id where nobody subscribes, and nothing is
    kept."""

    def __init__(self, database: Database, release: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._release = release

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        refused = {index: error for index, m in enumerate(messages) if (error := _unfit(m)) is not None}
        if not refused:
            return await self._database.submit(intake.publish, intake.Publication(topic, messages), durable=True)
        keys: set[str | None] = set()
        answers: list[str | Exception | None] = []
        taken: list[Outgoing] = []
        for index, message in enumerate(messages):
            error = refused.get(index)
            if error is None and message.ordering_key is not None and message.ordering_key in keys:
                error = PublishRefused("an earlier message of the same key was refused")
            if error is None:
                taken.append(message)
            else:
                keys.add(message.ordering_key)
            answers.append(error)
        done = iter(await self.publish(topic, taken) if taken else ())
        return [next(done) if answer is None else answer for answer in answers]

    async def close(self) -> None:
        await self._release()


def _unfit(message: Outgoing) -> PublishRefused | None:
    """Text that has no UTF-8 (a lone surrogate) can't be kept."""
    try:
        for text in (message.ordering_key or "", message.dedupe_id, *message.attributes, *message.attributes.values()):
            text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        return PublishRefused(f"message {message.id}: a key, dedupe id or attribute is no text: {error}")
    return None

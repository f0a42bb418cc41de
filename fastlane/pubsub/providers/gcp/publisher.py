"""Publishes to topics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Publisher, PublishRefused
from fastlane.pubsub.providers.gcp.failures import Answered, as_publisher
from fastlane.pubsub.providers.gcp.names import topic_path
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.wire import Framing, PubsubMessage, pack

__all__ = ["GcpPublisher", "Published"]


class Published(Struct, rename="camel"):
    """Google's type."""

    message_ids: list[str] = []


_decoder = msgspec.json.Decoder(Published)


class GcpPublisher(Publisher):
    """One HTTP session for all topics of the provider."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        path = topic_path(self._rest.project, topic.physical)
        packed: list[PubsubMessage] = []
        for message in messages:
            try:
                packed.append(_packed(message))
            except ValueError:
                return await self._one_by_one(topic, path, messages)
        try:
            return await self._send(path, packed)
        except Answered as answered:
            # A request is taken or refused as a whole, also for one message that Pub/Sub does not like.
            if answered.verdict == "refused" and len(messages) > 1:
                return await self._one_by_one(topic, path, messages)
            return [as_publisher(f"topic {topic.physical}", answered)] * len(messages)

    async def close(self) -> None:
        await self._rest.close()

    async def _one_by_one(
        self, topic: BoundTopic, path: str, messages: Sequence[Outgoing]
    ) -> Sequence[str | Exception]:
        answers: list[str | Exception] = []
        failed: dict[str | None, Exception] = {}
        for message in messages:
            if message.ordering_key in failed:
                answers.append(failed[message.ordering_key])
                continue
            try:
                answers += await self._send(path, [_packed(message)])
                continue
            except ValueError as error:
                told: Exception = PublishRefused(f"topic {topic.physical}: {error}")
            except Answered as answered:
                told = as_publisher(f"topic {topic.physical}", answered)
            answers.append(told)
            if message.ordering_key is not None:
                failed[message.ordering_key] = told
        return answers

    async def _send(self, path: str, packed: list[PubsubMessage]) -> Sequence[str | Exception]:
        published = await self._rest.call("POST", f"{path}:publish", {"messages": packed}, _decoder)
        if len(published.message_ids) != len(packed):
            raise Answered("unavailable", f"{len(published.message_ids)} ids for {len(packed)} messages")
        return published.message_ids


def _packed(message: Outgoing) -> PubsubMessage:
    framing = Framing(message.id, message.published_at)
    if message.delay > 0:
        due = message.published_at + timedelta(seconds=message.delay)
        framing = Framing(message.id, message.published_at, not_before=due.timestamp())
    return pack(message.payload, message.attributes, framing, ordering_key=message.ordering_key)

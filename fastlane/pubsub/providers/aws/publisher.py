"""Publishes to SNS topics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, BrokerForbidden, BrokerUnavailable, Publisher, PublishRefused
from fastlane.pubsub.providers.aws.clients import Clients
from fastlane.pubsub.providers.aws.failures import entry_failure, publishing
from fastlane.pubsub.providers.aws.queues import BATCH
from fastlane.pubsub.providers.aws.wire import Framing, Packed, pack, token

__all__ = ["MOST_BYTES", "AwsPublisher"]

MOST_BYTES = 256 * 1024
"""Of the messages of a request, attributes included."""


class AwsPublisher(Publisher):
    """One client for all topics of the provider."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._arns: dict[str, str] = {}

    async def open(self) -> None:
        self._sns = await self._clients.open("sns", read_timeout=10, connections=64)
        self._sns.meta.events.register("before-call.sns.PublishBatch", _encode)

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        arn = await self._arn(topic.physical)
        answers: dict[int, str | Exception] = {}
        failed: dict[str | None, Exception] = {}
        for wave in _waves(messages) if topic.ordered else [list(enumerate(messages))]:
            going: list[_Packed] = []
            for position, message in wave:
                packed = _Packed(position, message, _pack(message))
                if message.ordering_key in failed:
                    answers[position] = failed[message.ordering_key]
                elif packed.size > MOST_BYTES:
                    answers[position] = _too_large(topic, packed)
                else:
                    going.append(packed)
            for part in _requests(going):
                answers |= await self._send(arn, topic, part)
            if topic.ordered:
                for position, message in wave:
                    answer = answers[position]
                    if isinstance(answer, Exception) and message.ordering_key is not None:
                        failed[message.ordering_key] = answer
        return [answers[position] for position in range(len(messages))]

    async def close(self) -> None:
        await self._clients.close()

    async def _send(self, arn: str, topic: BoundTopic, part: list[_Packed]) -> dict[int, str | Exception]:
        fifo = topic.ordered or topic.exactly_once
        what = f"topic {topic.physical}"
        try:
            with publishing(what):
                answer = await self._sns.publish_batch(
                    TopicArn=arn, PublishBatchRequestEntries=[packed.entry(fifo) for packed in part]
                )
        except FastlaneError as error:
            return {packed.position: error for packed in part}
        answers: dict[int, str | Exception] = {
            packed.position: BrokerUnavailable(f"{what}: no answer for this message") for packed in part
        }
        answers |= {int(entry["Id"]): entry["MessageId"] for entry in answer.get("Successful", ())}
        answers |= {int(entry["Id"]): entry_failure(what, entry) for entry in answer.get("Failed", ())}
        return answers

    async def _arn(self, physical: str) -> str:
        if physical.startswith("arn:"):
            return physical
        if physical not in self._arns:
            try:
                self._arns[physical] = (await self._clients.account()).topic_arn(physical)
            except (BrokerForbidden, ConfigurationError) as error:
                raise PublishRefused(f"{error}\n    mend: or give the topic {physical} an arn") from None
        return self._arns[physical]


class _Packed(NamedTuple):
    position: int
    message: Outgoing
    packed: Packed

    @property
    def size(self) -> int:
        return self.packed.size

    def entry(self, fifo: bool) -> dict[str, Any]:
        entry = {
            "Id": str(self.position),
            "Message": self.packed.body,
            "MessageAttributes": self.packed.attributes,
        }
        if fifo:
            # Without a key a group of its own, the same for a retry: the window of duplicates may be per group.
            entry["MessageGroupId"] = token(self.message.ordering_key or self.message.dedupe_id)
            entry["MessageDeduplicationId"] = token(self.message.dedupe_id)
        return entry


def _encode(params: dict[str, Any], **_: Any) -> None:
    """The body of a request, as it is sent.

    PERF: botocore encodes it to sign it, and again to send it: 40 of 150 µs of a message, of ten in a request (3.11).
    """
    params["body"] = urlencode(params["body"]).encode()


def _too_large(topic: BoundTopic, packed: _Packed) -> PublishRefused:
    return PublishRefused(
        f"topic {topic.name}: {packed.size} bytes, with attributes and what the framework adds, are more than "
        f"the {MOST_BYTES} that SNS takes"
    )


def _pack(message: Outgoing) -> Packed:
    framing = Framing(message.id, message.published_at, message.ordering_key)
    if message.delay > 0:
        due = message.published_at + timedelta(seconds=message.delay)
        framing = Framing(message.id, message.published_at, message.ordering_key, not_before=due.timestamp())
    return pack(message.payload, message.attributes, framing)


def _waves(messages: Sequence[Outgoing]) -> Iterator[list[tuple[int, Outgoing]]]:
    """At most one message of each key at a time: SNS takes the entries of a request one by one, and goes on behind one
    that failed."""
    rest = list(enumerate(messages))
    while rest:
        keys: set[str | None] = set()
        wave: list[tuple[int, Outgoing]] = []
        later: list[tuple[int, Outgoing]] = []
        for position, message in rest:
            if message.ordering_key is not None and message.ordering_key in keys:
                later.append((position, message))
            else:
                keys.add(message.ordering_key)
                wave.append((position, message))
        yield wave
        rest = later


def _requests(going: list[_Packed]) -> Iterator[list[_Packed]]:
    """As few requests as SNS's limits allow; base64 and our attribute may make of one batch two."""
    part: list[_Packed] = []
    size = 0
    for packed in going:
        if part and (len(part) == BATCH or size + packed.size > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(packed)
        size += packed.size
    if part:
        yield part

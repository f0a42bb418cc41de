"""SQS as one subscription needs it: its queues, and the calls that take up to ten messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.aws.clients import Client
from fastlane.pubsub.providers.aws.failures import LOST, Missing, judge, talking
from fastlane.pubsub.providers.aws.names import is_fifo, queue_name
from fastlane.pubsub.providers.aws.wire import Framing, Packed, datetime_of, token, unpack

__all__ = ["BATCH", "LONGEST", "Queue", "opened", "parts"]

BATCH = 10
"""Most entries of a request."""
LONGEST = 43_200
"""Seconds after its receive to which a lease can be extended, and the most that a message can be put off."""

_SYSTEM = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]


class Queue:
    """A queue by name, ARN or URL. It is looked up when it is first used, so it may be made after this."""

    def __init__(self, client: Client, physical: str) -> None:
        self.physical = physical
        self.fifo = is_fifo(physical)
        self.client = client
        self._url = physical if "://" in physical else ""

    async def url(self) -> str:
        """
        Raises:
            Missing, BrokerUnavailable, BrokerForbidden
        """
        if not self._url:
            name, owner = queue_name(self.physical)
            arguments = {"QueueName": name} if owner is None else {"QueueName": name, "QueueOwnerAWSAccountId": owner}
            with talking(f"queue {self.physical}"):
                self._url = (await self.client.get_queue_url(**arguments))["QueueUrl"]
        return self._url

    async def receive(self, client: Client, limit: int, *, wait: int, lease: int) -> list[dict[str, Any]]:
        """Up to ``limit`` messages, leased for ``lease`` seconds; none when none came for ``wait`` seconds."""
        url = await self.url()
        with self._talking():
            answer = await client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(limit, BATCH),
                WaitTimeSeconds=wait,
                VisibilityTimeout=lease,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=_SYSTEM,
            )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    async def send(self, packed: Packed, *, group: str, deduplication: str) -> None:
        url = await self.url()
        fifo = {"MessageGroupId": token(group), "MessageDeduplicationId": token(deduplication)} if self.fifo else {}
        with self._talking():
            await self.client.send_message(
                QueueUrl=url, MessageBody=packed.body, MessageAttributes=packed.attributes, **fifo
            )

    async def delete(self, handles: Sequence[str]) -> set[int]:
        """Answers the positions of those whose lease was lost."""
        return await self._each("delete_message_batch", [{"ReceiptHandle": handle} for handle in handles])

    async def change(self, leases: Sequence[tuple[str, int]]) -> set[int]:
        """Each lease ends in so many seconds. Answers the positions of those that were lost."""
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": seconds} for handle, seconds in leases]
        return await self._each("change_message_visibility_batch", entries)

    async def depth(self) -> tuple[int, int]:
        """About how many wait, and how many are leased."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        hidden = "ApproximateNumberOfMessagesNotVisible"
        counts = await self.attributes(*names, hidden)
        return sum(int(counts.get(name, 0)) for name in names), int(counts.get(hidden, 0))

    async def attributes(self, *names: str) -> dict[str, str]:
        url = await self.url()
        with self._talking():
            answer = await self.client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        attributes: dict[str, str] = answer.get("Attributes", {})
        return attributes

    async def _each(
        self, call: Literal["delete_message_batch", "change_message_visibility_batch"], entries: list[dict[str, Any]]
    ) -> set[int]:
        url = await self.url()
        numbered = [{"Id": str(position), **entry} for position, entry in enumerate(entries)]
        with self._talking():
            answers = await asyncio.gather(
                *(getattr(self.client, call)(QueueUrl=url, Entries=part) for part in parts(numbered, BATCH)),
                return_exceptions=True,  # what can be acknowledged is, before the caller hears of what could not
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        failed = [entry for answer in answers for entry in answer.get("Failed", ())]  # type: ignore[union-attr]
        for entry in failed:
            code = str(entry.get("Code", "")).rpartition(".")[2]
            if code not in LOST and judge(code, sender=bool(entry.get("SenderFault"))) != "refused":
                raise BrokerUnavailable(f"queue {self.physical}: {code}")
        return {int(entry["Id"]) for entry in failed}

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """`talking`, and a queue that is gone is looked up anew: it may come back under another URL."""
        try:
            with talking(f"queue {self.physical}"):
                yield
        except Missing:
            self._url = self.physical if "://" in self.physical else ""
            raise


def parts(things: list[Any], most: int) -> list[list[Any]]:
    """In pieces of at most ``most``."""
    return [things[start : start + most] for start in range(0, len(things), most)]


def opened(message: dict[str, Any]) -> tuple[bytes, dict[str, str], Framing]:
    """Payload, attributes and framing of a message that was received, also of one that somebody else has sent."""
    system = message.get("Attributes", {})
    foreign = Framing(message["MessageId"], datetime_of(system.get("SentTimestamp")), system.get("MessageGroupId"))
    return unpack(message["Body"], message.get("MessageAttributes", {}), foreign=foreign)

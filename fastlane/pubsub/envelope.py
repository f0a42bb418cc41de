"""A message on its way: what a publisher hands to a broker, and what a broker hands to a consumer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

__all__ = ["DeadLetter", "Delivery", "Outgoing"]


class Outgoing(Struct, frozen=True, eq=False):
    """A message that is published. The same object is handed over again when a publish is retried.

    Attributes:
        id: the framework's uuid7. It travels with the message, and stays through redelivery, replay and retries.
        payload: encoded JSON.
        attributes: the user's, lifted from fields or given by hand; at most 8.
        ordering_key: None where the topic has no order.
        published_at: when ``publish`` was called, aware, UTC.
        delay: seconds before anybody gets it.
        dedupe_id: of two messages with the same one the broker delivers one, where the topic's delivery is
            exactly-once. Where the user gave none it is ``id``.
    """

    id: str
    payload: bytes
    attributes: dict[str, str]
    ordering_key: str | None
    published_at: datetime
    delay: float
    dedupe_id: str

    @property
    def size(self) -> int:
        """Bytes of payload and attributes."""
        if not self.attributes:
            return len(self.payload)
        return len(self.payload) + sum(len(k.encode()) + len(v.encode()) for k, v in self.attributes.items())


class Delivery(Struct, eq=False):
    """A message that was received and is leased to this consumer.

    Attributes:
        id: the framework's, or the broker's where somebody else published it.
        broker_id: the broker's own.
        attempt: which delivery this is, 1 for the first: exact, or the broker's count of receives (an upper bound), as
            the provider's capabilities say.
        receives: how often the broker has handed it out, 1 for the first; ``attempt`` where there is one count only.
        published_at: aware, UTC.
        lease: what the provider needs to acknowledge it; nobody else looks inside.
    """

    id: str
    broker_id: str
    payload: bytes
    attributes: dict[str, str]
    ordering_key: str | None
    published_at: datetime
    attempt: int
    receives: int
    lease: Any


class DeadLetter(Struct, frozen=True):
    """A message that was given up, as it stands among a subscription's dead letters.

    Attributes:
        id, payload, attributes, ordering_key, published_at: of the message.
        reason: ``attempts`` (``max_attempts`` handlers failed), ``rejected``, ``decode``, ``delivery-limit``.
        error: what the last handler raised, in one line; no traceback.
        source: ``topic/subscription`` it was meant for.
        attempt: the last one.
        died_at: aware, UTC.
        position: where the broker keeps it; empty while it is on its way there.
    """

    id: str
    payload: bytes
    attributes: dict[str, str]
    ordering_key: str | None
    published_at: datetime
    reason: str
    error: str
    source: str
    attempt: int
    died_at: datetime
    position: str = ""

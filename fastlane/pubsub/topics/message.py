"""What a handler may take instead of the bare value: the value with what is known about its delivery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from fastlane.errors import FastlaneError
from fastlane.resources.quantities import Duration, seconds

__all__ = ["Message", "Outcome", "Reject", "RetryLater"]

T = TypeVar("T")


class Reject(FastlaneError):
    """Raised by a handler: this message can never be handled, put it among the dead letters at once.

    Args:
        reason: for whoever reads the dead letter.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class RetryLater(Struct, frozen=True):
    """The mark that `Message.retry` leaves. ``delay`` None: what the subscription's `Retry` says."""

    delay: float | None


Outcome: TypeAlias = RetryLater | Reject | None


class Message(Struct, Generic[T], eq=False):
    """A message as a handler gets it.

    Attributes:
        id: the framework's, a uuid7; the same in every delivery, replay and dead letter.
        broker_id: the broker's own.
        value: decoded.
        attempt: 1 for the first. On some brokers an upper bound.
        published_at: aware, UTC.
        attributes: of the message.
        ordering_key: None where the topic has no order.
        outcome: what `retry` or `reject` has marked; None: done.
    """

    id: str
    broker_id: str
    value: T
    attempt: int
    published_at: datetime
    attributes: Mapping[str, str]
    ordering_key: str | None = None
    outcome: Outcome = None

    def retry(self, *, delay: Duration | None = None) -> None:
        """Mark it as failed. It counts when the handler has returned; an exception says it of the whole batch.

        Args:
            delay: until the next attempt; default: what the subscription's ``retry`` says.

        Raises:
            ValueError: it is no duration.
        """
        try:
            self.outcome = RetryLater(None if delay is None else seconds(delay))
        except ValueError as error:
            raise ValueError(f"retry(delay={delay!r}), expected {error}") from None

    def reject(self, reason: str = "") -> None:
        """Mark it for the dead letters. It counts when the handler has returned."""
        self.outcome = Reject(reason)

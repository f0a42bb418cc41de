"""How often a message is tried, and how long it waits in between."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.consumption.held import Held
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BoundSubscription
from fastlane.pubsub.topics.retry import Retry

__all__ = ["Again", "Policy"]

_POISON_DELIVERIES = 3


class Again(NamedTuple):
    """Another attempt, in ``delay`` seconds."""

    delay: float


class Policy:
    """What the subscription's `Retry` says, within what the broker can."""

    __slots__ = ("_delivery_limit", "_most_backoff", "_retry", "_whole_seconds")

    def __init__(self, retry: Retry, bound: BoundSubscription, capabilities: Capabilities) -> None:
        attempts = bound.max_attempts
        self._retry = retry
        self._delivery_limit = math.inf if attempts is None else 2 * attempts + 10
        self._most_backoff = math.inf if capabilities.max_backoff is None else capabilities.max_backoff
        self._whole_seconds = capabilities.whole_seconds

    def too_often(self, delivery: Delivery) -> bool:
        """It was received so often without an outcome that it may be what kills its workers."""
        return delivery.receives > self._delivery_limit

    def after(self, held: Held) -> Again | str:
        """What follows an attempt that failed: another one, or the dead letters, and then why.

        An undecodable message is tried three times, however many attempts there are: a rolling deploy may bring the
        code that can read it.
        """
        if held.outcome == "undecodable":
            if held.attempt >= _POISON_DELIVERIES:
                return "decode"
        elif self._retry.exhausted(held.attempt):
            return "attempts"
        delay = min(self._retry.delay(held.attempt) if held.delay is None else held.delay, self._most_backoff)
        return Again(math.ceil(delay) if self._whole_seconds else delay)

"""Topics, and the queues of their subscriptions, in the memory of one process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from fastlane.errors import Unavailable
from fastlane.pubsub.envelope import DeadLetter, Outgoing
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.memory.clock import VirtualClock
from fastlane.pubsub.providers.memory.queue import Queue

__all__ = ["Broker"]

DEDUPLICATION: Final = 300.0
"""Seconds in which a second publish with the same ``dedupe_id`` is not delivered, as at SQS."""


class Broker:
    """Used on one event loop; what tests ask of it may be asked from another thread.

    Attributes:
        clock: that leases, delays and backoff follow.
        queues: of subscriptions, by their physical names.
        reachable: False: everything raises BrokerUnavailable.
        busy: each answers whether something goes on that may lead to more messages: a handler, a publish.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.queues: dict[str, Queue] = {}
        self.reachable = True
        self.busy: list[Callable[[], bool]] = []
        self._published: dict[str, list[tuple[str, Outgoing]]] = {}
        self._known: dict[tuple[str, str], tuple[float, str]] = {}
        self._failures: dict[str, int | None] = {}
        self._numbers = itertools.count(1)

    @property
    def changes(self) -> int:
        """Grows with everything that happens."""
        return sum(queue.changes for queue in self.queues.values()) + sum(map(len, self._published.values()))

    @property
    def owing(self) -> list[Queue]:
        """Those with messages that somebody consumes."""
        return [queue for queue in self.queues.values() if len(queue) and queue.consumers and not queue.paused]

    def jump(self) -> bool:
        """To the next moment at which something may happen. Answers False where there is none."""
        # Where everything waits, what a consumer does from time to time without messages may be left out on the way.
        moments = [queue.next_due for queue in self.owing]
        certain = [moment for moment in moments if moment is not None]
        return self.clock.jump(min(certain) if certain and len(certain) == len(moments) else None)

    def check(self) -> None:
        """Raises BrokerUnavailable where it is not reachable."""
        if not self.reachable:
            raise BrokerUnavailable("the broker in memory was made unreachable")

    def has_topic(self, topic: BoundTopic) -> bool:
        return topic.physical in self._published

    def create_topic(self, topic: BoundTopic) -> None:
        self._published.setdefault(topic.physical, [])

    def create_queue(self, subscription: BoundSubscription) -> None:
        if subscription.physical not in self.queues:
            self.queues[subscription.physical] = Queue(subscription, self.clock)

    def queue(self, subscription: BoundSubscription) -> Queue:
        """The subscription's. Raises PublishRefused where nobody has made it."""
        try:
            return self.queues[subscription.physical]
        except KeyError:
            raise PublishRefused(f"there is no subscription {subscription.physical!r}") from None

    def publish(self, topic: BoundTopic, message: Outgoing) -> str | Exception:
        """The broker's id of the message, or why it was not taken."""
        if topic.physical not in self._published:
            return PublishRefused(f"there is no topic {topic.physical!r}")
        if self._fails(topic):
            return Unavailable("a message could not be published in time")
        broker_id = f"memory-{next(self._numbers)}"
        if topic.exactly_once:
            now = self.clock.time()
            moment, known = self._known.get((topic.physical, message.dedupe_id), (now, ""))
            if known and now - moment < DEDUPLICATION:
                return known
            self._known[topic.physical, message.dedupe_id] = (now, broker_id)
        self._published[topic.physical].append((broker_id, message))
        for queue in self.queues.values():
            if queue.subscription.topic.physical == topic.physical:
                queue.put(message, broker_id)
        return broker_id

    def replay(self, queue: Queue, letters: Sequence[DeadLetter]) -> None:
        """Dead letters are messages of that queue again."""
        for letter in letters:
            message = Outgoing(
                letter.id,
                letter.payload,
                letter.attributes,
                letter.ordering_key,
                letter.published_at,
                0.0,
                letter.id,
            )
            queue.put(message, f"memory-{next(self._numbers)}")

    # What tests ask

    def published(self, topic: BoundTopic) -> Sequence[tuple[str, Outgoing]]:
        return list(self._published.get(topic.physical, ()))

    def dead(self, subscription: BoundSubscription) -> list[DeadLetter]:
        return list(self.queue(subscription).dead)

    @contextmanager
    def failing(self, topic: BoundTopic, times: int | None) -> Iterator[None]:
        self._failures[topic.physical] = times
        try:
            yield
        finally:
            self._failures.pop(topic.physical, None)

    def close(self) -> None:
        """Forget what waits for its time."""
        for queue in self.queues.values():
            queue.close()
        self.clock.close()

    def _fails(self, topic: BoundTopic) -> bool:
        left = self._failures.get(topic.physical, 0)
        if left:
            self._failures[topic.physical] = left - 1
        return left is None or left > 0

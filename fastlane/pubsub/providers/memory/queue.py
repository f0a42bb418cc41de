"""The messages of one subscription."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from fastlane.pubsub.clock import Clock, Timer
from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import Backlog, BoundSubscription

__all__ = ["Lease", "Queue", "Stored"]


class Stored(Struct, eq=False):
    """A message that waits, or is leased.

    Attributes:
        number: its place in the order of publishing.
        due: nobody gets it before, by the clock.
        attempt: handlers that started.
        lease: the number of the last lease; 0: nobody has it.
    """

    number: int
    message: Outgoing
    broker_id: str
    due: float
    attempt: int = 0
    receives: int = 0
    lease: int = 0


class Lease(Struct, frozen=True):
    """What a delivery knows about its message: whoever comes with an old number has lost it."""

    stored: Stored
    number: int

    @property
    def held(self) -> bool:
        return self.stored.lease == self.number


class Queue:
    """Hands out what is due, in the order of publishing; of a key nothing before the message in front of it is done.

    Attributes:
        subscription: that it belongs to.
        dead: its dead letters, oldest first.
        consumers: sources that are open.
        changes: grows with everything that happens.
    """

    def __init__(self, subscription: BoundSubscription, clock: Clock) -> None:
        self.subscription = subscription
        self.dead: list[DeadLetter] = []
        self.consumers = 0
        self.changes = 0
        self._clock = clock
        self._paused = False
        self._numbers = itertools.count(1)
        self._leases = itertools.count(1)
        self._entries = itertools.count()
        self._stored: dict[int, Stored] = {}
        self._lines: dict[str, deque[Stored]] = {}
        self._ready: list[tuple[int, Stored]] = []
        self._later: list[tuple[float, int, Stored]] = []
        self._leased: list[tuple[float, int, int, Stored]] = []
        self._timer: Timer | None = None
        self._armed: float | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        """Messages that are not done, leased ones included."""
        return len(self._stored)

    @property
    def paused(self) -> bool:
        """It hands out nothing."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._changed()

    @property
    def waiting(self) -> Iterable[Stored]:
        """All messages that are not done."""
        return self._stored.values()

    @property
    def next_due(self) -> float | None:
        """When the next message comes, by the clock; None: there is one now, or somebody has one."""
        self._tidy()
        if self._ready or not self._later or any(stored.lease for stored in self._stored.values()):
            return None
        return self._later[0][0]

    def put(self, message: Outgoing, broker_id: str) -> None:
        """To the end."""
        stored = Stored(next(self._numbers), message, broker_id, self._clock.time() + message.delay)
        self._stored[stored.number] = stored
        if self._key(stored) is not None:
            line = self._lines.setdefault(self._key(stored) or "", deque())
            line.append(stored)
            if len(line) > 1:
                return
        self._offer(stored)

    def take(self, limit: int) -> list[Delivery]:
        """Lease what is due, ``limit`` at most."""
        self._tidy()
        found: list[Delivery] = []
        while self._ready and len(found) < limit and not self._paused:
            _, stored = heapq.heappop(self._ready)
            stored.attempt += 1
            stored.receives += 1
            stored.lease = next(self._leases)
            self._lease(stored, self.subscription.ack_deadline)
            message = stored.message
            found.append(
                Delivery(
                    id=message.id,
                    broker_id=stored.broker_id,
                    payload=message.payload,
                    attributes=dict(message.attributes),  # as from a broker: a handler that changes them does so alone
                    ordering_key=message.ordering_key,
                    published_at=message.published_at,
                    attempt=stored.attempt,
                    receives=stored.receives,
                    lease=Lease(stored, stored.lease),
                )
            )
        if found:
            self.changes += 1
        return found

    async def arrival(self, timeout: float) -> None:
        """Wait until `take` may find something, ``timeout`` seconds at most."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout)
        finally:
            self._waiters.discard(waiter)

    def done(self, lease: Lease) -> bool:
        """Remove it. Answers False where the lease was lost."""
        if not self._returned(lease):
            return False
        stored = lease.stored
        del self._stored[stored.number]
        key = self._key(stored)
        if key is not None:
            line = self._lines[key]
            line.popleft()
            if line:
                self._offer(line[0])
            else:
                del self._lines[key]
        return True

    def retry(self, lease: Lease, delay: float) -> None:
        """Hand it out again after ``delay`` seconds."""
        if self._returned(lease):
            lease.stored.due = self._clock.time() + delay
            self._offer(lease.stored)

    def release(self, lease: Lease) -> None:
        """Hand it out again at once: nothing was started."""
        if self._returned(lease):
            lease.stored.attempt -= 1
            lease.stored.due = 0.0
            self._offer(lease.stored)

    def extend(self, lease: Lease, duration: float) -> bool:
        """The lease ends in ``duration`` seconds. Answers False where it was lost."""
        self._tidy()
        if not lease.held:
            return False
        self._lease(lease.stored, duration)
        return True

    def bury(self, lease: Lease, letter: DeadLetter) -> None:
        """Among the dead letters, where the lease still stands."""
        if lease.held:
            self.dead.append(_placed(letter, next(self._numbers)))
        self.done(lease)

    def exhume(self, ids: Iterable[str] | None, limit: int) -> list[DeadLetter]:
        """Remove dead letters, the oldest first, and answer them."""
        wanted = None if ids is None else set(ids)
        found = [letter for letter in self.dead if wanted is None or letter.id in wanted][:limit]
        positions = {letter.position for letter in found}
        self.dead = [letter for letter in self.dead if letter.position not in positions]
        self.changes += 1
        return found

    def backlog(self) -> Backlog:
        """How much there is."""
        self._tidy()
        leased = sum(1 for stored in self._stored.values() if stored.lease)
        return Backlog(len(self._stored) - leased, leased, len(self.dead), self._paused)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _key(self, stored: Stored) -> str | None:
        return stored.message.ordering_key if self.subscription.topic.ordered else None

    def _lease(self, stored: Stored, duration: float) -> None:
        # An earlier entry of the same lease stays behind, and is found to be too early.
        stored.due = self._clock.time() + duration
        heapq.heappush(self._leased, (stored.due, next(self._entries), stored.lease, stored))
        self._arm()

    def _returned(self, lease: Lease) -> bool:
        self._tidy()
        if not lease.held:
            return False
        lease.stored.lease = 0
        self.changes += 1
        self._arm()
        return True

    def _offer(self, stored: Stored) -> None:
        if stored.due <= self._clock.time():
            heapq.heappush(self._ready, (stored.number, stored))
        else:
            heapq.heappush(self._later, (stored.due, stored.number, stored))
            self._arm()
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        if self._ready and not self._paused:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _tidy(self) -> None:
        """What has become due is ready, and so is what a consumer has not acknowledged in time."""
        now = self._clock.time() + 1e-6
        while self._leased and (self._leased[0][0] <= now or not self._current(self._leased[0])):
            entry = heapq.heappop(self._leased)
            if self._current(entry):
                stored = entry[-1]
                stored.lease = 0
                heapq.heappush(self._ready, (stored.number, stored))
        while self._later and self._later[0][0] <= now:
            _, number, stored = heapq.heappop(self._later)
            heapq.heappush(self._ready, (number, stored))

    @staticmethod
    def _current(entry: tuple[float, int, int, Stored]) -> bool:
        until, _, number, stored = entry
        return stored.lease == number and stored.due == until

    def _arm(self) -> None:
        while self._leased and not self._current(self._leased[0]):
            heapq.heappop(self._leased)
        moments = [heap[0][0] for heap in (self._later, self._leased) if heap]
        moment = min(moments, default=None)
        if moment != self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = moment
            self._timer = None if moment is None else self._clock.call_at(moment, self._ring)

    def _ring(self) -> None:
        self._timer = self._armed = None
        self._tidy()
        self._arm()
        self._changed()


def _placed(letter: DeadLetter, number: int) -> DeadLetter:
    values: dict[str, Any] = {name: getattr(letter, name) for name in letter.__struct_fields__}
    return DeadLetter(**{**values, "position": str(number)})

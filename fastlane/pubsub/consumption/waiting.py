"""Messages that are held and not started: they wait for a permit, their key, their batch or their backoff."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection

from fastlane.pubsub.clock import Clock, Timer
from fastlane.pubsub.consumption.held import Held, Run, Together
from fastlane.pubsub.consumption.lanes import Lanes
from fastlane.pubsub.topics.batch import Batch

__all__ = ["Waiting"]

# Timers of an event loop may fire that much early.
_EARLY = 0.002


class Waiting:
    """What may be started next, and what may not yet.

    Args:
        lanes: the order of keys; None where there is none.
        batch: how many go together; None: each alone.
        first: called with a message that is not going to be started (``doomed``), once its turn has come.
        startable: called when time has made something startable.

    Attributes:
        ready: whose turn has come, in order; all they need is a permit (and their batch).
    """

    __slots__ = (
        "_backoffs",
        "_backoffs_timer",
        "_batch",
        "_batch_due",
        "_batch_timer",
        "_clock",
        "_doomed",
        "_lanes",
        "_numbers",
        "_startable",
        "ready",
    )

    def __init__(
        self,
        clock: Clock,
        lanes: Lanes | None,
        batch: Batch | None,
        doomed: Callable[[Held], object],
        startable: Callable[[], object],
    ) -> None:
        self.ready: deque[Held] = deque()
        self._clock = clock
        self._lanes = lanes
        self._batch = batch
        self._doomed = doomed
        self._startable = startable
        self._batch_due = 0.0
        self._batch_timer: Timer | None = None
        self._backoffs: list[tuple[float, int, Held]] = []
        self._backoffs_timer: Timer | None = None
        self._numbers = itertools.count()

    def add(self, held: Held) -> None:
        """It has arrived."""
        if self._lanes is None or self._lanes.join(held):
            if held.doomed or self._batch is not None:
                self.turn(held)
            else:
                self.ready.append(held)

    def turn(self, held: Held) -> None:
        """Every earlier message of its key is done."""
        if held.doomed:
            self._doomed(held)
            return
        if self._batch is not None and not self.ready:
            self._wait_for_batch(self._batch.wait)
        self.ready.append(held)

    def postpone(self, held: Held, delay: float) -> None:
        """Its turn comes in ``delay`` seconds, and until then nobody else's of its key."""
        heapq.heappush(self._backoffs, (self._clock.time() + delay, next(self._numbers), held))
        self._set_backoffs_timer()

    def take(self) -> Run | None:
        """What is to be started with one permit, if anything is."""
        ready = self.ready
        if not ready:
            return None
        batch = self._batch
        if batch is None:
            return ready.popleft()
        if len(ready) < batch.size and self._clock.time() + _EARLY < self._batch_due:
            return None
        together = Together([ready.popleft() for _ in range(min(len(ready), batch.size))])
        self._stop_batch_timer()
        if ready:
            self._wait_for_batch(batch.wait)
        return together

    def remove(self, gone: Collection[Held]) -> None:
        """Forget them, wherever they wait; lanes are not touched."""
        if not gone:
            return
        self.ready = deque(held for held in self.ready if held not in gone)
        self._backoffs = [entry for entry in self._backoffs if entry[2] not in gone]
        heapq.heapify(self._backoffs)

    def clear(self) -> list[Held]:
        """Forget, and answer, everything whose turn had come or was going to come after a backoff."""
        everything = [*self.ready, *(entry[2] for entry in sorted(self._backoffs))]
        self.ready.clear()
        self._backoffs.clear()
        self._stop_batch_timer()
        if self._backoffs_timer is not None:
            self._backoffs_timer.cancel()
            self._backoffs_timer = None
        return everything

    # Timers

    def _wait_for_batch(self, wait: float) -> None:
        self._stop_batch_timer()
        self._batch_due = self._clock.time() + wait
        self._batch_timer = self._clock.call_at(self._batch_due, self._startable)

    def _stop_batch_timer(self) -> None:
        if self._batch_timer is not None:
            self._batch_timer.cancel()
            self._batch_timer = None

    def _set_backoffs_timer(self) -> None:
        if self._backoffs_timer is not None:
            self._backoffs_timer.cancel()
            self._backoffs_timer = None
        if self._backoffs:
            self._backoffs_timer = self._clock.call_at(self._backoffs[0][0], self._end_backoffs)

    def _end_backoffs(self) -> None:
        self._backoffs_timer = None
        now = self._clock.time() + _EARLY
        while self._backoffs and self._backoffs[0][0] <= now:
            self.turn(heapq.heappop(self._backoffs)[2])
        self._set_backoffs_timer()
        self._startable()

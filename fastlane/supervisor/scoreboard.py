"""Shared memory in which every worker says how it is, and reads how the others are.

One writer per slot, absolute numbers, one aligned eight-byte store for each: a reader may see an old number, never a
torn one. The supervisor zeroes the slot of a dead worker.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Sequence

__all__ = ["BOOTING", "DRAINING", "EMPTY", "LATENCY_BOUNDS", "READY", "WORK", "Scoreboard", "Slot"]

EMPTY, BOOTING, READY, DRAINING = range(4)
"""What a slot's worker is doing."""

LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds; what takes longer is counted behind the last one."""

_STATE, _PID, _GENERATION, _HEARTBEAT, _CONNECTIONS, _REQUESTS, _IN_FLIGHT, _ORDER, _REFUSES, _LATENCY = range(10)
_LATENCIES = _LATENCY + 1  # one word for each bound, and one for the rest
_INDEX = _LATENCIES + len(LATENCY_BOUNDS) + 1
_HAS_WORK = _INDEX + 1
_WORK = _HAS_WORK + 1
WORK = ("handled", "failed", "dead", "running", "outgoing", "unreachable")
"""What `Slot.publish_work` tells, in this order."""
_WORKS = _WORK + len(WORK)
_WORDS = 40  # a slot is five cache lines of its own, so that writers don't slow each other
_FRESH = 2_000_000_000
"""Nanoseconds after its last heartbeat for which a worker's share of the connections counts."""


class Scoreboard:
    """``capacity`` slots, and some words for all of them, which only the supervisor writes.

    Make it before forking; every process that inherits it sees the same memory.
    """

    __slots__ = ("capacity", "words")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.words = memoryview(mmap.mmap(-1, (capacity + 1) * _WORDS * 8)).cast("q")

    def slot(self, number: int) -> Slot:
        """The slot ``number``, from 0."""
        return Slot(self, number)

    @property
    def stopping(self) -> bool:
        """The supervisor ends all workers: no one will accept after them."""
        return bool(self.words[0])

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self.words[0] = value

    @property
    def shared(self) -> bool:
        """Somebody outside this process tree holds the listening sockets, too."""
        return bool(self.words[1])

    @shared.setter
    def shared(self, value: bool) -> None:
        self.words[1] = value

    @property
    def awaited(self) -> int:
        """How many workers are to be ready before the first of them accepts; 0 once they have been."""
        return self.words[2]

    @awaited.setter
    def awaited(self, value: int) -> None:
        self.words[2] = value

    def ready_count(self) -> int:
        """How many workers are ready."""
        return sum(self.words[base + _STATE] == READY for base in range(_WORDS, len(self.words), _WORDS))


class Slot:
    """One worker's words. Only that worker writes them, except for `clear`."""

    __slots__ = ("_base", "_words", "board", "number")

    def __init__(self, board: Scoreboard, number: int) -> None:
        if not 0 <= number < board.capacity:
            raise IndexError(f"slot {number} of {board.capacity}")
        self.board = board
        self.number = number
        self._words = board.words
        self._base = (number + 1) * _WORDS

    def begin(self, pid: int, generation: int, order: int) -> bool:
        """A worker was born for ``order``. False if that has been taken back: then it must end.

        The worker writes its process id and then reads the order; who takes back clears the order and then reads the
        process id. One of the two always sees the other.
        """
        words, base = self._words, self._base
        words[base + _PID] = pid
        if words[base + _ORDER] != order:
            return False
        words[base + _GENERATION] = generation
        words[base + _HEARTBEAT] = time.monotonic_ns()
        words[base + _STATE] = BOOTING
        return True

    def order(self, number: int) -> None:
        """The supervisor gives the slot to the worker that will be born for ``number``."""
        self.clear()
        self._words[self._base + _ORDER] = number

    def take_back(self) -> int:
        """The supervisor has no use for the worker any more; returns its process id, or 0 if it is not born yet."""
        self._words[self._base + _ORDER] = 0
        return self._words[self._base + _PID]

    def clear(self) -> None:
        """The worker is dead (the supervisor calls this), or not yet born."""
        for word in range(self._base, self._base + _WORDS):
            self._words[word] = 0

    def beat(self, connections: int, requests: int, in_flight: int) -> None:
        """The event loop turns: publish the time and the totals."""
        words, base = self._words, self._base
        words[base + _CONNECTIONS] = connections
        words[base + _REQUESTS] = requests
        words[base + _IN_FLIGHT] = in_flight
        words[base + _HEARTBEAT] = time.monotonic_ns()

    def publish_latencies(self, counts: Sequence[int], seconds: float) -> None:
        """How many answers took how long, by `LATENCY_BOUNDS`, and the sum of it all."""
        first = self._base + _LATENCIES
        for word, count in enumerate(counts, first):
            self._words[word] = count
        self._words[self._base + _LATENCY] = int(seconds * 1e9)

    @property
    def latencies(self) -> list[int]:
        """What `publish_latencies` was given: all zero where nothing is measured."""
        first = self._base + _LATENCIES
        return self._words[first : first + len(LATENCY_BOUNDS) + 1].tolist()

    @property
    def latency_sum(self) -> float:
        """Seconds that all answers took together."""
        return self._words[self._base + _LATENCY] / 1e9

    def publish_work(self, counts: Sequence[int]) -> None:
        """What the worker does beside requests, by `WORK`."""
        words, first = self._words, self._base + _WORK
        for word, count in enumerate(counts, first):
            words[word] = count
        words[self._base + _HAS_WORK] = 1

    @property
    def work(self) -> dict[str, int]:
        """What `publish_work` was given, by name; empty where the worker has no messages."""
        first = self._base + _WORK
        if not self._words[self._base + _HAS_WORK]:
            return {}
        return dict(zip(WORK, self._words[first : first + len(WORK)].tolist(), strict=True))

    @property
    def works(self) -> bool:
        """The worker does work beside requests, or finishes what it has begun of it: a successor waits for that."""
        return bool(self._words[self._base + _WORKS])

    @works.setter
    def works(self, value: bool) -> None:
        self._words[self._base + _WORKS] = value

    @property
    def refuses(self) -> bool:
        """The worker serves, but the application's own checks say that it should not."""
        return bool(self._words[self._base + _REFUSES])

    def refuse(self, value: bool) -> None:
        """What the application's own checks say: whether it should get no requests."""
        self._words[self._base + _REFUSES] = value

    @property
    def state(self) -> int:
        return self._words[self._base + _STATE]

    @state.setter
    def state(self, value: int) -> None:
        self._words[self._base + _STATE] = value

    @property
    def connections(self) -> int:
        """Open connections, TLS handshakes included."""
        return self._words[self._base + _CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._words[self._base + _CONNECTIONS] = value

    @property
    def pid(self) -> int:
        return self._words[self._base + _PID]

    @property
    def index(self) -> int:
        """Which of the workers it is; a successor has its predecessor's."""
        return self._words[self._base + _INDEX]

    @index.setter
    def index(self, value: int) -> None:
        self._words[self._base + _INDEX] = value

    @property
    def generation(self) -> int:
        return self._words[self._base + _GENERATION]

    @property
    def heartbeat(self) -> float:
        """When the event loop last turned, in seconds of the monotonic clock."""
        return self._words[self._base + _HEARTBEAT] / 1e9

    @property
    def requests(self) -> int:
        """Requests answered since the worker was born."""
        return self._words[self._base + _REQUESTS]

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return self._words[self._base + _IN_FLIGHT]

    def accepting_peers(self) -> list[int]:
        """Indexes into ``board.words`` of the other workers' connection counts.

        Only those count that take connections: ready, not draining, and with a heartbeat younger than two seconds, so
        that a blocked or stopped sibling never keeps the others from accepting.
        """
        words = self._words
        oldest = time.monotonic_ns() - _FRESH
        return [
            base + _CONNECTIONS
            for base in range(_WORDS, len(words), _WORDS)
            if words[base + _STATE] == READY and words[base + _HEARTBEAT] >= oldest and base != self._base
        ]

    def has_predecessor(self) -> bool:
        """Whether an older worker of the same index is ready and has not begun to drain, or still `works`.

        One without a heartbeat for two seconds does not count, as in `accepting_peers`.
        """
        words, own = self._words, self._base
        oldest = time.monotonic_ns() - _FRESH
        return any(
            (words[base + _STATE] == READY or words[base + _WORKS])
            and words[base + _INDEX] == words[own + _INDEX]
            and words[base + _ORDER] < words[own + _ORDER]
            and words[base + _HEARTBEAT] >= oldest
            for base in range(_WORDS, len(words), _WORDS)
            if base != own
        )

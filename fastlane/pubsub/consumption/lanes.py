"""The order of keys: which message may be started, and which ones have to wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fastlane.pubsub.consumption.held import Held

__all__ = ["Lanes"]


class _Closed:
    """A key of which messages are on their way back.

    Attributes:
        count: how many.
        left: their ids, of the broker, and of earlier ones that may come again.
        arrived: what has arrived since, in order.
    """

    __slots__ = ("arrived", "count", "left")

    def __init__(self) -> None:
        self.count = 0
        self.left: set[str] = set()
        self.arrived: list[Held] = []


class Lanes:
    """Of each key the messages that are held here, in the order in which the broker handed them out.

    Only the first of a key may be started. It stays the first until it has succeeded, or is among the dead letters.

    While messages are on their way back to the broker their keys are closed: what arrives of them meanwhile may be
    later ones, which would overtake.
    """

    __slots__ = ("_closed", "_lanes")

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Held]] = {}
        self._closed: dict[str, _Closed] = {}

    def join(self, held: Held) -> bool:
        """Take its place behind the others of its key. Answers whether it is the first.

        A message without a key has no lane, and is always the first.
        """
        key = held.delivery.ordering_key
        if key is None:
            return True
        held.in_lane = True
        lane = self._lanes.get(key)
        closed = self._closed.get(key)
        if closed is not None:
            closed.arrived.append(held)
            self._lanes.setdefault(key, deque()).append(held)
            return False
        if lane is None:
            self._lanes[key] = deque((held,))
            return True
        lane.append(held)
        return False

    def advance(self, head: Held) -> Held | None:
        """``head`` is done for good: leave the lane. Answers who is first now, and may be started."""
        lane = self._lane(head)
        if not lane or lane[0] is not head:
            return None
        lane.popleft()
        head.in_lane = False
        if lane:
            return None if head.delivery.ordering_key in self._closed else lane[0]
        self._forget(head)
        return None

    def followers(self, held: Held) -> list[Held]:
        """Those behind ``held`` leave the lane, and are answered in order. None of them has been started."""
        lane = self._lane(held)
        behind: list[Held] = []
        while lane and lane[-1] is not held:
            last = lane.pop()
            last.in_lane = False
            behind.append(last)
        behind.reverse()
        return behind

    def leave(self, held: Held) -> list[Held]:
        """``held`` and those behind it leave the lane: it is not going to be done here. Answers those behind."""
        behind = self.followers(held)
        lane = self._lane(held)
        if lane is not None:
            lane.pop()  # `followers` has made it the last
            held.in_lane = False
            if not lane:
                self._forget(held)
        return behind

    def replace(self, head: Held, successor: Held) -> None:
        """``successor`` takes the place of ``head``."""
        lane = self._lane(head)
        if lane:
            lane[0] = successor
            head.in_lane = False
            successor.in_lane = True

    def close(self, leaving: Iterable[Held], earlier: Held | None = None) -> None:
        """These have left their lanes, and are on their way back to the broker. Undone by `open`.

        Args:
            earlier: one of the same key that has gone before them.
        """
        for held in leaving:
            key = held.delivery.ordering_key
            if key is not None:
                closed = self._closed.setdefault(key, _Closed())
                closed.count += 1
                closed.left.add(held.delivery.broker_id)
                if earlier is not None:
                    closed.left.add(earlier.delivery.broker_id)

    def open(self, leaving: Iterable[Held]) -> tuple[list[Held], list[Held]]:
        """The broker has them again, or their leases are over. Answers who is first now and may be started, and those
        that have overtaken them, and have to go back, too, in order."""
        first: list[Held] = []
        overtaking: list[Held] = []
        for held in leaving:
            key = held.delivery.ordering_key
            closed = self._closed.get(key) if key is not None else None
            if key is None or closed is None:
                continue
            closed.count -= 1
            if closed.count:
                continue
            del self._closed[key]
            arrived = [newcomer for newcomer in closed.arrived if newcomer.in_lane]
            if not arrived:
                continue
            if arrived[0].delivery.broker_id not in closed.left:
                overtaking.append(arrived[0])
                overtaking += self.leave(arrived[0])
            elif self._lanes[key][0] is arrived[0]:
                first.append(arrived[0])
        return first, overtaking

    def _lane(self, held: Held) -> deque[Held] | None:
        return self._lanes.get(held.delivery.ordering_key) if held.in_lane else None  # type: ignore[arg-type]  # it has a key

    def _forget(self, held: Held) -> None:
        del self._lanes[held.delivery.ordering_key]  # type: ignore[arg-type]  # it has a key

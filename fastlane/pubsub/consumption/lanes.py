"""The order of keys: which message may be started, and which ones have to wait for it."""

from __future__ import annotations

from collections import deque

from fastlane.pubsub.consumption.held import Held

__all__ = ["Lanes"]


class Lanes:
    """Of each key the messages that are held here, in the order in which the broker handed them out.

    Only the first of a key may be started. It stays the first until it has succeeded, or is among the dead letters.
    """

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Held]] = {}

    def join(self, held: Held) -> bool:
        """Take its place behind the others of its key. Answers whether it is the first.

        A message without a key has no lane, and is always the first.
        """
        key = held.delivery.ordering_key
        if key is None:
            return True
        held.in_lane = True
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((held,))
            return True
        lane.append(held)
        return False

    def advance(self, head: Held) -> Held | None:
        """``head`` is done for good: leave the lane. Answers who is first now."""
        lane = self._lane(head)
        if not lane or lane[0] is not head:
            return None
        lane.popleft()
        head.in_lane = False
        if lane:
            return lane[0]
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

    def _lane(self, held: Held) -> deque[Held] | None:
        return self._lanes.get(held.delivery.ordering_key) if held.in_lane else None  # type: ignore[arg-type]  # it has a key

    def _forget(self, held: Held) -> None:
        del self._lanes[held.delivery.ordering_key]  # type: ignore[arg-type]  # it has a key

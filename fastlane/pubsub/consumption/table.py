"""Which messages are held, found again by the broker's id when they come a second time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from fastlane.pubsub.consumption.health import Health
from fastlane.pubsub.consumption.held import Held
from fastlane.pubsub.envelope import Delivery

__all__ = ["Table"]

_MOST_REMEMBERED = 1000


class Table:
    """Everything that is held and not leaving.

    A message that comes again while it is held has lost its lease, and brings another one: it is not handled twice, its
    new lease takes the place of the old. The same goes for one that was handled, and whose lease was lost before the
    broker heard of it: that is remembered, for the last thousand.
    """

    __slots__ = ("_health", "_held", "_numbers", "_remembered")

    def __init__(self, health: Health) -> None:
        self._health = health
        self._held: dict[str, Held] = {}
        self._numbers = itertools.count()
        self._remembered: dict[str, tuple[str, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def enter(self, delivery: Delivery, now: float) -> Held | None:
        """It was received. Answers what is held now; its stage is ``done`` where it was handled before. None: it was
        held already."""
        key = delivery.broker_id
        known = self._held.get(key)
        if known is not None:
            if known.delivery.id == delivery.id and known.delivery.payload == delivery.payload:
                self._health.lost += not known.lost
                known.lost = False
                known.delivery = delivery
                known.leased_at = now
                known.attempt = max(known.attempt, delivery.attempt)
                return None
            key = f"{key} {next(self._numbers)}"  # two nodes of a broker may give the same id
        held = self._held[key] = Held(delivery, now, delivery.attempt, key)
        if self._remembered and self._remembered.pop(key, None) == (delivery.id, hash(delivery.payload)):
            held.stage = "done"
        return held

    def replace(self, held: Held, successor: Held) -> None:
        """``successor`` is the same message."""
        self._held[held.key] = successor

    def forget(self, held: Held) -> None:
        """It is no longer held, or is leaving."""
        if self._held.get(held.key) is held:
            del self._held[held.key]

    def forget_all(self, several: Iterable[Held]) -> None:
        """Likewise."""
        for held in several:
            self.forget(held)

    def remember(self, held: Held) -> None:
        """It was handled, and the broker does not know."""
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        delivery = held.delivery
        self._remembered[delivery.broker_id] = (delivery.id, hash(delivery.payload))

"""How many messages each connection may have in flight (RDY), so that all together have no more than were asked for."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["grants", "quotas"]

MANY = 8
"""From this many permits for each replay connection on, it always has one; below, a moment now and then."""


def quotas(total: int, busy: Sequence[bool], replays: int, *, turn: int, replaying: bool) -> list[int]:
    """The part of each connection: their sum is ``total``, as long as there is a connection.

    Where there are enough permits, each connection has one, and those over which something came lately share the rest.
    Where there are fewer than connections, they take turns.

    Args:
        total: permits.
        busy: of each connection to the topic, whether something came over it lately.
        replays: connections to the replay topic. They come last in the answer. Hardly ever is there anything for them.
        turn: whose turn it is; counts up.
        replaying: this is a moment in which they have their permits even when there are few.
    """
    given = 0
    if replays and (replaying or total >= MANY * replays or not busy):
        given = min(total, replays)
    return _spread(total - given, busy, turn) + _spread(given, [False] * replays, turn)


def _spread(total: int, busy: Sequence[bool], turn: int) -> list[int]:
    count = len(busy)
    if not count:
        return []
    if total < count:
        return [1 if (index - turn) % count < total else 0 for index in range(count)]
    takers = [index for index in range(count) if busy[index]] or list(range(count))
    each, odd = divmod(total - count, len(takers))
    result = [1] * count
    for place, index in enumerate(takers):
        result[index] += each + (1 if (place - turn) % len(takers) < odd else 0)
    return result


def grants(total: int, parts: Sequence[int], in_flight: Sequence[int]) -> list[int]:
    """The RDY of each connection. A new RDY holds for messages to come; those in flight count, wherever they are.

    A connection that has more in flight than its part gets no more until it is below; what it has too much, the others
    wait for. So never more than ``total`` are in flight, if that was so before.

    Args:
        parts: see `quotas`.
        in_flight: what each has now.
    """
    spare = max(0, total - sum(in_flight))
    result = []
    for part, flying in zip(parts, in_flight, strict=True):
        more = min(max(0, part - flying), spare)
        spare -= more
        result.append(min(part, flying) + more)
    return result

"""``Accept``: which of the media types that a route can send the client prefers (RFC 9110 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["preferred", "quality"]


def preferred(lines: Sequence[bytes], offers: Sequence[str]) -> str:
    """The offer that the client likes best; the first of several, and where it asks for nothing or for nothing of
    these.

    Args:
        lines: the values of all ``Accept`` lines.
        offers: essences in lower case, at least one.
    """
    if not lines:
        return offers[0]
    ranges = _ranges(lines)
    return max(offers, key=lambda offer: _quality(ranges, offer))  # max keeps the first of equals


def quality(lines: Sequence[bytes], offer: str) -> float:
    """How much the client likes one media type, from 0 (not at all) to 1; 1 where it sent no ``Accept``."""
    return _quality(_ranges(lines), offer) if lines else 1.0


def _ranges(lines: Sequence[bytes]) -> list[tuple[str, float]]:
    ranges = []
    for line in lines:
        for item in line.decode("latin-1").lower().split(","):
            essence, *parameters = (part.strip(" \t") for part in item.split(";"))
            if essence:
                ranges.append((essence, _weight(parameters)))
    return ranges


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip(" \t") == "q":
            value = value.strip(" \t")
            # RFC 9110 12.4.2: at most three decimals from 0 to 1. What is none of that counts as not asked for.
            if len(value) <= 5 and value[:1] in ("0", "1") and value.replace(".", "", 1).isdecimal():
                return min(float(value), 1.0)
            return 0.0
    return 1.0


def _quality(ranges: list[tuple[str, float]], offer: str) -> float:
    """The most specific range that matches decides."""
    whole = offer.partition("/")[0] + "/*"
    for pattern in (offer, whole, "*/*"):
        found = [weight for essence, weight in ranges if essence == pattern]
        if found:
            return max(found)
    return 0.0

"""Durations and sizes as people write them: ``30``, ``1.5s``, ``"10m"``, ``timedelta(days=1)``, ``64KiB``, ``2 MB``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

__all__ = ["Duration", "octets", "seconds"]

Duration: TypeAlias = float | timedelta | str
"""Seconds, a ``timedelta``, or a text with a unit, such as ``"10m"``: one type wherever a time is asked for."""

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmg", start=1):
    _SIZES |= {f"{_letter}b": 1000**_power, _letter: 1024**_power, f"{_letter}ib": 1024**_power}


def seconds(value: object) -> float:
    """A number of seconds, a timedelta, or a text with a unit: ms, s, m, h, d.

    Raises:
        ValueError: it is none of them, or negative, or not finite. Its text says what was expected.
    """
    if isinstance(value, timedelta) and value >= timedelta(0):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
        if match is not None and match[2] in _TIMES:
            return float(match[1]) * _TIMES[match[2]]
    raise ValueError("a duration: seconds, or a number with ms, s, m, h or d")


def octets(value: object) -> int:
    """A number of bytes, or a text with a unit: ``KiB MiB GiB``, short ``K M G``, or decimal ``kB MB GB``.

    Raises:
        ValueError: it is neither, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
        if match is not None and match[2].lower() in _SIZES:
            return int(float(match[1]) * _SIZES[match[2].lower()])
    raise ValueError("a size: bytes, or a number with KiB, MiB, GiB, kB, MB or GB")

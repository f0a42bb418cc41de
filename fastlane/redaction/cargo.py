"""What a log record carries beside its text: arguments and extras, which a queue or an error tracker reads itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastlane.redaction.table import redactor

__all__ = ["clean_cargo"]

_DEPTH = 8
"""Of containers in containers. What lies deeper is left out: it can't be told whether it is innocent."""

_LEFT_OUT = "***"


def clean_cargo(value: Any, of_error: Callable[[BaseException], BaseException], depth: int = 0) -> Any:
    """``value`` itself where nothing hidden is in it, else a copy that has the names in the place of the values.

    Looks into dicts, lists, tuples and sets, at texts and octets, and at exceptions. An object of any other type stays:
    nobody can tell what of it would be shown, and what writes it down passes `logging.Handler.format`.

    Args:
        of_error: what stands in for an exception.
    """
    if isinstance(value, str):
        return value if (shown := redactor.text(value)) == value else shown
    if isinstance(value, bytes | bytearray):
        shown_octets = redactor.octets(bytes(value))
        return value if shown_octets == value else shown_octets
    if isinstance(value, BaseException):
        return of_error(value)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return value
    if depth == _DEPTH:
        return _LEFT_OUT
    if isinstance(value, dict):
        flat = [part for pair in value.items() for part in pair]
        cleaned = [clean_cargo(part, of_error, depth + 1) for part in flat]
        if all(new is old for new, old in zip(cleaned, flat, strict=True)):
            return value
        return dict(zip(cleaned[::2], cleaned[1::2], strict=True))
    items = list(value)
    cleaned = [clean_cargo(item, of_error, depth + 1) for item in items]
    if all(new is old for new, old in zip(cleaned, items, strict=True)):
        return value
    kind = next(base for base in (list, tuple, frozenset, set) if isinstance(value, base))
    return kind(cleaned)

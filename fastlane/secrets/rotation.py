"""A table of the configuration, with what its secrets have become since it was resolved."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fastlane.resources.configuration.table import Table
from fastlane.secrets.values import values

__all__ = ["rotated"]

T = TypeVar("T", bound=Table)


def rotated(options: T) -> T:
    """``options`` as they would be resolved now: a text that came from ``{ secret = "X" }`` has that secret's value.

    For what connects again and again. The same object where nothing was rotated.
    """
    changed: dict[str, str] = {}
    for name in options.__struct_fields__:
        value = getattr(options, name)
        if isinstance(value, str) and (now := values.latest(value)) != value:
            changed[name] = now
    return msgspec.structs.replace(options, **changed) if changed else options

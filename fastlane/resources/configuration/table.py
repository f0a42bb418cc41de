"""What every table of the configuration is: strict, and made of values that people write."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

__all__ = ["DurationText", "SizeText", "Table"]

DurationText: TypeAlias = Annotated[float | str, Meta(description="seconds, or a text such as 10m")]
SizeText: TypeAlias = Annotated[int | str, Meta(description="bytes, or a text such as 256KiB")]


class Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file. A key that nobody knows is refused; a ``ValueError`` of ``__post_init__`` gets the path."""

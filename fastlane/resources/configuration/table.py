"""What every table of the configuration is: strict, and made of values that people write."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct, inspect

from fastlane.resources.quantities import octets, seconds

__all__ = [
    "Count",
    "CountAboveZero",
    "DsnText",
    "DurationText",
    "HiddenText",
    "PauseText",
    "SizeText",
    "Table",
    "hidden_kind",
    "quantity_reader",
]

Reader: TypeAlias = Callable[[object], float]


def _above_zero(read: Reader, unit: str) -> Reader:
    def positive(value: object) -> float:
        number = read(value)
        if number <= 0:
            raise ValueError(f"{unit} above zero")
        return number

    return positive


_POSITIVE_TIME = _above_zero(seconds, "a duration")
_POSITIVE_SIZE = _above_zero(octets, "a size")

# The bounds and patterns of the members are for editors: the reader says the same in words.
_TimeText: TypeAlias = Annotated[str, Meta(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*$")]
_SizeText: TypeAlias = Annotated[str, Meta(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*([bB]|[kKmMgG]([iI]?[bB])?)?\s*$")]

DurationText: TypeAlias = Annotated[
    Annotated[float, Meta(gt=0)] | _TimeText,
    Meta(description="Seconds, or a text such as 10m. Above zero.", extra={"read": _POSITIVE_TIME}),
]
PauseText: TypeAlias = Annotated[
    Annotated[float, Meta(ge=0)] | _TimeText,
    Meta(description="Seconds, or a text such as 10m. Zero is one.", extra={"read": seconds}),
]
SizeText: TypeAlias = Annotated[
    Annotated[int, Meta(ge=1)] | _SizeText,
    Meta(description="Bytes, or a text such as 256KiB. Above zero.", extra={"read": _POSITIVE_SIZE}),
]
HiddenText: TypeAlias = Annotated[str, Meta(extra={"hidden": "text"})]
"""A password or a key: no error, log or command shows it."""

Count: TypeAlias = Annotated[int, Meta(ge=0)]
CountAboveZero: TypeAlias = Annotated[int, Meta(ge=1)]

DsnText: TypeAlias = Annotated[str, Meta(extra={"hidden": "dsn"})]
"""A URL that may hold a password, which nothing shows."""


class Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file. A key that nobody knows is refused; a ``ValueError`` of ``__post_init__`` gets the path.

    Quantities that are texts become numbers, whoever makes the table: the file's reader, or a test.
    """

    def __post_init__(self) -> None:
        for name, read in _quantities(type(self)).items():
            value = getattr(self, name)
            if value is not None:
                try:
                    msgspec.structs.force_setattr(self, name, read(value))
                except ValueError as error:
                    raise ValueError(f"{name}: expected {error}, got {value!r}") from None


def quantity_reader(node: inspect.Type) -> Reader | None:
    """What reads a value of this type; None where it is no quantity."""
    reader: Reader | None = _extra(node).get("read")
    return reader


def hidden_kind(node: inspect.Type) -> str:
    """``"text"`` where the whole value is hidden, ``"dsn"`` where a password inside is, else empty."""
    kind: str = _extra(node).get("hidden", "")
    return kind


def _extra(node: inspect.Type) -> dict[str, Any]:
    if isinstance(node, inspect.UnionType):
        found: dict[str, Any] = {}
        for member in node.types:
            found |= _extra(member)
        return found
    return (node.extra or {}) | _extra(node.type) if isinstance(node, inspect.Metadata) else {}


@functools.cache
def _quantities(table: type[Table]) -> dict[str, Reader]:
    info = inspect.type_info(table)
    assert isinstance(info, inspect.StructType)
    readers = {field.name: quantity_reader(field.type) for field in info.fields}
    return {name: read for name, read in readers.items() if read is not None}

"""Attributes: texts beside the payload that filters and brokers can see, lifted from fields or given by hand."""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union

from fastlane.annotations import bare

__all__ = ["MAX_ATTRIBUTES", "Attribute", "attribute_name_problem", "attribute_text", "is_scalar", "lifted_fields"]

MAX_ATTRIBUTES: Final = 8
"""SQS takes 10 with raw delivery; the framework needs two."""

_NAME = re.compile(r"(?=.{1,100}$)[A-Za-z_](?:\.?[A-Za-z0-9_-])*")
"""SNS takes no dot at an end, and no two in a row."""
_RESERVED = ("fastlane", "aws.", "amazon.", "goog")
_SCALARS = (str, bool, int, float, enum.Enum, uuid.UUID, decimal.Decimal, datetime.date, datetime.time)


class Attribute:
    """Marks a field whose value travels among the attributes, too: ``Annotated[str, Attribute()]``.

    The value becomes text: ``true`` and ``false``, an enum's value, ISO 8601. None is left out.

    Args:
        name: of the attribute; default: the field's.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Attribute({'' if self.name is None else repr(self.name)})"


def attribute_text(value: Any) -> str:
    """How a value reads as an attribute."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def attribute_name_problem(name: object) -> str | None:
    """Why ``name`` can't name an attribute on every broker; None: it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return (
            f"{name!r} is no name for an attribute: a letter or `_`, then letters, digits, `_`, `-`, and single `.` "
            "between them; at most 100 characters"
        )
    if name.lower().startswith(_RESERVED):
        return f"the attribute name {name!r} is reserved: {', '.join(_RESERVED)} are the framework's and the brokers'"
    return None


def lifted_fields(hints: Mapping[str, Any]) -> dict[str, str]:
    """The names of attributes, by the name of the field that each is lifted from.

    Raises:
        ValueError: a field whose type is no scalar, a name that can't be used or is used twice, more than 8.
    """
    found: dict[str, str] = {}
    for field, hint in hints.items():
        marker = _marker_in(hint)
        if marker is None:
            continue
        name = field if marker.name is None else marker.name
        problem = attribute_name_problem(name)
        if problem is not None:
            raise ValueError(f"field {field!r}: {problem}")
        if name in found.values():
            raise ValueError(f"field {field!r}: another field is lifted into the attribute {name!r} already")
        if not is_scalar(hint):
            raise ValueError(f"field {field!r} can't be an attribute: its type is no text, number, enum, UUID or time")
        found[field] = name
    if len(found) > MAX_ATTRIBUTES:
        raise ValueError(f"{len(found)} fields are attributes, and a message has at most {MAX_ATTRIBUTES}")
    return found


def _marker_in(hint: Any) -> Attribute | None:
    """The marker of a field, also one inside ``… | None``."""
    if typing.get_origin(hint) is Annotated:
        inner, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, Attribute):
                return extra
            if extra is Attribute:
                return Attribute()
        return _marker_in(inner)
    for arm in _arms(hint):
        marker = _marker_in(arm)
        if marker is not None:
            return marker
    return None


def is_scalar(hint: Any) -> bool:
    """Whether `attribute_text` has a text for values of this type; None does not count."""
    hint = bare(hint)
    arms = _arms(hint)
    if arms:
        return all(arm is type(None) or is_scalar(arm) for arm in arms)
    if typing.get_origin(hint) is Literal:
        return True
    return isinstance(hint, type) and issubclass(hint, _SCALARS)


def _arms(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else, and of an optional's wrapper (``Required[…]``), what is inside."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return typing.get_args(hint)
    if origin in (typing.Required, typing.NotRequired):
        return typing.get_args(hint)
    return ()

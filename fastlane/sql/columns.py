"""Whether a column's type fits a field's, and what has to be done with each value: mostly nothing.

asyncpg decodes a value by its OID. Where that gives what the field says, the value is taken as it is; where there is
one sensible way from one to the other (text to an enumeration, json to a structure), that is done; else it is a
mismatch.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, Union

import asyncpg
import msgspec

from fastlane.annotations import bare

__all__ = ["KEPT", "Column", "Convert", "Unfit", "conversion", "is_optional", "members", "shown", "without_null"]

Convert: TypeAlias = Callable[[Any], Any]


class Column(NamedTuple):
    """A column of a result.

    Attributes:
        name: as the query names it.
        type: PostgreSQL's name: ``int4``, ``text[]``.
        kind: ``scalar``, ``array``, ``composite``, ``range``, ``multirange``.
    """

    name: str
    type: str
    kind: str


class Unfit(Exception):
    """A column can't be read into a field. The text says what would fit."""


TEXT = ("text", "varchar", "bpchar", "name", "citext", "xml", "money", "unknown", "cstring")
PRODUCED: dict[str, type] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "xid", "cid"), int),
    **dict.fromkeys(("float4", "float8"), float),
    **dict.fromkeys(TEXT, str),
    "bool": bool,
    **dict.fromkeys(("bytea", "char"), bytes),  # "char" in quotation marks, as the catalogs have it; not char(n)
    "uuid": uuid.UUID,
    "numeric": decimal.Decimal,
    "date": datetime.date,
    **dict.fromkeys(("time", "timetz"), datetime.time),
    **dict.fromkeys(("timestamp", "timestamptz"), datetime.datetime),
    "interval": datetime.timedelta,
}
"""What asyncpg makes of PostgreSQL's own types."""

JSON = ("json", "jsonb")
NETWORK = ("inet", "cidr")

# A text is what msgspec writes these as, and reads them from.
FROM_TEXT = (uuid.UUID, decimal.Decimal, datetime.date, datetime.time, datetime.datetime, datetime.timedelta)
CASTS: dict[type, str] = {
    int: "bigint",
    float: "float8",
    str: "text",
    bool: "boolean",
    bytes: "bytea",
    uuid.UUID: "uuid",
    decimal.Decimal: "numeric",
    datetime.date: "date",
    datetime.time: "time",
    datetime.datetime: "timestamptz",
    datetime.timedelta: "interval",
}
KEPT = (
    bytes, uuid.UUID, decimal.Decimal, datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface,
    ipaddress.IPv4Network, ipaddress.IPv6Network, asyncpg.Range, asyncpg.BitString, asyncpg.Box, asyncpg.Circle,
    asyncpg.Line, asyncpg.LineSegment, asyncpg.Path, asyncpg.Point, asyncpg.Polygon,
)  # fmt: skip
"""What a row may hold that msgspec need not, or can't, take apart."""

LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


def shown(annotation: Any) -> str:
    """A type as people write it."""
    annotation = plain(annotation)
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def plain(annotation: Any) -> Any:
    """Bare, and without what a TypedDict says of the presence of a key."""
    annotation = bare(annotation)
    while typing.get_origin(annotation) in (typing.Required, typing.NotRequired):
        annotation = bare(typing.get_args(annotation)[0])
    return annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, each plain; of anything else, itself."""
    annotation = plain(annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(m for one in typing.get_args(annotation) for m in members(one))
    return (annotation,)


def is_optional(annotation: Any) -> bool:
    """Whether NULL may stand there."""
    return any(
        member in (None, type(None), Any, object)
        or (typing.get_origin(member) is Literal and None in typing.get_args(member))
        for member in members(annotation)
    )


def conversion(annotation: Any, column: Column) -> Convert | None:
    """What has to be done with a value that is not NULL; None: nothing.

    Raises:
        Unfit: the column's type can't become the field's.
    """
    wanted = tuple(member for member in members(annotation) if member not in (None, type(None)))
    anything = any(member in (Any, object) for member in wanted)
    if column.type in JSON:
        return msgspec.json.Decoder(Any if anything else annotation).decode
    if column.kind == "array":
        return _of_array(Any if anything else wanted, column)
    if anything:
        return None
    if column.kind == "composite":
        return _of_composite(wanted, annotation)
    produced = PRODUCED.get(column.type)
    if produced is not None:
        return _of_scalar(produced, wanted, annotation, column)
    if column.type in NETWORK:
        return _of_network(wanted, column)
    return _of_unknown(wanted, annotation)


def _of_scalar(produced: type, wanted: tuple[Any, ...], annotation: Any, column: Column) -> Convert | None:
    if produced in wanted:
        return None
    if produced is int and float in wanted:
        return float
    if produced is decimal.Decimal and float in wanted:
        return float
    if produced is uuid.UUID and str in wanted:
        return str
    if produced in (str, int) and any(_is_enumeration(member) for member in wanted):
        return _through_msgspec(annotation)
    if produced is str and any(member in FROM_TEXT for member in wanted):
        return _through_msgspec(annotation)
    if produced is str and all(_is_own_class(member) for member in wanted):
        return _of_unknown(wanted, annotation)
    cast = next((CASTS[member] for member in wanted if isinstance(member, type) and member in CASTS), None)
    name = column.name if column.name.isidentifier() else "…"  # an expression without a name is called ?column?
    raise Unfit(
        f"cast it in the query, `{name}::{cast}`, or make the field {produced.__name__}"
        if cast
        else f"make the field {produced.__name__}"
    )


def _is_enumeration(member: Any) -> bool:
    return typing.get_origin(member) is Literal or (isinstance(member, type) and issubclass(member, enum.Enum))


def _is_own_class(member: Any) -> bool:
    """A class of the user, which a codec of the user may produce."""
    return (
        isinstance(member, type)
        and member.__module__ != "builtins"
        and not hasattr(member, "__struct_fields__")
        and not dataclasses.is_dataclass(member)
        and member not in CASTS
    )


def _of_array(wanted: Any, column: Column) -> Convert | None:
    element = Column(column.name, column.type.removesuffix("[]"), "scalar")
    if wanted is Any:
        if element.type not in JSON:
            return None
        wanted = (list[Any],)
    for member in wanted:
        origin = typing.get_origin(member) or member
        arguments = typing.get_args(member)
        of = arguments[0] if arguments else Any
        if origin in LISTS:
            made: Convert | None = None
        elif origin in (set, frozenset, collections.abc.Set):
            made = frozenset if origin is frozenset else set
        elif origin is tuple and (not arguments or (len(arguments) == 2 and arguments[1] is Ellipsis)):
            made = tuple
        else:
            continue
        # An array of arrays has the type of an array: PostgreSQL does not tell the dimensions.
        nested = any((typing.get_origin(inner) or inner) in (*LISTS, set, frozenset, tuple) for inner in members(of))
        convert = conversion(of, column if nested and element.type not in JSON else element)
        return _elements(convert, is_optional(of), made)
    raise Unfit(
        f"an array is read into a list, a tuple, a set or a frozenset: make the field list[{_element(element)}]"
    )


def _element(element: Column) -> str:
    return PRODUCED.get(element.type, object).__name__


def without_null(value: list[Any]) -> list[Any]:
    """An array as it is. Readers of rows that know this function do in place what it does."""
    if None in value:
        raise ValueError("an element is NULL, and the elements are not optional")
    return value


def _elements(convert: Convert | None, optional: bool, made: Convert | None) -> Convert | None:
    if convert is None and made is None:
        return None if optional else without_null

    def elements(value: list[Any]) -> Any:
        if not optional:
            without_null(value)
        if convert is not None:
            value = [None if element is None else convert(element) for element in value]
        return value if made is None else made(value)

    return elements


def _of_composite(wanted: tuple[Any, ...], annotation: Any) -> Convert:
    def structure(value: Any) -> Any:
        given = {name: _undecoded(item) for name, item in value.items()}
        for member in wanted:
            names = {f.name: f.encode_name for f in msgspec.structs.fields(member)} if _is_struct(member) else {}
            given = {names.get(name, name): item for name, item in given.items()}
        return msgspec.convert(given, annotation)

    return structure


def _undecoded(item: Any) -> Any:
    """json inside a composite comes as bytes; a bytea that happens to be json is taken for it. So do those that are
    inside of it, also in arrays."""
    if isinstance(item, bytes):
        try:
            return msgspec.json.decode(item)
        except msgspec.DecodeError:
            return item
    if _is_record(item):
        return {name: _undecoded(value) for name, value in item.items()}
    if isinstance(item, list) and any(map(_is_record, item)):
        return list(map(_undecoded, item))
    return item


def _is_record(item: Any) -> bool:
    """Whether it is what asyncpg makes of a composite value."""
    return hasattr(item, "items") and not isinstance(item, dict)


def _is_struct(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, msgspec.Struct)


def _of_network(wanted: tuple[Any, ...], column: Column) -> Convert | None:
    if str in wanted:
        return str
    kinds = tuple(
        member
        for member in wanted
        if isinstance(member, type) and member.__module__ == ipaddress.__name__  # address, interface or network
    )
    if not kinds:
        raise Unfit("make the field str, or a class of the module ipaddress")
    return _of_unknown(kinds, Union[kinds])  # noqa: UP007  # from a tuple


def _of_unknown(wanted: tuple[Any, ...], annotation: Any) -> Convert:
    """A type that PostgreSQL doesn't come with: an enumeration, a domain, an extension's, one with its own codec."""
    classes = tuple(member for member in wanted if isinstance(member, type))
    through = _through_msgspec(annotation)
    structure = _of_composite(wanted, annotation)  # of an array's elements nothing tells that they are composite

    def checked(value: Any) -> Any:
        if isinstance(value, classes):
            return value
        return structure(value) if _is_record(value) else through(value)

    return checked


def _through_msgspec(annotation: Any) -> Convert:
    convert = msgspec.convert

    def converted(value: Any) -> Any:
        return convert(value, annotation)

    return converted

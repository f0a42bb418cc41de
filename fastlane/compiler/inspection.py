"""Types as msgspec sees them, and the way back from there to annotations."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import Meta, inspect

__all__ = ["ARRAYS", "DICTS", "SEQUENCES", "annotation_of", "bounds_of", "plain_classes", "unwrap"]

DICTS: Final = (inspect.DictType, inspect.FrozenDictType)
SEQUENCES: Final = (
    inspect.CollectionType,
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
)
ARRAYS: Final = (*SEQUENCES, inspect.TupleType, inspect.NamedTupleType)
_GENERICS: Final[dict[type[inspect.Type], Any]] = {inspect.SetType: set, inspect.FrozenSetType: frozenset}
_PLAIN: Final[dict[type[inspect.Type], Any]] = {
    inspect.AnyType: Any,
    inspect.NoneType: None,
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.BytesType: bytes,
    inspect.ByteArrayType: bytearray,
    inspect.MemoryViewType: memoryview,
    inspect.DateTimeType: datetime.datetime,
    inspect.DateType: datetime.date,
    inspect.TimeType: datetime.time,
    inspect.TimeDeltaType: datetime.timedelta,
    inspect.UUIDType: uuid.UUID,
    inspect.DecimalType: decimal.Decimal,
    inspect.ExtType: msgspec.msgpack.Ext,
    inspect.RawType: Any,
}
_PLAIN_CLASSES: Final[dict[type[inspect.Type], type]] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
}


_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")


def unwrap(node: inspect.Type) -> inspect.Type:
    """Without what only a JSON schema wants to know."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    return node


def annotation_of(node: inspect.Type) -> Any:
    """A type again that msgspec takes, from what it said of one."""
    node = unwrap(node)
    if isinstance(node, inspect.UnionType):
        return Union[tuple(annotation_of(option) for option in node.types)]  # noqa: UP007
    if isinstance(node, inspect.LiteralType):
        return Literal[node.values]
    cls = getattr(node, "cls", None)
    if cls is not None:
        return cls
    plain: Any
    if isinstance(node, DICTS):
        plain = dict[annotation_of(node.key_type), annotation_of(node.value_type)]  # type: ignore[misc]
    elif isinstance(node, inspect.TupleType):
        plain = tuple[tuple(annotation_of(item) for item in node.item_types)]  # type: ignore[misc]
    elif isinstance(node, inspect.VarTupleType):
        plain = tuple[annotation_of(node.item_type), ...]  # type: ignore[misc]
    elif isinstance(node, SEQUENCES):
        generic = _GENERICS.get(type(node), list)
        plain = generic[annotation_of(node.item_type)]
    else:
        plain = _PLAIN[type(node)]
    meta = bounds_of(node)
    return plain if meta is None else Annotated[plain, meta]


def plain_classes(node: inspect.Type) -> list[type]:
    """The classes whose every instance a type takes, as they come from JSON."""
    node = unwrap(node)
    if isinstance(node, inspect.UnionType):
        return [cls for option in node.types for cls in plain_classes(option)]
    return [_PLAIN_CLASSES[type(node)]] if type(node) in _PLAIN_CLASSES and bounds_of(node) is None else []


def bounds_of(node: inspect.Type) -> Meta | None:
    """The constraints of a type, without those of what stands in it."""
    bounds = {name: bound for name in _CONSTRAINTS if (bound := getattr(node, name, None)) is not None}
    return Meta(**bounds) if bounds else None

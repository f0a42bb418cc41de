"""What a type asks of a row: its fields, in the order in which it takes them."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec

from fastlane.annotations import is_typed_dict
from fastlane.sql.columns import plain

__all__ = ["Field", "Shape", "shape_of"]

Kind: TypeAlias = Literal["structure", "mapping", "open mapping", "sequence", "scalar"]


class Field(NamedTuple):
    """Something that a column is read into.

    Attributes:
        name: of the argument.
        names: of the column, the best first: the field's own, then what it is called in JSON (``rename``).
        annotation: its type.
        required: it has no default, so that it needs a column.
        keyword: it can't be given by position.
    """

    name: str
    names: tuple[str, ...]
    annotation: Any
    required: bool = True
    keyword: bool = False


class Shape(NamedTuple):
    """A type, as the reader of rows sees it.

    Attributes:
        kind: ``structure`` is called with its fields, ``mapping`` is a dict with known keys, ``open mapping`` a dict
            with every column, ``sequence`` a tuple of the first columns, ``scalar`` the first column.
        make: what is called; for mappings and scalars the type itself.
        fields: of a structure, mapping or sequence; one, for each value, of an open mapping and a scalar.
    """

    kind: Kind
    make: Callable[..., Any]
    fields: tuple[Field, ...]


def shape_of(into: Any) -> Shape:
    """How rows are read into a type.

    Raises:
        TypeError: it is no type.
    """
    into = plain(into)
    origin = typing.get_origin(into) or into
    if origin is dict or origin is typing.Mapping or getattr(origin, "__name__", "") == "Mapping":
        value = (*typing.get_args(into), Any, Any)[1]
        return Shape("open mapping", dict, (Field("", (), value),))
    if isinstance(origin, type):
        fields = _fields_of(into, origin)
        if fields is not None:
            return Shape("mapping" if is_typed_dict(origin) else "structure", into, fields)
        arguments = typing.get_args(into)
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return Shape("sequence", tuple, tuple(Field(f"{i}", (), one) for i, one in enumerate(arguments)))
    elif typing.get_origin(into) is None and not _is_form(into):
        raise TypeError(f"rows are read into a type, not into {into!r}")
    return Shape("scalar", into, (Field("", (), into),))


def _is_form(into: Any) -> bool:
    """Special forms are no classes: Any, a TypeVar's bound …"""
    return into in (Any, None) or type(into).__module__ in ("typing", "types")


def _fields_of(into: Any, origin: type) -> tuple[Field, ...] | None:
    if issubclass(origin, msgspec.Struct):
        keyword = _keywords(origin)
        return tuple(
            Field(f.name, tuple(dict.fromkeys((f.name, f.encode_name))), f.type, f.required, f.name in keyword)
            for f in msgspec.structs.fields(into)
        )
    if is_typed_dict(origin):
        required: frozenset[str] = origin.__required_keys__  # type: ignore[attr-defined]  # of typed dicts
        return tuple(
            Field(name, (name,), hint, _is_key(hint, name in required)) for name, hint in _hints(origin).items()
        )
    if dataclasses.is_dataclass(origin):
        hints = _hints(origin)
        return tuple(
            Field(f.name, (f.name,), hints[f.name], not _has_default(f), f.kw_only is True)
            for f in dataclasses.fields(origin)
            if f.init
        )
    if issubclass(origin, tuple) and hasattr(origin, "_field_defaults"):
        hints, defaults = _hints(origin), origin._field_defaults
        names: tuple[str, ...] = origin._fields  # type: ignore[attr-defined]  # of named tuples
        return tuple(Field(name, (name,), hints.get(name, Any), name not in defaults) for name in names)
    if hasattr(origin, "__attrs_attrs__"):
        hints = _hints(origin)
        parameters = inspect.signature(origin).parameters
        return tuple(
            Field(a.alias, (a.name,), hints.get(a.name, Any), _is_required(parameters[a.alias]), keyword=True)
            for a in origin.__attrs_attrs__
            if a.init
        )
    return None


def _is_key(hint: Any, required: bool) -> bool:
    """Where annotations are texts (``from __future__ import annotations``) Python does not see the words in them."""
    words = {typing.Required: True, typing.NotRequired: False}
    while typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    return words.get(typing.get_origin(hint), required)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _keywords(origin: type) -> set[str]:
    return {
        name
        for name, parameter in inspect.signature(origin).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _hints(origin: type) -> dict[str, Any]:
    return typing.get_type_hints(origin, include_extras=True)

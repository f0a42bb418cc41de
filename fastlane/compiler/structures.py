"""Structures: Struct, dataclass, TypedDict, NamedTuple, attrs and dict; their fields, and what msgspec takes."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, UNSET
from msgspec import inspect as types_of

from fastlane.annotations import is_typed_dict
from fastlane.compiler.annotations import MISSING, describe, take_apart, union_arms
from fastlane.compiler.plan import Default
from fastlane.compiler.reader import IllegalAnnotation
from fastlane.http.response import Response
from fastlane.params import Marker

__all__ = [
    "Field",
    "builder_of",
    "check_body",
    "fields_of",
    "forbids_unknown_fields",
    "has_marked_fields",
    "is_structure",
    "remainder",
]


class Field(msgspec.Struct, frozen=True):
    """A field of a structure: its name, its name on the wire, its annotation with markers, its default."""

    name: str
    wire: str
    annotation: Any
    default: Default


def fields_of(annotation: Any) -> list[Field] | None:
    """The fields of a structure with fixed ones; None for everything else."""
    origin = typing.get_origin(annotation) or annotation
    if not isinstance(origin, type):
        return None
    if isinstance(annotation, type):
        return _fields_of_class(annotation)
    return _read_fields(annotation, origin)


# PERF: a class is asked for four times for each route that reads it, and evaluates its annotations each time: 0.3 ms
# for seven fields. Bounded, so that classes which a program throws away are let go.
@functools.lru_cache(maxsize=64)
def _fields_of_class(cls: type) -> list[Field] | None:
    return _read_fields(cls, cls)


def _read_fields(annotation: Any, origin: type) -> list[Field] | None:
    if issubclass(origin, msgspec.Struct):
        return [
            Field(info.name, info.encode_name, info.type, _default(info.default, info.default_factory, NODEFAULT))
            for info in msgspec.structs.fields(annotation)
        ]
    if is_typed_dict(origin):
        hints = typing.get_type_hints(origin, include_extras=True)
        optional: frozenset[str] = getattr(origin, "__optional_keys__", frozenset())
        return [
            Field(name, name, hint, Default(UNSET) if name in optional or _not_required(hint) else Default())
            for name, hint in hints.items()
        ]
    if dataclasses.is_dataclass(origin):
        hints = typing.get_type_hints(origin, include_extras=True)
        return [
            Field(
                info.name,
                info.name,
                hints[info.name],
                _default(info.default, info.default_factory, dataclasses.MISSING),
            )
            for info in dataclasses.fields(origin)
            if info.init
        ]
    if issubclass(origin, tuple) and hasattr(origin, "_field_defaults"):
        hints = typing.get_type_hints(origin, include_extras=True)
        return [
            Field(name, name, hints.get(name, Any), Default(origin._field_defaults.get(name, MISSING)))
            for name in origin._fields  # type: ignore[attr-defined]
        ]
    if hasattr(origin, "__attrs_attrs__"):
        hints = typing.get_type_hints(origin, include_extras=True)
        return [_attrs_field(info, hints) for info in origin.__attrs_attrs__ if info.init]
    return None


def _default(value: Any, factory: Any, missing: Any) -> Default:
    return Default(MISSING if value is missing else value, None if factory is missing else factory)


def _not_required(hint: Any) -> bool:
    # With ``from __future__ import annotations`` the class itself does not know (cpython#97727).
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) is typing.NotRequired


def _attrs_field(info: Any, hints: Mapping[str, Any]) -> Field:
    import attrs

    default, factory = info.default, None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, though its stub says function
        if default.takes_self:
            raise IllegalAnnotation(
                f"the default of {info.name!r} needs the object itself", "use a factory that takes nothing"
            )
        default, factory = MISSING, default.factory
    elif default is attrs.NOTHING:
        default = MISSING
    return Field(info.alias or info.name, info.name, hints.get(info.name, Any), Default(default, factory))


def builder_of(annotation: Any) -> Callable[..., Any]:
    """What makes the structure from its fields by keyword. Fields that are ``UNSET`` are left out of a TypedDict."""
    origin = typing.get_origin(annotation) or annotation
    if is_typed_dict(origin):
        return _typed_dict
    return typing.cast("Callable[..., Any]", origin)


def _typed_dict(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not UNSET}


def has_marked_fields(annotation: Any) -> bool:
    """A field of it says itself where it comes from."""
    return any(
        isinstance(marker, Marker)
        for item in fields_of(annotation) or ()
        for marker in take_apart(item.annotation).markers
    )


def remainder(annotation: Any, fields: list[Field]) -> Any:
    """A Struct of these fields of ``annotation`` alone, so that the others can't be read from a body."""
    origin = typing.get_origin(annotation) or annotation
    definitions: list[Any] = []
    for item in fields:
        if item.default.required:
            definitions.append((item.name, item.annotation))
        elif item.default.factory is not None:
            definitions.append((item.name, item.annotation, msgspec.field(default_factory=item.default.factory)))
        else:
            definitions.append((item.name, item.annotation, msgspec.field(default=item.default.value)))
    return msgspec.defstruct(
        origin.__name__,
        definitions,
        kw_only=True,
        rename={item.name: item.wire for item in fields},
        forbid_unknown_fields=forbids_unknown_fields(annotation),
        module=origin.__module__,
    )


def forbids_unknown_fields(annotation: Any) -> bool:
    """It is a Struct that says so."""
    config = getattr(typing.get_origin(annotation) or annotation, "__struct_config__", None)
    return config is not None and bool(config.forbid_unknown_fields)


def is_structure(annotation: Any) -> bool:
    """A structure, a dict, a collection of something, or a union of those: what a JSON object or array can be."""
    parts = take_apart(annotation)
    arms = union_arms(parts.type)
    if arms is not None:
        return all(is_structure(arm) for arm in arms if arm is not type(None))
    origin = typing.get_origin(parts.type) or parts.type
    if fields_of(parts.type) is not None:
        return True
    return (
        isinstance(origin, type)
        and issubclass(origin, (dict, list, tuple, set, frozenset, Mapping, typing.Collection))
        and not (issubclass(origin, (str, bytes, bytearray, memoryview)))
    )


def check_body(annotation: Any) -> None:
    """Every type in ``annotation`` is one that msgspec decodes, and no nested field has a marker.

    Raises:
        IllegalAnnotation: with msgspec's reason, or the type's name.
        NameError: a field's annotation names what does not exist (yet).
    """
    try:
        msgspec.json.Decoder(annotation)
        info = types_of.type_info(annotation)
    except (TypeError, ValueError) as error:
        raise IllegalAnnotation(
            str(error), "use types that msgspec can decode, and tag the Structs of a union"
        ) from None
    seen: set[Any] = set()
    for found in _walk(info, seen):
        if isinstance(found, types_of.CustomType):
            raise _unsupported(found.cls)
        cls = getattr(found, "cls", None)
        if cls is not None and has_marked_fields(cls):
            raise IllegalAnnotation(
                f"a field of the nested {describe(cls)} has a marker",
                "put markers on the fields of the parameter's own structure only",
            )


def _unsupported(cls: Any) -> IllegalAnnotation:
    if issubclass(cls, Response):
        return IllegalAnnotation("a Response is nothing to be read", "return it instead of taking it as a parameter")
    if cls.__module__ == "fastlane.websocket":
        return IllegalAnnotation("this is no route of WebSockets", "declare it with `@app.websocket(path)`")
    if any(base.__module__.startswith("pydantic") for base in getattr(cls, "__mro__", ())):
        return IllegalAnnotation(
            f"{describe(cls)} is a pydantic model", f"write `class {cls.__name__}(msgspec.Struct):`"
        )
    return IllegalAnnotation(
        f"{describe(cls)} is no type that can be read from a request",
        "use a scalar, a Struct, a dataclass, a TypedDict, a NamedTuple, an attrs class, or a collection of them",
    )


def _walk(info: Any, seen: set[Any]) -> Iterator[types_of.Type]:
    """Every type below ``info``, itself included, each structure once."""
    if isinstance(info, types_of.Type):
        cls = getattr(info, "cls", None)
        if cls is not None:
            if cls in seen:
                return
            seen.add(cls)
        yield info
    elif isinstance(info, tuple):
        for item in info:
            yield from _walk(item, seen)
        return
    elif not isinstance(info, types_of.Field):
        return
    for name in info.__struct_fields__:
        yield from _walk(getattr(info, name), seen)

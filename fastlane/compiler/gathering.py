"""Structures that are read field by field: from the query, a form, headers, or several sources at once (DESIGN 3)."""

from __future__ import annotations

import copy
import functools
import typing
from collections.abc import Mapping as AbstractMapping
from typing import Any, get_args

from fastlane.compiler.annotations import MISSING, Annotation, Parameter, Place, describe, take_apart, union_arms
from fastlane.compiler.claims import Claims
from fastlane.compiler.collections import ListReader, list_reader
from fastlane.compiler.plan import Body, Default, Mapping, Structure, Value
from fastlane.compiler.reader import IllegalAnnotation, Reader
from fastlane.compiler.scalars import scalar_reader
from fastlane.compiler.structures import Field, builder_of, check_body, fields_of, forbids_unknown_fields, remainder
from fastlane.params import Body as BodyMarker
from fastlane.params import Depends, Marker, Path, Source, State

__all__ = ["gather", "markers_of", "or_none", "parameter_default", "wire_name"]


def gather(
    claims: Claims,
    parameter: Parameter,
    parts: Annotation,
    source: Source,
    place: Place,
    marker: BodyMarker | None = None,
) -> Structure | Mapping:
    """The fields of a structure, each with its own source; ``source`` for those without a marker.

    Args:
        marker: of the body, where ``source`` is one.

    Raises:
        IllegalAnnotation: a field that text can't hold, or a structure that can't be read so.
        CompileError: what the claims raise.
    """
    arms = union_arms(parts.type)
    default = parameter_default(parameter)
    annotation = parts.type
    if arms is not None:
        real = [arm for arm in arms if arm is not type(None)]
        if len(real) != 1:
            raise IllegalAnnotation(
                f"a union of structures can't be read from {_the(source)}, or from several sources",
                "use one structure" if source == "body" else "use one structure, or a body",
            )
        annotation = take_apart(real[0]).type
        default = Default(None) if default.required else default
    fields = fields_of(annotation)
    if fields is None:
        return _mapping(annotation, source, default)
    closed = source if source in ("query", "form") and forbids_unknown_fields(annotation) else None
    structure = Structure(annotation, builder_of(annotation), [], default=default, closed=closed)
    unmarked = []
    for item in fields:
        markers = markers_of(item)
        if len(markers) > 1:
            raise IllegalAnnotation(
                f"the field {item.name!r} has several markers: {', '.join(map(repr, markers))}",
                "keep the one that is meant",
            )
        own = markers[0] if markers else None
        if own is None and item.name in claims.spec.path_names and source != "body":
            own = Path()
        if isinstance(own, (Depends, State, BodyMarker)):
            raise IllegalAnnotation(
                f"the field {item.name!r} has the marker {own!r}", "make it a parameter of the handler"
            )
        if own is None and source == "body":
            unmarked.append(item)
            continue
        structure.fields.append((item.name, _field(claims, item, own, source, parameter, place)))
    _check_default(structure, source, unmarked)
    if unmarked:
        plain = [Field(item.name, item.wire, take_apart(item.annotation).full, item.default) for item in unmarked]
        rest = remainder(annotation, plain)
        check_body(rest)
        structure.rest = Body(
            rest,
            raw=False,
            default=Default() if any(item.default.required for item in plain) else Default(factory=rest),
            max_size=marker.max_size if marker else None,
        )
        structure.rest_names = tuple(item.name for item in plain)
        claims.claim_body(structure.rest, parameter.name, place)
    return structure


def _check_default(structure: Structure, source: Source, unmarked: list[Field]) -> None:
    if structure.default.required:
        return
    if unmarked or any(value.source != source for _, value in structure.fields):
        raise IllegalAnnotation(
            "a structure that gathers several sources can't have a default, or be None",
            "give its fields defaults instead",
        )


def _field(
    claims: Claims, item: Field, marker: Marker | None, source: Source, parameter: Parameter, place: Place
) -> Value:
    parts = take_apart(item.annotation)
    where: Source = marker.source if marker is not None else source
    if where == "form":
        claims.claim_form(parameter.name, place)
    reader = scalar_reader(parts.full) or list_reader(parts.full)
    if reader is None:
        raise IllegalAnnotation(
            f"the field {item.name!r} is a {describe(parts.type)}, which {_the(where)} can't hold",
            "use scalars and collections of scalars in it, or a body",
        )
    written = marker.name if marker is not None else None
    # ``rename`` counts, except that a header's name is then taken as it is.
    name = written or (item.wire if item.wire != item.name else wire_name(where, None, item.name))
    if where == "header":
        name = name.lower()
    if where == "path":
        claims.take_variable(name, parameter.name, reader, item.default, place)
    return Value(where, name, reader, or_none(item.default, reader))


def _mapping(annotation: Any, source: Source, default: Default) -> Mapping:
    origin = typing.get_origin(annotation) or annotation
    if source not in ("query", "form") or not isinstance(origin, type) or not issubclass(origin, AbstractMapping):
        raise IllegalAnnotation(
            f"{_the(source)} can't hold a {describe(annotation)}",
            "use a scalar, a collection of scalars, or a structure of those",
        )
    key, item = get_args(annotation) or (str, str)
    item = str if item is Any else item
    reader = scalar_reader(item) or list_reader(item)
    if reader is None or take_apart(key).type is not str or not default.required:
        raise IllegalAnnotation(
            f"{_the(source)} can't hold a {describe(annotation)} with such keys, values or a default",
            "use `dict[str, str]` or `dict[str, list[str]]`, or a Struct",
        )
    return Mapping(source, annotation, reader)


def wire_name(source: Source, written: str | None, name: str) -> str:
    """The name on the wire: as written in the marker, else the parameter's, with ``-`` for ``_`` in headers."""
    if source == "header":
        return (written or name.replace("_", "-")).lower()
    return written or name


def markers_of(item: Field) -> tuple[Marker | Depends | State, ...]:
    """The markers of a field."""
    return take_apart(item.annotation).markers


def parameter_default(parameter: Parameter) -> Default:
    """What a missing value becomes; what can be changed is copied for every request."""
    if parameter.factory is not None:
        return Default(factory=parameter.factory)
    default = parameter.default
    if default is MISSING or _is_hashable(default):
        return Default(default)
    # One object for all requests would remember what an earlier one put into it.
    if isinstance(default, (list, set)) and all(map(_is_hashable, default)):
        return Default(factory=default.copy)
    return Default(factory=functools.partial(copy.deepcopy, default))


def _is_hashable(value: object) -> bool:
    """It never changes, as far as a class tells."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def or_none(default: Default, reader: Reader | ListReader) -> Default:
    """A value that may be None is None where it is missing."""
    return Default(None) if reader.optional and default.required else default


def _the(source: Source) -> str:
    names: dict[Source, str] = {"query": "the query string", "cookie": "a cookie"}
    return names.get(source, f"a {source}")

"""Where a parameter comes from: the five rules of DESIGN 3, in order, and the errors of those that fit none."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping as AbstractMapping
from typing import Any, Final, get_args

from fastlane.compiler import mends
from fastlane.compiler.annotations import (
    MISSING,
    Annotation,
    Parameter,
    Place,
    UnresolvedName,
    describe,
    take_apart,
    union_arms,
)
from fastlane.compiler.collections import ListReader, list_reader
from fastlane.compiler.plan import Argument, Body, Default, Given, Mapping, Node, StateOf, Structure, Value
from fastlane.compiler.reader import IllegalAnnotation, Reader, refuse_union_bounds
from fastlane.compiler.scalars import scalar_reader
from fastlane.compiler.spec import RouteSpec
from fastlane.compiler.structures import (
    Field,
    builder_of,
    check_body,
    fields_of,
    has_marked_fields,
    is_container,
    is_structure,
    remainder,
)
from fastlane.http.background import BackgroundTasks
from fastlane.http.request import Request
from fastlane.params import Body as BodyMarker
from fastlane.params import Depends, Form, Marker, Path, Source, State

__all__ = ["Sources", "wire_name"]

_QUERY_METHODS: Final = frozenset({"GET", "HEAD"})
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
_CONVERTER = re.compile(r"\{([^{}:]+):([^{}]*)\}")


class Sources:
    """Decides for one route. Remembers which path variables were asked for, and the one body.

    Raises:
        CompileError: from every method, with the place and the mend.
    """

    __slots__ = ("body", "form_owner", "owner", "spec", "used")

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self.used: set[str] = set()
        self.body: Body | None = None
        self.owner = ""  # who asked for the body, for the error of the second
        self.form_owner = ""

    def check_template(self, place: Place) -> None:
        """``{id:int}``: the type belongs to the parameter (REQUESTS 1)."""
        for name, converter in _CONVERTER.findall(self.spec.path):
            if converter != "path":
                raise place.error(
                    f"the path {self.spec.path!r} has a converter: {{{name}:{converter}}}",
                    f"write {{{name}}} and annotate the parameter: `{name}: {converter or 'str'}`",
                    name,
                )

    def check_used(self, place: Place) -> None:
        """Every variable of the path has a parameter, in the handler or in a dependency."""
        for name in self.spec.path_names:
            if name not in self.used:
                raise place.error(
                    f"the path {self.spec.path!r} has the variable {{{name}}}, and no parameter takes it",
                    f"add the parameter `{name}: str`, or take the variable out of the path",
                )

    def argument(self, parameter: Parameter, place: Place) -> Argument:
        """The argument of a parameter without a ``Depends``."""
        try:
            node = self._decide(parameter, place)
        except IllegalAnnotation as error:
            raise place.error(error.problem, error.mend, parameter.name) from None
        except NameError as error:
            raise place.error(
                f"a field of {describe(parameter.annotation)} names something that does not exist: {error}",
                "define it at module level, before the app starts",
                parameter.name,
                UnresolvedName,
            ) from error
        return Argument(parameter.name, parameter.keyword, node)

    def _decide(self, parameter: Parameter, place: Place) -> Node:
        parts = take_apart(parameter.annotation)
        mends.check_parameter(parameter, parts, place)
        if len(parts.markers) > 1:
            raise place.error(
                f"it has several markers: {', '.join(map(repr, parts.markers))}",
                "keep the one that is meant",
                parameter.name,
            )
        marker = parts.markers[0] if parts.markers else None
        if isinstance(marker, State):
            return StateOf(_class_of(parts.type))
        if marker is None:
            given = self._given(parts.type)
            if given is not None:
                return given
            if parameter.name in self.spec.path_names:
                marker = Path()
        if isinstance(marker, Marker):
            return self._marked(parameter, parts, marker, place)
        return self._unmarked(parameter, parts, place)

    @staticmethod
    def _given(annotation: Any) -> Given | None:
        arms = [arm for arm in union_arms(annotation) or (annotation,) if arm is not type(None)]
        only = typing.get_origin(arms[0]) or arms[0]
        if len(arms) == 1 and isinstance(only, type):
            if issubclass(only, Request):
                return Given("request")
            if issubclass(only, BackgroundTasks):
                return Given("background")
        return None

    # -- rule 1 and 3: a marker, or a name of the path

    def _marked(self, parameter: Parameter, parts: Annotation, marker: Marker, place: Place) -> Node:
        default = _parameter_default(parameter, parts)
        if isinstance(marker, BodyMarker):
            self._refuse_path_name(parameter.name, marker, place)
            return self._body(parameter, parts, marker, default, place)
        if not isinstance(marker, Path):
            self._refuse_path_name(parameter.name, marker, place)
        if isinstance(marker, Form):
            self._claim_form(parameter.name, place)
        reader = scalar_reader(parts.full) or list_reader(parts.full)
        if reader is not None:
            name = wire_name(marker.source, marker.name, parameter.name)
            if marker.source == "path":
                self._take_variable(name, parameter, reader, default, place)
            return Value(marker.source, name, reader, _or_none(default, reader))
        return self._structure(parameter, parts, marker.source, place)

    def _refuse_path_name(self, name: str, marker: Marker, place: Place) -> None:
        if name in self.spec.path_names and marker.name in (None, name):
            raise place.error(
                f"{marker!r} contradicts the path {self.spec.path!r}, which has {{{name}}}",
                "take the marker away, or rename the parameter or the path's variable",
                name,
            )

    def _take_variable(
        self, name: str, parameter: Parameter, reader: Reader | ListReader, default: Default, place: Place
    ) -> None:
        if name not in self.spec.path_names:
            known = ", ".join(f"{{{known}}}" for known in self.spec.path_names) or "no variables"
            raise place.error(
                f"Path() says that it is in the path, but {self.spec.path!r} has {known}",
                f"write {{{name}}} in the path, or Path({self.spec.path_names[0]!r})"
                if self.spec.path_names
                else f"write {{{name}}} in the path, or take the marker away",
                parameter.name,
            )
        if isinstance(reader, ListReader):
            raise place.error("a path variable holds one value, not several", "use a scalar", parameter.name)
        if not default.required:
            raise place.error(
                "a path parameter can't have a default: without the variable the path is another one",
                "take the default away, or add a route for the shorter path",
                parameter.name,
            )
        if reader.optional:
            raise place.error(
                "a path parameter is never None: without the variable the path is another one",
                "take `| None` away",
                parameter.name,
            )
        self.used.add(name)

    # -- rule 4 and 5: the type

    def _unmarked(self, parameter: Parameter, parts: Annotation, place: Place) -> Node:
        default = _parameter_default(parameter, parts)
        scalar = scalar_reader(parts.full)
        if scalar is not None:
            return Value("query", parameter.name, scalar, _or_none(default, scalar))
        many = list_reader(parts.full)
        methods = frozenset(self.spec.methods)
        if many is not None:
            if methods <= _QUERY_METHODS:
                return Value("query", parameter.name, many, _or_none(default, many))
            written = describe(parts.full)
            raise place.error(
                f"a bare {written} on {'/'.join(self.spec.methods)} could mean the query or the body",
                f"write `Annotated[{written}, Query()]` or `Annotated[{written}, Body()]`",
                parameter.name,
            )
        if not is_structure(parts.full):
            check_body(parts.full)  # the clearer error, where msgspec has one
            raise IllegalAnnotation(
                f"{describe(parts.type)} is no type that can be read from a request",
                f"write `Annotated[{describe(parts.type)}, Body()]` if it is the body, or use another type",
            )
        if methods <= _QUERY_METHODS:
            return self._structure(parameter, parts, "query", place)
        if methods <= _BODY_METHODS:
            return self._body(parameter, parts, BodyMarker(), default, place)
        if has_marked_fields(parts.type) and all(_markers(item) for item in fields_of(parts.type) or ()):
            return self._structure(parameter, parts, "query", place)
        written = describe(parts.full)
        raise place.error(
            f"a {written} on {'/'.join(self.spec.methods)} could mean the query or the body",
            f"write `Annotated[{written}, Query()]` or `Annotated[{written}, Body()]`",
            parameter.name,
        )

    # -- bodies

    def _body(
        self, parameter: Parameter, parts: Annotation, marker: BodyMarker, default: Default, place: Place
    ) -> Node:
        arms = union_arms(parts.type)
        if any(has_marked_fields(take_apart(arm).type) for arm in arms or (parts.type,)):
            return self._structure(parameter, parts, "body", place, marker)
        if arms is not None:
            refuse_union_bounds(parts.type, parts.metas)
        optional = type(None) in (arms or ())
        real = [arm for arm in arms or (parts.type,) if arm is not type(None)]
        raw = len(real) == 1 and take_apart(real[0]).type is bytes
        if not raw:
            check_body(parts.full)
        body = Body(
            parts.full,
            raw,
            Default(None) if optional and default.required else default,
            marker.media_type,
            marker.max_size,
            container=is_container(parts.full),
        )
        self._claim_body(body, parameter.name, place)
        return body

    def _claim_body(self, body: Body, name: str, place: Place) -> None:
        if self.body is not None or self.form_owner:
            raise place.error(
                f"it is a second body; the first is {self.owner or self.form_owner}",
                "put both into one Struct, or mark one of them with Query(), Header() or Depends()",
                name,
            )
        self.body = body
        self.owner = f"{place.handler}({name})"

    def _claim_form(self, name: str, place: Place) -> None:
        if self.body is not None:
            raise place.error(
                f"a form is a body, and {self.owner} is one already",
                "read all of the body as a form, or none of it",
                name,
            )
        if not frozenset(self.spec.methods) & (_BODY_METHODS | {"DELETE"}):
            raise place.error(
                f"{'/'.join(self.spec.methods)} has no form", "use Query(), or a method with a body", name
            )
        self.form_owner = self.form_owner or f"{place.handler}({name})"

    # -- structures that are read field by field

    def _structure(
        self, parameter: Parameter, parts: Annotation, source: Source, place: Place, marker: BodyMarker | None = None
    ) -> Node:
        arms = union_arms(parts.type)
        default = _parameter_default(parameter, parts)
        annotation = parts.type
        if arms is not None:
            real = [arm for arm in arms if arm is not type(None)]
            if len(real) != 1:
                raise IllegalAnnotation(
                    f"a union of structures can't be read from {_the(source)}", "use one structure, or a body"
                )
            annotation = take_apart(real[0]).type
            default = Default(None) if default.required else default
        fields = fields_of(annotation)
        if fields is None:
            return self._mapping(annotation, source, default)
        structure = Structure(annotation, builder_of(annotation), [], default=default)
        unmarked = []
        for item in fields:
            markers = _markers(item)
            own = markers[0] if markers else None
            if own is None and item.name in self.spec.path_names and source != "body":
                own = Path()
            if isinstance(own, (Depends, State, BodyMarker)):
                raise IllegalAnnotation(
                    f"the field {item.name!r} has the marker {own!r}", "make it a parameter of the handler"
                )
            if own is None and source == "body":
                unmarked.append(item)
                continue
            structure.fields.append((item.name, self._field(item, own, source, parameter, place)))
        self._check_default(structure, source, unmarked)
        if unmarked:
            plain = [Field(item.name, item.wire, take_apart(item.annotation).full, item.default) for item in unmarked]
            rest = remainder(annotation, plain)
            check_body(rest)
            structure.rest = Body(
                rest,
                raw=False,
                default=Default() if any(item.default.required for item in plain) else Default(factory=rest),
                media_type=marker.media_type if marker else None,
                max_size=marker.max_size if marker else None,
                container=True,
            )
            structure.rest_names = tuple(item.name for item in plain)
            self._claim_body(structure.rest, parameter.name, place)
        return structure

    @staticmethod
    def _check_default(structure: Structure, source: Source, unmarked: list[Field]) -> None:
        if structure.default.required:
            return
        if unmarked or any(value.source != source for _, value in structure.fields):
            raise IllegalAnnotation(
                "a structure that gathers several sources can't have a default, or be None",
                "give its fields defaults instead",
            )

    def _field(self, item: Field, marker: Marker | None, source: Source, parameter: Parameter, place: Place) -> Value:
        parts = take_apart(item.annotation)
        where: Source = marker.source if marker is not None else source
        if where == "form":
            self._claim_form(parameter.name, place)
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
            self._take_variable(name, parameter, reader, item.default, place)
        return Value(where, name, reader, _or_none(item.default, reader))

    def _mapping(self, annotation: Any, source: Source, default: Default) -> Node:
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


def _markers(item: Field) -> tuple[Marker | Depends | State, ...]:
    return take_apart(item.annotation).markers


def _parameter_default(parameter: Parameter, parts: Annotation) -> Default:
    if parameter.default is MISSING:
        return Default()
    if isinstance(parameter.default, (list, dict, set)):
        # One object for all requests would remember what an earlier one put into it.
        return Default(factory=parameter.default.copy)
    return Default(parameter.default)


def _or_none(default: Default, reader: Reader | ListReader) -> Default:
    return Default(None) if reader.optional and default.required else default


def _class_of(annotation: Any) -> type | None:
    """What ``isinstance`` can check; None where it can't, or need not."""
    origin = typing.get_origin(annotation) or annotation
    if typing.is_typeddict(origin):
        return dict
    if not isinstance(origin, type) or origin in (object, Any) or getattr(origin, "_is_protocol", False):
        return None
    return origin


def _the(source: Source) -> str:
    names: dict[Source, str] = {"query": "the query string", "cookie": "a cookie"}
    return names.get(source, f"a {source}")

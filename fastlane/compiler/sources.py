"""Where a parameter comes from: the five rules of DESIGN 3, in order, and the errors of those that fit none."""

from __future__ import annotations

import typing
from typing import Any, Final

from fastlane.annotations import is_typed_dict
from fastlane.compiler import mends
from fastlane.compiler.annotations import Annotation, Parameter, Place, UnresolvedName, describe, take_apart, union_arms
from fastlane.compiler.claims import BODY_METHODS, Claims
from fastlane.compiler.collections import list_reader
from fastlane.compiler.gathering import gather, markers_of, or_none, parameter_default, wire_name
from fastlane.compiler.plan import Argument, Body, Default, Given, Node, StateOf, Value
from fastlane.compiler.reader import IllegalAnnotation, refuse_union_bounds
from fastlane.compiler.scalars import scalar_reader
from fastlane.compiler.spec import RouteSpec
from fastlane.compiler.structures import check_body, fields_of, has_marked_fields, is_structure
from fastlane.errors import CompileError
from fastlane.http.background import BackgroundTasks
from fastlane.http.request import Request
from fastlane.params import Body as BodyMarker
from fastlane.params import Form, Marker, Path, State

__all__ = ["Sources"]

_QUERY_METHODS: Final = frozenset({"GET", "HEAD"})


class Sources:
    """Decides for one route. ``claims`` remembers which path variables were asked for, and the one body.

    Raises:
        CompileError: from every method, with the place and the mend.
    """

    __slots__ = ("claims", "spec")

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self.claims = Claims(spec)

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
        except CompileError:
            raise
        except (TypeError, ValueError) as error:  # msgspec's about a constraint, or Python's about a field's annotation
            raise place.error(
                f"{describe(parameter.annotation)} can't be read: {error}",
                "use types and constraints that msgspec takes",
                parameter.name,
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
        default = parameter_default(parameter)
        if isinstance(marker, BodyMarker):
            self.claims.refuse_path_name(parameter.name, marker, place)
            return self._body(parameter, parts, marker, default, place)
        if not isinstance(marker, Path):
            self.claims.refuse_path_name(parameter.name, marker, place)
        if isinstance(marker, Form):
            self.claims.claim_form(parameter.name, place)
        reader = scalar_reader(parts.full) or list_reader(parts.full)
        if reader is not None:
            name = wire_name(marker.source, marker.name, parameter.name)
            if marker.source == "path":
                self.claims.take_variable(name, parameter.name, reader, default, place)
            return Value(marker.source, name, reader, or_none(default, reader))
        if marker.source == "path" and (marker.name or parameter.name) in self.spec.path_names:
            raise IllegalAnnotation(
                f"a path variable holds one value, and {describe(parts.type)} is more",
                "use a scalar, such as str, int or UUID",
            )
        return gather(self.claims, parameter, parts, marker.source, place)

    # -- rule 4 and 5: the type

    def _unmarked(self, parameter: Parameter, parts: Annotation, place: Place) -> Node:
        default = parameter_default(parameter)
        scalar = scalar_reader(parts.full)
        if scalar is not None:
            return Value("query", parameter.name, scalar, or_none(default, scalar))
        many = list_reader(parts.full)
        methods = frozenset(self.spec.methods)
        if many is not None:
            if methods <= _QUERY_METHODS:
                return Value("query", parameter.name, many, or_none(default, many))
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
            return gather(self.claims, parameter, parts, "query", place)
        if methods <= BODY_METHODS:
            return self._body(parameter, parts, BodyMarker(), default, place)
        if has_marked_fields(parts.type) and all(markers_of(item) for item in fields_of(parts.type) or ()):
            return gather(self.claims, parameter, parts, "query", place)
        written = describe(parts.full)
        raise place.error(
            f"{written} on {'/'.join(self.spec.methods)} could mean the query or the body",
            f"write `Annotated[{written}, Query()]` or `Annotated[{written}, Body()]`",
            parameter.name,
        )

    # -- bodies

    def _body(
        self, parameter: Parameter, parts: Annotation, marker: BodyMarker, default: Default, place: Place
    ) -> Node:
        arms = union_arms(parts.type)
        real = [take_apart(arm).type for arm in arms or (parts.type,) if arm is not type(None)]
        raw = real == [bytes]
        if marker.media_type is not None and not raw:
            raise IllegalAnnotation(
                f"Body(media_type={marker.media_type!r}) is for raw bytes, and this is a {describe(parts.type)}",
                "annotate it as `bytes`, or take media_type= away",
            )
        if any(has_marked_fields(arm) for arm in real):
            return gather(self.claims, parameter, parts, "body", place, marker)
        if arms is not None:
            refuse_union_bounds(parts.type, parts.metas)
        if not raw:
            check_body(parts.full)
        optional = type(None) in (arms or ())
        body = Body(
            parts.full,
            raw,
            Default(None) if optional and default.required else default,
            marker.media_type,
            marker.max_size,
        )
        self.claims.claim_body(body, parameter.name, place)
        return body


def _class_of(annotation: Any) -> type | None:
    """What ``isinstance`` can check; None where it can't, or need not."""
    if union_arms(annotation) is not None:
        return None
    origin = typing.get_origin(annotation) or annotation
    if is_typed_dict(origin):
        return dict
    if not isinstance(origin, type) or origin in (object, Any) or getattr(origin, "_is_protocol", False):
        return None
    return origin

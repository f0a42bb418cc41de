"""Signatures with resolved hints, and annotations taken apart."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NewType, TypeVar, Union

import msgspec

from fastlane.errors import CompileError
from fastlane.params import Depends, Marker, State

__all__ = [
    "MISSING",
    "Annotation",
    "Parameter",
    "Place",
    "Signature",
    "UnresolvedName",
    "describe",
    "read_signature",
    "take_apart",
]

MISSING: Any = inspect.Parameter.empty
"""No default, no annotation."""

_UNION_ORIGINS = (Union, types.UnionType)
_FIELD_QUALIFIERS = tuple(
    getattr(typing, name)
    for name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")
    if hasattr(typing, name)
)


class UnresolvedName(CompileError):
    """An annotation names something that does not exist yet. The freeze tries again (REQUESTS 1)."""


class Place(msgspec.Struct, frozen=True):
    """Where an error of compilation points to."""

    handler: str
    file: str
    line: int

    def error(
        self, problem: str, mend: str, parameter: str | None = None, kind: type[CompileError] = CompileError
    ) -> CompileError:
        """The error for this place, to be raised."""
        return kind(problem, mend=mend, handler=self.handler, parameter=parameter, file=self.file, line=self.line)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a handler or dependency.

    Attributes:
        annotation: resolved.
        default: or MISSING.
        keyword: it is passed by keyword.
        factory: makes the default of a Struct's field.
    """

    name: str
    annotation: Any
    default: Any
    keyword: bool
    factory: Callable[[], Any] | None = None


class Signature(msgspec.Struct, frozen=True):
    """What a function asks for and returns.

    Attributes:
        parameters: those that can be read.
        returns: MISSING where nothing is written.
        mistakes: what is wrong with the other parameters, and with ``returns``.
    """

    place: Place
    parameters: tuple[Parameter, ...]
    returns: Any
    mistakes: tuple[CompileError, ...] = ()


class Annotation(msgspec.Struct, frozen=True):
    """An annotation taken apart.

    Attributes:
        type: without ``Annotated`` around it, aliases and NewTypes looked through.
        markers: fastlane's own metadata.
        metas: msgspec's constraints on the whole.
        full: the same as msgspec should see it: with constraints, without markers.
    """

    type: Any
    markers: tuple[Marker | Depends | State, ...]
    metas: tuple[msgspec.Meta, ...]
    full: Any


def read_signature(function: Callable[..., Any], localns: Mapping[str, object], *, returns: bool = True) -> Signature:
    """The parameters of a function, class, partial or callable object, hints resolved.

    Args:
        localns: the locals of the caller, for names that are no globals of the function (see ``_Scope``).
        returns: resolve the return annotation too (a class has none).

    What a partial has bound by keyword is no parameter any more: a request should not replace it.

    The mistakes of an answer are UnresolvedName for a hint that names what does not exist (yet), and CompileError for a
    hint that fails otherwise, ``*args``, and a missing annotation.

    Raises:
        CompileError: it has no signature at all.
    """
    target = underlying(function)
    place = _place_of(target, function)
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover - needs 3.14
            import annotationlib

            signature = inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise place.error(
            f"its signature can't be read: {error}", "write a function with annotated parameters"
        ) from None
    scope = _Scope(function, target, localns)
    bound = _bound_keywords(function)
    factories = _factories(function)
    parameters, mistakes = [], []
    for raw in signature.parameters.values():
        if raw.name in bound:
            continue
        try:
            annotation = _annotation_of(raw, scope, place)
        except CompileError as error:
            mistakes.append(error)
            continue
        parameters.append(
            Parameter(raw.name, annotation, raw.default, raw.kind is raw.KEYWORD_ONLY, factories.get(raw.name))
        )
    answer = MISSING
    if returns and not isinstance(function, type) and signature.return_annotation is not MISSING:
        try:
            answer = _resolve(signature.return_annotation, scope, place, None)
        except CompileError as error:
            mistakes.append(error)
    return Signature(place, tuple(parameters), answer, tuple(mistakes))


def _annotation_of(raw: inspect.Parameter, scope: _Scope, place: Place) -> Any:
    name = raw.name
    if raw.kind in (raw.VAR_POSITIONAL, raw.VAR_KEYWORD):
        stars = "*" if raw.kind is raw.VAR_POSITIONAL else "**"
        raise place.error(
            f"{stars}{name} can't be bound from a request",
            "name every parameter, and annotate it; a decorator needs @functools.wraps on its inner function",
            name,
        )
    if raw.annotation is MISSING:
        raise place.error("the parameter has no annotation", f"write `{name}: str`, or whichever type it has", name)
    return _resolve(raw.annotation, scope, place, name)


def _bound_keywords(function: Any) -> set[str]:
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound.update(function.keywords)
        function = function.func
    return bound


def _factories(function: Any) -> dict[str, Callable[[], Any]]:
    """What makes the defaults of a Struct's fields; a signature shows no more than that there is something."""
    if not isinstance(function, type) or not issubclass(function, msgspec.Struct):
        return {}
    found = {info.name: info.default_factory for info in msgspec.structs.fields(function)}
    return {name: factory for name, factory in found.items() if factory is not msgspec.NODEFAULT}


def underlying(function: Any) -> Any:
    """The function that runs in the end: through partials, callable objects, and to a class's ``__init__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        init = inspect.getattr_static(function, "__init__")
        return init if inspect.isfunction(init) else function
    if inspect.isroutine(function):
        return function
    call = inspect.getattr_static(type(function), "__call__", None)
    return call if inspect.isfunction(call) else function


def _place_of(target: Any, function: Any) -> Place:
    code = getattr(inspect.unwrap(target), "__code__", None)
    name = getattr(function, "__qualname__", None) or getattr(target, "__qualname__", None) or repr(function)
    return Place(name, code.co_filename if code else "", code.co_firstlineno if code else 0)


class _Scope:
    """Where a function's annotations find their names.

    The function's own module comes first: the caller's locals may hold another class of the same name. Only for a
    function that was itself defined inside a function do they come first, as they do for Python.
    """

    __slots__ = ("_globals", "_locals", "_nested", "_parameters")

    def __init__(self, function: Any, target: Any, localns: Mapping[str, object]) -> None:
        if isinstance(function, type):
            # What generates an ``__init__`` (attrs, Struct) does not generate it in the module of its class.
            self._globals: dict[str, Any] = vars(sys.modules[function.__module__])
        else:
            self._globals = getattr(inspect.unwrap(target), "__globals__", {})
        self._locals = dict(localns)
        # A module's locals are its globals, and have its name.
        self._nested = "<locals>" in getattr(target, "__qualname__", "") and "__name__" not in localns
        self._parameters = {parameter.__name__: parameter for parameter in getattr(target, "__type_params__", ())}

    def resolve(self, raw: Any) -> Any:
        """The annotation. Raises NameError, and whatever evaluating it raises."""
        # typing resolves hints of whatever has ``__annotations__``. One at a time, so that an error knows its
        # parameter.
        holder = types.SimpleNamespace(__annotations__={"it": raw})
        if not self._nested:
            try:
                return typing.get_type_hints(holder, self._globals, self._parameters, include_extras=True)["it"]
            except NameError:
                pass  # it may be one of the locals, which come next
        scope = {**self._locals, **self._parameters}
        return typing.get_type_hints(holder, self._globals, scope, include_extras=True)["it"]


def _resolve(raw: Any, scope: _Scope, place: Place, parameter: str | None) -> Any:
    try:
        return scope.resolve(raw)
    except NameError as error:
        raise place.error(
            f"the annotation {_text(raw)!r} names something that does not exist: {error}",
            "define it before the app starts, and import it outside `if TYPE_CHECKING:`",
            parameter,
            UnresolvedName,
        ) from error
    except Exception as error:
        raise place.error(
            f"the annotation {_text(raw)!r} can't be evaluated: {error}",
            "write an annotation that Python can evaluate",
            parameter,
        ) from error


def take_apart(annotation: Any) -> Annotation:
    """See ``Annotation``. Markers inside the one real arm of a union with None count for the whole."""
    markers: list[Marker | Depends | State] = []
    metas: list[msgspec.Meta] = []
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            inner, *extras = typing.get_args(annotation)
            own = [marker for extra in extras if (marker := _as_marker(extra)) is not None]
            markers[:0] = own
            metas[:0] = [extra for extra in extras if isinstance(extra, msgspec.Meta)]
            annotation = inner
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif _is_alias(annotation):
            annotation = annotation.__value__
        elif _is_alias(origin):
            annotation = origin.__value__[typing.get_args(annotation)]
        elif origin in _FIELD_QUALIFIERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ if annotation.__bound__ is not None else Any
        else:
            break
    if origin in _UNION_ORIGINS:
        arms = typing.get_args(annotation)
        real = [arm for arm in arms if arm is not type(None)]
        inner_parts = [take_apart(arm) for arm in real]
        if len(real) == 1 and inner_parts[0].markers:
            markers.extend(inner_parts[0].markers)
            annotation = inner_parts[0].full | None
    full = Annotated[(annotation, *metas)] if metas else annotation
    return Annotation(annotation, tuple(markers), tuple(metas), full)


def union_arms(annotation: Any) -> tuple[Any, ...] | None:
    """The members of a union, None where it is none."""
    return typing.get_args(annotation) if typing.get_origin(annotation) in _UNION_ORIGINS else None


def _as_marker(extra: object) -> Marker | Depends | State | None:
    if isinstance(extra, (Marker, Depends, State)):
        return extra
    if isinstance(extra, type) and issubclass(extra, (Marker, State)) and extra is not Marker:
        return extra()  # ``Annotated[str, Header]``
    return None


def _is_alias(annotation: object) -> bool:
    return type(annotation).__name__ == "TypeAliasType" and hasattr(annotation, "__value__")


def describe(annotation: Any) -> str:
    """An annotation as its author wrote it, near enough."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    arms = union_arms(annotation)
    if arms is not None:
        return " | ".join(map(describe, arms))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if isinstance(annotation, type) and origin is None:
        return annotation.__qualname__.rpartition("<locals>.")[2]
    if origin is Annotated:
        return f"Annotated[{', '.join([describe(arguments[0]), *map(repr, arguments[1:])])}]"
    name = getattr(annotation, "__name__", None)
    if name is None or isinstance(annotation, types.ModuleType):
        return str(annotation).replace("typing.", "")
    return f"{name}[{', '.join(map(describe, arguments))}]" if arguments and _are_types(arguments) else str(name)


def _are_types(arguments: tuple[Any, ...]) -> bool:
    return not any(isinstance(argument, list) for argument in arguments)  # of a Callable


def _text(raw: object) -> str:
    return raw if isinstance(raw, str) else getattr(raw, "__forward_arg__", None) or describe(raw)

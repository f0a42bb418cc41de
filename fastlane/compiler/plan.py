"""What reading a handler finds out: data for the generator, for the examination, and for whoever describes routes.

Plan ── calls: Call… (dependencies, innermost first, then the handler)
          └─ arguments: Argument ── node:  Value | Mapping | Body | Structure     read from the request
                                           Given | StateOf | Result | Singleton   handed over
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from fastlane.compiler.annotations import MISSING

if TYPE_CHECKING:
    from fastlane.compiler.annotations import Place
    from fastlane.compiler.collections import ListReader
    from fastlane.compiler.reader import Reader
    from fastlane.compiler.spec import RouteSpec
    from fastlane.compiler.suspension import Nature
    from fastlane.params import Source

__all__ = [
    "Argument",
    "Body",
    "Call",
    "Default",
    "Given",
    "Mapping",
    "Node",
    "Plan",
    "Result",
    "Singleton",
    "StateOf",
    "Structure",
    "Value",
    "readings",
]


class Default(msgspec.Struct):
    """What a missing value becomes. ``required`` where nothing stands in for it."""

    value: Any = MISSING
    factory: Callable[[], Any] | None = None

    @property
    def required(self) -> bool:
        return self.value is MISSING and self.factory is None


class Value(msgspec.Struct):
    """One scalar, or one collection of scalars, under one name on the wire."""

    source: Source
    name: str
    reader: Reader | ListReader
    default: Default


class Mapping(msgspec.Struct):
    """All names and values of a query string or form, as a dict."""

    source: Source
    annotation: Any
    reader: Reader | ListReader


class Body(msgspec.Struct):
    """The whole body.

    Attributes:
        annotation: what is decoded; ``bytes`` is not decoded where ``raw``.
        raw: the octets as they came.
        media_type, max_size: of the marker.
        default: required, or what an empty body becomes.
    """

    annotation: Any
    raw: bool
    default: Default
    media_type: str | None = None
    max_size: int | None = None


class Structure(msgspec.Struct):
    """A structure whose fields are read one by one, possibly from several sources.

    Attributes:
        annotation: as the parameter has it.
        build: called with every field by keyword. A ``ValueError`` or ``TypeError`` of it is the client's fault.
        fields: name of the field, and where it comes from.
        rest: a body that holds the fields without a marker; their names.
        default: used when no field's name is on the wire; only of structures of one source.
        closed: the query or form, where a name that the route does not know is refused (``forbid_unknown_fields``).
    """

    annotation: Any
    build: Callable[..., Any]
    fields: list[tuple[str, Value]]
    rest: Body | None = None
    rest_names: tuple[str, ...] = ()
    default: Default = msgspec.field(default_factory=Default)
    closed: Source | None = None


class Given(msgspec.Struct):
    """The request itself, or a new list of background tasks."""

    what: Literal["request", "background"]


class StateOf(msgspec.Struct):
    """What the lifespan yielded, which must be a ``type`` (None: whatever it is)."""

    type: type | None


class Result(msgspec.Struct):
    """The value of a dependency."""

    call: Call


class Singleton(msgspec.Struct):
    """The value of an app-scoped dependency."""

    call: Call


Node: TypeAlias = "Value | Mapping | Body | Structure | Given | StateOf | Result | Singleton"


class Argument(msgspec.Struct):
    """One argument of a call."""

    name: str
    keyword: bool
    node: Node


class Call(msgspec.Struct, eq=False):
    """One function that a route calls: a dependency, or the handler.

    Attributes:
        key: the function as it was asked for: what it is shared by, and overridden by.
        function: what is called.
        nature: how it is called.
        suspends: it may give control back to the event loop.
    """

    key: Callable[..., Any]
    function: Callable[..., Any]
    place: Place
    nature: Nature
    suspends: bool
    arguments: list[Argument]


class Plan(msgspec.Struct):
    """Everything about a route that can be known before a request.

    Attributes:
        calls: the dependencies in the order in which they run.
        handler: the last call.
        returns: the return annotation; MISSING where there is none.
        singletons: app-scoped dependencies, innermost first.
        body: the one body, if a call reads one.
        form: some value comes from a form.
    """

    spec: RouteSpec
    calls: list[Call]
    handler: Call
    returns: Any
    singletons: list[Call]
    body: Body | None
    form: bool

    @property
    def all_calls(self) -> list[Call]:
        """The dependencies and the handler."""
        return [*self.calls, self.handler]

    def known_names(self, source: Source) -> frozenset[str] | None:
        """The names that somebody reads from a query or form; None where somebody reads all of them."""
        found = set()
        for reading in [reading for call in self.all_calls for reading in readings(call)]:
            if isinstance(reading, Mapping) and reading.source == source:
                return None
            if isinstance(reading, Value) and reading.source == source:
                found.add(reading.name)
        return frozenset(found)


def readings(call: Call) -> Iterator[Value | Mapping | Body]:
    """What a call's arguments read from the request, in the order of its parameters."""
    for argument in call.arguments:
        node = argument.node
        if isinstance(node, Structure):
            for _, value in node.fields:
                yield value
            if node.rest is not None:
                yield node.rest
        elif isinstance(node, (Value, Mapping, Body)):
            yield node

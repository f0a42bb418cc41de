"""What a topic carries: how it is encoded and decoded, and which of its fields travel beside the payload."""

from __future__ import annotations

import difflib
import functools
import operator
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar, Union

import msgspec
from msgspec import inspect as shapes

from fastlane.annotations import bare, is_typed_dict
from fastlane.errors import CompileError
from fastlane.pubsub.attributes import Attribute, attribute_text, is_scalar, lifted_fields
from fastlane.pubsub.topics.handlers import described
from fastlane.resources.declaration import Place

__all__ = ["Schema", "UnresolvedSchema"]

T = TypeVar("T")
Read = Callable[[Any], Any]

_encode = msgspec.json.Encoder().encode


class UnresolvedSchema(CompileError):
    """A field's annotation names something that does not exist yet."""


class Schema(Generic[T]):
    """The type of a topic's events, understood.

    Args:
        event: the type.
        order_by: the field that is the ordering key.
        place: of the topic.

    Raises:
        UnresolvedSchema: a field's annotation names something that does not exist (yet).
        CompileError: msgspec can't carry it; ``order_by`` is no field; a field can't be an attribute.
    """

    __slots__ = ("_classes", "_key", "_lifts", "_place", "_topic", "classes", "decode", "event")

    def __init__(self, topic: str, event: Any, order_by: str | None, place: Place) -> None:
        self._topic = topic
        self._place = place
        self.event = event
        self.decode: Callable[[bytes], T] = self._decoder(event)
        arms = list(_arms(event))
        checked = [_class_of(arm) for arm in arms]
        self.classes: tuple[type, ...] | None = None if None in checked else tuple(typing.cast("list[type]", checked))
        """What an event is an instance of; None: that can't be said."""
        self._lifts: dict[type, list[tuple[str, Read]]] = {}
        self._key: Read | None = None
        for arm in arms:
            self._read(arm, order_by)

    def encode(self, event: T) -> bytes:
        """The payload.

        Raises:
            TypeError: it is not what the topic carries, or has something inside that can't be encoded.
        """
        if self.classes is not None and not isinstance(event, self.classes):
            raise TypeError(
                f"topic {self._topic!r} carries {described(self.event)}, not {described(type(event))}: {event!r}"
            )
        try:
            return _encode(event)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"topic {self._topic!r}: {event!r} can't be encoded: {error}") from error

    def attributes(self, event: T) -> dict[str, str]:
        """Those that are lifted from the event's fields."""
        lifts = self._lifts.get(type(event))
        if lifts is None:
            lifts = self._inherited(event)
        found = {}
        for name, read in lifts:
            value = read(event)
            if value is not None:
                found[name] = attribute_text(value)
        return found

    def key(self, event: T) -> str | None:
        """The ordering key; None without ``order_by``.

        Raises:
            ValueError: the field is empty.
        """
        if self._key is None:
            return None
        value = self._key(event)
        key = "" if value is None else attribute_text(value)
        if not key:
            raise ValueError(f"topic {self._topic!r}: the field that it is ordered by is empty in {event!r}")
        return key

    def _decoder(self, event: Any) -> Callable[[bytes], T]:
        try:
            info = shapes.type_info(event)
            decoder = msgspec.json.Decoder(event)
        except NameError as error:
            raise UnresolvedSchema(
                f"{described(event)} has a field whose type does not exist: {error}",
                mend="define it in the module, before the app starts, and import it outside `if TYPE_CHECKING:`",
                file=self._place.file,
                line=self._place.line,
            ) from error
        except Exception as error:
            raise self._mistake(
                f"{described(event)} can't be carried as JSON: {error}",
                "use a Struct, a dataclass, a TypedDict, or another type that msgspec supports",
            ) from error
        foreign = next(_foreign(info, set()), None)
        if foreign is not None:
            raise self._mistake(
                f"{described(event)} can't be carried as JSON: msgspec does not know {described(foreign)}",
                "use a Struct, a dataclass, a TypedDict, or another type that msgspec supports",
            )
        return decoder.decode

    def _read(self, arm: Any, order_by: str | None) -> None:
        """Find the fields of one member of a union."""
        origin = typing.get_origin(arm) or arm
        hints: dict[str, Any] = {}
        if isinstance(origin, type) and getattr(origin, "__annotations__", None) is not None:
            try:
                hints = typing.get_type_hints(origin, include_extras=True)
            except NameError:
                # A generic's, or a class's inside a function; msgspec has its own way, and has succeeded.
                hints = dict(origin.__annotations__)
        hints = {name: hint for name, hint in hints.items() if (typing.get_origin(hint) or hint) is not ClassVar}
        reader: Callable[[str], Read] = _item if is_typed_dict(origin) else operator.attrgetter
        self._refuse_defaults(arm, origin, hints)
        try:
            lifted = lifted_fields(hints)
        except ValueError as error:
            raise self._mistake(f"{described(arm)}: {error}", "see `fastlane.pubsub.Attribute`") from None
        lifts = [(name, reader(field)) for field, name in lifted.items()]
        self._lifts[dict if is_typed_dict(origin) else origin] = lifts
        if order_by is None:
            return
        if order_by not in hints:
            close = difflib.get_close_matches(str(order_by), hints, 1)
            known = f"did you mean {close[0]!r}? " if close else ""
            raise self._mistake(
                f"order_by={order_by!r} is no field of {described(arm)}",
                f"{known}its fields are: {', '.join(hints) or 'none'}",
            )
        if type(None) in _arms(hints[order_by]):
            raise self._mistake(
                f"order_by={order_by!r} may be None, and a message without a key has no order",
                "order by a field that is always there",
            )
        if hints[order_by] is not Any and not isinstance(hints[order_by], TypeVar) and not is_scalar(hints[order_by]):
            raise self._mistake(
                f"order_by={order_by!r} is no text, number, enum, UUID or time, and a key is a text",
                "order by a field of a plain type, such as an id",
            )
        self._key = reader(order_by)

    def _refuse_defaults(self, arm: Any, origin: Any, fields: Iterable[str]) -> None:
        """``field: str = Attribute()`` would lift nothing."""
        defaults = [*getattr(origin, "__struct_defaults__", ()), *(getattr(origin, field, None) for field in fields)]
        if any(isinstance(default, Attribute) or default is Attribute for default in defaults):
            raise self._mistake(
                f"{described(arm)} has a field whose default is Attribute()", "write `Annotated[str, Attribute()]`"
            )

    def _inherited(self, event: T) -> list[tuple[str, Read]]:
        """An instance of a subclass has what its base has."""
        for base in type(event).__mro__:
            if base in self._lifts:
                return self._lifts.setdefault(type(event), self._lifts[base])
        return []

    def _mistake(self, problem: str, mend: str) -> CompileError:
        return CompileError(
            f"topic {self._topic!r}: {problem}", mend=mend, file=self._place.file, line=self._place.line
        )


def _item(field: str) -> Read:
    """A TypedDict's field may be missing."""
    return lambda event: event.get(field)


def _arms(hint: Any) -> Iterator[Any]:
    """The members of a union, aliases and ``Annotated`` looked through."""
    hint = bare(hint)
    if typing.get_origin(hint) in (Union, types.UnionType):
        for arm in typing.get_args(hint):
            yield from _arms(arm)
    else:
        yield type(None) if hint is None else hint


def _class_of(arm: Any) -> type | tuple[type, ...] | None:
    if is_typed_dict(typing.get_origin(arm) or arm):
        return dict
    found = typing.get_origin(arm) or arm
    if found is float or found is Any:
        return None  # an int will do for a float
    return found if isinstance(found, type) else None


def _foreign(info: object, seen: set[int]) -> Iterator[Any]:
    """The classes inside a type that msgspec would leave to a hook."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, shapes.CustomType):
        yield info.cls
    elif isinstance(info, list | tuple):
        for one in info:
            yield from _foreign(one, seen)
    elif isinstance(info, msgspec.Struct):
        for one in _values(type(info)):
            yield from _foreign(getattr(info, one), seen)


@functools.cache
def _values(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name not in ("cls", "default", "default_factory"))

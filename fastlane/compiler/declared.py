"""A return annotation, sorted into what decides the media type of the answer."""

from __future__ import annotations

import inspect as python_inspect
import types
from typing import Any, Final, Literal, Union, get_args, get_origin

from msgspec import inspect

from fastlane.compiler.annotations import describe, take_apart
from fastlane.errors import CompileError
from fastlane.http.response import Response

__all__ = ["OCTET_CLASSES", "Declared"]

OCTET_CLASSES: Final = (bytes, bytearray, memoryview)


class Declared:
    """What a handler says that it returns.

    Attributes:
        annotation: as written.
        name: it, for a message.
        none, text, octets: None, ``str`` (or a Literal of such), ``bytes`` and the like are among it.
        responses: a Response class is among it.
        parametrised: that Response says what it holds (``Response[T]``); T is sorted like the rest.
        content: the members that are neither: what is encoded as JSON or MessagePack.
        free: Any, object, or no annotation is among it, so that nobody says what the body is.

    Raises:
        CompileError: a type that can't be encoded.
    """

    __slots__ = ("annotation", "content", "free", "name", "none", "octets", "parametrised", "responses", "text")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.name = describe(annotation)
        self.none = self.text = self.octets = self.responses = self.parametrised = self.free = False
        self.content: list[Any] = []
        self._sort(annotation)
        if self.responses and not (self.parametrised or self.text or self.octets or self.content):
            self.free = True

    @property
    def has_body(self) -> bool:
        """Something else than None is among it."""
        return self.free or self.text or self.octets or bool(self.content)

    def _sort(self, annotation: Any) -> None:
        plain = take_apart(annotation).type
        origin = get_origin(plain)
        cls = origin or plain
        if plain in (python_inspect.Parameter.empty, Any, object):
            self.free = True
        elif plain is None or plain is type(None):
            self.none = True
        elif origin in (Union, types.UnionType):
            for option in get_args(plain):
                self._sort(option)
        elif isinstance(cls, type) and issubclass(cls, Response):
            self.responses = True
            for argument in get_args(plain):
                self.parametrised = True
                self._sort(argument)
        elif plain is str or (origin is Literal and all(isinstance(value, str) for value in get_args(plain))):
            self.text = True
        elif plain in OCTET_CLASSES:
            self.octets = True
        else:
            _check(annotation)
            self.content.append(annotation)


def _check(annotation: Any) -> None:
    """Raises CompileError for what msgspec can't encode."""
    try:
        foreign = _foreign_class(inspect.type_info(annotation), set())
    except TypeError as error:
        raise CompileError(
            f"it can't return {describe(annotation)}: {error}",
            mend="give the Structs of a union tags, as in `class Cat(Struct, tag=True)`",
        ) from error
    if foreign is None:
        return
    if hasattr(foreign, "__aiter__"):
        mend = "annotate it with `-> StreamingResponse` and return one"
    elif hasattr(foreign, "__iter__"):
        mend = "return a list, annotated with `-> list[…]`, or a StreamingResponse"
    else:
        mend = "use a Struct, dataclass, TypedDict, attrs class, NamedTuple or built-in type, or return a Response"
    raise CompileError(f"it can't return {describe(annotation)}: {describe(foreign)} can't be encoded", mend=mend)


def _foreign_class(node: Any, seen: set[int]) -> type | None:
    """The first class inside a type that msgspec does not know."""
    if isinstance(node, inspect.CustomType):
        return None if node.cls is object else node.cls
    if not isinstance(node, (inspect.Type, inspect.Field)) or id(node) in seen:
        return None
    seen.add(id(node))
    for name in node.__struct_fields__:
        value = getattr(node, name)
        for item in value if isinstance(value, tuple) else (value,):
            found = _foreign_class(item, seen)
            if found is not None:
                return found
    return None

"""Decoding a body: JSON or MessagePack by its Content-Type, or the raw octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fastlane.compiler.annotations import take_apart
from fastlane.compiler.completion import completing
from fastlane.compiler.scalars import scalar_reader
from fastlane.http.media import FORM, JSON_TYPES, MSGPACK_TYPES

if TYPE_CHECKING:
    from fastlane.compiler.plan import Body
    from fastlane.http.request import Request

__all__ = ["BodyDecoder", "decode_builtins", "media_types"]


def media_types(body: Body | None, *, form: bool, strict: bool) -> frozenset[str] | None:
    """The essences that a route reads, the empty one for a body without a Content-Type; None takes any."""
    unnamed = frozenset() if strict else frozenset({""})
    if form:
        return unnamed | {FORM}
    if body is None:
        return None
    if body.media_type is not None:
        return unnamed | {body.media_type.lower()}
    return None if body.raw else unnamed | JSON_TYPES | MSGPACK_TYPES


def decode_builtins(request: Request) -> Any:
    """The body as dicts, lists and scalars. Raises what msgspec raises for bytes that are no JSON or MessagePack."""
    decode = msgspec.msgpack.decode if request.head.is_msgpack else msgspec.json.decode
    return decode(request.raw_body)


class BodyDecoder:
    """The decoders of one annotation.

    Attributes:
        json, msgpack: decode bytes of that format. Raise what msgspec raises.
        checks: there is something to do: it is not a raw body of any length.
    """

    __slots__ = ("checks", "json", "msgpack")

    def __init__(self, body: Body) -> None:
        self.checks = True
        if body.raw:
            reader = scalar_reader(body.annotation)
            self.checks = reader is not None and bool(take_apart(reader.annotation).metas)
            self.json: Callable[[bytes], Any] = reader.decode if reader is not None else bytes
            self.msgpack = self.json
        else:
            self.json = completing(msgspec.json.Decoder(body.annotation).decode, body.annotation)
            self.msgpack = completing(msgspec.msgpack.Decoder(body.annotation).decode, body.annotation)

    def decode(self, request: Request) -> Any:
        """The body of ``request``. Its Content-Type decides, never what the bytes look like."""
        return (self.msgpack if request.head.is_msgpack else self.json)(request.raw_body)

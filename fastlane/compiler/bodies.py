"""Decoding a body: JSON or MessagePack by its Content-Type, or the raw octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastlane.compiler.annotations import take_apart
from fastlane.compiler.reader import Reader
from fastlane.compiler.scalars import scalar_reader

if TYPE_CHECKING:
    from fastlane.compiler.plan import Body
    from fastlane.http.request import Request

__all__ = ["FORM_TYPE", "JSON_TYPES", "MSGPACK_TYPES", "BodyDecoder", "decode_builtins", "is_msgpack", "media_types"]

JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json", "application/json-patch+json"})
MSGPACK_TYPES: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})
FORM_TYPE: Final = "application/x-www-form-urlencoded"


def media_types(body: Body | None, *, form: bool, strict: bool) -> frozenset[str] | None:
    """The essences that a route reads, the empty one for a body without a Content-Type; None takes any."""
    unnamed = frozenset() if strict else frozenset({""})
    if form:
        return unnamed | {FORM_TYPE}
    if body is None:
        return None
    if body.media_type is not None:
        return unnamed | {body.media_type.lower()}
    return None if body.raw else unnamed | JSON_TYPES | MSGPACK_TYPES


def is_msgpack(request: Request) -> bool:
    """The body's Content-Type is one of MessagePack's names."""
    value = request.head.header(b"content-type")
    return value is not None and value.partition(b";")[0].strip().lower().decode("latin-1") in MSGPACK_TYPES


def decode_builtins(request: Request) -> Any:
    """The body as dicts, lists and scalars. Raises what msgspec raises for bytes that are no JSON or MessagePack."""
    decode = msgspec.msgpack.decode if is_msgpack(request) else msgspec.json.decode
    return decode(request.raw_body)


class BodyDecoder:
    """The decoders of one annotation.

    Attributes:
        json: decodes JSON bytes; what the generated code calls itself where the first byte leaves no doubt.
    """

    __slots__ = ("_check", "_msgpack", "_raw", "json")

    def __init__(self, body: Body) -> None:
        self._raw = body.raw
        self._check: Reader | None = None
        if body.raw:
            reader = scalar_reader(body.annotation)
            self._check = reader if reader is not None and take_apart(reader.annotation).metas else None
            self.json: Callable[[bytes], Any] = bytes
            self._msgpack: Callable[[bytes], Any] = bytes
        else:
            self.json = msgspec.json.Decoder(body.annotation).decode
            self._msgpack = msgspec.msgpack.Decoder(body.annotation).decode

    @property
    def checks(self) -> bool:
        """A raw body with bounds on its length."""
        return self._check is not None

    def decode(self, request: Request) -> Any:
        """The body of ``request``, by its Content-Type."""
        if self._check is not None:
            return self._check.decode(request.raw_body)
        if self._raw:
            return request.raw_body
        if is_msgpack(request):
            return self._msgpack(request.raw_body)
        return self.json(request.raw_body)

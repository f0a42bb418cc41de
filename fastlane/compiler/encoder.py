"""The return annotation, compiled: what the handler returns becomes bytes for the route's status and headers
(REQUESTS 4).

annotation              answer
None                    204, or empty with the route's ``status``
str, bytes              text/plain; charset=utf-8, application/octet-stream
Response, Response[T]   its own status and headers; content that waits is encoded, and narrowed, as a T
nothing, Any, object    decided for each value: a Response, None, str, bytes, else JSON
everything else         JSON; with ``produces="msgpack"`` MessagePack, or JSON for a client that likes that better
unions of these         decided for each value; ``T | None`` is ``null`` for None

A Response is taken from every handler, whatever it declares: nobody returns one by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from fastlane.compiler.declared import OCTET_CLASSES, Declared
from fastlane.compiler.narrow import Format, Narrowing, json_format, msgpack_format, narrowing_of, refusal
from fastlane.errors import CompileError
from fastlane.http.accept import preferred
from fastlane.http.headers import encode_value
from fastlane.http.response import JSON, OCTETS, TEXT, Response, is_bodiless

__all__ = ["Encoder", "compile_encoder"]

Result: TypeAlias = "bytes | Response[Any]"
HeaderList: TypeAlias = "tuple[tuple[bytes, bytes], ...]"

MSGPACK: Final = "application/msgpack"
_MSGPACK_NAMES: Final = frozenset({"msgpack", MSGPACK, "application/x-msgpack", "application/vnd.msgpack"})
_VARY: Final = (b"vary", b"accept")


class Encoder:
    """How one route answers.

    Attributes:
        status: of a ``bytes`` answer.
        headers: of a ``bytes`` answer: lower-case names, without ``content-length``.
        annotation: what the body holds, for a schema: the return annotation without its Responses; ``NoneType`` for no
            body, ``Any`` where nobody said.
        encode: ``encode(value)`` is the answer to anything that the handler may return. Raises Internal for what must
            not leave; ``UnfitResult``, which names the paths, in ``dev`` and tests.
        negotiates: the answer depends on ``Accept``: it is ``encode(value, lines)`` with the lines of that header.
        inline: an expression over ``value``: the usual case of ``encode`` without a call; None where there is none.
        namespace: the names in ``inline``.
    """

    __slots__ = ("annotation", "encode", "headers", "inline", "namespace", "negotiates", "status")

    def __init__(self, status: int, headers: HeaderList, annotation: Any, encode: Callable[..., Result]) -> None:
        self.status = status
        self.headers = headers
        self.annotation = annotation
        self.encode = encode
        self.negotiates = False
        self.inline: str | None = None
        self.namespace: dict[str, Any] = {}

    def write_inline(self, condition: str, encoded: str, **namespace: Any) -> None:
        """``encoded`` where ``condition`` holds, else the call."""
        self.inline = f"{encoded} if {condition} else encode(value)"
        self.namespace = {**namespace, "encode": self.encode}


def compile_encoder(
    annotation: Any, *, status: int | None = None, produces: str | None = None, validate: bool = False
) -> Encoder:
    """The encoder of a return annotation.

    Args:
        annotation: resolved; ``inspect.Parameter.empty`` where there is none.
        status: the route's; None is 200, and 204 for ``-> None``.
        produces: the media type instead of the one above: any for ``str`` and ``bytes``; for the rest a JSON one
            (``application/json``, ``…+json``) or MessagePack (``msgpack``, ``application/msgpack``).
        validate: ``dev`` and tests: every value is checked at every depth.

    Raises:
        CompileError: a type that can't be encoded, or a status or media type that does not go with it. It names no
            handler, which the caller knows.
    """
    if status is not None and not 200 <= status <= 599:
        raise CompileError(f"status={status} is no status of an answer", mend="give one from 200 to 599")
    declared = Declared(annotation)
    if declared.free:
        return _free(declared, status, produces, validate=validate)
    if not declared.has_body:
        return _empty(declared, status, validate=validate)
    if status is not None and is_bodiless(status):
        raise CompileError(
            f"status={status} forbids a body, and it returns {declared.name}",
            mend="annotate it with `-> None`, or give another status",
        )
    if declared.content:
        formats = _formats(declared, produces)
        return _Structured(declared, 200 if status is None else status, formats, validate=validate).encoder()
    return _plain(declared, 200 if status is None else status, produces, validate=validate)


def _empty(declared: Declared, status: int | None, *, validate: bool) -> Encoder:
    def encode(value: Any) -> Result:
        if value is None:
            return b""
        if isinstance(value, Response):
            return _rendered(value)
        raise _refusal(declared, value, validate=validate)

    encoder = Encoder(204 if status is None else status, (), type(None), encode)
    encoder.write_inline("value is None", "b''")
    return encoder


def _free(declared: Declared, given: int | None, produces: str | None, *, validate: bool) -> Encoder:
    """Nothing is declared: each value decides. JSON is the usual case."""
    status = 200 if given is None else given
    empty = is_bodiless(status)
    encode_json = json_format.encode
    headers = () if empty else _content_type(JSON if produces is None else produces)

    def encode(value: Any) -> Result:
        if isinstance(value, Response):
            return _rendered(value)
        if value is None:
            return b"" if empty else _response(b"", 204 if given is None else status, ())
        if empty:
            raise _refusal(declared, value, validate=validate)
        if isinstance(value, str):
            return _response(str.encode(value), status, headers if produces else _content_type(TEXT))
        if isinstance(value, OCTET_CLASSES):
            return _response(bytes(value), status, headers if produces else _content_type(OCTETS))
        return encode_json(value)

    encoder = Encoder(status, headers, Any, encode)
    if not empty:
        encoder.write_inline("value.__class__ is dict", "encode_json(value)", encode_json=encode_json)
    return encoder


def _plain(declared: Declared, status: int, produces: str | None, *, validate: bool) -> Encoder:
    """``str``, ``bytes``, both, or one of them and None."""
    headers = _content_type(produces or (TEXT if declared.text else OCTETS))
    octet_headers = headers if produces or not declared.text else _content_type(OCTETS)

    def encode(value: Any) -> Result:
        if isinstance(value, str) and declared.text:
            return str.encode(value)
        if isinstance(value, OCTET_CLASSES) and declared.octets:
            return bytes(value) if octet_headers is headers else _response(bytes(value), status, octet_headers)
        if isinstance(value, Response):
            if declared.parametrised and type(value) is Response and not value.is_encoded:
                raise _refusal(declared, value.content, validate=validate)
            return _rendered(value)
        if value is None and declared.none:
            return _response(b"null", status, _content_type(JSON))
        raise _refusal(declared, value, validate=validate)

    annotation = str if declared.text else bytes
    encoder = Encoder(status, headers, annotation, encode)
    if declared.text:
        encoder.write_inline("value.__class__ is str", "value.encode()")
    else:
        encoder.write_inline("value.__class__ is bytes", "value")
    return encoder


class _Structured:
    """The compilation of what is JSON or MessagePack."""

    __slots__ = ("declared", "narrowings", "status", "validate")

    def __init__(
        self, declared: Declared, status: int, formats: Sequence[tuple[str, Format]], *, validate: bool
    ) -> None:
        self.declared = declared
        self.status = status
        self.validate = validate
        options = [*declared.content, *([None] if declared.none else [])]
        try:
            self.narrowings = [
                (media_type, narrowing_of(options, form, validate=validate)) for media_type, form in formats
            ]
        except TypeError as error:
            raise CompileError(
                f"it can't return {declared.name}: {error}",
                mend="give the Structs of a union tags, as in `class Cat(Struct, tag=True)`",
            ) from error

    def encoder(self) -> Encoder:
        (media_type, narrow), *others = self.narrowings
        encode = self._encode(media_type, narrow)
        encoder = Encoder(self.status, _content_type(media_type), narrow.annotation, encode)
        if others:
            encoder.negotiates = True
            encoder.headers = (*encoder.headers, _VARY)
            encoder.encode = self._negotiate(encode)
        elif not (self.validate or self.declared.text or self.declared.octets):
            _write_inline(encoder, narrow)
        return encoder

    def _encode(self, media_type: str, narrow: Narrowing) -> Callable[[Any], Result]:
        declared, status = self.declared, self.status
        encode_value = narrow.format.encode
        negotiated = len(self.narrowings) > 1

        def encode(value: Any) -> Result:
            if isinstance(value, Response):
                return complete(value)
            if declared.text and isinstance(value, str):
                return _response(str.encode(value), status, _content_type(TEXT))
            if declared.octets and isinstance(value, OCTET_CLASSES):
                return _response(bytes(value), status, _content_type(OCTETS))
            return encode_value(narrow(value))

        def complete(response: Response[Any]) -> Response[Any]:
            """What waits in a ``Response[T]`` is a T; in a plain Response it is one unless it tells of an error."""
            waits = not response.is_encoded
            if declared.none and declared.parametrised and type(response) is Response and response.content is None:
                waits = not is_bodiless(response.status)  # null: a body, where Response alone would send none
            if waits and (declared.parametrised or response.status < 400):
                response.body = encode_value(narrow(response.content))
                if response.media_type is None and response.headers.get("content-type", JSON) == JSON:
                    response.headers["content-type"] = media_type
            if negotiated:
                response.headers.add_vary_header("accept")
            return _rendered(response)

        return encode

    def _negotiate(self, usual: Callable[[Any], Result]) -> Callable[[Any, Sequence[bytes]], Result]:
        (first, _), (other, narrow) = self.narrowings
        unusual = self._encode(other, narrow)
        headers = (*_content_type(other), _VARY)
        status = self.status

        def encode(value: Any, accept: Sequence[bytes]) -> Result:
            if preferred(accept, (first, other)) == first:
                return usual(value)
            answer = unusual(value)
            return _response(answer, status, headers) if isinstance(answer, bytes) else answer

        return encode


def _write_inline(encoder: Encoder, narrow: Narrowing) -> None:
    encode_value = narrow.format.encode
    if narrow.fits is None:
        # Every value fits: only a Response has to be told apart.
        encoder.write_inline("value.__class__ is dict", "encode_value(value)", encode_value=encode_value)
    elif narrow.classes is None:
        encoder.write_inline("fits(value)", "encode_value(value)", encode_value=encode_value, fits=narrow.fits)
    elif len(narrow.classes) == 1:
        # PERF: 6–10 ns; a call of encode would be 60.
        (declared,) = narrow.classes
        encoder.write_inline(
            "value.__class__ is declared", "encode_value(value)", encode_value=encode_value, declared=declared
        )
    else:
        classes = frozenset(narrow.classes)
        encoder.write_inline(
            "value.__class__ in declared", "encode_value(value)", encode_value=encode_value, declared=classes
        )


def _formats(declared: Declared, produces: str | None) -> list[tuple[str, Format]]:
    """Media types and formats, the usual one first."""
    if produces is None:
        return [(JSON, json_format)]
    essence = produces.partition(";")[0].strip().lower()
    if essence in _MSGPACK_NAMES:
        return [(MSGPACK, msgpack_format), (JSON, json_format)]
    if essence == JSON or essence.endswith("+json"):
        return [(produces, json_format)]
    raise CompileError(
        f"produces={produces!r} does not go with {declared.name}",
        mend='give a JSON media type or `produces="msgpack"`, or return str, bytes or a Response',
    )


def _content_type(media_type: str) -> HeaderList:
    return ((b"content-type", encode_value(media_type, "content-type")),)


def _response(body: bytes, status: int, headers: HeaderList) -> Response[Any]:
    """An answer of another status or media type than the route's usual one."""
    response: Response[Any] = Response(body, status)
    response.raw_headers[:] = headers
    return response


def _rendered(response: Response[Any]) -> Response[Any]:
    """The response, its content encoded now: while a failure is still one of the handler's call."""
    if not response.streams:
        response.body  # noqa: B018 - reading it encodes
    return response


def _refusal(declared: Declared, value: Any, *, validate: bool) -> Exception:
    """What to raise for a result that must not leave."""
    text = f"the handler declares {declared.name} and returned {type(value).__qualname__}"
    return refusal(text, validate=validate)

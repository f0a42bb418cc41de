"""Answers. Each is a value that a door sends, and an ASGI application of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import ClassVar, Final, Generic, TypeVar, Unpack
from urllib.parse import quote

import msgspec

from fastlane.http.background import BackgroundTasks
from fastlane.http.cookies import CookieAttributes, expired_cookie, render_cookie
from fastlane.http.headers import MutableHeaders, encode_header, encode_value
from fastlane.http.stream import Receive, Scope, Send, iterate, send_chunks

__all__ = [
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
    "is_bodiless",
    "redirect_target",
]

T = TypeVar("T")

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
OCTETS: Final = "application/octet-stream"

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that follow from the body and the connection, so that no handler can contradict them."""

_encode_json = msgspec.json.Encoder().encode


def is_bodiless(status: int) -> bool:
    """The status forbids content: 1xx, 204, 205 and 304 (RFC 9110 15)."""
    return status < 200 or status in (204, 205, 304)


def redirect_target(url: str) -> str:
    """A URL as a ``Location``, percent-encoded where it is not ASCII. Raises what ``RedirectResponse`` raises."""
    # Browsers drop tabs and line ends inside a URL: "/\t/host" would lead to another host.
    if not url or not url.isprintable():
        raise ValueError(f"a redirect needs a URL without control characters, got {url!r}")
    if url.partition(":")[0].strip().lower() in ("javascript", "data", "vbscript"):
        raise ValueError(f"a redirect must not lead to script, got {url!r}")
    # The safe characters are RFC 3986's reserved ones and "%". A backslash is encoded: browsers would read "/\host"
    # as "//host".
    return quote(url, safe=":/?#[]@!$&'()*+,;=%")


class Response(Generic[T]):
    """A whole answer. ``Response[User]`` as a return annotation has ``content`` encoded, and narrowed, as a ``User``.

    Args:
        content: ``bytes`` are sent as they are, ``str`` as UTF-8, None is an empty body; anything else is encoded
            when the handler has returned, by the encoder of its annotation, as JSON where there is none.
        status: the HTTP status.
        headers: names of any case, and values. ``content-length`` never counts: it follows from the body.
        media_type: the Content-Type. Default: that of ``headers``, else the class's, else by the kind of content:
            ``application/octet-stream``, ``text/plain; charset=utf-8`` or ``application/json``.
        background: calls for when the answer has been sent.

    Attributes:
        status: as given.
        content: as given.
        raw_headers: pairs of lower-case name and value, checked. A door sends ``wire_headers()``.
        headers: a view of ``raw_headers`` that writes through.
        body: the octets. Reading it encodes ``content`` where that has not happened yet; setting it replaces them.
        background: as given.
        streams: (class) the body comes in pieces from ``body_iterator``, and there is no ``body``.

    Raises:
        ValueError: a header that can't be sent (CR, LF, NUL, no latin-1), or content with a status that forbids it.
    """

    __slots__ = ("_body", "background", "content", "media_type", "raw_headers", "status")

    streams: ClassVar[bool] = False
    default_media_type: ClassVar[str | None] = None

    # A subclass may be written by users, with attributes of its own.
    _body: bytes | None
    content: T

    def __init__(
        self,
        content: T = None,  # type: ignore[assignment]  # the default of an unbound T
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTasks | None = None,
        **foreign: object,
    ) -> None:
        if foreign:
            raise TypeError(foreign_argument(type(self).__name__, foreign))
        self.content = content
        self.status = status
        self.background = background
        self.raw_headers = [encode_header(name, value) for name, value in headers.items()] if headers else []
        self.media_type = media_type
        self._body = self.render(content)
        if self._body != b"" and is_bodiless(status):
            raise ValueError(f"{type(self).__name__}: status {status} forbids a body")
        if media_type is None:
            media_type = self.default_media_type
            if media_type is None and self._body != b"":
                media_type = OCTETS if isinstance(content, bytes) else TEXT if isinstance(content, str) else JSON
            if media_type is None or any(name == b"content-type" for name, _ in self.raw_headers):
                return
        else:
            self.raw_headers[:] = [pair for pair in self.raw_headers if pair[0] != b"content-type"]
        self.raw_headers.append((b"content-type", encode_value(media_type, "content-type")))

    def render(self, content: T) -> bytes | None:
        """The octets of ``content``; None leaves the encoding to the route's encoder, or to the first reading of
        ``body``.
        """
        if content is None:
            return b""
        if isinstance(content, bytes):
            return content
        if isinstance(content, str):
            return content.encode("utf-8")
        return None

    @property
    def body(self) -> bytes:
        body = self._body
        if body is None:
            body = self._body = _encode_json(self.content)
        return body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body

    @property
    def is_encoded(self) -> bool:
        """``body`` stands; False while ``content`` waits for its encoder."""
        return self._body is not None

    @property
    def headers(self) -> MutableHeaders:
        return MutableHeaders(self.raw_headers)

    def set_cookie(self, key: str, value: str = "", **attributes: Unpack[CookieAttributes]) -> None:
        """One more ``Set-Cookie`` line; the attributes are those of ``render_cookie``, with ``path="/"`` and
        ``samesite="lax"``.

        Raises ValueError for what a browser would refuse.
        """
        self.raw_headers.append((b"set-cookie", render_cookie(key, value, **attributes)))

    def delete_cookie(self, key: str, **attributes: Unpack[CookieAttributes]) -> None:
        """Lets the cookie expire. ``path``, ``domain`` and ``partitioned`` must be those that it was set with."""
        self.raw_headers.append((b"set-cookie", expired_cookie(key, **attributes)))

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """What is sent: ``raw_headers`` and the body's true ``content-length``.

        1xx, 204 and 304 carry none; 205 carries a zero, since a client would wait for its end otherwise
        (RFC 9110 15.3.6, RFC 9112 6.3).
        """
        status = self.status
        headers = [pair for pair in self.raw_headers if pair[0] not in FRAMING]
        if status >= 200 and status not in (204, 304):
            headers.append((b"content-length", b"%d" % (0 if status == 205 else len(self.body))))
        return headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer through ASGI, then runs ``background``. Works as a WebSocket denial, too."""
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        body = b"" if is_bodiless(self.status) or scope.get("method") == "HEAD" else self.body
        await send({"type": f"{kind}.start", "status": self.status, "headers": self.wire_headers()})
        await send({"type": f"{kind}.body", "body": body})
        if self.background is not None:
            await self.background()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"


class JSONResponse(Response[T]):
    """``content`` as JSON, whatever it is: a str becomes a JSON string, None ``null``."""

    __slots__ = ()
    default_media_type = JSON

    def render(self, content: T) -> bytes | None:
        if content is None:
            return b"" if is_bodiless(self.status) else b"null"
        return _encode_json(content) if isinstance(content, str | bytes) else None


class HTMLResponse(Response[str]):
    """``text/html; charset=utf-8``."""

    __slots__ = ()
    default_media_type = "text/html; charset=utf-8"


class PlainTextResponse(Response[str]):
    """``text/plain; charset=utf-8``."""

    __slots__ = ()
    default_media_type = TEXT


class RedirectResponse(Response[None]):
    """Sends the client elsewhere.

    Args:
        url: absolute or relative; letters outside ASCII are percent-encoded. A relative target stays a target on this
            host only if it begins with one ``/``: never build one from what a client sent without checking where it
            leads.
        status: 301, 302, 303, 307 (keeps method and body, not cached) or 308.

    Raises:
        ValueError: another status, an empty URL, control characters, or a ``javascript:``, ``data:`` or ``vbscript:``
            URL.
    """

    __slots__ = ()

    def __init__(
        self,
        url: str,
        status: int = 307,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTasks | None = None,
        **foreign: object,
    ) -> None:
        super().__init__(None, status, headers, None, background, **foreign)
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"RedirectResponse: status must be 301, 302, 303, 307 or 308, got {status}")
        self.headers["location"] = redirect_target(str(url))


class StreamingResponse(Response[AsyncIterable[bytes | str] | Iterable[bytes | str]]):
    """A body in pieces, sent as they come; the next is asked for when the last has been taken (backpressure).

    A plain iterator is advanced in a worker thread, since it may block; a list or tuple is not. When the client goes
    away the iterator is closed (``aclose``, ``close``), so that its ``finally`` runs. Read the request's body before
    the answer starts.

    Args:
        content: yields ``bytes``, or ``str`` that is sent as UTF-8.
        media_type: no default: say what it is.
        others: as ``Response``; ``content-length`` in ``headers`` is kept, since nobody else knows the size.
    """

    __slots__ = ("body_iterator",)
    streams = True

    def __init__(
        self,
        content: AsyncIterable[bytes | str] | Iterable[bytes | str],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTasks | None = None,
        **foreign: object,
    ) -> None:
        super().__init__(content, status, headers, media_type, background, **foreign)
        self.body_iterator = content

    def render(self, content: AsyncIterable[bytes | str] | Iterable[bytes | str]) -> bytes | None:
        if is_bodiless(self.status):
            raise ValueError(f"StreamingResponse: status {self.status} forbids a body")
        return b""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The pieces as octets, without empty ones. Closing it closes ``body_iterator``."""
        return iterate(self.body_iterator)

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """What is sent: ``raw_headers``, but for a ``transfer-encoding``, which is the server's."""
        return [pair for pair in self.raw_headers if pair[0] != b"transfer-encoding"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        await send({"type": f"{kind}.start", "status": self.status, "headers": self.wire_headers()})
        if scope.get("method") == "HEAD":
            await self.chunks().aclose()
            await send({"type": f"{kind}.body", "body": b""})
        else:
            await send_chunks(self.chunks(), f"{kind}.body", scope, receive, send)
        if self.background is not None:
            await self.background()


def foreign_argument(name: str, foreign: Mapping[str, object]) -> str:
    """The text for an argument that nobody knows, with our name for those of other frameworks."""
    argument = next(iter(foreign))
    ours = {"status_code": "status", "content_type": "media_type", "tasks": "background"}.get(argument)
    return f"{name}() has no argument {argument!r}" + (f": write {ours}=" if ours else "")

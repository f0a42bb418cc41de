"""The request, as a handler sees it: read lazily from the head that a door hands over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec

from fastlane.errors import BadRequest, UnsupportedMediaType
from fastlane.http.cookies import parse_cookies
from fastlane.http.headers import Headers
from fastlane.http.query import QueryParams
from fastlane.http.url import URL

if TYPE_CHECKING:
    from fastlane.endpoint import Endpoint

__all__ = ["Connection", "Head", "Request"]

FORM_TYPE = "application/x-www-form-urlencoded"

_decode_json = msgspec.json.Decoder().decode


class Head(Protocol):
    """The request line and the headers. Each door has its own: raw bytes in the lane, a scope behind ASGI.

    Names are lower-case bytes. ``header`` answers the one value, None where there is none, and raises ``ValueError``
    where the header stands more than once; ``header_values`` answers all of them, in order. ``is_msgpack`` says that
    the Content-Type of the body is MessagePack's, once a door has compared it with what the route reads.
    """

    method: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    is_msgpack: bool

    def header(self, name: bytes) -> bytes | None: ...
    def header_values(self, name: bytes) -> list[bytes]: ...
    def header_list(self) -> list[tuple[bytes, bytes]]: ...


class Connection(Protocol):
    """The other end. Asked only when a handler asks; what a trusted proxy says differs from one head to the next."""

    @property
    def server(self) -> tuple[str, int | None] | None: ...
    @property
    def root_path(self) -> str: ...

    def client_of(self, head: Any) -> tuple[str, int] | None: ...
    def scheme_of(self, head: Any) -> str: ...
    def is_disconnected(self) -> bool | Awaitable[bool]: ...


class Request:
    """One request. A handler that takes one gets it by its annotation: ``async def show(request: Request)``.

    The names are Starlette's. Everything is worked out when it is asked for, and once.

    Attributes:
        head: the request line and headers, as the door has them.
        values: the path's variables in the order of the template, decoded.
        raw_body: the whole body; ``await request.body()`` is the same.
        connection: the other end.
        endpoint: the compiled route.
        context: the app's lifespan state and app-scoped dependencies.
    """

    __slots__ = ("_known", "connection", "context", "endpoint", "head", "raw_body", "values")

    def __init__(
        self,
        head: Head,
        values: tuple[str, ...],
        raw_body: bytes,
        connection: Connection,
        endpoint: Endpoint,
        context: Any,
    ) -> None:
        self.head = head
        self.values = values
        self.raw_body = raw_body
        self.connection = connection
        self.endpoint = endpoint
        self.context = context
        # PERF: one dict for all that is lazy, made at the first question: most requests ask none.
        self._known: dict[str, Any] | None = None

    def _once(self, name: str, make: Any) -> Any:
        known = self._known
        if known is None:
            known = self._known = {}
        if name not in known:
            known[name] = make()
        return known[name]

    @property
    def method(self) -> str:
        """In upper case."""
        return self.head.method

    @property
    def http_version(self) -> str:
        """``1.0``, ``1.1``, or what another ASGI server says."""
        return self.head.http_version

    @property
    def url(self) -> URL:
        """Scheme, host, path and query."""
        return self._once("url", self._build_url)  # type: ignore[no-any-return]

    def _build_url(self) -> URL:
        head = self.head
        try:
            path = unquote_to_bytes(head.raw_path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("the path is not valid UTF-8") from None
        hosts = head.header_values(b"host")
        return URL(
            self.scheme,
            hosts[0].decode("latin-1") if hosts else "",
            self.connection.root_path + path,
            head.query_string.decode("latin-1"),
        )

    @property
    def headers(self) -> Headers:
        """The header fields; names in any case."""
        return self._once("headers", lambda: Headers(self.head.header_list()))  # type: ignore[no-any-return]

    @property
    def query_params(self) -> QueryParams:
        """The query's fields, decoded. Raises BadRequest where they are no UTF-8."""
        return self._once("query", lambda: QueryParams(self.head.query_string))  # type: ignore[no-any-return]

    @property
    def path_params(self) -> dict[str, str]:
        """The path's variables by name, decoded, as text."""
        names = getattr(getattr(self.endpoint.route, "template", None), "names", ())
        return dict(zip(names, self.values, strict=False))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name (RFC 6265 5.4)."""
        return self._once("cookies", lambda: parse_cookies(self.head.header_values(b"cookie")))  # type: ignore[no-any-return]

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the client: the one that a trusted proxy names, else the peer. None on a Unix socket."""
        return self.connection.client_of(self.head)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the connection or a trusted proxy says."""
        return self.connection.scheme_of(self.head)

    @property
    def app(self) -> Any:
        """The application."""
        return self.context.app

    @property
    def state(self) -> SimpleNamespace:
        """A place for middleware to leave something for the handler. It lives as long as the request."""
        return self._once("state", SimpleNamespace)  # type: ignore[no-any-return]

    async def body(self) -> bytes:
        """The whole body."""
        return self.raw_body

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces; on a route with a buffered body that is one."""
        if self.raw_body:
            yield self.raw_body

    async def json(self) -> Any:
        """The body as JSON, without a schema. Raises BadRequest for what is none."""
        try:
            return _decode_json(self.raw_body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadRequest(f"the body is no JSON: {error}") from None

    async def form(self) -> QueryParams:
        """The body's fields. Raises UnsupportedMediaType unless it is urlencoded, BadRequest where it is no UTF-8."""
        values = self.head.header_values(b"content-type")
        if not values or values[0].partition(b";")[0].strip().lower() != FORM_TYPE.encode():
            raise UnsupportedMediaType(f"the body must be {FORM_TYPE}, as its Content-Type says")
        return self._once("form", lambda: QueryParams(self.raw_body))  # type: ignore[no-any-return]

    async def is_disconnected(self) -> bool:
        """Whether the client has gone, as far as the server knows."""
        answer = self.connection.is_disconnected()
        return answer if isinstance(answer, bool) else await answer

    def __repr__(self) -> str:
        return f"<Request {self.head.method} {self.head.raw_path.decode('latin-1')}>"

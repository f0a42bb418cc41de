"""The request, as a handler sees it: read lazily from the head that a door hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastlane.compiler.endpoint import Endpoint

__all__ = ["Connection", "Head", "Request"]


class Head(Protocol):
    """The request line and the headers. Each door has its own: raw bytes in the lane, a scope behind ASGI.

    Names are lower-case bytes. ``header`` answers the one value, None where there is none, and raises ``ValueError`` where
    the header stands more than once; ``header_values`` answers all of them, in order.
    """

    method: str
    raw_path: bytes
    query_string: bytes
    http_version: str

    def header(self, name: bytes) -> bytes | None: ...
    def header_values(self, name: bytes) -> list[bytes]: ...
    def header_list(self) -> list[tuple[bytes, bytes]]: ...


class Connection(Protocol):
    """What is true of the peer rather than of the request. Read only when a handler asks."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    root_path: str

    def is_disconnected(self) -> bool: ...


class Request:
    """SKELETON of the seam: generated code relies on the slots below; the http room adds the public, Starlette-like API.

    Slots that generated code reads directly (they never change names):
        head: Head          request.head.header(b"x-author"), request.head.query_string
        values: tuple[str]  the path's variables in the order of the template, decoded
        body: bytes         the whole body of a buffered route (public users call ``await request.body()``: so the slot's name is
                            ``raw_body``)
        context: object     the app's RequestContext: lifespan state, app-scoped dependencies (``fastlane.app`` sets it)
    """

    __slots__ = ("_cache", "connection", "context", "endpoint", "head", "raw_body", "values")

    def __init__(
        self,
        head: Head,
        values: tuple[str, ...],
        raw_body: bytes,
        connection: Connection,
        endpoint: Endpoint,
        context: object,
    ) -> None:
        self.head = head
        self.values = values
        self.raw_body = raw_body
        self.connection = connection
        self.endpoint = endpoint
        self.context = context
        self._cache: dict[str, object] | None = None

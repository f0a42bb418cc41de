"""What a route is compiled to, and the only thing that a door needs to know about one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from typing import Any

    from fastlane.http.request import Request
    from fastlane.http.response import Response

__all__ = ["BodyRule", "Call", "Endpoint", "Match", "Result"]

Result: TypeAlias = "bytes | Response[Any]"
"""What a call answers: the encoded body, for the endpoint's own status and headers, or a whole response."""

Call: TypeAlias = "Callable[[Request], Result] | Callable[[Request], Awaitable[Result]]"


class BodyRule:
    """What a route's body may look like, so that a door can refuse it from the head alone (413, 415).

    Attributes:
        media_types: the essences (``application/json``) that the route reads, and the empty string where a body
            without a Content-Type will do; None takes any, or none at all.
        max_size: bytes; None is unlimited.
    """

    __slots__ = ("max_size", "media_types")

    def __init__(self, media_types: frozenset[str] | None, max_size: int | None) -> None:
        self.media_types = media_types
        self.max_size = max_size


class Endpoint:
    """One compiled route.

    Attributes:
        call: binds, calls the handler and encodes. Raises what binding or the handler raise.
        suspends: ``call`` returns an awaitable that must run in a task; otherwise the result itself, at once.
        needs_request: ``call`` looks at its argument. When it does not, a door passes None and builds no Request.
        body: None when the route reads no body (a door then drops it, up to a bound).
        status: the status of a ``bytes`` result.
        headers: the response headers of a ``bytes`` result, lower-case names, without content-length and date.
        empty: the status forbids a body (204, 205, 304): no content-length is sent either.
        asgi: the route is a plain ASGI application (a mount, a WebSocket, a streaming body); the rest is unused.
        route: the route that this came from, for logs and errors (None for automatic answers).
        source: the generated source, as ``fastlane routes --source`` prints it.
    """

    __slots__ = ("asgi", "body", "call", "empty", "headers", "needs_request", "route", "source", "status", "suspends")

    def __init__(
        self,
        call: Call,
        *,
        suspends: bool,
        needs_request: bool = True,
        body: BodyRule | None = None,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        asgi: Callable[..., Awaitable[None]] | None = None,
        route: object = None,
        source: str = "",
    ) -> None:
        self.call = call
        self.suspends = suspends
        self.needs_request = needs_request
        self.body = body
        self.status = status
        self.headers = headers
        self.empty = status in (204, 205, 304)
        self.asgi = asgi
        self.route = route
        self.source = source


class Match:
    """A routed request: its endpoint, and the path's variables, decoded once each (REQUESTS 2, "path")."""

    __slots__ = ("endpoint", "values")

    def __init__(self, endpoint: Endpoint, values: tuple[str, ...] = ()) -> None:
        self.endpoint = endpoint
        self.values = values

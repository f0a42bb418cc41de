"""The frozen routes of an app: from a method and a raw path to a compiled endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from fastlane.endpoint import Endpoint, Match
from fastlane.errors import BadRequest
from fastlane.routing import automatic
from fastlane.routing.matcher import Matcher
from fastlane.routing.segments import split_path

if TYPE_CHECKING:
    from fastlane.http.request import Request
    from fastlane.http.response import Response
    from fastlane.middleware.failures import FailureHandlers
    from fastlane.routing.template import PathTemplate

__all__ = ["RouteTable"]

WEBSOCKET = "WEBSOCKET"


class RouteTable:
    """Every route of a frozen app.

    Args:
        routes: template, method and endpoint, each already inside its middleware.
        mounts: ASGI applications for HTTP and WebSockets, by template.
        websockets: template and endpoint of WebSocket routes.
        failures: the app's exception handlers.
        wrap: puts the app's middleware around an endpoint that nobody wrote.

    Attributes:
        exact: the paths without variables, keyed ``b"GET /posts"``. What is missing may still match.
    """

    __slots__ = (
        "_allowed",
        "_bad_target",
        "_find",
        "_matcher",
        "_not_found",
        "_options",
        "_server_options",
        "_websockets",
        "exact",
        "failures",
        "wrap",
    )

    def __init__(
        self,
        routes: Iterable[tuple[PathTemplate, str, Endpoint]],
        mounts: Iterable[tuple[PathTemplate, Endpoint]] = (),
        websockets: Iterable[tuple[PathTemplate, Endpoint]] = (),
        *,
        failures: FailureHandlers,
        wrap: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
    ) -> None:
        self.failures = failures
        self.wrap = wrap
        routes = with_head(list(routes))
        mounts = list(mounts)
        self._matcher = Matcher(routes, mounts)
        self._websockets = Matcher(
            [(template, WEBSOCKET, endpoint) for template, endpoint in websockets], mounts, name="match_websocket"
        )
        self._find = self._matcher.find
        self._not_found = Match(wrap(automatic.not_found()))
        self._bad_target = Match(wrap(automatic.bad_request("the request target is not a path")))
        self._server_options = Match(wrap(automatic.options(automatic.allow_header(self._matcher.methods))))
        # Both are bounded by the sets of methods that occur together.
        self._allowed: dict[str, Match] = {}
        self._options: dict[str, Match] = {}
        self.exact: dict[bytes, Match] = {}
        for template, _, _ in routes:
            if template.static:
                self._add_exact(template)

    def _add_exact(self, template: PathTemplate) -> None:
        segments = ["", *(segment.prefix for segment in template.segments)]
        spellings = {template.build({}).encode("ascii")}
        if template.path.isascii() and template.path.isprintable():
            spellings.add(template.path.encode("ascii"))
        for method in self._matcher.methods:
            match = self._find(method, segments)
            if match is not None:
                for spelling in spellings:
                    self.exact[b"%b %b" % (method.encode("ascii"), spelling)] = match

    def match(self, method: str, raw_path: bytes) -> Match:
        """The endpoint for this request. There always is one: 404, 405, OPTIONS and bad paths have theirs."""
        try:
            segments = split_path(raw_path)
        except BadRequest as error:
            return Match(self.wrap(automatic.bad_request(error.detail)))
        if segments[0]:
            # No path at all: "*", or an authority.
            return self._server_options if method == "OPTIONS" and raw_path == b"*" else self._bad_target
        found = self._find(method, segments)
        return found if found is not None else self._miss(method, segments)

    def match_websocket(self, raw_path: bytes) -> Match | None:
        """The WebSocket route or mount at this path. Raises BadRequest for a path that can't be read."""
        return self._websockets.find(WEBSOCKET, split_path(raw_path))

    def failure(self, request: Request, error: Exception) -> Response[Any] | Awaitable[Response[Any]]:
        """The answer to an exception that ``Endpoint.call`` raised. Never raises."""
        return self.failures.answer(request, error)

    @property
    def source(self) -> str:
        """The generated matcher."""
        return self._matcher.source

    def _miss(self, method: str, segments: list[str]) -> Match:
        methods = self._matcher.allowed(segments)
        if not methods:
            return self._not_found
        allow = automatic.allow_header(methods)
        known, make = (
            (self._options, automatic.options) if method == "OPTIONS" else (self._allowed, automatic.method_not_allowed)
        )
        match = known.get(allow)
        if match is None:
            match = known[allow] = Match(self.wrap(make(allow)))
        return match


def with_head(routes: list[tuple[PathTemplate, str, Endpoint]]) -> list[tuple[PathTemplate, str, Endpoint]]:
    """The routes, and HEAD for every GET that has none of its own (RFC 9110 9.3.2)."""
    heads = {template.shape for template, method, _ in routes if method == "HEAD"}
    automatic_heads = [
        (template, "HEAD", endpoint)
        for template, method, endpoint in routes
        if method == "GET" and template.shape not in heads
    ]
    return routes + automatic_heads

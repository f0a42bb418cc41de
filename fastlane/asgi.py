"""The ASGI door: the same answers as the fast lane, behind any ASGI server (asgi-http 2.x, asgi-lifespan 2.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from fastlane.answer import (
    answer_failure,
    answer_refusal,
    answer_unsendable,
    body_length,
    check_expectation,
    check_media_type,
    check_response,
    too_large,
    wire_headers,
)
from fastlane.errors import BadRequest, HTTPError, NotFound
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.routing.route import WebSocketRoute
from fastlane.websocket import refuse_handshake

if TYPE_CHECKING:
    from fastlane.app import App
    from fastlane.endpoint import Endpoint, Match
    from fastlane.http.stream import Receive, Scope, Send
    from fastlane.routing.table import RouteTable

__all__ = ["ScopeConnection", "ScopeHead", "route_path", "serve"]


class ScopeHead:
    """A request's head, read from an ASGI scope. Has what ``fastlane.http.request.Head`` promises."""

    __slots__ = ("headers", "http_version", "is_msgpack", "method", "query_string", "raw_path")

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope.get("method", "GET")
        self.raw_path = route_path(scope)
        self.query_string: bytes = scope.get("query_string", b"")
        self.http_version: str = scope.get("http_version", "1.1")
        self.headers: list[tuple[bytes, bytes]] = list(scope.get("headers", ()))
        self.is_msgpack = False

    def header(self, name: bytes) -> bytes | None:
        values = self.header_values(name)
        if len(values) > 1:
            raise ValueError(f"the header {name.decode('latin-1')} stands more than once")
        return values[0] if values else None

    def header_values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def header_list(self) -> list[tuple[bytes, bytes]]:
        return self.headers


class ScopeConnection:
    """The peer, as an ASGI scope names it. Has what ``fastlane.http.request.Connection`` promises."""

    __slots__ = ("_receive", "_watch", "client", "root_path", "scheme", "server")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        client = scope.get("client")
        server = scope.get("server")
        self.client: tuple[str, int] | None = (client[0], client[1]) if client else None
        self.server: tuple[str, int | None] | None = (server[0], server[1]) if server else None
        self.scheme: str = scope.get("scheme", "http")
        self.root_path: str = scope.get("root_path", "")
        self._receive = receive
        self._watch: asyncio.Future[Any] | None = None

    def client_of(self, head: ScopeHead) -> tuple[str, int] | None:
        """The client, as the server has worked it out for this scope."""
        return self.client

    def scheme_of(self, head: ScopeHead) -> str:
        """The scheme, as the server has worked it out for this scope."""
        return self.scheme

    async def is_disconnected(self) -> bool:
        """The client is gone. ASGI tells only who waits: from the first question on somebody does."""
        while True:
            watch = self._watch
            if watch is None:
                watch = self._watch = asyncio.ensure_future(self._receive())
            if not watch.done():
                # What the server knows already arrives within the next turn of the loop.
                await asyncio.wait((watch,), timeout=0)
                if not watch.done():
                    return False
            if watch.result()["type"] == "http.disconnect":
                return True
            self._watch = None  # the end of a body that nobody has read, since there was none

    def close(self) -> None:
        """Stop waiting, so that a streamed answer can."""
        if self._watch is not None:
            self._watch.cancel()


async def serve(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """One ASGI connection: a request, a WebSocket, or the lifespan.

    Raises:
        ValueError: a scope of another type, so that a server knows that it is not supported (asgi-3.0 "Applications").
    """
    kind = scope["type"]
    if kind == "http":
        await serve_request(app, scope, receive, send)
    elif kind == "websocket":
        await serve_websocket(app.table, scope, receive, send)
    elif kind == "lifespan":
        await app.lifespan.serve(scope, receive, send)
    else:
        raise ValueError(f"fastlane serves http, websocket and lifespan scopes, not {kind!r}")


async def serve_request(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    head = ScopeHead(scope)
    table = app.table
    match = table.exact.get(b"%b %b" % (head.method.encode("latin-1"), head.raw_path))
    if match is None:
        match = table.match(head.method, head.raw_path)
    endpoint = match.endpoint
    connection = ScopeConnection(scope, receive)
    if endpoint.asgi is not None:
        await endpoint.asgi(scope, receive, send)
        return
    context = app.lifespan.within(scope.get("state")).context
    request = Request(head, match.values, b"", connection, endpoint, context)
    response: Response[Any]
    try:
        check_expectation(head)
        # What nobody wrote (404, 405, OPTIONS) is answered before the body is read.
        if endpoint.route is not None:
            body = await read_body(head, endpoint, app.max_body, receive)
            if body is None:
                return
            request.raw_body = body
    except HTTPError as error:
        response = await answer_refusal(table, request, error)
    else:
        try:
            result = await call(endpoint, request)
        except Exception as error:
            outcome = answer_failure(table, request, error)
            response = outcome if isinstance(outcome, Response) else await outcome
        else:
            if isinstance(result, bytes):
                connection.close()
                await send(
                    {
                        "type": "http.response.start",
                        "status": endpoint.status,
                        "headers": wire_headers(endpoint, result),
                    }
                )
                await send(
                    {"type": "http.response.body", "body": b"" if endpoint.empty or head.method == "HEAD" else result}
                )
                return
            response = result
    try:
        check_response(response)
    except Exception as error:
        response = await answer_unsendable(table, request, error)
    connection.close()
    await response(scope, receive, send)


async def call(endpoint: Endpoint, request: Request) -> bytes | Response[Any]:
    """The endpoint's result. The server has put this into a task of its own, whose context is the request's: what a
    handler sets, its stream, its background tasks and exception handlers see.
    """
    result = endpoint.call(request)
    if endpoint.suspends:
        assert isinstance(result, Awaitable)
        return await result
    return result  # type: ignore[return-value]  # suspends is False


async def read_body(head: ScopeHead, endpoint: Endpoint, max_body: int | None, receive: Receive) -> bytes | None:
    """The whole body, or None when the client went away before its end.

    Raises:
        ContentTooLarge: it is, or says that it is, over the route's limit; in the second case nothing is read.
        UnsupportedMediaType: there is a body, of a type that the route does not read; nothing is read.
    """
    rule = endpoint.body
    limit = max_body if rule is None else rule.max_size
    length = body_length(head)
    if length == 0:
        return b""
    if length is not None:
        if limit is not None and length > limit:
            raise too_large(limit)
        if rule is not None:
            check_media_type(head, rule)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        if chunk:
            if length is None and not size and rule is not None:
                # Only now it is certain that there is a body.
                check_media_type(head, rule)
            size += len(chunk)
            if limit is not None and size > limit:
                raise too_large(limit)
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def serve_websocket(table: RouteTable, scope: Scope, receive: Receive, send: Send) -> None:
    refusal: HTTPError = NotFound("there is nothing at this path")
    match: Match | None = None
    try:
        match = table.match_websocket(route_path(scope))
    except BadRequest as error:
        refusal = error
    if match is not None:
        assert match.endpoint.asgi is not None
        await match.endpoint.asgi({**scope, "path_params": path_params(match)}, receive, send)
        return
    await refuse_handshake(scope, receive, send, refusal)


def path_params(match: Match) -> dict[str, str]:
    """The path's variables by name; a mount has none."""
    route = match.endpoint.route
    return dict(zip(route.template.names, match.values, strict=True)) if isinstance(route, WebSocketRoute) else {}


def route_path(scope: Scope) -> bytes:
    """The path below ``root_path``, percent-encoded; from ``raw_path``, or from ``path`` where a server gives none."""
    raw_path: bytes | None = scope.get("raw_path")
    if raw_path is None:
        raw_path = quote(scope["path"], safe="/!$&'()*+,:;=@-._~").encode("ascii")
    root_path: str = scope.get("root_path", "").rstrip("/")
    if not root_path:
        return raw_path or b"/"
    # The specification has the root in the path; some servers leave it out.
    parts = raw_path.split(b"/")
    depth = root_path.count("/") + 1
    root = unquote_to_bytes(b"/".join(parts[:depth]))
    if root != root_path.encode("utf-8"):
        return raw_path or b"/"
    return b"/" + b"/".join(parts[depth:])

"""The applications behind the wire: they answer with what they saw, and write it down.

Every answer's body is ``METHOD target`` on one line and the request's body after it, so that a table row names it in
full.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastlane import App, Body, Request, Response

__all__ = ["Journal", "Seen", "asgi_echo", "echo_body", "native_echo"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

ASGIApp = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[..., Awaitable[None]]], Awaitable[None]
]


@dataclass(slots=True)
class Seen:
    """A request as an application saw it; ``body`` is None until all of it has come."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes | None = None

    def row(self) -> bytes:
        return b"%b %b%b" % (self.method.encode(), self.target, b" " + self.body if self.body else b"")


class Journal:
    """What was seen, by the client's port: a connection is one port, so that each case finds its own requests."""

    def __init__(self) -> None:
        self.by_port: defaultdict[int, list[Seen]] = defaultdict(list)

    def of(self, port: int) -> list[Seen]:
        return self.by_port.get(port, [])

    def note(self, port: int, seen: Seen) -> Seen:
        self.by_port[port].append(seen)
        return seen


def echo_body(method: str, target: bytes, body: bytes) -> bytes:
    return b"%b %b\n%b" % (method.encode(), target, body)


def asgi_echo(journal: Journal) -> ASGIApp:
    """A plain ASGI application. It reads the whole body but on ``/unread…``, and lets the loop turn on ``/slow…``."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        assert scope["type"] == "http", scope["type"]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        seen = journal.note(
            scope["client"][1], Seen(scope["method"], target, scope["http_version"], list(scope["headers"]))
        )
        body = b""
        if target.startswith(b"/slow"):
            for _ in range(10):
                await asyncio.sleep(0)
        if not target.startswith(b"/unread"):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
        seen.body = body
        content = echo_body(seen.method, target, body)
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def native_echo(journal: Journal) -> App:
    """The same as compiled routes: suspending on ``/slow…``, with no body on ``/unread…``, else driven by hand."""
    app = App(max_body=None)

    def answer(request: Request, body: bytes) -> Response[bytes]:
        query = request.head.query_string
        target = request.head.raw_path + (b"?" + query if query else b"")
        assert request.client is not None
        headers = list(request.head.header_list())
        journal.note(request.client[1], Seen(request.method, target, request.http_version, headers, body))
        return Response(echo_body(request.method, target, body), media_type="text/plain")

    @app.route("/", methods=METHODS)
    async def root(request: Request, body: Annotated[bytes, Body()] = b"") -> Response[bytes]:
        return answer(request, body)

    @app.route("/{path:path}", methods=METHODS)
    async def echo(request: Request, path: str, body: Annotated[bytes, Body()] = b"") -> Response[bytes]:
        return answer(request, body)

    @app.route("/unread", methods=METHODS)
    async def unread(request: Request) -> Response[bytes]:
        return answer(request, b"")

    @app.route("/slow{number}", methods=METHODS)
    async def slow(request: Request, number: str, body: Annotated[bytes, Body()] = b"") -> Response[bytes]:
        for _ in range(10):
            await asyncio.sleep(0)
        return answer(request, body)

    return app

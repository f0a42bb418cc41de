"""One request and its answer, through ASGI, in a task of its own as a server would have it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastlane.http.response import is_bodiless
from fastlane.middleware.failures import unhandled_errors
from fastlane.testing.response import TestResponse

if TYPE_CHECKING:
    from fastlane.http.stream import Message, Receive, Scope, Send
    from fastlane.testing.outgoing import Outgoing

__all__ = ["exchange"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


async def exchange(app: ASGIApplication, outgoing: Outgoing, *, raise_server_exceptions: bool) -> TestResponse:
    """Send a request, wait for the end of the application (background tasks included), answer what it sent.

    Raises:
        Exception: what the application raised; or, with ``raise_server_exceptions``, what it answered with a 500
            because nobody handled it.
        RuntimeError: no answer, half of one, or messages in an order that ASGI forbids.
    """
    conversation = Conversation(outgoing)
    errors: list[Exception] = []

    async def run() -> None:
        unhandled_errors.set(errors)
        await app(outgoing.scope, conversation.receive, conversation.send)

    await asyncio.create_task(run())
    if raise_server_exceptions and errors:
        raise errors[0]
    return conversation.response()


class Conversation:
    """The server's side of one HTTP exchange, strict about the order of messages (asgi-http 2.3)."""

    __slots__ = ("_body", "_chunks", "_complete", "_headers", "_outgoing", "_status")

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._chunks = list(outgoing.chunks) or [b""]
        self._complete = asyncio.Event()
        self._status: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def receive(self) -> Message:
        if self._chunks:
            chunk = self._chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self._complete.is_set():
            raise RuntimeError(f"the application sent {kind!r} after the end of its answer")
        if self._status is None:
            if kind != "http.response.start":
                raise RuntimeError(f"the application sent {kind!r} before 'http.response.start'")
            self._status = message["status"]
            self._headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            return
        if kind != "http.response.body":
            raise RuntimeError(f"the application sent {kind!r} in its answer")
        if self._outgoing.scope["method"] != "HEAD" and not is_bodiless(self._status):
            self._body += message.get("body", b"")
        if not message.get("more_body", False):
            self._complete.set()

    def response(self) -> TestResponse:
        if self._status is None or not self._complete.is_set():
            raise RuntimeError("the application returned without a whole answer")
        method = self._outgoing.scope["method"]
        return TestResponse(method, self._outgoing.url, self._status, self._headers, bytes(self._body))

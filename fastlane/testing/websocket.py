"""A WebSocket connection to the app, as a test holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from fastlane.http.headers import Headers
from fastlane.testing.response import TestResponse
from fastlane.websocket import WebSocketDisconnect

if TYPE_CHECKING:
    from fastlane.http.stream import Message, Receive, Scope, Send
    from fastlane.testing.portal import Portal

__all__ = ["AsyncWebSocketSession", "WebSocketDenied", "WebSocketSession"]

T = TypeVar("T")

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class WebSocketDenied(WebSocketDisconnect):
    """The handshake was refused. ``response`` is the answer, where the app gave one (asgi-websocket "Denial")."""

    def __init__(self, response: TestResponse | None, code: int = 1000) -> None:
        super().__init__(code, "the handshake was refused")
        self.response = response


class AsyncWebSocketSession:
    """Use it as ``async with client.websocket_connect("/ws") as websocket``.

    Receiving raises ``WebSocketDisconnect`` when the app has closed, and what the app raised when it has failed.
    """

    def __init__(self, app: ASGIApplication, scope: Scope, prepare: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._app = app
        self._scope = scope
        self._prepare = prepare
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.accepted_subprotocol: str | None = None
        self.headers = Headers([])

    async def __aenter__(self) -> AsyncWebSocketSession:
        self._scope["state"] = await self._prepare()
        self._task = asyncio.create_task(self._run())
        await self._to_app.put({"type": "websocket.connect"})
        message = await self._next()
        if message["type"] == "websocket.accept":
            self.accepted_subprotocol = message.get("subprotocol")
            self.headers = Headers([(bytes(name), bytes(value)) for name, value in message.get("headers", ())])
            return self
        denied = WebSocketDenied(None, message.get("code", 1000))
        if message["type"] == "websocket.http.response.start":
            denied = WebSocketDenied(await self._denial(message))
        await self._task
        raise denied

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
        assert self._task is not None
        if error is None:
            await self._task
        else:
            # The test's own failure is the one to see.
            await asyncio.wait((self._task,))

    async def send_text(self, text: str) -> None:
        await self._to_app.put({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self._to_app.put({"type": "websocket.receive", "bytes": data})

    async def send_json(self, value: Any) -> None:
        await self.send_text(msgspec.json.encode(value).decode("utf-8"))

    async def receive_text(self) -> str:
        text: str = (await self._message())["text"]
        return text

    async def receive_bytes(self) -> bytes:
        data: bytes = (await self._message())["bytes"]
        return data

    @overload
    async def receive_json(self) -> Any: ...
    @overload
    async def receive_json(self, type: type[T]) -> T: ...
    async def receive_json(self, type: Any = Any) -> Any:  # noqa: A002 - msgspec's word for it
        return msgspec.json.decode(await self.receive_text(), type=type)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Go away, as a browser would that closes the page."""
        await self._to_app.put({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._to_app.get, self._from_app.put)
        finally:
            await self._from_app.put({"type": "end"})

    async def _next(self) -> Message:
        message = await self._from_app.get()
        if message["type"] == "end":
            assert self._task is not None
            await self._task
            raise WebSocketDisconnect(1006, "the application returned")
        return message

    async def _message(self) -> Message:
        message = await self._next()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason") or "")
        return message

    async def _denial(self, start: Message) -> TestResponse:
        body = b""
        while True:
            message = await self._next()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        return TestResponse("GET", self._scope["path"], start["status"], headers, body)


class WebSocketSession:
    """The same for tests that are not async: ``with client.websocket_connect("/ws") as websocket``."""

    def __init__(self, session: AsyncWebSocketSession, portal: Portal) -> None:
        self._session = session
        self._portal = portal

    def __enter__(self) -> WebSocketSession:
        self._portal.call(self._session.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._session.__aexit__(kind, error, traceback))

    @property
    def accepted_subprotocol(self) -> str | None:
        return self._session.accepted_subprotocol

    @property
    def headers(self) -> Headers:
        """Those that the app sent with ``accept``."""
        return self._session.headers

    def send_text(self, text: str) -> None:
        self._portal.call(self._session.send_text(text))

    def send_bytes(self, data: bytes) -> None:
        self._portal.call(self._session.send_bytes(data))

    def send_json(self, value: Any) -> None:
        self._portal.call(self._session.send_json(value))

    def receive_text(self) -> str:
        return self._portal.call(self._session.receive_text())

    def receive_bytes(self) -> bytes:
        return self._portal.call(self._session.receive_bytes())

    @overload
    def receive_json(self) -> Any: ...
    @overload
    def receive_json(self, type: type[T]) -> T: ...
    def receive_json(self, type: Any = Any) -> Any:  # noqa: A002 - msgspec's word for it
        return self._portal.call(self._session.receive_json(type))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._portal.call(self._session.close(code, reason))

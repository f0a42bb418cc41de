"""WebSockets: the connection as a handler sees it, and the endpoint of a WebSocket route."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from fastlane.compiler.annotations import read_signature, take_apart
from fastlane.compiler.mistakes import Mistakes
from fastlane.compiler.scalars import scalar_reader
from fastlane.errors import CompileError, FastlaneError, HTTPError
from fastlane.http.cookies import parse_cookies
from fastlane.http.headers import Headers, encode_header
from fastlane.http.problem import problem_response
from fastlane.http.query import QueryParams
from fastlane.routing.automatic import asgi_endpoint
from fastlane.routing.route import handler_place

if TYPE_CHECKING:
    from fastlane.endpoint import Endpoint
    from fastlane.http.stream import Message, Receive, Scope, Send
    from fastlane.routing.route import WebSocketRoute

__all__ = ["WebSocket", "WebSocketDisconnect", "refuse_handshake", "websocket_binder", "websocket_endpoint"]

T = TypeVar("T")


class WebSocketDisconnect(FastlaneError):
    """The peer is gone. ``code`` and ``reason`` are those of the close frame (RFC 6455 7.4)."""

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(f"the WebSocket is closed ({code}{': ' + reason if reason else ''})")
        self.code = code
        self.reason = reason


class WebSocket:
    """One WebSocket connection. ``accept`` it first; receiving raises ``WebSocketDisconnect`` when the peer has gone.

    An ``HTTPError`` that is raised instead of ``accept`` is the answer to the handshake.

    Example:
        >>> @app.websocket("/echo")
        ... async def echo(websocket: WebSocket) -> None:
        ...     await websocket.accept()
        ...     async for text in websocket.iter_text():
        ...         await websocket.send_text(text)
    """

    __slots__ = ("_receive", "_send", "accepted", "closed", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.accepted = False
        self.closed = False

    @property
    def path(self) -> str:
        """The decoded path."""
        return str(self.scope["path"])

    @property
    def path_params(self) -> dict[str, str]:
        return dict(self.scope["path_params"])

    @property
    def headers(self) -> Headers:
        return Headers(list(self.scope["headers"]))

    @property
    def query_params(self) -> QueryParams:
        return QueryParams(self.scope.get("query_string", b""))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the handshake by name."""
        return parse_cookies([value for name, value in self.scope["headers"] if name == b"cookie"])

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer, as the server has worked them out."""
        client = self.scope.get("client")
        return (client[0], client[1]) if client else None

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers."""
        return list(self.scope.get("subprotocols", ()))

    async def accept(self, subprotocol: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Complete the handshake, with one of the offered subprotocols where one is named, and further headers."""
        pairs = [encode_header(name, value) for name, value in (headers or {}).items()]
        await self._expect("websocket.connect")
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": pairs})
        self.accepted = True

    async def receive_text(self) -> str:
        """The next message, which must be text."""
        text: str | None = (await self._next()).get("text")
        if text is None:
            raise ValueError("the message is binary, not text")
        return text

    async def receive_bytes(self) -> bytes:
        """The next message, which must be binary."""
        data: bytes | None = (await self._next()).get("bytes")
        if data is None:
            raise ValueError("the message is text, not binary")
        return data

    @overload
    async def receive_json(self) -> Any: ...
    @overload
    async def receive_json(self, type: type[T]) -> T: ...
    async def receive_json(self, type: Any = Any) -> Any:  # noqa: A002 - msgspec's word for it
        """The next message, text or binary, as JSON of this type. Raises ``msgspec.DecodeError`` for anything else."""
        message = await self._next()
        data = message.get("text")
        return msgspec.json.decode(message["bytes"] if data is None else data, type=type)

    async def iter_text(self) -> AsyncIterator[str]:
        """Text messages until the peer goes."""
        try:
            while True:
                yield await self.receive_text()
        except WebSocketDisconnect:
            return

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Binary messages until the peer goes."""
        try:
            while True:
                yield await self.receive_bytes()
        except WebSocketDisconnect:
            return

    async def send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def send_json(self, value: Any) -> None:
        """The value as JSON, in a text message."""
        await self.send_text(msgspec.json.encode(value).decode("utf-8"))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection; before ``accept`` this refuses the handshake with 403."""
        if not self.closed:
            self.closed = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _next(self) -> Message:
        if not self.accepted:
            raise RuntimeError("accept() the WebSocket before receiving from it")
        return await self._expect("websocket.receive")

    async def _expect(self, kind: str) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.closed = True
            raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason") or "")
        if message["type"] != kind:
            raise RuntimeError(f"expected {kind!r}, got {message['type']!r}")
        return message


async def refuse_handshake(scope: Scope, receive: Receive, send: Send, error: HTTPError) -> None:
    """Answer a handshake with problem details, or with 403 where the server can't (asgi-websocket "Denial")."""
    await receive()  # websocket.connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await problem_response(error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1000, "reason": ""})


Binder = Callable[[WebSocket, tuple[str, ...]], dict[str, Any]]


def websocket_binder(route: WebSocketRoute) -> Binder:
    """Reads the handler: which parameter is the ``WebSocket``, and which ones are variables of the path.

    Raises:
        CompileError: no parameter is a WebSocket, or one is neither that nor a scalar of the path.
    """
    place = handler_place(route.handler)
    names = route.template.names
    socket: str | None = None
    readers: dict[str, Any] = {}
    signature = read_signature(route.handler, route.localns, returns=False)
    mistakes = Mistakes()
    mistakes.found += signature.mistakes
    mistakes.refuse()
    for parameter in signature.parameters:
        parts = take_apart(parameter.annotation)
        if parts.type is WebSocket:
            socket = parameter.name
        elif parameter.name in names and (reader := scalar_reader(parameter.annotation)) is not None:
            readers[parameter.name] = reader.decode
        else:
            raise CompileError(
                "a WebSocket handler takes the WebSocket and scalars of the path",
                mend="read headers and the query from websocket.headers and websocket.query_params",
                parameter=parameter.name,
                **place,
            )
    if socket is None:
        raise CompileError("no parameter is a WebSocket", mend="write websocket: WebSocket", **place)
    missing = [name for name in names if name not in readers]
    if missing:
        raise CompileError(
            f"the path's variable {missing[0]!r} has no parameter", mend=f"write {missing[0]}: str", **place
        )
    socket_name = socket

    def bind(websocket: WebSocket, values: tuple[str, ...]) -> dict[str, Any]:
        arguments = {name: readers[name](value) for name, value in zip(names, values, strict=True)}
        arguments[socket_name] = websocket
        return arguments

    return bind


def websocket_endpoint(route: WebSocketRoute) -> Endpoint:
    """The endpoint of a WebSocket route. Raises CompileError."""
    bind = websocket_binder(route)
    handler = route.handler

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        try:
            arguments = bind(websocket, tuple(scope["path_params"].values()))
        except msgspec.ValidationError:
            await receive()
            await websocket.close()  # before accept: the handshake is refused
            return
        try:
            await handler(**arguments)
        except WebSocketDisconnect:
            return  # the peer went while the handler was waiting for it: the usual end
        except BaseException as error:
            if isinstance(error, HTTPError) and not websocket.accepted and not websocket.closed:
                await refuse_handshake(scope, receive, send, error)
                return
            if not websocket.closed:
                await websocket.close(1011)  # RFC 6455 7.4.1: an unexpected condition; the server logs the exception
            raise
        if not websocket.closed:
            await websocket.close()

    return asgi_endpoint(serve, route)

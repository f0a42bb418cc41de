"""One request through the ASGI door of the lane: scope, receive and send for a plain ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from fastlane.errors import BadRequest
from fastlane.server.reply import STATUS_LINES, header_block, is_unframed

if TYPE_CHECKING:
    from fastlane.server.head import LaneHead
    from fastlane.server.protocol import LaneProtocol

__all__ = ["Cycle", "build_scope", "note_cut_off"]

logger = logging.getLogger("uvicorn.error")

Message = dict[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

READ_AHEAD = 65536
"""Bytes of a body that wait for the application before reading pauses."""


def note_cut_off(error: BaseException, head: LaneHead) -> bool:
    """Whether the server cancelled the running task, whose time is over; then it is logged, in one line.

    Nothing is wrong with the code, and a stack would tell nothing but where it waited.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    logger.warning("%s %r was cut off: --graceful-timeout is over", head.method, head.target)
    return True


def build_scope(protocol: LaneProtocol, head: LaneHead) -> dict[str, Any]:
    """The ASGI HTTP connection scope (spec 2.3; 2.4's raising ``send`` broke frameworks, so it is not announced).

    Raises:
        BadRequest: the path holds a NUL, or percent-encoded bytes that are no UTF-8.
    """
    lane = protocol.lane
    raw_path = head.raw_path
    if b"%" in raw_path:
        try:
            path = unquote_to_bytes(raw_path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("the path is not valid UTF-8") from None
        if "\0" in path:
            raise BadRequest("the path contains a NUL character")
    else:
        path = raw_path.decode("ascii")
    root_path = lane.config.root_path
    return {
        "type": "http",
        "asgi": {"version": lane.config.asgi_version, "spec_version": "2.3"},
        "http_version": head.http_version,
        "server": protocol.server,
        "client": protocol.client,
        "scheme": protocol.scheme,
        "method": head.method,
        "root_path": root_path,
        "path": root_path + path,
        "raw_path": root_path.encode("ascii") + raw_path,
        "query_string": head.query_string,
        "headers": head.header_list(),
        "state": lane.app_state.copy(),
    }


class Cycle:
    """Runs the application, feeds it the body, and writes what it sends.

    The response's head is held back until the first body event (the specification allows it), so that a small response
    leaves in one write and an application that fails before its body can still be answered with a 500.
    """

    __slots__ = (
        "_chunked",
        "_delivered",
        "_event",
        "_pending_head",
        "_remaining",
        "_status",
        "body",
        "complete",
        "disconnected",
        "half_closed",
        "head",
        "more_body",
        "protocol",
        "scope",
        "size",
        "started",
    )

    def __init__(self, protocol: LaneProtocol, head: LaneHead, scope: dict[str, Any]) -> None:
        self.protocol = protocol
        self.head = head
        self.scope = scope
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.half_closed = False
        self.started = False
        self.complete = False
        self.size = 0
        self._delivered = False  # the last piece of the body has been handed to the application
        self._status = 0
        self._pending_head = b""
        self._chunked = False
        self._remaining: int | None = None
        self._event: asyncio.Event | None = None

    # From the protocol

    def feed(self, data: bytes, *, last: bool) -> None:
        """A piece of the body has arrived."""
        self.body += data
        if last:
            self.more_body = False
        self._wake()

    def disconnect(self) -> None:
        """The connection is gone: ``receive`` says so from now on, and ``send`` does nothing."""
        self.disconnected = True
        self._wake()

    def half_close(self) -> None:
        """The peer will send nothing more, but may still read: a waiting ``receive`` is told, ``send`` goes on."""
        self.half_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # The application's side

    async def run(self, application: Application) -> None:
        """Call the application, and see to it that the client gets an answer or a closed connection."""
        try:
            result = await application(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
        except BaseException as error:
            # The client must not be left waiting, whatever it was.
            if not note_cut_off(error, self.head):
                logger.error("Exception in ASGI application\n", exc_info=error)
            self._give_up()
            if not isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
                raise
        else:
            if result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
                self.protocol.abandon(self)
            elif self.disconnected or self.complete:
                return
            elif self.started:
                logger.error("ASGI callable returned without completing response.")
                self.protocol.abandon(self)
            else:
                logger.error("ASGI callable returned without starting response.")
                self._give_up()

    def _give_up(self) -> None:
        if (self.started and not self._pending_head) or self.disconnected:
            self.protocol.abandon(self)
        else:
            self.started = self.complete = True
            self.protocol.answer_fault(self.head)

    async def receive(self) -> Message:
        """``http.request`` with what has arrived, or ``http.disconnect`` once response or connection have ended."""
        while not self.disconnected and not self.complete and not self.body and (self.more_body or self._delivered):
            if self._delivered and self.half_closed:
                return {"type": "http.disconnect"}
            if self.more_body:
                self.protocol.await_body()
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        body = bytes(self.body)
        self.body.clear()
        self._delivered = not self.more_body
        self.protocol.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """``http.response.start`` and ``http.response.body``, checked and framed; waits while the peer is slow."""
        protocol = self.protocol
        if protocol.write_paused and not self.disconnected:
            await protocol.drained()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            status = message["status"]
            if status not in STATUS_LINES or status < 200:
                raise RuntimeError(f"The response's status must be from 200 to 599, got {status!r}.")
            self.started = True
            self._start(status, list(message.get("headers", ())))
        elif not self.complete:
            if kind != "http.response.body":
                self._pending_head = b""  # it has begun its answer, as far as it knows: too late for a 500
                raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        head = self.head
        fields: list[tuple[bytes, bytes]] = []
        length: int | None = None
        wants_chunked = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                if not value.isdigit() or (length is not None and length != int(value)):
                    raise RuntimeError("Invalid Content-Length in response.")
                length = int(value)
            elif lower == b"transfer-encoding":
                wants_chunked = True  # framing is the server's business; the wish not to name a length is heard
            elif lower == b"connection":
                tokens = {token.strip().lower() for token in value.split(b",")}
                if b"close" in tokens:
                    self.protocol.close_after_response()
            else:
                fields.append((lower, value))
        block = header_block(fields)  # raises before anything is written
        self._status = status
        lines = [STATUS_LINES[status], self.protocol.lane.default_block(fields), block]
        if is_unframed(status):
            self._remaining = 0
            if length is not None and status == 304:
                lines.append(b"content-length: %d\r\n" % length)
        elif length is not None and not wants_chunked:
            self._remaining = length
            lines.append(b"content-length: %d\r\n" % length)
        elif head.http_version == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        elif head.method != "HEAD":
            self.protocol.close_after_response()  # HTTP/1.0: the body ends where the connection does
        self._pending_head = b"".join(lines)

    def _send_body(self, body: bytes, more_body: bool) -> None:
        data = self._pending_head
        if data:
            self._pending_head = b""
            data += self.protocol.connection_field(self.head, last=not more_body) + b"\r\n"
        if self.head.method == "HEAD" or is_unframed(self._status):
            pass
        elif self._chunked:
            if body:
                data += b"%x\r\n%b\r\n" % (len(body), body)
            if not more_body:
                data += b"0\r\n\r\n"
            self.size += len(body)
        else:
            if self._remaining is not None:
                if len(body) > self._remaining:
                    raise RuntimeError("Response content longer than Content-Length")
                self._remaining -= len(body)
                if not more_body and self._remaining:
                    raise RuntimeError("Response content shorter than Content-Length")
            data += body
            self.size += len(body)
        if data:
            self.protocol.write(data)
        if not more_body:
            self.complete = True
            self._wake()
            self.protocol.complete(self.head, self._status, self.size)

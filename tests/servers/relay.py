"""A TCP relay between a client and a server, which can fail in the ways that networks do.

client ──► relay ──► server
           pass      bytes go through, after `delay` seconds
           hold      a black hole: connections stay and are accepted, nothing goes through in either direction
           refuse    new connections are reset at once
           reset()   all connections that there are end with RST; ``after=n``: once n more bytes came from the client
"""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Literal

__all__ = ["Relay"]

_CHUNK = 65536


class Relay:
    """Use it as ``async with Relay(host, port) as relay``; clients connect to ``relay.host`` and ``relay.port``.

    Args:
        host, port: the server. They may change later (`target`): it holds for new connections.

    Attributes:
        mode: ``pass``, ``hold``, ``refuse``; may be set at any time. What was held is sent when it becomes ``pass``.
        delay: seconds that each chunk waits on its way; 0: none.
        accepted: how many connections came.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.delay = 0.0
        self.accepted = 0
        self._open = asyncio.Event()
        self._open.set()
        self._mode: Literal["pass", "hold", "refuse"] = "pass"
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """``host:port`` for the client."""
        return f"{self.host}:{self.port}"

    @property
    def mode(self) -> Literal["pass", "hold", "refuse"]:
        return self._mode

    @mode.setter
    def mode(self, mode: Literal["pass", "hold", "refuse"]) -> None:
        self._mode = mode
        if mode == "hold":
            self._open.clear()
        else:
            self._open.set()

    def reset(self, *, after: int | None = None) -> None:
        """RST to both sides of every connection: now, or in the middle of what the client sends next.

        Args:
            after: bytes from the client that still go through, on each connection.
        """
        for link in list(self._links):
            if after is None:
                link.abort()
            else:
                link.left = after

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self._mode = "refuse"
        for link in list(self._links):
            link.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._mode == "refuse":
                _abort(writer)
                return
            await self._open.wait()
            try:
                there, onward = await asyncio.open_connection(*self.target, limit=_CHUNK)
            except OSError:
                _abort(writer)
                return
            link = _Link(self, writer, onward)
            self._links.add(link)
            try:
                await asyncio.gather(link.pump(reader, onward, counted=True), link.pump(there, writer, counted=False))
            finally:
                self._links.discard(link)
                link.abort()
        except asyncio.CancelledError:
            _abort(writer)
        finally:
            self._tasks.discard(task)


class _Link:
    """One connection through the relay: the way there and the way back."""

    def __init__(self, relay: Relay, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.relay, self.near, self.far = relay, near, far
        self.left: int | None = None

    def abort(self) -> None:
        _abort(self.near)
        _abort(self.far)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if self.relay.delay:
                    await asyncio.sleep(self.relay.delay)
                await self.relay._open.wait()
                if counted and self.left is not None:
                    chunk, self.left = chunk[: self.left], self.left - len(chunk)
                writer.write(chunk)
                await writer.drain()
                if counted and self.left is not None and self.left <= 0:
                    await asyncio.sleep(0.02)  # so that the first half has arrived when the reset does
                    self.abort()
                    return
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            self.abort()  # a reset on one side is one on the other


def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes so that the other side sees a reset, not an orderly end."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

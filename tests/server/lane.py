"""A lane without a network: a protocol on a transport that keeps what is written."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.server import ServerState

from fastlane.server.config import LaneConfig
from fastlane.server.protocol import LaneProtocol

__all__ = ["Connection", "Transport"]


class Transport:
    """Keeps what is written, and never sends it."""

    def __init__(self, *, half_closes: bool = False, tls: bool = False) -> None:
        self.written = b""
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.ended = False
        self.paused = False
        self._half_closes = half_closes
        self._tls = tls

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert not self.ended
        self.written += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return self._half_closes

    def write_eof(self) -> None:
        self.ended = True

    def get_extra_info(self, key: str) -> Any:
        return {"peername": ("10.0.0.1", 1234), "sockname": ("10.0.0.2", 80), "sslcontext": self._tls}.get(key)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Connection:
    """One connection to an app, on the running loop."""

    def __init__(self, app: Any, transport: Transport | None = None, **options: Any) -> None:
        self.state = ServerState()
        self.config = LaneConfig(app, **{"access_log": False, **options})
        self.transport = transport or Transport()
        self.protocol = LaneProtocol(self.config, self.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]

    async def send(self, *pieces: bytes) -> bytes:
        """Send, wait until nothing runs any more, and answer what was written since the last time."""
        before = len(self.transport.written)
        for piece in pieces:
            self.protocol.data_received(piece)
        await self.settle()
        return self.transport.written[before:]

    async def settle(self) -> None:
        """Let every task of the server end."""
        while self.state.tasks:
            await asyncio.sleep(0)

    def lose(self) -> None:
        """The connection breaks, unless it is closed already."""
        self.transport.closed = True
        self.protocol.connection_lost(None)

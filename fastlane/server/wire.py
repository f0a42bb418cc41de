"""The transport side of a connection: writing, flow control, one timer, and closing so that the last answer arrives."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from fastlane.server.lane import Lane

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from fastlane.server.head import LaneHead

__all__ = ["Wire"]


class Wire(asyncio.Protocol):
    """What a connection does whatever it is saying. ``LaneProtocol`` adds what it says."""

    __slots__ = (
        "_address",
        "_client",
        "_drained",
        "_gathered",
        "_reading_paused",
        "_server",
        "_timer",
        "_timer_delay",
        "config",
        "context",
        "lane",
        "loop",
        "server_state",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, lane: Lane, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.lane = lane
        # The request's contextvars: of its handler, and of what comes after it. One request at a time is answered;
        # between two of them it is the server's, so that an idle connection holds nothing of a user.
        self.context = lane.server_context
        self.config = config
        self.server_state = server_state
        self.loop = loop
        self.write_paused = False
        self._drained: asyncio.Event | None = None
        self._gathered: list[bytes] | None = None
        self._reading_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_delay = 0.0
        self._address: str | None = None
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None

    # Who is there. Looked up when somebody asks: two system calls that most requests do without.

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port; None on a Unix socket."""
        if self._client is None:
            self._client = get_remote_addr(self.transport)
        return self._client

    @property
    def address(self) -> str:
        """The peer's address and port for a log line; empty where it has none."""
        if self._address is None:
            client = self.client
            self._address = f"{client[0]}:{client[1]}" if client else ""
        return self._address

    @property
    def server(self) -> tuple[str, int | None] | None:
        """The address and port that the peer connected to, or the path of a Unix socket and None."""
        if self._server is None:
            self._server = get_local_addr(self.transport)
        return self._server

    @property
    def scheme(self) -> str:
        """``https`` on a TLS connection, else ``http``."""
        return "https" if is_ssl(self.transport) else "http"

    @property
    def root_path(self) -> str:
        """What ``--root-path`` says."""
        return self.config.root_path

    def client_of(self, head: LaneHead) -> tuple[str, int] | None:
        """The client that a trusted proxy names for this request, else the peer."""
        return self.lane.forwarded_client(self.client, head)

    def scheme_of(self, head: LaneHead) -> str:
        """The scheme that a trusted proxy names for this request, else the connection's."""
        return self.lane.forwarded_scheme(self.client, head) or self.scheme

    # Writing

    def write(self, data: bytes) -> None:
        """Write at once, or add to what is being gathered."""
        if self._gathered is not None:
            self._gathered.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def gather(self) -> None:
        """From now on collect what is written, for one system call at ``flush``."""
        self._gathered = []

    def flush(self) -> None:
        """Write what was gathered."""
        gathered = self._gathered
        self._gathered = None
        if gathered and not self.transport.is_closing():
            self.transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def pause_writing(self) -> None:
        """asyncio: the peer reads more slowly than we write."""
        self.write_paused = True
        if self._drained is not None:
            self._drained.clear()
        self.arm(self.lane.limits.write_timeout)

    def resume_writing(self) -> None:
        """asyncio: the peer has caught up."""
        self.write_paused = False
        self.disarm()
        if self._drained is not None:
            self._drained.set()

    async def drained(self) -> None:
        """Wait until the peer has caught up, or is gone."""
        if self.write_paused:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()

    # Reading

    def pause_reading(self) -> None:
        """Leave what the peer sends in its socket."""
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, where reading was paused."""
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    # Time. One timer a connection: what it means depends on what the connection is doing when it fires.

    def arm(self, delay: float) -> None:
        """Call ``on_timer`` in ``delay`` seconds, instead of when it was to be called."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_delay = delay
        self._timer = self.loop.call_later(delay, self.on_timer)

    def disarm(self) -> None:
        """Don't call ``on_timer``."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_timer(self) -> None:
        """The timer has fired."""
        raise NotImplementedError

    # Tasks, which the server waits for when it stops

    def start_task(self, coroutine: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        """Run in a task of its own, in the request's context or the one given."""
        # An empty context is false, and is meant all the same.
        self._keep(self.loop.create_task(coroutine, context=self.context if context is None else context))

    def start_application(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a plain ASGI application in a task, in a copy of the request's context."""
        self._keep(self.context.run(self.loop.create_task, coroutine))

    def start_eager_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Likewise; where Python has eager tasks, up to the first real wait before this returns."""
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=self.loop, eager_start=True, context=self.context)
            if not task.done():
                self._keep(task)
        else:
            self._keep(self.loop.create_task(coroutine, context=self.context))

    def _keep(self, task: asyncio.Task[None]) -> None:
        tasks = self.server_state.tasks
        task.add_done_callback(tasks.discard)
        tasks.add(task)

    # Ending

    def close_writing(self) -> bool:
        """Say that nothing more comes, and keep reading; false where the transport can't (TLS), or is closing."""
        self.flush()
        if self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    def close_transport(self) -> None:
        """Close when what is written has been sent."""
        self.disarm()
        self.flush()
        if not self.transport.is_closing():
            self.transport.close()

    def forget_transport(self) -> None:
        """The connection is lost: wake whoever waits for it."""
        self.disarm()
        self.write_paused = False
        if self._drained is not None:
            self._drained.set()

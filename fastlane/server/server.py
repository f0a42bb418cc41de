"""One event loop that serves: start-up, heartbeat, and the end.

start-up ──► accept ──► drain delay ──► stop accepting ──► drain ──► cut off ──► lifespan's end
                        (TERM only)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Generator
from email.utils import formatdate
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from fastlane.resources.host import Host
from fastlane.server.accept import Acceptor, Gate
from fastlane.server.access_log import AccessLog
from fastlane.server.config import LaneConfig
from fastlane.server.lifespan import Lifespan
from fastlane.supervisor.child import WorkerContext
from fastlane.supervisor.kernel import can_adopt
from fastlane.supervisor.listeners import Listener, open_listeners
from fastlane.supervisor.logs import reopen_logs
from fastlane.supervisor.scoreboard import Scoreboard
from fastlane.supervisor.settings import Address

__all__ = ["LaneServer"]

TICK_SECONDS = 0.25
"""Between two heartbeats."""
SILENT_SECONDS = 2.0
"""What `LaneServer.silent` is under a supervisor."""
SIBLING_SECONDS = 1.0
"""How long the first worker of a server waits for its siblings before it accepts."""
DRAIN_SECONDS = 30.0
"""For subscriptions and cron jobs, where requests may take as long as they like."""
CANCEL_SECONDS = 1.0
"""What cancelled tasks get to clean up."""
_POLL_SECONDS = 0.02
_SIBLING_POLL_SECONDS = 0.001

logger = logging.getLogger("fastlane.server")


class LaneServer(uvicorn.Server):
    """uvicorn's server with an accept loop, a start-up and a drain of our own.

    Args:
        context: of a worker under our supervisor; without one the server stands alone, as in ``fastlane dev``.
        silent: how long a connection that says nothing may hold a server that stops; it may ask once more meanwhile.
        host: tells the app's resources of this process. Default: made of ``config.surroundings``, if there are some.
    """

    config: LaneConfig

    def __init__(
        self,
        config: LaneConfig,
        context: WorkerContext | None = None,
        silent: float = 0.0,
        host: Host | None = None,
    ) -> None:
        super().__init__(config)
        if host is None and config.surroundings is not None:
            host = Host(config.surroundings)
        self._host = host
        self.servers = []
        self.listeners: list[Listener] = []
        self._context = context
        self._silent = silent if context is None else SILENT_SECONDS
        self._gate = Gate(None if context is None else context.slot)
        self._acceptors: list[Acceptor] = []
        self._access_log: AccessLog | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop = asyncio.Event()
        self._is_draining = False
        self._second = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None

    # Start-up

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        config = self.config
        if not config.loaded:
            config.load()
        self._loop = asyncio.get_running_loop()
        self.lifespan = LifespanOff(config) if config.lifespan == "off" else Lifespan(config, self._host)
        if self._host is not None:
            self._host.when_failed(self.stop)
        self._beat()
        try:
            await self.startup(sockets)
            await self.main_loop()
            await self.shutdown(sockets)
        finally:
            self._publish()
            if self._timer is not None:
                self._timer.cancel()
            if self._watch is not None:
                self._watch.cancel()
            if self._access_log is not None:
                self._access_log.close()
            for listener in self.listeners:
                listener.close()
                if self._context is None:  # the supervisor removes its own
                    listener.remove()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept.

        Raises:
            BootFailure: the application failed, or the address can't be used.
        """
        config, context = self.config, self._context
        if context is not None:
            self.listeners = context.listeners
        elif sockets is not None:
            self.listeners = [Listener(inherited, inherited=True) for inherited in sockets]
            for inherited in sockets:
                inherited.setblocking(False)
        else:
            address = Address(host=None if config.uds or config.fd is not None else config.host, port=config.port)
            if config.uds:
                address = Address(path=config.uds)
            elif config.fd is not None:
                address = Address(fd=config.fd)
            self.listeners = open_listeners((address,), config.backlog)
        await self.lifespan.startup()
        if config.access_log and config.log_format is not None and config.access_writer is None:
            self._access_log = AccessLog(self._loop.call_later, log_format=config.log_format)
            config.access_writer = self._access_log.log_access
        connections = self.server_state.connections
        for listener in self.listeners:
            backlog = None if listener.inherited else config.backlog
            acceptor = Acceptor(self._loop, listener, self._make_protocol, self._gate, connections, config.ssl, backlog)
            self._acceptors.append(acceptor)
            if context is None:
                acceptor.start()
        self.started = True
        if context is not None:
            self._watch_readiness(context)
            context.ready()
            self._open(context.slot.board, self._loop.time() + SIBLING_SECONDS)
            if not can_adopt:  # elsewhere the kernel ends a worker whose supervisor is gone
                self._loop.add_reader(context.lifeline, os._exit, 0)

    def _open(self, board: Scoreboard, deadline: float) -> None:
        """Accept, but not before the siblings of a server that starts: a load that begins at the first answer would
        find one worker only, and its keep-alive connections would stay there."""
        if self.should_exit:
            return
        if self._loop.time() < deadline and board.ready_count() < board.awaited:
            self._loop.call_later(_SIBLING_POLL_SECONDS, self._open, board, deadline)
            return
        for acceptor in self._acceptors:
            acceptor.start()

    def _watch_readiness(self, context: WorkerContext) -> None:
        """Tell the supervisor what the application's checks say, where the supervisor is asked."""
        is_asked = context.settings.health is not None or context.settings.control is not None
        if is_asked and self.config.readiness.checks:
            context.slot.refuse(True)  # until they have been asked
            self._watch = self._loop.create_task(self.config.readiness.watch(context.slot.refuse))

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=self._loop
        )
        if self._is_draining:
            self._drain_connection(protocol)
        return protocol  # type: ignore[no-any-return]

    # Life

    def _beat(self) -> None:
        """Every quarter of a second: tell that the loop turns, and renew the date."""
        self._timer = self._loop.call_later(TICK_SECONDS, self._beat)
        state = self.server_state
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            date = [(b"date", formatdate(now, usegmt=True).encode())] if self.config.date_header else []
            # The list is replaced, not changed: the protocol caches what it made of it by identity.
            state.default_headers = date + self.config.encoded_headers
        self._publish()
        if self.should_exit:  # set by somebody who does not know `stop`
            self._stop.set()
        limit = self.limit_max_requests
        if limit is not None and state.total_requests >= limit:
            self.stop()

    def _publish(self) -> None:
        """Tell the supervisor that the loop turns, and the totals."""
        if self._context is not None:
            slot, state, latencies = self._context.slot, self.server_state, self.config.latencies
            slot.beat(self._connection_count(), state.total_requests, len(state.tasks))
            if latencies is not None:
                slot.publish_latencies(latencies.counts, latencies.seconds)
            work = None if self._host is None else self._host.work()
            if work is not None:
                slot.publish_work(work)

    def _connection_count(self) -> int:
        return len(self.server_state.connections) + sum(len(acceptor.handshakes) for acceptor in self._acceptors)

    async def main_loop(self) -> None:
        """Serve until `stop`."""
        await self._stop.wait()

    def stop(self) -> None:
        """End gracefully; called again, at once. Only from the event loop's thread."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._stop.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Under the supervisor TERM drains and USR1 reopens logs; standing alone it is as uvicorn has it."""
        if self._context is None:
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_term)
        loop.add_signal_handler(signal.SIGUSR1, reopen_logs)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGUSR1)

    def _on_term(self) -> None:
        if not self.should_exit:  # a second TERM, to the whole process group, says nothing new
            self.stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._stop.set)

    # The end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is open, within the deadlines, then end the application's lifespan."""
        context = self._context
        is_replaced = context is not None and not context.stopping
        graceful = self.config.timeout_graceful_shutdown
        end = float("inf") if graceful is None else graceful
        self.config.readiness.is_stopping = not is_replaced
        if self._host is not None:  # before the state changes: who waits for that takes over what this one consumed
            self._host.draining(DRAIN_SECONDS if graceful is None else float(graceful))
        if context is not None:
            context.draining()
            if not is_replaced and context.settings.drain_delay:
                self._drain_connections()
                await asyncio.sleep(context.settings.drain_delay)
        # First, so that what is accepted last is told to close, too.
        self._drain_connections()
        for acceptor, listener in zip(self._acceptors, self.listeners, strict=True):
            is_shared = listener.inherited if context is None else context.shared
            acceptor.stop(last=not is_replaced and not is_shared)
        await asyncio.sleep(0)  # connection_made of what was accepted last: only now are they known
        self._drain_connections()
        if is_replaced:
            # A reload goes unnoticed: silent connections may speak once more until their keep-alive time is over.
            silent = float(self.config.timeout_keep_alive)
            await self._wait_until_idle(silent, running=end, end=silent + end)
        else:
            await self._wait_until_idle(min(self._silent, end), running=end, end=end)
        await self._cut_off()
        if not self.force_exit:
            await self.lifespan.shutdown()

    def _drain_connections(self) -> None:
        self._is_draining = True
        for connection in list(self.server_state.connections):
            self._drain_connection(connection)

    def _drain_connection(self, connection: Any) -> None:
        """Let it answer once more; a protocol that is not ours, such as a WebSocket, says goodbye at once."""
        drain = getattr(connection, "drain", None)
        if drain is not None:
            drain()
        elif connection in self.server_state.connections:
            connection.shutdown()

    async def _wait_until_idle(self, silent: float, *, running: float, end: float) -> None:
        """Wait until nothing is open.

        Args:
            silent: after so many seconds connections that say nothing are closed.
            running: after so many seconds what was running at the beginning is cancelled.
            end: after so many seconds this returns, whatever is open.
        """
        state, began, context = self.server_state, self._loop.time(), self._context
        graceful = running
        is_replaced = context is not None and not context.stopping
        old_tasks: set[asyncio.Task[None]] = set(state.tasks)
        while (self._connection_count() or state.tasks) and not self.force_exit:
            passed = self._loop.time() - began
            if is_replaced and context is not None and context.stopping:
                # The whole server was told to stop while this worker took the time that a reload leaves it.
                is_replaced = False
                silent = min(silent, passed + self._silent)
                end = min(end, passed + graceful)
            if passed >= end:
                return
            if passed >= silent:
                silent = float("inf")
                for connection in list(state.connections):
                    connection.shutdown()
                continue
            if passed >= running:
                running = float("inf")
                for task in old_tasks & state.tasks:
                    task.cancel("--graceful-timeout is over")
            await asyncio.sleep(_POLL_SECONDS)

    async def _cut_off(self) -> None:
        """Cancel and abort what is left."""
        tasks: set[asyncio.Task[Any]] = set(self.server_state.tasks)
        for acceptor in self._acceptors:
            tasks |= acceptor.handshakes
        connections = list(self.server_state.connections)
        if not tasks and not connections:
            return
        logger.warning("cutting off %d connections and %d tasks: time is over", len(connections), len(tasks))
        for task in tasks:
            task.cancel("--graceful-timeout is over")
        if tasks and not self.force_exit:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

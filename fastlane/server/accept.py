"""Accepting evenly: workers share one listening socket, and each takes about its share of the connections.

With a plain shared socket the worker that wakes first takes all that waits: 150 keep-alive connections landed 150 to 0
on two workers. Here a worker above its share leaves the connection to another for a moment, and takes it if nobody
did: a stuck sibling costs a client two milliseconds, never more.

There are two gears. In the first the gate is asked before each connection. While many come and go, and nobody is above
the share, uvloop accepts by itself, which costs 15 µs less for a connection on two workers, and the gate is asked now
and then.
"""

from __future__ import annotations

import _socket
import asyncio
import errno
import logging
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sized
from typing import Any

from fastlane.server.refusal import refuse_connections
from fastlane.supervisor.listeners import Listener
from fastlane.supervisor.scoreboard import Slot

__all__ = ["BATCH", "Acceptor", "Gate"]

BATCH = 16
"""Connections that are taken at most in one turn of the loop when the siblings have had their chance."""
YIELD_SECONDS = 0.002
"""How long a worker above its share leaves waiting connections to the others. Ignoring the readable socket instead
would spin: 2.2 million callbacks a second were measured."""
PEERS_SECONDS = 0.02
"""How long the list of those who share the socket is believed; what they hold is read anew for every batch."""
PACE_SECONDS = 0.02
EXHAUSTED_SECONDS = 0.1
"""Pause after running out of descriptors or memory: the socket stays readable, and trying again at once would spin."""
HANDSHAKE_SECONDS = 10.0
UNGATED = 64
"""So many connections in a row that were within the share, and half of them closed, bring the second gear."""
ASKED = 16
"""Every so many connections the gate is asked in the second gear; fewer in `PACE_SECONDS` end it."""
CROWD = 32
"""How far above its share a worker may be for a moment in the second gear."""
LOW_SECONDS = 0.005
"""For so long at least the second gear looks for the fewest open connections, which are what it shows to the gate: a
worker takes dozens of short connections in one turn of its loop, and has closed them two turns later."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = logging.getLogger("fastlane.server")


class _Accepted(socket.socket):
    """A `socket.socket` for uvloop, which detaches that from its descriptor when it closes the connection. Anything
    else it closes a second time, and by then another thread may have opened something under the same number."""

    # PERF: the plain C attributes: enumerations of family and type, five times a connection, take 5 µs.
    family = _socket.socket.family  # type: ignore[assignment]
    type = _socket.socket.type  # type: ignore[assignment]


class Gate:
    """How many connections this worker may take, from the scoreboard; without a slot as many as there are."""

    __slots__ = ("_clock", "_peers", "_refresh_at", "_slot", "held", "slack")

    def __init__(self, slot: Slot | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._slot = slot
        self._clock = clock
        self._peers: list[int] = []
        self._refresh_at = float("-inf")
        self.held = 0
        """What the others had open when `room` was asked last."""
        self.slack = 0
        """How far below zero the room may fall in the second gear."""

    def publish(self, mine: int) -> None:
        """Let the others know that ``mine`` are open here."""
        if self._slot is not None:
            self._slot.connections = mine

    def has_peers(self) -> bool:
        """Whether others accept from the same sockets now."""
        return self._slot is not None and bool(self._slot.accepting_peers())

    def room(self, mine: int) -> int:
        """What is left up to this worker's share and a little more, if ``mine`` are open here; may be negative."""
        if self._slot is None:
            return BATCH
        self._slot.connections = mine
        now = self._clock()
        if now >= self._refresh_at:
            # PERF: 4 µs for 64 slots, so not for every connection; but soon enough for a sibling that has just come up.
            self._refresh_at = now + PEERS_SECONDS
            self._peers = self._slot.accepting_peers()
        peers = self._peers
        if not peers:
            return BATCH
        words = self._slot.board.words
        held = 0
        for index in peers:
            held += words[index]
        self.held = held
        total = held + mine
        count = len(peers) + 1
        self.slack = 2 + total // (16 * count)
        # The little more is for the short life of most connections: 1 and a sixteenth keep 150 of two workers within
        # 53 to 47, and leave those that come and go ungated.
        return total // count + 1 + total // (16 * count) - mine


class Acceptor:
    """Accepts from one listener into an event loop, through a `Gate`.

    Args:
        make_protocol: called once for each connection.
        connections: those that are open; with the handshakes under way they are what the gate compares.
        backlog: of the listener, which uvloop sets anew; None stays in the first gear, for a listener of others.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        make_protocol: Callable[[], asyncio.Protocol],
        gate: Gate,
        connections: Sized,
        context: ssl.SSLContext | None = None,
        backlog: int | None = None,
    ) -> None:
        self.handshakes: set[asyncio.Task[Any]] = set()
        """TLS connections that are not yet open."""
        self._loop = loop
        self._listener = listener
        self._socket = listener.socket
        self._family = int(listener.socket.family)
        self._protocol = listener.socket.proto
        self._make_protocol = make_protocol
        self._gate = gate
        self._connections = connections
        self._context = context
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        """How many the next `_take_what_is_left` takes."""
        self._held = -1
        self._backlog = backlog
        self._server: asyncio.AbstractServer | None = None
        """uvloop's, in the second gear."""
        self._down: asyncio.Handle | None = None
        self._ungated = 0
        self._taken = 0
        """How many uvloop accepted since `_check_pace`."""
        self._low = 0
        """How few were open since `_low_since`; in the first gear, how many at the beginning of the row."""
        self._low_since = 0.0
        self._is_shiftable = (
            backlog is not None
            and context is None
            and listener.socket.family != socket.AF_UNIX
            and type(loop).__module__.partition(".")[0] == "uvloop"
        )
        # Without descriptors libuv would close what waits, and say nothing.
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def start(self) -> None:
        """Accept from now on."""
        self._timer = None
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        room = self._gate.room(len(self._connections) + len(self.handshakes))
        if room > 0:
            # PERF: one at a time, as libuv does: asking for a second costs 5 µs when there is none, and the loop comes
            # back at once when there is.
            self._take(1)
            self._ungated += 1
            if self._ungated >= UNGATED:
                if self._is_shiftable and len(self._connections) <= min(self._low + UNGATED // 2, self._most):
                    self._shift_up()
                self._ungated = 0
                self._low = len(self._connections)
            return
        self._ungated = 0
        # A sibling that is only busy has other counts the next time, and leaves one connection each 2 ms to this one;
        # one that is stuck leaves twice as many each time.
        held = self._gate.held
        self._left = min(2 * self._left, BATCH) if held == self._held else 1
        self._held = held
        self._pause(YIELD_SECONDS, self._take_what_is_left)

    def _take_what_is_left(self) -> None:
        """Nobody took it: the gate has had its moment."""
        self.start()
        self._take(self._left)

    def _shift_up(self) -> None:
        opening = self._loop.create_server(
            self._make_and_ask, sock=self._listener.socket.dup(), backlog=self._backlog or 1
        )
        try:
            opening.send(None)
        except StopIteration as opened:  # with a socket it never waits
            self._loop.remove_reader(self._socket.fileno())
            self._server = opened.value
            self._low_since = self._loop.time()
            self._check_pace(ASKED)

    def _make_and_ask(self) -> asyncio.Protocol:
        mine = len(self._connections)
        if mine < self._low:
            self._low = mine
        self._taken += 1
        if self._taken % ASKED == 0:
            self._ask(mine)
        self._gate.publish(mine + 1)
        return self._make_protocol()

    def _ask(self, mine: int) -> None:
        now = self._loop.time()
        is_over = mine >= self._most or self._gate.room(mine) + self._gate.slack + CROWD < 0
        if now - self._low_since >= LOW_SECONDS:
            is_over = is_over or self._gate.room(self._low) + self._gate.slack < 0
            self._low = mine
            self._low_since = now
        if is_over and self._down is None:
            # Not here: uvloop is about to take the connection from its server.
            self._down = self._loop.call_soon(self._shift_down)

    def _check_pace(self, taken: int) -> None:
        """Fifty times a second in the second gear, which saves nothing worth having below 800 connections a second."""
        self._gate.publish(len(self._connections))
        if taken < ASKED:
            self._shift_down()
            return
        self._taken = 0
        self._timer = self._loop.call_later(PACE_SECONDS, lambda: self._check_pace(self._taken))

    def _shift_down(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._stop_server()
        self.start()

    def _stop_server(self) -> None:
        if self._down is not None:
            self._down.cancel()
            self._down = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _pause(self, seconds: float, resume: Callable[[], None]) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._timer = self._loop.call_later(seconds, resume)

    def _take(self, count: int) -> bool:
        """Accept up to ``count`` connections; False when there were fewer."""
        for _ in range(count):
            try:
                descriptor, _ = self._socket._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:
                continue  # the client went away while it waited
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                logger.error("can't accept connections for lack of resources: %s", error.strerror)
                if self._timer is None:
                    self._pause(EXHAUSTED_SECONDS, self.start)
                return False
            self._connect(_Accepted(self._family, socket.SOCK_STREAM, self._protocol, fileno=descriptor))
        return True

    def _connect(self, accepted: Any) -> None:
        if self._context is not None:
            handshake = self._loop.create_task(self._shake_hands(accepted, self._context))
            self.handshakes.add(handshake)
            handshake.add_done_callback(self.handshakes.discard)
            return
        # PERF: without TLS the coroutine waits once, for a future that is done in the next turn of the loop. A task for
        # that costs 3 µs a connection; holding the coroutine until the future is done costs 1.
        opening = self._loop.connect_accepted_socket(self._make_protocol, accepted)
        try:
            waiter: asyncio.Future[None] = opening.send(None)
        except StopIteration:
            return
        except OSError:  # the client is gone already
            accepted.close()
            return
        waiter._asyncio_future_blocking = False
        waiter.add_done_callback(lambda _: _finish(opening))

    async def _shake_hands(self, accepted: Any, context: ssl.SSLContext) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make_protocol, accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:  # ssl.SSLError is one, too; so is the timeout
            logger.debug("a TLS handshake failed: %s", error)
            accepted.close()

    def stop(self, *, last: bool) -> None:
        """Accept no more, and close the listener.

        Args:
            last: nobody accepts after this server but siblings that end, too. Then what waits in the queue is accepted
                before: the kernel resets it when the last copy of a listener is closed.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_server()
        self._loop.remove_reader(self._socket.fileno())
        if last:
            if not self._gate.has_peers():
                # Who came between the last look into the queue and the close would be reset.
                refuse_connections(self._socket)
            while self._take(BATCH):
                pass
            if self._timer is not None:
                self._timer.cancel()
        self._listener.close()


def _finish(opening: Any) -> None:
    try:
        opening.send(None)
    except (StopIteration, OSError):
        pass

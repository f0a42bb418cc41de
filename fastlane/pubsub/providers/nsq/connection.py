"""One connection to an nsqd: frames in, commands out.

ansq brings the commands, what IDENTIFY says, and the errors; why its connection and its parser are not used stands in
``docs/decisions/nsq-connection.md``. What must hold here:

* only IDENTIFY, AUTH, SUB, PUB, MPUB, DPUB and CLS are answered, in order: each has a waiter. FIN, REQ and TOUCH are
  not; what nsqd says about them (``E_FIN_FAILED`` and so on) is never an answer to something else;
* when a connection ends, for whatever reason, every waiter learns it, and whether its command can have been done;
* what is written in one turn of the event loop leaves in one ``write``.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from ansq.tcp.consts import MSG_HEADER
from ansq.tcp.exceptions import (
    NSQErrorCode,
    NSQFinishFailed,
    NSQRequeueFailed,
    NSQTouchFailed,
    get_exception,
)
from ansq.tcp.types import FrameType, NSQCommands

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address, Security

__all__ = ["ANSWER", "Arrival", "Connection", "Lost", "Refused"]

ANSWER = 4.0
"""Seconds for an answer; then the connection is given up. Below the ten of a publish: another nsqd has its chance."""

_LARGEST_FRAME = 256 * 1024 * 1024
"""nsqd's messages are 1 MiB unless told otherwise; a larger frame than this is no NSQ."""

_HEADER = struct.Struct(">iI").unpack_from
_MESSAGE = struct.Struct(">QH16s").unpack_from
_BODY = 8 + MSG_HEADER

_MESSAGE_FRAME = FrameType.MESSAGE.value
_ERROR_FRAME = FrameType.ERROR.value
_HEARTBEAT = b"_heartbeat_"
_NOP = NSQCommands.NOP + b"\n"
_LEASE_ERRORS = (NSQFinishFailed, NSQRequeueFailed, NSQTouchFailed)


class Lost(BrokerUnavailable):
    """The connection ended before the answer came.

    Attributes:
        done: False: the command was certainly not carried out. True: nobody knows.
    """

    def __init__(self, text: str, *, done: bool = True) -> None:
        super().__init__(text)
        self.done = done


class Refused(Exception):
    """nsqd answered a command with an error, and closes the connection.

    Attributes:
        error: ansq's exception for the code.
    """

    def __init__(self, address: Address, error: NSQErrorCode) -> None:
        super().__init__(f"nsqd at {address} answered {error}")
        self.error = error


Arrival = tuple["Connection", bytes, int, int, bytes]
"""A message as it came: connection, id, nanoseconds since the epoch, attempts, body."""


class Connection(asyncio.Protocol):
    """Made by `greeting.connect`.

    Attributes:
        address: of the nsqd.
        alive: commands may be sent.
        in_flight: id → when its lease began (the loop's time), of every message that came and is not finished.
        most_ready: nsqd's ``--max-rdy-count``.
        topic: what it is subscribed to.
        on_arrival: called with the messages of a chunk.
        on_end: called once, when the connection has ended.
        writable: cleared while more waits than the transport likes.
    """

    def __init__(self, address: Address, heartbeat: float) -> None:
        self.address = address
        self.alive = False
        self.in_flight: dict[bytes, float] = {}
        self.most_ready = 1
        self.topic = ""
        self.on_arrival: Callable[[list[Arrival]], None] | None = None
        self.on_end: Callable[[Connection], None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heartbeat = heartbeat
        self._heard = self._loop.time()
        self._waiters: deque[tuple[asyncio.Future[bytes], float]] = deque()
        self._outgoing: list[bytes] = []
        self._pieces: list[bytes] = []
        self._missing = 0
        self._reason = ""
        self._refused = False
        self._suspected = False
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None

    # --- what comes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True
        self._look()

    def data_received(self, data: bytes) -> None:
        now = self._heard = self._loop.time()
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return  # a large message is put together once, not again with every chunk
            data = b"".join(self._pieces)
            self._pieces.clear()
        arrived: list[Arrival] = []
        in_flight = self.in_flight
        position, end = 0, len(data)
        needed = 8
        while end - position >= 8:
            size, kind = _HEADER(data, position)
            stop = position + 4 + size
            if stop > end:
                needed = stop - position
                if size > _LARGEST_FRAME:
                    self.abort("a frame that is no NSQ")
                    return
                break
            if kind == _MESSAGE_FRAME and size >= 4 + MSG_HEADER:
                timestamp, attempts, identity = _MESSAGE(data, position + 8)
                in_flight[identity] = now
                arrived.append((self, identity, timestamp, attempts, data[position + _BODY : stop]))
            elif size < 4 or not self._take(kind, data[position + 8 : stop]):
                self.abort("a frame that is no NSQ")
                return
            position = stop
        if position < end:
            self._pieces.append(data[position:] if position else data)
            self._missing = needed - (end - position)
        if arrived and self.on_arrival is not None:
            self.on_arrival(arrived)

    def _take(self, kind: int, body: bytes) -> bool:
        """A frame that is no message. False: it makes no sense."""
        if kind == FrameType.RESPONSE.value:
            if body == _HEARTBEAT:
                self.send(_NOP)
                return True
            if not self._waiters:
                return False
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(body)
            return True
        if kind != _ERROR_FRAME:
            return False
        code, _, text = body.decode("utf-8", "replace").partition(" ")
        error = cast(NSQErrorCode, get_exception(code, text))
        if isinstance(error, _LEASE_ERRORS):
            # "FIN 0a1b… failed ID not in flight": somebody else has it, or will have.
            words = text.split(" ", 2)
            if len(words) > 1:
                self.in_flight.pop(words[1].encode(), None)
            return True
        # Everything else ends the connection, and nsqd has read nothing behind the command that it is about.
        self._refused = True
        self._reason = f"nsqd answered {code} {text}"
        if self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(Refused(self.address, error))
                waiter.exception()  # a waiter that nobody awaits any more is no news
        self.abort(self._reason)
        return True

    def eof_received(self) -> None:
        self._reason = self._reason or "nsqd closed the connection"

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        if self._watch is not None:
            self._watch.cancel()
        reason = self._reason or str(error or "the connection was closed")
        waiters, self._waiters = self._waiters, deque()
        for waiter, _ in waiters:
            if not waiter.done():
                waiter.set_exception(Lost(f"nsqd at {self.address}: {reason}", done=not self._refused))
                waiter.exception()  # a waiter that nobody awaits any more is no news
        self._pieces.clear()
        self._outgoing.clear()
        self.in_flight.clear()
        self.writable.set()
        self.ended.set()
        if self.on_end is not None:
            self.on_end(self)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # --- what goes out

    def send(self, command: bytes) -> None:
        """Before this turn of the loop ends. Nothing happens when the connection has ended."""
        if self.alive:
            if not self._outgoing:
                self._loop.call_soon(self.flush)
            self._outgoing.append(command)

    def flush(self) -> None:
        """What was sent is written now."""
        if self._outgoing and self.alive and self._transport is not None:
            outgoing, self._outgoing = self._outgoing, []
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))

    def ask(self, command: bytes) -> asyncio.Future[bytes]:
        """Send a command that nsqd answers. The future may be cancelled; the answer is waited for nevertheless.

        The future fails with `Refused` or `Lost`.
        """
        waiter = self._loop.create_future()
        if not self.alive:
            waiter.set_exception(Lost(f"nsqd at {self.address}: {self._reason or 'not connected'}", done=False))
            return waiter
        self._waiters.append((waiter, self._loop.time()))
        self.send(command)
        return waiter

    async def secure(self, security: Security) -> None:
        """Go on in TLS. nsqd says OK through the new layer, without having been asked."""
        assert self._transport is not None
        assert security.tls is not None
        ready: asyncio.Future[bytes] = self._loop.create_future()
        self._waiters.append((ready, self._loop.time()))
        upgraded = await self._loop.start_tls(self._transport, self, security.tls, server_hostname=self.address.host)
        self._transport = cast(asyncio.Transport, upgraded)
        await ready

    # --- its end

    def abort(self, reason: str) -> None:
        """Now, without another word."""
        self._reason = self._reason or reason
        self.alive = False
        self.in_flight.clear()
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """What was sent still leaves, for a second at most."""
        if self.alive and self._transport is not None:
            self.flush()
            self._transport.close()
        try:
            async with asyncio.timeout(1.0):
                await self.ended.wait()
        except TimeoutError:
            self.abort("closed")
        except BaseException:
            self.abort("closed")
            raise

    def _look(self) -> None:
        """A peer that says nothing any more: nsqd sends a heartbeat every ``heartbeat`` seconds."""
        now = self._loop.time()
        silent = now - self._heard
        if silent > 2.5 * self._heartbeat:
            reason = f"nothing was heard for {silent:.1f} s"
        elif self._waiters and now - max(self._waiters[0][1], self._heard) > ANSWER:
            reason = f"no answer within {ANSWER:g} s"
        else:
            self._suspected = False
            self._watch = self._loop.call_later(min(self._heartbeat / 2, ANSWER / 4), self._look)
            return
        if self._suspected:
            self.abort(reason)
        else:
            # This process may have been the one that stood still: what came meanwhile is read before the second look.
            self._suspected = True
            self._watch = self._loop.call_later(0.1, self._look)

"""A subscribed connection to one nsqd that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ansq.tcp.types import NSQCommands

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.backoff import Backoff
from fastlane.pubsub.providers.nsq.connection import Arrival, Connection, Lost, Refused
from fastlane.pubsub.providers.nsq.greeting import connect, subscribe

__all__ = ["Feed", "leave", "requeue"]

_log = logging.getLogger("fastlane.pubsub")

_CLS = NSQCommands.CLS + b"\n"
_REQ = NSQCommands.REQ
_RDY = NSQCommands.RDY

_STEADY = 1.0
"""Seconds that a connection must last before the next one is tried without waiting."""

_STRAGGLERS = 0.02
"""Seconds in which a message may still come after nsqd confirmed that it sends none: two of its goroutines race."""


def requeue(connection: Connection, identity: bytes, milliseconds: int = 0) -> None:
    """Hand a message back."""
    connection.send(b"%b %b %d\n" % (_REQ, identity, milliseconds))


async def leave(connection: Connection) -> None:
    """Hand back what is in flight, have nsqd send no more, and close. nsqd has done all that when this returns.

    Without it nsqd keeps what is in flight over a closed connection until ``msg_timeout``.
    """
    try:
        if connection.alive:
            connection.send(b"%b 0\n" % _RDY)
            _requeue_all(connection)
            await asyncio.wait([connection.ask(_CLS)], timeout=1.0)
        if connection.alive:
            await asyncio.sleep(_STRAGGLERS)
            _requeue_all(connection)
    finally:
        await connection.close()


def _requeue_all(connection: Connection) -> None:
    for identity in connection.in_flight:
        requeue(connection, identity)
    connection.in_flight.clear()


class Feed:
    """Used on one event loop; `start` it, and `close` it.

    Args:
        lease: seconds, ``msg_timeout``.
        on_arrival: gets the messages.
        on_change: called when the connection came, went, or could not be had.

    Attributes:
        connection: None while there is none.
        ready: the RDY that nsqd knows.
        busy: something came since this was last cleared.
        failure: why there is no connection; None: there is one, or none was tried yet.
        listed: it is to come back when it breaks.
    """

    def __init__(
        self,
        address: Address,
        topic: str,
        channel: str,
        *,
        security: Security,
        heartbeat: float,
        lease: float,
        on_arrival: Callable[[list[Arrival]], None],
        on_change: Callable[[], None],
    ) -> None:
        self.address, self.topic, self.channel = address, topic, channel
        self.connection: Connection | None = None
        self.ready = 0
        self.busy = False
        self.failure: BrokerUnavailable | None = None
        self.listed = True
        self._security, self._heartbeat, self._lease = security, heartbeat, lease
        self._on_arrival, self._on_change = on_arrival, on_change
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self.connection is not None and self.connection.alive

    @property
    def over(self) -> bool:
        """Nothing comes any more."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def set_ready(self, count: int) -> None:
        """How many messages nsqd may have in flight over this connection."""
        if self.connection is not None and count != self.ready:
            self.ready = count
            self.connection.send(b"%b %d\n" % (_RDY, min(count, self.connection.most_ready)))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while self.listed:
            try:
                connection = await self._subscribe()
            except BrokerUnavailable as error:
                if self.failure is None:
                    _log.warning("%s; trying again", error)
                self.failure = error
            else:
                if self.failure is not None:
                    _log.warning("nsqd at %s: %s subscribed again", self.address, self.topic)
                self.failure, self.ready, self.connection = None, 0, connection
                began = loop.time()
                self._on_change()
                await connection.ended.wait()
                self.connection, self.ready = None, 0
                self.failure = BrokerUnavailable(f"nsqd at {self.address}: the connection was lost")
                if self.listed:
                    _log.warning("nsqd at %s: the connection for %s was lost; trying again", self.address, self.topic)
                if loop.time() - began > _STEADY:
                    backoff.reset()
            self._on_change()
            if self.listed:
                await asyncio.sleep(backoff.delay())

    async def _subscribe(self) -> Connection:
        connection = await connect(self.address, security=self._security, heartbeat=self._heartbeat, lease=self._lease)
        connection.on_arrival = self._arrived
        try:
            await subscribe(connection, self.topic, self.channel)
        except Refused as error:
            raise BrokerUnavailable(f"{error}\n    mend: look at the names, and at what `auth` allows") from error
        except Lost:
            raise
        except BaseException:
            connection.abort("not subscribed")
            raise
        return connection

    def _arrived(self, arrivals: list[Arrival]) -> None:
        self.busy = True
        self._on_arrival(arrivals)

    async def close(self) -> None:
        """Tell nsqd to send no more, hand back what is in flight, and leave."""
        self.listed = False
        if self.connection is not None:
            await leave(self.connection)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

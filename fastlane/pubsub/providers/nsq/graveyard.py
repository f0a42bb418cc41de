"""Looking at dead letters: NSQ lists nothing, so they are received, looked at, and handed back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
from ansq.tcp.types import NSQCommands

from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.connection import Arrival, Connection, Refused
from fastlane.pubsub.providers.nsq.envelope import open_letter
from fastlane.pubsub.providers.nsq.feed import leave
from fastlane.pubsub.providers.nsq.greeting import connect, subscribe
from fastlane.pubsub.providers.nsq.names import DEAD_CHANNEL

__all__ = ["MOST", "Found", "exhumed"]

MOST = 2500
"""Dead letters that are looked at on each nsqd: its ``--max-rdy-count``, unless told otherwise."""

_QUIET = 0.1
_PATIENCE = 1.0
"""Seconds without another one, after which there is none: where none is known to be missing, and where one is."""


class Found(msgspec.Struct, frozen=True):
    """A dead letter that is held."""

    letter: DeadLetter
    connection: Connection
    identity: bytes

    def remove(self) -> None:
        """For good."""
        if self.connection.in_flight.pop(self.identity, None) is not None:
            self.connection.send(b"%b %b\n" % (NSQCommands.FIN, self.identity))


@contextlib.asynccontextmanager
async def exhumed(
    topic: str, addresses: Sequence[Address], expected: int, *, security: Security, heartbeat: float
) -> AsyncIterator[list[Found]]:
    """The dead letters in ``topic``, the oldest first. Those that are not removed go back at the end.

    Args:
        expected: how many there should be.

    Raises:
        BrokerUnavailable, BrokerForbidden: one nsqd could not be asked; the list would have a hole.
    """
    arrived: list[Arrival] = []
    news = asyncio.Event()

    def note(arrivals: list[Arrival]) -> None:
        arrived.extend(arrivals)
        news.set()

    connections: list[Connection] = []
    try:
        for address in addresses:
            connection = await connect(address, security=security, heartbeat=heartbeat)
            connections.append(connection)
            connection.on_arrival = note
            try:
                await subscribe(connection, topic, DEAD_CHANNEL)
            except Refused as error:
                raise BrokerForbidden(f"{error}: the dead letters can't be received") from error
            connection.send(b"%b %d\n" % (NSQCommands.RDY, min(MOST, connection.most_ready)))
        while True:
            news.clear()
            try:
                async with asyncio.timeout(_QUIET if len(arrived) >= expected else _PATIENCE):
                    await news.wait()
            except TimeoutError:
                break
        for connection in connections:
            if not connection.alive:
                raise BrokerUnavailable(f"nsqd at {connection.address}: the connection was lost")
        found = [
            Found(open_letter(body, identity, timestamp, str(connection.address)), connection, identity)
            for connection, identity, timestamp, _, body in arrived
        ]
        found.sort(key=lambda each: each.letter.died_at)
        yield found
    finally:
        await asyncio.gather(*(leave(connection) for connection in connections))

"""LISTEN: notifications of a database, on one connection of a worker, whatever it listens to."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from fastlane.errors import Unavailable
from fastlane.sql.settings import ConnectionSettings

if TYPE_CHECKING:
    from fastlane.sql.driver import Connection

__all__ = ["Listener", "Listening", "Notification"]

logger = logging.getLogger("fastlane.sql")

MOST_WAITING = 1000
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
PROBE_EVERY = 30.0
PROBE_TIMEOUT = 5.0


class Notification(Struct, frozen=True):
    """What NOTIFY sent, or that something may have been missed.

    Attributes:
        channel: that it came by.
        payload: its text.
        missed: the connection was lost and is there again, or you read too slowly: notifications may have been sent
            that will never come. The payload is empty. Look for yourself at what they would have told.
    """

    channel: str
    payload: str
    missed: bool = False


class Listener:
    """``async with db.listen("jobs") as notifications: async for notification in notifications: …``

    From the moment the block is entered nothing that is sent goes unnoticed: it comes, or a `Notification` with
    ``missed`` does. Up to 1,000 wait to be read.

    Raises (when it is entered):
        Unavailable: the server could not be reached in time.

    Attributes:
        channel: what it listens to.
        heard: set once the server knows that.
    """

    def __init__(self, listening: Listening, channel: str) -> None:
        self.channel = channel
        self._listening = listening
        self.heard = asyncio.Event()
        self._waiting: deque[Notification] = deque()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._listening.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._listening.remove(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification:
        while not self._waiting:
            if self._listening.closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def push(self, notification: Notification) -> None:
        """A notification has come."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            notification = Notification(self.channel, "", missed=True)
        self._waiting.append(notification)
        self._arrived.set()

    def wake(self) -> None:
        """So that it sees the end."""
        self._arrived.set()


class Listening:
    """All listeners of a database on one event loop, and their connection: opened for the first of them, closed with
    the last, opened again whenever it is lost.

    Args:
        name: of the database.
        settings: how to connect; around a pooler.
        timeout: seconds that a listener waits for the connection.
    """

    def __init__(self, name: str, settings: ConnectionSettings, timeout: float = 5.0) -> None:
        self.name = name
        self.closed = False
        self._settings = settings
        self._timeout = timeout
        self._listeners: dict[str, set[Listener]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._hears = False  # the server knows what is listened to

    async def add(self, listener: Listener) -> None:
        """From now on it is told."""
        if self.closed:
            raise Unavailable("the database is not available")
        self._listeners.setdefault(listener.channel, set()).add(listener)
        self._changed.set()
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        try:
            async with asyncio.timeout(self._timeout):
                await listener.heard.wait()
        except BaseException as error:
            await self.remove(listener)
            if isinstance(error, TimeoutError):
                raise Unavailable("the database is not available") from error
            raise

    async def remove(self, listener: Listener) -> None:
        """It is told nothing any more."""
        others = self._listeners.get(listener.channel, set())
        others.discard(listener)
        if not others:
            self._listeners.pop(listener.channel, None)
        self._changed.set()
        if not self._listeners:
            await self._end()

    async def close(self) -> None:
        """End every listener's iteration, and the connection."""
        self.closed = True
        for listener in self._everyone():
            listener.wake()
        await self._end()

    def _everyone(self) -> list[Listener]:
        return [listener for listeners in self._listeners.values() for listener in listeners]

    async def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper], timeout=PROBE_TIMEOUT)

    async def _keep(self) -> None:
        """Hold the connection, for as long as there are listeners."""
        from fastlane.sql.driver import connect

        failures = 0
        lost = False
        while True:
            connection = None
            self._hears = False
            try:
                connection = await connect(self._settings, direct=True)
                await self._listen(connection, missed=lost, again=failures > 0)
            except Exception as error:
                if failures == 0 or self._hears:
                    logger.warning(
                        "database %r: the connection that listens is lost: %s: %s; trying again every %.0f s at most",
                        self.name,
                        type(error).__name__,
                        error,
                        LONGEST_PAUSE,
                    )
                # Those that were heard on a connection have missed something; those of the first attempt have not.
                lost = lost or self._hears
                failures = 1 if self._hears else failures + 1
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE) * random.uniform(0.8, 1.0))

    async def _listen(self, connection: Connection, *, missed: bool, again: bool) -> None:
        """Keep the channels of a connection as they are wanted. Ends by an error: the connection is lost, or the server
        lets nobody listen, as a standby does."""
        heard: set[str] = set()
        connection.add_termination_listener(lambda _: self._changed.set())
        while True:
            self._changed.clear()
            for channel in set(self._listeners) - heard:
                await connection.add_listener(channel, self._notified)
                heard.add(channel)
            for channel in heard - set(self._listeners):
                await connection.remove_listener(channel, self._notified)
                heard.discard(channel)
            for listener in self._everyone():
                if missed and listener.heard.is_set():
                    listener.push(Notification(listener.channel, "", missed=True))
                listener.heard.set()
            missed = False
            if again and not self._hears:
                logger.info("database %r: listening again", self.name)
            self._hears = True
            try:
                async with asyncio.timeout(PROBE_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                pass  # nothing for a while: does it still live?
            async with asyncio.timeout(PROBE_TIMEOUT):
                await connection.execute("SELECT 1")

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        notification = Notification(channel, str(payload))
        for listener in self._listeners.get(channel, ()):
            listener.push(notification)

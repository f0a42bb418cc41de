"""Publishing to several nsqd: a connection to each, the next one when one fails.

A message may stand twice in NSQ when the connection broke between the command and its answer: it is published again,
with the same id of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ansq.tcp.exceptions import NSQBadBody, NSQBadMessage, NSQBadTopic, NSQInvalid, NSQUnauthorized
from ansq.tcp.types import NSQCommands

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.backoff import Backoff
from fastlane.pubsub.providers.nsq.connection import Connection, Lost, Refused
from fastlane.pubsub.providers.nsq.discovery import Directory
from fastlane.pubsub.providers.nsq.greeting import connect
from fastlane.pubsub.providers.nsq.names import check

__all__ = ["Pool"]

_log = logging.getLogger("fastlane.pubsub")

_PROVEN = 64 * 1024
"""Bytes of a message that any nsqd takes. A larger one goes alone, over a connection of its own, until one of its size
was taken: nsqd does not say what its ``--max-msg-size`` is, and closes a connection over which it was exceeded."""

_PROOFS = 4
"""Connections to an nsqd for such messages, at most."""

_PROBE = 0.02
"""Seconds in which nsqd can say no to the announced size, before the body is sent. It reads the size first; a
connection that is closed while much is still on its way is reset, and its last words may be lost."""

_BATCH = 1024 * 1024
"""Bytes of one MPUB. nsqd's ``--max-body-size`` is 5 MiB unless told otherwise."""

_TRIES = (False,) * 7 + (True,)
"""Whether it is the last one. A command that nsqd did not see, because another one's error closed the connection, is
sent again: each error is about another command, so a few are enough."""

_PUB = NSQCommands.PUB
_MPUB = NSQCommands.MPUB
_DPUB = NSQCommands.DPUB
_FOR_GOOD = (NSQBadMessage, NSQBadBody, NSQBadTopic, NSQInvalid, NSQUnauthorized)


class Pool:
    """Used on one event loop.

    Args:
        heartbeat: see `connect`.
    """

    def __init__(self, directory: Directory, security: Security, heartbeat: float) -> None:
        self._directory = directory
        self._security = security
        self._heartbeat = heartbeat
        self._nodes: dict[Address, _Node] = {}
        self._turn = 0
        self._looked = -1e9
        self._names: dict[str, bytes] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._only: list[_Node] | None = None
        self._add(directory.nsqd)

    def _add(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            if address not in self._nodes:
                self._nodes[address] = _Node(address, self._security, self._heartbeat)
        if self._directory.nsqd and len(self._nodes) == 1:
            self._only = list(self._nodes.values())

    def warm(self) -> None:
        """Begin to connect, in the background."""
        for node in self._nodes.values():
            node.revive()

    async def publish(self, topic: str, bodies: Sequence[bytes], delay: float = 0.0) -> Sequence[Exception | None]:
        """For each body None, when an nsqd has taken it, or why none did.

        Args:
            delay: seconds, the same for all.
        """
        outcomes: list[Exception | None] = [None] * len(bodies)
        single: list[int] = []
        batches: list[list[int]] = [[]]
        size = 0
        for index, body in enumerate(bodies):
            if delay > 0 or len(body) > _PROVEN or not body:
                single.append(index)
                continue
            if size + len(body) > _BATCH:
                batches.append([])
                size = 0
            batches[-1].append(index)
            size += len(body) + 4
        if not batches[0]:
            batches.clear()
        elif len(batches[-1]) == 1:
            single += batches.pop()

        async def alone(index: int) -> None:
            outcomes[index] = await self.publish_one(topic, bodies[index], delay)

        async def together(batch: list[int]) -> None:
            failure = await self._several(topic, [bodies[index] for index in batch])
            if isinstance(failure, PublishRefused):
                # One of them, or all together, were too much: nsqd has taken none.
                await asyncio.gather(*(alone(index) for index in batch))
            elif failure is not None:
                for index in batch:
                    outcomes[index] = failure

        work = [*(together(batch) for batch in batches), *(alone(index) for index in single)]
        if len(work) == 1:
            await work[0]
        elif work:
            await asyncio.gather(*work)
        return outcomes

    async def publish_one(self, topic: str, body: bytes, delay: float = 0.0) -> Exception | None:
        """As `publish`, a single body."""
        if not body:
            return PublishRefused(
                'NSQ takes no empty message\n    mend: send at least one byte, or use envelope = "fastlane"'
            )
        try:
            name = self._names.get(topic) or self._name(topic)
            size = len(body)
            if delay > 0:
                head = b"%b %b %d\n%b" % (_DPUB, name, max(1, round(delay * 1000)), size.to_bytes(4, "big"))
            else:
                head = b"%b %b\n%b" % (_PUB, name, size.to_bytes(4, "big"))
            await self._command(head, body, size)
        except (PublishRefused, BrokerUnavailable) as error:
            return error
        return None

    async def _several(self, topic: str, bodies: Sequence[bytes]) -> Exception | None:
        parts = [part for body in bodies for part in (len(body).to_bytes(4, "big"), body)]
        content = b"".join(parts)
        length, count = (len(content) + 4).to_bytes(4, "big"), len(bodies).to_bytes(4, "big")
        try:
            name = self._names.get(topic) or self._name(topic)
            await self._command(b"%b %b\n%b%b" % (_MPUB, name, length, count), content, 0)
        except (PublishRefused, BrokerUnavailable) as error:
            return error
        return None

    def _name(self, topic: str) -> bytes:
        try:
            name = self._names[topic] = check(topic, "the topic").encode()
        except ConfigurationError as error:
            raise PublishRefused(str(error)) from error
        return name

    async def _command(self, head: bytes, body: bytes, size: int) -> None:
        """To one nsqd, and the others after it. ``size`` of a single message; 0: several."""
        failure: BrokerUnavailable | None = None
        for node in self._only if self._only is not None and self._only[0].ready else await self._order():
            for last in _TRIES:
                try:
                    await node.publish(head, body, size)
                    return
                except Refused as error:
                    if isinstance(error.error, _FOR_GOOD):
                        raise PublishRefused(f"{error}{_mend(error)}") from error
                    failure = BrokerUnavailable(str(error))
                    break
                except Lost as error:
                    failure = error
                    if error.done or last:
                        break
                except BrokerUnavailable as error:
                    failure = error
                    break
        raise failure or BrokerUnavailable("there is no nsqd to publish to")

    async def _order(self) -> list[_Node]:
        """Those that are connected first, in turn."""
        if not self._directory.nsqd:
            await self._refresh()
        nodes = list(self._nodes.values())
        if len(nodes) <= 1:
            return nodes
        self._turn = (self._turn + 1) % len(nodes)
        nodes = nodes[self._turn :] + nodes[: self._turn]
        ready = [node for node in nodes if node.ready]
        rest = [node for node in nodes if not node.ready]
        if ready:
            for node in rest:
                node.revive()
        return ready + rest

    async def _refresh(self) -> None:
        """Ask nsqlookupd which nsqd there are, now and then; a publish waits for that only when it has none."""
        loop = asyncio.get_running_loop()
        if self._refreshing is None and (not self._nodes or loop.time() - self._looked > self._directory.interval):
            self._looked = loop.time()
            self._refreshing = loop.create_task(self._look())
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._refreshing is not None and not any(node.ready for node in self._nodes.values()):
            await asyncio.shield(self._refreshing)

    async def _look(self) -> None:
        try:
            found = await self._directory.all()
            self._add(found)
            for address in self._nodes.keys() - set(found):
                if not self._nodes[address].ready:
                    await self._nodes.pop(address).close()
        finally:
            self._refreshing = None

    async def close(self) -> None:
        """Free the connections; a publish that is in flight fails."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        await asyncio.gather(*(node.close() for node in self._nodes.values()))


def _mend(error: Refused) -> str:
    if isinstance(error.error, NSQUnauthorized):
        return "\n    mend: let the secret in `auth` publish to this topic"
    if "too big" in str(error.error):
        return "\n    mend: send less, or start nsqd with a larger --max-msg-size"
    if "TLS required" in str(error.error):
        return "\n    mend: set the provider's `tls`"
    if "out of range" in str(error.error):
        return "\n    mend: delay less, or start nsqd with a larger --max-req-timeout"
    return ""


class _Node:
    """One nsqd that is published to: one connection for all, and one for each message whose size is unproven."""

    def __init__(self, address: Address, security: Security, heartbeat: float) -> None:
        self.address = address
        self._security = security
        self._heartbeat = heartbeat
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._backoff = Backoff()
        self._not_before = 0.0
        self._failure: BrokerUnavailable | None = None
        self._proven = _PROVEN
        self._proving = asyncio.Semaphore(_PROOFS)
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def ready(self) -> bool:
        return self._connection is not None and self._connection.alive

    def revive(self) -> None:
        """Connect in the background, where there is no connection and the last attempt was long enough ago."""
        if not self.ready and self._connecting is None and not self._closed and self._loop.time() >= self._not_before:
            self._connecting = self._loop.create_task(self._connect())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def publish(self, head: bytes, body: bytes, size: int) -> None:
        connection = self._connection
        if connection is None or not connection.alive:
            connection = await self._connected()
        if size > self._proven:
            async with self._proving:
                if size > self._proven:
                    await self._prove(head, body, size)
                    return
        if not connection.writable.is_set():
            await connection.writable.wait()
        connection.send(head)
        try:
            await connection.ask(body)
        except Refused as error:
            if size and isinstance(error.error, NSQBadMessage):
                self._proven = min(self._proven, size - 1)
            raise

    async def _connected(self) -> Connection:
        if self._connecting is None:
            if self._failure is not None and self._loop.time() < self._not_before:
                raise BrokerUnavailable(str(self._failure))
            self.revive()
        if self._connecting is None:
            raise BrokerUnavailable(f"nsqd at {self.address}: closed")
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        try:
            connection = await connect(self.address, security=self._security, heartbeat=self._heartbeat)
        except BrokerUnavailable as error:
            self._not_before = self._loop.time() + self._backoff.delay()
            if self._failure is None:
                _log.warning("%s; trying again", error)
            self._failure = error
            raise
        else:
            if self._failure is not None:
                _log.warning("nsqd at %s: connected again", self.address)
            self._failure = None
            self._backoff.reset()
            self._connection = connection
            return connection
        finally:
            self._connecting = None

    async def _prove(self, head: bytes, body: bytes, size: int) -> None:
        connection = await connect(self.address, security=self._security, heartbeat=self._heartbeat)
        try:
            answer = connection.ask(head)
            await asyncio.wait([answer], timeout=_PROBE)
            connection.send(body)
            await answer
            self._proven = max(self._proven, size)
        finally:
            connection.abort("done")
            await asyncio.shield(connection.close())

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            await self._connection.close()

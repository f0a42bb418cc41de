"""NSQ: the protocol over a raw loop, and ansq."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import urllib.request
from collections import deque
from typing import Any

from bench.pubsub_bare.bare import TOGETHER, Bare
from bench.pubsub_work import MOST_CONCURRENT, Event, Handler, decode, encode

__all__ = ["Ansq", "Nsq"]


def create_channel(http: str, topic: str) -> None:
    for path in (f"topic/create?topic={topic}", f"channel/create?topic={topic}&channel=bench"):
        request = urllib.request.Request(f"http://{http}/{path}", method="POST")
        with urllib.request.urlopen(request, timeout=5):
            pass


class RawNsq(asyncio.Protocol):
    """The least that speaks NSQ's protocol: frames by struct, an answer for each command in order."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.rest = b""
        self.waiters: deque[asyncio.Future[bytes]] = deque()
        self.outgoing: list[bytes] = []
        self.handle: Handler | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"  V2")

    def data_received(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        position, end = 0, len(data)
        while end - position >= 8:
            size, kind = struct.unpack_from(">ii", data, position)
            stop = position + 4 + size
            if stop > end:
                break
            if kind == 2:
                self.loop.create_task(self.run(data[position + 18 : position + 34], data[position + 34 : stop]))
            elif data[position + 8 : stop] == b"_heartbeat_":
                self.write(b"NOP\n")
            elif kind == 0:
                self.waiters.popleft().set_result(data[position + 8 : stop])
            else:
                raise RuntimeError(data[position + 8 : stop])
            position = stop
        self.rest = data[position:]

    async def run(self, identity: bytes, body: bytes) -> None:
        assert self.handle is not None
        await self.handle(decode(body))
        self.write(b"FIN %b\n" % identity)

    def write(self, command: bytes) -> None:
        if not self.outgoing:
            self.loop.call_soon(self.flush)
        self.outgoing.append(command)

    def flush(self) -> None:
        self.transport.write(b"".join(self.outgoing))
        self.outgoing.clear()

    async def ask(self, command: bytes) -> bytes:
        waiter = self.loop.create_future()
        self.waiters.append(waiter)
        self.write(command)
        return await waiter


class Nsq(Bare):
    """By hand, with one task a message."""

    batches = TOGETHER

    async def open(self) -> None:
        tcp, self.http = self.address.split()
        await asyncio.to_thread(create_channel, self.http, self.name)
        self.host, _, self.port = tcp.partition(":")
        self.publisher = await self.connect()

    async def connect(self) -> RawNsq:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(RawNsq, self.host, int(self.port))
        return protocol

    async def publish(self, events: list[Event]) -> None:
        bodies = [encode(event) for event in events]
        if len(bodies) == 1:
            command = b"PUB %b\n%b%b" % (self.name.encode(), struct.pack(">i", len(bodies[0])), bodies[0])
        else:
            body = b"".join(struct.pack(">i", len(one)) + one for one in bodies)
            head = struct.pack(">ii", 4 + len(body), len(bodies))
            command = b"MPUB %b\n%b%b" % (self.name.encode(), head, body)
        await self.publisher.ask(command)

    async def consume(self, handle: Handler) -> None:
        self.consumer = await self.connect()
        self.consumer.handle = handle
        await self.consumer.ask(b"SUB %b bench\n" % self.name.encode())
        self.consumer.write(b"RDY %d\n" % MOST_CONCURRENT)

    async def close(self) -> None:
        self.publisher.transport.abort()
        self.consumer.transport.abort()
        await super().close()


class Ansq(Nsq):
    """The library. Its server is never killed under it: that freezes its event loop."""

    async def open(self) -> None:
        from ansq.tcp.connection import open_connection

        tcp, self.http = self.address.split()
        await asyncio.to_thread(create_channel, self.http, self.name)
        self.host, _, self.port = tcp.partition(":")
        self.writer = await open_connection(self.host, int(self.port))
        self.reader: Any = None

    async def publish(self, events: list[Event]) -> None:
        if len(events) == 1:
            await self.writer.pub(self.name, encode(events[0]))
        else:
            await self.writer.mpub(self.name, *[encode(event) for event in events])

    async def consume(self, handle: Handler) -> None:
        from ansq.tcp.connection import open_connection

        self.reader = await open_connection(self.host, int(self.port))
        await self.reader.subscribe(self.name, "bench", MOST_CONCURRENT)
        self.spawn(self.read(handle))

    async def read(self, handle: Handler) -> None:
        async def run(message: Any) -> None:
            await handle(decode(message.body))
            await message.fin()

        async for message in self.reader.messages():
            self.spawn(run(message))

    async def close(self) -> None:
        for connection in (self.writer, self.reader):
            with contextlib.suppress(Exception):
                await connection.close()
        await Bare.close(self)

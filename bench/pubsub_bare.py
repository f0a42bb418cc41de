"""The client libraries by themselves, as a careful user would write the same: batches, 100 handlers, acknowledgements.

No ids, attributes, leases, retries, dead letters or limits: the event as JSON, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import struct
import urllib.request
from collections import deque
from collections.abc import Coroutine
from typing import Any, ClassVar

from bench.pubsub_work import IN_FLIGHT, MOST_CONCURRENT, Event, Handler, Side, decode, encode

__all__ = ["SIDES"]


TOGETHER = (IN_FLIGHT,)
"""What fastlane makes of 64 that publish one message each, again and again: whom one answer wakes go together."""


class Bare(Side):
    """
    Args:
        name: of the topic.
        address: of the broker.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=2.0)


async def handle_all(handle: Handler, payloads: list[Any]) -> None:
    """Side by side, as handlers run that may wait for something."""
    await asyncio.gather(*(handle(decode(payload)) for payload in payloads))


class Sqlite(Bare):
    """A table, a transaction a batch. No doorbell: it works off what there is."""

    batches, streams = TOGETHER, False

    async def open(self) -> None:
        self.connection = sqlite3.connect(self.address, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(f'DROP TABLE IF EXISTS "{self.name}"')
        self.connection.execute(f'CREATE TABLE "{self.name}" (id INTEGER PRIMARY KEY, body BLOB NOT NULL)')

    async def publish(self, events: list[Event]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        rows = [(encode(event),) for event in events]
        self.connection.executemany(f'INSERT INTO "{self.name}" (body) VALUES (?)', rows)
        self.connection.execute("COMMIT")

    async def consume(self, handle: Handler) -> None:
        self.spawn(self.poll(handle))

    async def poll(self, handle: Handler) -> None:
        last = 0
        while True:
            query = f'SELECT id, body FROM "{self.name}" WHERE id > ? ORDER BY id LIMIT {MOST_CONCURRENT}'
            rows = self.connection.execute(query, (last,)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            await handle_all(handle, [body for _, body in rows])
            self.connection.execute(f'DELETE FROM "{self.name}" WHERE id <= ?', (last,))

    async def close(self) -> None:
        await super().close()
        self.connection.close()


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


class Aws(Bare):
    """aiobotocore: batches of ten, five polls side by side, batched deletes."""

    batches = (*(10,) * 6, 4)
    POLLS: ClassVar[int] = 5

    async def open(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self.stack = contextlib.AsyncExitStack()
        session = get_session()
        options = {
            "region_name": "eu-north-1",
            "endpoint_url": self.address,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": AioConfig(max_pool_connections=64, read_timeout=30, connect_timeout=5),
        }
        self.sns = await self.stack.enter_async_context(session.create_client("sns", **options))
        self.sqs = await self.stack.enter_async_context(session.create_client("sqs", **options))
        self.topic = (await self.sns.create_topic(Name=self.name))["TopicArn"]
        self.queue = (await self.sqs.create_queue(QueueName=self.name))["QueueUrl"]
        found = await self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        await self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=found["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )

    async def publish(self, events: list[Event]) -> None:
        bodies = [encode(event).decode() for event in events]
        if len(bodies) == 1:
            await self.sns.publish(TopicArn=self.topic, Message=bodies[0])
            return
        entries = [{"Id": str(number), "Message": body} for number, body in enumerate(bodies)]
        answer = await self.sns.publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)
        if answer.get("Failed"):
            raise RuntimeError(answer["Failed"])

    async def consume(self, handle: Handler) -> None:
        for _ in range(self.POLLS):
            self.spawn(self.poll(handle))

    async def poll(self, handle: Handler) -> None:
        while True:
            answer = await self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=20,
                VisibilityTimeout=30,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if messages:
                await handle_all(handle, [message["Body"] for message in messages])
                self.spawn(self.delete(messages))

    async def delete(self, messages: list[dict[str, Any]]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]} for number, one in enumerate(messages)]
        await self.sqs.delete_message_batch(QueueUrl=self.queue, Entries=entries)

    async def close(self) -> None:
        await super().close()
        await self.stack.aclose()


class Gcp(Bare):
    """gcloud-aio's thin clients: a pull of a hundred after the other, acknowledged beside the next one."""

    batches = TOGETHER

    async def open(self) -> None:
        import aiohttp
        from gcloud.aio.pubsub import PublisherClient, SubscriberClient

        self.session = aiohttp.ClientSession()
        options: dict[str, Any] = {"session": self.session, "api_root": f"{self.address}/v1"}
        # Where this is set, they ask nobody for a token.
        self.publisher = PublisherClient(**options)
        self.subscriber = SubscriberClient(**options)
        self.topic = f"projects/bench/topics/{self.name}"
        self.subscription = f"projects/bench/subscriptions/{self.name}"
        await self.publisher.create_topic(self.topic)
        await self.subscriber.create_subscription(self.subscription, self.topic)

    async def publish(self, events: list[Event]) -> None:
        from gcloud.aio.pubsub import PubsubMessage

        await self.publisher.publish(self.topic, [PubsubMessage(encode(event)) for event in events])

    async def consume(self, handle: Handler) -> None:
        self.spawn(self.pull(handle))

    async def pull(self, handle: Handler) -> None:
        while True:
            messages = await self.subscriber.pull(self.subscription, MOST_CONCURRENT, timeout=100)
            if messages:
                await handle_all(handle, [message.data for message in messages])
                self.spawn(self.subscriber.acknowledge(self.subscription, [message.ack_id for message in messages]))

    async def close(self) -> None:
        await super().close()
        await self.session.close()


class Postgres(Bare):
    """asyncpg: an INSERT of an array, a claim with SKIP LOCKED that is deleted once it was handled, NOTIFY."""

    batches = TOGETHER

    async def open(self) -> None:
        import asyncpg

        self.connections = [await asyncpg.connect(self.address) for _ in range(4)]
        self.free: asyncio.Queue[Any] = asyncio.Queue()
        for connection in self.connections[:2]:
            self.free.put_nowait(connection)
        await self.connections[0].execute(
            f'CREATE TABLE "{self.name}" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL, '
            "until timestamptz NOT NULL DEFAULT now())"
        )
        self.rung = asyncio.Event()

    async def publish(self, events: list[Event]) -> None:
        connection = await self.free.get()
        try:
            await connection.execute(
                f'WITH new AS (INSERT INTO "{self.name}" (body) SELECT unnest($1::bytea[]) RETURNING id) '
                f"SELECT pg_notify('{self.name}', '') FROM new LIMIT 1",
                [encode(event) for event in events],
            )
        finally:
            self.free.put_nowait(connection)

    async def consume(self, handle: Handler) -> None:
        await self.connections[3].add_listener(self.name, lambda *_: self.rung.set())
        self.spawn(self.poll(handle))

    async def poll(self, handle: Handler) -> None:
        claiming = self.connections[2]
        claim = (
            f'UPDATE "{self.name}" SET until = now() + interval \'30 s\' WHERE id IN (SELECT id FROM "{self.name}" '
            f"WHERE until <= now() ORDER BY id LIMIT {MOST_CONCURRENT} FOR UPDATE SKIP LOCKED) RETURNING id, body"
        )
        while True:
            self.rung.clear()
            rows = await claiming.fetch(claim)
            if rows:
                await handle_all(handle, [row["body"] for row in rows])
                ids = [row["id"] for row in rows]
                await claiming.execute(f'DELETE FROM "{self.name}" WHERE id = ANY($1::bigint[])', ids)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):
                        await self.rung.wait()

    async def close(self) -> None:
        await super().close()
        for connection in self.connections:
            connection.terminate()


SIDES: dict[str, type[Bare]] = {
    "sqlite3": Sqlite,
    "raw": Nsq,
    "ansq": Ansq,
    "aiobotocore": Aws,
    "gcloud-aio": Gcp,
    "asyncpg": Postgres,
}

assert all(sum(side.batches) == IN_FLIGHT for side in SIDES.values())

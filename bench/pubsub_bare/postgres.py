"""PostgreSQL by asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from bench.pubsub_bare.bare import TOGETHER, Bare, handle_all
from bench.pubsub_work import MOST_CONCURRENT, Event, Handler, encode

__all__ = ["Postgres"]


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

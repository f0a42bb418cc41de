"""SQLite from the standard library."""

from __future__ import annotations

import sqlite3

from bench.pubsub_bare.bare import TOGETHER, Bare, handle_all
from bench.pubsub_work import MOST_CONCURRENT, Event, Handler, encode

__all__ = ["Sqlite"]


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

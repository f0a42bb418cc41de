"""Typed rows beside bare Records, in one process: ``fetch_all(Post, …)`` of 100 rows, and ``fetch(…)`` of asyncpg.

The Records are not encoded, nor looked into, and come from a connection, without asyncpg's pool. jsonb is decoded on
both sides: here into a Struct, there into a dict, by the codec that asyncpg's documentation gives. CPU of this process
alone, the ways in turn; a repeat of each lasts about 50 ms.

That is the least there is. What a handler has to do to get the same values is measured beside it: a list of Structs of
the Records, from that connection and from asyncpg's pool.

Twice: rows of seven columns, among them a time, a decimal, an array and a uuid; and rows of two integers and two texts,
where making the value (0.1 µs) is the largest part of a row.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import uvloop
from msgspec import Struct, convert, json

from bench.apps.sql.queries import MANY
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings

__all__ = ["SEVEN", "SEVEN_SCHEMA", "typed_rows"]

ROWS = 100

SEVEN = "SELECT id, title, made_at, price, tags, place, token FROM articles ORDER BY id LIMIT $1"
SEVEN_SCHEMA = """
CREATE TABLE articles (
    id integer PRIMARY KEY, title text NOT NULL, made_at timestamptz NOT NULL, price numeric(10, 2) NOT NULL,
    tags text[] NOT NULL, place jsonb NOT NULL, token uuid NOT NULL
);
INSERT INTO articles
SELECT n, 'article ' || n, now() - n * interval '1 minute', n + 0.25, '{garden,sale}', '{"shelf": 3, "row": 12}',
       gen_random_uuid()
FROM generate_series(1, 200) AS n;
ANALYZE articles;
"""


class Place(Struct):
    shelf: int
    row: int


class Article(Struct):
    id: int
    title: str
    made_at: datetime
    price: Decimal
    tags: list[str]
    place: Place
    token: UUID


Fetch = Callable[[], Awaitable[object]]


async def cpu_of(fetch: Fetch, number: int) -> float:
    """Microseconds of CPU of one fetch."""
    before = time.process_time()
    for _ in range(number):
        await fetch()
    return (time.process_time() - before) / number * 1e6


async def medians_of(ways: dict[str, Fetch], repeats: int) -> dict[str, float]:
    for fetch in ways.values():
        await cpu_of(fetch, 200)
    number = max(20, round(0.05e6 / await cpu_of(ways["records"], 200)))
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        # Nobody always goes first.
        for name in ways if repeat % 2 else reversed(ways):
            found[name].append(await cpu_of(ways[name], number))
    return {name: statistics.median(values) for name, values in found.items()}


async def decode_jsonb(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + json.encode(value),
        decoder=lambda data: json.decode(data[1:]),
    )


async def by_hand(fetch: Callable[..., Awaitable[Any]], make: Callable[[Any], object], query: str) -> object:
    return make(await fetch(query, ROWS))


async def measure(url: str, repeats: int) -> dict[str, float]:
    import asyncpg

    from bench.apps.sql.fastlane_app import db
    from bench.apps.sql.structs import Post
    from fastlane.sql.service import SqlService

    document = {"sql": {"databases": {db.name: {"url": url, "pool": {"min": 1, "max": 1}}}}}
    service = SqlService(convert(document, ResourceConfiguration), Surroundings(mode="serve"))
    await service.open()
    connection: Any = await asyncpg.connect(url)
    await decode_jsonb(connection)
    pool: Any = await asyncpg.create_pool(url, min_size=1, max_size=1, init=decode_jsonb)
    figures: dict[str, float] = {}
    made: dict[type, Callable[[Any], object]] = {
        Post: lambda rows: [Post(*row) for row in rows],
        Article: lambda rows: [
            Article(number, title, made_at, price, tags, convert(place, Place), token)
            for number, title, made_at, price, tags, place, token in rows
        ],
    }
    try:
        for key, into, query in (("seven", Article, SEVEN), ("plain", Post, MANY)):
            ways: dict[str, Fetch] = {
                "typed": lambda into=into, query=query: db.fetch_all(into, query, ROWS),  # type: ignore[misc]
                "records": lambda query=query: connection.fetch(query, ROWS),  # type: ignore[misc]
                "by_hand": partial(by_hand, connection.fetch, made[into], query),
                "pooled": partial(by_hand, pool.fetch, made[into], query),
            }
            found = await medians_of(ways, repeats)
            figures |= {f"{key}_{name}_us": value for name, value in found.items()}
            figures[f"typed_{key}"] = found["typed"] / found["records"]
    finally:
        await connection.close()
        await pool.close()
        await service.close()
    return figures


def typed_rows(url: str, repeats: int = 30) -> dict[str, float]:
    """The ratios ``typed_seven`` and ``typed_plain``, and what they are of, in µs of CPU for 100 rows."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(url, repeats))

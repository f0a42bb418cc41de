"""The query methods as a type checker sees them: pyright (strict) and mypy read what pytest runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict, assert_type
from uuid import UUID

from msgspec import Struct

from fastlane.sql import Notification, Transaction
from tests.sql.opened import opened


class Post(Struct):
    id: int


@dataclass
class Data:
    id: int


class Typed(TypedDict):
    id: int


class Named(NamedTuple):
    id: int


class Mood(Enum):
    SAD = "sad"


QUERY = "SELECT 1 AS id"


async def add(tx: Transaction, number: int, name: str) -> Post:
    return await tx.fetch_one(Post, "SELECT $1::int AS id, $2::text AS name", number, name)


def test_results_have_the_type_that_was_asked_for(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            assert_type(await db.fetch_one(Post, QUERY), Post)
            assert_type(await db.fetch_one(Post, QUERY, validate=True), Post)
            assert_type(await db.fetch_optional(Data, QUERY), Data | None)
            assert_type(await db.fetch_all(Typed, QUERY), list[Typed])
            assert_type(await db.fetch_all(Named, QUERY), list[Named])
            assert_type(await db.fetch_value(int, QUERY), int)
            assert_type(await db.fetch_value(UUID, "SELECT gen_random_uuid()"), UUID)
            assert_type(await db.fetch_value(Mood, "SELECT 'sad'"), Mood)
            assert_type(await db.fetch_one(dict, QUERY), dict[str, Any])
            assert_type(await db.fetch_optional(dict, QUERY), dict[str, Any] | None)
            assert_type(await db.fetch_all(dict, QUERY), list[dict[str, Any]])
            assert_type(await db.fetch_one(tuple[int, str], "SELECT 1, 'x'"), tuple[int, str])
            assert_type(await db.fetch_value(list[int], "SELECT '{1}'::int[]"), list[int])
            assert_type(await db.fetch_value(dict[str, int], "SELECT '{}'::jsonb"), dict[str, int])
            # What is no class has no type that can be inferred yet (PEP 747), and is not refused.
            assert await db.fetch_all(int | None, "SELECT NULL::int") == [None]
            assert await db.fetch_one(Literal["a", "b"], "SELECT 'a'") == "a"
            async for post in db.stream(Post, QUERY):
                assert_type(post, Post)
            assert_type(await db.execute(QUERY), int)

    asyncio.run(main())


def test_transactions_and_notifications_have_their_types(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            async with db.transaction(isolation="serializable", readonly=True) as tx:
                assert_type(tx, Transaction)
                async with tx.transaction() as inner:
                    assert_type(inner, Transaction)
            assert_type(await db.transact(add, 1, "x"), Post)
            assert_type(await db.transact(add, 1, "x", isolation="repeatable read", max_attempts=None), Post)
            async with db.listen("news") as notifications:
                await db.execute("NOTIFY news")
                assert_type(await anext(notifications), Notification)
            assert_type(db.dsn, str)

    asyncio.run(main())

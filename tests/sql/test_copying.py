from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import attrs
import pytest
from asyncpg import UniqueViolationError
from msgspec import Struct

from fastlane.sql import ArgumentMismatch
from tests.sql.opened import opened

TABLE = "CREATE SCHEMA shop; CREATE TABLE shop.items (id int PRIMARY KEY, name text, data jsonb)"


class Kind(enum.Enum):
    BOOK = "book"


class Item(Struct):
    id: int
    name: str | Kind
    data: dict[str, int]


def test_rows_are_sequences_or_structures_of_any_kind(url: str) -> None:
    @dataclasses.dataclass
    class Data:
        id: int
        name: str

    class Named(NamedTuple):
        id: int
        name: str

    @attrs.define
    class Defined:
        id: int

    async def main() -> None:
        async with opened(url) as db:
            await db.execute(TABLE)
            sources: list[tuple[list[Any], list[str] | None]] = [
                ([(1, "a", {"a": 1}), [2, "b", None]], None),
                ([(3, "c"), (4, None)], ["id", "name"]),
                ([Item(5, Kind.BOOK, {"b": 2})], None),
                ([Item(6, "f", {})], ["name", "id"]),
                ([Data(7, "g")], None),
                ([Named(8, "h")], None),
                ([Defined(9)], None),
                ([{"id": 10, "name": "j"}], None),
                ([], None),
            ]
            assert [await db.copy("shop.items", rows, columns=columns) for rows, columns in sources] == [
                2, 2, 1, 1, 1, 1, 1, 1, 0,
            ]  # fmt: skip
            names = await db.fetch_all(str | None, "SELECT name FROM shop.items ORDER BY id")
            assert names == ["a", "b", "c", None, "book", "f", "g", "h", None, "j"]
            assert await db.fetch_value(dict[str, int], "SELECT data FROM shop.items WHERE id = 5") == {"b": 2}

    asyncio.run(main())


def test_rows_may_come_from_an_async_generator(url: str) -> None:
    async def rows(count: int) -> AsyncIterator[Item]:
        for number in range(count):
            yield Item(number, "x", {})

    async def main() -> None:
        async with opened(url) as db:
            await db.execute(TABLE)
            assert await db.copy("shop.items", rows(0)) == 0
            async with db.transaction() as tx:
                assert await tx.copy("shop.items", rows(1000)) == 1000

    asyncio.run(main())


def test_a_copy_is_all_or_nothing(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            with pytest.raises(UniqueViolationError):
                await db.copy("shop.items", [(1, "a"), (1, "again")], columns=["id", "name"])
            with pytest.raises(TypeError, match="a row is a sequence of values or a structure, not int"):
                await db.copy("shop.items", [1])
            assert await db.fetch_value(int, "SELECT count(*) FROM shop.items") == 0

    asyncio.run(main())


def test_members_of_enumerations_are_copied_as_their_values_also_in_arrays(url: str) -> None:
    class Mood(enum.Enum):
        HAPPY = "happy"

    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute("CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE moods (one mood, many mood[])")
            row = {"one": Mood.HAPPY, "many": [Mood.HAPPY, None]}
            assert await db.copy("moods", [row, {"one": None, "many": []}]) == 2
            assert await db.copy("moods", [([Mood.HAPPY],)], columns=["many"]) == 1
            many = await db.fetch_all(list[Mood | None], "SELECT many FROM moods")
            assert many == [[Mood.HAPPY, None], [], [Mood.HAPPY]]

    asyncio.run(main())


def refused_both_ways(url: str, rows: Sequence[object], columns: Sequence[str] | None, problem: str) -> None:
    """As a list and one by one, and nothing of it is copied."""

    async def one_by_one() -> AsyncIterator[object]:
        for row in rows:
            yield row

    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            for given in (rows, one_by_one()):
                with pytest.raises(ArgumentMismatch, match=problem):
                    await db.copy("shop.items", given, columns=columns)
            assert await db.fetch_value(int, "SELECT count(*) FROM shop.items") == 0

    asyncio.run(main())


@pytest.mark.parametrize("last", [{"id": 2}, {}, (2, "b"), 5, None])
def test_a_row_that_is_unlike_the_first_is_told_with_its_number(url: str, last: object) -> None:
    rows = [{"id": 1, "name": "a"}, last]
    refused_both_ways(url, rows, None, r"row 2 does not fit the columns: it is a \w+ unlike")


def test_rows_are_copied_as_what_the_columns_are_now(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute("CREATE TABLE measured (value bigint)")
            assert await db.copy("measured", [(1,)]) == 1
            for kind in ("float8", "int", "numeric"):
                await db.execute(f"ALTER TABLE measured ALTER value TYPE {kind}")
                assert await db.copy("measured", [(1,)]) == 1
            assert await db.fetch_all(int, "SELECT value::int FROM measured WHERE value = 1") == [1, 1, 1, 1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("last", "columns", "problem"),
    [
        (("x", "a"), ["id", "name"], r"row 3, of the types \(str, str\), .*: 'str' object cannot be interpreted"),
        ((2**40, "a"), ["id", "name"], r"row 3, of the types \(int, str\), .*: value out of int32 range"),
        ((2,), ["id", "name"], "row 3, .*: expected 2 values, got 1"),
        ((2, "a", {}, 4), ["id", "name"], "row 3, .*: expected 2 values, got 4"),
        ((2, "a"), None, "row 1, .*: there are more columns than values"),
    ],
)
def test_a_row_that_does_not_fit_is_told_with_its_number(
    url: str, last: tuple[object, ...], columns: list[str] | None, problem: str
) -> None:
    rows = [(1, "a"), (2, "b"), last]
    refused_both_ways(url, rows, columns, f"(?s){problem}.*COPY shop.items.*mend: give values")


def test_what_the_source_of_the_rows_raises_arrives_as_it_is(url: str) -> None:
    def rows() -> Iterator[object]:
        yield (1, "a")
        raise ValueError("of the user")

    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            with pytest.raises(ValueError, match=r"^of the user$"):
                await db.copy("shop.items", rows(), columns=["id", "name"])
            assert await db.fetch_value(int, "SELECT count(*) FROM shop.items") == 0

    asyncio.run(main())

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import traceback
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import attrs
import msgspec
import pytest
from asyncpg import NotNullViolationError, OutdatedSchemaCacheError, UndefinedColumnError, UniqueViolationError
from msgspec import Meta, Struct

from fastlane.sql import ArgumentMismatch, NoRow, RowMismatch, StrayTransaction, UnexpectedNull
from tests.sql.opened import opened


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


class Level(enum.IntEnum):
    LOW = 1


class Author(Struct):
    name: str


class Post(Struct):
    id: int
    title: Annotated[str, Meta(min_length=2)]
    likes: int = 0


class Point(Struct, rename={"horizontal": "h"}):
    horizontal: int
    data: Author


class Place(Struct):
    point: Point


class Spot(Struct):
    horizontal: int
    data: Author


class Path(Struct):
    title: str
    spots: list[Spot | None]


POSTS = """
CREATE TABLE posts (id int PRIMARY KEY, title text, likes int, secret text);
INSERT INTO posts SELECT number, 'post ' || number, number * 10, 'x' FROM generate_series(1, 3) number;
"""


def test_a_row_becomes_a_struct_whatever_the_order_of_its_columns_and_whatever_else_it_has(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            post = Post(2, "post 2", 20)
            assert await db.fetch_one(Post, "SELECT id, title, likes FROM posts WHERE id = $1", 2) == post
            assert await db.fetch_one(Post, "SELECT likes, secret, title, id FROM posts WHERE id = $1", 2) == post
            assert await db.fetch_one(Post, "SELECT * FROM posts WHERE id = $1", 2) == post
            assert await db.fetch_all(Post, "SELECT title, id FROM posts ORDER BY id LIMIT 2") == [
                Post(1, "post 1"),
                Post(2, "post 2"),
            ]

    asyncio.run(main())


def test_a_row_becomes_any_kind_of_structure(url: str) -> None:
    @dataclasses.dataclass
    class Data:
        title: str
        id: int
        more: list[str] = dataclasses.field(default_factory=list)
        derived: str = dataclasses.field(init=False, default="made")
        last: int = dataclasses.field(default=7, kw_only=True)

    class Typed(TypedDict):
        id: int
        title: str

    class Named(NamedTuple):
        id: int
        title: str
        likes: int = 3

    @attrs.define
    class Defined:
        id: int
        _title: str
        likes: int = 4

    class Renamed(Struct, rename="camel", kw_only=True):
        post_id: int
        the_title: str

    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            query = "SELECT id, title FROM posts WHERE id = 1"
            assert await db.fetch_one(Data, query) == Data("post 1", 1)
            assert await db.fetch_one(Typed, query) == {"id": 1, "title": "post 1"}
            assert await db.fetch_one(Named, query) == Named(1, "post 1")
            assert await db.fetch_one(dict, query) == {"id": 1, "title": "post 1"}
            assert await db.fetch_one(tuple[int, str], query) == (1, "post 1")
            assert await db.fetch_one(dict[str, int], "SELECT 1 AS a, 2 AS b") == {"a": 1, "b": 2}
            assert await db.fetch_one(Renamed, 'SELECT 1 AS "postId", 2::text AS the_title') == Renamed(
                post_id=1, the_title="2"
            )
            assert await db.fetch_one(Defined, 'SELECT id, title AS "_title" FROM posts WHERE id = 1') == Defined(
                1, "post 1"
            )

    asyncio.run(main())


UserId = NewType("UserId", int)
NOON = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
SCALARS: Sequence[tuple[Any, str, Any]] = [
    (int, "1", 1),
    (UserId, "1", 1),
    (Annotated[int, Meta(ge=0)], "1", 1),
    (float, "1.5::float8", 1.5),
    (float, "1", 1.0),
    (float, "1.5::numeric", 1.5),
    (str, "'a'::varchar", "a"),
    (bool, "true", True),
    (bytes, r"'\x00ff'::bytea", b"\x00\xff"),
    (decimal.Decimal, "1.50::numeric", decimal.Decimal("1.50")),
    (decimal.Decimal, "'1.5'::text", decimal.Decimal("1.5")),
    (uuid.UUID, "'00000000-0000-0000-0000-000000000001'::uuid", uuid.UUID(int=1)),
    (uuid.UUID, "'00000000-0000-0000-0000-000000000001'::text", uuid.UUID(int=1)),
    (str, "'00000000-0000-0000-0000-000000000001'::uuid", str(uuid.UUID(int=1))),
    (datetime.datetime, "'2026-11-25 12:00Z'::timestamptz", NOON),
    (datetime.date, "'2026-11-25'::date", datetime.date(2026, 11, 25)),
    (datetime.time, "'12:30'::time", datetime.time(12, 30)),
    (datetime.timedelta, "'1 day 1 second'::interval", datetime.timedelta(days=1, seconds=1)),
    (Mood, "'sad'::text", Mood.SAD),
    (Mood, "'sad'::mood", Mood.SAD),
    (str, "'sad'::mood", "sad"),
    (Level, "1", Level.LOW),
    (Literal["a", "b"], "'a'::text", "a"),
    (int | None, "NULL::int", None),
    (int | str, "1", 1),
    (Any, "1", 1),
    (object, "NULL::int", None),
    (list[int], "'{1,2}'::int[]", [1, 2]),
    (list[int | None], "'{1,NULL}'::int[]", [1, None]),
    (list[list[int]], "'{{1},{2}}'::int[]", [[1], [2]]),
    (set[str], "'{a,b,a}'::text[]", {"a", "b"}),
    (frozenset[str], "'{a}'::text[]", frozenset("a")),
    (tuple[str, ...], "'{a,b}'::text[]", ("a", "b")),
    (Sequence[Mood], "'{sad}'::text[]", [Mood.SAD]),
    (list[Mood], "'{sad}'::mood[]", [Mood.SAD]),
    (list[uuid.UUID], "ARRAY['00000000-0000-0000-0000-000000000001'::uuid]", [uuid.UUID(int=1)]),
    (Any, "'{1,2}'::int[]", [1, 2]),
    (list[Author], """ARRAY['{"name": "Astrid"}'::jsonb]""", [Author("Astrid")]),
    (Any, """ARRAY['{"a": 1}'::jsonb]""", [{"a": 1}]),
    (Author, """'{"name": "Astrid"}'::json""", None),  # a structure is matched to columns: see fetch_value
    (ipaddress.IPv4Address, "'10.0.0.1'::inet", ipaddress.IPv4Address("10.0.0.1")),
    (ipaddress.IPv4Network, "'10.0.0.0/8'::cidr", ipaddress.IPv4Network("10.0.0.0/8")),
    (str, "'10.0.0.1'::inet", "10.0.0.1"),
    (str, "'a'::shout", "a"),
]


@pytest.mark.parametrize(("into", "expression", "expected"), SCALARS, ids=lambda value: str(value)[:40])
def test_a_column_becomes_what_is_asked_for(url: str, into: Any, expression: str, expected: Any) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute("CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE DOMAIN shout AS text")
            if into is Author:
                assert await db.fetch_value(into, f"SELECT {expression}") == Author("Astrid")
                return
            value = await db.fetch_one(into, f"SELECT {expression}")
            assert value == expected
            assert type(value) in (type(expected), type(uuid.uuid4())) or isinstance(expected, uuid.UUID)

    asyncio.run(main())


def test_json_is_read_into_the_type_of_its_field_and_written_from_any_value(url: str) -> None:
    class Article(Struct):
        author: Author
        extra: dict[str, Any] | None = None

    async def main() -> None:
        async with opened(url) as db:
            await db.execute("CREATE TABLE articles (author jsonb, extra json)")
            insert = "INSERT INTO articles VALUES ($1, $2) RETURNING *"
            assert await db.fetch_one(Article, insert, Author("Åsa"), {"a": [1]}) == Article(Author("Åsa"), {"a": [1]})
            assert await db.fetch_one(dict, insert, "text", None) == {"author": "text", "extra": None}
            assert await db.fetch_value(Author, insert, msgspec.Raw(b'{"name":"raw"}'), None) == Author("raw")
            with pytest.raises(RowMismatch, match=r"column 'author' \(jsonb\) .*Article.author .*Expected `object`"):
                await db.fetch_one(Article, insert, 1, None)

    asyncio.run(main())


def test_a_composite_value_becomes_a_structure(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute("CREATE TYPE point2 AS (horizontal int, data jsonb)")
            query = """SELECT (4, '{"name": "x"}')::point2 AS point"""
            assert await db.fetch_one(Place, query) == Place(Point(4, Author("x")))

    asyncio.run(main())


def test_composite_values_in_arrays_and_in_one_another_become_structures_with_their_json(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute("CREATE TYPE point2 AS (horizontal int, data jsonb)")
            await db.execute("CREATE TYPE way AS (title text, spots point2[])")
            point = """(4, '{"name": "x"}')::point2"""
            assert await db.fetch_all(list[Point], f"SELECT ARRAY[{point}]") == [[Point(4, Author("x"))]]
            way = Path("a", [Spot(4, Author("x")), None])
            assert await db.fetch_value(Path, f"SELECT ('a', ARRAY[{point}, NULL])::way") == way
            assert await db.fetch_all(list[Path], f"SELECT ARRAY[('a', ARRAY[{point}, NULL])::way]") == [[way]]

    asyncio.run(main())


def test_what_does_not_fit_is_told_before_the_first_row_with_column_type_and_query(url: str) -> None:
    mistakes = {
        "SELECT 1 AS id": r"Post.title \(.*\) has no column: the query gives id, in the query:\n    SELECT 1 AS id\n"
        r"    mend: select title, or give the field a default",
        "SELECT 'x' AS id, 'y' AS title": r"column 'id' is text, but Post.id is int.*mend: cast it .*`id::bigint`",
        "SELECT 1 AS id, 2 AS title": r"column 'title' is int4, but Post.title is .*str.*`title::text`",
        "SELECT 1 AS id, 2 AS id, 'x' AS title": "two columns are called 'id'.*AS",
        "SELECT sum(1) AS id, 'x' AS title, sum(2::bigint) AS likes": "'likes' is numeric, but Post.likes is int",
        "CREATE TABLE nothing ()": "the statement gives no columns.*RETURNING",
    }

    async def main() -> None:
        async with opened(url) as db:
            for query, message in mistakes.items():
                with pytest.raises(RowMismatch, match=f"(?s){message}"):
                    await db.fetch_all(Post, query)
            for into, expression in ((str, "'{a}'::text[]"), (uuid.UUID, "'10.0.0.1'::inet"), (Author, "1::int")):
                with pytest.raises(RowMismatch, match=r"mend: .*make the field"):
                    await db.fetch_value(into, f"SELECT {expression}")
            with pytest.raises(RowMismatch, match="takes 2 columns, the query gives 1"):
                await db.fetch_one(tuple[int, int], "SELECT 1")
            with pytest.raises(TypeError, match="rows are read into a type"):
                await db.fetch_one(5, "SELECT 1")
            assert len(db.binding.pool.free) == 1

    asyncio.run(main())


def test_null_in_a_field_that_is_not_optional_is_told_with_column_and_query(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            query = "SELECT id, nullif(title, 'post 2') AS title FROM posts ORDER BY id"
            with pytest.raises(UnexpectedNull, match=r"(?s)column 'title' is NULL, but Post.title is .*nullif"):
                await db.fetch_all(Post, query)
            with pytest.raises(UnexpectedNull):
                await db.fetch_value(int, "SELECT NULL::int")
            with pytest.raises(RowMismatch, match="an element is NULL"):
                await db.fetch_value(list[int], "SELECT '{NULL}'::int[]")
            with pytest.raises(RowMismatch, match="Invalid enum value 'angry'"):
                await db.fetch_value(Mood, "SELECT 'angry'::text")

    asyncio.run(main())


def test_what_a_types_own_code_raises_comes_through(url: str) -> None:
    class Picky(Struct):
        id: int

        def __post_init__(self) -> None:
            raise ValueError("I am picky")

    async def main() -> None:
        async with opened(url) as db:
            with pytest.raises(ValueError, match="I am picky"):
                await db.fetch_one(Picky, "SELECT 1 AS id")

    asyncio.run(main())


def test_constraints_are_checked_where_validation_is_asked_for(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            query = "SELECT 1 AS id, 'x' AS title"
            assert await db.fetch_one(Post, query) == Post(1, "x")
            for fetch in (db.fetch_one, db.fetch_optional, db.fetch_all):
                with pytest.raises(RowMismatch, match="no valid Post: Expected `str` of length >= 2"):
                    await fetch(Post, query, validate=True)
            assert await db.fetch_all(Post, "SELECT 1 AS id, 'xx' AS title", validate=True) == [Post(1, "xx")]
            with pytest.raises(RowMismatch):
                await anext(db.stream(Post, query, validate=True))

    asyncio.run(main())


def test_no_row_is_an_error_none_or_an_empty_list(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            query = "SELECT id, title FROM posts WHERE id = $1"
            with pytest.raises(NoRow, match="WHERE id") as raised:
                await db.fetch_one(Post, query, 99)
            assert raised.value.query == query
            assert isinstance(raised.value, LookupError)
            with pytest.raises(NoRow):
                await db.fetch_value(int, query, 99)
            assert await db.fetch_optional(Post, query, 99) is None
            assert await db.fetch_optional(Post, query, 1) == Post(1, "post 1")
            assert await db.fetch_optional(int, "SELECT max(id) FROM posts WHERE false") is None
            assert await db.fetch_all(Post, query, 99) == []

    asyncio.run(main())


def test_execute_answers_how_many_rows_it_touched(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            assert await db.execute("CREATE TABLE numbers (number int)") == 0
            assert await db.execute("INSERT INTO numbers SELECT generate_series(1, $1::int)", 5) == 5
            assert await db.execute("UPDATE numbers SET number = 0 WHERE number > 3") == 2
            assert await db.execute("DELETE FROM numbers; INSERT INTO numbers VALUES (1)") == 1
            assert await db.execute("-- nothing") == 0

    asyncio.run(main())


def test_execute_many_does_all_or_nothing(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            insert = "INSERT INTO posts (id, title) VALUES ($1, $2)"
            await db.execute_many(insert, [(10, "a"), (11, "b")])
            assert await db.fetch_value(int, "SELECT count(*) FROM posts") == 5
            with pytest.raises(UniqueViolationError):
                await db.execute_many(insert, [(12, "c"), (10, "again")])
            with pytest.raises(ArgumentMismatch, match=r"\$1 in element #1"):
                await db.execute_many(insert, [(13, "d"), ("x", "e")])
            assert await db.fetch_value(int, "SELECT count(*) FROM posts") == 5

    asyncio.run(main())


def test_wrong_arguments_are_told_with_what_the_query_takes(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            with pytest.raises(ArgumentMismatch, match=r"(?s)\$1.*'five'.*SELECT \$1::int.*takes \$1 int4, \$2 text"):
                await db.fetch_one(int, "SELECT $1::int, $2::text", "five", "x")
            with pytest.raises(ArgumentMismatch, match="expects 1 argument for this query, 2 were passed"):
                await db.fetch_one(int, "SELECT $1::int", 1, 2)
            with pytest.raises(ArgumentMismatch):
                await db.execute("SELECT $1::int", "x")
            with pytest.raises(ArgumentMismatch):
                async with db.transaction() as tx:
                    await tx.fetch_one(int, "SELECT $1::int", "x")
            assert len(db.binding.pool.free) == 1

    asyncio.run(main())


def test_of_a_row_with_long_values_that_a_constraint_refuses_no_part_is_shown(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute("CREATE TABLE keys (id int NOT NULL, key text)")
            insert = "INSERT INTO keys (key) VALUES ($1)"
            with pytest.raises(NotNullViolationError, match=r"Failing row contains \(null, short\)"):
                await db.execute(insert, "short")
            with pytest.raises(NotNullViolationError, match=r"Failing row contains \(…\)") as raised:
                await db.execute(insert, "k" * 200)
            assert "kkk" not in "".join(traceback.format_exception(raised.value))

    asyncio.run(main())


@pytest.mark.parametrize("value", ["k" * 200, 'it\'s "k" (k... (' + "k" * 200, "\n" + "k" * 200])
def test_of_a_long_argument_that_does_not_fit_no_part_is_shown(url: str, value: str) -> None:
    """A part of a secret is no secret to redaction."""

    async def main() -> None:
        async with opened(url) as db:
            for ask in (
                lambda: db.fetch_value(int, "SELECT $1::int", value),
                lambda: db.execute_many("SELECT $1::int", [(1,), (value,)]),
            ):
                with pytest.raises(ArgumentMismatch, match=r"query argument \$1.*: … \('str' object") as raised:
                    await ask()
                assert "kkk" not in "".join(traceback.format_exception(raised.value))

    asyncio.run(main())


def test_members_of_enumerations_are_passed_as_their_values(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            assert await db.fetch_one(str, "SELECT $1::text", Mood.SAD) == "sad"
            assert await db.fetch_one(list[str], "SELECT $1::text[]", [Mood.SAD, Mood.HAPPY]) == ["sad", "happy"]
            assert await db.execute("SELECT $1::text", Mood.SAD) == 1
            assert [one async for one in db.stream(Mood, "SELECT $1::text", Mood.SAD)] == [Mood.SAD]
            await db.execute("CREATE TABLE moods (mood text)")
            await db.execute_many("INSERT INTO moods VALUES ($1)", [(Mood.SAD,), ["happy"]])
            assert await db.fetch_all(Mood, "SELECT mood FROM moods") == [Mood.SAD, Mood.HAPPY]
            async with db.transaction() as tx:
                assert await tx.fetch_one(Mood, "SELECT $1::text", Mood.SAD) is Mood.SAD
                assert await tx.execute("SELECT $1::text", Mood.SAD) == 1
                with pytest.raises(ArgumentMismatch):
                    await tx.execute("SELECT $1::text", 5)

    asyncio.run(main())


def test_what_the_server_says_arrives_as_asyncpg_has_it_with_a_note_of_the_query(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            with pytest.raises(UniqueViolationError) as raised:
                await db.execute("INSERT INTO posts (id) VALUES ($1)", 1)
            assert raised.value.constraint_name == "posts_pkey"
            assert "INSERT INTO posts" in raised.value.__notes__[0]
            with pytest.raises(UndefinedColumnError):
                await db.fetch_all(Post, "SELECT nothing FROM posts")

    asyncio.run(main())


def test_a_stream_reads_everything_piece_by_piece(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            numbers = [n async for n in db.stream(int, "SELECT generate_series(1, $1::int)", 250, prefetch=100)]
            assert numbers == list(range(1, 251))
            assert [n async for n in db.stream(int, "SELECT 1 WHERE false")] == []
            with pytest.raises(ValueError, match="prefetch"):
                await anext(db.stream(int, "SELECT 1", prefetch=0))

    asyncio.run(main())


def test_a_stream_that_is_left_early_gives_its_connection_back(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            async with aclosing(db.stream(int, "SELECT generate_series(1, 1000)", prefetch=2)) as numbers:
                async for number in numbers:
                    if number == 3:
                        break
            assert await db.fetch_one(int, "SELECT 1") == 1
            assert not db.binding.pool.free[0].in_transaction()

    asyncio.run(main())


def test_a_stream_inside_a_transaction_sees_it_and_lets_others_query_between_its_rows(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO posts VALUES (4, 'new', 0)")
                seen = []
                async for post in tx.stream(Post, "SELECT * FROM posts ORDER BY id", prefetch=1):
                    await tx.execute("UPDATE posts SET likes = 1 WHERE id = $1", post.id)
                    seen.append(post.id)
            assert seen == [1, 2, 3, 4]
            assert await db.fetch_value(int, "SELECT sum(likes)::int FROM posts") == 4

    asyncio.run(main())


def test_begin_as_a_query_is_refused_and_undone(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            with pytest.raises(StrayTransaction, match=r"mend: async with db.transaction\(\)"):
                await db.execute("BEGIN; CREATE TABLE stray ()")
            assert await db.fetch_one(bool, "SELECT to_regclass('stray') IS NULL")

    asyncio.run(main())


def test_a_changed_schema_is_noticed_and_the_query_prepared_anew(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            await db.execute(POSTS)
            query = "SELECT * FROM posts WHERE id = $1"
            assert await db.fetch_one(Post, query, 1) == Post(1, "post 1", 10)
            await db.execute("ALTER TABLE posts ADD COLUMN added int DEFAULT 5")
            assert (await db.fetch_one(dict, query, 1))["added"] == 5
            await db.execute("ALTER TABLE posts DROP COLUMN title")
            with pytest.raises(RowMismatch, match="title"):
                await db.fetch_one(Post, query, 1)
            async with db.acquire() as connection:
                await connection.execute("DEALLOCATE ALL")
            assert await db.fetch_one(dict, query, 1)
            assert await db.execute("UPDATE posts SET likes = $1", 1) == 3
            async with db.acquire() as connection:
                await connection.execute("DEALLOCATE ALL")
            assert await db.execute("UPDATE posts SET likes = $1", 2) == 3

    asyncio.run(main())


def test_a_changed_schema_does_not_break_a_stream_or_many_rows(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(POSTS)
            query, insert = "SELECT * FROM posts", "INSERT INTO posts (id, likes) VALUES ($1, $2) RETURNING *"
            for round_ in range(2):
                assert len([row async for row in db.stream(dict, query)]) == 3 + round_
                await db.execute_many(insert, [(100 + round_, 1)])
                await db.execute("ALTER TABLE posts ADD COLUMN IF NOT EXISTS added int")

    asyncio.run(main())


def test_a_changed_composite_type_is_noticed_once(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute("CREATE TYPE pair AS (a int, b int); CREATE TABLE pairs (pair pair)")
            await db.execute("INSERT INTO pairs VALUES ((1, 2))")
            query = "SELECT pair FROM pairs"
            (pair,) = await db.fetch_all(object, query)
            assert dict(pair) == {"a": 1, "b": 2}
            await db.execute("ALTER TYPE pair ADD ATTRIBUTE c int")
            with pytest.raises(OutdatedSchemaCacheError):
                await db.fetch_all(object, query)
            (pair,) = await db.fetch_all(object, query)
            assert dict(pair) == {"a": 1, "b": 2, "c": None}

    asyncio.run(main())


def test_a_changed_composite_type_is_noticed_once_by_all_connections_and_in_a_transaction_too(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=2) as db:
            await db.execute("CREATE TYPE pair AS (a int, b int); CREATE TABLE pairs (pair pair, data jsonb)")
            await db.execute("INSERT INTO pairs VALUES ((1, 2), '[3]')")
            query = "SELECT * FROM pairs"
            async with db.transaction() as one, db.transaction() as other:
                assert len(await one.fetch_all(dict, query)) == len(await other.fetch_all(dict, query)) == 1
            await db.execute("ALTER TYPE pair ADD ATTRIBUTE c int")
            with pytest.raises(OutdatedSchemaCacheError):
                async with db.transaction() as tx:
                    await tx.fetch_all(dict, query)
            async with db.transaction() as one, db.transaction() as other:
                for tx in (one, other):
                    (row,) = await tx.fetch_all(dict, query)
                    assert (dict(row["pair"]), row["data"]) == ({"a": 1, "b": 2, "c": None}, [3])

    asyncio.run(main())


def test_a_column_that_is_what_it_was_again_is_read_again(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(POSTS)
            query = "SELECT id, title, likes FROM posts WHERE id = $1"
            assert await db.fetch_one(Post, query, 1) == Post(1, "post 1", 10)
            await db.execute("ALTER TABLE posts ALTER likes TYPE numeric")
            for _ in range(2):
                with pytest.raises(RowMismatch, match="likes"):
                    await db.fetch_one(Post, query, 1)
            await db.execute("ALTER TABLE posts ALTER likes TYPE int")
            assert await db.fetch_one(Post, query, 1) == Post(1, "post 1", 10)

    asyncio.run(main())


def test_every_value_of_a_json_column_may_be_null_or_anything(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            query = "SELECT $1::jsonb"
            for value in ({"a": [1, 2.5, None]}, [1], "text", 5, True):
                assert await db.fetch_value(Any, query, value) == value
            assert await db.fetch_value(Any, "SELECT 'null'::jsonb") is None
            assert await db.fetch_value(Author | None, "SELECT 'null'::jsonb") is None
            assert await db.fetch_value(Any, "SELECT NULL::jsonb") is None
            with pytest.raises(RowMismatch):
                await db.fetch_value(Author, "SELECT 'null'::jsonb")

    asyncio.run(main())


def test_only_so_many_statements_are_kept_and_none_that_is_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.sql.driver.STATEMENTS", 3)
    monkeypatch.setattr("fastlane.sql.driver.PLANS", 3)

    async def main() -> None:
        async with opened(url, most=1) as db:
            for number in range(10):
                assert await db.fetch_one(int, f"SELECT {number}") == number
            assert await db.fetch_one(int, f"SELECT 1 {' ' * 20_000}") == 1
            (session,) = db.binding.pool.free
            assert len(session.fast) == 3
            kept = await db.fetch_one(int, "SELECT count(*) FROM pg_prepared_statements")
            assert kept <= 5  # what was dropped is closed with the next that is prepared

    asyncio.run(main())

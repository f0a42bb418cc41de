"""Behind pgbouncer in transaction mode, where no session lasts longer than a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.resources.configuration import DatabaseOptions, ResourceConfiguration, SqlOptions
from fastlane.resources.surroundings import Mode, Surroundings
from fastlane.sql import Database, Transaction
from fastlane.sql.service import SqlService
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Postgres
from tests.sql.opened import opened


class Row(Struct):
    id: int
    data: dict[str, int]


@pytest.fixture(scope="module")
def bouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    with PgBouncer(postgres, connections=3) as running:
        yield running


def options(bouncer: PgBouncer, url: str, *, direct: bool = True) -> DatabaseOptions:
    name = url.partition("@/")[2].partition("?")[0]
    return DatabaseOptions(url=bouncer.url(name), direct_url=url if direct else None, pooler="transaction")


def test_queries_of_many_tasks_share_few_connections_of_the_server(bouncer: PgBouncer, url: str) -> None:
    async def main() -> None:
        async with opened(options(bouncer, url), most=10) as db:
            await db.execute("CREATE TABLE rows (id int, data jsonb)")

            async def work(number: int) -> None:
                await db.execute("INSERT INTO rows VALUES ($1, $2)", number, {"a": number})
                for _ in range(5):
                    assert await db.fetch_one(Row, "SELECT * FROM rows WHERE id = $1", number) == Row(
                        number, {"a": number}
                    )

            await asyncio.gather(*map(work, range(60)))
            assert await db.fetch_value(int, "SELECT count(*) FROM rows") == 60

    asyncio.run(main())


def test_every_other_method_works_too(bouncer: PgBouncer, url: str) -> None:
    async def main() -> None:
        async with opened(options(bouncer, url), most=10) as db:
            await db.execute("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE rows (id int, data jsonb, mood mood)")

            async def add(tx: Transaction, number: int) -> None:
                await tx.execute_many("INSERT INTO rows VALUES ($1, $2)", [(number, {"a": 1}), (number, {"a": 2})])
                async with tx.transaction():
                    assert await tx.fetch_value(int, "SELECT count(*) FROM rows WHERE id = $1", number) == 2

            await asyncio.gather(*(db.transact(add, number, max_attempts=None) for number in range(10)))
            copies = (db.copy("rows", [(5, {"a": 3})] * 10, columns=["id", "data"]) for _ in range(5))
            assert sum(await asyncio.gather(*copies)) == 50

            async def read() -> int:
                return len([row async for row in db.stream(Row, "SELECT * FROM rows WHERE id >= $1", 0, prefetch=7)])

            assert await asyncio.gather(*(read() for _ in range(6))) == [70] * 6
            await db.execute_many("UPDATE rows SET mood = $1", [("sad",)])
            assert await db.fetch_all(str, "SELECT DISTINCT mood FROM rows") == ["sad"]
            await db.execute("ALTER TABLE rows ADD COLUMN more int")
            assert len(await db.fetch_one(dict, "SELECT * FROM rows")) == 4

    asyncio.run(main())


def test_listen_goes_around_the_pooler_or_is_refused(bouncer: PgBouncer, url: str) -> None:
    async def main() -> None:
        async with opened(options(bouncer, url)) as db, db.listen("news") as notifications:
            await db.execute("NOTIFY news, 'hello'")
            assert (await anext(notifications)).payload == "hello"
        async with opened(options(bouncer, url, direct=False)) as db:
            with pytest.raises(ConfigurationError, match=r"mend: give .*blog.* a direct_url"):
                db.listen("news")

    asyncio.run(main())


def prepared(options: DatabaseOptions, mode: Mode = "serve") -> None:
    service = SqlService(
        ResourceConfiguration(sql=SqlOptions(databases={"blog": options})), Surroundings(mode=mode, boot_timeout=10)
    )
    asyncio.run(service.prepare())


def test_migrations_are_not_applied_through_a_pooler_that_would_keep_their_lock(bouncer: PgBouncer, url: str) -> None:
    db = Database("blog")
    with pytest.raises(ConfigurationError, match=r"(?s)database 'blog': migrations hold a lock.*mend: .*direct_url"):
        prepared(options(bouncer, url, direct=False), "dev")
    prepared(options(bouncer, url), "dev")
    prepared(options(bouncer, url, direct=False))  # which only looks
    del db


def test_a_pooler_that_nobody_spoke_of_is_told(bouncer: PgBouncer, url: str) -> None:
    db = Database("blog")
    prepared(options(bouncer, url), "dev")
    hidden = DatabaseOptions(url=options(bouncer, url).url)

    async def prepare_as_another_process_does() -> None:
        """asyncpg numbers its statements, in each process from 1."""
        connection = await asyncpg.connect(url)
        next_one = int((await connection.prepare("SELECT 1")).get_name().strip("_").rpartition("_")[2], 16) + 1
        await connection.close()
        connection = await asyncpg.connect(hidden.url, statement_cache_size=0)
        names = [f"__asyncpg_stmt_{number:x}__" for number in range(next_one, next_one + 100)]
        await connection.execute(";".join(f'PREPARE "{name}" AS SELECT 1' for name in names))
        await connection.close()

    asyncio.run(prepare_as_another_process_does())
    with pytest.raises(ConfigurationError, match=r'(?s)is a pooler.*mend: pooler = "transaction"'):
        prepared(hidden)
    del db

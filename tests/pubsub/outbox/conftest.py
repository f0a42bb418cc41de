"""One PostgreSQL for all tests of this room, and a database with the framework's tables for each."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Iterator

import asyncpg
import pytest

from fastlane.sql.migrations import Migrator
from tests.servers.postgres import Postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        server.sql("CREATE DATABASE migrated")

        async def migrate() -> None:
            connection = await asyncpg.connect(server.url("migrated"))
            await Migrator.of_framework().apply(connection)
            await connection.close()

        asyncio.run(migrate())
        yield server


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    name = f"test{next(_numbers)}"
    postgres.sql(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield postgres.url(name)
    gc.collect()  # a database is declared as long as it lives

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fastlane.sql.embedded import EmbeddedServer, clone_for_test, drop_database
from fastlane.sql.migrations import Migrator


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("postgres"), linger=0.5)
    server.hold_blocking()
    yield server
    server.destroy_blocking()


@pytest.fixture
def dsn(embedded: EmbeddedServer) -> Iterator[str]:
    """A database with the framework's tables, empty."""

    def address(name: str) -> str:
        return f"postgresql:///{name}?host={embedded.host}&user={embedded.user}"

    async def migrate(name: str) -> None:
        connection = await asyncpg.connect(address(name))
        await Migrator.of_framework().apply(connection)
        await connection.close()

    name = asyncio.run(clone_for_test(embedded, "cron", str(Path(__file__).stat().st_mtime), migrate))
    yield address(name)
    asyncio.run(drop_database(embedded, name))

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fastlane.sql.embedded import EmbeddedServer, clone_for_test, drop_database
from fastlane.sql.migrations import Migrator, read_migrations

Put = Callable[[str, str], Path]


async def _nothing(name: str) -> None:
    return None


class Blank:
    """An empty database on the embedded server."""

    def __init__(self, server: EmbeddedServer, name: str) -> None:
        self.server = server
        self.name = name

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(host=self.server.host, user=self.server.user, database=self.name)
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("postgres"), linger=0.5)
    server.hold_blocking()
    yield server
    server.destroy_blocking()


@pytest.fixture
def blank(embedded: EmbeddedServer) -> Iterator[Blank]:
    name = asyncio.run(clone_for_test(embedded, "blank", "", _nothing))
    yield Blank(embedded, name)
    asyncio.run(drop_database(embedded, name))


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a migration's file."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "migrations" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def migrator(tmp_path: Path) -> Callable[[], Migrator]:
    return lambda: Migrator("blog", read_migrations(tmp_path / "migrations"))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)

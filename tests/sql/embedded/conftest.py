from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fastlane.sql.embedded import EmbeddedServer

Connect = Callable[[str], Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of this test alone, which ends half a second after it."""
    server = EmbeddedServer(tmp_path / "state", linger=0.5)
    (tmp_path / "state").mkdir(mode=0o700)
    yield server
    server.destroy_blocking()


@asynccontextmanager
async def connected(server: EmbeddedServer, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(host=server.host, user=server.user, database=database)
    try:
        yield connection
    finally:
        await connection.close()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)

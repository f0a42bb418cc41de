"""Databases inside an embedded server: the project's own, and a fresh one for each test."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastlane.sql.embedded.server import PORT, EmbeddedServer

if TYPE_CHECKING:
    import asyncpg

__all__ = ["TEST_PREFIX", "clone_for_test", "create_database", "drop_database"]

TEST_PREFIX = "fastlane-test"
KEPT_TEMPLATES = 8
"""Of all test databases together; the newest. Each is 8 MB."""
# "embedded" in ASCII: one process at a time makes databases of a server.
_LOCK = 0x656D626564646564

_counter = itertools.count()


async def create_database(server: EmbeddedServer, name: str) -> None:
    """Make the database ``name`` unless it is there."""
    async with _Maintenance(server) as connection:
        await _create(connection, name)


async def drop_database(server: EmbeddedServer, name: str) -> None:
    """Remove it, whoever is connected to it. Does nothing where there is none."""
    async with _Maintenance(server) as connection:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def clone_for_test(
    server: EmbeddedServer, name: str, fingerprint: str, migrate: Callable[[str], Awaitable[None]]
) -> str:
    """A fresh database for one test, as a copy of a template that has been migrated once; answers its name.

    Args:
        name: of the declared database.
        fingerprint: of its migrations: another one means another template.
        migrate: brings the database with this name, which is empty, to the newest version.

    What tests that were killed left behind is removed on the way.
    """
    digest = hashlib.sha256(f"{name}\0{fingerprint}".encode()).hexdigest()[:12]
    template = f"{TEST_PREFIX}-template-{digest}"
    fresh = f"{TEST_PREFIX}-{os.getpid()}-{next(_counter)}-{digest}"
    async with _Maintenance(server) as connection:
        await _remove_leftovers(connection)
        if not await _exists(connection, template):
            # Under another name first: a migration that fails leaves no template that looks finished.
            half = f"{template}-new"
            await connection.execute(f'DROP DATABASE IF EXISTS "{half}" WITH (FORCE)')
            await _create(connection, half)
            await migrate(half)
            await connection.execute(f'ALTER DATABASE "{half}" RENAME TO "{template}"')
            await _remove_old_templates(connection)
        # A container's processes have the same numbers each time: one of ours may have left it before it was killed.
        await connection.execute(f'DROP DATABASE IF EXISTS "{fresh}" WITH (FORCE)')
        # PERF: 12 to 15 ms (PostgreSQL 18 on a 39 MB cluster).
        await connection.execute(f'CREATE DATABASE "{fresh}" TEMPLATE "{template}"')
    return fresh


async def _create(connection: asyncpg.Connection, name: str) -> None:
    if not await _exists(connection, name):
        await connection.execute(f'CREATE DATABASE "{name}"')


async def _exists(connection: asyncpg.Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name))


async def _remove_leftovers(connection: asyncpg.Connection) -> None:
    """Databases of test processes that are gone. The process id is the third part of the name."""
    rows = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE $1", f"{TEST_PREFIX}-%")
    for (name,) in rows:
        owner = name.removeprefix(f"{TEST_PREFIX}-").split("-")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _remove_old_templates(connection: asyncpg.Connection) -> None:
    """Those of migrations that have been edited since: a number that grows with every edit."""
    rows = await connection.fetch(
        "SELECT datname FROM pg_database WHERE datname LIKE $1 AND datname NOT LIKE '%-new' "
        "ORDER BY oid DESC OFFSET $2",
        f"{TEST_PREFIX}-template-%",
        KEPT_TEMPLATES,
    )
    for (name,) in rows:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}"')


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Maintenance:
    """A connection to the server's own database, alone among all that make databases."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> asyncpg.Connection:
        import asyncpg

        connection = await asyncpg.connect(
            host=self._server.host, port=PORT, user=self._server.user, database="postgres"
        )
        self._connection = connection
        await connection.fetchval("SELECT pg_advisory_lock($1)", _LOCK)
        return connection

    async def __aexit__(self, *_: object) -> None:
        assert self._connection is not None
        await self._connection.close()  # the lock goes with it

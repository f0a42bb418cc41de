"""Databases at boot, once for all processes: the embedded server, its databases, migrations."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.resources.configuration import DatabaseOptions
from fastlane.resources.declaration import declared_kinds
from fastlane.sql.embedded import PORT, EmbeddedServer, Watch, clone_for_test, create_database, drop_database
from fastlane.sql.migrations import Migration, Migrator, read_migrations
from fastlane.sql.settings import ConnectionSettings

if TYPE_CHECKING:
    from fastlane.sql.database import Database
    from fastlane.sql.service import SqlService

__all__ = [
    "connected",
    "embedded_urls",
    "hold_server",
    "keeps_tables",
    "migrations_of",
    "need_sessions",
    "prepare_databases",
    "recreate",
    "watch_server",
]

PATIENCE = 0.8
"""Of the boot timeout, for a server that can't be reached: what says so must come before the boot is given up."""

NO_TLS = "rejected SSL upgrade"
"""So asyncpg says that the server has no TLS: waiting does not mend that, as it does others of the class."""

TABLES = """
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'fastlane'),
       has_database_privilege(current_database(), 'CREATE')
"""

logger = logging.getLogger("fastlane.sql")


async def prepare_databases(
    service: SqlService, databases: Mapping[str, Database], stack: AsyncExitStack
) -> dict[str, str]:
    """Make every database ready to be used.

    Args:
        stack: what has to be undone when this process is done with the databases.

    Returns:
        The urls of those that are embedded, by name.

    Raises:
        ConfigurationError: the boot must stop: a migration failed, or is pending where they are only checked.
    """
    urls: dict[str, str] = {}
    names = service.embedded_names
    server = await hold_server(stack) if names else None
    for name, database in databases.items():
        migrators = [Migrator.of_framework(), Migrator(name, migrations_of(database))]  # mistakes are told first
        if server is not None and name in names:
            urls[name] = await _embedded(service, server, name, migrators, stack)
        else:
            settings = service.settings_of(name)
            applies = service.surroundings.mode == "dev" or service.configuration.sql.migrate == "boot"
            if applies:
                need_sessions(name, settings)
            async with _reached(name, settings, service) as connection:
                if not await keeps_tables(service, database, connection):
                    migrators = migrators[1:]
                await _migrate(connection, migrators, service, applies=applies)
    return urls


def need_sessions(name: str, settings: ConnectionSettings) -> None:
    """Raise ConfigurationError where a migration's lock would stay behind in a pooler, and lock out the next one."""
    if not settings.has_sessions:
        raise ConfigurationError(
            f"database {name!r}: migrations hold a lock, which a pooler in transaction mode can't\n"
            f"    mend: give [sql.databases.{name}] a direct_url, which leads around the pooler"
        )


async def keeps_tables(service: SqlService, database: Database, connection: Any) -> bool:
    """Whether the framework's own tables belong into a database. Into one that is another tool's (``migrations=None``)
    only where something is kept in it: a warehouse that the app may but read has no room for them."""
    if database.migrations is not None or service.keeps_something_in(database.name):
        return True
    exists, may_create = await connection.fetchrow(TABLES)
    if exists or "topic" not in declared_kinds():
        return bool(exists)
    if not may_create:
        logger.warning(
            "database %r: its tables for publish(tx=) and once= are missing, and this role may not make them: what "
            "needs them will fail",
            database.name,
        )
    return bool(may_create)


async def embedded_urls(service: SqlService, stack: AsyncExitStack) -> dict[str, str]:
    """The urls of the embedded databases, which are made where they are missing, and not migrated.

    Args:
        stack: the server runs until it is closed.
    """
    names = service.embedded_names
    if not names:
        return {}
    server = await hold_server(stack)
    for name in names:
        await create_database(server, name)
    return {name: _url(server, name) for name in names}


async def recreate(name: str) -> None:
    """Remove an embedded database with all that is in it, and make it anew, empty."""
    async with AsyncExitStack() as stack:
        server = await hold_server(stack)
        await drop_database(server, name)
        await create_database(server, name)


async def hold_server(stack: AsyncExitStack) -> EmbeddedServer:
    """The project's embedded server, kept running until ``stack`` is closed."""
    server = EmbeddedServer()
    await server.hold()
    stack.callback(server.release)
    return server


async def watch_server(stack: AsyncExitStack) -> None:
    """The same, and started again when it or its keeper is killed, as long as the running loop does."""
    server = await hold_server(stack)
    watch = Watch(server)
    watch.start()
    stack.push_async_callback(watch.stop)


def migrations_of(database: Database) -> list[Migration]:
    """The migrations of a declared database: beside the module that declares it."""
    if database.migrations is None:
        return []
    directory = Path(database.place.file).parent / database.migrations
    if database.migrations == "migrations" and not directory.exists():
        return []  # nobody spoke of migrations
    return read_migrations(directory)


async def _embedded(
    service: SqlService, server: EmbeddedServer, name: str, migrators: Sequence[Migrator], stack: AsyncExitStack
) -> str:
    async def migrate(physical: str) -> None:
        async with _reached(name, _settings(server, physical), service) as connection:
            await _migrate(connection, migrators, service, applies=True)

    if service.surroundings.mode != "test":
        await create_database(server, name)
        await migrate(name)
        return _url(server, name)
    checksums = "".join(migration.checksum for migrator in migrators for migration in migrator.migrations)
    fresh = await clone_for_test(server, name, hashlib.sha256(checksums.encode()).hexdigest(), migrate)
    stack.push_async_callback(drop_database, server, fresh)
    return _url(server, fresh)


async def _migrate(connection: Any, migrators: Sequence[Migrator], service: SqlService, *, applies: bool) -> None:
    for migrator in migrators:
        if applies:
            await migrator.apply(
                connection,
                lambda: service.extend("waiting for another machine's migration"),
                # Each has the boot timeout for itself, and is named where it takes longer.
                lambda title: service.extend(f"applying the migration {title}"),
            )
        else:
            await migrator.check(connection)


@asynccontextmanager
async def _reached(name: str, settings: ConnectionSettings, service: SqlService) -> AsyncIterator[Any]:
    """A connection, as soon as the server can be reached.

    Raises:
        ConfigurationError: it can, and refuses.
        FastlaneError: it can't, for most of the boot's time; or it went away.
    """
    import asyncpg  # type: ignore[import-untyped,unused-ignore]

    async with AsyncExitStack() as stack:
        connection = await _patiently(name, settings, service, stack)
        try:
            yield connection
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"database {name!r}: {error}\n"
                "    mend: GRANT its role what it needs: to serve, USAGE on the schema fastlane and rights on what is "
                "in it; to migrate, CREATE on the database"
            ) from error
        except asyncpg.DuplicatePreparedStatementError as error:
            raise ConfigurationError(
                f"database {name!r}: its url is a pooler that does not keep sessions: {str(error).splitlines()[0]}\n"
                f'    mend: pooler = "transaction" in [sql.databases.{name}], and a direct_url, which leads around it'
            ) from error
        except (
            OSError,
            EOFError,
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ) as error:
            raise FastlaneError(
                f"database {name!r}: the connection was lost: {type(error).__name__}: {error}\n    mend: start again"
            ) from error


async def _patiently(name: str, settings: ConnectionSettings, service: SqlService, stack: AsyncExitStack) -> Any:
    import asyncpg

    loop = asyncio.get_running_loop()
    patience = PATIENCE * service.surroundings.boot_timeout
    deadline, is_told = loop.time() + patience, False
    while True:
        try:
            return await stack.enter_async_context(connected(settings))
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise ConfigurationError(
                f"database {name!r}: {error}\n    mend: see url and password in [sql.databases.{name}]"
            ) from error
        except (
            OSError,
            EOFError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.TooManyConnectionsError,
        ) as error:
            if isinstance(error, ssl.SSLCertVerificationError) or NO_TLS in str(error):
                raise ConfigurationError(
                    f"database {name!r}: {error}\n    mend: see tls and ca in [sql.databases.{name}]"
                ) from error
            if loop.time() >= deadline:
                raise FastlaneError(
                    f"database {name!r} can't be reached within {patience:g} s: {type(error).__name__}: {error}\n"
                    f"    mend: start it, or see url in [sql.databases.{name}]"
                ) from error
            if not is_told:
                logger.warning("database %r can't be reached, trying again: %s", name, error)
            is_told = True
            await asyncio.sleep(random.uniform(0.2, 0.5))


@asynccontextmanager
async def connected(settings: ConnectionSettings) -> AsyncIterator[Any]:
    """A connection of asyncpg, around a pooler."""
    from fastlane.sql.driver import connect

    connection = await connect(settings, direct=True)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


def _settings(server: EmbeddedServer, physical: str) -> ConnectionSettings:
    options = DatabaseOptions(url=_url(server, physical))
    return ConnectionSettings(lambda: options)


def _url(server: EmbeddedServer, physical: str) -> str:
    return f"postgresql://{server.user}@/{quote(physical)}?host={quote(server.host)}&port={PORT}"

"""The databases of an application, as ``fastlane sql`` reaches them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import click

from fastlane.errors import ConfigurationError
from fastlane.redaction import redacted

if TYPE_CHECKING:
    import asyncpg

    from fastlane.sql import Database
    from fastlane.sql.migrations import Migrator
    from fastlane.sql.service import SqlService
    from fastlane.sql.settings import ConnectionSettings

__all__ = ["Place", "places_of"]

LOCK_SECONDS = 10
"""For a table that somebody reads just now, when everything is to be removed."""


class Place:
    """A declared database, and how to reach it.

    Attributes:
        is_embedded: it lives in the project's own server.
    """

    def __init__(
        self, service: SqlService, database: Database, settings: ConnectionSettings, *, is_embedded: bool
    ) -> None:
        self.service = service
        self.database = database
        self.settings = settings
        self.is_embedded = is_embedded

    @property
    def name(self) -> str:
        return self.database.name

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection, around a pooler.

        Raises:
            ConfigurationError: the server is there, and refuses.
            click.ClickException: it can't be reached.
        """
        import asyncpg

        from fastlane.sql.preparation import connected

        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(connected(self.settings))
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                mend = f"see url and password in [sql.databases.{self.name}]"
                raise ConfigurationError(f"database {self.name!r}: {error}\n    mend: {mend}") from error
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                problem = redacted(str(error)) or "no answer in time"
                mend = f"start it, or see url in [sql.databases.{self.name}]"
                raise click.ClickException(
                    f"database {self.name!r} can't be reached: {problem}\n    mend: {mend}"
                ) from error
            yield connection

    def need_sessions(self) -> None:
        """For what holds a lock: raise ConfigurationError where there is but a pooler."""
        from fastlane.sql.preparation import need_sessions

        need_sessions(self.name, self.settings)

    async def keeps_tables(self, connection: asyncpg.Connection) -> bool:
        """Whether the framework's own tables belong into it."""
        from fastlane.sql.preparation import keeps_tables

        return await keeps_tables(self.service, self.database, connection)

    def migrators(self) -> list[Migrator]:
        """The framework's own, and the user's."""
        from fastlane.sql.migrations import Migrator
        from fastlane.sql.preparation import migrations_of

        return [Migrator.of_framework(), Migrator(self.name, migrations_of(self.database))]

    async def migrate(self) -> int:
        """Apply what is pending; answers how many of the user's."""
        self.need_sessions()
        migrators = self.migrators()  # files that make no sense are told before anybody is asked
        is_told = False

        def waiting() -> None:
            nonlocal is_told
            if not is_told:
                click.echo(f"{self.name}: another process migrates it: waiting", err=True)
            is_told = True

        async with self.connected() as connection:
            framework, own = migrators
            if await self.keeps_tables(connection):
                await framework.apply(connection, waiting)
            applied = await own.apply(connection, waiting)
        for migration in applied:
            click.echo(f"{self.name}: {migration.title} applied")
        return len(applied)

    async def empty(self) -> None:
        """Remove everything in it. All or nothing; whoever migrates it is waited for."""
        from fastlane.sql.migrations.ledger import Ledger
        from fastlane.sql.preparation import recreate

        if self.is_embedded:
            await recreate(self.name)
            return
        self.need_sessions()
        async with self.connected() as connection, Ledger(connection, self.name).alone(lambda: None):
            await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            await connection.execute(_EMPTY)


# Not DROP DATABASE: whoever owns a database need not have the right to make one. PUBLIC gets what a new database
# gives it.
_EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN
        SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
END $$
"""


def places_of(service: SqlService, chosen: Iterable[Database]) -> list[Place]:
    """Where they are; after `SqlService.receive`."""
    embedded = service.embedded_names
    return [Place(service, one, service.settings_of(one.name), is_embedded=one.name in embedded) for one in chosen]

"""Compares a directory of migrations with what a database remembers, and brings the database forth or back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastlane.errors import ConfigurationError
from fastlane.sql.migrations.files import Migration, read_down, read_migrations
from fastlane.sql.migrations.ledger import Applied, Ledger

if TYPE_CHECKING:
    import asyncpg

__all__ = ["FRAMEWORK", "MigrationError", "MigrationStatus", "Migrator"]

FRAMEWORK = Path(__file__).parent.parent / "schema"
"""The framework's own tables (outbox, cron, the postgres provider), in the schema ``fastlane``."""

OWN_ROLE = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE"
"""A script may `SET ROLE` for what it makes: the ledger is not that role's, nor is the next script."""

logger = logging.getLogger("fastlane.sql")


class MigrationError(ConfigurationError):
    """A migration failed, or the database and the files contradict each other. Nothing of the failed file is in force.

    Attributes:
        migration: its title, such as ``0002_add_likes``; empty where no single one is meant.
    """

    def __init__(self, text: str, migration: str = "") -> None:
        self.migration = migration
        super().__init__(text)


class MigrationStatus(NamedTuple):
    """Files and database side by side.

    Attributes:
        applied: what the database remembers.
        pending: files that were not applied yet, in order.
        edited: applied files that were changed since.
        out_of_order: pending files whose number is below an applied one.
        unknown: applied, and not among the files: a newer version of the code was here.
    """

    applied: Sequence[Applied]
    pending: Sequence[Migration]
    edited: Sequence[Migration]
    out_of_order: Sequence[Migration]
    unknown: Sequence[Applied]


class Migrator:
    """The migrations of one declared database.

    Args:
        database: its name, for errors and the ledger.
        migrations: as `read_migrations` reads them.
    """

    def __init__(self, database: str, migrations: Sequence[Migration]) -> None:
        self.database = database
        self.migrations = migrations

    @property
    def _shown(self) -> str:
        """As messages call it: the framework's tables stand in whichever database it is, and are no database."""
        is_own = bool(self.migrations) and self.migrations[0].up.parent == FRAMEWORK
        return "fastlane's own schema" if is_own else f"database {self.database!r}"

    @classmethod
    def of_framework(cls) -> Migrator:
        """The framework's own tables: they come before the user's."""
        return cls("fastlane", read_migrations(FRAMEWORK))

    async def status(self, connection: asyncpg.Connection) -> MigrationStatus:
        """Look, and change nothing."""
        applied = await Ledger(connection, self.database).applied()
        by_version = {row.version: row for row in applied}
        newest = max(by_version, default=-1)
        pending = [migration for migration in self.migrations if migration.version not in by_version]
        known = {migration.version for migration in self.migrations}
        return MigrationStatus(
            applied=applied,
            pending=pending,
            edited=[
                migration
                for migration in self.migrations
                if migration.version in by_version and by_version[migration.version].checksum != migration.checksum
            ],
            out_of_order=[migration for migration in pending if migration.version < newest],
            unknown=[row for row in applied if row.version not in known],
        )

    async def check(self, connection: asyncpg.Connection) -> None:
        """Raise MigrationError unless everything is applied, as it stands in the files."""
        status = await self.status(connection)
        self._refuse(status)
        if status.pending:
            titles = ", ".join(migration.title for migration in status.pending)
            raise MigrationError(
                f"{self._shown}: {len(status.pending)} migrations are pending: {titles}\n"
                '    mend: run `fastlane sql migrate APP` first, or set migrate = "boot" in [sql]'
            )

    async def apply(
        self,
        connection: asyncpg.Connection,
        waiting: Callable[[], None] = lambda: None,
        applying: Callable[[str], None] = lambda _: None,
    ) -> list[Migration]:
        """Apply what is pending, in order, one machine at a time; answers what this call applied.

        Args:
            connection: a direct one, not through a pooler: the lock belongs to the session.
            waiting: see `Ledger.alone`.
            applying: called with the title of each, before it is begun.

        Raises:
            MigrationError: one failed: it left nothing behind (outside a transaction: what PostgreSQL leaves of one
                statement), and those behind it were not tried.
        """
        if not self.migrations:
            return []
        ledger = Ledger(connection, self.database)
        async with ledger.alone(waiting):
            await ledger.create()
            status = await self.status(connection)
            self._refuse(status)
            for migration in status.pending:
                applying(migration.title)
                started = time.perf_counter()
                await self._run(connection, migration.up, migration.text, migration.in_transaction, ledger, migration)
                logger.info(
                    "%s: %s applied in %.0f ms",
                    self._shown,
                    migration.title,
                    1000 * (time.perf_counter() - started),
                )
            return list(status.pending)

    async def rollback(self, connection: asyncpg.Connection, steps: int = 1) -> list[Migration]:
        """Undo the newest ``steps`` applied migrations, the newest first; answers them.

        Raises:
            MigrationError: one can't be undone: no ``.down.sql``, unknown to this code, or its script failed.
        """
        ledger = Ledger(connection, self.database)
        undone: list[Migration] = []
        async with ledger.alone(lambda: None):
            by_version = {migration.version: migration for migration in self.migrations}
            for row in (await ledger.applied())[: -steps - 1 : -1]:
                migration = by_version.get(row.version)
                if migration is None:
                    raise MigrationError(
                        f"{self._shown}: {row.version:04d}_{row.name} is not among the files\n"
                        "    mend: roll back with the version of the code that has it"
                    )
                text, in_transaction = read_down(migration)
                assert migration.down is not None
                await self._run(connection, migration.down, text, in_transaction, ledger, None, row.version)
                undone.append(migration)
        return undone

    async def _run(
        self,
        connection: asyncpg.Connection,
        path: Path,
        text: str,
        in_transaction: bool,
        ledger: Ledger,
        migration: Migration | None,
        forgotten: int = 0,
    ) -> None:
        """Run a script and note it, as one transaction where it may be."""
        import asyncpg

        started = time.perf_counter()

        async def note() -> None:
            await connection.execute(OWN_ROLE)
            if migration is None:
                await ledger.forget(forgotten)
            else:
                seconds = time.perf_counter() - started
                await ledger.record(migration.version, migration.name, migration.checksum, seconds)

        try:
            if not in_transaction:
                await connection.execute(text)
                await note()
                return
            async with connection.transaction():
                await connection.execute(text)
                await note()
            await connection.execute("RESET ALL")  # what a script set for itself must not reach the next one
        except asyncpg.PostgresError as error:
            title = path.name.removesuffix(".sql")
            left = f"{self._shown} is as it was before {title}"
            if not in_transaction:
                left = f"it ran outside a transaction: look what it has left behind in {self._shown}"
            raise MigrationError(
                f"{path}{_line(text, error)}: {type(error).__name__}: {error}\n    {left}",
                title,
            ) from error

    def _refuse(self, status: MigrationStatus) -> None:
        """Raise where files and database contradict each other; an unknown newer one is only worth a warning."""
        mistakes = [
            f"{migration.up} was changed after it was applied\n"
            "    mend: restore it, and write the change as a new migration; or, where nothing is to be kept, "
            "begin anew: fastlane sql reset"
            for migration in status.edited
        ]
        mistakes += [
            f"{migration.up} is pending, but a migration behind it is applied already\n"
            f"    mend: give it a number above {max(row.version for row in status.applied)}"
            for migration in status.out_of_order
        ]
        if mistakes:
            raise MigrationError("\n".join(f"{self._shown}: {mistake}" for mistake in mistakes))
        if status.unknown:
            titles = ", ".join(f"{row.version:04d}_{row.name}" for row in status.unknown)
            logger.warning(
                "%s has migrations that this code does not know (%s): a newer version was here",
                self._shown,
                titles,
            )


def _line(text: str, error: asyncpg.PostgresError) -> str:
    """``:12`` where the server says at which character the error is."""
    try:
        position = int(error.position or 0)
    except (AttributeError, ValueError):
        return ""
    return f":{text.count(chr(10), 0, position - 1) + 1}" if position else ""

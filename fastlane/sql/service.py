"""What the runtime does with databases: look for mistakes, prepare once per boot, open a pool in each process."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from msgspec import convert

from fastlane.resources.configuration import DatabaseOptions, PostgresOptions, ResourceConfiguration
from fastlane.resources.configuration.references import is_unresolved
from fastlane.resources.declaration import declared_kinds, declared_resources
from fastlane.resources.service import Service
from fastlane.resources.surroundings import Surroundings
from fastlane.sql.database import Database
from fastlane.sql.settings import ConnectionSettings, check_url
from fastlane.sql.sizing import Sharing

if TYPE_CHECKING:
    from fastlane.sql.binding import Bound

__all__ = ["SqlService"]

MESSAGE_CONNECTIONS = 5
"""Of a worker, where the database is a broker: two that publish, two that consume, one that listens."""

CRON_CONNECTIONS = 1
"""Of a worker, where the runs of cron jobs are in the database."""

OUTBOX_CONNECTIONS = 2
"""Of a machine, for each database, where there are topics: one that carries, one that listens."""

DRAIN_SECONDS = 5.0
"""What a query that still runs gets when the app closes."""


class SqlService(Service):
    """All databases of the app.

    Where one has no configuration and the surroundings allow it, it is a database of the project's embedded server.
    """

    name: ClassVar[str] = "sql"

    def __init__(self, configuration: ResourceConfiguration, surroundings: Surroundings) -> None:
        super().__init__(configuration, surroundings)
        # From the boot process: where the embedded databases are.
        self._embedded: dict[str, str] = {}
        self._bound: dict[Database, Bound] = {}
        self._preparation: contextlib.AsyncExitStack | None = None

    # The steps

    def check(self) -> Sequence[str]:
        databases = declared_resources(Database)
        configured = self.configuration.sql.databases
        mistakes = [
            f"sql.databases.{name}: no database {name!r} is declared\n"
            "    mend: remove the table, or declare the database"
            for name in configured
            if name not in databases
        ]
        if self.configuration.sql.instances < 1:
            mistakes.append(f"sql.instances: at least 1, not {self.configuration.sql.instances}")
        for name, database in databases.items():
            if name in configured:
                mistakes += self._mistakes_of(name, configured[name])
            elif not self.may_embed:
                mistakes.append(
                    f"database {name!r}, declared at {database.place}, has no url\n"
                    f'    mend: [sql.databases.{name}] url = {{ env = "DATABASE_URL" }}, or start with --embedded'
                )
        if databases:
            mistakes += _missing_library("embedded" if self.may_embed and self.embedded_names else "postgres")
        self._tell()
        return mistakes

    async def prepare(self) -> object:
        from fastlane.sql.preparation import prepare_databases

        self._preparation = contextlib.AsyncExitStack()
        return await prepare_databases(self, declared_resources(Database), self._preparation)

    def receive(self, report: object) -> None:
        self._embedded = convert(report or {}, dict[str, str])
        self._tell()

    async def open(self) -> None:
        from fastlane.sql.binding import Bound
        from fastlane.sql.pool import Pool

        databases = declared_resources(Database)
        if self._embedded and self.surroundings.mode != "test":
            from fastlane.sql.preparation import watch_server

            self._preparation = self._preparation or contextlib.AsyncExitStack()
            await watch_server(self._preparation)
        servers = [self.settings_of(name).server for name in databases]
        for name, database in databases.items():
            settings = self.settings_of(name)
            options = settings.current().pool
            sharing = Sharing(
                instances=self.configuration.sql.instances,
                workers=self.surroundings.workers,
                databases=servers.count(settings.server),
                reserved=options.reserved,
                messages=MESSAGE_CONNECTIONS if self._is_broker(name) else 0,
                cron=CRON_CONNECTIONS if self._works and self._ticks and self._has_cron_runs(name) else 0,
                outbox=OUTBOX_CONNECTIONS if self._works and "topic" in declared_kinds() else 0,
            )
            pool = Pool(name, settings, options, sharing=sharing, tells=self.surroundings.index == 0)
            bound = self._bound[database] = Bound(settings, pool)
            database.bind(bound)
            await pool.open(warm=self.surroundings.mode == "serve")

    async def close(self) -> None:
        bound, self._bound = self._bound, {}
        for database, one in bound.items():
            database.told = None
            database.unbind()
            await one.close(DRAIN_SECONDS)
        preparation, self._preparation = self._preparation, None
        if preparation is not None:
            await preparation.aclose()

    # What others ask

    @property
    def may_embed(self) -> bool:
        """Whether a database without a configuration is embedded."""
        return self.surroundings.embedded or self.surroundings.mode in ("dev", "test")

    @property
    def embedded_names(self) -> list[str]:
        """The declared databases that have no configuration."""
        return [name for name in declared_resources(Database) if name not in self.configuration.sql.databases]

    def settings_of(self, name: str) -> ConnectionSettings:
        """How to connect to a declared database; after `receive`, also before `open`."""
        return ConnectionSettings(lambda: self._options(name), application_name=f"fastlane {name}")

    def _is_broker(self, name: str) -> bool:
        providers = self.configuration.providers.values()
        return any(isinstance(one, PostgresOptions) and one.database == name for one in providers)

    @property
    def _works(self) -> bool:
        """Whether this process runs what was declared; a script and a test do not."""
        return self.surroundings.mode in ("serve", "dev")

    @property
    def _ticks(self) -> bool:
        return "cron" in self.surroundings.roles

    def keeps_something_in(self, name: str) -> bool:
        """Whether messages or the runs of cron jobs are in a database, as the configuration says."""
        return self._is_broker(name) or self._has_cron_runs(name)

    def _has_cron_runs(self, name: str) -> bool:
        options = self.configuration.cron
        if "cron job" not in declared_kinds() or options.store == "local":
            return False
        return name == (options.database or next(iter(declared_resources(Database))))

    def _tell(self) -> None:
        """Say to each database which one it is, as far as that is known: `Database.known_settings`."""
        for name, database in declared_resources(Database).items():
            if name in self.configuration.sql.databases or name in self._embedded:
                database.told = self.settings_of(name)

    def _options(self, name: str) -> DatabaseOptions:
        configured = self.configuration.sql.databases.get(name)
        return configured if configured is not None else DatabaseOptions(url=self._embedded[name])

    def _mistakes_of(self, name: str, options: DatabaseOptions) -> list[str]:
        key = f"sql.databases.{name}"
        mistakes = [
            f"{key}.{field}: {mistake}"
            for field, url in (("url", options.url), ("direct_url", options.direct_url))
            if url is not None and not is_unresolved(url) and (mistake := check_url(url)) is not None
        ]
        if options.pooler and options.direct_url is None and self.configuration.sql.migrate == "boot":
            mistakes.append(
                f"{key}: migrations hold a lock, which a pooler in transaction mode can't\n"
                "    mend: give a direct_url, which leads around the pooler"
            )
        if options.pooler and options.statement_timeout is not None:
            mistakes.append(
                f"{key}.statement_timeout: a pooler in transaction mode keeps no setting of a session\n"
                "    mend: leave it out, and ALTER ROLE … SET statement_timeout = … on the server"
            )
        return mistakes


def _missing_library(extra: str) -> list[str]:
    """Imports what `open` needs, for the template to share it; ``extra`` has all that is needed here."""
    try:
        import_module("fastlane.sql.binding")
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        return [f"databases need asyncpg, which is not installed\n    mend: pip install 'fastlane-asgi[{extra}]'"]
    return []

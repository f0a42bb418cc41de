"""``fastlane sql``: an application's databases from the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from fastlane.errors import ConfigurationError
from fastlane_cli.resources import Target, run, target_options

if TYPE_CHECKING:
    from fastlane.sql import Database
    from fastlane.sql.migrations import Migrator
    from fastlane.sql.service import SqlService
    from fastlane.sql.settings import ConnectionSettings

__all__ = ["command"]

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])


@click.group("sql")
def command() -> None:
    """Databases: migrations, a prompt, a fresh start."""


def _database_option(function: _Command) -> _Command:
    return click.option("--database", "name", metavar="NAME", help="Which one; needed where there are several.")(
        function
    )


class Place:
    """A declared database, and how to reach it.

    Attributes:
        is_embedded: it lives in the project's own server.
    """

    def __init__(self, database: Database, settings: ConnectionSettings, *, is_embedded: bool) -> None:
        self.database = database
        self.settings = settings
        self.is_embedded = is_embedded

    @property
    def name(self) -> str:
        return self.database.name

    def migrators(self) -> list[Migrator]:
        """The framework's own, and the user's."""
        from fastlane.sql.migrations import Migrator
        from fastlane.sql.preparation import migrations_of

        return [Migrator.of_framework(), Migrator(self.name, migrations_of(self.database))]

    async def migrate(self) -> int:
        """Apply what is pending; answers how many of the user's."""
        from fastlane.sql.preparation import connected

        async with connected(self.settings) as connection:
            framework, own = self.migrators()
            await framework.apply(connection)
            applied = await own.apply(connection)
        for migration in applied:
            click.echo(f"{self.name}: {migration.title} applied")
        return len(applied)


@command.command("migrate")
@target_options
@_database_option
def migrate(name: str | None, **options: Any) -> None:
    """Apply the pending migrations of TARGET's databases, and of the framework's own tables.

    One machine at a time: others that do the same meanwhile wait. One that fails leaves its database as it was.
    """

    async def work(places: list[Place]) -> None:
        for place in places:
            if not await place.migrate():
                click.echo(f"{place.name}: nothing is pending")

    _with_places(options, name, work)


@command.command("status")
@target_options
@_database_option
def status(name: str | None, **options: Any) -> None:
    """Show which migrations are applied, and which are pending. Exit code 1 unless all is in order."""

    async def work(places: list[Place]) -> bool:
        from fastlane.sql.preparation import connected

        in_order = True
        for place in places:
            async with connected(place.settings) as connection:
                framework, own = place.migrators()
                tables = await framework.status(connection)
                found = await own.status(connection)
            wrong = {id(migration) for migration in (*found.edited, *found.out_of_order)}
            click.echo(f"{place.name}:")
            for row in found.applied:
                changed = any(m.version == row.version for m in found.edited)
                note = "  CHANGED since" if changed else ""
                click.echo(f"  {row.version:04d}_{row.name}  applied {row.applied_at:%Y-%m-%d %H:%M:%S}{note}")
            for migration in found.pending:
                click.echo(f"  {migration.title}  {'OUT OF ORDER' if id(migration) in wrong else 'pending'}")
            if tables.pending:
                click.echo("  (the framework's own tables are pending, too)")
            in_order = in_order and not (found.pending or found.edited or found.out_of_order or tables.pending)
        return in_order

    if not _with_places(options, name, work):
        sys.exit(1)


@command.command("rollback")
@target_options
@_database_option
@click.option("--steps", default=1, show_default=True, type=click.IntRange(1), help="So many, the newest first.")
@click.option("--confirm", metavar="NAME", help="The database's name, instead of being asked for it.")
def rollback(name: str | None, steps: int, confirm: str | None, **options: Any) -> None:
    """Undo the newest migrations, by their .down.sql files."""

    async def work(places: list[Place]) -> None:
        from fastlane.sql.preparation import connected

        place = _only(places)
        _make_sure(place, confirm, f"undo {steps} of its migrations")
        async with connected(place.settings) as connection:
            for migration in await place.migrators()[1].rollback(connection, steps):
                click.echo(f"{place.name}: {migration.title} undone")

    _with_places(options, name, work)


@command.command("new")
@target_options
@click.argument("title")
@_database_option
def new(title: str, name: str | None, **options: Any) -> None:
    """Make the file of a new migration, called TITLE, with the next number."""
    from fastlane.sql.migrations import new_migration

    database = _chosen(Target(**options), name)
    if database.migrations is None:
        raise ConfigurationError(f"database {database.name!r} says migrations=None: they are another tool's")
    path = new_migration(Path(database.place.file).parent / database.migrations, title)
    click.echo(os.path.relpath(path))


@command.command("shell")
@target_options
@_database_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def shell(name: str | None, arguments: tuple[str, ...], **options: Any) -> None:
    """Open psql on a database. ARGUMENTS (behind --) are psql's: fastlane sql shell app:app -- -c 'select 1'"""

    async def work(places: list[Place]) -> int:
        place = _only(places)
        address, password = _without_password(place.settings.dsn)
        environment = {**os.environ, **({} if password is None else {"PGPASSWORD": password})}
        # No thread: a terminal's signals are psql's, and nothing else runs here.
        return subprocess.run([_psql(), address, *arguments], env=environment).returncode

    sys.exit(_with_places(options, name, work))


@command.command("url")
@target_options
@_database_option
@click.option("--show-password", is_flag=True, help="With the password in it.")
def url(name: str | None, show_password: bool, **options: Any) -> None:
    """Print the url of a database, for other tools. An embedded server runs while somebody uses it, and 5 s longer."""

    async def work(places: list[Place]) -> str:
        dsn = _only(places).settings.dsn
        return dsn if show_password else _without_password(dsn)[0]

    click.echo(_with_places(options, name, work))


@command.command("reset")
@target_options
@_database_option
@click.option("--confirm", metavar="NAME", help="The database's name, instead of being asked for it.")
def reset(name: str | None, confirm: str | None, **options: Any) -> None:
    """Remove everything in a database, and apply all migrations to the empty one."""

    async def work(places: list[Place]) -> None:
        from fastlane.sql.preparation import connected, recreate

        place = _only(places)
        _make_sure(place, confirm, "remove everything in it")
        if place.is_embedded:
            await recreate(place.name)
        else:
            async with connected(place.settings) as connection:
                await connection.execute(_EMPTY)
        await place.migrate()
        click.echo(f"{place.name}: begun anew")

    _with_places(options, name, work)


# Not DROP DATABASE: whoever owns a database need not have the right to make one.
_EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN
        SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""


def _with_places(options: dict[str, Any], name: str | None, work: Callable[[list[Place]], Coroutine[Any, Any, T]]) -> T:
    """Do ``work`` with the databases that are meant: ``name``, or all of them."""
    target = Target(**options)

    async def main() -> T:
        from fastlane.sql.preparation import embedded_urls
        from fastlane.sql.service import SqlService

        service = await target.service(SqlService, "database")
        async with AsyncExitStack() as stack:
            service.receive(await embedded_urls(service, stack))
            return await work(_places(service, target, name))

    try:
        return run(main())
    except OSError as error:
        raise click.ClickException(f"the database can't be reached: {error}") from error


def _places(service: SqlService, target: Target, name: str | None) -> list[Place]:
    from fastlane.resources.declaration import declared_resources
    from fastlane.sql import Database

    chosen = [_chosen(target, name)] if name else list(declared_resources(Database).values())
    embedded = service.embedded_names
    return [Place(one, service.settings_of(one.name), is_embedded=one.name in embedded) for one in chosen]


def _chosen(target: Target, name: str | None) -> Database:
    from fastlane.resources.declaration import declared_resources
    from fastlane.sql import Database

    databases = declared_resources(Database)
    if name is None and len(databases) == 1:
        return next(iter(databases.values()))
    if name not in databases:
        problem = f"there is no database {name!r}" if name else f"{target.name} declares {len(databases)} databases"
        raise ConfigurationError(f"{problem}\n    mend: --database with one of {', '.join(databases) or 'none'}")
    return databases[name]


def _only(places: list[Place]) -> Place:
    if len(places) != 1:
        names = ", ".join(place.name for place in places)
        raise ConfigurationError(f"there are {len(places)} databases\n    mend: --database with one of {names}")
    return places[0]


def _make_sure(place: Place, confirm: str | None, what: str) -> None:
    """Off the embedded server, what can't be undone wants to be named."""
    if place.is_embedded:
        return
    if confirm is None:
        confirm = click.prompt(f"This will {what}. Write the database's name ({place.name}) to go on", default="")
    if confirm != place.name:
        raise click.ClickException("nothing was done: that is not the database's name")


def _without_password(dsn: str) -> tuple[str, str | None]:
    """The url as others may see it, and its password."""
    parts = urlsplit(dsn)
    user, at, place = parts.netloc.rpartition("@")
    name, separator, password = user.partition(":")
    if not separator:
        return dsn, None
    return parts._replace(netloc=f"{name}{at}{place}").geturl(), unquote(password)


def _psql() -> str:
    """The embedded server's own, else what is on PATH."""
    from fastlane.sql.embedded.binaries import find_binaries

    found = shutil.which("psql")
    if found is not None:
        return found
    try:
        own = find_binaries().directory / "psql"
    except ConfigurationError:
        own = Path("psql")
    if own.is_file():
        return str(own)
    raise ConfigurationError("psql is not installed\n    mend: apt-get install postgresql-client, or the like")

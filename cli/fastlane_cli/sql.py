"""``fastlane sql``: an application's databases from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import click

from fastlane.errors import ConfigurationError
from fastlane_cli import outbox
from fastlane_cli.databases import Place
from fastlane_cli.places import chosen_database, database_option, only, with_places
from fastlane_cli.resources import Target, target_options

if TYPE_CHECKING:
    from fastlane.sql.migrations import MigrationStatus

__all__ = ["command"]

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])


@click.group("sql")
def command() -> None:
    """Databases: migrations, a prompt, a fresh start, the outbox."""


for _verb in (outbox.outbox, outbox.retry, outbox.drop):
    command.add_command(_verb)


@command.command("migrate")
@target_options
@database_option
def migrate(name: str | None, **options: Any) -> None:
    """Apply what is pending in TARGET's databases.

    Of the framework's own tables, too. One machine at a time: others that do the same meanwhile wait. A migration that
    fails leaves its database as it was.

    Example: fastlane sql migrate app:app
    """

    async def work(places: list[Place]) -> None:
        for place in places:
            if not await place.migrate():
                click.echo(f"{place.name}: nothing is pending")

    with_places(options, name, work)


@command.command("status")
@target_options
@database_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def status(name: str | None, as_json: bool, **options: Any) -> None:
    """Show what is applied, and what is pending. Exit code 1 unless all is in order.

    Example: fastlane sql status app:app --dev
    """

    async def work(places: list[Place]) -> list[dict[str, Any]]:
        rows = []
        for place in places:
            framework, own = place.migrators()
            async with place.connected() as connection:
                is_ready = True
                if await place.keeps_tables(connection):
                    tables = await framework.status(connection)
                    is_ready = not (tables.pending or tables.edited)
                rows.append(_described(place.name, await own.status(connection), is_ready=is_ready))
        return rows

    rows = with_places(options, name, work)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    for row in () if as_json else rows:
        click.echo(f"{row['database']}:")
        for migration in row["migrations"]:
            applied = f"  {migration['applied_at'][:19].replace('T', ' ')}" if migration["applied_at"] else ""
            click.echo(f"  {migration['migration']}  {migration['state']}{applied}")
        if not row["migrations"]:
            click.echo("  it has no migrations")
        if not row["framework_tables"]:
            click.echo("  (the framework's own tables are not those of this version)")
    if not all(row["in_order"] for row in rows):
        sys.exit(1)


@command.command("rollback")
@target_options
@database_option
@click.option("--steps", default=1, show_default=True, type=click.IntRange(1), help="So many, the newest first.")
@click.option("--confirm", metavar="NAME", help="The database's name, instead of being asked for it.")
def rollback(name: str | None, steps: int, confirm: str | None, **options: Any) -> None:
    """Undo the newest migrations, by their .down.sql files.

    Off the embedded server it asks for the database's name.

    Example: fastlane sql rollback app:app --dev --steps 2
    """

    async def work(places: list[Place]) -> None:
        place = only(places)
        place.need_sessions()
        migrator = place.migrators()[1]
        _make_sure(place, confirm, f"undo {steps} of its migrations")
        async with place.connected() as connection:
            # One at a time: those before the one that can't be undone are, and are told.
            for _ in range(steps):
                undone = await migrator.rollback(connection, 1)
                for migration in undone:
                    click.echo(f"{place.name}: {migration.title} undone")
                if not undone:
                    click.echo(f"{place.name}: nothing is left to be undone")
                    return

    with_places(options, name, work)


@command.command("new")
@target_options
@click.argument("title")
@database_option
def new(title: str, name: str | None, **options: Any) -> None:
    """Make the file of a new migration, called TITLE.

    It gets the next number, beside the module that declares the database. Needs no configuration.

    Example: fastlane sql new app:app "add likes"
    """
    from fastlane.sql.migrations import new_migration

    database = chosen_database(Target(**options, is_checked=False), name)
    if database.migrations is None:
        raise ConfigurationError(f"database {database.name!r} says migrations=None: they are another tool's")
    path = new_migration(Path(database.place.file).parent / database.migrations, title)
    click.echo(os.path.relpath(path))


@command.command("shell")
@target_options
@database_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def shell(name: str | None, arguments: tuple[str, ...], **options: Any) -> None:
    """Open psql on a database.

    ARGUMENTS, behind --, are psql's. The password is handed to it in its environment.

    Example: fastlane sql shell app:app --dev -- -c 'SELECT 1'
    """

    async def work(places: list[Place]) -> int:
        settings = only(places).settings
        address, password = _without_password(settings.dsn, settings.current().password)
        environment = {**os.environ, **({} if password is None else {"PGPASSWORD": password})}
        program = _psql()
        with _interrupts_left_to_others():
            return subprocess.run([program, address, *arguments], env=environment).returncode

    code = with_places(options, name, work)
    sys.exit(code if code >= 0 else 128 - code)


@command.command("url")
@target_options
@database_option
@click.option("--show-password", is_flag=True, help="With the password in it.")
def url(name: str | None, show_password: bool, **options: Any) -> None:
    """Print the url of a database, for other tools.

    An embedded server runs while somebody uses it, and 5 s longer: fastlane exec keeps it running for a command.

    It says how connections are secured (sslmode, sslrootcert), as libpq has it.

    Example: fastlane sql url app:app --show-password
    """

    async def work(places: list[Place]) -> str:
        dsn = only(places).settings.dsn
        return dsn if show_password else _without_password(dsn)[0]

    click.echo(with_places(options, name, work))


@command.command("reset")
@target_options
@database_option
@click.option("--confirm", metavar="NAME", help="The database's name, instead of being asked for it.")
def reset(name: str | None, confirm: str | None, **options: Any) -> None:
    """Remove everything in a database, and migrate the empty one.

    Off the embedded server it asks for the database's name.

    Example: fastlane sql reset app:app --dev
    """

    async def work(places: list[Place]) -> None:
        place = only(places)
        place.need_sessions()
        place.migrators()  # files that make no sense are told before anything is removed
        _make_sure(place, confirm, f"remove everything in the database {place.name!r}")
        await place.empty()
        await place.migrate()
        click.echo(f"{place.name}: begun anew")

    with_places(options, name, work)


def _described(name: str, found: MigrationStatus, *, is_ready: bool) -> dict[str, Any]:
    edited = {migration.version for migration in found.edited}
    unknown = {row.version for row in found.unknown}
    late = {migration.version for migration in found.out_of_order}
    migrations: list[dict[str, Any]] = [
        {
            "migration": f"{row.version:04d}_{row.name}",
            "state": "CHANGED since it was applied"
            if row.version in edited
            else "applied by a newer version of the code"
            if row.version in unknown
            else "applied",
            "applied_at": row.applied_at.isoformat(),
        }
        for row in found.applied
    ]
    migrations += [
        {
            "migration": migration.title,
            "state": "OUT OF ORDER" if migration.version in late else "pending",
            "applied_at": None,
        }
        for migration in found.pending
    ]
    in_order = is_ready and not (found.pending or found.edited)
    return {"database": name, "in_order": in_order, "framework_tables": is_ready, "migrations": migrations}


def _make_sure(place: Place, confirm: str | None, what: str) -> None:
    """Off the embedded server, what can't be undone wants to be named."""
    if place.is_embedded:
        return
    if confirm is None:
        confirm = click.prompt(f"This will {what}. Write the database's name ({place.name}) to go on", default="")
    if confirm != place.name:
        raise click.ClickException("nothing was done: that is not the database's name")


def _without_password(dsn: str, configured: str | None = None) -> tuple[str, str | None]:
    """The url as others may see it, and its password: the ``configured`` one, else what stands in it."""
    parts = urlsplit(dsn)
    user, at, place = parts.netloc.rpartition("@")
    user, separator, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in query if key not in ("password", "sslpassword")]
    found = dict(query).get("password", unquote(password) if separator else None)
    query_text = f"?{urlencode(kept, safe='/', quote_via=quote)}" if kept else ""
    # By hand: urlunsplit leaves out an authority that is empty.
    return f"{parts.scheme}://{user}{at}{place}{parts.path}{query_text}", found if configured is None else configured


@contextmanager
def _interrupts_left_to_others() -> Iterator[None]:
    """Ctrl-C is psql's, which ends a query with it and goes on. Not SIG_IGN: psql would inherit that."""
    kept = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)


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

"""``fastlane sql outbox``, ``outbox-retry``, ``outbox-drop``: what a database still has to hand to its brokers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from fastlane.errors import ConfigurationError
from fastlane.redaction import redacted
from fastlane_cli.databases import Place
from fastlane_cli.places import database_option, only, with_places
from fastlane_cli.resources import target_options

if TYPE_CHECKING:
    import asyncpg

    from fastlane.pubsub.outbox.refused import Refused, Waiting

__all__ = ["drop", "outbox", "retry"]

LIMIT = 100

_limit = click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="At most so many, the oldest first."
)


@click.command("outbox")
@target_options
@database_option
@_limit
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with the payloads.")
def outbox(name: str | None, limit: int, as_json: bool, **options: Any) -> None:
    """Show what waits in the outbox, and what a broker refused for good.

    Refused messages stay in fastlane.outbox_dead until they are tried again (outbox-retry) or removed (outbox-drop).

    Example: fastlane sql outbox app:app
    """

    async def work(places: list[Place]) -> list[tuple[str, list[Waiting], list[Refused]]]:
        from fastlane.pubsub.outbox.refused import refused, waiting

        found = []
        for place in places:
            async with _connected(place) as connection:
                found.append((place.name, await waiting(connection), await refused(connection, limit)))
        return found

    found = with_places(options, name, work)
    if as_json:
        click.echo(json.dumps([_described(*one) for one in found], indent=2))
        return
    for database, rows, letters in found:
        click.echo(f"{database}:")
        for row in rows:
            click.echo(f"  {row.topic}  {row.messages} waiting, the oldest since {row.oldest:%Y-%m-%d %H:%M:%S}")
        for letter in letters:
            key = "" if letter.key is None else f"  key {letter.key}"
            click.echo(f"  {letter.id}  {letter.refused_at:%Y-%m-%d %H:%M:%S}  {letter.topic}{key}  refused")
            click.echo(f"      {redacted(letter.error)}")
        if not rows and not letters:
            click.echo("  nothing waits, nothing was refused")


@click.command("outbox-retry")
@target_options
@click.argument("ids", nargs=-1)
@database_option
@_limit
def retry(ids: tuple[str, ...], name: str | None, limit: int, **options: Any) -> None:
    """Hand refused messages of the outbox to the broker again.

    Those with IDS, or the oldest. They keep their order among themselves; what came behind them was sent already. Exit
    code 1 if there is none with one of the IDS.

    Example: fastlane sql outbox-retry app:app
    """

    async def work(places: list[Place]) -> int:
        from fastlane.pubsub.outbox.refused import retry

        async with _connected(only(places)) as connection:
            return await retry(connection, list(ids) or None, limit)

    _tell(with_places(options, name, work), "handed to the broker again", ids)


@click.command("outbox-drop")
@target_options
@click.argument("ids", nargs=-1)
@database_option
@_limit
@click.option("--yes", is_flag=True, help="Don't ask.")
def drop(ids: tuple[str, ...], name: str | None, limit: int, yes: bool, **options: Any) -> None:
    """Remove refused messages of the outbox for good.

    Those with IDS, or the oldest. Exit code 1 if there is none with one of the IDS.

    Example: fastlane sql outbox-drop app:app --limit 1000
    """

    async def work(places: list[Place]) -> int:
        from fastlane.pubsub.outbox.refused import drop

        place = only(places)
        if not yes:
            which = _messages(len(set(ids))) if ids else f"up to {_messages(limit)}"
            click.confirm(f"remove {which} of the outbox of {place.name} for good?", abort=True)
        async with _connected(place) as connection:
            return await drop(connection, list(ids) or None, limit)

    _tell(with_places(options, name, work), "removed", ids)


@asynccontextmanager
async def _connected(place: Place) -> AsyncIterator[asyncpg.Connection]:
    import asyncpg

    async with place.connected() as connection:
        try:
            yield connection
        except asyncpg.UndefinedTableError as error:
            raise ConfigurationError(
                f"database {place.name!r} has no outbox: {error}\n    mend: run `fastlane sql migrate APP`"
            ) from error


def _messages(number: int) -> str:
    return f"{number} refused {'message' if number == 1 else 'messages'}"


def _tell(count: int, done: str, ids: tuple[str, ...]) -> None:
    click.echo(f"{_messages(count)} {done}")
    lacking = len(set(ids)) - count
    if lacking > 0:
        raise click.ClickException(f"{lacking} of the IDS {'is' if lacking == 1 else 'are'} not among them")


def _described(database: str, rows: list[Waiting], letters: list[Refused]) -> dict[str, Any]:
    return {
        "database": database,
        "waiting": [{"topic": row.topic, "messages": row.messages, "oldest": row.oldest.isoformat()} for row in rows],
        "refused": [
            {
                "id": letter.id,
                "topic": letter.topic,
                "ordering_key": letter.key,
                "published_at": letter.published_at.isoformat(),
                "refused_at": letter.refused_at.isoformat(),
                "error": redacted(letter.error),
                "attributes": json.loads(letter.attributes),
                "payload": letter.body.decode(errors="replace"),
            }
            for letter in letters
        ],
    }

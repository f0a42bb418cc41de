"""Which databases a verb of ``fastlane sql`` means."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fastlane.errors import ConfigurationError
from fastlane_cli.databases import Place, places_of
from fastlane_cli.resources import Target, run

if TYPE_CHECKING:
    from fastlane.sql import Database

__all__ = ["chosen_database", "database_option", "only", "with_places"]

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])


def database_option(function: _Command) -> _Command:
    """``--database``: which one."""
    return click.option("--database", "name", metavar="NAME", help="Which one; needed where there are several.")(
        function
    )


def with_places(options: dict[str, Any], name: str | None, work: Callable[[list[Place]], Coroutine[Any, Any, T]]) -> T:
    """Do ``work`` with the databases that are meant: ``name``, or all of them."""
    target = Target(**options)

    async def main() -> T:
        from fastlane.resources.declaration import declared_resources
        from fastlane.sql import Database
        from fastlane.sql.preparation import embedded_urls
        from fastlane.sql.service import SqlService

        service = await target.service(SqlService, "database")
        chosen = [chosen_database(target, name)] if name else list(declared_resources(Database).values())
        async with AsyncExitStack() as stack:
            service.receive(await embedded_urls(service, stack))
            return await work(places_of(service, chosen))

    return run(main())


def chosen_database(target: Target, name: str | None) -> Database:
    """The declared one of a name; None: the only one."""
    from fastlane.resources.declaration import declared_resources
    from fastlane.sql import Database

    databases = declared_resources(Database)
    if name is None and len(databases) == 1:
        return next(iter(databases.values()))
    if name not in databases:
        problem = (
            f"{target.name} declares no database {name!r}"
            if name
            else f"{target.name} declares {len(databases)} databases"
        )
        raise ConfigurationError(f"{problem}\n    mend: --database with one of {', '.join(databases) or 'none'}")
    return databases[name]


def only(places: list[Place]) -> Place:
    """For what is done to one database."""
    if len(places) != 1:
        names = ", ".join(place.name for place in places)
        raise ConfigurationError(f"there are {len(places)} databases\n    mend: --database with one of {names}")
    return places[0]

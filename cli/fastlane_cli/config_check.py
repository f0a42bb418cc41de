"""``fastlane config check``: what an application declares, where each of it goes, and what is wrong with that."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from fastlane.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastlane.pubsub.placement.placements import Placement
    from fastlane.resources.configuration import Examined, Loaded, ResourceConfiguration
    from fastlane.resources.surroundings import Surroundings
    from fastlane.secrets import SecretsService

__all__ = ["command"]

_LOCAL_SOURCES = ("env", "dotenv", "files", "json")
"""Providers of secrets that a check may read: looking there opens no connection."""


@click.command("check")
@click.argument("target")
@click.option("--config", metavar="FILE", help="Configuration file; default: fastlane.toml, if there is one.")
@click.option("--embedded", is_flag=True, help="As 'fastlane serve --embedded': what is not configured is embedded.")
@click.option("--dev", is_flag=True, help="As 'fastlane dev': with fastlane.dev.toml, if there is one.")
@click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported.")
def command(target: str, config: str | None, embedded: bool, dev: bool, app_dir: str) -> None:
    """Import TARGET, and check a configuration against what it declares. Opens no connection.

    Exit code 1 if anything is wrong.
    """
    from fastlane.discovery import load_app  # after the command line is known to be right
    from fastlane.redaction import redacted
    from fastlane.resources.configuration import load
    from fastlane.resources.surroundings import Surroundings

    surroundings = Surroundings(mode="dev" if dev else "serve", config=config, embedded=embedded or dev)
    loaded = load(surroundings)
    app = load_app(target, app_dir)  # held: the registry of declarations is weak
    check = _Check(loaded, surroundings)
    check.run()
    click.echo(f"file: {loaded.name if loaded.path else f'none (there is no {loaded.name})'}")
    for row in check.rows:
        click.echo(redacted(row))
    for mistake in check.mistakes:
        click.echo(redacted(mistake))
    del app
    if check.mistakes:
        count = len(check.mistakes)
        click.echo(f"{count} {'mistake' if count == 1 else 'mistakes'} in the configuration of {target}")
        sys.exit(1)
    click.echo(f"{target}: all in order")


class _Check:
    """One check. What can't be looked at because of a mistake is left out; the mistake says so."""

    def __init__(self, loaded: Loaded, surroundings: Surroundings) -> None:
        self._loaded = loaded
        self._surroundings = surroundings
        self.rows: list[str] = []
        self.mistakes: list[str] = []
        self._placed: Mapping[str, Placement] = {}

    def run(self) -> None:
        from fastlane.resources.configuration import examine, hide_values
        from fastlane.server.options import ServeOptions

        try:
            ServeOptions.gather({}, file=self._serve(), file_name=self._loaded.name)
        except ConfigurationError as error:
            self.mistakes.append(str(error))
        secrets = self._check_secrets()
        examined = examine(self._loaded, secrets)
        hide_values(examined.configuration)
        self.mistakes += [mistake for mistake in examined.mistakes if mistake not in self.mistakes]
        self._check_services(examined)
        if not examined.failed:  # else a default would be shown for what stands there
            self.rows = [*_rows(examined.configuration, self._surroundings, self._placed), *self.rows]

    def _serve(self) -> dict[str, object]:
        table = self._loaded.document.get("serve", {})
        return table if isinstance(table, dict) else {}  # what is none, is told with the other tables

    def _check_secrets(self) -> _Found | None:
        """The secrets that were found; None where they can't be looked at from here."""
        from fastlane.resources.configuration.reading import located
        from fastlane.secrets import SecretsService

        try:
            service = SecretsService.of(self._loaded, self._surroundings)
            names = service.names
        except ConfigurationError as error:
            self.mistakes += _whole(str(error))
            return None
        wrong = [located(self._loaded.name, mistake) for mistake in service.check()]
        self.mistakes += wrong
        is_local = service.configuration.secrets.provider in _LOCAL_SOURCES
        found = asyncio.run(_read(service)) if is_local and not wrong else None
        for name in names:
            state = "not looked up: fastlane secrets check does" if found is None else found.state(name)
            self.rows.append(f"secret {name} -> {service.source.place(name)} ({state})")
        if found is not None and found.missing:
            self.mistakes.append(service.explain(found.missing))
        return found

    def _check_services(self, examined: Examined) -> None:
        from fastlane.resources.configuration.reading import located
        from fastlane.resources.declaration import Kind, declared_kinds
        from fastlane.runtime import SERVICES

        kinds: set[Kind] = declared_kinds() - {"secret"}
        configuration = examined.configuration
        kinds |= {"topic"} if configuration.pubsub.topics else set()
        kinds |= {"database"} if configuration.sql.databases else set()
        for kind, path in SERVICES.items():
            if kind in kinds:
                module, _, name = path.partition(":")
                service = getattr(import_module(module), name)(configuration, self._surroundings)
                try:
                    found = examined.mistakes_of(service.name, service.check)
                    if kind == "topic" and not examined.failed:
                        self._placed = service.placements.topics
                except ConfigurationError as error:
                    found = [str(error)]
                self.mistakes += [located(self._loaded.name, mistake) for mistake in found]


class _Found:
    """What a local provider of secrets has. Called with a name, it answers the value."""

    def __init__(self, values: dict[str, str], missing: dict[str, str]) -> None:
        self._values = values
        self.missing = missing

    def __call__(self, name: str) -> str:
        return self._values[name]

    def state(self, name: str) -> str:
        return "missing" if name in self.missing else "there"


async def _read(service: SecretsService) -> _Found:
    from fastlane.redaction import hide

    reading = await service.read()
    for name, value in reading.values.items():
        hide(name, value)
    return _Found(reading.values, reading.missing)


def _whole(text: str) -> list[str]:
    """The mistakes of a text of several, each with its mend below it."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and found:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def _rows(
    configuration: ResourceConfiguration, surroundings: Surroundings, placed: Mapping[str, Placement]
) -> list[str]:
    from fastlane.resources.configuration import TopicOptions, shown_dsn
    from fastlane_cli.declared import gather_declared

    declared = gather_declared()
    nothing = "embedded" if surroundings.embedded else "nothing"
    rows: list[str] = []
    for topic, subscriptions in declared.topics:
        options = configuration.pubsub.topics.get(topic, TopicOptions())
        provider = options.provider or configuration.pubsub.provider
        placement = placed.get(topic)
        called = options.arn or options.name or ""
        if placement is not None:  # else a mistake stands below, and says that it goes nowhere
            called = "" if placement.bound.physical == topic else placement.bound.physical
        rows.append(f"topic {topic} -> {_provider(configuration, provider) or nothing} {called}".rstrip())
        for name in subscriptions:
            place = options.subscriptions.get(name)
            given = "" if place is None else place.name or place.arn or place.url or ""
            given = given or f"{options.name or topic}-{name}"
            if placement is not None:
                given = placement.subscriptions[name][1].physical
            rows.append(f"  subscription {name} -> {given}")
    for name in declared.databases:
        database = configuration.sql.databases.get(name)
        rows.append(f"database {name} -> {nothing if database is None else shown_dsn(database.url)}")
    store = configuration.cron.store or ("database" if declared.databases else nothing)
    rows += [f"cron job {name} ({due}) -> {store}" for name, due in declared.cron_jobs]
    return rows


def _provider(configuration: ResourceConfiguration, name: str | None) -> str:
    if name is None:
        return ""
    options = configuration.providers.get(name)
    if options is None and name != "local":
        return name
    kind = "local" if options is None else str(options.__struct_config__.tag)
    return name if name == kind else f"{name} ({kind})"

"""``fastlane secrets``: what an application needs to be told, where from, and whether it is there."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from fastlane_cli.resources import target_options

if TYPE_CHECKING:
    from fastlane.secrets import SecretsService

__all__ = ["command"]


@click.group("secrets")
def command() -> None:
    """The secrets that an application declares, or its configuration refers to. No value is ever shown."""


@command.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_secrets(target: str, config: str | None, embedded: bool, dev: bool, app_dir: str, as_json: bool) -> None:
    """List the secrets of TARGET: the name, where its value comes from, where it is declared. Reads no value."""
    app, service = _service(target, config, embedded, dev, app_dir)
    places = _places()
    rows = [(name, service.source.place(name), places.get(name, "the configuration")) for name in service.names]
    del app
    if as_json:
        click.echo(json.dumps([dict(zip(("name", "source", "declared"), row, strict=True)) for row in rows], indent=2))
        return
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[2]]))
    if not rows:
        click.echo(f"{target} declares no secret")


@command.command("check")
@target_options
def check_secrets(target: str, config: str | None, embedded: bool, dev: bool, app_dir: str) -> None:
    """Look up every secret of TARGET where the configuration says. Exit code 1 if one is missing."""
    from fastlane.redaction import redacted
    from fastlane.secrets.sources import Unreachable

    app, service = _service(target, config, embedded, dev, app_dir)
    mistakes = list(service.check())
    missing: dict[str, str] = {}
    if not mistakes:
        try:
            missing = asyncio.run(service.read()).missing
        except Unreachable as error:
            mistakes.append(f"secrets can't be read: {redacted(str(error))}")
    names = service.names
    if missing:
        mistakes.append(service.explain(missing))
    for name in names if not mistakes or missing else ():
        click.echo(f"{name}: {'missing' if name in missing else 'there'} ({service.source.place(name)})")
    for mistake in mistakes:
        click.echo(redacted(mistake))
    del app
    if mistakes:
        sys.exit(1)
    click.echo(f"{target}: {len(names)} {'secret' if len(names) == 1 else 'secrets'}, all there")


def _service(target: str, config: str | None, embedded: bool, dev: bool, app_dir: str) -> tuple[object, SecretsService]:
    """The application, which has to be held, since the registry of declarations is weak; and its secrets.

    Raises:
        ConfigurationError: the file can't be read, or ``[secrets]`` is wrong.
        DiscoveryError: the application can't be imported.
    """
    from fastlane.discovery import load_app  # after the command line is known to be right
    from fastlane.resources.configuration import load
    from fastlane.resources.surroundings import Surroundings
    from fastlane.secrets import SecretsService

    surroundings = Surroundings(mode="dev" if dev else "serve", config=config, embedded=embedded or dev)
    loaded = load(surroundings)
    app = load_app(target, app_dir)
    return app, SecretsService.of(loaded, surroundings)


def _places() -> dict[str, str]:
    from fastlane.resources.declaration import declared_resources
    from fastlane.secrets import Secret

    return {
        name: f"{os.path.relpath(secret.place.file)}:{secret.place.line}"
        for name, secret in declared_resources(Secret).items()
    }

"""``fastlane config example``: a commented configuration for this very application."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("example")
@click.argument("target")
@click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported.")
def command(target: str, app_dir: str) -> None:
    """Write a fastlane.toml for TARGET to standard output: every topic, database, secret and cron job it declares."""
    from fastlane.discovery import load_app  # after the command line is known to be right
    from fastlane.resources.configuration.example import example
    from fastlane_cli.declared import gather_declared

    app = load_app(target, app_dir)  # held: the registry of declarations is weak
    click.echo(example(target, gather_declared()), nl=False)
    del app

"""``fastlane config``: the options in force, and where each one comes from; beside it the verbs about the file."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import replace

import click

from fastlane.server.option import Option
from fastlane.server.options import OPTIONS, ServeOptions
from fastlane.server.sources import sources
from fastlane_cli.configuration import Configuration, read_configuration
from fastlane_cli.flags import OptionCommand, serve_flags
from fastlane_cli.habits import misspelt_variables

__all__ = ["command"]

_SECRET = frozenset({"keyfile_password"})


_PARTS = {
    "show": "Show the options of serve; this is what config does without a word behind it.",
    "check": "Check a configuration against an application: what is declared, where it goes, what is missing.",
    "example": "Write a commented configuration for an application.",
    "schema": "Print the JSON Schema of the file, for editors.",
}
"""Each but the first is a module ``config_…`` of this package."""


class _Parts(click.Group):
    """Without the name of a part, what follows ``config`` is the command line of serve."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*_PARTS, "--help", "-h"):
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "show":
            return show
        if cmd_name not in _PARTS:
            return None
        found = importlib.import_module(f"fastlane_cli.config_{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_PARTS.items()))


@click.group("config", cls=_Parts)
def command() -> None:
    """Show the options of 'fastlane serve', and check its configuration file.

    'fastlane config' and any command line of serve shows what serve would run with: see 'fastlane config show --help'.
    """


@click.command("show", cls=OptionCommand)
@click.argument("target", required=False)
@serve_flags()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def show(target: str | None, as_json: bool, **flags: object) -> None:
    """Show every option that 'fastlane serve' would run with, and check them all.

    Takes the same command line, environment and file as serve; TARGET is not imported. What is not the default is
    marked with its source.
    """
    config = flags.get("config")
    file = read_configuration(config if isinstance(config, str) else None)
    options = ServeOptions.gather(flags, file=file.serve, file_name=file.name)
    rows = [(option, _shown(option, getattr(options, option.name)), _source(option, flags, file)) for option in OPTIONS]
    for sentence in misspelt_variables(os.environ):
        click.echo(f"fastlane: {sentence}", err=True)
    if as_json:
        found = {option.name: {"value": value, "source": source or "default"} for option, value, source in rows}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"file: {file.name if file.is_found else f'none (there is no {file.name})'}")
    heading = ""
    for option, value, source in rows:
        if option.section != heading:
            heading = option.section
            click.echo(f"\n{heading}")
        typed = replace(option, default=value).shown_default or "-"
        click.echo(f"  {option.name:<20} {typed:<24} {source}".rstrip())


def _source(option: Option, flags: dict[str, object], file: Configuration) -> str:
    return next((place for place, _ in sources(option, flags, os.environ, file.serve, file.name)), "")


def _shown(option: Option, value: object) -> object:
    return "(not shown)" if option.name in _SECRET and value is not None else value

"""The command line: finds the verb, and turns every known failure into one message and an exit code.

Exit codes: 0 done; 1 what was checked is not in order; 2 a bad option or configuration; 3 the server could not start
(lifespan, bind, boot timeout); 4 the application can't be imported; 128+n ended by signal n.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from fastlane.discovery import DiscoveryError
from fastlane.errors import ConfigurationError
from fastlane.redaction import redacted

__all__ = ["main"]

VERBS = {
    "serve": "Serve an application on every core (production).",
    "dev": "Serve an application in one process, and again after every change.",
    "routes": "List the routes of an application.",
    "check": "Compile an application and report every error at once.",
    "status": "Show the workers of a running server.",
    "config": "Show the options of serve; check, exemplify and describe the configuration file.",
    "exec": "Run a command for which an application's resources are prepared.",
    "shell": "Open a Python prompt with an application and its resources.",
    "pubsub": "Look after topics and subscriptions: backlog, dead letters, provisioning.",
    "sql": "Look after databases: migrations, a prompt, a fresh start.",
    "cron": "List the jobs of an application, run one now, or see what became of them.",
    "secrets": "List the secrets of an application, or look whether all are there.",
}
"""Each is a module of this package, imported when it is asked for, whose ``command`` does the work."""

_ALIKE = {"run": "serve", "start": "serve", "server": "serve", "runserver": "dev", "watch": "dev", "list": "routes"}
"""What other tools call the verbs."""


class _Verbs(click.Group):
    """A group that knows its commands' names and one line of help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"fastlane_cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in VERBS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = [_ALIKE[name]] if name in _ALIKE else difflib.get_close_matches(name, VERBS, n=1)
        looks_like_app = ":" in name or name.endswith(".py")
        meant = f"fastlane dev {name}" if looks_like_app else " ".join(["fastlane", *near, *args[1:]])
        raise click.UsageError(
            f"No such command '{name}'." + (f" Did you mean '{meant}'?" if near or looks_like_app else ""), ctx
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        click.echo(f"fastlane {version('fastlane-asgi')} (Python {sys.version.split()[0]})")
        context.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def group() -> None:
    """Annotated handlers, compiled at import, served on every core.

    Start with: fastlane dev app:app
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Always ends in SystemExit."""
    try:
        group.main(args=arguments, prog_name="fastlane")
    except ConfigurationError as error:
        click.echo(f"fastlane: {redacted(str(error))}", err=True)
        sys.exit(2)
    except DiscoveryError as error:
        click.echo(f"fastlane: {redacted(str(error))}", err=True)
        sys.exit(error.exit_code)

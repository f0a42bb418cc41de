"""``fastlane check``: every mistake in an application's declarations at once."""

from __future__ import annotations

import sys

import click

from fastlane.errors import CompileError

__all__ = ["command"]


@click.command("check")
@click.argument("target")
@click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported.")
def command(target: str, app_dir: str) -> None:
    """Import and compile TARGET, and print all that is wrong with its handlers. Exit code 1 if anything is."""
    from fastlane.routing.collecting import collect_compile_errors
    from fastlane_cli.routes import load_fastlane_app

    found: list[CompileError] = []
    try:
        with collect_compile_errors() as found:
            app = load_fastlane_app(target, app_dir)
        found += app.compile_errors()
    finally:  # an import that fails for another reason has collected something, too
        for error in found:
            click.echo(error)
    if found:
        click.echo(f"{len(found)} {'error' if len(found) == 1 else 'errors'} in {target}")
        sys.exit(1)
    count = len(app.routes)
    click.echo(f"{target}: {count} {'route' if count == 1 else 'routes'}, all in order")

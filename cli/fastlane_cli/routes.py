"""``fastlane routes``: every route, where it stands, and how it runs."""

from __future__ import annotations

import inspect
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import click

from fastlane.discovery import DiscoveryError, load_app
from fastlane.routing.route import handler_place

if TYPE_CHECKING:
    from fastlane.app import App
    from fastlane.endpoint import Endpoint
    from fastlane.routing.route import Route

__all__ = ["command", "load_fastlane_app"]


class _Row(NamedTuple):
    methods: str
    path: str
    handler: str
    place: str
    runs: str
    source: str


@click.command("routes")
@click.argument("target")
@click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported.")
@click.option("--source", is_flag=True, help="Print the function that was generated for each route.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def command(target: str, app_dir: str, source: bool, as_json: bool) -> None:
    """List the routes of TARGET.

    How a route runs: "lane" is driven to its end at once, since nothing in it awaits; "task" runs in a task of its own;
    "thread" is a plain def handler in a worker thread; "asgi" takes the ASGI door instead of the fast lane.
    """
    app = load_fastlane_app(target, app_dir)
    rows = [_row(app, route) for route in app.routes]
    rows += [_Row("WEBSOCKET", route.path, *_where(route.handler), "asgi", "") for route in app.websocket_routes]
    rows += [_Row("MOUNT", mount.path or "/", *_where(mount.application), "asgi", "") for mount in app.mounts]
    if as_json:
        keys = _Row._fields if source else _Row._fields[:-1]
        click.echo(json.dumps([dict(zip(keys, row, strict=False)) for row in rows], indent=2))
    elif source:
        for row in rows:
            click.echo(f"# {row.methods} {row.path}: {row.handler} ({row.place}), {row.runs}\n{row.source}\n")
    else:
        _print_table(rows)


def load_fastlane_app(target: str, app_dir: str) -> App:
    """The application, which must be one of ours.

    Raises:
        DiscoveryError: it is any other ASGI application.
    """
    from fastlane.app import App  # after the command line is known to be right: --help needs no framework

    app = load_app(target, app_dir)
    if not isinstance(app, App):
        raise DiscoveryError(f"{target} is no fastlane App but a {type(app).__name__}, whose routes are not known here")
    return app


def _row(app: App, route: Route) -> _Row:
    template = route.template
    path = template.build(dict.fromkeys(template.names, "x"))
    endpoint = app.table.match(route.methods[0], path.encode("ascii")).endpoint
    runs = _how_it_runs(app, route, endpoint)
    return _Row(",".join(route.methods), route.path, *_where(route.handler), runs, endpoint.source)


def _where(handler: object) -> tuple[str, str]:
    """A handler's name, and its file and line; what is no function has a class instead of a name, and no place."""
    place = handler_place(handler)
    if not place["file"]:
        return type(handler).__qualname__, ""
    return place["handler"], f"{os.path.relpath(place['file'])}:{place['line']}"


def _how_it_runs(app: App, route: Route, endpoint: Endpoint) -> str:
    if app.asgi_only or endpoint.asgi is not None:
        return "asgi"
    if not endpoint.suspends:
        return "lane"
    return "task" if inspect.iscoroutinefunction(route.handler) or route.inline else "thread"


def _print_table(rows: list[_Row]) -> None:
    shown = [(row.methods, row.path, row.runs, row.handler, row.place) for row in rows]
    widths = [max((len(row[column]) for row in shown), default=0) for column in range(4)]
    for row in shown:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())

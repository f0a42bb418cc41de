"""``fastlane status``: the workers of a running server, as its control socket tells."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
from typing import Any

import click

from fastlane.errors import ConfigurationError
from fastlane.server.options import OPTIONS
from fastlane.server.sources import sources
from fastlane_cli.configuration import read_configuration

__all__ = ["command"]

_SECONDS = 5.0
"""A supervisor that does not answer for so long has other worries."""
_COLUMNS = ("worker", "pid", "state", "age", "connections", "in flight", "requests", "rss", "restarts", "generation")


class _Control(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect("\0" + self._path[1:] if self._path.startswith("@") else self._path)


@click.command("status")
@click.option("--control-socket", metavar="PATH", help="The server's --control-socket; default: as 'serve' finds it.")
@click.option("--config", metavar="FILE", help="Configuration file; default: fastlane.toml, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def command(control_socket: str | None, config: str | None, as_json: bool) -> None:
    """Show the workers of a running server. It must have been started with --control-socket.

    Exit code 0 if the server is ready, 1 if it is not, 3 if nobody answers.
    """
    path = _find(control_socket, config)
    try:
        status = _ask(path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        click.echo(f"fastlane: nobody answers on the control socket {path}: {reason}", err=True)
        sys.exit(3)
    click.echo(json.dumps(status, indent=2) if as_json else _shown(status))
    sys.exit(0 if status["ready"] else 1)


def _find(control_socket: str | None, config: str | None) -> str:
    file = read_configuration(config)
    [option] = [option for option in OPTIONS if option.name == "control_socket"]
    given = {"control_socket": control_socket}
    for where, raw in sources(option, given, os.environ, file.serve, file.name):
        try:
            return str(option.read(raw))
        except ValueError as error:
            raise ConfigurationError(f"{where}: expected {error}, got {raw!r}") from None
    raise ConfigurationError("give --control-socket PATH, as the server got it: there is none by default")


def _ask(path: str) -> dict[str, Any]:
    with contextlib.closing(_Control(path)) as connection:
        connection.request("GET", "/status")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"it is no control socket: it answers {response.status}")
        status: dict[str, Any] = json.loads(body)
        return status


def _shown(status: dict[str, Any]) -> str:
    is_ready = "ready" if status["ready"] else f"not ready: {status['reason']}"
    rows = [_COLUMNS, *(_cells(worker) for worker in status["workers"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([f"{status['name']}: {is_ready}", "", *lines])


def _cells(worker: dict[str, Any]) -> tuple[str, ...]:
    keys = ("connections", "in_flight", "requests")
    return (
        str(worker["worker"]),
        str(worker["pid"]),
        worker["state"],
        _duration(worker["age"]),
        *(str(worker[key]) for key in keys),
        f"{worker['rss'] / 2**20:.1f} MiB",
        str(worker["restarts"]),
        str(worker["generation"]),
    )


def _duration(seconds: float) -> str:
    """The two largest units."""
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"

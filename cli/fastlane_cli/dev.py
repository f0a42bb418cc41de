"""``fastlane dev``: one server process, replaced by a new one after every change.

This process holds the listening socket, so that a request during a reload waits instead of being refused, and never
imports the application: what is wrong with it can't break the watching.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import click
import msgspec

from fastlane.server.logs import set_up_logging
from fastlane.server.options import ServeOptions
from fastlane_cli.changes import Sources
from fastlane_cli.flags import OptionCommand, serve_flags

__all__ = ["command"]

FLAGS = (
    "host",
    "port",
    "threads",
    "app_dir",
    "subscriptions",
    "root_path",
    "lifespan",
    "access_log",
    "log_format",
    "log_level",
)
LOOK_SECONDS = 0.2
STOP_SECONDS = 2.0
"""How long a server process may take to end before it is killed. Its own deadline for running requests is shorter."""
LIFE_SECONDS = 10.0
"""A server process that ends by itself after less than that may do so again at once."""
MOST_PAUSE_SECONDS = 10.0
"""Before one that keeps ending is started again."""

logger = logging.getLogger("fastlane.dev")


@click.command("dev", cls=OptionCommand)
@click.argument("target")
@serve_flags(FLAGS)
@click.option("--reload/--no-reload", default=True, help="Start again after every change. [on]")
@click.option(
    "--reload-dir",
    "directories",
    multiple=True,
    metavar="DIR",
    help="A directory to watch; may be repeated. [the working directory and the app's]",
)
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    help="What stands behind resources; what it does not name is embedded. [fastlane.dev.toml, if there is one]",
)
def command(target: str, reload: bool, directories: tuple[str, ...], config: str | None, **flags: object) -> None:
    """Serve TARGET in one process, and again after every change, with errors explained.

    Answers are checked against their annotations at every depth. fastlane.toml is not read, nor FASTLANE_CONFIG.
    """
    options = ServeOptions.gather(flags)
    set_up_logging(options.log_level, options.log_format)
    with _bind(options) as listener:
        watched = directories or (os.getcwd(), options.app_dir or os.getcwd(), _directory_of(target))
        sources = Sources(watched) if reload else None
        sys.exit(_Development(target, options, config, listener, sources).run())


def _bind(options: ServeOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=options.backlog)
    except OSError as error:
        # create_server adds to the text what stands in ours already; a resolver's numbers are no errno.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        click.echo(f"fastlane: can't listen on {options.host}:{options.port}: {reason}", err=True)
        if options.port:
            click.echo(f"    another port: fastlane dev --port {options.port + 1}", err=True)
        sys.exit(3)


def _directory_of(target: str) -> str:
    path = target.rpartition(":")[0] or target
    return os.path.dirname(os.path.abspath(path)) if path.endswith(".py") else os.getcwd()


class _Development:
    """Runs the server process, watches, and starts another one."""

    def __init__(
        self,
        target: str,
        options: ServeOptions,
        config: str | None,
        listener: socket.socket,
        sources: Sources | None,
    ) -> None:
        self._listener = listener
        self._sources = sources
        self._wake = threading.Event()
        self._signals = 0
        self._began = 0.0
        self._ends = 0
        # The server process ends when this pipe does, however this process ended.
        self._lifeline, self._end = os.pipe()
        order = json.dumps([target, listener.fileno(), self._lifeline, config, msgspec.to_builtins(options)])
        # -P: a click.py or types.py in the working directory must not shadow what the server itself imports.
        self._arguments = [sys.executable, "-P", "-m", "fastlane_cli.dev_server", order]

    def run(self) -> int:
        """Until Ctrl-C or TERM. The exit code is 0 then, and the server's own with ``--no-reload``."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        process = self._start()
        while not self._signals:
            if self._sources is None:
                self._wake.wait(LOOK_SECONDS)
                if process.poll() is not None:
                    return process.returncode
                continue
            started = time.thread_time()
            changed = self._sources.changed()
            looked = time.thread_time() - started
            if changed:
                logger.info("%s changed: starting again", _named(changed))
                self._stop(process)
                process = self._start()
            elif process.poll() is not None:
                pause = self._pause_after_end()
                logger.error("the application's process %s: starting it again in %g s", _ending(process), pause)
                self._wake.wait(pause)
                process = self._start()
            # A tree that takes long to look at is looked at less often: at most a twentieth of one core.
            self._wake.wait(max(LOOK_SECONDS, 20 * looked))
        self._stop(process)
        return 0

    def _pause_after_end(self) -> float:
        """How long what has ended by itself stays so: longer each time, where it does not live."""
        has_lived = time.monotonic() - self._began > LIFE_SECONDS
        self._ends = 0 if has_lived else self._ends + 1
        return min(0.25 * 2.0**self._ends, MOST_PAUSE_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        self._began = time.monotonic()
        return subprocess.Popen(self._arguments, pass_fds=(self._listener.fileno(), self._lifeline))

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ask, and kill when it takes too long, or at a second Ctrl-C."""
        process.terminate()
        asked = self._signals
        end = time.monotonic() + STOP_SECONDS
        while process.poll() is None:
            if time.monotonic() > end or self._signals > max(asked, 1):
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)

    def _on_signal(self, *_: object) -> None:
        self._signals += 1
        self._wake.set()


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _named(paths: list[str]) -> str:
    names = [os.path.relpath(path) for path in paths[:3]]
    return ", ".join(names) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")

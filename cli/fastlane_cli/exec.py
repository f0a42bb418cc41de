"""``fastlane exec``: a command that finds the application's resources prepared."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import click

from fastlane.discovery import load_app
from fastlane.resources import are_declared
from fastlane.resources.surroundings import Surroundings
from fastlane.server.logs import set_up_logging
from fastlane_cli.resources import is_embedded, known_failures_told, resource_options

__all__ = ["command"]

_FORWARDED = (
    tuple(getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"))
    if sys.platform != "win32"
    else ()
)
_FROM_A_TERMINAL = frozenset({"SIGINT", "SIGQUIT", "SIGWINCH"})
"""A terminal sends them to everything in its foreground."""


class _Exec(click.Command):
    """Options may stand behind TARGET, too, where ``--`` says at which word the command begins."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = "--" in args
        return super().parse_args(ctx, args)


@click.command("exec", cls=_Exec, context_settings={"ignore_unknown_options": True})
@resource_options
@click.option(
    "--boot-timeout",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="How long what can't be reached is waited for.",
)
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(
    target: str,
    arguments: tuple[str, ...],
    app_dir: str,
    config: str | None,
    embedded: bool,
    dev: bool,
    boot_timeout: float,
) -> None:
    """Run a command for which TARGET's resources (secrets, embedded servers) are prepared.

    `async with app.resources():` in a Python script that runs there, or in whatever it starts, binds the same. Nothing
    secret stands in its environment or on its command line. The exit code is the command's.

    Example: fastlane exec app:app -- python backfill.py
    """
    if not arguments:
        raise click.UsageError("which command? Write fastlane exec app:app -- COMMAND")
    set_up_logging("warning", "text")
    app = load_app(target, app_dir)  # held: the registry of declarations is weak
    surroundings = Surroundings(
        mode="dev" if dev else "script",
        config=config,
        embedded=is_embedded(embedded, dev),
        boot_timeout=boot_timeout,
    )
    with known_failures_told():
        code = asyncio.run(_run(arguments, surroundings))
    del app
    sys.exit(code)


async def _run(arguments: tuple[str, ...], surroundings: Surroundings) -> int:
    if not are_declared():
        return await _spawn(arguments, {}, ())
    from fastlane.resources.handoff import VARIABLE
    from fastlane.runtime import Runtime
    from fastlane.supervisor.memory import MemoryFile
    from fastlane.tenancy import alone

    runtime = Runtime(surroundings)
    runtime.check()
    try:
        async with alone(surroundings):
            handoff = await runtime.prepare()
        file = MemoryFile("fastlane-exec")
        file.write(handoff.encoded())
        # For a program between that closes what it does not know: then the script prepares the same once more.
        environment = {VARIABLE: str(file.fileno()), "FASTLANE_EMBEDDED": "1" if surroundings.embedded else "0"}
        if handoff.file is not None:
            environment["FASTLANE_CONFIG"] = handoff.file
        elif surroundings.mode == "dev":  # and not production's
            environment["FASTLANE_CONFIG"] = os.devnull
        return await _spawn(arguments, environment, (file.fileno(),))
    finally:
        await runtime.close()


async def _spawn(arguments: tuple[str, ...], environment: dict[str, str], descriptors: tuple[int, ...]) -> int:
    """Run it to its end, hand on the signals that this process gets, and answer the exit code."""
    loop = asyncio.get_running_loop()
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, env={**os.environ, **environment}, pass_fds=descriptors
        )
    except OSError as error:
        click.echo(f"fastlane: {arguments[0]} can't be run: {error.strerror}", err=True)
        return 127 if isinstance(error, FileNotFoundError) else 126
    for number in _FORWARDED:
        loop.add_signal_handler(number, _forward, process, number)
    code = await process.wait()
    return code if code >= 0 else 128 - code


def _forward(process: asyncio.subprocess.Process, number: int) -> None:
    if signal.Signals(number).name in _FROM_A_TERMINAL and _is_in_foreground():
        return  # the command has got it, too
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether there is a terminal, and what is typed at it goes to this process and to what it has started."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

"""``fastlane serve``: the supervisor, with the options of flags, environment and file."""

from __future__ import annotations

import logging
import os
import sys

import click

from fastlane.errors import ConfigurationError
from fastlane.server.logs import set_up_logging
from fastlane.server.options import ServeOptions
from fastlane.supervisor import Settings, run
from fastlane_cli.configuration import read_configuration
from fastlane_cli.flags import OptionCommand, serve_flags
from fastlane_cli.habits import misspelt_variables

__all__ = ["command", "settings_of"]

logger = logging.getLogger("fastlane.server")


def settings_of(target: str, flags: dict[str, object]) -> tuple[Settings, ServeOptions]:
    """The options in force: a flag beats the environment, which beats the file.

    Raises:
        ConfigurationError: see `read_configuration` and `ServeOptions.gather`.
    """
    config = flags.get("config")
    file = read_configuration(config if isinstance(config, str) else None)
    options = ServeOptions.gather(flags, file=file.serve, file_name=file.name)
    configuration = file.name if file.is_found else None
    return options.settings(target, configuration, configures_resources=file.has_resources), options


@click.command("serve", cls=OptionCommand)
@click.argument("target")
@serve_flags()
def command(target: str, **flags: object) -> None:
    """Serve TARGET with a supervisor and its workers, until TERM or Ctrl-C.

    TARGET is module:attribute (app if left out), path/file.py, or module:factory(): an App, or any ASGI application.

    Every option is also a variable, such as FASTLANE_MAX_REQUESTS, and a key in the table [serve] of fastlane.toml,
    such as max_requests. A flag beats the environment, which beats the file.
    """
    if sys.platform == "win32":
        raise ConfigurationError("serve needs fork and signals, which Windows has not: use 'fastlane dev', or uvicorn")
    settings, options = settings_of(target, flags)
    set_up_logging(options.log_level, options.log_format)
    for sentence in misspelt_variables(os.environ):
        logger.warning(sentence)
    sys.exit(run(settings, lambda: settings_of(target, flags)[0]))

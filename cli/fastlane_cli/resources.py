"""The services of an application's resources, for the verbs that look after them: configured, and nothing opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fastlane.errors import ConfigurationError, FastlaneError

if TYPE_CHECKING:
    from fastlane.resources.service import Service
    from fastlane.resources.surroundings import Mode

__all__ = ["Target", "run", "target_options"]

S = TypeVar("S", bound="Service")
T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])

_OPTIONS = (
    click.argument("target"),
    click.option("-c", "--config", metavar="FILE", help="Configuration file. [FASTLANE_CONFIG, else fastlane.toml]"),
    click.option(
        "--embedded", is_flag=True, help="As 'fastlane serve --embedded': what is not configured is embedded."
    ),
    click.option(
        "--dev", is_flag=True, help="As 'fastlane dev': with fastlane.dev.toml, if there is one, else embedded."
    ),
    click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported."),
)


def target_options(function: _Command) -> _Command:
    """TARGET, and the options that say which configuration holds."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Target:
    """An application that was imported, and its resources' services.

    Args:
        target, config, embedded, dev, app_dir: as `target_options` has them.

    Raises:
        ConfigurationError: configuration and declarations do not fit.
        DiscoveryError: the application can't be imported.
    """

    def __init__(self, target: str, config: str | None, embedded: bool, dev: bool, app_dir: str) -> None:
        from fastlane.discovery import load_app  # after the command line is known to be right
        from fastlane.resources.surroundings import Surroundings
        from fastlane.runtime import Runtime

        self.name = target
        self._app = load_app(target, app_dir)  # held: the registry of declarations is weak
        mode: Mode = "dev" if dev else "serve"
        embedded = embedded or dev or os.environ.get("FASTLANE_EMBEDDED", "").lower() in ("1", "true", "on", "yes")
        self.surroundings = Surroundings(mode=mode, config=config, embedded=embedded, boot_timeout=10.0)
        self._runtime = Runtime(self.surroundings)
        self._runtime.check()

    async def service(self, kind: type[S], what: str) -> S:
        """The service of a kind, with every reference of the configuration resolved.

        Raises:
            ConfigurationError: the application declares nothing of the kind.
        """
        await self._runtime.prepare_references()
        for service in self._runtime.services:
            if isinstance(service, kind):
                return service
        raise ConfigurationError(f"{self.name} declares no {what}")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. What goes wrong in the known ways is one message and exit code 1."""
    import asyncio

    from fastlane.redaction import redacted

    try:
        return asyncio.run(coroutine)
    except ConfigurationError:
        raise
    except (FastlaneError, NotImplementedError) as error:
        raise click.ClickException(redacted(str(error))) from error

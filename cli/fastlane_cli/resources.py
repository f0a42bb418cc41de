"""The services of an application's resources, for the verbs that look after them: configured, and nothing opened."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fastlane.errors import ConfigurationError, FastlaneError

if TYPE_CHECKING:
    from fastlane.resources.service import Service
    from fastlane.resources.surroundings import Mode

__all__ = ["Target", "bound", "is_embedded", "known_failures_told", "resource_options", "run", "target_options"]

S = TypeVar("S", bound="Service")
T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])

BOOT_SECONDS = 10.0
"""Somebody waits before a screen: shorter than a server's patience."""

_OPTIONS = (
    click.option("-c", "--config", metavar="FILE", help="Configuration file. [FASTLANE_CONFIG, else fastlane.toml]"),
    click.option(
        "--embedded", is_flag=True, help="As 'fastlane serve --embedded': what is not configured is embedded."
    ),
    click.option(
        "--dev", is_flag=True, help="As 'fastlane dev': with fastlane.dev.toml, if there is one, else embedded."
    ),
    click.option("--app-dir", default="", metavar="DIR", help="Directory that comes first when the app is imported."),
)


def resource_options(function: _Command) -> _Command:
    """The options that say which configuration holds, and where the application is."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def target_options(function: _Command) -> _Command:
    """TARGET, and `resource_options`."""
    return click.argument("target")(resource_options(function))


def is_embedded(embedded: bool, dev: bool) -> bool:
    """Whether what has no configuration is embedded: by an option, or by ``FASTLANE_EMBEDDED``."""
    from fastlane.tenancy import surroundings_alone  # after the command line is known to be right

    return embedded or dev or surroundings_alone().embedded


class Target:
    """An application that was imported, and its resources' services.

    Args:
        target, config, embedded, dev, app_dir: as `target_options` has them.
        is_checked: False: what is declared is enough, no configuration is read.

    Raises:
        ConfigurationError: configuration and declarations do not fit.
        DiscoveryError: the application can't be imported.
    """

    def __init__(
        self, target: str, config: str | None, embedded: bool, dev: bool, app_dir: str, *, is_checked: bool = True
    ) -> None:
        from fastlane.discovery import load_app  # after the command line is known to be right
        from fastlane.resources.surroundings import Surroundings
        from fastlane.runtime import Runtime

        self.name = target
        self._app = load_app(target, app_dir)  # held: the registry of declarations is weak
        mode: Mode = "dev" if dev else "serve"
        self.surroundings = Surroundings(
            mode=mode, config=config, embedded=is_embedded(embedded, dev), boot_timeout=BOOT_SECONDS
        )
        self._runtime = Runtime(self.surroundings)
        if is_checked:
            self._runtime.check()

    async def service(self, kind: type[S], what: str) -> S:
        """The service of a kind, with every reference of the configuration resolved.

        Raises:
            ConfigurationError: the application declares nothing of the kind.
        """
        await self._runtime.prepare_references()
        found = self.find(kind)
        if found is None:
            raise ConfigurationError(f"{self.name} declares no {what}")
        return found

    def find(self, kind: type[S]) -> S | None:
        """The same, as far as it was made; None: the application declares nothing of the kind."""
        return next((service for service in self._runtime.services if isinstance(service, kind)), None)


@asynccontextmanager
async def bound(config: str | None, embedded: bool, dev: bool) -> AsyncIterator[None]:
    """Bind every resource on the running loop, for the time of a block. Nothing is consumed, nothing is scheduled."""
    from fastlane.resources.host import Host
    from fastlane.resources.surroundings import Surroundings
    from fastlane.tenancy import Tenancy, script

    if not dev:
        async with script(config, is_embedded(embedded, dev)):
            yield
        return
    # Not a script: that would read fastlane.toml, and a laptop has no business with production.
    tenancy = await Tenancy.begin(Host(Surroundings(mode="dev", config=config, embedded=True)))
    try:
        yield
    finally:
        if tenancy is not None:
            await tenancy.end()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. What goes wrong in the known ways is one message and exit code 1."""
    with known_failures_told():
        return asyncio.run(coroutine)


@contextmanager
def known_failures_told() -> Iterator[None]:
    """What goes wrong in the known ways is one message and exit code 1, or that of a wrong configuration."""
    from fastlane.redaction import redacted

    try:
        yield
    except ConfigurationError:
        raise
    except (FastlaneError, NotImplementedError) as error:
        raise click.ClickException(redacted(str(error))) from error
    except TimeoutError as error:
        raise click.ClickException(redacted(str(error)) or "there was no answer in time") from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever reads has seen enough: click ends quietly
            raise
        raise click.ClickException(f"{type(error).__name__}: {redacted(str(error))}") from error
    except Exception as error:
        if not isinstance(error, _database_errors()):
            raise
        raise click.ClickException(f"{type(error).__name__}: {redacted(str(error))}") from error


def _database_errors() -> tuple[type[Exception], ...]:
    """Of asyncpg, where somebody has imported it."""
    asyncpg = sys.modules.get("asyncpg")
    return () if asyncpg is None else (asyncpg.PostgresError, asyncpg.InterfaceError)

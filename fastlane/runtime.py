"""What stands behind the declared resources of a process, step by step.

check ─► prepare ─► receive ─► open ─► [the user's lifespan begins] ─► start
close ◄─ [the user's lifespan ends] ◄─ drain

`Runtime` does the steps; who does them when, and what of it in which process, is `fastlane.tenancy`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib import import_module
from typing import Any, cast

from fastlane.errors import ConfigurationError
from fastlane.resources.configuration import ResourceConfiguration, hide_values
from fastlane.resources.configuration.reading import Loaded, examine, load, located, referenced_secrets, resolve
from fastlane.resources.declaration import Kind, declared_kinds
from fastlane.resources.handoff import Handoff
from fastlane.resources.service import SecretKeeper, Service
from fastlane.resources.surroundings import Surroundings
from fastlane.resources.work import Work

__all__ = ["SERVICES", "Runtime"]

SERVICES: dict[Kind, str] = {
    "secret": "fastlane.secrets.service:SecretsService",
    "database": "fastlane.sql.service:SqlService",
    "topic": "fastlane.pubsub.service:PubSubService",
    "cron job": "fastlane.cron.service:CronService",
}
"""The service of each kind, as ``module:class``, in the order in which they are prepared and opened."""

_MARGIN_SECONDS = 1.0
"""What a service that overruns its time to drain gets to hand back, before it is left to `close`."""

logger = logging.getLogger("fastlane.runtime")


class Runtime:
    """The services of the kinds that are declared in this process. A kind without a declaration has none.

    Either `check` and `prepare` are called first, or, in a process that another one has prepared, `receive`.

    Args:
        surroundings: of this process.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.services: list[Service] = []
        self._loaded: Loaded | None = None
        self._configuration = ResourceConfiguration()
        self._referenced: frozenset[str] = frozenset()
        self._keeper: Service | None = None
        self._begun: list[Service] = []
        self._started: list[Service] = []

    # Before anything is opened

    def check(self) -> None:
        """Read the configuration, make the services, and let each look for mistakes. Opens nothing.

        Raises:
            ConfigurationError: with every mistake.
        """
        loaded = self._loaded = load(self.surroundings)
        self._keeper = None
        self._referenced = referenced_secrets(loaded)
        examined = examine(loaded)
        self._make_services(examined.configuration)
        mistakes = [*examined.mistakes, *self._undeclared()]
        later: list[str] = []
        for service in self.services:
            found = examined.mistakes_of(service.name, partial(self._mistakes, service))
            # What stands in the place of a secret that nobody has yet is looked at again when it is known.
            if self._referenced and service is not self._keeper:
                later += found
            else:
                mistakes += found
        _complain([*mistakes, *later] if mistakes else [])

    def _make_services(self, configuration: ResourceConfiguration) -> None:
        """Make them; the one that knows the secrets stays when the others are made anew because of the secrets."""
        self._configuration = configuration
        hide_values(configuration)
        kinds = declared_kinds()
        if self._keeper is None and ("secret" in kinds or self._referenced):
            self._keeper = _service("secret")(configuration, self.surroundings)
            keeper = cast(SecretKeeper, self._keeper)
            keeper.require(self._referenced)
            keeper.when_changed(self._follow)
        others = [kind for kind in SERVICES if kind in kinds and kind != "secret"]
        self.services = [] if self._keeper is None else [self._keeper]
        self.services += [_service(kind)(configuration, self.surroundings) for kind in others]

    def _undeclared(self) -> list[str]:
        """Tables for what is declared nowhere, of kinds that have no service to say so."""
        kinds, name = declared_kinds(), "" if self._loaded is None else self._loaded.name
        configured: list[tuple[Kind, str, Mapping[str, Any]]] = [
            ("topic", "pubsub.topics", self._configuration.pubsub.topics),
            ("database", "sql.databases", self._configuration.sql.databases),
        ]
        return [
            f"{name}: {table}.{key}: no {kind} {key!r} is declared\n    mend: remove the table, or declare the {kind}"
            for kind, table, keys in configured
            for key in keys
            if kind not in kinds
        ]

    def _mistakes(self, service: Service) -> list[str]:
        try:
            found = list(service.check())
        except ConfigurationError as error:  # such as a name that is declared twice
            found = [str(error)]
        name = "" if self._loaded is None else self._loaded.name
        return [located(name, mistake) for mistake in found]

    # Once per boot

    async def prepare(self, extend: Callable[[str], None] | None = None) -> Handoff:
        """Do what has to be done once: servers, migrations, secrets, a look at the brokers. After `check`.

        Args:
            extend: called with what is done from now on, whenever the patience with it starts anew.

        Raises:
            ConfigurationError: the boot must stop.
        """
        reports: dict[str, Any] = {}
        await self._prepare_secrets(extend, reports)
        loaded, keeper = self._loaded, self._keeper
        assert loaded is not None
        for service in [service for service in self.services if service is not keeper]:
            await self._prepare(service, reports, extend)
        return Handoff(
            name=loaded.name,
            file=loaded.path,
            document=dict(loaded.document) if self._referenced else {},
            configuration=self._configuration,
            referenced=sorted(self._referenced),
            reports=reports,
        )

    async def prepare_references(self) -> None:
        """Only what the configuration itself is made of: on the command line the services are used without the rest.

        Raises:
            ConfigurationError: a secret is missing, or what it stands in is wrong.
        """
        if self._referenced:
            await self._prepare_secrets(None, {})

    async def _prepare_secrets(self, extend: Callable[[str], None] | None, reports: dict[str, Any]) -> None:
        loaded, keeper = self._loaded, self._keeper
        assert loaded is not None, "check comes first"
        if keeper is not None:
            await self._prepare(keeper, reports, extend)
        if keeper is not None and self._referenced:
            self._make_services(resolve(loaded, cast(SecretKeeper, keeper).value))
            _complain(
                [mistake for service in self.services if service is not keeper for mistake in self._mistakes(service)]
            )

    async def _prepare(self, service: Service, reports: dict[str, Any], extend: Callable[[str], None] | None) -> None:
        if extend is not None:
            service.extend = extend
            extend(f"preparing {service.name}")
        self._begun.append(service)
        reports[service.name] = await service.prepare()
        service.receive(reports[service.name])

    # In each process

    def receive(self, handoff: Handoff) -> None:
        """Take over what another process has prepared.

        Raises:
            ConfigurationError: it had no service of a kind that this process declares.
        """
        self._loaded = Loaded(handoff.name, handoff.file, handoff.document, os.environ)
        self._referenced = frozenset(handoff.referenced)
        self._make_services(handoff.configuration)
        for service in self.services:
            if service.name not in handoff.reports:
                raise ConfigurationError(
                    f"{service.name}: nothing was prepared, since nothing had been declared when the server booted\n"
                    "    mend: declare resources where the application is imported"
                )
            service.receive(handoff.reports[service.name])

    async def open(self) -> None:
        """Clients and pools, on the running event loop; from here on the resources may be used."""
        for service in self.services:
            if service not in self._begun:
                self._begun.append(service)
            await service.open()

    def _follow(self, changed: Collection[str]) -> None:
        """Secrets have new values: so has the configuration, where it refers to them."""
        if not self._referenced.intersection(changed):
            return
        assert self._loaded is not None
        try:
            configuration = resolve(self._loaded, cast(SecretKeeper, self._keeper).value)
        except ConfigurationError as error:
            logger.error("a secret has a new value, which the configuration can't use; the old one stays: %s", error)
            return
        hide_values(configuration)
        self._configuration = configuration
        for service in self.services:
            service.configuration = configuration

    async def start(self) -> None:
        """Subscriptions and cron jobs, as far as this process has their roles."""
        if self.surroundings.mode == "script":
            return
        for service in self.services:
            if service.role is None or service.role in self.surroundings.roles:
                self._started.append(service)
                await service.start()

    async def drain(self, timeout: float) -> None:
        """Stop taking work at once, and let what runs finish, all of it for ``timeout`` seconds. Logs what fails."""
        started, self._started = self._started, []
        if not started:
            return
        tasks = {asyncio.ensure_future(service.drain(timeout)): service for service in reversed(started)}
        done, late = await asyncio.wait(tasks, timeout=timeout + _MARGIN_SECONDS)
        for task in late:
            logger.error("%s did not drain within %g s", tasks[task].name, timeout)
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_MARGIN_SECONDS)
        for task in done:
            error = task.exception()
            if error is not None:
                logger.error("%s did not drain: %s", tasks[task].name, error, exc_info=error)

    async def close(self) -> None:
        """The reverse of `open` and `prepare`, as far as they came. Every service is closed, whatever another raises.

        Raises:
            Exception: the first that a service raised; the others are logged.
        """
        begun, self._begun = self._begun, []
        first: Exception | None = None
        for service in reversed(begun):
            try:
                await service.close()
            except Exception as error:
                if first is not None:
                    logger.error("%s did not close: %s", service.name, error, exc_info=error)
                first = first or error
        if first is not None:
            raise first

    def work(self) -> Work | None:
        """What this process has done beside requests; None where it has nothing else to do."""
        return next((found for service in self.services if (found := service.work()) is not None), None)

    async def settle(self) -> None:
        """In tests: until nothing is left that would happen by itself."""
        for service in self.services:
            await service.settle()


def _service(kind: Kind) -> type[Service]:
    module, _, name = SERVICES[kind].partition(":")
    found: type[Service] = getattr(import_module(module), name)
    return found


def _complain(mistakes: list[str]) -> None:
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))

"""What the runtime does with secrets: resolve all at boot, hand them to the workers, read them again."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import inspect
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from fastlane.errors import ConfigurationError
from fastlane.redaction import SHORTEST, redacted
from fastlane.resources.configuration import Loaded, ResourceConfiguration, referenced_secrets, secrets_options
from fastlane.resources.declaration import declared_resources
from fastlane.resources.service import Service
from fastlane.resources.surroundings import Surroundings
from fastlane.secrets.secret import NoValue, Secret
from fastlane.secrets.sources import Reading, Source, Unreachable, make_source
from fastlane.secrets.values import Layer, values

__all__ = ["SecretsService"]

WATCH_SECONDS = 5.0
"""Between two looks at whether a file has changed."""

_PATIENCE = 0.8
"""Of the boot timeout: our own words are told, not those of whoever ends a process that takes longer."""

_JITTER = 0.1
"""Of the interval: the workers of all machines must not ask at the same moment."""

logger = logging.getLogger("fastlane.secrets")


class SecretsService(Service):
    """All secrets of the app.

    Args:
        configuration: of which it needs ``secrets`` alone: the rest is resolved with what this finds.
        surroundings: of this process.
        environment: where variables are; default: this process's.

    In ``test`` nothing has to be there: `Secret.get` says what to do.
    """

    name: ClassVar[str] = "secrets"

    def __init__(
        self,
        configuration: ResourceConfiguration,
        surroundings: Surroundings,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(configuration, surroundings)
        self.source: Source = make_source(configuration.secrets, surroundings, environment)
        self._referenced: frozenset[str] = frozenset()
        self._read_at = 0.0
        self._seen = ""  # of the source, before it was read
        self._listener: Callable[[Collection[str]], None] | None = None
        self._layer: Layer | None = None
        self._refreshing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, loaded: Loaded, surroundings: Surroundings) -> Self:
        """For a configuration file of which nothing is resolved yet.

        Raises:
            ConfigurationError: ``[secrets]`` is wrong.
        """
        configuration = ResourceConfiguration(secrets=secrets_options(loaded))
        service = cls(configuration, surroundings, environment=loaded.environment)
        service.require(referenced_secrets(loaded))
        return service

    def require(self, names: Iterable[str]) -> None:
        """Names that the configuration refers to (``{ secret = "X" }``): they count as declared."""
        self._referenced = frozenset(names)

    def when_changed(self, listener: Callable[[Collection[str]], None]) -> None:
        """Call ``listener(names)`` when `refresh` has put new values in force, before anybody else is told."""
        self._listener = listener

    @property
    def names(self) -> list[str]:
        """Of every secret that is declared in the code, or referred to by the configuration.

        Raises:
            ConfigurationError: one was declared twice.
        """
        return sorted({*declared_resources(Secret), *self._referenced})

    def value(self, name: str) -> str:
        """The value in force, for what the configuration refers to.

        Raises:
            NoValue: there is none.
        """
        value = values.get(name)
        if value is None:
            raise NoValue(name)
        return value

    def check(self) -> Sequence[str]:
        try:
            names = self.names
        except ConfigurationError as error:
            return (str(error),)
        mistakes = list(self.source.check())
        for name in self.configuration.secrets.names:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f". Did you mean {near[0]!r}?" if near else ""
                mistakes.append(
                    f"[secrets] names.{name}: no secret of this name is declared{hint}\n"
                    f'    mend: declare Secret("{name}"), or take the key out'
                )
        for name in self._referenced:
            if not Secret.pattern.fullmatch(name):
                mistakes.append(
                    f'{{ secret = "{name}" }}: this is no name for a secret\n    mend: use {Secret.described}'
                )
        return mistakes

    async def read(self) -> Reading:
        """Look all of them up, once.

        Raises:
            Unreachable: the provider does not answer.
        """
        return await self.source.read(self.names)

    async def prepare(self) -> object:
        self._seen = self._look()
        reading = await self._read_patiently()
        if reading.missing and self.surroundings.mode != "test":
            raise ConfigurationError(self.explain(reading.missing))
        self._read_at = time.time()
        self._put(reading.values)
        assert self._layer is not None
        for name in self._layer.unhidable:
            logger.warning(
                "the secret %s has fewer than %d characters: it can't be told from other text, and is not kept out of "
                "logs",
                name,
                SHORTEST,
            )
        return {"values": reading.values, "at": self._read_at, "seen": self._seen}

    def receive(self, report: object) -> None:
        """The values of the boot process. They are in force from here on, before anything is opened."""
        if isinstance(report, dict):
            self._read_at, self._seen = report["at"], report["seen"]
            if self._layer is None or self._layer.current != report["values"]:
                self._put(report["values"])

    async def open(self) -> None:
        if self.surroundings.mode != "test" and self._layer is not None:
            refresh = self.configuration.secrets.refresh
            interval = self.source.default_refresh if refresh is None else float(refresh)
            if interval:
                await self._catch_up(interval)
                self._refreshing = asyncio.create_task(self._keep_fresh(interval), name="fastlane secrets")

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
            self._refreshing = None
        if self._layer is not None:
            values.remove(self._layer)
            self._layer = None

    def explain(self, missing: Mapping[str, str]) -> str:
        """Every missing secret, each with where it was looked for and how to put it there."""
        count = len(missing)
        lines = [f"{count} {'secret is' if count == 1 else 'secrets are'} missing:"]
        places = {name: f" (declared at {secret.place})" for name, secret in declared_resources(Secret).items()}
        for name in sorted(missing):
            lines.append(f"  {name}: {missing[name]}{places.get(name, ' (the configuration refers to it)')}")
            lines.append(f"    mend: {self.source.mend(name)}")
        return "\n".join(lines)

    async def refresh(self) -> list[str]:
        """Read all of them again, put what is new in force, and tell who wants to know. The names that changed.

        What can't be read keeps its value. Never raises.
        """
        changed = await self._read_again()
        declared = declared_resources(Secret)
        for name in changed:
            if name in declared:
                await _tell(declared[name])
        return changed

    async def _catch_up(self, interval: float) -> None:
        """A worker that is started anew has what the boot process read, which may be old by now: it must not open its
        connections with a password that was replaced. Nobody is told, since nobody here has seen the old value."""
        if time.time() - self._read_at < interval and self._look() == self._seen:
            return
        self._seen = self._look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await self._read_again()

    async def _read_again(self) -> list[str]:
        layer = self._layer
        if layer is None:
            return []
        try:
            reading = await self.source.read(sorted(layer.current))
        except Exception as error:
            logger.warning("secrets could not be read again, the old values stay: %s", redacted(str(error)))
            return []
        self._read_at = time.time()
        for name, reason in reading.missing.items():
            logger.warning("the secret %s could not be read again, the old value stays: %s", name, reason)
        changed = [name for name, value in reading.values.items() if layer.current.get(name) != value]
        for name in changed:
            layer.replace(name, reading.values[name])
            logger.info("the secret %s has a new value", name)
        if changed and self._listener is not None:
            self._listener(changed)
        return changed

    async def _read_patiently(self) -> Reading:
        patience = _PATIENCE * self.surroundings.boot_timeout
        end = time.monotonic() + patience
        pause = 0.25
        while True:
            try:
                return await self.read()
            except Unreachable as error:
                if time.monotonic() + pause > end:
                    raise ConfigurationError(
                        f"secrets can't be read: {redacted(str(error))}\n"
                        f"    mend: see that the provider of [secrets] ({self.configuration.secrets.provider}) can be "
                        f"reached from here; tried for {patience:g} s"
                    ) from None
                logger.warning("secrets can't be read yet, trying again in %.2f s: %s", pause, redacted(str(error)))
            await asyncio.sleep(pause)
            pause = min(pause * 2 * random.uniform(0.9, 1.1), 5.0)

    async def _keep_fresh(self, interval: float) -> None:
        # From when the boot process has read them; at once where `_catch_up` could not.
        wait = interval - min(max(time.time() - self._read_at, 0.0), interval)
        while True:
            end = time.monotonic() + wait * random.uniform(1 - _JITTER, 1 + _JITTER)
            wait = interval
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(left, WATCH_SECONDS) if self._seen else left)
                if self._seen and self._look() != self._seen:
                    break
            self._seen = self._look()  # before reading: a change in between is noticed next time
            await self.refresh()

    def _look(self) -> str:
        """Another text when the source has changed; empty where nothing tells."""
        found = self.source.fingerprint(self.names)
        return "" if found is None else repr(found)

    def _put(self, found: Mapping[str, str]) -> None:
        layer = Layer(found)
        values.push(layer)
        if self._layer is not None:
            values.remove(self._layer)
        self._layer = layer


async def _tell(secret: Secret) -> None:
    for callback in secret.callbacks:
        try:
            answer: Any = callback()
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            logger.exception("a callback of the secret %s failed", secret.name)

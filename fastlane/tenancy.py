"""Who uses the declared resources of a process: a lifespan, a script, a test client; from binding to closing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastlane.errors import ConfigurationError
from fastlane.resources import are_declared
from fastlane.resources.declaration import living_resources
from fastlane.resources.handoff import inherited_handoff
from fastlane.resources.host import HOST_EXTENSION, Host
from fastlane.resources.surroundings import SCOPE_EXTENSION, Surroundings
from fastlane.runtime import Runtime

__all__ = ["ALONE", "Tenancy", "alone", "host_of", "script", "surroundings_alone"]

DRAIN_SECONDS = 30.0
"""Where the server does not say how long it waits for what still runs."""

ALONE = "resources that have no configuration live on this machine alone, in the state directory"
"""What the log says of a production that is embedded."""

logger = logging.getLogger("fastlane.runtime")


class _Estate:
    """A runtime on an event loop, and how many use it: a resource has one binding per loop, whoever asks."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.runtime = Runtime(host.surroundings)
        self.known = frozenset(resource.number for resource in living_resources())
        self.tenants = 0
        self.is_open = False
        self.is_started = False
        self.changing = asyncio.Lock()

    async def open(self) -> None:
        """Prepare, unless another process has done it, and open. What fails undoes what succeeded."""
        runtime, handoff = self.runtime, self.host.handoff
        try:
            if handoff is None:
                runtime.check()
                if runtime.surroundings.mode == "serve" and runtime.surroundings.embedded:
                    logger.warning("FASTLANE_EMBEDDED: %s", ALONE)
                async with alone(self.host.surroundings):
                    await runtime.prepare()
            else:
                runtime.receive(handoff)
            await runtime.open()
        except BaseException:
            with contextlib.suppress(Exception):  # the first failure is the one to see
                await runtime.close()
            raise
        self.is_open = True
        self.host.work = runtime.work


_estates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Estate] = weakref.WeakKeyDictionary()


class Tenancy:
    """One user of the resources on the running event loop: `begin`, `start`, `drain`, `end`, in this order.

    Several at the same time on one loop, such as two test clients, share what the first has opened; the last one
    closes it.
    """

    def __init__(self, estate: _Estate) -> None:
        self._estate = estate
        self._ended = False
        self._starting: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, host: Host) -> Tenancy | None:
        """Bind every declared resource on the running loop; None where nothing is declared.

        Raises:
            ConfigurationError: what is declared and what is configured do not fit.
            Exception: what a service raised; nothing is open then.
        """
        if not are_declared():
            return None
        loop = asyncio.get_running_loop()
        estate = _estates.get(loop)
        if estate is None:
            estate = _estates[loop] = _Estate(host)
        estate.tenants += 1
        try:
            async with estate.changing:
                if not estate.is_open:
                    await estate.open()
                _refuse_latecomers(estate)
        except BaseException:
            cls._leave(estate, loop)
            raise
        return cls(estate)

    @staticmethod
    def _leave(estate: _Estate, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it was the last one."""
        estate.tenants -= 1
        if estate.tenants:
            return False
        if _estates.get(loop) is estate:
            del _estates[loop]
        return True

    async def start(self) -> None:
        """Begin to work: subscriptions, cron jobs. In a reload only when what the worker that this one replaces had
        begun has ended, or was handed back, so that ``max_concurrency`` holds; this returns at once then."""
        estate = self._estate
        estate.host.when_draining(self._begin_to_drain)
        if estate.host.has_predecessor:
            self._starting = asyncio.ensure_future(self._start_later())
        else:
            await self._start_now()

    async def _start_now(self) -> None:
        estate = self._estate
        async with estate.changing:
            if not estate.is_started:
                estate.is_started = True
                estate.host.working(True)
                await estate.runtime.start()

    async def _start_later(self) -> None:
        host = self._estate.host
        await host.wait_for_predecessor()
        try:
            await self._start_now()
        except Exception as error:
            logger.error("this worker can't do its work, and ends: %s", error, exc_info=error)
            host.fail()

    def _begin_to_drain(self, timeout: float) -> None:
        if self._draining is None and self._estate.tenants == 1:
            self._draining = asyncio.ensure_future(self._drain(timeout))

    async def drain(self, timeout: float = DRAIN_SECONDS) -> None:
        """Stop working, unless others go on; what the server began already is waited for."""
        self._begin_to_drain(timeout)
        if self._draining is not None:
            await self._draining

    async def _drain(self, timeout: float) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        try:
            await self._estate.runtime.drain(timeout)
        finally:
            self._estate.host.working(False)

    async def end(self) -> None:
        """Unbind and close, unless others go on. Does nothing the second time."""
        if self._ended:
            return
        self._ended = True
        if self._leave(self._estate, asyncio.get_running_loop()):
            await self._estate.runtime.close()

    @staticmethod
    async def settle() -> None:
        """In tests: until nothing is left that would happen by itself on the running loop."""
        estate = _estates.get(asyncio.get_running_loop())
        if estate is not None:
            await estate.runtime.settle()


def host_of(scope: Mapping[str, Any]) -> Host:
    """What the server said of itself in the lifespan's scope; a server that is not ours says nothing, and then the app
    is on its own, and does as ``fastlane serve`` would."""
    extensions = scope.get("extensions") or {}
    host = extensions.get(HOST_EXTENSION)
    if isinstance(host, Host):
        return host
    surroundings = extensions.get(SCOPE_EXTENSION)
    if isinstance(surroundings, Surroundings):
        return Host(surroundings)
    return Host(surroundings_alone())


def surroundings_alone() -> Surroundings:
    """Of a process that nobody of ours has started."""
    return Surroundings(mode="serve", embedded=_is_on(os.environ.get("FASTLANE_EMBEDDED")))


@contextlib.asynccontextmanager
async def script(config: str | None, embedded: bool) -> AsyncIterator[None]:
    """Bind for the time of a block; nothing is consumed, nothing is scheduled."""
    handoff = inherited_handoff() if config is None else None
    embedded = embedded or surroundings_alone().embedded
    tenancy = await Tenancy.begin(Host(Surroundings(mode="script", config=config, embedded=embedded), handoff))
    try:
        yield
    finally:
        if tenancy is not None:
            await tenancy.end()


@contextlib.asynccontextmanager
async def alone(surroundings: Surroundings) -> AsyncIterator[None]:
    """While this process prepares, no other one of this project does: several that start at once are safe."""
    if surroundings.mode == "test" or sys.platform == "win32":
        yield
        return
    from fastlane.resources.lock import MachineLock  # fcntl, which Windows has not

    lock = MachineLock("boot")
    await lock.acquire(surroundings.boot_timeout)
    try:
        yield
    finally:
        lock.release()


def _refuse_latecomers(estate: _Estate) -> None:
    late = [resource for resource in living_resources() if resource.number not in estate.known]
    if late:
        raise ConfigurationError(
            f"{late[0]!r} was declared after the resources of this event loop had been bound.\n"
            "    mend: declare it before the first app on this loop starts, or give this one a loop of its own"
        )


def _is_on(text: str | None) -> bool:
    return (text or "").lower() in ("1", "true", "on", "yes")

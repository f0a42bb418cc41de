"""What each kind of resource gives the runtime: the same five steps, whatever stands behind it.

check     before anything is opened: refuses what can't work, all of it at once
prepare   once per boot (the boot process, or the only process): servers, migrations, a look at the brokers
open      in each process, on its event loop: clients and pools; from here on the resource may be used
start     in each worker that has the role: subscriptions, cron jobs
drain     stop taking work, finish what runs
close     the reverse of open
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import ClassVar, Protocol

from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Role, Surroundings
from fastlane.resources.work import Work

__all__ = ["SecretKeeper", "Service"]


def _nobody_waits(doing: str) -> None:
    """Where no deadline is, none can start anew."""


class Service(abc.ABC):
    """The runtime's view of all resources of a kind.

    Args:
        configuration: with every reference (``{ env = "X" }``) resolved. It is replaced when a secret that it refers to
            has a new value: what is to follow that reads the attribute when it needs it.
        surroundings: of this process.

    Attributes:
        name: of its part of the boot report.
        role: `start` is called only in processes that have it; None: in all that run (never in a script).
        extend: in `prepare`: ``self.extend("waiting for another machine's migration")`` lets ``--boot-timeout`` start
            anew. Call it whenever the wait is still rightful, more often than the timeout; once is once.
    """

    name: ClassVar[str]
    role: ClassVar[Role | None] = None
    extend: Callable[[str], None] = staticmethod(_nobody_waits)

    def __init__(self, configuration: ResourceConfiguration, surroundings: Surroundings) -> None:
        self.configuration = configuration
        self.surroundings = surroundings

    @abc.abstractmethod
    def check(self) -> Sequence[str]:
        """Every mistake of configuration and declarations, each with what, where and how to mend it. Opens nothing.

        Also imports what `open` needs (client libraries), so that the template shares it with its workers; a library
        that is missing is a mistake that names the extra.
        """

    async def prepare(self) -> object:
        """Once per boot. What it answers (JSON-able) reaches `receive` in every process of this generation.

        Raises:
            ConfigurationError: the boot must stop.
        """
        return None

    def receive(self, report: object) -> None:
        """What `prepare` answered, in each process that is going to `open`; and in the one that prepared, right after
        it, so that the services that are prepared later may use what stands by then."""

    async def open(self) -> None:
        """On the running event loop, after the fork."""

    async def start(self) -> None:
        """After the user's lifespan has begun; in a reload, after the worker that this one replaces began to drain."""

    async def drain(self, timeout: float) -> None:
        """Before the user's lifespan ends: stop taking work at once, let what runs finish for ``timeout`` seconds, hand
        the rest back."""

    async def close(self) -> None:
        """After the user's lifespan has ended. Undoes `prepare` and `open` in this process, also where one of them
        failed half-way, or was never called."""

    def work(self) -> Work | None:
        """What has been done beside requests, for metrics; None where that is none of its business."""
        return None

    async def settle(self) -> None:
        """In tests: wait until nothing is left that would happen by itself without time going by."""


class SecretKeeper(Protocol):
    """What the runtime asks of the service of secrets, beside the steps."""

    def require(self, names: Iterable[str]) -> None:
        """Secrets that the configuration refers to: they count as declared. Called before `Service.check`."""

    def value(self, name: str) -> str:
        """A secret, once `Service.receive` has been called.

        Raises:
            LookupError, RuntimeError: there is none.
        """

    def when_changed(self, listener: Callable[[Collection[str]], None]) -> None:
        """Call ``listener(names)`` in a process that is open when secrets have got new values."""

"""What a server of ours and the resources of the app in it tell each other, beyond what ASGI has words for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlane.resources.surroundings import Surroundings
from fastlane.resources.work import Work

if TYPE_CHECKING:
    from fastlane.resources.handoff import Handoff

__all__ = ["HOST_EXTENSION", "Host"]

HOST_EXTENSION = "fastlane.host"
"""Under this key of ``scope["extensions"]`` a server of ours puts its `Host`, beside the surroundings."""

_LOOK_SECONDS = 0.05


class Host:
    """A server's side.

    Args:
        surroundings: of this process.
        handoff: of the boot process; None where the app has to prepare by itself.
        has_predecessor: whether a worker that this one replaces still works. Default: there is none.
        working: told when work begins, and when it is done, for whoever replaces this one.

    Attributes:
        work: answers what this process has done beside requests; whoever binds the resources sets it.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        handoff: Handoff | None = None,
        has_predecessor: Callable[[], bool] | None = None,
        working: Callable[[bool], object] | None = None,
    ) -> None:
        self.surroundings = surroundings
        self.handoff = handoff
        self._has_predecessor = has_predecessor
        self._working = working
        self._end: Callable[[], None] | None = None
        self._listener: Callable[[float], None] | None = None
        self.work: Callable[[], Work | None] = _nothing

    @property
    def has_predecessor(self) -> bool:
        """A worker that this one replaces has not begun to drain, or its work is not done."""
        return self._has_predecessor is not None and self._has_predecessor()

    async def wait_for_predecessor(self) -> None:
        """Return when it is done with its work. As long as the roll takes: the supervisor bounds that."""
        while self.has_predecessor:
            await asyncio.sleep(_LOOK_SECONDS)

    def working(self, value: bool) -> None:
        """Work begins; or it is done, and nothing of it runs any more."""
        if self._working is not None:
            self._working(value)

    def when_failed(self, end: Callable[[], None]) -> None:
        """Call ``end`` when the app can't do what it is for, after it has started: it ends this process gracefully."""
        self._end = end

    def fail(self) -> None:
        """End this process: it can't do what it is for."""
        if self._end is not None:
            self._end()

    def when_draining(self, listener: Callable[[float], None]) -> None:
        """Call ``listener(timeout)`` as soon as the server begins to drain, with the seconds that it has."""
        self._listener = listener

    def draining(self, timeout: float) -> None:
        """The server begins to drain."""
        if self._listener is not None:
            self._listener(timeout)


def _nothing() -> None:
    return None

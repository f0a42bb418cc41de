"""A look at the embedded server now and then: one that was killed is started again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastlane.errors import ConfigurationError

if TYPE_CHECKING:
    from fastlane.sql.embedded.server import EmbeddedServer

__all__ = ["Watch"]

LOOK_SECONDS = 0.5
LONGEST_PAUSE = 30.0
CLOSE_TIMEOUT = 5.0

logger = logging.getLogger("fastlane.sql")


class Watch:
    """Keeps a server running that this process holds, whoever killed it or its keeper.

    Every process that holds it looks; the keeper's lock lets one of them start it. A server of one's own comes back by
    its supervisor (systemd, a container's), and this is the embedded one's.

    Args:
        server: it is held already.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._look(), name="fastlane embedded server")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)

    async def _look(self) -> None:
        pause = LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._server.runs:
                pause = LOOK_SECONDS
                continue
            logger.warning("the embedded PostgreSQL has ended: starting it again")
            try:
                await self._server.hold()
            except (ConfigurationError, OSError) as error:
                pause = min(max(pause * 2, 1.0), LONGEST_PAUSE)
                logger.error("the embedded PostgreSQL: %s; trying again in %g s", error, pause)

"""What the bare clients have in common: tasks that end with them, and the handlers side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from bench.pubsub_work import IN_FLIGHT, Handler, Side, decode

__all__ = ["TOGETHER", "Bare", "handle_all"]

TOGETHER = (IN_FLIGHT,)
"""What fastlane makes of 64 that publish one message each, again and again: whom one answer wakes go together."""


class Bare(Side):
    """
    Args:
        name: of the topic.
        address: of the broker.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=2.0)


async def handle_all(handle: Handler, payloads: list[Any]) -> None:
    """Side by side, as handlers run that may wait for something."""
    await asyncio.gather(*(handle(decode(payload)) for payload in payloads))

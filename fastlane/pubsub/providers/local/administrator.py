"""What the boot process and the command line ask of the file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.local import dead, registry
from fastlane.pubsub.providers.local.database import Database, Operation
from fastlane.pubsub.providers.local.dead import Selection
from fastlane.pubsub.providers.local.registry import Declared, Pause

__all__ = ["LocalAdministrator"]

CHUNK = 500


class LocalAdministrator(Administrator):
    """With a thread of its own: counting a long backlog keeps no publish waiting.

    Args:
        path: of the file.
        database: its own.
        release: called when it is closed.
    """

    def __init__(self, path: str, database: Database, release: Callable[[], Awaitable[None]]) -> None:
        self._path = Path(path)
        self._database = database
        self._release = release

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        declared = Declared(topics, subscriptions)
        if not self._path.exists():
            return registry.missing(declared, set(), {})  # looking would make it
        return await self._database.submit(registry.plan, declared)

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        return await self._database.submit(registry.provision, Declared(topics, subscriptions), durable=True)

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        return await self._database.submit(registry.backlog, subscription)

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        return await self._database.submit(dead.listed, Selection(subscription, None, limit))

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        return await self._in_chunks(dead.replay, subscription, ids, limit)

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        return await self._in_chunks(dead.purge, subscription, ids, limit)

    async def pause(self, subscription: BoundSubscription, paused: bool) -> None:
        await self._database.submit(registry.pause, Pause(subscription, paused), durable=True)

    async def close(self) -> None:
        await self._release()

    async def _in_chunks(
        self,
        operation: Operation[Selection, int],
        subscription: BoundSubscription,
        ids: Sequence[str] | None,
        limit: int,
    ) -> int:
        """A transaction keeps all others from writing, so that none may be long."""
        done = 0
        while done < limit:
            size = min(CHUNK, limit - done)
            count = await self._database.submit(operation, Selection(subscription, ids, size), durable=True)
            done += count
            if count < size:
                break
        return done

"""The outbox of an app in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Provider
from fastlane.pubsub.publishing.binding import TopicBinding
from fastlane.resources.declaration import NotBound
from fastlane.resources.surroundings import Mode
from fastlane.sql import Database, Transaction

if TYPE_CHECKING:
    from fastlane.pubsub.outbox.post import Post
    from fastlane.sql.settings import ConnectionSettings

__all__ = ["Outbox"]

logger = logging.getLogger("fastlane.pubsub")


class Outbox:
    """Calling it writes rows in a transaction; while it is open, they are carried on.

    Args:
        databases: the declared ones. Those that are not bound here have no outbox.
        topics: the bound ones, by name.
        mode: a script writes, and leaves the rest to whoever serves.
    """

    def __init__(self, databases: Mapping[str, Database], topics: Mapping[str, TopicBinding], mode: Mode) -> None:
        self._databases = databases
        self._topics = topics
        self._mode = mode
        self._post: Post | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Lock()

    async def __call__(self, binding: TopicBinding, tx: Any, messages: Sequence[Outgoing]) -> None:
        """See `binding.Outbox`."""
        from fastlane.pubsub.outbox.insertion import write

        await write(binding, tx, messages)
        if self._mode == "test" and isinstance(tx, Transaction):
            tx.after_commit(self._carry_soon)

    def open(self) -> None:
        """Begin to carry, where that is this process's business."""
        if self._mode not in ("serve", "dev"):
            return
        from fastlane.pubsub.outbox.post import Post

        settings: dict[str, ConnectionSettings] = {}
        for name, database in self._databases.items():
            try:
                settings[name] = database.known_settings
            except NotBound:
                continue
        routes: dict[Provider, dict[str, BoundTopic]] = {}
        for name, binding in self._topics.items():
            routes.setdefault(binding.provider, {})[name] = binding.bound
        if settings and routes:
            self._post = Post(settings, routes)
            self._post.start()

    async def close(self) -> None:
        post, self._post = self._post, None
        if post is not None:
            await post.close()
        if self._carrying:
            await asyncio.wait(self._carrying, timeout=1.0)

    # In a test

    @property
    def busy(self) -> bool:
        """Something is on its way from the outbox to the broker in memory."""
        return bool(self._carrying)

    async def carry(self) -> int:
        """In a test: bring the broker in memory what has been committed. Answers how much it was; what it does not take
        stays."""
        from fastlane.pubsub.outbox.insertion import CONFIRM, READ, outgoing_of

        count = 0
        async with self._alone:
            for database in self._databases.values():
                try:
                    acquired = database.acquire()
                except NotBound:
                    continue
                async with acquired as connection:
                    for name, binding in self._topics.items():
                        rows = [outgoing_of(row) for row in await connection.fetch(READ, name, None)]
                        try:
                            await binding.dispatcher.publish_many(binding.lane, [message for _, message in rows])
                        except FastlaneError as error:
                            logger.warning("topic %r: %s; what was committed waits", name, error)
                            continue
                        await connection.execute(CONFIRM, [seq for seq, _ in rows])
                        count += len(rows)
        return count

    def _carry_soon(self) -> None:
        async def carry() -> None:
            try:
                await self.carry()
            except Exception as error:
                logger.error("what was committed could not be published: %s", error, exc_info=error)

        task = asyncio.get_running_loop().create_task(carry())
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

"""The relays of a process: one process of each machine has them, in a thread with an event loop of its own.

A handler that computes for a minute must not keep what others have committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fastlane.errors import ConfigurationError, FastlaneError, Unavailable
from fastlane.pubsub.consumption.thread import LoopThread
from fastlane.pubsub.outbox.relay import Relay
from fastlane.pubsub.provider import BoundTopic, Provider
from fastlane.pubsub.providers.postgres.doorbell import can_listen
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.resources.leader import Leader
from fastlane.resources.state import state_directory
from fastlane.sql.listening import Listener, Listening
from fastlane.sql.settings import ConnectionSettings

__all__ = ["Post"]

STRANGERS: Final = """
SELECT topic, count(*) FROM fastlane.outbox
WHERE topic <> ALL ($1::text[]) AND published_at < clock_timestamp() - $2 * interval '1 second' GROUP BY topic
"""

logger = logging.getLogger("fastlane.pubsub")

CHANNEL: Final = "fastlane_outbox"
CONNECTIONS: Final = 1
PAUSE: Final = 1.0
LOOK_SECONDS: Final = 300.0
STOP_SECONDS: Final = 3.0


class Post:
    """Relays from every database to every broker.

    Args:
        databases: how to connect, by name.
        routes: what each provider carries: topics by name.
    """

    def __init__(
        self, databases: Mapping[str, ConnectionSettings], routes: Mapping[Provider, Mapping[str, BoundTopic]]
    ) -> None:
        self._databases = databases
        self._routes = routes
        self._leading: asyncio.Task[None] | None = None
        self._leader: Leader | None = None
        self._thread: LoopThread | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._links: list[Links] = []
        self._relays: dict[asyncio.Task[None], Relay] = {}

    def start(self) -> None:
        """On the worker's event loop: lead as soon as this process may."""
        self._leading = asyncio.get_running_loop().create_task(self._lead(), name="fastlane outbox")

    async def close(self) -> None:
        """What has not been carried by now is carried by another process, or later."""
        leading, self._leading = self._leading, None
        if leading is not None:
            leading.cancel()
            await asyncio.wait([leading])
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._stop())
            await thread.stop()
        if self._leader is not None:
            self._leader.release()

    async def _lead(self) -> None:
        owner = str(uuid.uuid4())
        try:
            # By what it carries: other versions of the app, and other apps, may share the directory.
            names = [*self._databases, *(name for topics in self._routes.values() for name in topics)]
            what = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
            self._leader = Leader(state_directory() / f"outbox-{what}.lock")
            await self._leader.hold()
            owner = _owner(self._leader.path) or owner
        except (OSError, ConfigurationError) as error:
            logger.info("no leader of this machine for the outbox (%s): the processes compete by row", error)
        # Not to be cancelled half-way.
        self._thread = thread = LoopThread("fastlane outbox")
        await asyncio.shield(asyncio.ensure_future(thread.run(self._begin(owner))))

    async def _begin(self, owner: str) -> None:
        loop = asyncio.get_running_loop()
        for name, settings in self._databases.items():
            links = Links(name, partial(_itself, settings), CONNECTIONS)
            self._links.append(links)
            relays = [Relay(links, provider, topics, owner) for provider, topics in self._routes.items()]
            self._relays |= {loop.create_task(relay.run(), name=f"outbox of {name}"): relay for relay in relays}
            known = [topic for topics in self._routes.values() for topic in topics]
            self._tasks.append(loop.create_task(_look(links, known), name=f"outbox of {name} looks"))
            self._tasks.append(loop.create_task(_listen(name, settings, relays), name=f"outbox of {name} listens"))

    async def _stop(self) -> None:
        for relay in self._relays.values():
            relay.stop()
        if self._relays:
            await asyncio.wait(self._relays, timeout=STOP_SECONDS)
        tasks = [*self._relays, *self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for links in self._links:
            await links.close()


def _itself(settings: ConnectionSettings) -> ConnectionSettings:
    return settings


async def _listen(name: str, settings: ConnectionSettings, relays: Sequence[Relay]) -> None:
    """Wake the relays at each commit. Where nobody can listen they look by themselves."""
    if not can_listen(settings):
        return
    line = Listening(name, settings)
    try:
        while True:
            try:
                async with Listener(line, CHANNEL) as notifications:
                    async for _ in notifications:
                        for relay in relays:
                            relay.woken.set()
            except Unavailable:
                await asyncio.sleep(PAUSE)
    finally:
        await line.close()


async def _look(links: Links, known: Sequence[str]) -> None:
    """Say so where rows wait for a topic that is no more."""
    told: set[str] = set()
    while True:
        await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.0))
        try:
            strangers = await links.rows(STRANGERS, list(known), LOOK_SECONDS)
        except FastlaneError:
            continue
        for topic, count in strangers:
            if topic not in told:
                told.add(topic)
                logger.warning(
                    "the outbox of %r has %d messages for topic %r, which this app does not declare: they wait until "
                    "one is served that does",
                    links.name,
                    count,
                    topic,
                )


def _owner(lock: Path) -> str | None:
    """The same for all who hold this lock one after the other, and for nobody else; None: can't be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found = os.stat(lock)
    except OSError:
        return None
    return f"{boot}/{found.st_dev}/{found.st_ino}"

"""fastlane's side: a declared topic and subscription, and the runtime that a server gives an app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.pubsub_work import MOST_CONCURRENT, Event, Handler, Side
from fastlane.pubsub import Topic
from fastlane.pubsub.placement.kinds import PROVISIONED, kind_of
from fastlane.pubsub.service import PubSubService
from fastlane.resources.surroundings import Surroundings
from fastlane.runtime import Runtime
from fastlane.sql import Database

__all__ = ["Fastlane"]


class Fastlane(Side):
    """
    Args:
        name: of the topic.
        config: the path of ``fastlane.toml``.
    """

    def __init__(self, name: str, config: Path) -> None:
        self._handler: Handler | None = None
        self._kept: list[Any] = []
        if "sql.databases.broker" in config.read_text():
            self._kept.append(Database("broker", migrations=None))
        self._topic = Topic(name, Event)

        @self._topic.subscribe("bench", max_concurrency=MOST_CONCURRENT)
        async def handle(event: Event) -> None:
            assert self._handler is not None
            await self._handler(event)

        self._kept.append(handle)
        self._runtime = Runtime(
            Surroundings(mode="serve", config=str(config), subscriptions=(f"{name}/bench",), boot_timeout=20.0)
        )

    async def open(self) -> None:
        runtime = self._runtime
        runtime.check()
        (service,) = (service for service in runtime.services if isinstance(service, PubSubService))
        (provider,) = service.placements.providers
        if kind_of(provider.options) not in PROVISIONED:
            administrator = await provider.open_administrator()
            await administrator.provision(*service.placements.of(provider))
            await administrator.close()
        await runtime.prepare()
        await runtime.open()

    async def publish(self, events: list[Event]) -> None:
        (event,) = events
        await self._topic.publish(event)

    async def consume(self, handle: Handler) -> None:
        self._handler = handle
        await self._runtime.start()

    async def close(self) -> None:
        await self._runtime.drain(2.0)
        await self._runtime.close()

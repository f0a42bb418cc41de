"""An app of topics on one broker, as small as can be: what a server does with it, without the server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from fastlane.pubsub import Topic
from fastlane.pubsub.placement.placements import Placements, place_topics
from fastlane.pubsub.provider import Administrator, BoundSubscription
from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings
from tests.conformance.brokers import Broker

__all__ = ["App", "Stage"]

T = TypeVar("T")

_numbers = itertools.count()


class _Service(PubSubService):
    """A service of certain topics: others may live in this process."""

    chosen: tuple[Topic[Any], ...] = ()

    @property
    def placements(self) -> Placements:
        if self._placements is None:
            topics = {topic.name: topic for topic in self.chosen}
            self._placements = place_topics(topics, self.configuration, self.surroundings)
        return self._placements


class App:
    """Topics that are bound, and perhaps consumed."""

    def __init__(self, service: _Service, broker: Broker) -> None:
        self.service = service
        self._broker = broker

    def bound(self, topic: Topic[Any], subscription: str) -> BoundSubscription:
        return self.service.placements.topics[topic.name].subscriptions[subscription][1]

    @asynccontextmanager
    async def administrator(self) -> AsyncIterator[Administrator]:
        (provider,) = self.service.placements.providers
        administrator = await provider.open_administrator()
        try:
            yield administrator
        finally:
            await administrator.close()

    async def until(self, condition: Callable[[], object], seconds: float | None = None) -> None:
        """Wait until ``condition()`` is true: in the memory broker by letting its time jump."""
        limit = self._broker.pace if seconds is None else seconds
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"it did not happen within {limit:g} s"
            if self._broker.kind == "memory":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.service.settle(), 0.05)
            await asyncio.sleep(0.005)

    async def quiet(self, seconds: float = 0.5) -> None:
        """Give what must not happen the time to happen."""
        if self._broker.kind == "memory":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.service.settle(), seconds)
        else:
            await asyncio.sleep(seconds)

    async def drain(self, timeout: float = 5.0) -> None:
        await self.service.drain(timeout)


class Stage:
    """Makes topics with names of their own, and apps of them."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def topic(self, type: type[T], **options: Any) -> Topic[T]:
        return Topic(f"t{os.getpid()}-{next(_numbers)}", type, **options)

    def configuration(self, address: str | None = None, **pubsub: Any) -> ResourceConfiguration:
        if self.broker.kind == "memory":
            return ResourceConfiguration()
        document = {
            "providers": {"broker": self.broker.options(address)},
            "pubsub": {"provider": "broker", **pubsub},
            **self.broker.document(address),
        }
        return msgspec.convert(document, ResourceConfiguration)

    def service(
        self, *topics: Topic[Any], index: int = 0, workers: int = 1, address: str | None = None, **pubsub: Any
    ) -> _Service:
        mode = "test" if self.broker.kind == "memory" else "serve"
        service = _Service(
            self.configuration(address, **pubsub),
            Surroundings(mode=mode, index=index, workers=workers, boot_timeout=30.0),  # type: ignore[arg-type]
        )
        service.chosen = topics
        return service

    @asynccontextmanager
    async def running(
        self,
        *topics: Topic[Any],
        consume: bool = True,
        provision: bool = True,
        index: int = 0,
        workers: int = 1,
        address: str | None = None,
        **pubsub: Any,
    ) -> AsyncIterator[App]:
        """The topics, provisioned, bound and consumed. Then drained and closed.

        Args:
            consume: False: only published to.
            provision: make them at the broker first.
            index, workers: which worker this is, of how many.
            address: of a relay.
            pubsub: keys of ``[pubsub]``.
        """
        service = self.service(*topics, index=index, workers=workers, address=address, **pubsub)
        async with self.broker.ready(), self._running(service, consume, provision) as app:
            yield app

    @asynccontextmanager
    async def _running(self, service: _Service, consume: bool, provision: bool) -> AsyncIterator[App]:
        mistakes = service.check()
        assert not mistakes, "\n".join(mistakes)
        app = App(service, self.broker)
        if provision and self.broker.kind != "memory":
            (provider,) = service.placements.providers
            async with app.administrator() as administrator:
                await administrator.provision(*service.placements.of(provider))
        try:
            await service.prepare()
            await service.open()
            if consume:
                await service.start()
            yield app
            await service.drain(5.0)
        finally:
            await service.close()

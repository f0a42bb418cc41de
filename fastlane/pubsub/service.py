"""The runtime's view of topics and subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from fastlane.errors import ConfigurationError
from fastlane.pubsub.consumption import Consumers, once_of, share_of
from fastlane.pubsub.consumption.health import Health
from fastlane.pubsub.outbox import Outbox as OwnOutbox
from fastlane.pubsub.placement.boot import look
from fastlane.pubsub.placement.placements import Placement, Placements, place_topics
from fastlane.pubsub.provider import BoundSubscription, Provider
from fastlane.pubsub.publishing.binding import Outbox, TopicBinding
from fastlane.pubsub.publishing.dispatcher import Dispatcher
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.pubsub.topics.topic import Topic
from fastlane.resources.declaration import declared_kinds, declared_resources
from fastlane.resources.quantities import octets
from fastlane.resources.service import Service
from fastlane.resources.surroundings import Role
from fastlane.resources.work import Work
from fastlane.sql import Database

if TYPE_CHECKING:
    from fastlane.pubsub.providers.memory import Broker

__all__ = ["PubSubService"]

logger = logging.getLogger("fastlane.pubsub")


class PubSubService(Service):
    """Topics are bound to the providers that the configuration names; subscriptions are consumed.

    Attributes:
        outbox: what publishes in a transaction, instead of the own one, which an app has that declares a database.
    """

    name: ClassVar[str] = "pubsub"
    role: ClassVar[Role | None] = "subscriptions"
    outbox: ClassVar[Outbox | None] = None

    _placements: Placements | None = None
    _consumers: Consumers | None = None
    _healths: Sequence[Health] = ()
    _outbox: OwnOutbox | None = None

    @property
    def placements(self) -> Placements:
        """Where everything goes.

        Raises:
            ConfigurationError: a topic was declared twice.
        """
        if self._placements is None:
            topics: dict[str, Topic[Any]] = declared_resources(Topic)
            self._placements = place_topics(topics, self.configuration, self.surroundings)
        return self._placements

    def check(self) -> Sequence[str]:
        if "database" in declared_kinds() and self.surroundings.mode != "script":
            with contextlib.suppress(ModuleNotFoundError):  # the service of databases says what is missing
                import_module("fastlane.pubsub.outbox.post")
        return [*self.placements.mistakes, *self._unknown_subscriptions(), *self._forgetful_subscriptions()]

    async def prepare(self) -> object:
        if self.surroundings.mode != "test":
            missing = await look(self.placements, self.surroundings.boot_timeout, self.extend)
            if missing:
                raise ConfigurationError("\n".join(missing))
        return None

    async def open(self) -> None:
        placements = self.placements
        if placements.mistakes:
            raise ConfigurationError("\n".join(placements.mistakes))
        self._dispatchers: dict[Provider, Dispatcher] = {}
        self._bound: list[Topic[Any]] = []
        options = self.configuration.pubsub
        bindings: dict[str, TopicBinding] = {}
        databases = declared_resources(Database)
        if databases:
            self._outbox = OwnOutbox(databases, bindings, self.surroundings.mode)
        for provider in placements.providers:
            publisher = await provider.open_publisher()
            self._dispatchers[provider] = Dispatcher(provider.name, publisher, provider.capabilities, options)
            await self._open_memory(provider)
        for placement in placements.topics.values():
            binding = bindings[placement.topic.name] = self._binding(placement, octets(options.max_message_size))
            placement.topic.bind(binding)
            self._bound.append(placement.topic)
        if self._outbox is not None:
            self._outbox.open()

    async def start(self) -> None:
        self._consumers = consumers = Consumers()
        for subscription, bound, provider in self._consumed():
            share = share_of(subscription.max_concurrency, self.surroundings.index, self.surroundings.workers)
            if share:
                await consumers.consume(subscription, bound, provider, share)

    async def drain(self, timeout: float) -> None:
        if self._consumers is not None:
            await self._consumers.drain(timeout)

    async def close(self) -> None:
        consumers, self._consumers = self._consumers, None
        try:
            if consumers is not None:
                # The server tells its totals once more when everything is closed.
                self._healths = list(consumers.health.values())
                await consumers.close()
        finally:
            outbox, self._outbox = self._outbox, None
            try:
                if outbox is not None:
                    await outbox.close()
            finally:
                await self._close_publishers()

    def work(self) -> Work | None:
        healths = self._healths if self._consumers is None else list(self._consumers.health.values())
        dispatchers: dict[Provider, Dispatcher] = self.__dict__.get("_dispatchers", {})
        return Work(
            handled=sum(health.handled for health in healths),
            failed=sum(health.failed for health in healths),
            dead=sum(health.dead for health in healths),
            running=sum(health.running for health in healths),
            outgoing=sum(dispatcher.outgoing for dispatcher in dispatchers.values()),
            unreachable=sum(not health.reachable for health in healths),
        )

    async def settle(self) -> None:
        if self.surroundings.mode == "test":
            from fastlane.pubsub.providers.memory import settle

            while True:
                carried = 0 if self._outbox is None else await self._outbox.carry()
                await settle()
                if not carried:
                    break

    def _binding(self, placement: Placement, max_message_size: int) -> TopicBinding:
        provider = placement.provider
        return TopicBinding(
            placement.bound,
            provider=provider,
            dispatcher=self._dispatchers[provider],
            max_message_size=max_message_size,
            subscriptions={name: bound for name, (_, bound) in placement.subscriptions.items()},
            spy=_broker_of(provider),
            outbox=type(self).outbox or self._outbox,
        )

    async def _open_memory(self, provider: Provider) -> None:
        """What lives in this process is made in this process, and is what `settle` waits for."""
        broker = _broker_of(provider)
        if broker is None:
            return
        from fastlane.pubsub.providers.memory import enlist

        administrator = await provider.open_administrator()
        await administrator.provision(*self.placements.of(provider))
        dispatcher = self._dispatchers[provider]
        broker.busy += [
            lambda: dispatcher.outgoing > 0,
            self._handlers_run,
            lambda: self._outbox is not None and self._outbox.busy,
        ]
        enlist(broker)

    async def _close_publishers(self) -> None:
        for topic in self.__dict__.pop("_bound", []):
            topic.unbind()
        dispatchers = self.__dict__.pop("_dispatchers", {})
        closed = await asyncio.gather(*(one.close() for one in dispatchers.values()), return_exceptions=True)
        for provider, outcome in zip(dispatchers, closed, strict=True):
            if isinstance(outcome, Exception):
                logger.warning("provider %r: its publisher did not close: %s", provider.name, outcome)
            broker = _broker_of(provider)
            if broker is not None:
                broker.close()

    def _handlers_run(self) -> bool:
        return self._consumers is not None and any(health.running for health in self._consumers.health.values())

    def _consumed(self) -> Iterator[tuple[Subscription[Any], BoundSubscription, Provider]]:
        wanted = self.surroundings.subscriptions
        for placement in self.placements.topics.values():
            for subscription, bound in placement.subscriptions.values():
                if wanted is None or subscription.name in wanted or subscription.source in wanted:
                    yield subscription, bound, placement.provider

    def _unknown_subscriptions(self) -> Iterator[str]:
        known: list[str] = []
        for placement in self.placements.topics.values():
            for subscription, _ in placement.subscriptions.values():
                known += [subscription.source, subscription.name]
        for wanted in self.surroundings.subscriptions or ():
            if wanted not in known:
                close = difflib.get_close_matches(wanted, known, 1)
                meant = f"did you mean {close[0]!r}? Else " if close else ""
                names = ", ".join(sorted({name for name in known if "/" in name})) or "none"
                yield f"--subscriptions: there is no subscription {wanted!r}\n    mend: {meant}use some of: {names}"

    def _forgetful_subscriptions(self) -> Iterator[str]:
        for subscription, _, _ in self._consumed():
            try:
                once_of(subscription)
            except ConfigurationError as error:
                yield str(error)


def _broker_of(provider: Provider) -> Broker | None:
    """The broker in memory; None: it is another one."""
    if not provider.in_process:
        return None
    from fastlane.pubsub.providers.memory import MemoryProvider

    return provider.broker if isinstance(provider, MemoryProvider) else None

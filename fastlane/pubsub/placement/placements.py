"""Where each declared topic and subscription goes: the provider, and the names it has there."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub.placement.kinds import kind_of, make_provider
from fastlane.pubsub.placement.limits import subscription_mistakes, topic_mistakes
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Provider
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.pubsub.topics.topic import Topic
from fastlane.resources.configuration import (
    LocalOptions,
    MemoryOptions,
    ResourceConfiguration,
    SubscriptionOptions,
    TopicOptions,
)
from fastlane.resources.surroundings import Surroundings

__all__ = ["Placement", "Placements", "place_topics"]


class Placement(Struct, frozen=True, eq=False):
    """One topic.

    Attributes:
        subscriptions: of the topic, each with its place, by name.
    """

    topic: Topic[Any]
    bound: BoundTopic
    provider: Provider
    subscriptions: Mapping[str, tuple[Subscription[Any], BoundSubscription]]


class Placements(Struct, frozen=True, eq=False):
    """All topics.

    Attributes:
        topics: by name.
        mistakes: each with what, where, and the mend. A topic with one may be missing in ``topics``.
    """

    topics: Mapping[str, Placement]
    mistakes: list[str]

    @property
    def providers(self) -> list[Provider]:
        """Those in use, each once."""
        return list(dict.fromkeys(placement.provider for placement in self.topics.values()))

    def of(self, provider: Provider) -> tuple[list[BoundTopic], list[BoundSubscription]]:
        """What a provider carries."""
        placed = [placement for placement in self.topics.values() if placement.provider is provider]
        subscriptions = [bound for placement in placed for _, bound in placement.subscriptions.values()]
        return [placement.bound for placement in placed], subscriptions


def place_topics(
    topics: Mapping[str, Topic[Any]], configuration: ResourceConfiguration, surroundings: Surroundings
) -> Placements:
    """Decide by the configuration. Imports the providers' modules, and opens nothing."""
    return _Placing(configuration, surroundings).place(topics)


class _Placing:
    def __init__(self, configuration: ResourceConfiguration, surroundings: Surroundings) -> None:
        self._test = surroundings.mode == "test"
        # Tests never ask what a file says about brokers.
        self._configuration = ResourceConfiguration() if self._test else configuration
        self._options = self._configuration.pubsub
        self._embedded = surroundings.embedded or surroundings.mode == "dev"
        self._mistakes: list[str] = []
        self._providers: dict[str, Provider | None] = {}
        self._without: list[Topic[Any]] = []

    def place(self, topics: Mapping[str, Topic[Any]]) -> Placements:
        placed = {}
        for name, topic in topics.items():
            self._mistakes += map(str, topic.complete())
            placement = self._place(topic, self._options.topics.get(name, TopicOptions()))
            if placement is not None:
                placed[name] = placement
        self._complain_of_homeless()
        self._complain_of_undeclared(topics)
        self._complain_of_shared_names(placed.values())
        return Placements(placed, self._mistakes)

    def _place(self, topic: Topic[Any], options: TopicOptions) -> Placement | None:
        provider = self._provider_of(topic, options)
        if provider is None:
            return None
        table = f"[pubsub.topics.{topic.name}]"
        physical = self._given(table, options, provider) or provider.default_topic_name(
            topic.name, ordered=topic.ordered, exactly_once=topic.exactly_once
        )
        bound = BoundTopic(name=topic.name, physical=physical, ordered=topic.ordered, exactly_once=topic.exactly_once)
        self._mistakes += topic_mistakes(topic, bound, provider)
        subscriptions = {}
        for name, subscription in topic.subscriptions.items():
            chosen = options.subscriptions.get(name, SubscriptionOptions())
            its = self._bind(subscription, chosen, bound, provider)
            self._mistakes += subscription_mistakes(subscription, its, provider)
            subscriptions[name] = (subscription, its)
        return Placement(topic, bound, provider, subscriptions)

    def _bind(
        self,
        subscription: Subscription[Any],
        options: SubscriptionOptions,
        topic: BoundTopic,
        provider: Provider,
    ) -> BoundSubscription:
        table = f"[pubsub.topics.{topic.name}.subscriptions.{subscription.name}]"
        # After the topic's name there: who shares a broker with another environment has renamed the topics, and would
        # share the queues otherwise.
        physical = self._given(table, options, provider) or provider.default_subscription_name(
            provider.base_name(topic.physical),
            subscription.name,
            ordered=topic.ordered,
            exactly_once=topic.exactly_once,
        )
        return BoundSubscription(
            name=subscription.name,
            physical=physical,
            dead=provider.default_dead_name(physical),
            topic=topic,
            ack_deadline=subscription.ack_deadline,
            max_attempts=subscription.retry.max_attempts,
            max_backoff=subscription.retry.max_backoff,
            timeout=subscription.timeout,
        )

    def _given(self, table: str, options: TopicOptions | SubscriptionOptions, provider: Provider) -> str | None:
        """The name that the configuration gives."""
        given = {key: getattr(options, key) for key in ("name", "arn", "url") if getattr(options, key, None)}
        kind = kind_of(provider.options)
        for key in ("arn", "url"):
            if key in given and kind != "aws":
                self._mistakes.append(
                    f"{table} has {key}, and provider {provider.name!r} is of kind {kind}\n    mend: give name instead"
                )
        return next(iter(given.values()), None)

    def _provider_of(self, topic: Topic[Any], options: TopicOptions) -> Provider | None:
        name = options.provider or self._options.provider
        where = f"[pubsub.topics.{topic.name}]" if options.provider else "[pubsub]"
        if self._test:
            name = "memory"
        elif name is None and self._embedded:
            name = "local"
        if name is None:
            self._without.append(topic)
            return None
        if name not in self._providers:
            self._providers[name] = self._make(name, where)
        return self._providers[name]

    def _make(self, name: str, where: str) -> Provider | None:
        options: msgspec.Struct | None = self._configuration.providers.get(name)
        if options is None and name == "local":
            options = LocalOptions()
        elif options is None and self._test:
            options = MemoryOptions()
        if options is None:
            known = sorted({*self._configuration.providers, "local"})
            self._mistakes.append(
                f"{where} provider = {name!r}: there is no such provider\n"
                f"    mend: {_near(name, known)}add [providers.{name}], or use one of: {', '.join(known)}"
            )
            return None
        try:
            return make_provider(name, options)
        except ConfigurationError as error:
            self._mistakes.append(str(error))
            return None

    def _complain_of_homeless(self) -> None:
        if self._without:
            places = ", ".join(f"{topic.name!r} ({topic.place})" for topic in self._without)
            self._mistakes.append(
                f"no provider is configured for {_count(self._without, 'topic')} {places}\n"
                '    mend: set [pubsub] provider = "NAME" to one of [providers], or to "local" where one machine is '
                "enough; or start with --embedded"
            )

    def _complain_of_undeclared(self, topics: Mapping[str, Topic[Any]]) -> None:
        for name, options in self._options.topics.items():
            if name not in topics:
                self._mistakes.append(
                    f"[pubsub.topics.{name}]: no topic {name!r} is declared\n"
                    f"    mend: {_near(name, topics)}remove the table, or declare the topic"
                )
                continue
            declared = topics[name].subscriptions
            self._mistakes += [
                f"[pubsub.topics.{name}.subscriptions.{one}]: topic {name!r} has no subscription {one!r}\n"
                f"    mend: {_near(one, declared)}remove the table, or declare the subscription"
                for one in options.subscriptions
                if one not in declared
            ]
        named = {self._options.provider, *(options.provider for options in self._options.topics.values())}
        for name in self._configuration.providers:
            if name not in named and name not in self._providers:
                self._mistakes.append(
                    f"[providers.{name}]: no topic goes there\n"
                    f'    mend: remove the table, or set [pubsub] provider = "{name}", or that of a topic'
                )

    def _complain_of_shared_names(self, placed: Iterable[Placement]) -> None:
        """Two that are one at the broker would take each other's messages."""
        topics, subscriptions = [], []
        for placement in placed:
            provider = placement.provider.name
            topics.append((provider, placement.bound.physical, f"topic {placement.topic.name!r}"))
            subscriptions += [
                (provider, bound.physical, f"subscription {one.source!r}")
                for one, bound in placement.subscriptions.values()
            ]
            if placement.provider.capabilities.dead_letters == "received":  # they are a topic, a queue of their own
                dead = [
                    (provider, bound.dead, f"what is dead of {one.source!r}")
                    for one, bound in placement.subscriptions.values()
                ]
                topics += dead
                subscriptions += dead
        for group in (topics, subscriptions):
            for one, other in itertools.pairwise(sorted(group)):
                if one[:2] == other[:2] and not one[2].startswith("what"):  # else the subscriptions are told already
                    self._mistakes.append(
                        f"{one[2]} and {other[2]} are both called {one[1]!r} at provider {one[0]!r}\n"
                        "    mend: set another name for one of them in [pubsub.topics]"
                    )


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}? Else " if close else ""


def _count(things: list[Any], noun: str) -> str:
    return noun if len(things) == 1 else f"{noun}s"

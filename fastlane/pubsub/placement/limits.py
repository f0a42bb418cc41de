"""What a broker can't keep of what was declared: refused at boot, by name, and never bent to fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Provider
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.pubsub.topics.topic import Topic

__all__ = ["subscription_mistakes", "topic_mistakes"]


def topic_mistakes(topic: Topic[Any], bound: BoundTopic, provider: Provider) -> Iterator[str]:
    """Each with what, where, and the mend."""
    able = provider.capabilities
    who = f"{topic.place}: topic {topic.name!r}"
    if topic.ordered and not able.ordering:
        yield (
            f"{who} is ordered by {topic.order_by!r}, and provider {provider.name!r} keeps no order\n"
            "    mend: leave out order_by=, or choose another provider for this topic"
        )
    if topic.exactly_once and not able.exactly_once:
        yield (
            f'{who} has delivery="exactly-once", and provider {provider.name!r} delivers at least once\n'
            '    mend: use delivery="at-least-once", or choose another provider for this topic'
        )
    yield from _name(who, bound.physical, provider, f"[pubsub.topics.{topic.name}] name")
    yield from _form(who, bound.physical, bound, provider)


def subscription_mistakes(
    subscription: Subscription[Any], bound: BoundSubscription, provider: Provider
) -> Iterator[str]:
    """Each with what, where, and the mend."""
    able = provider.capabilities
    who = f"{subscription.place}: subscription {subscription.source!r}"
    least, most = able.ack_deadline
    if not least <= subscription.ack_deadline <= (subscription.ack_deadline if most is None else most):
        allowed = f"at least {least:g} s" if most is None else f"{least:g} to {most:g} s"
        yield (
            f"{who} has ack_deadline={subscription.ack_deadline:g}, and provider {provider.name!r} has leases of "
            f"{allowed}\n    mend: give an ack_deadline in that range"
        )
    for what, value, limit in (
        ("Retry(max_backoff=)", subscription.retry.max_backoff, able.max_backoff),
        ("timeout", subscription.timeout, able.max_timeout),
    ):
        if limit is not None and value > limit:
            yield (
                f"{who} has {what} {value:g} s, and provider {provider.name!r} has at most {limit:g} s\n"
                f"    mend: give at most that, or choose another provider for this topic"
            )
    key = f"[pubsub.topics.{subscription.topic.name}.subscriptions.{subscription.name}] name"
    yield from _name(who, bound.physical, provider, key)
    yield from _name(f"{who}: its dead letters", bound.dead, provider, key)
    yield from _form(who, bound.physical, bound.topic, provider)


def _form(who: str, physical: str, topic: BoundTopic, provider: Provider) -> Iterator[str]:
    problem = provider.name_problem(physical, ordered=topic.ordered, exactly_once=topic.exactly_once)
    if problem is not None:
        yield (
            f"{who} is called {physical!r} at provider {provider.name!r}: {problem}\n"
            "    mend: configure the name of one of its kind, or none"
        )


def _name(who: str, physical: str, provider: Provider, key: str) -> Iterator[str]:
    if "://" in physical or physical.startswith("arn:"):
        return
    least, most = provider.capabilities.name_lengths
    if len(physical) < least or (most is not None and len(physical) > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most}"
        yield (
            f"{who} would be called {physical!r}, and names of provider {provider.name!r} have {allowed} characters\n"
            f"    mend: set {key}"
        )

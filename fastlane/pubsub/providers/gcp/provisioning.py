"""What a topic and a subscription need at Google, what of it is missing, and how it is made."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.gcp.failures import Answered, told
from fastlane.pubsub.providers.gcp.names import dead_topic, short, subscription_path, topic_path
from fastlane.pubsub.providers.gcp.rest import Rest

__all__ = ["Gap", "Provisioning"]

RETENTION = "604800s"
DEAD_LEASE = 60
"""Seconds for which dead letters that are looked at are invisible to others, if nobody gives them back earlier."""


class Gap(NamedTuple):
    """A step, and what makes it."""

    step: Step
    mend: Callable[[], Awaitable[None]]


class _DeadLetterPolicy(Struct, rename="camel"):
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5


class _Subscription(Struct, rename="camel"):
    topic: str = ""
    ack_deadline_seconds: int = 10
    enable_message_ordering: bool = False
    enable_exactly_once_delivery: bool = False
    dead_letter_policy: _DeadLetterPolicy | None = None


class _Anything(Struct):
    pass


class Provisioning:
    """Looks at topics and subscriptions. Every mend may be made twice, also by two at the same time."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def gaps(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> AsyncIterator[Gap]:
        """What is missing, in the order in which it has to be made. The next one may be asked for before or after the
        mend of the one before."""
        for topic in topics:
            path = topic_path(self._rest.project, topic.physical)
            if await self._get(path, _Anything) is None:
                yield Gap(Step("create", "topic", topic.physical), partial(self._put, path, {}))
        for subscription in subscriptions:
            async for gap in self._dead_letters(subscription):
                yield gap
            async for gap in self._subscription(subscription):
                yield gap

    async def _dead_letters(self, subscription: BoundSubscription) -> AsyncIterator[Gap]:
        """Without a subscription of its own the topic would lose them."""
        topic = dead_topic(self._rest.project, subscription.dead)
        if await self._get(topic, _Anything) is None:
            yield Gap(Step("create", "dead letters", subscription.dead, "their topic"), partial(self._put, topic, {}))
        path = subscription_path(self._rest.project, subscription.dead)
        found = await self._get(path, _Subscription)
        if found is None:
            body = {
                "topic": topic,
                "ackDeadlineSeconds": DEAD_LEASE,
                "messageRetentionDuration": RETENTION,
                "expirationPolicy": {},
            }
            step = Step("create", "dead letters", subscription.dead, "their subscription, kept for 7 days")
            yield Gap(step, partial(self._put, path, body))
        else:
            _check_topic(subscription.dead, found.topic, topic)

    async def _subscription(self, subscription: BoundSubscription) -> AsyncIterator[Gap]:
        path = subscription_path(self._rest.project, subscription.physical)
        topic = topic_path(self._rest.project, subscription.topic.physical)
        deadline = math.ceil(subscription.ack_deadline)
        policy = self._policy(subscription)
        wanted: dict[str, Any] = {
            "ackDeadlineSeconds": deadline,
            "enableExactlyOnceDelivery": subscription.topic.exactly_once,
        }
        if policy is not None:
            wanted["deadLetterPolicy"] = policy
        found = await self._get(path, _Subscription)
        if found is None:
            body = wanted | {
                "topic": topic,
                "enableMessageOrdering": subscription.topic.ordered,
                "messageRetentionDuration": RETENTION,
                "expirationPolicy": {},  # never; the default is after a month in which nobody consumed
            }
            step = Step("create", "subscription", subscription.physical, _detail(subscription, policy))
            yield Gap(step, partial(self._put, path, body))
            return
        _check_topic(subscription.physical, found.topic, topic)
        if found.enable_message_ordering != subscription.topic.ordered:
            kind = "has no message ordering" if subscription.topic.ordered else "has message ordering"
            raise ConfigurationError(
                f"subscription {subscription.physical} {kind}, and Pub/Sub can't change that"
                "\n    mend: delete it when it is empty and provision again, or configure another name"
            )
        fields: list[tuple[str, str]] = []
        if found.ack_deadline_seconds != deadline:
            fields.append(("ackDeadlineSeconds", f"leases of {deadline} s"))
        if found.enable_exactly_once_delivery != subscription.topic.exactly_once:
            detail = "exactly-once delivery" if subscription.topic.exactly_once else "no exactly-once delivery"
            fields.append(("enableExactlyOnceDelivery", detail))
        if _found_policy(found) != policy:
            fields.append(("deadLetterPolicy", _back_stop(policy) or "no dead letter policy"))
        if fields:
            mask = ",".join(field for field, _ in fields)
            body = {"subscription": wanted | {"name": path, "topic": topic}, "updateMask": mask}
            step = Step("change", "subscription", subscription.physical, ", ".join(text for _, text in fields))
            yield Gap(step, partial(self._patch, path, body))

    def _policy(self, subscription: BoundSubscription) -> dict[str, Any] | None:
        """The back-stop, above the framework's own limits as far as Pub/Sub counts.

        Not where there is an order: the emulator loses the whole key.
        """
        attempts = subscription.max_attempts
        if subscription.topic.ordered or attempts is None or attempts >= 100:
            return None
        return {
            "deadLetterTopic": dead_topic(self._rest.project, subscription.dead),
            "maxDeliveryAttempts": min(100, 2 * attempts + 20),
        }

    async def _get(self, path: str, kind: type[Any]) -> Any:
        try:
            return await self._rest.call("GET", path, None, kind)
        except Answered as answered:
            if answered.verdict == "missing":
                return None
            raise told(short(path), answered) from None

    async def _put(self, path: str, body: dict[str, Any]) -> None:
        try:
            await self._rest.call("PUT", path, body, _Anything)
        except Answered as answered:
            if answered.verdict != "exists":
                raise told(short(path), answered) from None

    async def _patch(self, path: str, body: dict[str, Any]) -> None:
        try:
            await self._rest.call("PATCH", path, body, _Anything)
        except Answered as answered:
            raise told(short(path), answered) from None


def _check_topic(physical: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise ConfigurationError(
            f"subscription {physical} belongs to {found or 'no topic'}, not to {wanted}, and Pub/Sub can't change that"
            "\n    mend: delete it when it is empty and provision again, or configure another name"
        )


def _found_policy(found: _Subscription) -> dict[str, Any] | None:
    policy = found.dead_letter_policy
    if policy is None or not policy.dead_letter_topic:
        return None
    return {"deadLetterTopic": policy.dead_letter_topic, "maxDeliveryAttempts": policy.max_delivery_attempts}


def _back_stop(policy: dict[str, Any] | None) -> str:
    return f"dead letters after {policy['maxDeliveryAttempts']} deliveries, as a back-stop" if policy else ""


def _detail(subscription: BoundSubscription, policy: dict[str, Any] | None) -> str:
    parts = ["ordered" if subscription.topic.ordered else "", "exactly-once" if subscription.topic.exactly_once else ""]
    return ", ".join(part for part in (*parts, _back_stop(policy)) if part)

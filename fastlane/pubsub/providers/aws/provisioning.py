"""What a topic and a subscription need at AWS, what of it is missing, and how it is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.aws.clients import Client
from fastlane.pubsub.providers.aws.failures import Missing, talking
from fastlane.pubsub.providers.aws.names import Account, form_problem, queue_name
from fastlane.pubsub.providers.aws.queues import Queue

__all__ = ["Gap", "Provisioning"]

RETENTION = 7 * 86_400
DEAD_RETENTION = 14 * 86_400
MOST_BYTES = 1024 * 1024
"""Of a dead letter: a message of 256 KiB and why it died."""


class Gap(NamedTuple):
    """A step, and what makes it."""

    step: Step
    mend: Callable[[], Awaitable[None]]


class Provisioning:
    """Looks at topics and queues. Every mend may be made twice, also by two at the same time."""

    def __init__(self, sns: Client, sqs: Client, account: Account) -> None:
        self._sns = sns
        self._sqs = sqs
        self._account = account

    async def gaps(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> AsyncIterator[Gap]:
        """What is missing, in the order in which it has to be made. The next one may be asked for before or after the
        mend of the one before."""
        for topic in topics:
            async for gap in self._topic(topic):
                yield gap
        for subscription in subscriptions:
            async for gap in self._dead_letters(subscription):
                yield gap
            async for gap in self._queue(subscription):
                yield gap
            async for gap in self._subscription(subscription):
                yield gap

    async def _topic(self, topic: BoundTopic) -> AsyncIterator[Gap]:
        fifo = topic.ordered or topic.exactly_once
        _check_form("topic", topic.physical, fifo)
        try:
            with talking(f"topic {topic.physical}"):
                await self._sns.get_topic_attributes(TopicArn=self._account.topic_arn(topic.physical))
        except Missing:
            step = Step("create", "topic", topic.physical, "FIFO" if fifo else "")
            yield Gap(step, partial(self._create_topic, topic.physical, fifo))

    async def _create_topic(self, physical: str, fifo: bool) -> None:
        attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "false"} if fifo else {}
        with talking(f"topic {physical}"):
            made = await self._sns.create_topic(Name=queue_name(physical)[0], Attributes=attributes)
        if made["TopicArn"] != self._account.topic_arn(physical):
            raise ConfigurationError(
                f"topic {physical} is not of the provider's account and region ({made['TopicArn']} was made)"
                "\n    mend: give the topic a provider of that account and region"
            )

    async def _dead_letters(self, subscription: BoundSubscription) -> AsyncIterator[Gap]:
        fifo = subscription.topic.ordered or subscription.topic.exactly_once
        _check_form("queue", subscription.dead, fifo)
        wanted = {"MessageRetentionPeriod": str(DEAD_RETENTION), "MaximumMessageSize": str(MOST_BYTES)}
        queue = Queue(self._sqs, subscription.dead)
        try:
            found = await queue.attributes("MaximumMessageSize")
        except Missing:
            step = Step("create", "dead letters", subscription.dead, f"kept for {DEAD_RETENTION // 86_400} days")
            yield Gap(step, partial(self._create_queue, subscription.dead, fifo, wanted))
        else:
            # 256 KiB, the default of old queues, has no room for why a message of 256 KiB died.
            if int(found.get("MaximumMessageSize", MOST_BYTES)) < MOST_BYTES:
                step = Step("change", "dead letters", subscription.dead, f"messages of up to {MOST_BYTES} bytes")
                yield Gap(step, partial(self._set, queue, {"MaximumMessageSize": str(MOST_BYTES)}))

    async def _queue(self, subscription: BoundSubscription) -> AsyncIterator[Gap]:
        fifo = subscription.topic.ordered or subscription.topic.exactly_once
        _check_form("queue", subscription.physical, fifo)
        queue = Queue(self._sqs, subscription.physical)
        redrive = self._redrive(subscription)
        statement = self._statement(subscription)
        try:
            found = await queue.attributes("Policy", "RedrivePolicy")
        except Missing:
            wanted = {
                "MessageRetentionPeriod": str(RETENTION),
                "VisibilityTimeout": str(math.ceil(subscription.ack_deadline)),
                "Policy": _policy("", statement),
            }
            if redrive:
                wanted["RedrivePolicy"] = json.dumps(redrive)
            step = Step("create", "subscription", subscription.physical, _detail(fifo, redrive))
            yield Gap(step, partial(self._create_queue, subscription.physical, fifo, wanted))
            return
        # Both at once, whichever differs: moto forgets the one that is not given.
        both = {"Policy": _policy(found.get("Policy", ""), statement)}
        if redrive or found.get("RedrivePolicy"):
            both["RedrivePolicy"] = json.dumps(redrive) if redrive else ""
        mend = partial(self._set, queue, both)
        if statement not in _statements(found.get("Policy", "")):
            detail = f"lets {subscription.topic.physical} send"
            yield Gap(Step("change", "queue policy", subscription.physical, detail), mend)
        if not _same_redrive(found.get("RedrivePolicy", ""), redrive):
            detail = _detail(False, redrive) or "no redrive policy"
            yield Gap(Step("change", "subscription", subscription.physical, detail), mend)

    async def _create_queue(self, physical: str, fifo: bool, attributes: dict[str, str]) -> None:
        if fifo:
            attributes = attributes | {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
        with talking(f"queue {physical}"):
            try:
                await self._sqs.create_queue(QueueName=queue_name(physical)[0], Attributes=attributes)
            except ClientError as error:
                # Somebody else made it, with a policy of his own: the next look finds what differs.
                if error.response["Error"]["Code"].rpartition(".")[2] not in ("QueueNameExists", "QueueAlreadyExists"):
                    raise

    async def _set(self, queue: Queue, attributes: dict[str, str]) -> None:
        url = await queue.url()
        with talking(f"queue {queue.physical}"):
            await self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    async def _subscription(self, subscription: BoundSubscription) -> AsyncIterator[Gap]:
        topic = self._account.topic_arn(subscription.topic.physical)
        queue = self._account.queue_arn(subscription.physical)
        arn = await self._find(topic, queue)
        what = f"{subscription.topic.physical} to {subscription.physical}"
        if arn is None:
            step = Step("create", "delivery", subscription.physical, f"from {subscription.topic.physical}, raw")
            yield Gap(step, partial(self._subscribe, what, topic, queue))
            return
        with talking(f"delivery of {what}"):
            found = await self._sns.get_subscription_attributes(SubscriptionArn=arn)
        if found["Attributes"].get("RawMessageDelivery") != "true":
            step = Step("change", "delivery", subscription.physical, f"from {subscription.topic.physical}, raw")
            yield Gap(step, partial(self._make_raw, what, arn))

    async def _find(self, topic: str, queue: str) -> str | None:
        try:
            with talking(f"topic {topic}"):
                async for page in self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
                    for found in page["Subscriptions"]:
                        if found["Endpoint"] == queue and found["Protocol"] == "sqs":
                            return str(found["SubscriptionArn"])
        except Missing:
            pass
        return None

    async def _subscribe(self, what: str, topic: str, queue: str) -> None:
        with talking(f"delivery of {what}"):
            await self._sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=queue,
                Attributes={"RawMessageDelivery": "true"},
                ReturnSubscriptionArn=True,
            )

    async def _make_raw(self, what: str, arn: str) -> None:
        with talking(f"delivery of {what}"):
            await self._sns.set_subscription_attributes(
                SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
            )

    def _statement(self, subscription: BoundSubscription) -> dict[str, Any]:
        topic = self._account.topic_arn(subscription.topic.physical)
        return {
            "Sid": f"Fastlane{hashlib.sha256(topic.encode()).hexdigest()[:16]}",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self._account.queue_arn(subscription.physical),
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }

    def _redrive(self, subscription: BoundSubscription) -> dict[str, Any] | None:
        """The back-stop, above the framework's own limits.

        Not where there is an order: it would let a key's next message pass one that may yet be handled.
        """
        if subscription.topic.ordered or subscription.max_attempts is None:
            return None
        receives = 2 * subscription.max_attempts + 20
        if receives > 1000:
            return None
        return {"deadLetterTargetArn": self._account.queue_arn(subscription.dead), "maxReceiveCount": receives}


def _check_form(what: str, physical: str, fifo: bool) -> None:
    problem = form_problem(physical, fifo)
    if problem is not None:
        raise ConfigurationError(
            f"{what} {physical}: {problem}\n"
            f"    mend: configure the name of a {'FIFO' if fifo else 'standard'} {what}, or none"
        )


def _detail(fifo: bool, redrive: dict[str, Any] | None) -> str:
    parts = ["FIFO"] if fifo else []
    if redrive:
        parts.append(f"dead letters after {redrive['maxReceiveCount']} receives, as a back-stop")
    return ", ".join(parts)


def _statements(policy: str) -> list[dict[str, Any]]:
    statements: Any = json.loads(policy).get("Statement", []) if policy else []
    return statements if isinstance(statements, list) else [statements]


def _policy(old: str, statement: dict[str, Any]) -> str:
    """The policy with our statement; those of others stay."""
    others = [other for other in _statements(old) if other.get("Sid") != statement["Sid"]]
    head = json.loads(old) if old else {"Version": "2012-10-17"}
    return json.dumps(head | {"Statement": [*others, statement]})


def _same_redrive(policy: str, wanted: dict[str, Any] | None) -> bool:
    if not policy or wanted is None:
        return not policy and wanted is None
    found = json.loads(policy)
    return bool(
        found.get("deadLetterTargetArn") == wanted["deadLetterTargetArn"]
        and int(found.get("maxReceiveCount", 0)) == wanted["maxReceiveCount"]
    )

"""What SNS and SQS can do together, and how they are opened."""

from __future__ import annotations

import os
from typing import ClassVar

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import Administrator, BoundSubscription, Provider, Publisher, Source
from fastlane.pubsub.providers.aws.administrator import AwsAdministrator
from fastlane.pubsub.providers.aws.clients import Clients
from fastlane.pubsub.providers.aws.names import FIFO, dead_name, form_problem, queue_name
from fastlane.pubsub.providers.aws.publisher import MOST_BYTES, AwsPublisher
from fastlane.pubsub.providers.aws.queues import BATCH, LONGEST
from fastlane.pubsub.providers.aws.source import RECEIVES, AwsSource
from fastlane.resources.configuration import AwsOptions

__all__ = ["AwsProvider"]


class AwsProvider(Provider):
    """SNS topics to SQS queues; FIFO where a topic is ordered or exactly-once.

    Publisher, sources and administrator have clients of their own: each may be on another event loop.
    """

    options: AwsOptions
    extra: ClassVar[str] = "aws"
    capabilities: ClassVar[Capabilities] = Capabilities(
        ordering=True,
        blocks_key=True,
        receive_limit=BATCH,
        receives=RECEIVES,
        exactly_once=True,
        exact_attempts=False,
        ack_deadline=(1, LONGEST),
        max_backoff=LONGEST,
        max_timeout=LONGEST,
        max_delay=LONGEST,
        ordered_delay=False,
        whole_seconds=True,
        name_lengths=(1, 80),
        batch_size=BATCH,
        batch_bytes=MOST_BYTES,
        dead_letters="received",
        pause=False,
        emulated=(
            "delay: a consumer puts a message off that is not due, once",
            "dead letters: written by the framework; SQS's redrive policy as a back-stop where there is no order",
            "payloads that XML does not allow travel as base64",
        ),
        loses="a message that nobody acknowledges within the queue's retention, 7 days",
    )

    def default_topic_name(self, topic: str, *, ordered: bool, exactly_once: bool) -> str:
        return topic + FIFO if ordered or exactly_once else topic

    def base_name(self, physical: str) -> str:
        return queue_name(physical)[0].removesuffix(FIFO)

    def default_subscription_name(self, topic: str, subscription: str, *, ordered: bool, exactly_once: bool) -> str:
        name = f"{topic}-{subscription}"
        return name + FIFO if ordered or exactly_once else name

    def default_dead_name(self, physical: str) -> str:
        return dead_name(physical)

    def name_problem(self, physical: str, *, ordered: bool, exactly_once: bool) -> str | None:
        return form_problem(physical, ordered or exactly_once)

    async def open_publisher(self) -> Publisher:
        publisher = AwsPublisher(self._clients())
        await publisher.open()
        return publisher

    async def open_source(self, subscription: BoundSubscription) -> Source:
        # botocore takes these variables, too.
        endpoints = (self.options.endpoint_url, *map(os.environ.get, ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")))
        endpoint = next((found for found in endpoints if found), None)
        emulated = endpoint is not None and ".amazonaws." not in endpoint
        source = AwsSource(subscription, self._clients(), emulated=emulated)
        await source.open()
        return source

    async def open_administrator(self) -> Administrator:
        administrator = AwsAdministrator(self._clients())
        await administrator.open()
        return administrator

    def _clients(self) -> Clients:
        return Clients(self.name, self.options)

"""What Google Cloud Pub/Sub can do, and how it is opened."""

from __future__ import annotations

from typing import ClassVar

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import Administrator, BoundSubscription, Provider, Publisher, Source
from fastlane.pubsub.providers.gcp.administrator import GcpAdministrator
from fastlane.pubsub.providers.gcp.names import short
from fastlane.pubsub.providers.gcp.publisher import GcpPublisher
from fastlane.pubsub.providers.gcp.pulling import LONGEST
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.source import GcpSource
from fastlane.resources.configuration import GcpOptions

__all__ = ["GcpProvider"]

ORDERED_PULLS = 4
CALLS = 16


class GcpProvider(Provider):
    """Google Cloud Pub/Sub, or its emulator.

    Publisher, sources and administrator have HTTP sessions of their own: each may be on another event loop.
    """

    options: GcpOptions
    extra: ClassVar[str] = "gcp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        ordering=True,
        blocks_key=False,
        ordered_limit=1,
        ordered_receives=ORDERED_PULLS,
        exactly_once=True,
        exact_attempts=False,
        ack_deadline=(10, LONGEST),
        max_backoff=LONGEST,
        max_delay=LONGEST,
        ordered_delay=False,
        whole_seconds=True,
        name_lengths=(3, 255),
        batch_size=1000,
        batch_bytes=4 * 1024 * 1024,
        backlog=False,
        dead_letters="received",
        pause=False,
        emulated=(
            "delay: a consumer puts a message off that is not due, once",
            "dead letters: written by the framework; Pub/Sub's own policy as a back-stop where there is no order",
            "replay to one subscription: published to the topic, and skipped by the consumers of the others",
            "attempts: counted in the worker where there is no native policy (ordered, or no limit below 100)",
            "exactly-once: of acknowledgements; a publish that is retried may be delivered twice, under one id",
        ),
        loses="a message that nobody acknowledges within the subscription's retention, 7 days",
    )

    def base_name(self, physical: str) -> str:
        return short(physical)

    async def open_publisher(self) -> Publisher:
        return GcpPublisher(self._rest(64))

    async def open_source(self, subscription: BoundSubscription) -> Source:
        rest = self._rest(ORDERED_PULLS + CALLS)
        return GcpSource(subscription, rest, at_once=rest.emulated)

    async def open_administrator(self) -> Administrator:
        return GcpAdministrator(self._rest(CALLS))

    def _rest(self, connections: int) -> Rest:
        return Rest(self.name, self.options, connections=connections)

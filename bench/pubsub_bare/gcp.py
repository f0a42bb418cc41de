"""Google Pub/Sub by gcloud-aio's thin clients."""

from __future__ import annotations

from typing import Any

from bench.pubsub_bare.bare import TOGETHER, Bare, handle_all
from bench.pubsub_work import MOST_CONCURRENT, Event, Handler, encode

__all__ = ["Gcp"]


class Gcp(Bare):
    """gcloud-aio's thin clients: a pull of a hundred after the other, acknowledged beside the next one."""

    batches = TOGETHER

    async def open(self) -> None:
        import aiohttp
        from gcloud.aio.pubsub import PublisherClient, SubscriberClient

        self.session = aiohttp.ClientSession()
        options: dict[str, Any] = {"session": self.session, "api_root": f"{self.address}/v1"}
        # Where this is set, they ask nobody for a token.
        self.publisher = PublisherClient(**options)
        self.subscriber = SubscriberClient(**options)
        self.topic = f"projects/bench/topics/{self.name}"
        self.subscription = f"projects/bench/subscriptions/{self.name}"
        await self.publisher.create_topic(self.topic)
        await self.subscriber.create_subscription(self.subscription, self.topic)

    async def publish(self, events: list[Event]) -> None:
        from gcloud.aio.pubsub import PubsubMessage

        await self.publisher.publish(self.topic, [PubsubMessage(encode(event)) for event in events])

    async def consume(self, handle: Handler) -> None:
        self.spawn(self.pull(handle))

    async def pull(self, handle: Handler) -> None:
        while True:
            messages = await self.subscriber.pull(self.subscription, MOST_CONCURRENT, timeout=100)
            if messages:
                await handle_all(handle, [message.data for message in messages])
                self.spawn(self.subscriber.acknowledge(self.subscription, [message.ack_id for message in messages]))

    async def close(self) -> None:
        await super().close()
        await self.session.close()

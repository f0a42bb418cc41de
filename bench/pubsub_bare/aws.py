"""SNS and SQS by aiobotocore."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from bench.pubsub_bare.bare import Bare, handle_all
from bench.pubsub_work import Event, Handler, encode

__all__ = ["Aws"]


class Aws(Bare):
    """aiobotocore: batches of ten, five polls side by side, batched deletes."""

    batches = (*(10,) * 6, 4)
    POLLS: ClassVar[int] = 5

    async def open(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self.stack = contextlib.AsyncExitStack()
        session = get_session()
        options = {
            "region_name": "eu-north-1",
            "endpoint_url": self.address,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": AioConfig(max_pool_connections=64, read_timeout=30, connect_timeout=5),
        }
        self.sns = await self.stack.enter_async_context(session.create_client("sns", **options))
        self.sqs = await self.stack.enter_async_context(session.create_client("sqs", **options))
        self.topic = (await self.sns.create_topic(Name=self.name))["TopicArn"]
        self.queue = (await self.sqs.create_queue(QueueName=self.name))["QueueUrl"]
        found = await self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        await self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=found["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )

    async def publish(self, events: list[Event]) -> None:
        bodies = [encode(event).decode() for event in events]
        if len(bodies) == 1:
            await self.sns.publish(TopicArn=self.topic, Message=bodies[0])
            return
        entries = [{"Id": str(number), "Message": body} for number, body in enumerate(bodies)]
        answer = await self.sns.publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)
        if answer.get("Failed"):
            raise RuntimeError(answer["Failed"])

    async def consume(self, handle: Handler) -> None:
        for _ in range(self.POLLS):
            self.spawn(self.poll(handle))

    async def poll(self, handle: Handler) -> None:
        while True:
            answer = await self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=20,
                VisibilityTimeout=30,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if messages:
                await handle_all(handle, [message["Body"] for message in messages])
                self.spawn(self.delete(messages))

    async def delete(self, messages: list[dict[str, Any]]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]} for number, one in enumerate(messages)]
        await self.sqs.delete_message_batch(QueueUrl=self.queue, Entries=entries)

    async def close(self) -> None:
        await super().close()
        await self.stack.aclose()

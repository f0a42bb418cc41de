"""A worker that takes a message and is killed while it handles it: ``python -m tests.conformance.dying ORDER``."""

from __future__ import annotations

import asyncio
import json
import sys

import msgspec

from fastlane.pubsub import Topic
from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings
from fastlane.sql import Database
from fastlane.sql.service import SqlService

__all__ = ["main"]


def main() -> None:
    """Says "started" when the handler has begun; it never ends."""
    order = json.loads(sys.argv[1])
    topic: Topic[int] = Topic(order["topic"], int)

    @topic.subscribe("fragile", ack_deadline=order["ack_deadline"])
    async def handle(number: int) -> None:
        print("started", flush=True)  # noqa: T201  # to the test
        await asyncio.sleep(600)

    async def work() -> None:
        configuration = msgspec.convert(order["configuration"], ResourceConfiguration)
        # Where the broker is one of the app's databases.
        databases = [Database(name, migrations=None) for name in configuration.sql.databases]
        sql = SqlService(configuration, Surroundings(mode="serve"))
        assert not sql.check()
        await sql.open()
        service = PubSubService(configuration, Surroundings(mode="serve"))
        assert not service.check(), databases
        await service.open()
        await service.start()
        await asyncio.sleep(600)

    asyncio.run(work())


if __name__ == "__main__":
    main()

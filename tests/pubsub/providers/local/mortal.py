"""A process that publishes or consumes until it is killed, says when it begins, and notes what it did in a file.

python -m tests.pubsub.providers.local.mortal publish|consume FILE LOG FIRST
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from fastlane.pubsub.providers.local import LocalProvider
from fastlane.resources.configuration import LocalOptions
from tests.pubsub.providers.local.rig import TOPIC, bound, outgoing

LEASE = 1.0
BEGUN = b"begun\n"


async def publish(provider: LocalProvider, log: int, first: int) -> None:
    """Numbers from ``first``: every fourth has a key, of which one is under way at a time."""
    publisher = await provider.open_publisher()
    os.write(1, BEGUN)

    async def line(number: int, step: int, key: str | None) -> None:
        while True:
            (answer,) = await publisher.publish(TOPIC, [outgoing(b"%d" % number, key=key)])
            assert isinstance(answer, str), answer
            os.write(log, b"%d %s\n" % (number, (key or "-").encode()))
            number += step

    await asyncio.gather(line(first, 4, f"key{first}"), *(line(first + n, 4, None) for n in (1, 2, 3)))


async def consume(provider: LocalProvider, log: int) -> None:
    source = await provider.open_source(bound(ack_deadline=LEASE))
    os.write(1, BEGUN)
    while True:
        deliveries = await source.receive(20)
        for delivery in deliveries:
            os.write(log, b"%s %s\n" % (delivery.payload, (delivery.ordering_key or "-").encode()))
        if deliveries:
            await source.ack(deliveries)


def main() -> None:
    verb, file, log, first = sys.argv[1:]
    provider = LocalProvider("local", LocalOptions(path=file))
    descriptor = os.open(Path(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    asyncio.run(publish(provider, descriptor, int(first)) if verb == "publish" else consume(provider, descriptor))


if __name__ == "__main__":
    main()

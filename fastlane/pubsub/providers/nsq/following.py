"""Which nsqd a source is connected to, as they come and go."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address
from fastlane.pubsub.providers.nsq.discovery import Directory
from fastlane.pubsub.providers.nsq.feed import Feed

__all__ = ["Following"]

_log = logging.getLogger("fastlane.pubsub")

_IMPATIENT = 1.0
"""Seconds between two questions to nsqlookupd while it knows none: nobody has published yet, or it has just started."""


class Following:
    """A feed for each nsqd and topic. Used on one event loop.

    Args:
        topics: the first is the one that counts: without it nothing is received.
        make: a feed for a topic on an nsqd; it is started here.
        on_change: called when nsqlookupd could not be asked.
    """

    def __init__(
        self,
        topics: Sequence[str],
        directory: Directory,
        *,
        make: Callable[[Address, str], Feed],
        on_change: Callable[[], None],
    ) -> None:
        self._topics = topics
        self._directory = directory
        self._make, self._on_change = make, on_change
        self._feeds: dict[tuple[Address, str], Feed] = {}
        self._failure: BrokerUnavailable | None = None
        self._finding: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to connect, in the background."""
        if self._directory.lookupd:
            self._finding = asyncio.get_running_loop().create_task(self._find())
        else:
            self._follow({topic: set(self._directory.nsqd) for topic in self._topics})

    def addresses(self) -> set[Address]:
        """Each nsqd that is connected or to be connected for the first topic."""
        return {address for address, topic in self._feeds if topic == self._topics[0]}

    def live(self) -> list[Feed]:
        """Those that are connected; those of the first topic first."""
        return [feed for each in self._topics for feed in self._feeds.values() if feed.alive and feed.topic == each]

    def unavailable(self) -> BrokerUnavailable | None:
        """Why nothing can come; None: something can, or that is not known yet."""
        feeds = [feed for feed in self._feeds.values() if feed.topic == self._topics[0]]
        if any(feed.failure is None for feed in feeds):
            return None
        return feeds[0].failure if feeds else self._failure

    async def _find(self) -> None:
        """Ask nsqlookupd again and again."""
        while True:
            try:
                found = await asyncio.gather(*(self._directory.producers(topic) for topic in self._topics))
            except BrokerUnavailable as error:
                if self._failure is None:
                    _log.warning("%s; trying again", error)
                self._failure = error
                self._on_change()
            else:
                self._failure = None
                self._follow(dict(zip(self._topics, found, strict=True)))
            interval = self._directory.interval if self._feeds else min(self._directory.interval, _IMPATIENT)
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))

    def _follow(self, found: dict[str, set[Address]]) -> None:
        """Connect to the new ones. Those that are gone stay while their connection lasts: they may hold messages."""
        for (address, topic), feed in list(self._feeds.items()):
            feed.listed = address in found[topic]
            if feed.over or not (feed.listed or feed.alive):
                del self._feeds[address, topic]
                task = asyncio.get_running_loop().create_task(feed.close())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for topic, addresses in found.items():
            for address in addresses:
                if (address, topic) not in self._feeds:
                    feed = self._feeds[address, topic] = self._make(address, topic)
                    feed.start()

    async def close(self) -> None:
        """Nothing comes any more; what is in flight is handed back."""
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.wait([self._finding])
        closing = (feed.close() for feed in self._feeds.values())
        await asyncio.gather(*closing, *self._ending, return_exceptions=True)

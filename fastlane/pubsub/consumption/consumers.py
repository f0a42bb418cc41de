"""All subscriptions of a worker, and the second thread in which their brokers are spoken to.

    worker's event loop                          consuming event loop, in a thread of its own
    handlers (Handling) ◄────── runs ─────────── receive, leases, acknowledgements (Consumption)
                        ─────── outcomes ──────►

So a handler that computes for a minute neither stops the leases of the others nor loses its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub.consumption.consumption import Consumption
from fastlane.pubsub.consumption.handling import Handling
from fastlane.pubsub.consumption.health import Health
from fastlane.pubsub.consumption.hop import Hop
from fastlane.pubsub.consumption.once import Once
from fastlane.pubsub.consumption.thread import LoopThread
from fastlane.pubsub.provider import BoundSubscription, Provider
from fastlane.pubsub.topics.subscription import Subscription

__all__ = ["Consumers", "once_of", "share_of"]


def share_of(max_concurrency: int, index: int, workers: int) -> int:
    """How many of the handlers that an instance may run at the same time fall to the worker ``index``.

    The shares of all workers together are ``max_concurrency``; some are 0 where there are more workers than that. A
    worker that SIGTTIN has added has none: the others keep theirs.
    """
    if index >= workers:
        return 0
    return max_concurrency // workers + (index < max_concurrency % workers)


class _Consumer(Struct, eq=False):
    handling: Handling
    consumption: Consumption
    in_process: bool


class Consumers:
    """Consumes subscriptions from `start` to `drain`. Used on the worker's event loop.

    Subscriptions of brokers in this very process (``in_process``) are consumed on that event loop, and follow their
    broker's clock; the first of any other starts the thread.

    Args:
        context: what handlers see of context variables: each call gets a copy. Default: an empty one.
    """

    def __init__(self, context: Context | None = None) -> None:
        self._context = Context() if context is None else context
        self._consumers: dict[str, _Consumer] = {}
        self._thread: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def consume(
        self, subscription: Subscription[Any], bound: BoundSubscription, provider: Provider, share: int
    ) -> None:
        """Begin to consume.

        Args:
            share: of ``max_concurrency``, see `share_of`. 0: not in this worker; nothing is done.

        Raises:
            ConfigurationError: ``once=`` names a database that can't remember what was handled, or goes with what it
                can't go with.
        """
        once = once_of(subscription)
        if share < 1:
            return
        main = self._loop = asyncio.get_running_loop()
        in_process = provider.in_process
        clock = provider.clock if in_process and provider.clock is not None else main
        handling = Handling(subscription, main, clock, self._context, share, once)
        begin: Hop[Any] = Hop(main, handling.begin, threaded=not in_process)

        async def open_consumption() -> Consumption:
            loop = asyncio.get_running_loop()
            consumption = Consumption(
                subscription, bound, provider, share, clock if in_process else loop, begin.put_all
            )
            # A `def` handler ends in a thread, also where everything else is on one event loop.
            handling.connect(Hop(loop, consumption.ended, threaded=not in_process or not subscription.is_async))
            consumption.start()
            return consumption

        if in_process:
            consumption = await open_consumption()
        else:
            if self._thread is None:
                self._thread = LoopThread("fastlane pubsub")
            consumption = await self._thread.run(open_consumption())
        self._consumers[bound.source] = _Consumer(handling, consumption, in_process)

    @property
    def health(self) -> Mapping[str, Health]:
        """The counters of each subscription, by ``topic/subscription``."""
        return {source: consumer.consumption.health for source, consumer in self._consumers.items()}

    async def drain(self, timeout: float) -> None:
        """Stop receiving, hand back what has not started, let what runs end, acknowledge it, and close the sources.

        Handlers that still run after ``timeout`` seconds are cancelled, and their messages handed back: that is no
        failed attempt. Ends within two seconds after that, or seven where a source does not close. When it is cancelled
        itself, it goes on until `close`.
        """
        for consumer in self._consumers.values():
            consumer.handling.stop()
        draining = [self._drain(consumer, timeout) for consumer in self._consumers.values()]
        await asyncio.gather(*draining)

    async def _drain(self, consumer: _Consumer, timeout: float) -> None:
        main = asyncio.get_running_loop()
        handling, consumption = consumer.handling, consumer.consumption

        def cancel() -> None:
            main.call_soon_threadsafe(handling.cancel)

        def abandon() -> None:
            main.call_soon_threadsafe(handling.abandon)

        drained = consumption.drain(timeout, cancel, abandon)
        if consumer.in_process:
            await drained
        else:
            assert self._thread is not None
            await self._thread.run(drained)

    async def close(self) -> None:
        """Let go of everything. What was not drained by now is cancelled, and handed back."""
        await self.drain(0.0)
        for consumer in self._consumers.values():
            consumer.handling.close()
        self._consumers.clear()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await thread.stop()


def once_of(subscription: Subscription[Any]) -> Once | None:
    """Who remembers what the subscription has handled; None: nobody has to.

    Raises:
        ConfigurationError: ``once=`` names what can't remember, or goes with what it can't go with.
    """
    database = subscription.once
    if database is None:
        return None
    if not isinstance(database, Once):
        raise ConfigurationError(
            f"subscription {subscription.source!r} ({subscription.place}) has once={database!r}, "
            "which can't remember what was handled\n    mend: give a Database of fastlane.sql"
        )
    if subscription.batch is not None or not subscription.is_async:
        raise ConfigurationError(
            f"subscription {subscription.source!r} ({subscription.place}) has once=, and "
            f"{'takes batches' if subscription.batch is not None else 'its handler is a plain def'}\n"
            "    mend: make it an `async def` that takes one message at a time, or leave once= out"
        )
    return database

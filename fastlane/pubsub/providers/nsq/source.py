"""Receiving the messages of one channel, from every nsqd that has the topic."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

from ansq.tcp.types import NSQCommands

from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, Source
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.connection import Arrival
from fastlane.pubsub.providers.nsq.discovery import Directory
from fastlane.pubsub.providers.nsq.envelope import open_message, open_raw, seal_letter
from fastlane.pubsub.providers.nsq.feed import Feed, requeue
from fastlane.pubsub.providers.nsq.following import Following
from fastlane.pubsub.providers.nsq.http import Http
from fastlane.pubsub.providers.nsq.pool import Pool
from fastlane.pubsub.providers.nsq.readiness import MANY, grants, quotas

__all__ = ["NsqSource"]

_WAIT = 5.0
"""Seconds after which a receive answers without messages."""

_PATIENCE = 0.5
"""Seconds in which an nsqd may come back before a receive says that none is there."""

_UNCLAIMED = 0.5
"""Seconds that a message waits here for a receive; then another consumer may have it."""

_TICK = 0.25
_REPLAY_TICK = 0.05
_REPLAY_EVERY = 8
"""A connection's turn, where there are few permits; every eighth, the replay topic has a short one."""

_FIN = NSQCommands.FIN
_TOUCH = NSQCommands.TOUCH


class NsqSource(Source):
    """Args:
    replay: the topic of messages for this subscription alone; they are in our envelope, whatever ``raw`` says.
    raw: the topic's messages have no envelope.
    max_delay: most seconds of a requeue.
    """

    def __init__(
        self,
        subscription: BoundSubscription,
        replay: str,
        *,
        directory: Directory,
        http: Http,
        pool: Pool,
        security: Security,
        heartbeat: float,
        raw: bool,
        max_delay: float,
    ) -> None:
        self._subscription = subscription
        self._replay = replay
        self._http, self._pool = http, pool
        self._security, self._heartbeat = security, heartbeat
        self._max_delay = max_delay
        self._open: Callable[..., Delivery] = open_raw if raw else open_message
        self._lease = subscription.ack_deadline
        self._loop = asyncio.get_running_loop()
        self._live: list[Feed] = []
        self._buffer: deque[Arrival] = deque()
        self._receiving: asyncio.Future[None] | None = None
        self._total = 0
        self._ready = 0
        self._held = True
        self._turn = 0
        self._ticks = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._claim: asyncio.TimerHandle | None = None
        self._forgetting: asyncio.TimerHandle | None = None
        topics = (subscription.topic.physical, replay)
        self._following = Following(topics, directory, make=self._feed, on_change=self._changed)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._following.start()
        self._forget()

    def _feed(self, address: Address, topic: str) -> Feed:
        return Feed(
            address,
            topic,
            self._subscription.physical,
            security=self._security,
            heartbeat=self._heartbeat,
            lease=self._lease,
            on_arrival=self._arrived,
            on_change=self._changed,
        )

    # --- how many

    def _changed(self) -> None:
        """A connection came or went, or could not be had."""
        self._live = self._following.live()
        self._share()
        if self._receiving is not None and not self._receiving.done() and self._following.unavailable() is not None:
            self._receiving.set_result(None)

    def _share(self) -> None:
        """Give each connection its part of the permits."""
        live = self._live
        topic = self._subscription.topic.physical
        busy = [feed.busy for feed in live if feed.topic == topic]
        replays = len(live) - len(busy)
        replaying = self._ticks % _REPLAY_EVERY == _REPLAY_EVERY - 1
        parts = quotas(self._total, busy, replays, turn=self._turn, replaying=replaying)
        flying = [len(feed.connection.in_flight) if feed.connection is not None else 0 for feed in live]
        self._ready = 0
        for feed, count in zip(live, grants(self._total, parts, flying), strict=True):
            feed.set_ready(count)
            self._ready += count
        turns = len(busy) > 1 or (replays > 0 and len(busy) > 0 and self._total < MANY * replays)
        if turns and self._total and self._ticker is None:
            self._ticker = self._loop.call_later(_REPLAY_TICK if replaying else _TICK, self._tick)

    def _forget(self) -> None:
        """What ran out without a word counts no longer, neither there nor here."""
        now = self._loop.time()
        for feed in self._live:
            if feed.connection is not None:
                in_flight = feed.connection.in_flight
                for identity in [each for each, began in in_flight.items() if now - began > 2 * self._lease]:
                    del in_flight[identity]
        self._forgetting = self._loop.call_later(self._lease, self._forget)

    def _tick(self) -> None:
        """The next turn."""
        self._ticker = None
        self._ticks += 1
        if self._ticks % _REPLAY_EVERY:
            self._turn += 1
        self._share()
        for feed in self._live:
            feed.busy = False

    def _allow(self, limit: int) -> None:
        """So many may come, beside those that are in flight."""
        flying = 0
        for feed in self._live:
            if feed.connection is not None:
                flying += len(feed.connection.in_flight)
        total = flying + max(0, limit - len(self._buffer))
        if total != self._total or total != self._ready:
            self._total = total
            self._share()

    def _hold(self) -> None:
        """None may come; what waits here goes back."""
        self._held = True
        self._total = 0
        self._share()
        while self._buffer:
            self._hand_back(self._buffer.popleft())

    def _hand_back(self, arrival: Arrival) -> None:
        connection, identity = arrival[0], arrival[1]
        if connection.in_flight.pop(identity, None) is not None:
            requeue(connection, identity)

    def _arrived(self, arrivals: list[Arrival]) -> None:
        if self._held:
            for arrival in arrivals:
                self._hand_back(arrival)
            return
        self._buffer.extend(arrivals)
        if self._receiving is not None:
            if not self._receiving.done():
                self._receiving.set_result(None)
        elif self._claim is None:
            self._claim = self._loop.call_later(_UNCLAIMED, self._unclaimed)

    def _unclaimed(self) -> None:
        self._claim = None
        if self._buffer and self._receiving is None:
            now = self._loop.time()
            connection, identity = self._buffer[0][:2]
            age = now - connection.in_flight.get(identity, now)
            if age >= _UNCLAIMED:
                self._hold()
            else:
                self._claim = self._loop.call_later(_UNCLAIMED - age + 0.01, self._unclaimed)

    # --- the contract

    async def receive(self, limit: int) -> Sequence[Delivery]:
        self._held = False
        self._allow(limit)
        if not self._buffer:
            try:
                if self._following.unavailable() is None:
                    await self._arrival(_WAIT)
                if not self._buffer and self._following.unavailable() is not None:
                    await self._arrival(_PATIENCE, despite=True)
                    failure = self._following.unavailable()
                    if not self._buffer and failure is not None:
                        raise type(failure)(str(failure))
            except asyncio.CancelledError:
                self._hold()
                raise
        return self._taken(limit)

    async def _arrival(self, seconds: float, *, despite: bool = False) -> None:
        """Wait for a message. ``despite``: also while there is no nsqd."""
        deadline = self._loop.time() + seconds
        while not self._buffer and (despite or self._following.unavailable() is None):
            waiting = self._receiving = self._loop.create_future()
            timer = self._loop.call_at(deadline, _wake, waiting)
            try:
                await waiting
            finally:
                timer.cancel()
                self._receiving = None
            if self._loop.time() >= deadline:
                return

    def _taken(self, limit: int) -> list[Delivery]:
        buffer = self._buffer
        foreign = self._open
        topic = self._replay
        deliveries: list[Delivery] = []
        oldest = self._loop.time() - self._lease
        while buffer and len(deliveries) < limit:
            connection, identity, timestamp, attempts, body = buffer.popleft()
            began = connection.in_flight.get(identity)
            if began is None or began < oldest:
                connection.in_flight.pop(identity, None)  # somebody else has it by now
                continue
            opened = foreign if connection.topic != topic else open_message
            deliveries.append(opened(body, identity, timestamp, attempts, (connection, identity)))
        return deliveries

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """A lost lease is told when it is known here: the connection ended, its time was over, nsqd said so before.

        nsqd answers FIN only when it failed, and only afterwards.
        """
        lost: list[Delivery] = []
        oldest = self._loop.time() - self._lease
        for delivery in deliveries:
            connection, identity = delivery.lease
            began = connection.in_flight.pop(identity, None)
            if began is None:
                lost.append(delivery)
                continue
            connection.send(b"%b %b\n" % (_FIN, identity))
            if began < oldest:
                lost.append(delivery)
        return lost

    async def retry(self, delivery: Delivery, delay: float) -> None:
        connection, identity = delivery.lease
        if connection.in_flight.pop(identity, None) is not None:
            requeue(connection, identity, math.ceil(min(max(delay, 0.0), self._max_delay) * 1000))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """NSQ counts the attempt."""
        for delivery in deliveries:
            connection, identity = delivery.lease
            if connection.in_flight.pop(identity, None) is not None:
                requeue(connection, identity)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        """TOUCH: by ``ack_deadline``, whatever ``seconds`` says, and never beyond nsqd's ``--max-msg-timeout``."""
        lost: list[Delivery] = []
        now = self._loop.time()
        for delivery in deliveries:
            connection, identity = delivery.lease
            if identity in connection.in_flight:
                connection.in_flight[identity] = now
                connection.send(b"%b %b\n" % (_TOUCH, identity))
            else:
                lost.append(delivery)
        return lost

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        failure = await self._pool.publish_one(self._subscription.dead, seal_letter(letter))
        if failure is not None:
            raise failure
        await self.ack([delivery])

    async def close(self) -> None:
        self._hold()
        for handle in (self._ticker, self._claim, self._forgetting):
            if handle is not None:
                handle.cancel()
        await self._following.close()
        await self._pool.close()
        await self._http.close()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)

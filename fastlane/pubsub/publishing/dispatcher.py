"""The outgoing buffer of a broker in one process: bounded, batched, and persistent for a while.

    publish ─► room? ─► lane ─► pump: take a batch ─► the provider's publisher ─► settle
                                      ▲                        │
                                      └── backoff ◄── BrokerUnavailable

Batches come about by themselves: a pump takes what has gathered while its last request was under way. Nothing waits for
time to pass, but for one turn of the event loop: what is published in the same turn goes together, be it by those whom
one answer has woken or by handlers that run side by side. The first message after a silence goes alone after that turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Final

from fastlane.errors import Unavailable
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BrokerUnavailable, Publisher
from fastlane.pubsub.publishing.lanes import Lane, Ticket, Waiting
from fastlane.pubsub.publishing.room import Room
from fastlane.resources.configuration import PubSubOptions
from fastlane.resources.quantities import octets, seconds

__all__ = ["Dispatcher"]

FEW: Final = 4
"""Requests of a topic side by side, however small they are."""

MOST: Final = 16
"""Requests of a topic side by side, as long as they are full."""

_EARLY: Final = 0.002
"""Seconds that a timer of an event loop may come before its time."""

FIRST_BACKOFF: Final = 0.05
LONGEST_BACKOFF: Final = 2.0

logger = logging.getLogger("fastlane.pubsub")


class Dispatcher:
    """Sends what is published through one provider, on one event loop.

    Args:
        name: of the provider, for the log.
        publisher: of the provider; closed with the dispatcher.
    """

    def __init__(self, name: str, publisher: Publisher, capabilities: Capabilities, options: PubSubOptions) -> None:
        self._name = name
        self._publisher = publisher
        self._batch_size = capabilities.batch_size
        self._batch_bytes = capabilities.batch_bytes
        self._room = Room(options.max_outgoing, octets(options.max_outgoing_bytes))
        self._timeout = seconds(options.publish_timeout)
        self._loop = asyncio.get_running_loop()
        self._running: dict[asyncio.Task[None], Sequence[Waiting]] = {}
        self._pausing: dict[asyncio.Future[None], Sequence[Waiting]] = {}
        self._abandoned: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._troubled = False
        self._deadlines: dict[Ticket, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def outgoing(self) -> int:
        """Messages that are not confirmed yet."""
        return self._room.count

    async def publish(self, lane: Lane, message: Outgoing) -> None:
        """Answers once the broker has the message.

        Raises:
            Unavailable: not within ``publish_timeout``.
            PublishRefused: it will never take it.
        """
        size = message.size
        deadline = self._loop.time() + self._timeout
        if not self._room.enter(size):
            await self._room.wait(size, deadline)
        trouble = None
        first = not lane.pumps and lane.idle
        if first and await self._stands_alone(lane, size):
            trouble = await self._alone(lane, message, size, deadline)
            if trouble is None:
                return
            first = False
        ticket = Ticket(self._loop.create_future(), 1)
        if first:
            lane.add_first(Waiting(message, size, ticket))
        else:
            lane.add(Waiting(message, size, ticket))
        # PERF: 0.1 µs less than to call it for each; the one that starts takes along what is less than a batch.
        if not lane.starting or len(lane) >= self._batch_size:
            self._wake(lane)
        if trouble is not None:
            # Older than those that came meanwhile: out of their line.
            ticket.trouble = trouble
            self._loop.call_at(deadline, self._expire, ticket)
        else:
            # PERF: one timer for all that wait; one for each message costs 0.8 µs (uvloop, 3.11), and this 0.1.
            self._deadlines[ticket] = deadline
            if self._timer is None:
                self._timer = self._loop.call_at(deadline, self._ring)
        try:
            await ticket.future
        except asyncio.CancelledError:
            _forget(ticket)
            raise  # its deadline stays: it ends a request that hangs, and that others of its key wait for
        except Exception:
            self._deadlines.pop(ticket, None)
            raise
        self._deadlines.pop(ticket, None)

    async def _stands_alone(self, lane: Lane, size: int) -> bool:
        """Nothing of its topic is under way. Whether that is so after a turn, in which others may come along."""
        # PERF: a turn costs 1 µs of one after the other. Without it 64 that publish again and again went as 1 and 63,
        # for ever: the first of those that were woken found the topic idle, and sent its own by itself.
        lane.pumps += 1
        lane.starting += 1
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._room.leave(1, size)
            lane.pumps -= 1
            lane.starting -= 1
            self._wake(lane)
            raise
        lane.pumps -= 1
        lane.starting -= 1
        return lane.idle

    async def _alone(self, lane: Lane, message: Outgoing, size: int, deadline: float) -> BrokerUnavailable | None:
        """Send it from here: nothing else of its topic is under way. Answers why it has to be sent again."""
        # PERF: 9 µs with the broker in memory, measured on 3.11; 20 by way of a pump.
        lane.pumps += 1
        keep = False
        try:
            async with asyncio.timeout_at(deadline):
                (answer,) = await self._publisher.publish(lane.topic, (message,))
            if isinstance(answer, Exception):
                raise answer
            self._well()
            return None
        except BrokerUnavailable as error:
            self._say(error)
            keep = True
            return error
        except TimeoutError:
            raise _too_late(BrokerUnavailable("no answer in time"))  # noqa: B904 - it has a cause
        finally:
            lane.pumps -= 1
            if not keep:
                self._room.leave(1, size)
            self._wake(lane)

    async def publish_many(self, lane: Lane, messages: Sequence[Outgoing]) -> None:
        """The same for several. The timeout starts anew whenever one of them is confirmed."""
        if not messages:
            return
        ticket = Ticket(self._loop.create_future(), len(messages))
        try:
            for message in messages:
                size = message.size
                if not self._room.enter(size):
                    self._wake(lane)
                    await self._room.wait(size, self._loop.time() + self._timeout)
                lane.add(Waiting(message, size, ticket))
            self._wake(lane)
            while not ticket.future.done():
                seen = ticket.remaining
                await asyncio.wait((ticket.future,), timeout=self._timeout)
                if ticket.remaining == seen and not ticket.future.done():
                    self._expire(ticket)
            ticket.future.result()
        except BaseException:
            _forget(ticket)
            self._loop.call_later(self._timeout, self._abandon)
            raise

    async def close(self) -> None:
        """Wait for what is under way, for ``publish_timeout`` at most, and free the connections."""
        self._abandon()
        await self._room.close(self._timeout)
        for pump in self._pumps:
            pump.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=1.0)
        if self._timer is not None:
            self._timer.cancel()
        await self._publisher.close()

    def _wake(self, lane: Lane) -> None:
        """Start as many pumps as have something to do."""
        while True:
            full = len(lane) >= self._batch_size * (lane.starting + 1)
            if lane.starting and not full:
                return  # the one that starts takes it along
            if not len(lane) or lane.pumps >= (MOST if full else FEW):
                return
            lane.starting += 1
            lane.pumps += 1
            pump = self._loop.create_task(self._pump(lane))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, lane: Lane) -> None:
        batch = lane.take(self._batch_size, self._batch_bytes)
        lane.starting -= 1
        try:
            while batch:
                try:
                    await self._deliver(lane, batch)
                finally:
                    lane.finish(batch)
                if len(lane) < self._batch_size:
                    # Those that were woken may publish again, and go along.
                    lane.starting += 1
                    try:
                        await asyncio.sleep(0)
                    finally:
                        lane.starting -= 1
                batch = lane.take(self._batch_size, self._batch_bytes)
        finally:
            lane.pumps -= 1

    async def _deliver(self, lane: Lane, batch: list[Waiting]) -> None:
        """Send a batch until all of it is settled."""
        failures = 0
        try:
            while True:
                live = [waiting for waiting in batch if not waiting.ticket.future.done()]
                if len(live) < len(batch):
                    self._drop(batch)
                batch = live
                if not batch:
                    return
                batch = self._settle(batch, await self._request(lane, batch))
                if not batch:
                    return
                failures += 1
                backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 10))
                await self._pause(batch, backoff * (0.5 + random.random()))
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.ticket.settle(Unavailable("the app stops"))
            self._room.leave(len(batch), sum(waiting.size for waiting in batch))
            raise

    async def _pause(self, batch: Sequence[Waiting], duration: float) -> None:
        """Before the batch is sent again. Ends early when nobody waits for it any more: others of its keys may."""
        given_up: asyncio.Future[None] = self._loop.create_future()
        self._pausing[given_up] = batch
        try:
            await asyncio.wait((given_up,), timeout=duration)
        finally:
            del self._pausing[given_up]

    async def _request(self, lane: Lane, batch: list[Waiting]) -> Sequence[str | Exception]:
        """One request. What is raised for all of them is the answer for each."""
        pump = asyncio.current_task()
        assert pump is not None
        self._running[pump] = batch
        try:
            answers = await self._publisher.publish(lane.topic, [waiting.message for waiting in batch])
        except asyncio.CancelledError:
            if pump not in self._abandoned:
                raise
            pump.uncancel()
            return [BrokerUnavailable("no answer in time")] * len(batch)
        except Exception as error:
            return [error] * len(batch)
        finally:
            self._abandoned.discard(pump)
            del self._running[pump]
        if len(answers) != len(batch):
            return [RuntimeError(f"provider {self._name!r}: {len(answers)} answers for {len(batch)} messages")] * len(
                batch
            )
        return answers

    def _settle(self, batch: list[Waiting], answers: Sequence[str | Exception]) -> list[Waiting]:
        """Tell the waiting ones. Answers those that are to be sent again."""
        again: list[Waiting] = []
        size = 0
        trouble: BrokerUnavailable | None = None
        for waiting, answer in zip(batch, answers, strict=True):
            if type(answer) is not str and isinstance(answer, BrokerUnavailable):
                trouble = waiting.ticket.trouble = answer
                again.append(waiting)
                continue
            size += waiting.size
            waiting.ticket.settle(answer if type(answer) is not str and isinstance(answer, Exception) else None)
        if trouble is not None:
            self._say(trouble)
        else:
            self._well()
        self._room.leave(len(batch) - len(again), size)
        return again

    def _say(self, trouble: BrokerUnavailable) -> None:
        if not self._troubled:
            logger.warning("provider %r does not take messages, trying again: %s", self._name, trouble)
        self._troubled = True

    def _well(self) -> None:
        if self._troubled:
            logger.warning("provider %r takes messages again", self._name)
            self._troubled = False

    def _drop(self, batch: list[Waiting]) -> None:
        """Of these nobody waits any more for some."""
        gone = [waiting for waiting in batch if waiting.ticket.future.done()]
        self._room.leave(len(gone), sum(waiting.size for waiting in gone))

    def _ring(self) -> None:
        """The first deadline there was has come. All have the same time, so that they come in the order of asking."""
        self._timer = None
        now = self._loop.time() + _EARLY
        late: list[Ticket] = []
        for ticket, deadline in self._deadlines.items():
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._ring)
                break
            late.append(ticket)
        for ticket in late:
            del self._deadlines[ticket]
            self._expire(ticket)

    def _expire(self, ticket: Ticket) -> None:
        if not ticket.future.done():
            ticket.future.set_exception(_too_late(ticket.trouble))
        self._abandon()

    def _abandon(self) -> None:
        """Give up the requests that nobody waits for any more: they may hang in a broken connection."""
        for given_up, batch in self._pausing.items():
            if not given_up.done() and _nobody_waits(batch):
                given_up.set_result(None)
        for pump, batch in self._running.items():
            if pump not in self._abandoned and _nobody_waits(batch):
                self._abandoned.add(pump)
                pump.cancel()


def _nobody_waits(batch: Sequence[Waiting]) -> bool:
    return all(waiting.ticket.future.done() for waiting in batch)


def _too_late(trouble: Exception | None) -> Unavailable:
    # What the broker said is the cause alone: this text may reach a client.
    error = Unavailable("a message could not be published in time")
    error.__cause__ = trouble
    return error


def _forget(ticket: Ticket) -> None:
    """Nobody waits any more: what has not been sent by now, is not sent."""
    if not ticket.future.cancel() and not ticket.future.cancelled():
        ticket.future.exception()  # retrieved: it is not to be logged

"""One subscription in one worker: receive as much as may run, keep it leased, settle what has ended.

    receive ─► waiting ─permit─► handling, on the worker's event loop ─► settlement: ack, retry, dead letter
                  └────────────── leases are extended all the way ─────────────┘

All of this but the handlers is on the consuming event loop. A message leaves only once the broker has said that it has
acknowledged it, taken it back or dead-lettered it; whatever goes wrong before, its lease lapses and it comes again.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastlane.pubsub.clock import Clock, sleep
from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.health import Health, Troubles, logger, one_line
from fastlane.pubsub.consumption.held import Held, Run
from fastlane.pubsub.consumption.lanes import Lanes
from fastlane.pubsub.consumption.leases import LeaseKeeper
from fastlane.pubsub.consumption.settlement import Settlement
from fastlane.pubsub.consumption.waiting import Waiting
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BoundSubscription, Provider, Source
from fastlane.pubsub.subscription import Subscription

__all__ = ["Consumption"]

_POISON_DELIVERIES = 3
_MOST_PER_RECEIVE = 1000
_LONGEST_RECEIVE = 120.0
_EMPTY_PAUSE = 0.05


class Consumption:
    """Consumes a subscription. Used on the consuming event loop, in which it is made.

    Args:
        share: how many handlers may run at the same time in this worker, at least 1.
        clock: of leases, backoff and batches.
        begin: takes runs to the handlers. They come back through `ended`.
    """

    def __init__(
        self,
        subscription: Subscription[Any],
        bound: BoundSubscription,
        provider: Provider,
        share: int,
        clock: Clock,
        begin: Callable[[Run], object],
    ) -> None:
        capabilities = provider.capabilities
        size = subscription.batch.size if subscription.batch else 1
        attempts = bound.max_attempts
        ordered = bound.topic.ordered
        self._subscription = subscription
        self._bound = bound
        self._provider = provider
        self._share = share
        self._clock = clock
        self._begin = begin
        self._size = size
        # Followers of a key, heads in their backoff and what is on its way to the broker have this much room besides.
        self._most_held = 2 * share * size + 100
        self._most_per_receive = min((ordered and capabilities.ordered_limit) or _MOST_PER_RECEIVE, _MOST_PER_RECEIVE)
        self._receives = max(1, min(share, capabilities.ordered_receives)) if ordered else 1
        self._delivery_limit = math.inf if attempts is None else 2 * attempts + 10
        self._most_backoff = math.inf if capabilities.max_backoff is None else capabilities.max_backoff
        self._whole_seconds = capabilities.whole_seconds
        self._blocks_key = capabilities.blocks_key
        self._health = Health(share=share)
        self._troubles = Troubles(bound.source, self._health)
        self._lanes = Lanes() if ordered else None
        self._waiting = Waiting(clock, self._lanes, subscription.batch, self._doomed, self._start)
        self._table: dict[str, Held] = {}  # by the broker's id; what is leaving is no longer here
        self._numbers = itertools.count()
        self._running = 0
        self._asked = 0
        self._draining = False
        self._source: Source | None = None
        self._settlement: Settlement
        self._tasks: list[asyncio.Task[None]] = []
        self._sleepers: list[asyncio.Future[None]] = []

    # Life

    def start(self) -> None:
        """Begin to receive."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._run(), name=self._bound.source))

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                source = await self._provider.open_source(self._bound)
                break
            except Exception as error:
                self._health.reachable = False
                self._troubles.failed("open", error)
                await sleep(self._clock, backoff.next())
        self._troubles.worked("open")
        self._source = source
        self._settlement = Settlement(
            self._bound, source, self._clock, self._health, self._troubles, self._acknowledged, self._wake
        )
        keeper = LeaseKeeper(
            source,
            self._bound.ack_deadline,
            self._clock,
            self._health,
            self._troubles,
            held=self._everything_held,
            lost=self._lost,
            lapsed=self._lapsed,
        )
        loop = asyncio.get_running_loop()
        self._keeper = loop.create_task(self._for_ever(keeper.run), name=f"{self._bound.source} leases")
        for _ in range(self._receives):
            pulling = self._for_ever(functools.partial(self._pull, source))
            self._tasks.append(loop.create_task(pulling, name=f"{self._bound.source} receive"))

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._draining:
            try:
                await work()
            except Exception as error:  # a mistake of ours must end neither the receiving nor the leases
                logger.error("consuming %s failed; beginning again", self._bound.source, exc_info=error)
                await sleep(self._clock, 1.0)

    @property
    def health(self) -> Health:
        """The counters. Any thread may ask."""
        self._health.running = self._running
        self._health.held = len(self._table) + (len(self._settlement.leaving) if self._source is not None else 0)
        return self._health

    # Receiving

    async def _pull(self, source: Source) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        # A source has time limits of its own; this is for one that has forgotten them.
        longest = None if self._provider.in_process else _LONGEST_RECEIVE
        while not self._draining:
            limit = self._room()
            if limit < 1:
                await self._something_happens()
                continue
            began = loop.time()
            self._asked += limit
            try:
                async with asyncio.timeout(longest):
                    deliveries: Sequence[Delivery] | None = await source.receive(limit)
            except Exception as error:
                self._health.reachable = False
                self._troubles.failed("receive", error)
                deliveries = None
            finally:
                self._asked -= limit
            if deliveries is None:
                await sleep(self._clock, backoff.next())
                continue
            backoff.reset()
            self._health.reachable = True
            self._troubles.worked("receive")
            if deliveries:
                self._admit(deliveries)
                await asyncio.sleep(0)  # a source that always has something must not keep the others waiting
            elif loop.time() - began < _EMPTY_PAUSE:
                await asyncio.sleep(_EMPTY_PAUSE)  # it should have waited itself

    def _room(self) -> int:
        """How many messages may be asked for."""
        free = (self._share - self._running) * self._size - len(self._waiting.ready)
        spare = self._most_held - len(self._table) - len(self._settlement.leaving)
        return min(min(free, spare) - self._asked, self._most_per_receive)

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        self._health.received += len(deliveries)
        if self._draining:
            return self._settlement.release([Held(delivery, 0.0, delivery.attempt, "") for delivery in deliveries])
        now = self._clock.time()
        table, waiting, wanted = self._table, self._waiting, self._subscription.filter
        for delivery in deliveries:
            key = delivery.broker_id
            known = table.get(key)
            if known is not None:
                if known.delivery.id == delivery.id and known.delivery.payload == delivery.payload:
                    self._adopt(known, delivery, now)
                    continue
                key = f"{key} {next(self._numbers)}"  # two nodes of a broker may give the same id
            held = Held(delivery, now, delivery.attempt, key)
            table[key] = held
            if delivery.receives > self._delivery_limit:
                held.doomed = "delivery-limit"
                held.error = f"received {delivery.receives} times: it may be what kills its workers"
            elif wanted is not None:
                try:
                    if not wanted.matches(delivery.attributes):
                        self._pass_by(held)
                        continue
                except Exception:
                    held.doomed = "filter"  # asked again when its turn comes
            waiting.add(held)
        self._start()
        return None

    def _adopt(self, held: Held, delivery: Delivery, now: float) -> None:
        """It has come again while it is in our hands: its lease was lost, and here is a new one."""
        if not held.lost:
            self._health.lost += 1
        held.lost = False
        held.delivery = delivery
        held.leased_at = now
        held.attempt = max(held.attempt, delivery.attempt)

    def _pass_by(self, held: Held) -> None:
        self._health.filtered += 1
        held.stage = "done"
        self._settlement.acknowledge(held)

    # Starting

    def _start(self) -> None:
        """Start what can be started."""
        while self._running < self._share and not self._draining:
            run = self._waiting.take()
            if run is None:
                break
            self._running += 1
            for held in run.messages:
                held.stage = "handed"
            self._begin(run)

    def _doomed(self, held: Held) -> None:
        """Its turn has come, and it is not to be started."""
        if held.doomed != "filter":
            return self._dead_letter(held, held.doomed)
        assert self._subscription.filter is not None
        try:
            wanted = self._subscription.filter.matches(held.delivery.attributes)
        except Exception as error:
            logger.error("filter of %s failed: message %s", self._bound.source, held.delivery.id, exc_info=error)
            held.outcome = "failed"
            held.error = one_line(error)
            self._health.failed += 1
            return self._failed(held)
        if wanted:
            held.doomed = ""
            self._waiting.turn(held)
        else:
            self._pass_by(held)
            asyncio.get_running_loop().call_soon(self._advance, held)  # not at once: there may be a thousand of them
        return None

    # Ending

    def ended(self, runs: deque[Run]) -> None:
        """The handlers are done with these."""
        released: list[Held] = []
        while runs:
            run = runs.popleft()
            try:
                if not run.judged:
                    run.judged = True
                    if run.abandoned:
                        self._health.abandoned += 1
                    else:
                        run.freed = True
                        self._running -= 1
                    if type(run) is Held:  # PERF: the property costs 0.1 µs
                        self._judge(run, released)
                    else:
                        for held in run.messages:
                            self._judge(held, released)
                elif not run.freed:
                    run.freed = True
                    self._running -= 1
            except Exception as error:  # a mistake of ours: its lease lapses, and the others go on
                logger.error("the outcome of a handler of %s", self._bound.source, exc_info=error)
        if released:
            self._settlement.release(released)
        self._start()
        self._wake()

    def _judge(self, held: Held, released: list[Held]) -> None:
        outcome = held.outcome
        if held.stage != "handed":
            return  # the drain could not wait for it
        if outcome == "done":
            self._health.handled += 1
            held.stage = "done"
            if held.in_lane:
                self._advance(held)
            self._settlement.acknowledge(held)
            return
        if outcome == "failed" or outcome == "undecodable":
            self._health.failed += 1
        if held.lost:
            behind = self._leave(held)
            self._settlement.release(behind)
        elif outcome == "released":
            behind = self._leave(held)
            released.append(held)
            released += behind
        elif outcome == "rejected":
            self._dead_letter(held, "rejected")
        else:
            self._failed(held)

    def _failed(self, held: Held) -> None:
        retry = self._subscription.retry
        poison = held.outcome == "undecodable"
        if held.attempt >= _POISON_DELIVERIES if poison else retry.exhausted(held.attempt):
            return self._dead_letter(held, "decode" if poison else "attempts")
        delay = min(retry.delay(held.attempt) if held.delay is None else held.delay, self._most_backoff)
        if self._whole_seconds:
            delay = math.ceil(delay)
        self._health.retried += 1
        if not held.in_lane or self._blocks_key:
            self._forget(held)
            self._settlement.retry(held, delay, self._returned)
        elif self._draining:
            self._settlement.release([held, *self._leave(held)])
        else:
            # The broker would hand out the next one of this key: keep the place, and try again from here. Another
            # object, because the handler of this one may still be running, abandoned.
            assert self._lanes is not None
            successor = Held(held.delivery, held.leased_at, held.attempt + 1, held.key, doomed=held.doomed)
            self._table[held.key] = successor
            self._lanes.replace(held, successor)
            self._waiting.postpone(successor, delay)
        return None

    def _returned(self, held: Held, left: bool) -> None:
        """The broker has it again, and holds its key back: what was received behind it goes there, too."""
        self._settlement.release(self._leave(held))

    def _dead_letter(self, held: Held, reason: str) -> None:
        self._forget(held)
        self._settlement.dead_letter(held, reason, held.error, self._buried)

    def _buried(self, held: Held, left: bool) -> None:
        if left:
            self._advance(held)
            self._start()
        else:
            self._settlement.release(self._leave(held))

    def _advance(self, held: Held) -> None:
        """It is done for good: the next of its key has its turn."""
        if self._lanes is None:
            return
        follower = self._lanes.advance(held)
        if follower is None:
            return
        if self._draining:
            self._settlement.release([follower, *self._leave(follower)])
        else:
            self._waiting.turn(follower)

    def _leave(self, held: Held) -> list[Held]:
        """It is not going to be done here. Answers what has to follow it, in order."""
        self._forget(held)
        if self._lanes is None:
            return []
        behind = self._lanes.leave(held)
        for follower in behind:
            self._forget(follower)
        return behind

    def _acknowledged(self, held: Held, confirmed: bool) -> None:
        self._forget(held)

    def _forget(self, held: Held) -> None:
        if self._table.get(held.key) is held:
            del self._table[held.key]

    # Leases

    def _everything_held(self) -> Sequence[Held]:
        return [*self._table.values(), *self._settlement.leaving]

    def _lost(self, gone: Sequence[Held]) -> None:
        """Somebody else may have these by now."""
        self._health.lost += len(gone)
        for held in gone:
            held.lost = True
        running = [held.delivery.id for held in gone if held.stage == "handed"]
        if running:
            logger.warning(
                "subscription %s lost the leases of %d running messages, which may be handled twice: %s%s",
                self._bound.source,
                len(running),
                ", ".join(running[:3]),
                ", …" if len(running) > 3 else "",
            )
        self._drop(gone)

    def _lapsed(self, over: Sequence[Held]) -> None:
        """The broker could not be asked in time: what has not started is not going to be."""
        self._drop([held for held in over if held.stage == "waiting"])

    def _drop(self, gone: Iterable[Held]) -> None:
        behind: list[Held] = []
        dropped: set[Held] = set()
        for held in gone:
            if held.stage == "waiting":
                dropped.add(held)
                behind += self._leave(held)
            elif held.stage == "handed" and held.in_lane:
                assert self._lanes is not None
                followers = self._lanes.followers(held)
                for follower in followers:
                    self._forget(follower)
                behind += followers
        self._waiting.remove(dropped)
        self._settlement.release([held for held in behind if held not in dropped and not held.lost])
        self._wake()

    # Draining

    async def drain(self, timeout: float, cancel: Callable[[], object], abandon: Callable[[], object]) -> None:
        """Stop receiving, hand back what has not started, wait for what runs, and close the source.

        Args:
            timeout: seconds until ``cancel`` is called, which cancels the handlers; ``abandon`` is called a second
                later, and gives up those that go on nevertheless.
        """
        if self._draining:
            return
        self._draining = True
        for task in self._tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        source = self._source
        if source is None:
            return
        settlement = self._settlement
        unstarted: list[Held] = []
        for held in self._waiting.clear():
            unstarted.append(held)
            unstarted += self._leave(held)
        settlement.release(unstarted)
        if not await self._until(lambda: not self._running and self._settled(), deadline):
            cancel()
            if not await self._until(self._settled, loop.time() + 1.0):
                abandon()
                await self._until(self._settled, loop.time() + 1.0)
        left: list[Held] = []
        handed = [held for held in self._table.values() if held.stage == "handed"]
        for held in [*settlement.give_up(), *handed]:
            held.stage = "settling"
            left.append(held)
            left += self._leave(held)
        settlement.release(left)
        await self._until(lambda: not settlement.busy, loop.time() + 1.0)
        settlement.give_up()
        self._keeper.cancel()
        try:
            async with asyncio.timeout(5.0):
                await source.close()
        except Exception as error:
            self._troubles.failed("close", error)

    def _settled(self) -> bool:
        return not self._table and not self._settlement.leaving and not self._settlement.busy

    # Waiting

    async def _something_happens(self) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        await sleeper

    def _wake(self) -> None:
        """Let those look who wait for room, or for the end."""
        if self._sleepers:
            sleepers, self._sleepers = self._sleepers, []
            for sleeper in sleepers:
                if not sleeper.done():
                    sleeper.set_result(None)

    async def _until(self, condition: Callable[[], bool], deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                while not condition():
                    await self._something_happens()
        except TimeoutError:
            return condition()
        return True

"""The messages that one subscription has in its hands in this worker: what is next for each, from arrival to departure.

A message leaves only once the broker has said that it has acknowledged it, taken it back or dead-lettered it. Whatever
goes wrong before that, its lease lapses, and it comes again.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.clock import Clock
from fastlane.pubsub.consumption.health import Health, Troubles, logger, one_line
from fastlane.pubsub.consumption.held import Held, Run
from fastlane.pubsub.consumption.lanes import Lanes
from fastlane.pubsub.consumption.policy import Policy
from fastlane.pubsub.consumption.settlement import Settlement
from fastlane.pubsub.consumption.table import Table
from fastlane.pubsub.consumption.waiting import Waiting
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BoundSubscription, Source
from fastlane.pubsub.topics.subscription import Subscription

__all__ = ["Custody"]


class Custody:
    """Decides what becomes of each message. Used on the consuming event loop.

    Args:
        share: how many runs there may be at the same time.
        begin: takes runs to the handlers. They come back through `ended`.
        changed: called when there may be room again, or nothing left.

    Attributes:
        running: how many runs there are.
        draining: nothing is started any more, and what would be is handed back.
        settlement: what is told to the broker.
    """

    def __init__(
        self,
        subscription: Subscription[Any],
        bound: BoundSubscription,
        capabilities: Capabilities,
        source: Source,
        share: int,
        clock: Clock,
        health: Health,
        troubles: Troubles,
        begin: Callable[[Sequence[Run]], object],
        changed: Callable[[], object],
    ) -> None:
        self.running = 0
        self.draining = False
        self._bound = bound
        self._share = share
        self._clock = clock
        self._health = health
        self._troubles = troubles
        self._begin = begin
        self._changed = changed
        self._size = subscription.batch.size if subscription.batch else 1
        # Followers of a key, heads in their backoff and what is on its way to the broker have this much room besides.
        self._most_held = 2 * share * self._size + 100
        self._filter = subscription.filter
        self._policy = Policy(subscription.retry, bound, capabilities)
        self._blocks_key = capabilities.blocks_key
        self._lanes = Lanes() if bound.topic.ordered else None
        self._waiting = Waiting(clock, self._lanes, subscription.batch, self._doomed, self._start)
        self.settlement = Settlement(
            bound, source, clock, health, troubles, self._acknowledged, changed, capabilities.receive_limit
        )
        self._table = Table(health)

    # What is held

    @property
    def held(self) -> Sequence[Held]:
        """Everything whose lease has to be extended."""
        return [*self._table, *self.settlement.leaving]

    @property
    def count(self) -> int:
        """How many that are."""
        return len(self._table) + len(self.settlement.leaving)

    @property
    def empty(self) -> bool:
        """Nothing is held, and no call to the broker is under way; abandoned handlers may still run."""
        return not self._table and not self.settlement.leaving and not self.settlement.busy

    def room(self, asked: int) -> int:
        """How many messages may be received, where ``asked`` are on their way."""
        free = (self._share - self.running) * self._size - len(self._waiting.ready)
        return min(free, self._most_held - self.count) - asked

    # Arriving

    def admit(self, deliveries: Sequence[Delivery]) -> None:
        """They were received."""
        self._health.received += len(deliveries)
        now = self._clock.time()
        if self.draining:
            return self._release([Held(delivery, now, delivery.attempt, "") for delivery in deliveries])
        table, policy, waiting, wanted = self._table, self._policy, self._waiting, self._filter
        for delivery in deliveries:
            held = table.enter(delivery, now)
            if held is None:
                continue
            if held.stage == "done":
                self.settlement.acknowledge(held)
            elif policy.too_often(delivery):
                held.doomed = "delivery-limit"
                held.error = f"received {delivery.receives} times: it may be what kills its workers"
            elif wanted is not None:
                try:
                    if not wanted.matches(delivery.attributes):
                        self._pass_by(held)
                except Exception:
                    held.doomed = "filter"  # asked again when its turn comes
            if held.stage == "waiting":
                waiting.add(held)
        self._start()
        return None

    def _pass_by(self, held: Held) -> None:
        self._health.filtered += 1
        held.stage = "done"
        self.settlement.acknowledge(held)

    # Starting

    def _start(self) -> None:
        """Start what can be started."""
        # PERF: the usual case by itself, here and in `ended`, and all with one call: 0.3 of 3.1 µs of a message (3.11).
        if self.draining:
            return
        take = self._waiting.take
        runs: list[Run] = []
        while self.running < self._share:
            run = take()
            if run is None:
                break
            self.running += 1
            if type(run) is Held:
                run.stage = "handed"
            else:
                for held in run.messages:
                    held.stage = "handed"
            runs.append(run)
        if runs:
            self._begin(runs)

    def _doomed(self, held: Held) -> None:
        """Its turn has come, and it is not to be started."""
        if held.doomed != "filter":
            return self._dead_letter(held, held.doomed)
        assert self._filter is not None
        try:
            wanted = self._filter.matches(held.delivery.attributes)
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
                        self.running -= 1
                    if type(run) is Held:
                        self._judge(run, released)
                    else:
                        for held in run.messages:
                            self._judge(held, released)
                elif not run.freed:
                    run.freed = True
                    self.running -= 1
            except Exception as error:  # a mistake of ours: its lease lapses, and the others go on
                logger.error("the outcome of a handler of %s", self._bound.source, exc_info=error)
        self._release(released)
        self._start()
        self._changed()

    def _judge(self, held: Held, released: list[Held]) -> None:
        outcome = held.outcome
        if held.stage != "handed":
            return  # the drain could not wait for it
        if outcome == "done":
            self._health.handled += 1
            held.stage = "done"
            if held.in_lane:
                self._advance(held)
            self.settlement.acknowledge(held)
            return
        if outcome == "failed" or outcome == "undecodable":
            self._health.failed += 1
        if held.lost:
            self._release(self._leave(held), held)
        elif outcome == "released":
            released += [held, *self._leave(held)]
        elif outcome == "rejected":
            self._dead_letter(held, "rejected")
        else:
            self._failed(held)

    def _failed(self, held: Held) -> None:
        next_step = self._policy.after(held)
        if isinstance(next_step, str):
            return self._dead_letter(held, next_step)
        self._health.retried += 1
        if not held.in_lane or self._blocks_key:
            self._table.forget(held)
            self.settlement.retry(held, next_step.delay, self._returned)
        elif self.draining:
            self._release([held, *self._leave(held)])
        else:
            # The broker would hand out the next one of this key: keep the place, and try again from here. Another
            # object, because the handler of this one may still be running, abandoned.
            assert self._lanes is not None
            successor = Held(held.delivery, held.leased_at, held.attempt + 1, held.key, doomed=held.doomed)
            self._table.replace(held, successor)
            self._lanes.replace(held, successor)
            self._waiting.postpone(successor, next_step.delay)
        return None

    def _returned(self, held: Held, left: bool) -> None:
        """The broker has it again, and holds its key back: what was received behind it goes there, too."""
        self._release(self._leave(held), held)

    def _dead_letter(self, held: Held, reason: str) -> None:
        self._table.forget(held)
        self.settlement.dead_letter(held, reason, held.error, self._buried)

    def _buried(self, held: Held, left: bool) -> None:
        if left:
            self._advance(held)
            self._start()
        else:
            self._release(self._leave(held), held)

    def _advance(self, held: Held) -> None:
        """It is done for good: the next of its key has its turn."""
        if self._lanes is None:
            return
        follower = self._lanes.advance(held)
        if follower is None:
            return
        if self.draining:
            self._release([follower, *self._leave(follower)])
        else:
            self._waiting.turn(follower)

    def _leave(self, held: Held) -> list[Held]:
        """It is not going to be done here. Answers what has to follow it, in order."""
        self._table.forget(held)
        if self._lanes is None:
            return []
        behind = self._lanes.leave(held)
        self._table.forget_all(behind)
        return behind

    def _release(self, messages: Sequence[Held], earlier: Held | None = None) -> None:
        """They go back without a result, after ``earlier``, which was first of their key."""
        if not messages:
            return
        if self._lanes is not None:
            self._lanes.close(messages, earlier)
        self.settlement.release(messages, functools.partial(self._released, messages))

    def _released(self, messages: Sequence[Held]) -> None:
        if self._lanes is None:
            return
        first, overtaking = self._lanes.open(messages)
        self._table.forget_all(overtaking)
        if self.draining:
            for held in first:
                overtaking.append(held)
                overtaking += self._leave(held)
        else:
            for held in first:
                self._waiting.turn(held)
            self._start()
        self._release(overtaking)

    def _acknowledged(self, held: Held, confirmed: bool) -> None:
        self._table.forget(held)
        if not confirmed:
            self._table.remember(held)

    # Leases

    def lose(self, gone: Sequence[Held]) -> None:
        """Somebody else may have these by now."""
        for held in gone:
            held.lost = True
        running = [held.delivery.id for held in gone if held.stage == "handed"]
        if running:
            self._troubles.lost(running, "of running messages, which may be handled twice")
        self._health.lost += len(gone) - len(running)
        self.drop(gone)

    def drop(self, gone: Iterable[Held]) -> None:
        """Don't start these, nor what is behind them."""
        behind: list[Held] = []
        dropped: set[Held] = set()
        for held in gone:
            if held.stage == "waiting":
                dropped.add(held)
                behind += self._leave(held)
            elif held.stage == "handed" and held.in_lane:
                assert self._lanes is not None
                followers = self._lanes.followers(held)
                self._table.forget_all(followers)
                behind += followers
        self._waiting.remove(dropped)
        self._release([held for held in behind if held not in dropped and not held.lost])
        self._changed()

    # Handing back

    def hand_back(self) -> None:
        """The drain begins: start nothing more, and hand back what has not been started.

        What waits for a message of its key that is running stays until that has ended: the order is kept.
        """
        self.draining = True
        unstarted: list[Held] = []
        for held in self._waiting.clear():
            unstarted += [held, *self._leave(held)]
        self._release(unstarted)

    def hand_back_all(self) -> None:
        """The drain ends: hand back whatever has not been settled."""
        handed = [held for held in self._table if held.stage == "handed"]
        left: list[Held] = []
        for held in [*self.settlement.give_up(), *handed]:
            held.stage = "settling"
            left += [held, *self._leave(held)]
        self._release(left)

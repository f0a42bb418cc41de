"""Whatever happens, nothing is lost and no key is out of order."""

from __future__ import annotations

import asyncio
import random
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlane.pubsub.clock import sleep
from fastlane.pubsub.consumption.consumers import Consumers
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, Order, TinyProvider, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, bound, event, run, topic

CALLS = ["receive", "ack", "retry", "release", "extend", "dead_letter", "open"]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.sampled_from([0.1, 1.0, 7.0, 11.0, 40.0])),
        st.tuples(st.just("publish"), st.integers(1, 6)),
        st.tuples(st.just("lose"), st.integers(0, 20)),
        st.tuples(st.just("fail"), st.tuples(st.sampled_from(CALLS), st.integers(1, 3), st.booleans())),
        st.tuples(st.just("away"), st.sampled_from([5.0, 50.0])),
        st.tuples(st.just("replace"), st.sampled_from([0.0, 5.0])),
    ),
    max_size=25,
)


class World:
    """Two workers on one broker, and a record of what their handlers saw."""

    def __init__(self, order: Order, seed: int, share: int, batched: bool, receives: int) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, order=order)
        self.random = random.Random(seed)
        self.share = share
        self.receives = receives
        self.workers: list[Consumers | None] = [None, None]
        self.kindly = False
        self.gentle = True
        self.keys: dict[str, str | None] = {}
        self.done: list[str] = []
        self.running = [0, 0]
        self.batched = batched
        self.order = order

    def subscription(self, index: int) -> Any:
        things = topic(ordered=self.order != "none")

        async def one(message: Message[Event]) -> None:
            self.check_order(message)
            if self.kindly:
                self.done.append(message.id)
                return
            await sleep(self.clock, self.random.choice([0.0, 0.0, 0.5, 12.0, 45.0]))
            fate = self.random.random()
            if fate < 0.25:
                raise ValueError
            if fate < 0.3:
                raise Reject("fate")
            self.done.append(message.id)

        options: dict[str, Any] = {
            "ack_deadline": 30,
            "timeout": 40,
            "max_concurrency": self.share,
            "retry": Retry(min_backoff=2, max_backoff=20, max_attempts=4),
        }
        if self.batched:

            @things.subscribe("seen", batch=Batch(3, wait=0.5), **options)
            async def see_all(messages: list[Message[Event]]) -> None:
                self.enter(index)
                try:
                    keys = [message.ordering_key for message in messages if message.ordering_key is not None]
                    assert self.order == "none" or len(keys) == len(set(keys))
                    for message in messages:
                        try:
                            await one(message)
                        except Reject as error:
                            message.reject(error.reason)
                        except ValueError:
                            message.retry()
                finally:
                    self.running[index] -= 1

        else:

            @things.subscribe("seen", **options)
            async def see(message: Message[Event]) -> None:
                self.enter(index)
                try:
                    await one(message)
                finally:
                    self.running[index] -= 1

        return things.subscriptions["seen"]

    def enter(self, index: int) -> None:
        self.running[index] += 1
        assert self.running[index] <= self.share

    def check_order(self, message: Message[Event]) -> None:
        if message.ordering_key is None or self.order == "none":
            return
        finished = {*self.done, *(letter.id for letter in self.broker.dead)}
        number = int(message.id[1:])
        for other, key in self.keys.items():
            if key == message.ordering_key and int(other[1:]) < number and other not in finished:
                self.wrong = f"{message.id} was started before {other}"

    wrong = ""

    async def start(self, index: int) -> None:
        consumers = self.workers[index] = Consumers()
        subscription = self.subscription(index)
        several = {"receives": self.receives, "ordered_receives": self.receives}
        provider = TinyProvider(self.broker, receive_limit=2 if self.receives > 1 else None, **several)
        await consumers.consume(subscription, bound(subscription), provider, self.share)

    async def stop(self, index: int, timeout: float) -> None:
        consumers = self.workers[index]
        assert consumers is not None
        draining = asyncio.create_task(consumers.drain(timeout))
        while not draining.done():
            await self.clock.advance(0.5)
        await draining
        await consumers.close()
        self.running[index] = 0

    async def step(self, what: str, how: Any) -> None:
        broker = self.broker
        if what == "advance":
            await self.clock.advance(how)
        elif what == "publish":
            for _ in range(how):
                key = self.random.choice(["a", "b", "c", None]) if self.order != "none" else None
                payload = event(len(self.keys), key or "") if self.random.random() < 0.95 else b"!"
                self.keys[broker.publish(payload, key=key)] = key
            await settle()
        elif what == "lose":
            leased = broker.leased()
            if leased:
                self.gentle = False
                broker.revoke(leased[how % len(leased)])
            await settle()
        elif what == "fail":
            call, count, expected = how
            self.gentle = False
            error: Exception = BrokerUnavailable("drawn") if expected else RuntimeError("drawn")
            broker.faults.setdefault(call, []).extend([error] * count)
        elif what == "away":
            self.gentle = False
            broker.broken = {call: BrokerUnavailable("away") for call in CALLS}
            await self.clock.advance(how)
            broker.broken = {}
        else:
            index = self.random.randrange(2)
            await self.stop(index, how)
            await self.start(index)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=120)
@given(
    order=st.sampled_from(get_args(Order)),
    seed=st.integers(0, 1_000_000),
    share=st.sampled_from([1, 3, 10]),
    batched=st.booleans(),
    receives=st.sampled_from([1, 3]),
    plan=steps,
)
def test_every_message_is_handled_or_dead_and_in_order(
    order: Order, seed: int, share: int, batched: bool, receives: int, plan: list[tuple[str, Any]]
) -> None:
    async def test() -> None:
        world = World(order, seed, share, batched, receives if order in ("groups", "none") else 1)
        await world.start(0)
        await world.start(1)
        await world.step("publish", 6)
        for what, how in plan:
            await world.step(what, how)
            assert not world.wrong
        world.kindly = True
        world.broker.faults.clear()
        for _ in range(60):
            await world.clock.advance(10)
            if not world.broker.entries and not any(world.running):
                break
        await world.clock.advance(60)
        assert not world.wrong
        dead = {letter.id for letter in world.broker.dead}
        assert {*world.done, *dead} == set(world.keys)
        assert world.broker.entries == {}
        for consumers in world.workers:
            assert consumers is not None
            (health,) = consumers.health.values()
            assert (health.held, health.running) == (0, 0)
        if world.gentle and not batched:  # a batch that fails is all of it handled again
            assert len(world.done) == len(set(world.done))
        await world.stop(0, 0)
        await world.stop(1, 0)

    run(test, 60)


@pytest.mark.parametrize("order", ["none", "groups", "loose"])
def test_two_workers_with_their_threads_lose_nothing(order: Order) -> None:
    async def test() -> None:
        broker, dice = Broker(order=order), random.Random(7)
        keys: dict[str, str | None] = {}
        done: set[str] = set()
        wrong: list[str] = []
        of_key: dict[str, list[str]] = {}

        def subscription() -> Any:
            things = topic(ordered=order != "none")

            @things.subscribe(
                "seen",
                ack_deadline=0.3,
                max_concurrency=8,
                retry=Retry(min_backoff=0.01, max_backoff=0.05, max_attempts=None),
            )
            async def see(message: Message[Event]) -> None:
                key = message.ordering_key
                if key is not None:
                    earlier = of_key[key][: of_key[key].index(message.id)]
                    wrong.extend(f"{message.id} before {other}" for other in earlier if other not in done)
                if dice.random() < 0.2:
                    await asyncio.sleep(dice.random() * 0.01)
                if dice.random() < 0.05:
                    raise ValueError
                done.add(message.id)

            return things.subscriptions["seen"]

        async def start() -> Consumers:
            consumers = Consumers()
            described = subscription()
            await consumers.consume(described, bound(described), TinyProvider(broker), 8)
            return consumers

        broker.ack_deadline = 0.3
        for n in range(400):
            key = None if order == "none" else f"k{n % 23}"
            published = broker.publish(event(n, key or ""), key=key)
            keys[published] = key
            of_key.setdefault(key or "", []).append(published)
        workers = [await start(), await start()]
        turn = 0
        while broker.entries:
            await asyncio.sleep(0.05)
            leased = broker.leased()
            if leased:
                broker.revoke(dice.choice(leased))
            turn += 1
            if turn % 5 == 0 and turn < 30:
                which = dice.randrange(2)
                await workers[which].drain(dice.choice([0.0, 0.5]))
                await workers[which].close()
                workers[which] = await start()
        for consumers in workers:
            await consumers.drain(1)
            await consumers.close()
        assert done == set(keys)
        assert wrong == []
        assert broker.dead == []

    run(test, 60)

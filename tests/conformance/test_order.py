from __future__ import annotations

import asyncio
import random

import pytest
from msgspec import Struct

from fastlane.pubsub import Message, Retry
from tests.conformance.stage import Stage

pytestmark = pytest.mark.anyio


class Step(Struct):
    key: str
    number: int


@pytest.fixture(autouse=True)
def _orders(stage: Stage) -> None:
    if not stage.broker.capabilities.ordering:
        pytest.skip(f"{stage.broker.kind} keeps no order; it says so at boot (test_refusals)")


async def test_messages_of_a_key_are_handled_one_after_the_other_in_order(stage: Stage) -> None:
    topic = stage.topic(Step, order_by="key")
    done: dict[str, list[int]] = {}
    running: set[str] = set()

    @topic.subscribe("steps")
    async def handle(message: Message[Step]) -> None:
        step = message.value
        assert message.ordering_key == step.key
        assert step.key not in running
        running.add(step.key)
        await asyncio.sleep(random.uniform(0, 0.01))
        running.discard(step.key)
        done.setdefault(step.key, []).append(step.number)

    async with stage.running(topic) as app:
        await topic.publish_many([Step(f"k{number % 4}", number) for number in range(40)])
        await app.until(lambda: sum(map(len, done.values())) >= 40, 4 * stage.broker.pace)
    assert done == {f"k{key}": list(range(key, 40, 4)) for key in range(4)}


async def test_a_failed_head_blocks_its_key_and_no_other(stage: Stage) -> None:
    topic = stage.topic(Step, order_by="key")
    started: list[tuple[str, int]] = []
    failures = 2
    least = stage.broker.least_backoff

    @topic.subscribe("steps", retry=Retry(min_backoff=least, max_backoff=4 * least, max_attempts=10))
    async def handle(step: Step) -> None:
        nonlocal failures
        started.append((step.key, step.number))
        if step == Step("bad", 0) and failures:
            failures -= 1
            raise ValueError

    async with stage.running(topic) as app:
        for number in range(5):
            await topic.publish(Step("bad", number))
            await topic.publish(Step("good", number))
        await app.until(lambda: len(started) >= 12, 6 * stage.broker.pace)
        await app.quiet()
    bad = [number for key, number in started if key == "bad"]
    assert bad == [0, 0, 0, 1, 2, 3, 4]
    assert [number for key, number in started if key == "good"] == [0, 1, 2, 3, 4]


async def test_behind_a_dead_head_the_next_one_is_handled(stage: Stage) -> None:
    topic = stage.topic(Step, order_by="key")
    started: list[int] = []
    least = stage.broker.least_backoff

    @topic.subscribe("steps", retry=Retry(min_backoff=least, max_backoff=least, max_attempts=2))
    async def handle(step: Step) -> None:
        started.append(step.number)
        if step.number == 0:
            raise ValueError

    async with stage.running(topic) as app:
        await topic.publish_many([Step("a", number) for number in range(4)])
        await app.until(lambda: len(started) >= 5, 6 * stage.broker.pace)
        await app.quiet()
    assert started == [0, 0, 1, 2, 3]


async def test_messages_without_a_common_key_do_not_wait_for_each_other(stage: Stage) -> None:
    topic = stage.topic(Step, order_by="key")
    running = 0
    done: set[int] = set()
    together = asyncio.Event()

    @topic.subscribe("steps", max_concurrency=8)
    async def handle(step: Step) -> None:
        nonlocal running
        running += 1
        if running > 1:
            together.set()
        await together.wait()
        running -= 1
        done.add(step.number)

    async with stage.running(topic) as app:
        await topic.publish_many([Step(f"k{number}", number) for number in range(16)])
        await app.until(together.is_set)
        await app.until(lambda: len(done) == 16, 4 * stage.broker.pace)


async def test_a_published_twice_dedupe_id_is_delivered_once(stage: Stage) -> None:
    if not stage.broker.capabilities.exactly_once:
        pytest.skip("it can't")
    if stage.broker.kind in ("aws", "gcp"):
        pytest.skip("the emulator does not deduplicate as the service does; the request is checked with the provider")
    topic = stage.topic(Step, delivery="exactly-once")
    got: list[int] = []

    @topic.subscribe("once")
    async def handle(step: Step) -> None:
        got.append(step.number)

    async with stage.running(topic) as app:
        await topic.publish(Step("a", 1), dedupe_id="x")
        await topic.publish(Step("a", 1), dedupe_id="x")
        await topic.publish(Step("a", 2), dedupe_id="y")
        await app.until(lambda: len(got) >= 2)
        await app.quiet()
    assert sorted(got) == [1, 2]

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import pytest

from fastlane.pubsub import Message
from tests.conformance.stage import Stage
from tests.servers.relay import Relay

pytestmark = pytest.mark.anyio


async def test_what_a_killed_worker_held_comes_to_another_one_after_its_lease(stage: Stage) -> None:
    if stage.broker.kind == "memory":
        pytest.skip("the broker in memory dies with its process")
    topic = stage.topic(int)
    got: list[Message[int]] = []
    deadline = stage.broker.ack_deadline

    @topic.subscribe("fragile", ack_deadline=deadline)
    async def handle(message: Message[int]) -> None:
        got.append(message)

    configuration = {
        "providers": {"broker": stage.broker.options()},
        "pubsub": {"provider": "broker"},
        **stage.broker.document(),
    }
    order = json.dumps({"topic": topic.name, "configuration": configuration, "ack_deadline": deadline})
    async with stage.running(topic, consume=False):
        await topic.publish(7)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.conformance.dying", order, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert worker.stdout is not None
            assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"started\n"
        finally:
            worker.kill()
            await worker.wait()
    async with stage.running(topic) as app:
        await app.until(lambda: got, deadline + stage.broker.pace)
        await app.quiet()
    (message,) = got
    assert message.value == 7
    assert message.attempt == 2


async def test_resets_and_a_black_hole_lose_nothing(stage: Stage) -> None:
    if not stage.broker.port:
        pytest.skip(f"{stage.broker.kind} has no network")
    topic = stage.topic(int)
    got: set[int] = set()

    @topic.subscribe("all", ack_deadline=stage.broker.ack_deadline)
    async def handle(number: int) -> None:
        got.add(number)

    async with (
        Relay(stage.broker.host, stage.broker.port) as relay,
        stage.running(topic, address=relay.address, publish_timeout=60) as app,
    ):
        await topic.publish_many(range(50))
        relay.reset()
        await asyncio.gather(*(topic.publish(number) for number in range(50, 60)))
        relay.reset(after=100)
        await asyncio.gather(*(topic.publish(number) for number in range(60, 70)))
        relay.mode = "hold"
        publishing = [asyncio.ensure_future(topic.publish(number)) for number in range(70, 80)]
        await asyncio.sleep(2.0)
        relay.mode = "pass"
        relay.reset()
        await asyncio.gather(*publishing)
        await app.until(lambda: got >= set(range(80)), 60.0)


async def test_the_event_loop_is_never_blocked_by_a_broker_that_fails(stage: Stage) -> None:
    if not stage.broker.port:
        pytest.skip(f"{stage.broker.kind} has no network")
    topic = stage.topic(int)

    @topic.subscribe("all")
    async def handle(number: int) -> None: ...

    busiest = 0.0

    async def watch() -> None:
        nonlocal busiest
        while True:
            # CPU of this thread: what a busy machine takes away is not the provider's.
            before = time.thread_time()
            await asyncio.sleep(0)
            busiest = max(busiest, time.thread_time() - before)
            await asyncio.sleep(0.001)

    async with Relay(stage.broker.host, stage.broker.port) as relay, stage.running(topic, address=relay.address):
        await topic.publish(0)  # what a client reads and compiles for its first call is no failure of the broker
        # Nor is what the collector finds of earlier tests.
        gc.collect()
        gc.freeze()
        watching = asyncio.ensure_future(watch())
        await topic.publish_many(range(20))
        for _ in range(3):
            relay.reset()
            await asyncio.gather(*(topic.publish(number) for number in range(5)), return_exceptions=True)
        watching.cancel()
        gc.unfreeze()
    assert busiest < 0.05

"""The second thread, and the threads of plain functions."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest

from fastlane.pubsub.consumption import consumption
from fastlane.pubsub.consumption.consumers import Consumers, share_of
from fastlane.pubsub.consumption.hop import Hop
from fastlane.pubsub.consumption.thread import LoopThread
from fastlane.pubsub.topics.message import Message
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, TinyProvider, VirtualClock
from tests.pubsub.consumption.consuming import Event, bound, consuming, event, run, topic


async def wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    while not condition():
        await asyncio.sleep(0.002)


def test_a_handler_that_computes_for_three_lease_times_is_not_redelivered() -> None:
    async def test() -> None:
        broker, things, seen = Broker(), topic(), []

        @things.subscribe("seen", ack_deadline=1.5, max_concurrency=3)
        async def see(message: Message[Event]) -> None:
            seen.append((message.value.n, message.attempt))
            if message.value.n == 0:
                end = time.monotonic() + 4.6
                while time.monotonic() < end:
                    pass

        for n in range(6):
            broker.publish(event(n))
        async with consuming(things, broker, drain=5) as consumers:
            await wait_for(lambda: len(broker.acked) == 6)
            assert sorted(seen) == [(n, 1) for n in range(6)]
            assert "m3" in broker.extended  # had arrived, and could not start
            assert consumers.health["things/seen"].lost == 0

    run(test)


def test_a_plain_function_runs_in_a_thread_and_as_many_at_once_as_may() -> None:
    async def test() -> None:
        broker, things = Broker(), topic()
        meeting, names = threading.Barrier(4), set()

        @things.subscribe("seen", max_concurrency=4)
        def see(event: Event) -> None:
            names.add(threading.current_thread().name)
            meeting.wait(50)

        for n in range(8):
            broker.publish(event(n))
        async with consuming(things, broker, drain=5) as consumers:
            await wait_for(lambda: len(broker.acked) == 8)
            assert all(name.startswith("things/seen") for name in names)
            assert 1 < len(names) <= 4
            await wait_for(lambda: consumers.health["things/seen"].running == 0)

    run(test)


def test_a_plain_function_may_share_the_event_loop_of_its_broker() -> None:
    async def test() -> None:
        broker, things, seen = Broker(VirtualClock()), topic(), []

        @things.subscribe("seen")
        def see(message: Message[Event]) -> None:
            seen.append(message.value.n)

        for n in range(20):
            broker.publish(event(n))
        async with consuming(things, broker):
            await wait_for(lambda: len(broker.acked) == 20)
            assert sorted(seen) == list(range(20))

    run(test)


def test_what_a_plain_function_answers_is_awaited_on_the_workers_event_loop() -> None:
    async def test() -> None:
        broker, things, seen = Broker(), topic(), []
        loop = asyncio.get_running_loop()

        async def work(event: Event) -> None:
            seen.append(asyncio.get_running_loop() is loop)
            if event.n:
                raise ValueError("no")

        @things.subscribe("seen", retry=Retry(max_attempts=1))
        def see(event: Event):  # type: ignore[no-untyped-def]
            return work(event)

        broker.publish(event(0))
        broker.publish(event(1))
        async with consuming(things, broker, drain=5):
            await wait_for(lambda: broker.acked and broker.dead)
            assert seen == [True, True]
            assert broker.dead[0].error == "ValueError: no"

    run(test)


def test_a_plain_function_that_takes_too_long_is_tried_again_and_keeps_its_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        broker, things, going, starts = Broker(), topic(), threading.Event(), []

        @things.subscribe("seen", timeout=0.5, max_concurrency=2, retry=Retry(min_backoff=0, max_backoff=0))
        def see(event: Event) -> None:
            starts.append(event.n)
            if len(starts) == 1:
                going.wait(50)

        broker.publish(event(1))
        async with consuming(things, broker, drain=5) as consumers:
            try:
                await wait_for(lambda: broker.acked)
                assert starts == [1, 1]
                assert consumers.health["things/seen"].running == 1
            finally:
                going.set()
            await wait_for(lambda: consumers.health["things/seen"].running == 0)

    run(test)
    assert "can't be stopped because it is a plain def" in caplog.text


def test_a_plain_function_that_runs_on_is_left_behind_by_the_drain() -> None:
    async def test() -> None:
        broker, things, going, started = Broker(), topic(), threading.Event(), threading.Event()

        @things.subscribe("seen")
        def see(event: Event) -> None:
            started.set()
            going.wait(10)

        broker.publish(event(1))
        try:
            async with consuming(things, broker) as consumers:
                await wait_for(started.is_set)
                await consumers.drain(0.01)
                assert broker.released == ["m1"]
        finally:
            going.set()

    run(test)


def test_an_event_loop_that_is_busy_does_not_keep_its_messages_at_the_end() -> None:
    async def test() -> None:
        broker, things = Broker(), topic()
        blocking, going = threading.Event(), threading.Event()

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            await asyncio.sleep(3600)

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await wait_for(lambda: consumers.health["things/seen"].running == 1)
            loop = asyncio.get_running_loop()
            draining = asyncio.create_task(consumers.drain(0.01))

            def block() -> None:
                blocking.set()
                going.wait(10)

            # What is left goes back while this event loop stands still.
            watcher = threading.Thread(target=lambda: (wait_until(lambda: broker.released), going.set()))
            watcher.start()
            await asyncio.sleep(0)
            loop.call_soon(block)
            await draining
            watcher.join()
            assert broker.released == ["m1"]

    run(test)


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


def test_brokers_with_and_without_the_thread_go_together() -> None:
    async def test() -> None:
        there, here = Broker(), Broker(VirtualClock())
        one, two, seen = topic(), topic(), []
        two.name = "others"

        @one.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append(threading.current_thread())

        @two.subscribe("seen")
        async def see_other(event: Event) -> None:
            seen.append(threading.current_thread())

        consumers = Consumers()
        for things, broker in ((one, there), (two, here)):
            (subscription,) = things.subscriptions.values()
            await consumers.consume(subscription, bound(subscription), TinyProvider(broker), 5)
            broker.publish(event(1))
        await wait_for(lambda: there.acked and here.acked)
        assert set(consumers.health) == {"things/seen", "others/seen"}
        assert set(seen) == {threading.current_thread()}
        await consumers.close()
        assert consumers.health == {}
        assert "fastlane pubsub" not in {thread.name for thread in threading.enumerate()}
        assert (there.closed, here.closed) == (1, 1)

    run(test)


def test_shares_add_up() -> None:
    for most in (1, 3, 8, 100):
        for workers in (1, 2, 3, 7):
            shares = [share_of(most, index, workers) for index in range(workers)]
            assert sum(shares) == most
            assert max(shares) - min(shares) <= 1
            assert share_of(most, workers, workers) == 0  # one more than there were, by SIGTTIN


def test_a_hop_brings_many_with_one_call_and_drops_what_nobody_takes() -> None:
    async def test() -> None:
        calls: list[list[int]] = []
        loop = asyncio.get_running_loop()

        def arrive(items) -> None:  # type: ignore[no-untyped-def]
            calls.append(list(items))
            items.clear()

        hop: Hop[int] = Hop(loop, arrive, threaded=False)
        hop.put(1)
        hop.put(2)
        hop.put_all([3, 4])
        await asyncio.sleep(0)
        assert calls == [[1, 2, 3, 4]]
        hop.put_all([5])
        await asyncio.sleep(0)
        assert calls == [[1, 2, 3, 4], [5]]

    run(test)
    loop = asyncio.new_event_loop()
    loop.close()
    hop: Hop[int] = Hop(loop, lambda items: None, threaded=True)
    hop.put(1)


def test_an_event_loop_in_a_thread_ends_with_what_runs_in_it() -> None:
    async def test() -> None:
        thread = LoopThread("test loop")
        ended = []

        async def work() -> str:
            return threading.current_thread().name

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

        assert await thread.run(work()) == "test loop"
        waiting = asyncio.create_task(thread.run(wait()))
        await asyncio.sleep(0.05)
        await thread.stop()
        await thread.stop()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended == [1]

    run(test)


def test_without_uvloop_the_thread_has_the_event_loop_of_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    async def test() -> None:
        thread = LoopThread("test loop")
        assert isinstance(thread.loop, asyncio.SelectorEventLoop)
        await thread.stop()

    run(test)


def test_a_plain_function_that_ends_a_moment_after_the_deadline_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumption, "_CANCELLED_HANDLER", 20.0)  # a moment of a busy machine

    async def test() -> None:
        broker, things, going, started = Broker(), topic(), threading.Event(), threading.Event()

        @things.subscribe("seen")
        def see(event: Event) -> None:
            started.set()
            going.wait(10)

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await wait_for(started.is_set)
            asyncio.get_running_loop().call_later(0.2, going.set)
            await consumers.drain(0.01)
            assert broker.acked == ["m1"]
            assert broker.released == []

    run(test)

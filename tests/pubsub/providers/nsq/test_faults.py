"""What an NSQ installation can do to us. The event loop must never stand still for 50 ms meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from fastlane.pubsub.provider import Publisher
from fastlane.pubsub.providers.nsq import feed
from fastlane.resources.configuration.providers import NsqOptions
from tests.pubsub.providers.nsq.rig import (
    TOPIC,
    bound_subscription,
    gather_messages,
    longest_pause,
    options_of,
    outgoing,
    rigged,
)
from tests.servers.relay import Relay

LONGEST = 0.05


async def publish_all(publisher: Publisher, count: int, *, width: int = 16) -> set[str]:
    """As the framework does: again, with the same id, until the broker confirms."""
    remaining = iter(range(count))
    confirmed: set[str] = set()

    async def some() -> None:
        for number in remaining:
            message = outgoing(b"%d" % number)
            async with asyncio.timeout(60):
                while not isinstance((await publisher.publish(TOPIC, [message]))[0], str):
                    await asyncio.sleep(random.uniform(0.01, 0.05))
            confirmed.add(message.id)

    await asyncio.gather(*(some() for _ in range(width)))
    return confirmed


def test_nsqd_is_killed_and_comes_back(start_nsqd):
    """A killed nsqd loses what it holds; everything published after its return arrives, and nothing freezes.

    That holds as long as its memory has room. nsqd 1.3 does not keep at once how far its overflow on the disk is
    written: killed and started again it writes over the same file, and hands out what stood there before.
    """
    nsqd = start_nsqd("--mem-queue-size=10000")

    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig, longest_pause() as pause:
            publisher, source = await rig.publisher(), await rig.source()
            await publish_all(publisher, 1)
            await gather_messages(source, 1)
            for _ in range(3):
                publishing = asyncio.create_task(publish_all(publisher, 300))
                receiving = asyncio.create_task(gather_messages(source, 10**9))
                await asyncio.sleep(0.05)
                await asyncio.to_thread(nsqd.kill)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(nsqd.start)
                await publishing
                receiving.cancel()
                await asyncio.wait([receiving])
            after = await publish_all(publisher, 100)
            seen: set[str] = set()
            async with asyncio.timeout(60):
                while not after <= seen:
                    seen |= {each.id for each in await gather_messages(source, 1)}
            assert pause() < LONGEST

    asyncio.run(main())


def test_an_orderly_restart_loses_nothing(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription(ack_deadline=1.0)) as rig, longest_pause() as pause:
            publisher, source = await rig.publisher(), await rig.source(bound_subscription(ack_deadline=1.0))
            seen: set[str] = set()

            async def receive() -> None:
                while True:
                    seen.update(each.id for each in await gather_messages(source, 1, within=60))

            receiving = asyncio.create_task(receive())
            publishing = asyncio.create_task(publish_all(publisher, 2000))
            for _ in range(3):
                await asyncio.sleep(0.1)
                await asyncio.to_thread(nsqd.restart)
            confirmed = await publishing
            async with asyncio.timeout(60):
                while not confirmed <= seen:
                    await asyncio.sleep(0.05)
            receiving.cancel()
            await asyncio.wait([receiving])
            assert pause() < LONGEST

    asyncio.run(main())


@pytest.mark.parametrize("after", [None, 0, 1, 5, 50, 700])
def test_a_reset_in_the_middle_of_a_message_loses_nothing(nsqd, after):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            options = NsqOptions(nsqd=[relay.address], nsqd_http=[nsqd.http_address])
            subscription = bound_subscription(ack_deadline=1.0)
            async with rigged(options, subscription) as rig, longest_pause() as pause:
                publisher, source = await rig.publisher(), await rig.source(subscription)
                confirmed: set[str] = set()
                seen: set[str] = set()
                for _ in range(4):
                    publishing = asyncio.create_task(publish_all(publisher, 100))
                    await asyncio.sleep(0.02)
                    relay.reset(after=after)
                    confirmed |= await publishing
                async with asyncio.timeout(60):
                    while not confirmed <= seen:
                        seen |= {each.id for each in await gather_messages(source, 1, within=60)}
                assert pause() < LONGEST

    asyncio.run(main())


def test_a_black_hole_is_found_by_the_missing_heartbeat_and_loses_nothing(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            options = NsqOptions(nsqd=[relay.address], nsqd_http=[nsqd.http_address])
            subscription = bound_subscription(ack_deadline=2.0)
            async with rigged(options, subscription, heartbeat=1.0) as rig, longest_pause() as pause:
                publisher, source = await rig.publisher(), await rig.source(subscription)
                confirmed = await publish_all(publisher, 50)
                held = await gather_messages(source, 50, acknowledge=False)
                relay.mode = "hold"
                publishing = asyncio.create_task(publish_all(publisher, 20))
                async with asyncio.timeout(40):
                    while await source.extend(held, 2.0) != held:
                        await asyncio.sleep(0.05)
                relay.reset()
                relay.mode = "pass"
                confirmed |= await publishing
                got = await gather_messages(source, 70)
                assert {each.id for each in got} >= confirmed
                assert pause() < LONGEST

    asyncio.run(main())


def test_a_frozen_nsqd_is_left_and_found_again(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription(), heartbeat=1.0) as rig, longest_pause() as pause:
            publisher, source = await rig.publisher(), await rig.source()
            confirmed = await publish_all(publisher, 10)
            nsqd.freeze()
            publishing = asyncio.create_task(publish_all(publisher, 10))
            await asyncio.sleep(4)
            nsqd.thaw()
            confirmed |= await publishing
            got = await gather_messages(source, 20)
            assert {each.id for each in got} >= confirmed
            assert pause() < LONGEST

    asyncio.run(main())


def test_a_slow_network_is_only_slow(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            relay.delay = 0.1
            options = NsqOptions(nsqd=[relay.address], nsqd_http=[nsqd.http_address])
            async with rigged(options, bound_subscription()) as rig:
                confirmed = await publish_all(await rig.publisher(), 50)
                got = await gather_messages(await rig.source(), 50)
                assert {each.id for each in got} == confirmed

    asyncio.run(main())


def test_while_an_oversized_message_is_refused_nothing_stands_still(nsqd):
    large = [outgoing(b'"%s"' % (b"x" * (1 << size))) for size in (20, 21, 22)]

    async def main():
        async with rigged(options_of(nsqd)) as rig, longest_pause() as pause:
            publisher = await rig.publisher()
            for _ in range(5):
                answers = await asyncio.gather(
                    *(publisher.publish(TOPIC, [each]) for each in [*large, *(outgoing() for _ in range(20))])
                )
                assert [isinstance(answer, str) for [answer] in answers] == [False] * 3 + [True] * 20
            assert pause() < LONGEST

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff" * 100,
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x06\x00\x00\x00\x07OK",
        b"\x00\x00\x00\x06\x00\x00\x00\x00OK" * 3,
        b"\x00\x00\x00\x05\x00\x00\x00\x02x",
        b"\x00\x00\x00\x04\x00\x00\x00\x01",
        b"",
    ],
)
def test_a_server_that_is_no_nsqd_is_told_as_unreachable(answer):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with rigged(NsqOptions(nsqd=[f"127.0.0.1:{port}"])) as rig, longest_pause() as pause:
            publisher = await rig.publisher()
            [got] = await publisher.publish(TOPIC, [outgoing()])
            assert isinstance(got, Exception)
            assert f"nsqd at 127.0.0.1:{port}" in str(got)
            assert pause() < LONGEST
        server.close()

    asyncio.run(main())


def test_attempts_to_connect_become_rarer_and_stay_below_two_seconds(monkeypatch):
    delays: list[float] = []
    real: Callable[[float], object] = asyncio.sleep

    async def main():
        async def note(seconds: float) -> None:
            delays.append(seconds)
            await real(0)

        monkeypatch.setattr(feed.asyncio, "sleep", note)
        async with rigged(NsqOptions(nsqd=["127.0.0.1:9"])) as rig:
            await rig.source()
            while len(delays) < 40:
                await real(0.001)

    asyncio.run(main())
    assert 0.025 <= delays[0] <= 0.05
    assert max(delays) <= 2.0
    assert min(delays[20:40]) >= 1.0

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BrokerUnavailable, Source
from fastlane.pubsub.providers.gcp import source as source_module
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.source import GcpSource
from tests.pubsub.providers.gcp.rig import Rig, bare, bound_subscription, bound_topic, letter, outgoing, rigged


async def nothing_comes(source: Source, seconds: float = 1.0) -> bool:
    """That no message is handed out for so long."""
    try:
        return not await asyncio.wait_for(source.receive(10), seconds)
    except TimeoutError:
        return True


def test_a_message_arrives_as_it_was_published(options):
    async def main():
        async with rigged(options) as rig:
            attributes = {"kind": "new", "empty": "", "ß": "\x00", "goog": "1", "fastlane": "2", "long": "é" * 2000}
            sent = outgoing('{"name":"Zoë"}'.encode(), attributes=attributes)
            [broker_id] = await rig.publish(sent)
            [got] = await rig.receive()
            assert got.broker_id == broker_id
            assert (got.id, got.payload, got.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (got.published_at, got.ordering_key) == (sent.published_at, None)
            assert (got.attempt, got.receives) == (1, 1)

    asyncio.run(main())


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", b"x" * 300_000])
def test_any_bytes_arrive(options, payload):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(outgoing(payload))
            [got] = await rig.receive()
            assert got.payload == payload

    asyncio.run(main())


def test_every_subscription_gets_every_message(options):
    topic = bound_topic()
    two = [bound_subscription(topic, "mail"), bound_subscription(topic, "audit")]

    async def main():
        async with rigged(options, topic, *two) as rig:
            sent = [outgoing() for _ in range(3)]
            await rig.publish(*sent)
            for source in rig.sources:
                assert {got.id for got in await rig.receive(3, source)} == {message.id for message in sent}

    asyncio.run(main())


def test_what_is_acknowledged_does_not_come_again(options):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic, bound_subscription(topic, ack_deadline=4)) as rig:
            await rig.publish(*[outgoing() for _ in range(600)])
            got = await rig.receive(600)
            assert await rig.source.ack(got) == []
            assert await nothing_comes(rig.source, 5)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{}, {"exactly_once": True}, {"ordered": True}])
def test_a_lease_that_ended_is_lost_and_the_message_comes_again(options, kind):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic, bound_subscription(topic, ack_deadline=0.5)) as rig:
            await rig.publish(outgoing(ordering_key="a" if topic.ordered else None))
            before = time.monotonic()
            [first] = await rig.receive()
            assert before + 1 <= first.lease.until <= time.monotonic() + 1  # 0.5 is rounded up
            [second] = await rig.receive()
            assert await rig.source.extend([second], 30) == []
            assert (second.id, second.attempt) == (first.id, 2)
            assert await rig.source.ack([first]) == [first]
            assert await rig.source.extend([first], 30) == [first]
            await rig.source.retry(first, 0)
            await rig.source.release([first])
            assert await rig.source.ack([second]) == []

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{}, {"exactly_once": True}])
def test_what_pubsub_does_not_know_any_more_is_lost_alone(options, kind):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic) as rig:
            await rig.publish(outgoing(), outgoing())
            known, unknown = await rig.receive(2)
            unknown.lease.ack_id = "stale"
            assert await rig.source.extend([unknown, known], 30) == [unknown]
            assert await rig.source.ack([unknown]) == [unknown]
            assert await rig.source.ack([known]) == []

    asyncio.run(main())


def test_an_extended_lease_holds(options):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic, bound_subscription(topic, ack_deadline=2)) as rig:
            await rig.publish(outgoing())
            [got] = await rig.receive()
            before = time.monotonic()
            assert await rig.source.extend([got], 15.2) == []
            assert before + 16 <= got.lease.until <= time.monotonic() + 16
            assert await nothing_comes(rig.source, 3)
            assert await rig.source.ack([got]) == []

    asyncio.run(main())


@pytest.mark.parametrize("attempts", [10, None])
def test_a_retry_comes_after_its_delay_rounded_up(options, attempts):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic, bound_subscription(topic, max_attempts=attempts)) as rig:
            await rig.publish(outgoing())
            [got] = await rig.receive()
            started = time.monotonic()
            await rig.source.retry(got, 1.2)
            [again] = await rig.receive()
            assert time.monotonic() - started > 1.9
            assert (again.id, again.attempt, again.receives) == (got.id, 2, 2)

    asyncio.run(main())


def test_what_is_released_comes_at_once(options):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(*[outgoing() for _ in range(20)])
            got = await rig.receive(20)
            started = time.monotonic()
            await rig.source.release(got)
            again = await rig.receive(20)
            assert time.monotonic() - started < 20  # not the 30 s of its lease
            assert {delivery.id for delivery in again} == {delivery.id for delivery in got}

    asyncio.run(main())


@asynccontextmanager
async def long_pulls(rig: Rig) -> AsyncIterator[Source]:
    """A source as it is at Google's."""
    rest = Rest("gcp", rig.provider.options, connections=4)
    source = GcpSource(rig.subscription, rest, at_once=False)
    yield source
    await source.close()


def test_a_long_pull_is_answered_when_something_comes(options):
    async def main():
        async with rigged(options) as rig, long_pulls(rig) as source:
            receive = asyncio.ensure_future(source.receive(10))
            await asyncio.wait([receive], timeout=0.5)
            assert not receive.done()
            started = time.monotonic()
            sent = outgoing()
            await rig.publish(sent)
            [got] = await receive
            assert got.id == sent.id
            assert time.monotonic() - started < 20  # not the 89 s of the pull

    asyncio.run(main())


def test_a_cancelled_receive_gives_back_what_its_pull_brought(options, monkeypatch):
    monkeypatch.setattr(source_module, "GRACE", 15.0)  # however long a publish takes

    async def main():
        async with rigged(options) as rig, long_pulls(rig) as source:
            receive = asyncio.ensure_future(source.receive(10))
            await asyncio.wait([receive], timeout=0.2)  # the pull is with the emulator
            receive.cancel()
            await asyncio.sleep(0)
            await rig.publish(outgoing())
            with pytest.raises(asyncio.CancelledError):
                await receive
            [got] = await rig.receive()
            assert got.receives == 2

    asyncio.run(main())


def test_a_cancelled_receive_waits_a_second_at_most(options):
    async def main():
        async with rigged(options) as rig, long_pulls(rig) as source:
            receive = asyncio.ensure_future(source.receive(10))
            await asyncio.wait([receive], timeout=0.2)
            started = time.monotonic()
            receive.cancel()
            await asyncio.wait([receive])
            assert receive.cancelled()
            assert time.monotonic() - started < 10  # not the 89 s of the pull

    asyncio.run(main())


def test_on_the_emulator_nothing_is_leased_to_a_receive_that_was_cancelled(options):
    async def main():
        async with rigged(options) as rig:
            for _ in range(5):
                assert await nothing_comes(rig.source, 0.3)
            await rig.publish(outgoing())
            [got] = await rig.receive()
            assert got.receives == 1

    asyncio.run(main())


@pytest.mark.parametrize("attempts", [10, None])
def test_a_delayed_message_is_put_off_once(options, attempts):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic, bound_subscription(topic, max_attempts=attempts)) as rig:
            late = outgoing(delay=2.0)
            await rig.publish(late)
            started = time.monotonic()
            [got] = await rig.receive()
            assert got.id == late.id
            assert (datetime.now(UTC) - late.published_at).total_seconds() >= 2
            assert time.monotonic() - started < 20  # not the 30 s of its lease
            assert (got.attempt, got.receives) == (1, 2 if attempts else 1)

    asyncio.run(main())


def test_what_is_due_comes_beside_what_is_not(options):
    async def main():
        async with rigged(options) as rig:
            now = outgoing()
            await rig.publish(outgoing(delay=300.0), now, outgoing(delay=600.0))
            [got] = await rig.receive()
            assert got.id == now.id
            assert await nothing_comes(rig.source)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{}, {"ordered": True}])
def test_a_dead_letter_says_why_and_does_not_come_again(options, kind):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic, bound_subscription(topic, ack_deadline=3)) as rig:
            key = "k" if topic.ordered else None
            sent = outgoing(b"\xff", attributes={"kind": "new"}, ordering_key=key)
            await rig.publish(sent)
            [got] = await rig.receive()
            written = letter(got, error="é" * 3000)
            await rig.source.dead_letter(got, written)
            [read] = await rig.dead_letters()
            assert read.position
            assert (read.id, read.payload, read.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (read.reason, read.source, read.attempt) == ("attempts", "signups/mail", 1)
            assert (read.died_at, read.published_at) == (written.died_at, sent.published_at)
            assert (read.error, read.ordering_key) == ("é" * 1000, key)
            assert await nothing_comes(rig.source, 3.5)

    asyncio.run(main())


def test_a_message_that_can_not_be_put_among_the_dead_is_kept(options):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(outgoing())
            [got] = await rig.receive()
            await bare(options, "DELETE", "topics/signups-mail-dead")
            with pytest.raises(BrokerUnavailable, match="fastlane pubsub provision"):
                await rig.source.dead_letter(got, letter(got))
            await rig.source.release([got])
            assert [again.id for again in await rig.receive()] == [got.id]

    asyncio.run(main())


def test_a_message_of_somebody_else_is_understood(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            message = {"data": b64encode(b"<hello>").decode(), "orderingKey": "k"}
            message |= {"attributes": {f"a{n}": str(n) for n in range(60)}}
            await bare(options, "POST", "topics/signups:publish", {"messages": [message]})
            [got] = await rig.receive()
            assert (got.id, got.payload, got.ordering_key) == (got.broker_id, b"<hello>", "k")
            assert got.attributes == {f"a{n}": str(n) for n in range(60)}
            assert abs((datetime.now(UTC) - got.published_at).total_seconds()) < 60
            await rig.source.dead_letter(got, letter(got))
            [read] = await rig.dead_letters()
            assert (read.id, read.attributes, read.ordering_key) == (got.id, got.attributes, "k")

    asyncio.run(main())


def test_a_key_keeps_its_order_and_its_next_message_waits(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            await rig.publish(*[outgoing(b"a%d" % n, ordering_key="a") for n in range(3)])
            await rig.publish(outgoing(b"b0", ordering_key="b"))
            seen: list[Delivery] = []
            for _ in range(2):
                seen += await rig.source.receive(10)
            assert {one.payload for one in seen} == {b"a0", b"b0"}
            assert await nothing_comes(rig.source)
            for one in seen:
                if one.ordering_key == "a":
                    await rig.source.release([one])
            for n in range(3):
                [one] = await rig.source.receive(10)
                assert (one.payload, one.attempt) == (b"a%d" % n, 2 if n == 0 else 1)
                await rig.source.ack([one])

    asyncio.run(main())


def test_several_pulls_of_an_ordered_subscription_bring_different_keys(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            for key in "abc":
                await rig.publish(*[outgoing(b"%d" % n, ordering_key=key) for n in range(2)])
            got = await asyncio.gather(*(rig.source.receive(1) for _ in range(3)))
            assert {(one.ordering_key, one.payload) for [one] in got} == {("a", b"0"), ("b", b"0"), ("c", b"0")}

    asyncio.run(main())

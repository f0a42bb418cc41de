from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BrokerUnavailable, Source
from fastlane.pubsub.providers.aws import source as source_module
from tests.pubsub.providers.aws.rig import bare, bound_subscription, bound_topic, letter, outgoing, rigged

PLAIN = {"region": "eu-central-1"}


async def nothing_comes(source: Source, seconds: float = 1.0) -> bool:
    """That no message is handed out for so long."""
    try:
        return not await asyncio.wait_for(source.receive(10), seconds)
    except TimeoutError:
        return True


def test_a_message_arrives_as_it_was_published(options):
    async def main():
        async with rigged(options) as rig:
            sent = outgoing('{"name":"Zoë"}'.encode(), attributes={"kind": "new", "empty": "", "ß": "\x00"})
            [broker_id] = await rig.publish(sent)
            [got] = await rig.receive()
            assert isinstance(broker_id, str)
            assert (got.id, got.payload, got.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (got.published_at, got.ordering_key) == (sent.published_at, None)
            assert (got.attempt, got.receives) == (1, 1)
            assert got.broker_id

    asyncio.run(main())


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", "\uffff".encode(), b'"\\u0000"', b"="])
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


def test_what_is_acknowledged_is_gone(options):
    async def main():
        async with rigged(options, None) as rig:
            await rig.publish(*[outgoing() for _ in range(10)])
            await rig.publish(*[outgoing() for _ in range(5)])
            got = await rig.receive(15)
            assert await rig.source.ack(got) == []
            backlog = await rig.administrator.backlog(rig.subscription)
            assert (backlog.waiting, backlog.in_flight, backlog.dead, backlog.paused) == (0, 0, 0, None)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{}, {"ordered": True}])
def test_a_receive_brings_ten_at_most(options, kind):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic) as rig:
            sent = [outgoing(ordering_key=str(n) if topic.ordered else None) for n in range(25)]
            for start in range(0, 25, 10):
                await rig.publish(*sent[start : start + 10])
            assert [len(await rig.source.receive(25)) for _ in range(3)] == [10, 10, 5]

    asyncio.run(main())


def test_receives_side_by_side_bring_everything(options):
    async def main():
        async with rigged(options) as rig:
            sent = [outgoing() for _ in range(45)]
            for start in range(0, 45, 10):
                await rig.publish(*sent[start : start + 10])
            # By their ids, with the latest lease: two polls at the same moment may bring the same message.
            got = {}
            while len(got) < 45:
                for some in await asyncio.gather(*[rig.source.receive(10) for _ in range(min(5, 5 - len(got) // 10))]):
                    got |= {one.id: one for one in some if one.lease.until}
            assert set(got) == {message.id for message in sent}
            assert await rig.source.ack(list(got.values())) == []
            # Emptied just before: a long poll waits for the next.
            receive = asyncio.ensure_future(rig.source.receive(10))
            await asyncio.wait([receive], timeout=0.3)
            assert not receive.done()
            await rig.publish(outgoing())
            assert len(await receive) == 1

    asyncio.run(main())


def test_of_several_receives_at_an_empty_emulator_one_waits(options):
    async def main():
        async with rigged(options) as rig:
            source = await rig.provider.open_source(rig.subscription)
            first = asyncio.ensure_future(source.receive(10))
            while not source._waiting:
                await asyncio.sleep(0.01)
            assert not first.done()
            assert await source.receive(10) == []
            await rig.publish(outgoing())
            assert len(await first) == 1
            await source.close()

    asyncio.run(main())


def test_a_lease_that_ended_is_lost_and_the_message_comes_again(options):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic, bound_subscription(topic, ack_deadline=0.5)) as rig:
            await rig.publish(outgoing())
            [first] = await rig.receive()
            assert first.lease.until - first.lease.received == 1  # 0.5 is rounded up
            [second] = await rig.receive()
            assert await rig.source.extend([second], 30) == []
            assert (second.id, second.attempt) == (first.id, 2)
            assert await rig.source.ack([first]) == [first]
            assert await rig.source.extend([first], 30) == [first]
            await rig.source.retry(first, 0)
            await rig.source.release([first])
            assert await rig.source.ack([second]) == []

    asyncio.run(main())


def test_what_sqs_does_not_know_any_more_is_lost(options):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(outgoing())
            [got] = await rig.receive()
            got.lease.handle = "stale"
            assert await rig.source.ack([got]) == [got]
            assert await rig.source.extend([got], 30) == [got]

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


def test_a_retry_comes_after_its_delay_rounded_up(options):
    async def main():
        async with rigged(options) as rig:
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
            await rig.publish(*[outgoing() for _ in range(10)])
            await rig.publish(outgoing())
            got = await rig.receive(11)
            started = time.monotonic()
            await rig.source.release(got)
            again = await rig.receive(11)
            assert time.monotonic() - started < 20  # not the 30 s of its lease
            assert {delivery.id for delivery in again} == {delivery.id for delivery in got}

    asyncio.run(main())


def test_a_cancelled_receive_gives_back_what_its_poll_brought(options, monkeypatch):
    monkeypatch.setattr(source_module, "GRACE", 15.0)  # however long a publish takes

    async def main():
        async with rigged(options) as rig:
            receive = asyncio.ensure_future(rig.source.receive(10))
            await asyncio.wait([receive], timeout=0.2)  # the poll is with moto
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
        async with rigged(options) as rig:
            receives = [asyncio.ensure_future(rig.source.receive(10)) for _ in range(3)]
            await asyncio.wait(receives, timeout=0.2)
            started = time.monotonic()
            for receive in receives:
                receive.cancel()
            await asyncio.wait(receives)
            assert all(receive.cancelled() for receive in receives)
            assert time.monotonic() - started < 10  # not the 20 s of the poll

    asyncio.run(main())


def test_a_delayed_message_is_put_off_once(options):
    async def main():
        async with rigged(options) as rig:
            late = outgoing(delay=2.0)
            await rig.publish(late)
            started = time.monotonic()
            [got] = await rig.receive()
            assert got.id == late.id
            assert (datetime.now(UTC) - late.published_at).total_seconds() >= 2
            assert time.monotonic() - started < 20  # not the 30 s of its lease
            assert (got.attempt, got.receives) == (1, 2)

    asyncio.run(main())


def test_what_is_due_comes_beside_what_is_not(options):
    async def main():
        async with rigged(options) as rig:
            now = outgoing()
            # Not the 12 h that SQS takes: it counts them from the receive, and moto from the publish.
            await rig.publish(outgoing(delay=3600.0), now, outgoing(delay=43_000.0))
            [got] = await rig.receive()
            assert got.id == now.id
            assert await nothing_comes(rig.source)

    asyncio.run(main())


def test_a_dead_letter_says_why_and_is_no_longer_in_the_queue(options):
    async def main():
        async with rigged(options) as rig:
            sent = outgoing(b"\xff", attributes={"kind": "new"})
            await rig.publish(sent)
            [got] = await rig.receive()
            written = letter(got, error="é" * 3000)
            await rig.source.dead_letter(got, written)
            [read] = await rig.dead_letters()
            assert read.position
            assert (read.id, read.payload, read.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (read.reason, read.source, read.attempt) == ("attempts", "signups/mail", 1)
            assert (read.died_at, read.published_at) == (written.died_at, sent.published_at)
            assert read.error == "é" * 1000
            backlog = await rig.administrator.backlog(rig.subscription)
            assert (backlog.waiting, backlog.in_flight, backlog.dead) == (0, 0, 1)

    asyncio.run(main())


def test_a_message_that_can_not_be_put_among_the_dead_is_kept(options):
    async def main():
        async with rigged(options) as rig, bare(options, "sqs") as sqs:
            await rig.publish(outgoing())
            [got] = await rig.receive()
            await sqs.delete_queue(QueueUrl=(await sqs.get_queue_url(QueueName="signups-mail-dead"))["QueueUrl"])
            with pytest.raises(BrokerUnavailable, match="fastlane pubsub provision"):
                await rig.source.dead_letter(got, letter(got))
            await rig.source.release([got])
            assert [again.id for again in await rig.receive()] == [got.id]

    asyncio.run(main())


def test_a_message_of_somebody_else_is_understood(options):
    async def main():
        async with rigged(options) as rig, bare(options, "sns") as sns:
            arn = (await sns.list_topics())["Topics"][0]["TopicArn"]
            ten = {f"a{n}": {"DataType": "String", "StringValue": str(n)} for n in range(10)}
            sent = await sns.publish(TopicArn=arn, Message="<hello>", MessageAttributes=ten)
            [got] = await rig.receive()
            assert sent["MessageId"]
            assert (got.id, got.payload) == (got.broker_id, b"<hello>")
            assert got.attributes == {f"a{n}": str(n) for n in range(10)}
            assert abs((datetime.now(UTC) - got.published_at).total_seconds()) < 60
            await rig.source.dead_letter(got, letter(got))
            [read] = await rig.dead_letters()
            assert (read.id, read.attributes) == (got.id, got.attributes)

    asyncio.run(main())


def order(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.payload for delivery in deliveries]


def test_a_key_keeps_its_order_behind_a_message_that_is_tried_again(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            for n in range(4):
                await rig.publish(outgoing(b"%d" % n, ordering_key="key of a customer"))
            await rig.publish(outgoing(b"other", ordering_key="b"))
            got = await rig.receive(5)
            head, *followers = [one for one in got if one.ordering_key == "key of a customer"]
            assert order([head, *followers]) == [b"0", b"1", b"2", b"3"]
            await rig.source.release(followers)
            await rig.source.retry(head, 1)
            assert order(await rig.receive(4)) == [b"0", b"1", b"2", b"3"]

    asyncio.run(main())


def test_what_is_released_keeps_its_order(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            await rig.publish(*[outgoing(b"%02d" % n, ordering_key="a") for n in range(10)])
            got = await rig.receive(10)
            await rig.source.release(got)
            again = await rig.receive(10)
            assert order(again) == order(got) == [b"%02d" % n for n in range(10)]

    asyncio.run(main())


def test_of_two_messages_with_one_dedupe_id_one_arrives(options):
    topic = bound_topic(exactly_once=True)

    async def main():
        async with rigged(options, topic) as rig:
            first, again, other = (outgoing(dedupe_id="order 7"), outgoing(dedupe_id="order 7"), outgoing())
            assert len(await rig.publish(first)) == 1
            assert isinstance((await rig.publish(again))[0], str)
            await rig.publish(other)
            got = await rig.receive(2)
            assert {one.id for one in got} == {first.id, other.id}
            assert [one.ordering_key for one in got] == [None, None]
            assert await nothing_comes(rig.source)

    asyncio.run(main())


def test_on_an_emulator_nothing_is_leased_to_a_receive_that_was_cancelled(options):
    async def main():
        async with rigged(options) as rig:
            source = await rig.provider.open_source(rig.subscription)
            for _ in range(3):
                assert await nothing_comes(source, 0.3)
            await rig.publish(outgoing())
            [got] = await rig.receive(1, source)
            assert got.receives == 1
            await source.close()

    asyncio.run(main())


def test_on_an_emulator_two_workers_take_turns_at_a_fifo_queue_and_get_one_message_each(options, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            workers = [await rig.provider.open_source(rig.subscription) for _ in range(2)]
            for key in "ab":
                await rig.publish(*[outgoing(b"%d" % n, ordering_key=key) for n in range(3)])
            seen: dict[str | None, list[bytes]] = {"a": [], "b": []}
            for turn in range(6):
                [one] = await workers[turn % 2].receive(10)
                seen[one.ordering_key].append(one.payload)
                assert await workers[turn % 2].ack([one]) == []
            assert seen == {"a": [b"0", b"1", b"2"], "b": [b"0", b"1", b"2"]}
            for worker in workers:
                await worker.close()

    asyncio.run(main())

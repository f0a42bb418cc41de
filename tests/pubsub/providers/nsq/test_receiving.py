from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.provider import Backlog, BrokerUnavailable
from tests.pubsub.providers.nsq.rig import (
    TOPIC,
    bound_subscription,
    eventually,
    gather_messages,
    options_of,
    outgoing,
    rigged,
)


def test_a_message_arrives_as_it_was_published(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            sent = outgoing('{"name":"Zoë"}'.encode(), attributes={"kind": "new", "ß": "\x00"})
            await (await rig.publisher()).publish(TOPIC, [sent])
            [got] = await gather_messages(await rig.source(), 1, acknowledge=False)
            assert (got.id, got.payload, got.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (got.published_at, got.ordering_key) == (sent.published_at, None)
            assert (got.attempt, got.receives) == (1, 1)
            assert len(got.broker_id) == 16

    asyncio.run(main())


def test_a_message_of_a_trickle_is_not_kept_back_for_another(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            source, publisher, loop = await rig.source(), await rig.publisher(), asyncio.get_running_loop()
            took = []
            for _ in range(41):
                began = loop.time()
                await publisher.publish(TOPIC, [outgoing()])
                await gather_messages(source, 1)
                took.append(loop.time() - began)
            # nsqd's own habit is anything up to 250 ms; a busy machine keeps some back, but not half of them.
            assert sorted(took)[20] < 0.08, took

    asyncio.run(main())


def test_every_subscription_gets_every_message(nsqd):
    two = [bound_subscription("mail"), bound_subscription("audit")]

    async def main():
        async with rigged(options_of(nsqd), *two) as rig:
            sent = [outgoing() for _ in range(3)]
            await (await rig.publisher()).publish(TOPIC, sent)
            for subscription in two:
                got = await gather_messages(await rig.source(subscription), 3)
                assert {each.id for each in got} == {each.id for each in sent}

    asyncio.run(main())


def test_what_was_acknowledged_does_not_come_again(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            source, administrator = await rig.source(), await rig.administrator()
            await (await rig.publisher()).publish(TOPIC, [outgoing() for _ in range(3)])
            assert await source.ack(await gather_messages(source, 3, acknowledge=False)) == []
            backlog = await administrator.backlog(bound_subscription())
            await eventually(lambda: administrator.backlog(bound_subscription()), type(backlog)(0, 0, 0, False))

    asyncio.run(main())


def test_a_failed_attempt_comes_again_after_its_delay_with_the_next_number(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            [got] = await gather_messages(source, 1, acknowledge=False)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await source.retry(got, 0.7)
            [again] = await gather_messages(source, 1)
            assert (again.id, again.attempt) == (got.id, 2)
            assert 0.65 < loop.time() - began < 20.0
            assert await source.ack([got]) == [got]

    asyncio.run(main())


def test_what_was_released_comes_at_once(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(), outgoing()])
            got = await gather_messages(source, 2, acknowledge=False)
            async with asyncio.timeout(20):  # not the 30 s of the lease
                await source.release(got)
                again = await gather_messages(source, 2)
            assert {each.id for each in again} == {each.id for each in got}

    asyncio.run(main())


def test_a_lease_that_is_extended_lasts(nsqd):
    subscription = bound_subscription(ack_deadline=3.0)

    async def main():
        async with rigged(options_of(nsqd), subscription) as rig:
            one, other = await rig.source(subscription), await rig.source(subscription)
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            [got] = await gather_messages(one, 1, acknowledge=False)
            waiting = asyncio.create_task(gather_messages(other, 1))
            for _ in range(4):
                await asyncio.sleep(1.0)
                assert await one.extend([got], 3.0) == []
                assert not waiting.done()
            assert await one.ack([got]) == []
            waiting.cancel()
            await asyncio.wait([waiting])

    asyncio.run(main())


def test_a_lease_that_ran_out_is_lost_and_somebody_else_has_the_message(nsqd):
    subscription = bound_subscription(ack_deadline=1.0)

    async def main():
        async with rigged(options_of(nsqd), subscription) as rig:
            one, other = await rig.source(subscription), await rig.source(subscription)
            await (await rig.publisher()).publish(TOPIC, [outgoing() for _ in range(2)])
            late = await gather_messages(one, 2, acknowledge=False)
            again = await gather_messages(other, 2)
            assert {each.id for each in again} == {each.id for each in late}
            assert min(each.attempt for each in again) >= 2
            assert await one.ack(late[:1]) == late[:1]

            async def extended():
                return await one.extend(late[1:], 1.0)

            await eventually(extended, late[1:])  # nsqd says so after the first

    asyncio.run(main())


def test_no_more_are_handed_out_than_were_asked_for(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            source, administrator = await rig.source(), await rig.administrator()
            await (await rig.publisher()).publish(TOPIC, [outgoing() for _ in range(50)])
            held = []
            while len(held) < 5:
                held += await source.receive(5 - len(held))
            assert len(held) == 5
            await eventually(lambda: administrator.backlog(bound_subscription()), Backlog(45, 5, 0, False))
            await source.ack(held[:2])
            more = await source.receive(2)
            assert 1 <= len(more) <= 2

            async def in_flight():
                return (await administrator.backlog(bound_subscription())).in_flight

            await eventually(in_flight, 5)

    asyncio.run(main())


@pytest.mark.parametrize("share", [1, 2, 3, 100])
def test_any_share_empties_every_nsqd_and_the_replays(start_nsqd, share):
    servers = [start_nsqd() for _ in range(3)]

    async def main():
        async with rigged(options_of(*servers), bound_subscription()) as rig:
            publisher, source = await rig.publisher(), await rig.source()
            for _ in range(30):
                await publisher.publish(TOPIC, [outgoing(), outgoing()])
            replays = type(TOPIC)(name="x", physical="orders-mail-replay")
            for _ in range(3):
                await publisher.publish(replays, [outgoing()])
            seen = set()
            async with asyncio.timeout(60):
                while len(seen) < 63:
                    some = await source.receive(share)
                    assert len(some) <= share
                    await source.ack(some)
                    seen |= {each.id for each in some}

    asyncio.run(main())


def test_a_cancelled_receive_leaves_the_messages_to_others(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            one, other = await rig.source(), await rig.source()
            waiting = asyncio.create_task(one.receive(10))
            await asyncio.sleep(0.2)
            waiting.cancel()
            await asyncio.wait([waiting])
            sent = [outgoing() for _ in range(20)]
            await (await rig.publisher()).publish(TOPIC, sent)
            async with asyncio.timeout(20):  # not the 30 s of a lease
                got = await gather_messages(other, 20)
            assert {each.id for each in got} == {each.id for each in sent}
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert len(await gather_messages(one, 1)) == 1

    asyncio.run(main())


def test_messages_that_nobody_receives_are_handed_back(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            one, other = await rig.source(), await rig.source()
            publisher = await rig.publisher()
            await publisher.publish(TOPIC, [outgoing()])
            assert len(await one.receive(10)) == 1
            await publisher.publish(TOPIC, [outgoing() for _ in range(5)])  # nine more may come to the first
            await asyncio.sleep(0.1)
            async with asyncio.timeout(20):  # not the 30 s of a lease
                assert len(await gather_messages(other, 5)) == 5

    asyncio.run(main())


def test_closing_hands_back_what_is_leased_at_once(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            closing = await rig.provider.open_source(bound_subscription())
            sent = [outgoing() for _ in range(20)]
            await (await rig.publisher()).publish(TOPIC, sent)
            held = await gather_messages(closing, 20, acknowledge=False)
            await closing.ack(held[:5])
            await closing.close()
            source = await rig.source()
            async with asyncio.timeout(20):  # not the 30 s of a lease
                again = await gather_messages(source, 15)
            assert {each.id for each in again} == {each.id for each in held[5:]}
            assert await closing.extend(held, 1.0) == held

    asyncio.run(main())


def test_while_nsqd_is_down_a_receive_says_so_and_works_again_afterwards(nsqd):
    nsqd.stop()

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            source = await rig.source()
            for _ in range(2):
                with pytest.raises(BrokerUnavailable, match=f"nsqd at {nsqd.address}"):
                    await source.receive(1)
            nsqd.start()
            sent = outgoing()
            publisher = await rig.publisher()
            await publisher.publish(TOPIC, [sent])
            [got] = await gather_messages(source, 1)
            assert got.id == sent.id

    asyncio.run(main())


def test_when_nothing_comes_a_receive_answers_without_messages(nsqd, monkeypatch):
    monkeypatch.setattr("fastlane.pubsub.providers.nsq.source._WAIT", 0.3)

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            assert await (await rig.source()).receive(1) == []

    asyncio.run(main())


def test_what_ran_out_without_a_word_takes_no_place(nsqd):
    subscription = bound_subscription(ack_deadline=1.0)

    async def main():
        async with rigged(options_of(nsqd), subscription) as rig:
            source, other = await rig.source(subscription), await rig.source(subscription)
            await (await rig.publisher()).publish(TOPIC, [outgoing() for _ in range(20)])
            await gather_messages(source, 20, acknowledge=False)
            await gather_messages(other, 20)

            async def in_flight():
                return [len(feed.connection.in_flight) for feed in source._live]

            await eventually(in_flight, [0, 0])

    asyncio.run(main())

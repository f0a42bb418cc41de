from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.nsq import NsqProvider
from fastlane.resources.configuration.providers import NsqOptions
from tests.pubsub.providers.nsq.rig import TOPIC, bound_subscription, gather_messages, options_of, outgoing, rigged
from tests.servers.relay import Relay

KIB = 1024


def test_a_publish_answers_with_the_id_of_the_message(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            publisher = await rig.publisher()
            messages = [outgoing(b"%d" % number) for number in range(5)]
            assert await publisher.publish(TOPIC, messages) == [message.id for message in messages]
            assert await publisher.publish(TOPIC, messages[:1]) == [messages[0].id]
            assert await publisher.publish(TOPIC, []) == []
            source = await rig.source()
            assert sorted([got.payload for got in await gather_messages(source, 6)]) == sorted(
                [b"0", b"0", b"1", b"2", b"3", b"4"]
            )

    asyncio.run(main())


def test_an_empty_payload_arrives_in_its_envelope(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            sent = outgoing(b"")
            assert await (await rig.publisher()).publish(TOPIC, [sent]) == [sent.id]
            [got] = await gather_messages(await rig.source(), 1)
            assert (got.id, got.payload) == (sent.id, b"")

    asyncio.run(main())


def test_an_empty_raw_payload_is_refused_and_the_others_are_taken(nsqd):
    async def main():
        async with rigged(options_of(nsqd, envelope="raw")) as rig:
            messages = [outgoing(b"1"), outgoing(b""), outgoing(b"2")]
            first, refused, last = await (await rig.publisher()).publish(TOPIC, messages)
            assert (first, last) == (messages[0].id, messages[2].id)
            assert isinstance(refused, PublishRefused)
            assert "no empty message\n    mend:" in str(refused)

    asyncio.run(main())


def test_raw_is_the_payload_alone_in_both_directions(nsqd):
    async def main():
        async with rigged(options_of(nsqd, envelope="raw")) as rig:
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"no json \xff", attributes={"a": "b"})])
            [got] = await gather_messages(await rig.source(), 1)
            assert (got.payload, got.attributes, got.id) == (b"no json \xff", {}, got.broker_id)

    asyncio.run(main())


@pytest.mark.parametrize("neighbours", [0, 30])
def test_an_oversized_message_is_refused_and_every_publish_beside_it_is_taken(nsqd, neighbours):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            publisher = await rig.publisher()
            sent = [[outgoing(b"1"), outgoing(b"2")] for _ in range(neighbours)]
            large = [outgoing(b'"%s"' % (b"x" * size * KIB)) for size in (1025, 3000)]
            answers = await asyncio.gather(
                *(publisher.publish(TOPIC, each) for each in sent),
                *(publisher.publish(TOPIC, [outgoing(b"1"), each, outgoing(b"2")]) for each in large),
            )
            assert answers[:neighbours] == [[message.id for message in each] for each in sent]
            for first, refused, last in answers[neighbours:]:
                assert isinstance(first, str)
                assert isinstance(last, str)
                assert isinstance(refused, PublishRefused)
                assert "PUB message too big" in str(refused)
                assert "mend: send less, or start nsqd with a larger --max-msg-size" in str(refused)
            await gather_messages(await rig.source(), neighbours * 2 + 4)

    asyncio.run(main())


def test_large_messages_that_nsqd_takes_arrive(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            sent = [outgoing(b'"%s"' % (b"x" * size * KIB)) for size in (60, 70, 1000, 300, 900)]
            answers = await (await rig.publisher()).publish(TOPIC, sent)
            assert answers == [message.id for message in sent]
            got = await gather_messages(await rig.source(), 5)
            assert {each.id: each.payload for each in got} == {each.id: each.payload for each in sent}

    asyncio.run(main())


def test_where_nsqd_takes_less_than_usual_only_what_is_too_large_is_refused(start_nsqd):
    nsqd = start_nsqd("--max-msg-size=2000", "--max-body-size=5000")

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            publisher = await rig.publisher()
            messages = [outgoing(b'"%s"' % (b"x" * size)) for size in (1500, 1500, 3000, 1500, 1500)]
            others = [publisher.publish(TOPIC, [outgoing()]) for _ in range(20)]
            answers, *beside = await asyncio.gather(publisher.publish(TOPIC, messages), *others)
            assert [isinstance(answer, str) for answer in answers] == [True, True, False, True, True]
            assert isinstance(answers[2], PublishRefused)
            assert all(isinstance(answer, str) for [answer] in beside)

    asyncio.run(main())


def test_a_name_that_nsqd_does_not_take_is_refused(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            topic = type(TOPIC)(name="x", physical="no such name!")
            [answer] = await (await rig.publisher()).publish(topic, [outgoing()])
            assert isinstance(answer, PublishRefused)

    asyncio.run(main())


def test_a_delayed_message_comes_when_its_time_has_come(nsqd):
    async def main():
        async with rigged(options_of(nsqd), bound_subscription()) as rig:
            publisher, source = await rig.publisher(), await rig.source()
            now, later = outgoing(b'"now"'), outgoing(b'"later"', delay=1.0)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await publisher.publish(TOPIC, [later, now]) == [later.id, now.id]
            assert [got.id for got in await gather_messages(source, 1)] == [now.id]
            assert [got.id for got in await gather_messages(source, 1)] == [later.id]
            assert 0.9 < loop.time() - began < 20.0  # nsqd looks at a new channel every five seconds

    asyncio.run(main())


def test_a_delay_beyond_the_most_is_refused(nsqd):
    async def main():
        async with rigged(options_of(nsqd, max_delay="10m")) as rig:
            messages = [outgoing(delay=600.5), outgoing()]
            refused, taken = await (await rig.publisher()).publish(TOPIC, messages)
            assert isinstance(refused, PublishRefused)
            assert "600 s" in str(refused)
            assert taken == messages[1].id
            assert (rig.provider.capabilities.max_delay, NsqProvider.capabilities.max_delay) == (600.0, 3600.0)

    asyncio.run(main())


def test_a_delay_beyond_nsqds_own_limit_is_refused(start_nsqd):
    nsqd = start_nsqd("--max-req-timeout=1m")

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            publisher = await rig.publisher()
            [refused], *taken = await asyncio.gather(
                publisher.publish(TOPIC, [outgoing(delay=120)]),
                *(publisher.publish(TOPIC, [outgoing()]) for _ in range(20)),
            )
            assert isinstance(refused, PublishRefused)
            assert "--max-req-timeout" in str(refused)
            assert all(isinstance(answer, str) for [answer] in taken)

    asyncio.run(main())


def test_while_nsqd_is_down_a_publish_says_so_and_works_again_afterwards(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            publisher = await rig.publisher()
            await publisher.publish(TOPIC, [outgoing()])
            nsqd.kill()
            for _ in range(5):
                [answer] = await publisher.publish(TOPIC, [outgoing()])
                assert isinstance(answer, BrokerUnavailable)
            two = await publisher.publish(TOPIC, [outgoing(), outgoing()])
            assert [type(answer) for answer in two] == [type(two[0])] * 2
            nsqd.start()
            async with asyncio.timeout(40):
                while isinstance((await publisher.publish(TOPIC, [outgoing()]))[0], BrokerUnavailable):
                    await asyncio.sleep(0.02)

    asyncio.run(main())


def test_opening_a_publisher_while_nsqd_is_down_is_no_error(nsqd):
    nsqd.stop()

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            [answer] = await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert isinstance(answer, BrokerUnavailable)
            assert "can't be reached" in str(answer)

    asyncio.run(main())


def test_all_nsqd_have_their_part_and_when_one_is_gone_the_other_takes_everything(start_nsqd):
    one, other = start_nsqd(), start_nsqd()

    async def main():
        async with rigged(options_of(one, other)) as rig:
            publisher = await rig.publisher()
            for _ in range(20):
                await publisher.publish(TOPIC, [outgoing()])
            for server in (one, other):
                async with rigged(options_of(server), bound_subscription()) as alone:
                    await gather_messages(await alone.source(), 5)
            one.kill()
            for _ in range(20):
                [answer] = await publisher.publish(TOPIC, [outgoing()])
                assert isinstance(answer, str)

    asyncio.run(main())


def test_a_black_hole_does_not_keep_a_publish_from_the_other_nsqd(start_nsqd):
    one, other = start_nsqd(), start_nsqd()

    async def main():
        async with Relay(one.host, one.tcp) as relay:
            options = NsqOptions(nsqd=[relay.address, other.address])
            async with rigged(options) as rig:
                publisher = await rig.publisher()
                for _ in range(4):
                    await publisher.publish(TOPIC, [outgoing()])
                relay.mode = "hold"
                async with asyncio.timeout(10):  # what the framework gives a publish
                    answers = await asyncio.gather(*(publisher.publish(TOPIC, [outgoing()]) for _ in range(10)))
                assert all(isinstance(answer, str) for [answer] in answers)
                async with asyncio.timeout(1):
                    for _ in range(10):
                        [answer] = await publisher.publish(TOPIC, [outgoing()])
                        assert isinstance(answer, str)

    asyncio.run(main())


def test_a_cancelled_publish_disturbs_no_other(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay, rigged(NsqOptions(nsqd=[relay.address])) as rig:
            publisher = await rig.publisher()
            await publisher.publish(TOPIC, [outgoing()])
            relay.mode = "hold"
            tasks = [asyncio.create_task(publisher.publish(TOPIC, [outgoing(b"%d" % n)])) for n in range(10)]
            await asyncio.sleep(0.05)
            for task in tasks[::2]:
                task.cancel()
            relay.mode = "pass"
            answers = await asyncio.gather(*tasks[1::2])
            assert all(isinstance(answer, str) for [answer] in answers)

    asyncio.run(main())


def test_closing_while_it_connects_leaves_nothing_behind(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            relay.mode = "hold"
            async with rigged(NsqOptions(nsqd=[relay.address])) as rig:
                await rig.publisher()
                await asyncio.sleep(0.02)
            assert asyncio.all_tasks() - {asyncio.current_task()} == relay._tasks

    asyncio.run(main())


def test_many_large_messages_at_once_use_few_connections(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay, rigged(NsqOptions(nsqd=[relay.address])) as rig:
            publisher = await rig.publisher()
            sent = [outgoing(b'"%s"' % (b"x" * 100 * KIB)) for _ in range(50)]
            answers = await asyncio.gather(*(publisher.publish(TOPIC, [each]) for each in sent))
            assert answers == [[each.id] for each in sent]
            assert relay.accepted <= 10

    asyncio.run(main())


def test_more_than_nsqd_takes_at_once_goes_in_parts(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            sent = [outgoing(b'"%s"' % (b"x" * 60 * KIB)) for _ in range(100)]
            assert await (await rig.publisher()).publish(TOPIC, sent) == [each.id for each in sent]
            got = await gather_messages(await rig.source(), 100)
            assert {each.id for each in got} == {each.id for each in sent}

    asyncio.run(main())

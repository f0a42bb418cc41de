from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.gcp import GcpProvider
from fastlane.resources.configuration import GcpOptions
from tests.pubsub.providers.gcp.rig import bound_subscription, bound_topic, outgoing, rigged
from tests.servers.spawned import free_port


def test_a_batch_answers_an_id_for_each_message(options):
    async def main():
        async with rigged(options) as rig:
            ids = await rig.publish(*[outgoing(b"%d" % n) for n in range(1000)])
            assert len({str(one) for one in ids}) == 1000
            assert all(isinstance(one, str) for one in ids)

    asyncio.run(main())


def test_one_that_can_not_be_packed_is_refused_and_the_others_are_taken(options):
    async def main():
        async with rigged(options) as rig:
            large = {f"long {n}": "x" * 20_000 for n in range(8)}
            first, refused, last = await rig.publish(outgoing(), outgoing(attributes=large), outgoing())
            assert isinstance(first, str)
            assert isinstance(last, str)
            assert isinstance(refused, PublishRefused)
            assert "topic signups: attributes that are long" in str(refused)

    asyncio.run(main())


def test_behind_a_message_that_fails_none_of_its_key_is_taken(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            large = {f"long {n}": "x" * 20_000 for n in range(8)}
            answers = await rig.publish(
                outgoing(b"a0", ordering_key="a"),
                outgoing(b"x0", ordering_key="x", attributes=large),
                outgoing(b"x1", ordering_key="x"),
                outgoing(b"b0", ordering_key="b"),
            )
            assert [isinstance(answer, str) for answer in answers] == [True, False, False, True]
            assert answers[2] is answers[1]
            assert isinstance(answers[1], PublishRefused)
            got = await rig.receive()
            await rig.source.ack(got)
            got += await rig.receive()
            assert {one.payload for one in got} == {b"a0", b"b0"}

    asyncio.run(main())


def test_a_topic_that_is_missing_refuses_and_says_how_to_make_it(options):
    async def main():
        publisher = await GcpProvider("gcp", options).open_publisher()
        answers = await publisher.publish(bound_topic("nowhere"), [outgoing(), outgoing()])
        assert [type(one) for one in answers] == [PublishRefused, PublishRefused]
        assert str(answers[0]) == (
            "topic nowhere: NOT_FOUND: Topic not found\n    mend: run `fastlane pubsub provision`"
        )
        await publisher.close()

    asyncio.run(main())


def test_a_broker_that_is_down_is_no_error_before_it_is_used():
    topic = bound_topic()
    options = GcpOptions(project="somewhere", endpoint=f"http://127.0.0.1:{free_port()}")

    async def main():
        provider = GcpProvider("gcp", options)
        publisher = await provider.open_publisher()
        source = await provider.open_source(bound_subscription(topic))
        administrator = await provider.open_administrator()
        [told] = await publisher.publish(topic, [outgoing()])
        assert isinstance(told, BrokerUnavailable)
        assert "can't be reached" in str(told)
        for awaitable in (source.receive(1), administrator.plan([topic], [])):
            with pytest.raises(BrokerUnavailable, match="can't be reached"):
                await awaitable
        for one in (publisher, source, administrator):
            await one.close()

    asyncio.run(main())


def test_publishing_goes_on_when_a_broker_that_hung_answers_again(options, emulator):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(outgoing())
            emulator.stop()
            try:
                publish = asyncio.ensure_future(rig.publish(outgoing(b"late")))
                await asyncio.wait([publish], timeout=0.3)
                assert not publish.done()
            finally:
                emulator.go_on()
            assert isinstance((await publish)[0], str)
            assert {one.payload for one in await rig.receive(2)} == {b'{"n":1}', b"late"}

    asyncio.run(main())


def test_the_emulator_may_be_named_by_the_environment(options, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", options.endpoint.removeprefix("http://"))

    async def main():
        topic = bound_topic()
        provider = GcpProvider("gcp", GcpOptions(project=options.project))
        administrator = await provider.open_administrator()
        assert len(await administrator.provision([topic], [bound_subscription(topic)])) == 4
        await administrator.close()

    asyncio.run(main())

from __future__ import annotations

import asyncio

import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import Backlog, BrokerUnavailable
from fastlane.pubsub.providers.nsq import NsqProvider
from fastlane.pubsub.providers.nsq.address import Address
from fastlane.pubsub.providers.nsq.discovery import _producers
from fastlane.resources.configuration.providers import NsqOptions
from tests.pubsub.providers.nsq.rig import TOPIC, bound_subscription, eventually, gather_messages, outgoing, rigged

MAIL = bound_subscription()


def test_every_nsqd_that_nsqlookupd_knows_is_consumed_also_one_that_comes_later(lookupd, start_nsqd):
    one, other = start_nsqd(lookupd=(lookupd,)), start_nsqd(lookupd=(lookupd,))
    options = NsqOptions(nsqd=[one.address, other.address], lookupd=[lookupd.http_address])

    async def main():
        async with rigged(options) as rig:
            source = await rig.source()
            publisher = await rig.publisher()
            for _ in range(4):
                await publisher.publish(TOPIC, [outgoing()])
            await gather_messages(source, 4)
            third = await asyncio.to_thread(start_nsqd, lookupd=(lookupd,))
            async with rigged(NsqOptions(nsqd=[third.address])) as there:
                sent = outgoing()
                await (await there.publisher()).publish(TOPIC, [sent])
                [got] = await gather_messages(source, 1)
                assert got.id == sent.id

    asyncio.run(main())


def test_an_nsqd_that_is_gone_is_not_tried_for_ever(lookupd, start_nsqd):
    one, other = start_nsqd(lookupd=(lookupd,)), start_nsqd(lookupd=(lookupd,))
    options = NsqOptions(nsqd=[one.address, other.address], lookupd=[lookupd.http_address])

    async def main():
        async with rigged(options) as rig:
            publisher, source = await rig.publisher(), await rig.source()
            for _ in range(2):
                await publisher.publish(TOPIC, [outgoing()])
            await gather_messages(source, 2)
            one.kill()
            waiting = asyncio.create_task(gather_messages(source, 1))

            async def addresses():
                return source._following.addresses()

            await eventually(addresses, {Address.parse(other.address, "")})
            await publisher.publish(TOPIC, [outgoing()])
            assert len(await waiting) == 1

    asyncio.run(main())


def test_while_nsqlookupd_is_down_what_is_connected_goes_on(lookupd, start_nsqd):
    nsqd = start_nsqd(lookupd=(lookupd,))
    options = NsqOptions(nsqd=[nsqd.address], lookupd=[lookupd.http_address])

    async def main():
        async with rigged(options) as rig:
            publisher, source = await rig.publisher(), await rig.source()
            await publisher.publish(TOPIC, [outgoing()])
            await gather_messages(source, 1)
            lookupd.kill()
            for _ in range(5):
                await publisher.publish(TOPIC, [outgoing()])
                await gather_messages(source, 1)
                await asyncio.sleep(0.1)
            fresh = await rig.source()
            with pytest.raises(BrokerUnavailable, match="no nsqlookupd answers"):
                await gather_receive(fresh)

    async def gather_receive(source):
        async with asyncio.timeout(40):
            while True:
                assert not await source.receive(1)

    asyncio.run(main())


def test_one_nsqlookupd_of_two_is_enough(lookupd, start_nsqd):
    nsqd = start_nsqd(lookupd=(lookupd,))
    options = NsqOptions(nsqd=[nsqd.address], lookupd=["127.0.0.1:9", lookupd.http_address])

    async def main():
        async with rigged(options) as rig:
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert len(await gather_messages(await rig.source(), 1)) == 1

    asyncio.run(main())


def test_with_nsqlookupd_alone_everything_is_found(lookupd, start_nsqd):
    start_nsqd(lookupd=(lookupd,))
    start_nsqd(lookupd=(lookupd,))

    async def main():
        async with rigged(NsqOptions(lookupd=[f"http://{lookupd.http_address}"]), MAIL) as rig:
            administrator = await rig.administrator()
            assert await administrator.plan([TOPIC], [MAIL]) == []
            publisher = await rig.publisher()
            for _ in range(4):
                [answer] = await publisher.publish(TOPIC, [outgoing()])
                assert isinstance(answer, str)
            await eventually(lambda: administrator.backlog(MAIL), Backlog(4, 0, 0, False))
            await gather_messages(await rig.source(), 4)
            await eventually(lambda: administrator.backlog(MAIL), Backlog(0, 0, 0, False))

    asyncio.run(main())


def test_with_nsqlookupd_alone_a_publish_goes_to_those_that_are_left(lookupd, start_nsqd):
    one, other = start_nsqd(lookupd=(lookupd,)), start_nsqd(lookupd=(lookupd,))

    async def main():
        async with rigged(NsqOptions(lookupd=[lookupd.http_address])) as rig:
            publisher = await rig.publisher()
            for _ in range(10):
                await publisher.publish(TOPIC, [outgoing()])
            one.stop()

            async def addresses():
                [answer] = await publisher.publish(TOPIC, [outgoing()])
                return isinstance(answer, str), set(publisher._pool._nodes)

            await eventually(addresses, (True, {Address.parse(other.address, "")}))

    asyncio.run(main())


def test_without_any_nsqd_a_publish_says_so(lookupd):
    async def main():
        async with rigged(NsqOptions(lookupd=[lookupd.http_address])) as rig:
            [answer] = await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert isinstance(answer, BrokerUnavailable)

    asyncio.run(main())


def test_answers_of_nsqlookupd_before_and_since_its_first_version_are_understood():
    producer = {"broadcast_address": "a", "tcp_port": 1, "http_port": 2, "hostname": "b"}
    assert _producers({"producers": [producer]}) == {("a", 1, 2)}
    assert _producers({"status_code": 200, "data": {"producers": [producer]}}) == {("a", 1, 2)}
    assert _producers(None) == _producers({"producers": None}) == _producers([]) == set()
    with pytest.raises(BrokerUnavailable, match="without an address"):
        _producers({"producers": [{"hostname": "b"}]})


@pytest.mark.parametrize("address", ["127.0.0.1", ":4150", "a:0", "a:65536", "a:x", "a:-1", ""])
@pytest.mark.parametrize("option", ["nsqd", "lookupd", "nsqd_http"])
def test_what_is_no_address_is_named(option, address):
    options = {"nsqd": ["127.0.0.1:4150"]} | {option: [address]}
    with pytest.raises(ConfigurationError, match=rf"\[providers.events\] {option} = {address!r}.*\n    mend: "):
        NsqProvider("events", NsqOptions(**options))


def test_addresses_are_read():
    assert Address.parse("broker.example:4150", "") == Address("broker.example", 4150)
    assert str(Address.parse("[::1]:4150", "")) == "[::1]:4150"
    provider = NsqProvider("events", NsqOptions(nsqd=["a:4150", "[::1]:5000"]))
    assert provider._nsqd_http == ["a:4151", "[::1]:5001"]
    with pytest.raises(ConfigurationError, match="no HTTP address"):
        NsqProvider("events", NsqOptions(lookupd=["ftp://a:1"]))

from __future__ import annotations

import asyncio

import msgspec
import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.aws import AwsProvider
from fastlane.resources.configuration import AwsOptions
from tests.pubsub.providers.aws.rig import bare, bound_subscription, bound_topic, outgoing, rigged
from tests.servers.spawned import free_port


def test_a_batch_answers_an_id_for_each_message(options):
    async def main():
        async with rigged(options) as rig:
            ids = await rig.publish(*[outgoing(b"%d" % n) for n in range(10)])
            assert len({str(one) for one in ids}) == 10
            assert all(isinstance(one, str) for one in ids)

    asyncio.run(main())


def test_messages_that_together_are_too_much_for_a_request_take_two(options):
    async def main():
        async with rigged(options) as rig:
            ids = await rig.publish(*[outgoing(b"x" * 100_000) for _ in range(5)])
            assert all(isinstance(one, str) for one in ids)
            assert len(await rig.receive(5)) == 5

    asyncio.run(main())


def test_more_than_sns_takes_is_refused_and_the_others_are_taken(options):
    async def main():
        async with rigged(options) as rig:
            first, refused, last = await rig.publish(outgoing(), outgoing(b"\xff" * 200_000), outgoing())
            assert isinstance(first, str)
            assert isinstance(last, str)
            assert isinstance(refused, PublishRefused)
            assert "topic signups" in str(refused)
            assert "262144" in str(refused)

    asyncio.run(main())


def test_behind_a_message_that_fails_none_of_its_key_is_taken(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig:
            answers = await rig.publish(
                outgoing(b"a0", ordering_key="a"),
                outgoing(b"a" * 300_000, ordering_key="a"),
                outgoing(b"b0", ordering_key="b"),
                outgoing(b"a2", ordering_key="a"),
                outgoing(b"n0"),
                outgoing(b"n1"),
            )
            assert [isinstance(answer, str) for answer in answers] == [True, False, True, False, True, True]
            assert answers[3] is answers[1]
            assert {one.payload for one in await rig.receive(4)} == {b"a0", b"b0", b"n0", b"n1"}

    asyncio.run(main())


def test_a_topic_that_is_missing_refuses_and_says_how_to_make_it(options):
    async def main():
        publisher = await AwsProvider("aws", options).open_publisher()
        [answer] = await publisher.publish(bound_topic("nowhere"), [outgoing()])
        assert isinstance(answer, PublishRefused)
        assert str(answer).startswith("topic nowhere: NotFound")
        assert "fastlane pubsub provision" in str(answer)
        await publisher.close()

    asyncio.run(main())


def test_a_broker_that_is_down_is_no_error_before_it_is_used():
    topic = bound_topic()
    options = AwsOptions(
        region="eu-central-1",
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="s3cret",
    )

    async def main():
        provider = AwsProvider("aws", options)
        publisher = await provider.open_publisher()
        source = await provider.open_source(bound_subscription(topic))
        administrator = await provider.open_administrator()
        by_arn = msgspec.structs.replace(topic, physical="arn:aws:sns:eu-central-1:1:signups")
        told = await publisher.publish(by_arn, [outgoing()])
        assert isinstance(told[0], BrokerUnavailable)
        texts = [str(told[0])]
        for awaitable in (
            publisher.publish(topic, [outgoing()]),
            source.receive(1),
            administrator.plan([topic], []),
        ):
            with pytest.raises(BrokerUnavailable) as raised:
                await awaitable
            texts.append(str(raised.value))
        assert not [text for text in texts if "AKIA" in text or "s3cret" in text]
        for one in (publisher, source, administrator):
            await one.close()

    asyncio.run(main())


def test_publishing_goes_on_when_a_broker_that_hung_answers_again(options, moto):
    async def main():
        async with rigged(options) as rig:
            await rig.publish(outgoing())
            moto.stop()
            try:
                publish = asyncio.ensure_future(rig.publish(outgoing(b"late")))
                await asyncio.wait([publish], timeout=0.3)
                assert not publish.done()
            finally:
                moto.go_on()
            assert isinstance((await publish)[0], str)
            assert {one.payload for one in await rig.receive(2)} == {b'{"n":1}', b"late"}

    asyncio.run(main())


def test_without_credentials_it_is_told_what_to_give(options, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = msgspec.structs.replace(options, access_key_id=None, secret_access_key=None)
    assumed = msgspec.structs.replace(nobody, role_arn="arn:aws:iam::123456789012:role/publisher")

    async def main():
        for who in (nobody, assumed):
            provider = AwsProvider("aws", who)
            publisher = await provider.open_publisher()
            with pytest.raises(PublishRefused, match="access_key_id"):
                await publisher.publish(bound_topic(), [outgoing()])
            administrator = await provider.open_administrator()
            with pytest.raises(BrokerForbidden, match="there are no credentials"):
                await administrator.plan([bound_topic()], [])
            await publisher.close()
            await administrator.close()

    asyncio.run(main())


def test_without_a_region_it_is_told_to_give_one(options, monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    nowhere = msgspec.structs.replace(options, region=None)

    async def main():
        with pytest.raises(ConfigurationError, match="give the provider a region"):
            await AwsProvider("aws", nowhere).open_publisher()

    asyncio.run(main())


@pytest.mark.parametrize("chain", [False, True])
def test_a_role_is_assumed(options, monkeypatch, chain):
    topic = bound_topic()
    role = "arn:aws:iam::123456789012:role/publisher"
    assumed = msgspec.structs.replace(options, role_arn=role)
    if chain:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
        assumed = msgspec.structs.replace(assumed, access_key_id=None, secret_access_key=None)

    async def main():
        async with rigged(assumed, topic) as rig, bare(options, "sts") as sts:
            assert isinstance((await rig.publish(outgoing()))[0], str)
            assert len(await rig.receive()) == 1
            assert (await sts.get_caller_identity())["Account"] == "123456789012"

    asyncio.run(main())


def test_what_the_credentials_may_not_do_is_refused(options, moto):
    topic = bound_topic()

    async def main():
        async with rigged(options, topic) as rig, bare(options, "iam") as iam:
            await iam.create_user(UserName="nobody")
            key = (await iam.create_access_key(UserName="nobody"))["AccessKey"]
            nobody = msgspec.structs.replace(
                options, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
            )
            provider = AwsProvider("aws", nobody)
            by_arn = msgspec.structs.replace(topic, physical="arn:aws:sns:eu-central-1:123456789012:signups")
            assert moto.request("POST", "/moto-api/reset-auth", "0") == 200
            try:
                publisher = await provider.open_publisher()
                [refused] = await publisher.publish(by_arn, [outgoing()])
                assert isinstance(refused, PublishRefused)
                assert "not authorized to perform: " in str(refused)
                source = await provider.open_source(rig.subscription)
                with pytest.raises(BrokerForbidden, match="queue signups-mail: "):
                    await source.receive(1)
                administrator = await provider.open_administrator()
                with pytest.raises(BrokerForbidden, match=r"topic .*signups: .*not authorized"):
                    await administrator.plan([by_arn], [])
                # And with a key that nobody knows.
                with pytest.raises(PublishRefused, match="account it is: InvalidClientTokenId\n"):
                    await rig.publish(outgoing())
                [refused] = await rig.publisher.publish(by_arn, [outgoing()])
                assert isinstance(refused, PublishRefused)
                assert str(refused) == f"topic {by_arn.physical}: InvalidClientTokenId"
            finally:
                assert moto.request("POST", "/moto-api/reset-auth", "inf") == 200
            for one in (publisher, source, administrator):
                await one.close()

    asyncio.run(main())

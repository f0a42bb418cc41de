from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerUnavailable, Step
from fastlane.pubsub.providers.aws import AwsProvider
from tests.pubsub.providers.aws.rig import Rig, bare, bound_subscription, bound_topic, letter, outgoing, rigged

ACCOUNT = "123456789012"


async def given_up(rig: Rig, *payloads: bytes) -> None:
    """A dead letter of each payload."""
    for payload in payloads:
        await rig.publish(outgoing(payload, ordering_key="a" if rig.topic.ordered else None))
        [got] = await rig.receive()
        await rig.source.dead_letter(got, letter(got))


async def url_of(sqs: Any, name: str) -> str:
    return str((await sqs.get_queue_url(QueueName=name))["QueueUrl"])


def test_the_plan_names_what_is_missing_and_provisioning_makes_it_once(options):
    topic = bound_topic()
    subscription = bound_subscription(topic)

    async def main():
        administrator = await AwsProvider("aws", options).open_administrator()
        plan = await administrator.plan([topic], [subscription])
        assert plan == [
            Step("create", "topic", "signups"),
            Step("create", "dead letters", "signups-mail-dead", "kept for 14 days"),
            Step("create", "subscription", "signups-mail", "dead letters after 40 receives, as a back-stop"),
            Step("create", "delivery", "signups-mail", "from signups, raw"),
        ]
        async with bare(options, "sqs") as sqs:
            assert "QueueUrls" not in await sqs.list_queues()
        assert await administrator.provision([topic], [subscription]) == plan
        assert await administrator.plan([topic], [subscription]) == []
        assert await administrator.provision([topic], [subscription]) == []
        await administrator.close()

    asyncio.run(main())


def test_two_may_provision_at_the_same_time(options):
    topic = bound_topic(ordered=True)
    subscription = bound_subscription(topic)

    async def main():
        administrators = [await AwsProvider("aws", options).open_administrator() for _ in range(3)]
        await asyncio.gather(*(one.provision([topic], [subscription]) for one in administrators))
        for administrator in administrators:
            assert await administrator.plan([topic], [subscription]) == []
            await administrator.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{"ordered": True}, {"exactly_once": True}])
def test_ordered_and_exactly_once_topics_are_fifo(options, kind):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic) as rig, bare(options, "sqs") as sqs:
            for name in ("signups-mail.fifo", "signups-mail-dead.fifo"):
                found = await sqs.get_queue_attributes(QueueUrl=await url_of(sqs, name), AttributeNames=["All"])
                assert found["Attributes"]["FifoQueue"] == "true"
            found = await sqs.get_queue_attributes(
                QueueUrl=await url_of(sqs, "signups-mail.fifo"), AttributeNames=["All"]
            )
            # The native policy would let a key's next message pass.
            assert ("RedrivePolicy" in found["Attributes"]) is not topic.ordered
            assert await rig.administrator.plan([topic], rig.subscriptions) == []

    asyncio.run(main())


@pytest.mark.parametrize("attempts", [None, 600])
def test_there_is_no_back_stop_without_a_limit_or_beyond_what_sqs_counts(options, attempts):
    topic = bound_topic()

    async def main():
        async with (
            rigged(options, topic, bound_subscription(topic, max_attempts=attempts)),
            bare(options, "sqs") as sqs,
        ):
            found = await sqs.get_queue_attributes(QueueUrl=await url_of(sqs, "signups-mail"), AttributeNames=["All"])
            assert "RedrivePolicy" not in found["Attributes"]

    asyncio.run(main())


def test_what_differs_is_planned_and_mended_and_what_others_added_stays(options):
    async def main():
        async with rigged(options) as rig, bare(options, "sqs") as sqs, bare(options, "sns") as sns:
            url = await url_of(sqs, "signups-mail")
            theirs = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": theirs})
            redrive = {"deadLetterTargetArn": f"arn:aws:sqs:eu-central-1:{ACCOUNT}:signups-mail-dead"}
            await sqs.set_queue_attributes(
                QueueUrl=url,
                Attributes={"Policy": policy, "RedrivePolicy": json.dumps(redrive | {"maxReceiveCount": 3})},
            )
            await sqs.set_queue_attributes(
                QueueUrl=await url_of(sqs, "signups-mail-dead"), Attributes={"MaximumMessageSize": "262144"}
            )
            [delivery] = (await sns.list_subscriptions())["Subscriptions"]
            await sns.set_subscription_attributes(
                SubscriptionArn=delivery["SubscriptionArn"],
                AttributeName="RawMessageDelivery",
                AttributeValue="false",
            )
            plan = await rig.administrator.plan([rig.topic], rig.subscriptions)
            assert [(step.action, step.what, step.physical) for step in plan] == [
                ("change", "dead letters", "signups-mail-dead"),
                ("change", "queue policy", "signups-mail"),
                ("change", "subscription", "signups-mail"),
                ("change", "delivery", "signups-mail"),
            ]
            assert await rig.administrator.provision([rig.topic], rig.subscriptions) == plan
            assert await rig.administrator.plan([rig.topic], rig.subscriptions) == []
            found = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "RedrivePolicy"])
            assert theirs in json.loads(found["Attributes"]["Policy"])["Statement"]
            assert json.loads(found["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 40

    asyncio.run(main())


def test_a_back_stop_on_an_ordered_queue_is_taken_away(options):
    topic = bound_topic(ordered=True)

    async def main():
        async with rigged(options, topic) as rig, bare(options, "sqs") as sqs:
            redrive = {
                "deadLetterTargetArn": f"arn:aws:sqs:eu-central-1:{ACCOUNT}:signups-mail-dead.fifo",
                "maxReceiveCount": 3,
            }
            await sqs.set_queue_attributes(
                QueueUrl=await url_of(sqs, "signups-mail.fifo"), Attributes={"RedrivePolicy": json.dumps(redrive)}
            )
            [*_, step] = await rig.administrator.plan([topic], rig.subscriptions)
            assert (step.action, step.detail) == ("change", "no redrive policy")
            await rig.administrator.provision([topic], rig.subscriptions)
            assert await rig.administrator.plan([topic], rig.subscriptions) == []

    asyncio.run(main())


def test_topics_and_queues_may_be_configured_by_arn_and_url(options):
    topic = msgspec.structs.replace(bound_topic(), physical=f"arn:aws:sns:eu-central-1:{ACCOUNT}:theirs")
    provider = AwsProvider("aws", options)
    arn = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:by-arn"
    url = f"{options.endpoint_url}/{ACCOUNT}/by-url"
    two = [
        bound_subscription(topic, name, physical=physical, dead=provider.default_dead_name(physical))
        for name, physical in (("one", arn), ("two", url))
    ]
    assert [one.dead for one in two] == [f"{arn}-dead", f"{url}-dead"]

    async def main():
        async with rigged(options, topic, *two) as rig:
            assert await rig.administrator.plan([topic], two) == []
            sent = outgoing()
            await rig.publish(sent)
            for source in rig.sources:
                [got] = await rig.receive(1, source)
                assert got.id == sent.id
                await source.dead_letter(got, letter(got))
            for subscription in two:
                assert len(await rig.administrator.dead_letters(subscription, 10)) == 1

    asyncio.run(main())


@pytest.mark.parametrize("what", ["topic", "subscription", "dead"])
def test_a_name_that_is_not_of_its_kind_is_refused(options, what):
    topic = bound_topic(ordered=True)
    subscription = bound_subscription(topic)
    if what == "topic":
        topic = msgspec.structs.replace(topic, physical="signups")
    else:
        field = "physical" if what == "subscription" else "dead"
        subscription = msgspec.structs.replace(subscription, **{field: "plain"})

    async def main():
        administrator = await AwsProvider("aws", options).open_administrator()
        with pytest.raises(ConfigurationError, match=r"does not end with \.fifo"):
            await administrator.plan([topic], [subscription])
        with pytest.raises(ConfigurationError, match=r"ends with \.fifo"):
            await administrator.plan([bound_topic("x.fifo")], [])
        await administrator.close()

    asyncio.run(main())


def test_a_topic_of_another_account_is_not_made_in_ours(options):
    topic = msgspec.structs.replace(bound_topic(), physical="arn:aws:sns:eu-central-1:999999999999:theirs")

    async def main():
        administrator = await AwsProvider("aws", options).open_administrator()
        with pytest.raises(ConfigurationError, match="not of the provider's account and region"):
            await administrator.provision([topic], [])
        await administrator.close()

    asyncio.run(main())


def test_the_backlog_of_a_queue_that_is_missing_says_so(options):
    async def main():
        administrator = await AwsProvider("aws", options).open_administrator()
        with pytest.raises(BrokerUnavailable, match=r"queue signups-mail.*\n    mend: run `fastlane pubsub provision`"):
            await administrator.backlog(bound_subscription(bound_topic()))
        await administrator.close()

    asyncio.run(main())


def test_dead_letters_stay_where_they_are(options):
    async def main():
        async with rigged(options) as rig:
            await given_up(rig, b"1", b"2", b"3")
            first = await rig.administrator.dead_letters(rig.subscription, 2)
            assert len(first) == 2
            letters = await rig.dead_letters()
            assert [one.payload for one in letters] == [b"1", b"2", b"3"]
            assert await rig.dead_letters() == letters

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{}, {"ordered": True}])
def test_replay_goes_to_that_subscription_alone_as_new_messages(options, kind):
    topic = bound_topic(**kind)
    two = [bound_subscription(topic, "mail"), bound_subscription(topic, "audit")]

    async def main():
        async with rigged(options, topic, *two) as rig:
            await given_up(rig, b"1", b"2", b"3")
            await rig.sources[1].ack(await rig.receive(3, rig.sources[1]))
            letters = await rig.dead_letters()
            assert await rig.administrator.replay(rig.subscription, None, 10) == 3
            got = await rig.receive(3)
            assert [one.id for one in sorted(got, key=lambda one: one.payload)] == [one.id for one in letters]
            assert {(one.attempt, one.ordering_key) for one in got} == {(1, letters[0].ordering_key)}
            assert {one.published_at for one in got} == {one.published_at for one in letters}
            backlogs = [await rig.administrator.backlog(one) for one in two]
            assert [(one.waiting, one.in_flight, one.dead) for one in backlogs] == [(0, 3, 0), (0, 0, 0)]
            # Once more, well within the five minutes in which FIFO queues look for duplicates.
            await rig.source.dead_letter(got[0], letter(got[0]))
            assert await rig.administrator.replay(rig.subscription, [got[0].id], 10) == 1

    asyncio.run(main())


def test_dead_letters_are_replayed_and_purged_by_their_ids(options):
    async def main():
        async with rigged(options) as rig:
            await given_up(rig, *[b"%02d" % n for n in range(12)])
            letters = await rig.dead_letters()
            assert await rig.administrator.replay(rig.subscription, [letters[11].id, "nobody"], 10) == 1
            [got] = await rig.receive()
            assert got.payload == b"11"
            assert await rig.administrator.purge(rig.subscription, [letters[0].id, letters[1].position], 10) == 2
            assert [one.payload for one in await rig.dead_letters()] == [b"%02d" % n for n in range(2, 11)]
            assert await rig.administrator.purge(rig.subscription, None, 4) == 4
            assert await rig.administrator.purge(rig.subscription, None, 100) == 5
            assert await rig.dead_letters() == []

    asyncio.run(main())


def test_what_the_back_stop_moved_is_a_dead_letter_of_the_delivery_limit(options):
    topic = bound_topic()

    async def main():
        async with (
            rigged(options, topic, bound_subscription(topic, max_attempts=1)) as rig,
            bare(options, "sqs") as sqs,
        ):
            sent = outgoing(attributes={"kind": "new"})
            await rig.publish(sent)
            for _ in range(22):
                await rig.source.release(await rig.receive())
            url = await url_of(sqs, "signups-mail")
            assert "Messages" not in await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
            [read] = await rig.dead_letters()
            assert (read.id, read.reason, read.source) == (sent.id, "delivery-limit", "signups/mail")
            assert (read.attributes, read.error) == (sent.attributes, "")
            assert await rig.administrator.replay(rig.subscription, None, 1) == 1
            assert [one.id for one in await rig.receive()] == [sent.id]

    asyncio.run(main())


def test_sqs_can_not_pause(options):
    async def main():
        administrator = await AwsProvider("aws", options).open_administrator()
        with pytest.raises(NotImplementedError, match="stop the workers"):
            await administrator.pause(bound_subscription(bound_topic()), True)
        await administrator.close()

    asyncio.run(main())

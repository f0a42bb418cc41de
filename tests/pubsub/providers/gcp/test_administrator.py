from __future__ import annotations

import asyncio

import msgspec
import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import Backlog, BrokerUnavailable, Step
from fastlane.pubsub.providers.gcp import GcpProvider
from tests.pubsub.providers.gcp.rig import Rig, bare, bound_subscription, bound_topic, letter, outgoing, rigged


async def given_up(rig: Rig, *payloads: bytes) -> None:
    """A dead letter of each payload."""
    for payload in payloads:
        await rig.publish(outgoing(payload, ordering_key="a" if rig.topic.ordered else None))
        [got] = await rig.receive()
        await rig.source.dead_letter(got, letter(got))


def test_the_plan_names_what_is_missing_and_provisioning_makes_it_once(options):
    topic = bound_topic()
    subscription = bound_subscription(topic)

    async def main():
        administrator = await GcpProvider("gcp", options).open_administrator()
        plan = await administrator.plan([topic], [subscription])
        assert plan == [
            Step("create", "topic", "signups"),
            Step("create", "dead letters", "signups-mail-dead", "their topic"),
            Step("create", "dead letters", "signups-mail-dead", "their subscription, kept for 7 days"),
            Step("create", "subscription", "signups-mail", "dead letters after 40 deliveries, as a back-stop"),
        ]
        assert await bare(options, "GET", "topics") == {}
        assert await administrator.provision([topic], [subscription]) == plan
        assert await administrator.plan([topic], [subscription]) == []
        assert await administrator.provision([topic], [subscription]) == []
        await administrator.close()

    asyncio.run(main())


def test_two_may_provision_at_the_same_time(options):
    topic = bound_topic(ordered=True, exactly_once=True)
    subscription = bound_subscription(topic)

    async def main():
        administrators = [await GcpProvider("gcp", options).open_administrator() for _ in range(3)]
        await asyncio.gather(*(one.provision([topic], [subscription]) for one in administrators))
        for administrator in administrators:
            assert await administrator.plan([topic], [subscription]) == []
            await administrator.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "attempts", "policy"),
    [
        ({}, 10, 40),
        ({}, 99, 100),
        ({}, 100, None),
        ({}, None, None),
        ({"exactly_once": True}, 1, 22),
        ({"ordered": True}, 10, None),
    ],
)
def test_a_subscription_is_made_as_its_topic_is_declared(options, kind, attempts, policy):
    topic = bound_topic(**kind)

    async def main():
        async with rigged(options, topic, bound_subscription(topic, max_attempts=attempts, ack_deadline=44.2)):
            found = await bare(options, "GET", "subscriptions/signups-mail")
            assert found.get("enableMessageOrdering", False) is topic.ordered
            assert found.get("enableExactlyOnceDelivery", False) is topic.exactly_once
            assert found["ackDeadlineSeconds"] == 45
            assert found["expirationPolicy"] == {}
            assert found.get("deadLetterPolicy", {}).get("maxDeliveryAttempts") == policy

    asyncio.run(main())


def test_what_differs_is_planned_and_mended(options):
    async def main():
        async with rigged(options) as rig:
            topic = msgspec.structs.replace(rig.topic, exactly_once=True)
            wanted = [bound_subscription(topic, ack_deadline=60, max_attempts=None)]
            plan = await rig.administrator.plan([topic], wanted)
            detail = "leases of 60 s, exactly-once delivery, no dead letter policy"
            assert plan == [Step("change", "subscription", "signups-mail", detail)]
            assert await rig.administrator.provision([topic], wanted) == plan
            assert await rig.administrator.plan([topic], wanted) == []
            found = await bare(options, "GET", "subscriptions/signups-mail")
            assert (found["ackDeadlineSeconds"], found["enableExactlyOnceDelivery"]) == (60, True)
            assert "deadLetterPolicy" not in found
            [back] = await rig.administrator.provision([rig.topic], rig.subscriptions)
            assert "no exactly-once delivery, dead letters after 40 deliveries" in back.detail
            assert await rig.administrator.plan([rig.topic], rig.subscriptions) == []

    asyncio.run(main())


def test_what_pubsub_can_not_change_is_refused(options):
    async def main():
        async with rigged(options) as rig:
            ordered = bound_topic(ordered=True)
            with pytest.raises(ConfigurationError, match=r"signups-mail has no message ordering.*\n    mend: "):
                await rig.administrator.plan([ordered], [bound_subscription(ordered)])
            other = bound_topic("other")
            moved = msgspec.structs.replace(rig.subscription, topic=other)
            with pytest.raises(ConfigurationError, match=r"belongs to projects/.*/topics/signups, not to"):
                await rig.administrator.provision([other], [moved])
            dead = msgspec.structs.replace(rig.subscription, dead="signups-mail")
            with pytest.raises(ConfigurationError, match="signups-mail belongs to"):
                await rig.administrator.provision([], [dead])
        async with rigged(options, bound_topic("keyed", ordered=True)) as rig:
            plain = bound_topic("keyed")
            with pytest.raises(ConfigurationError, match="keyed-mail has message ordering"):
                await rig.administrator.plan([plain], [bound_subscription(plain)])

    asyncio.run(main())


def test_topics_and_subscriptions_may_be_configured_by_their_full_names(options):
    elsewhere = f"projects/{options.project}-shared"
    topic = msgspec.structs.replace(bound_topic(), physical=f"{elsewhere}/topics/theirs")
    physical = f"{elsewhere}/subscriptions/ours"
    dead = GcpProvider("gcp", options).default_dead_name(physical)
    subscription = bound_subscription(topic, physical=physical, dead=dead)

    async def main():
        async with rigged(options, topic, subscription) as rig:
            assert await rig.administrator.plan([topic], [subscription]) == []
            await given_up(rig, b"1")
            assert len(await rig.dead_letters()) == 1
            assert await rig.administrator.replay(subscription, None, 10) == 1
            assert [one.payload for one in await rig.receive()] == [b"1"]

    asyncio.run(main())


def test_a_name_that_pubsub_does_not_take_is_refused(options):
    async def main():
        administrator = await GcpProvider("gcp", options).open_administrator()
        with pytest.raises(ConfigurationError, match="ab: INVALID_ARGUMENT"):
            await administrator.provision([bound_topic("ab")], [])
        await administrator.close()

    asyncio.run(main())


def test_the_backlog_is_unknown(options):
    async def main():
        async with rigged(options) as rig:
            assert await rig.administrator.backlog(rig.subscription) == Backlog(None, None, None, None)
            with pytest.raises(NotImplementedError, match="stop the workers"):
                await rig.administrator.pause(rig.subscription, True)

    asyncio.run(main())


def test_dead_letters_of_a_subscription_that_is_missing_say_so(options):
    async def main():
        administrator = await GcpProvider("gcp", options).open_administrator()
        with pytest.raises(BrokerUnavailable, match=r"signups-mail-dead: NOT_FOUND.*\n    mend: run `fastlane pubsub"):
            await administrator.dead_letters(bound_subscription(bound_topic()), 10)
        await administrator.close()

    asyncio.run(main())


def test_dead_letters_stay_where_they_are(options):
    async def main():
        async with rigged(options) as rig:
            await given_up(rig, b"1", b"2", b"3")
            assert len(await rig.administrator.dead_letters(rig.subscription, 2)) == 2
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
            for _ in range(3):
                await rig.sources[1].ack(await rig.receive(1, rig.sources[1]))
            letters = await rig.dead_letters()
            assert await rig.administrator.replay(rig.subscription, None, 10) == 3
            got = []
            for _ in range(3):
                got += await rig.receive()
                await rig.source.ack(got[-1:])
            assert [one.id for one in got] == [one.id for one in letters]
            assert {(one.attempt, one.ordering_key) for one in got} == {(1, letters[0].ordering_key)}
            assert [one.published_at for one in got] == [one.published_at for one in letters]
            assert [one.attributes for one in got] == [{}, {}, {}]
            assert await rig.dead_letters() == []
            # The other one passes them by.
            last = outgoing(b"last", ordering_key=letters[0].ordering_key)
            await rig.publish(last)
            assert [one.id for one in await rig.receive(1, rig.sources[1])] == [last.id]

    asyncio.run(main())


def test_a_replay_that_can_not_be_published_keeps_the_dead_letters(options):
    async def main():
        async with rigged(options) as rig:
            await given_up(rig, b"1")
            await bare(options, "DELETE", "topics/signups")
            with pytest.raises(BrokerUnavailable, match="topic signups"):
                await rig.administrator.replay(rig.subscription, None, 1)
            assert len(await rig.dead_letters()) == 1

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
        async with rigged(options, topic, bound_subscription(topic, max_attempts=1)) as rig:
            sent = outgoing(attributes={"kind": "new"})
            await rig.publish(sent)
            for _ in range(22):
                await rig.source.release(await rig.receive())
            # The emulator moves it when somebody asks for more.
            pull = {"maxMessages": 1, "returnImmediately": True}
            assert await bare(options, "POST", "subscriptions/signups-mail:pull", pull) == {}
            async with asyncio.timeout(40):
                while not (found := await rig.dead_letters()):
                    pass
            [read] = found
            assert (read.id, read.reason, read.source) == (sent.id, "delivery-limit", "signups/mail")
            assert (read.attributes, read.error, read.attempt) == (sent.attributes, "", 22)
            assert await rig.administrator.replay(rig.subscription, None, 1) == 1
            assert [one.id for one in await rig.receive()] == [sent.id]

    asyncio.run(main())

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import Backlog, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.nsq.http import Http
from tests.pubsub.providers.nsq.rig import (
    TOPIC,
    bound_subscription,
    eventually,
    gather_messages,
    letter,
    options_of,
    outgoing,
    rigged,
)

MAIL = bound_subscription()


def test_the_plan_is_what_is_missing_and_provisioning_makes_it_on_every_nsqd(start_nsqd):
    servers = [start_nsqd(), start_nsqd()]

    async def main():
        async with rigged(options_of(*servers)) as rig:
            administrator = await rig.administrator()
            both = ", ".join(each.http_address for each in servers)
            plan = await administrator.plan([TOPIC], [MAIL])
            assert [(step.action, step.what, step.physical, step.detail) for step in plan] == [
                ("create", "topic", "orders", f"topic on {both}"),
                ("create", "subscription", "orders-mail", f"channel of the topic orders on {both}"),
                ("create", "dead letters", "orders-mail-dead", f"topic with the channel dead on {both}"),
                ("create", "replays", "orders-mail-replay", f"topic with the channel orders-mail on {both}"),
            ]
            assert await administrator.plan([TOPIC], [MAIL]) == plan
            assert await administrator.provision([TOPIC], [MAIL]) == plan
            assert await administrator.plan([TOPIC], [MAIL]) == []
            assert await administrator.provision([TOPIC], [MAIL]) == []
            http = Http()
            await http.post(servers[1].http_address, "/channel/delete", {"topic": "orders", "channel": "orders-mail"})
            [step] = await administrator.plan([TOPIC], [MAIL])
            assert step.detail == f"channel of the topic orders on {servers[1].http_address}"
            await http.close()

    asyncio.run(main())


def test_two_may_provision_at_the_same_time(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            administrator = await rig.administrator()
            await asyncio.gather(*(administrator.provision([TOPIC], [MAIL]) for _ in range(5)))
            assert await administrator.plan([TOPIC], [MAIL]) == []

    asyncio.run(main())


def test_a_name_that_nsq_does_not_take_stops_the_plan(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            topic = type(TOPIC)(name="orders", physical="a topic")
            with pytest.raises(ConfigurationError, match="the topic 'orders' 'a topic'"):
                await (await rig.administrator()).plan([topic], [])

    asyncio.run(main())


def test_an_nsqd_that_is_down_is_named(nsqd):
    nsqd.stop()

    async def main():
        async with rigged(options_of(nsqd)) as rig:
            administrator = await rig.administrator()
            for asking in (administrator.plan([TOPIC], []), administrator.backlog(MAIL)):
                with pytest.raises(BrokerUnavailable, match=nsqd.http_address):
                    await asking
            with pytest.raises(BrokerUnavailable):
                await administrator.dead_letters(MAIL, 10)

    asyncio.run(main())


def test_a_paused_subscription_gets_nothing_until_it_is_resumed(nsqd):
    async def main():
        async with rigged(options_of(nsqd), MAIL) as rig:
            administrator, source = await rig.administrator(), await rig.source()
            await administrator.pause(MAIL, True)
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            waiting = asyncio.create_task(gather_messages(source, 1))
            await eventually(lambda: administrator.backlog(MAIL), Backlog(1, 0, 0, True))
            assert not waiting.done()
            await administrator.pause(MAIL, False)
            assert len(await waiting) == 1
            assert (await administrator.backlog(MAIL)).paused is False

    asyncio.run(main())


def test_the_backlog_of_what_is_not_there_is_nothing(nsqd):
    async def main():
        async with rigged(options_of(nsqd)) as rig:
            assert await (await rig.administrator()).backlog(MAIL) == Backlog(0, 0, 0, False)

    asyncio.run(main())


def test_dead_letters_are_listed_oldest_first_and_stay(start_nsqd):
    servers = [start_nsqd(), start_nsqd()]

    async def main():
        async with rigged(options_of(*servers), MAIL) as rig:
            administrator, source = await rig.administrator(), await rig.source()
            publisher = await rig.publisher()
            for number in range(6):
                await publisher.publish(TOPIC, [outgoing(b"%d" % number, attributes={"kind": "new"})])
            dead = await gather_messages(source, 6, acknowledge=False)
            letters = [letter(each, died_at=each.published_at + timedelta(minutes=1)) for each in dead]
            for each, story in zip(dead, letters, strict=True):
                await source.dead_letter(each, story)
            expected = sorted(letters, key=lambda each: each.died_at)
            for limit in (10, 10, 2):
                listed = await administrator.dead_letters(MAIL, limit)
                assert [each.id for each in listed] == [each.id for each in expected[:limit]]
            assert listed[0].position
            assert (listed[0].reason, listed[0].error, listed[0].source) == (
                "attempts",
                "ValueError: no",
                "orders/mail",
            )
            assert (listed[0].payload, listed[0].attributes) == (b"0", {"kind": "new"})
            await eventually(lambda: administrator.backlog(MAIL), Backlog(0, 0, 6, False))

    asyncio.run(main())


def test_a_replay_goes_to_its_subscription_alone_with_the_old_id_and_attempt_one(nsqd):
    audit = bound_subscription("audit")

    async def main():
        async with rigged(options_of(nsqd), MAIL, audit) as rig:
            administrator = await rig.administrator()
            mail, other = await rig.source(MAIL), await rig.source(audit)
            sent = [outgoing(b"%d" % number) for number in range(3)]
            await (await rig.publisher()).publish(TOPIC, sent)
            await gather_messages(other, 3)
            for each in await gather_messages(mail, 3, acknowledge=False):
                await mail.dead_letter(each, letter(each))
            assert await administrator.replay(MAIL, [sent[1].id, "no such id"], 10) == 1
            [got] = await gather_messages(mail, 1, acknowledge=False)
            assert (got.id, got.payload, got.attempt) == (sent[1].id, b"1", 1)
            assert got.published_at == sent[1].published_at
            await mail.ack([got])
            waiting = asyncio.create_task(gather_messages(other, 1))
            assert await administrator.replay(MAIL, None, 10) == 2
            assert {each.id for each in await gather_messages(mail, 2)} == {sent[0].id, sent[2].id}
            assert await administrator.dead_letters(MAIL, 10) == []
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])

    asyncio.run(main())


def test_replays_of_a_raw_topic_keep_their_id_and_time(nsqd):
    async def main():
        async with rigged(options_of(nsqd, envelope="raw"), MAIL) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"\xff")])
            [got] = await gather_messages(source, 1, acknowledge=False)
            await source.dead_letter(got, letter(got))
            assert await (await rig.administrator()).replay(MAIL, None, 1) == 1
            [again] = await gather_messages(source, 1, acknowledge=False)
            assert (again.id, again.payload, again.published_at) == (got.id, b"\xff", got.published_at)
            assert again.broker_id != got.broker_id

    asyncio.run(main())


def test_a_dead_letter_that_stands_twice_is_replayed_once(nsqd):
    async def main():
        async with rigged(options_of(nsqd), MAIL) as rig:
            source, administrator = await rig.source(), await rig.administrator()
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            [got] = await gather_messages(source, 1, acknowledge=False)
            await source.dead_letter(got, letter(got))
            await source.dead_letter(got, letter(got))
            assert len(await administrator.dead_letters(MAIL, 10)) == 2
            assert await administrator.replay(MAIL, None, 10) == 1
            assert await administrator.dead_letters(MAIL, 10) == []

    asyncio.run(main())


def test_a_purge_removes_what_was_named_or_the_oldest(nsqd):
    async def main():
        async with rigged(options_of(nsqd), MAIL) as rig:
            source, administrator = await rig.source(), await rig.administrator()
            sent = [outgoing() for _ in range(4)]
            await (await rig.publisher()).publish(TOPIC, sent)
            for each in await gather_messages(source, 4, acknowledge=False):
                await source.dead_letter(each, letter(each, died_at=each.published_at))
            assert await administrator.purge(MAIL, [sent[2].id], 10) == 1
            assert await administrator.purge(MAIL, None, 2) == 2
            assert [each.id for each in await administrator.dead_letters(MAIL, 10)] == [sent[3].id]

    asyncio.run(main())


def test_what_can_not_be_among_the_dead_letters_is_not_acknowledged(start_nsqd):
    nsqd = start_nsqd("--max-msg-size=350")

    async def main():
        async with rigged(options_of(nsqd), MAIL) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b'"%s"' % (b"x" * 200))])
            [got] = await gather_messages(source, 1, acknowledge=False)
            with pytest.raises(PublishRefused, match="max-msg-size"):
                await source.dead_letter(got, letter(got))
            assert await source.extend([got], 30.0) == []

    asyncio.run(main())

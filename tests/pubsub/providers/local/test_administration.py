from __future__ import annotations

import asyncio

from fastlane.pubsub.provider import Backlog, Step
from fastlane.pubsub.providers.local import administrator as administrator_module
from fastlane.pubsub.providers.local import source as source_module
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, letter, opened, outgoing, payloads, rigged, topic


def test_the_plan_says_what_is_missing_and_makes_nothing(tmp_path):
    async def main():
        async with rigged(tmp_path / "new") as rig:
            administrator = await rig.administrator()
            steps = [
                Step("create", "topic", "orders"),
                Step("create", "subscription", "orders-mail", "of topic orders"),
            ]
            assert await administrator.plan([TOPIC], [bound()]) == steps
            assert not rig.path.exists()
            assert await administrator.provision([TOPIC], [bound()]) == steps
            assert await administrator.plan([TOPIC], [bound()]) == []
            assert await administrator.provision([TOPIC], [bound()]) == []

    asyncio.run(main())


def test_a_subscription_moves_to_another_topic(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            administrator, publisher = await rig.administrator(), await rig.publisher()
            await administrator.provision([TOPIC], [bound()])
            other = topic("invoices")
            moved = bound(of=other).__class__(**{**_fields(bound()), "topic": other})
            (made, changed) = await administrator.provision([other], [moved])
            assert (made.action, changed.action) == ("create", "change")
            assert changed.detail == "of topic invoices, not of orders"
            await publisher.publish(other, [outgoing(b"there")])
            await publisher.publish(TOPIC, [outgoing(b"nowhere")])
            assert payloads(await gathered(await rig.source(moved), 1)) == [b"there"]
            assert await administrator.backlog(moved) == Backlog(0, 1, 0, False)

    asyncio.run(main())


def _fields(subscription):
    return {name: getattr(subscription, name) for name in subscription.__struct_fields__}


def test_messages_of_a_registered_subscription_wait_for_its_first_source(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            await (await rig.administrator()).provision([TOPIC], [bound()])
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"early")])
            assert payloads(await gathered(await rig.source(), 1)) == [b"early"]

    asyncio.run(main())


def test_the_backlog_counts_what_waits_runs_and_is_dead(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            administrator, source, publisher = await rig.administrator(), await rig.source(), await rig.publisher()
            assert await administrator.backlog(bound("unknown")) == Backlog(0, 0, 0, False)
            await publisher.publish(TOPIC, [outgoing(key="k"), outgoing(key="k"), outgoing(), outgoing(delay=60)])
            assert await administrator.backlog(bound()) == Backlog(4, 0, 0, False)
            first, second = await gathered(source, 2)
            assert await administrator.backlog(bound()) == Backlog(2, 2, 0, False)
            await source.dead_letter(first, letter(first))
            await source.retry(second, 60)
            assert await administrator.backlog(bound()) == Backlog(3, 0, 1, False)

    asyncio.run(main())


def test_a_paused_subscription_hands_out_nothing_until_it_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "PATIENCE", 0.1)

    async def main():
        async with rigged(tmp_path) as rig:
            administrator, publisher = await rig.administrator(), await rig.publisher()
            await administrator.pause(bound(), True)  # registers it, too
            source = await rig.source()
            await publisher.publish(TOPIC, [outgoing(b"held")])
            assert await source.receive(1) == ()
            assert await administrator.backlog(bound()) == Backlog(1, 0, 0, True)
            monkeypatch.setattr(source_module, "PATIENCE", 60.0)
            monkeypatch.setattr(source_module, "POLL", 60.0)
            waiting = asyncio.ensure_future(source.receive(1))
            await asyncio.sleep(0.02)
            await administrator.pause(bound(), False)
            async with asyncio.timeout(20):
                assert payloads(await waiting) == [b"held"]

    asyncio.run(main())


def test_dead_letters_are_listed_as_they_died(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            administrator, source, publisher = await rig.administrator(), await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"\x00", attributes={"a": "b"}, key="k"), outgoing(b"two")])
            got = await gathered(source, 2)
            letters = [letter(delivery, error="Ä: no") for delivery in got]
            for delivery, one in zip(got, letters, strict=True):
                await source.dead_letter(delivery, one)
            listed = await administrator.dead_letters(bound(), 10)
            assert [one.position for one in listed] == ["1", "2"]
            for one, sent in zip(listed, letters, strict=True):
                assert {**_fields(one), "position": ""} == _fields(sent)
            assert len(await administrator.dead_letters(bound(), 1)) == 1
            assert await administrator.dead_letters(bound("unknown"), 10) == []
            with opened(rig.path) as store:
                assert store.one("SELECT count(*) FROM delivery") == 0
                assert store.one("SELECT count(*) FROM message") == 2

    asyncio.run(main())


def test_a_replay_goes_to_its_subscription_alone_as_a_first_attempt(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            administrator, publisher = await rig.administrator(), await rig.publisher()
            source, other = await rig.source(bound("mail")), await rig.source(bound("other"))
            await publisher.publish(TOPIC, [outgoing(b"%d" % n, key="k" if n == 2 else None) for n in range(4)])
            await other.ack(await gathered(other, 4))
            got = await gathered(source, 4)
            for delivery in got:
                await source.dead_letter(delivery, letter(delivery))
            assert await administrator.replay(bound("mail"), [got[1].id], 10) == 1
            (again,) = await gathered(source, 1)
            assert (again.id, again.payload, again.attempt) == (got[1].id, b"1", 1)
            assert again.published_at == got[1].published_at
            assert await administrator.replay(bound("mail"), None, 2) == 2
            await source.ack([again, *(rest := await gathered(source, 2))])
            assert payloads(rest) == [b"0", b"2"]
            assert await administrator.replay(bound("unknown"), None, 2) == 0
            assert await administrator.backlog(bound("other")) == Backlog(0, 0, 0, False)
            assert await administrator.backlog(bound("mail")) == Backlog(0, 0, 1, False)
            assert await administrator.purge(bound("mail"), ["nobody"], 10) == 0
            assert await administrator.purge(bound("mail"), None, 10) == 1
            with opened(rig.path) as store:
                assert store.one("SELECT count(*) FROM message") == 0

    asyncio.run(main())


def test_a_replayed_message_waits_behind_its_key(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            administrator, source, publisher = await rig.administrator(), await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"0", key="k"), outgoing(b"1", key="k")])
            (first,) = await gathered(source, 1)
            await source.dead_letter(first, letter(first))
            (second,) = await gathered(source, 1)
            await administrator.replay(bound(), None, 10)
            assert (await administrator.backlog(bound())).waiting == 1
            await source.ack([second])
            assert payloads(await gathered(source, 1)) == [b"0"]

    asyncio.run(main())


def test_many_dead_letters_are_replayed_in_several_transactions(tmp_path, monkeypatch):
    monkeypatch.setattr(administrator_module, "CHUNK", 3)

    async def main():
        async with rigged(tmp_path) as rig:
            administrator, source, publisher = await rig.administrator(), await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"%d" % n) for n in range(8)])
            for delivery in await gathered(source, 8):
                await source.dead_letter(delivery, letter(delivery))
            assert await administrator.replay(bound(), None, 7) == 7
            assert await administrator.purge(bound(), None, 100) == 1
            assert payloads(await gathered(source, 7)) == [b"%d" % n for n in range(7)]

    asyncio.run(main())

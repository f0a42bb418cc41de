from __future__ import annotations

import asyncio
import time

from fastlane.pubsub.providers.local import source as source_module
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, letter, outgoing, payloads, rigged


def test_a_receive_without_messages_answers_without_any(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "PATIENCE", 0.05)

    async def main():
        async with rigged(tmp_path) as rig:
            assert await (await rig.source()).receive(10) == ()

    asyncio.run(main())


def test_a_receive_takes_no_more_than_it_was_asked_for(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"%d" % n) for n in range(5)])
            assert payloads(await source.receive(2)) == [b"0", b"1"]
            assert payloads(await source.receive(100)) == [b"2", b"3", b"4"]

    asyncio.run(main())


def test_a_waiting_receive_hears_the_doorbell(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "POLL", 60.0)

    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            for n in range(5):
                waiting = asyncio.ensure_future(source.receive(1))
                await asyncio.sleep(0.02)
                assert not waiting.done()
                await publisher.publish(TOPIC, [outgoing(b"%d" % n)])
                async with asyncio.timeout(20):
                    assert payloads(await waiting) == [b"%d" % n]

    asyncio.run(main())


def test_a_lease_that_lapses_lets_another_have_the_message_and_fences_the_first(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            one, two = await rig.source(bound(ack_deadline=0.2)), await rig.source(bound())
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"a"), outgoing(b"b")])
            mine = await gathered(one, 2)
            theirs = await gathered(two, 2)
            assert payloads(theirs) == [b"a", b"b"]
            assert [(delivery.attempt, delivery.receives) for delivery in theirs] == [(2, 2), (2, 2)]
            assert await one.extend(mine, 30) == mine
            assert await one.ack(mine) == mine
            await one.retry(mine[0], 0)
            await one.release(mine)
            await one.dead_letter(mine[0], letter(mine[0]))
            assert await two.extend(theirs, 30) == ()
            assert await two.ack(theirs) == ()
            assert (await (await rig.administrator()).backlog(bound())).dead == 0

    asyncio.run(main())


def test_of_several_leases_only_those_are_lost_that_are(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(), outgoing(), outgoing()])
            first, second, third = await gathered(source, 3)
            await source.ack([second])
            assert await source.extend([first, second, third], 30) == [second]
            await source.retry(first, 0)
            (again,) = await gathered(source, 1)
            assert await source.ack([first, again, third]) == [first]

    asyncio.run(main())


def test_an_extended_lease_holds(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            one, two = await rig.source(bound(ack_deadline=2)), await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"held")])
            got = await gathered(one, 1)
            await one.extend(got, 30)
            waiting = asyncio.ensure_future(two.receive(1))
            done, _ = await asyncio.wait([waiting], timeout=2.5)
            assert not done
            waiting.cancel()
            assert await one.ack(got) == ()

    asyncio.run(main())


def test_a_retry_comes_after_its_delay_as_the_next_attempt(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "POLL", 60.0)

    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing()])
            (got,) = await gathered(source, 1)
            began = time.monotonic()
            await source.retry(got, 0.3)
            (again,) = await gathered(source, 1)
            assert time.monotonic() - began > 0.29
            assert (again.id, again.attempt, again.receives) == (got.id, 2, 2)

    asyncio.run(main())


def test_a_release_is_no_attempt(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"a"), outgoing(b"b")])
            await source.release(await gathered(source, 2))
            again = await gathered(source, 2)
            assert [(d.payload, d.attempt, d.receives) for d in again] == [(b"a", 1, 2), (b"b", 1, 2)]

    asyncio.run(main())


def test_nothing_asked_is_nothing_done(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            assert await source.ack([]) == ()
            assert await source.extend([], 1) == ()
            await source.release([])

    asyncio.run(main())


def test_a_delayed_message_comes_when_it_is_due_also_without_a_poll(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "POLL", 60.0)

    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            began = time.monotonic()
            await publisher.publish(TOPIC, [outgoing(b"late", delay=0.3), outgoing(b"century", delay=3e9)])
            await publisher.publish(TOPIC, [outgoing(b"now"), outgoing(b"never", delay=1e300)])
            assert payloads(await gathered(source, 1)) == [b"now"]
            assert payloads(await gathered(source, 1)) == [b"late"]
            assert time.monotonic() - began > 0.29
            assert (await (await rig.administrator()).backlog(bound())).waiting == 2

    asyncio.run(main())


def test_a_cancelled_receive_gives_back_what_it_was_about_to_bring(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"%d" % n) for n in range(10)])
            for _ in range(20):
                receiving = asyncio.ensure_future(source.receive(10))
                await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait([receiving])
            got = await gathered(source, 10)
            assert sorted(payloads(got)) == [b"%d" % n for n in range(10)]
            assert {delivery.attempt for delivery in got} == {1}

    asyncio.run(main())


def test_a_source_that_closes_hands_back_what_it_still_had(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            one, two = await rig.source(), await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"a"), outgoing(b"b"), outgoing(b"c")])
            first, _, _ = await gathered(one, 3)
            await one.ack([first])
            waiting = asyncio.ensure_future(gathered(two, 2))
            await one.close()
            await one.close()
            assert payloads(await waiting) == [b"b", b"c"]
            assert await one.receive(1) == ()

    asyncio.run(main())


def test_a_receive_ends_when_its_source_closes(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            waiting = asyncio.ensure_future(source.receive(1))
            await asyncio.sleep(0.02)
            await source.close()
            async with asyncio.timeout(20):
                assert await waiting == ()

    asyncio.run(main())

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import pytest

from fastlane.errors import FastlaneError, ResourceExhausted
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.local import StorageFull
from fastlane.pubsub.providers.local import store as store_module
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, opened, outgoing, payloads, rigged, topic


def test_what_is_published_arrives_as_it_was(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            sent = outgoing(b"\x00\xff not json", attributes={"näme": "wert\n"}, key="k")
            (number,) = await (await rig.publisher()).publish(TOPIC, [sent])
            (got,) = await gathered(source, 1)
            assert (got.id, got.payload, got.attributes) == (sent.id, sent.payload, sent.attributes)
            assert (got.ordering_key, got.published_at, got.broker_id) == ("k", sent.published_at, number)
            assert (got.attempt, got.receives) == (1, 1)

    asyncio.run(main())


def test_every_subscription_gets_each_message_and_the_body_goes_with_the_last(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            first, second = await rig.source(bound("mail")), await rig.source(bound("audit"))
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"%d" % n) for n in range(3)])
            one = await gathered(first, 3)
            assert payloads(one) == [b"0", b"1", b"2"]
            await first.ack(one)
            with opened(rig.path) as store:
                assert store.one("SELECT count(*) FROM message") == 3
            other = await gathered(second, 3)
            assert payloads(other) == [b"0", b"1", b"2"]
            await second.ack(other)
            with opened(rig.path) as store:
                assert store.one("SELECT count(*) FROM message") == 0

    asyncio.run(main())


def test_a_topic_without_subscriptions_takes_messages_and_keeps_none(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            sent = outgoing()
            await (await rig.administrator()).provision([TOPIC], [])
            publisher = await rig.publisher()
            assert await publisher.publish(TOPIC, [sent]) == [sent.id]
            assert await publisher.publish(TOPIC, []) == []
            with opened(rig.path) as store:
                assert store.one("SELECT count(*) FROM message") == 0

    asyncio.run(main())


def test_a_topic_that_the_file_does_not_know_is_not_confirmed(tmp_path):
    # The boot has registered it, so this is another file: who deletes it under a running app must not lose more.
    async def main():
        async with rigged(tmp_path) as rig:
            publisher = await rig.publisher()
            (answer,) = await publisher.publish(TOPIC, [outgoing()])
            assert isinstance(answer, BrokerUnavailable)
            assert "pubsub.db: knows no topic 'orders'" in str(answer)
            assert "mend: restart" in str(answer)

    asyncio.run(main())


def test_many_publishes_at_the_same_time_are_all_confirmed_and_kept(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            other = topic("invoices")
            invoices = await rig.source(bound(of=other))
            batches = [[outgoing(b"%d-%d" % (n, m)) for m in range(n % 5 + 1)] for n in range(60)]
            calls = [publisher.publish(TOPIC if n % 3 else other, batch) for n, batch in enumerate(batches)]
            answers = [answer for answers in await asyncio.gather(*calls) for answer in answers]
            assert len(set(answers)) == sum(map(len, batches))
            expected = [m.payload for n, batch in enumerate(batches) for m in batch if n % 3]
            assert sorted(payloads(await gathered(source, len(expected)))) == sorted(expected)
            rest = [m.payload for n, batch in enumerate(batches) for m in batch if not n % 3]
            assert sorted(payloads(await gathered(invoices, len(rest)))) == sorted(rest)

    asyncio.run(main())


def test_a_large_batch_keeps_its_order(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            messages = [outgoing(b"%d" % n) for n in range(300)]
            answers = await (await rig.publisher()).publish(TOPIC, messages)
            assert sorted(answers, key=int) == answers
            assert payloads(await gathered(source, 300, limit=300)) == [m.payload for m in messages]

    asyncio.run(main())


def test_exactly_once_delivers_a_repeated_dedupe_id_once(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            exact = topic(exactly_once=True)
            source, publisher = await rig.source(bound(of=exact)), await rig.publisher()
            once, again, other = outgoing(dedupe_id="a"), outgoing(dedupe_id="a"), outgoing(dedupe_id="b")
            first = await publisher.publish(exact, [once, again, other])
            assert first[0] == first[1] != first[2]
            assert await publisher.publish(exact, [again, outgoing(dedupe_id="b")]) == [first[0], first[2]]
            got = await gathered(source, 2)
            assert [delivery.id for delivery in got] == [once.id, other.id]
            assert await source.ack(got) == ()
            # Also when the message is done with.
            assert await publisher.publish(exact, [again]) == [first[0]]
            assert (await (await rig.administrator()).backlog(bound(of=exact))).waiting == 0

    asyncio.run(main())


def test_at_least_once_does_not_look_at_the_dedupe_id(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            sent = outgoing()
            await publisher.publish(TOPIC, [sent])
            await publisher.publish(TOPIC, [sent])
            assert [delivery.id for delivery in await gathered(source, 2)] == [sent.id, sent.id]

    asyncio.run(main())


def test_beyond_max_bytes_publishing_is_refused_until_something_was_consumed(tmp_path):
    async def main():
        async with rigged(tmp_path, max_bytes="256KiB") as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await (await rig.administrator()).provision([topic("nobody")], [])
            taken = 0
            while not isinstance(answer := (await publisher.publish(TOPIC, [outgoing(b"x" * 8192)]))[0], Exception):
                taken += 1
            assert isinstance(answer, StorageFull)
            assert isinstance(answer, ResourceExhausted)
            assert isinstance(answer, PublishRefused)
            assert (answer.status, answer.code) == (429, "resource_exhausted")
            assert "mend:" in str(answer)
            assert 10 < taken < 40
            assert await publisher.publish(topic("nobody"), [sent := outgoing()]) == [sent.id]
            await source.ack(await gathered(source, taken))
            assert isinstance((await publisher.publish(TOPIC, [outgoing()]))[0], str)

    asyncio.run(main())


def test_far_below_max_bytes_the_size_is_not_looked_at_each_time(tmp_path, monkeypatch):
    with opened(tmp_path / "pubsub.db", max_bytes=store_module.ROOM + (1 << 20)) as store:
        asked = []
        one = store.one
        monkeypatch.setattr(store, "one", lambda sql, *rest: asked.append(sql) or one(sql, *rest))
        assert [store.is_full() for _ in range(3)] == [False] * 3
        assert asked == ["PRAGMA page_count"]
        with store.transaction(durable=False):
            store.execute("INSERT INTO message VALUES (1, 'id', NULL, 0, 0, 0, NULL, zeroblob(2000000))")
        monkeypatch.setattr(store, "_roomy_until", 0.0)
        asked.clear()
        assert [store.is_full() for _ in range(3)] == [False] * 3
        assert asked == ["PRAGMA page_count"] * 3


def test_text_that_is_none_is_refused_alone_and_keeps_its_key_back(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            bad = outgoing(b"bad", key="k", attributes={"a": "\ud800"})
            sent = [outgoing(b"0", key="k"), bad, outgoing(b"2", key="k"), outgoing(b"3", key="other"), outgoing(b"4")]
            answers = await publisher.publish(TOPIC, sent)
            assert [isinstance(answer, PublishRefused) for answer in answers] == [False, True, True, False, False]
            assert sorted(payloads(await gathered(source, 3))) == [b"0", b"3", b"4"]
            assert [type(e) for e in await publisher.publish(TOPIC, [bad])] == [PublishRefused]

    asyncio.run(main())


def test_a_message_that_makes_the_transaction_fail_takes_no_other_with_it(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            wrong = outgoing("no bytes")  # type: ignore[arg-type]
            calls = [publisher.publish(TOPIC, [m]) for m in (outgoing(b"0"), wrong, outgoing(b"2"))]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(answers[1], sqlite3.IntegrityError)
            assert sorted(payloads(await gathered(source, 2))) == [b"0", b"2"]

    asyncio.run(main())


def test_a_publish_that_nobody_waits_for_any_more_harms_nobody(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            call = asyncio.ensure_future(publisher.publish(TOPIC, [outgoing(b"0")]))
            await asyncio.sleep(0)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            await publisher.publish(TOPIC, [outgoing(b"1")])
            assert payloads(await gathered(source, 2)) == [b"0", b"1"]

    asyncio.run(main())


def test_a_file_that_others_keep_locked_is_unavailable_for_a_while(tmp_path, monkeypatch):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            other = sqlite3.connect(rig.path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with monkeypatch.context() as patch:
                patch.setattr(store_module, "BUSY_PATIENCE", 0.05)
                with pytest.raises(BrokerUnavailable, match="locked for too long"):
                    await publisher.publish(TOPIC, [outgoing(b"0")])
            other.execute("COMMIT")
            other.close()
            await publisher.publish(TOPIC, [outgoing(b"1")])
            assert payloads(await gathered(source, 1)) == [b"1"]

    asyncio.run(main())


def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"kept")])
            # SQLite's own limit of pages gives the error that a full disk gives.
            store = publisher._database._store
            pages = store.one("PRAGMA page_count")
            store.one(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(BrokerUnavailable, match="disk is full"):
                await publisher.publish(TOPIC, [outgoing(b"x" * 100_000)])
            store.one(f"PRAGMA max_page_count = {pages + 1000}")
            await publisher.publish(TOPIC, [outgoing(b"later")])
            assert payloads(await gathered(source, 2)) == [b"kept", b"later"]

    with pytest.MonkeyPatch.context() as patch:
        # The store belongs to its thread; nothing else runs there while this test looks inside.
        connect = sqlite3.connect
        patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, check_same_thread=False))
        asyncio.run(main())


def test_a_closed_publisher_says_so(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            publisher = await rig.publisher()
            await publisher.close()
            await publisher.close()
            with pytest.raises(BrokerUnavailable, match="closed"):
                await publisher.publish(TOPIC, [outgoing()])

    asyncio.run(main())


def test_a_publisher_that_was_opened_before_a_fork_says_so_in_the_child(tmp_path, monkeypatch):
    async def main():
        async with rigged(tmp_path) as rig:
            publisher = await rig.publisher()
            pid = publisher._database._process
            publisher._database._process = -1  # as the child sees it
            with pytest.raises(FastlaneError, match="before this process was forked"):
                await publisher.publish(TOPIC, [outgoing()])
            publisher._database._process = pid

    asyncio.run(main())

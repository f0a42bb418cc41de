from __future__ import annotations

import asyncio
import os
import sqlite3
import threading

import pytest

from fastlane.pubsub.providers.local import housekeeping
from fastlane.pubsub.providers.local.housekeeping import Housekeeper, checkpoint, purge_old, shrink
from fastlane.pubsub.providers.local.store import StoreOptions
from fastlane.resources.leader import Leader
from tests.pubsub.providers.local.rig import (
    TOPIC,
    bound,
    gathered,
    letter,
    opened,
    outgoing,
    payloads,
    rigged,
    topic,
)

DAY = 86_400_000


@pytest.fixture
def alone(tmp_path):
    """Housekeeping is done by the test, and not beside it."""
    with Leader(tmp_path / "pubsub.db.leader") as leader:
        assert leader.try_hold()
        yield


def age(store, days, where="1"):
    """Make messages older."""
    store.execute(
        f"UPDATE message SET stored_at = stored_at - ?, due_at = max(0, due_at - ?) WHERE {where}", (days * DAY,) * 2
    )


def test_messages_beyond_the_retention_are_given_up_and_told(tmp_path, caplog, alone):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            old = [outgoing(b"k0", key="k"), outgoing(b"old"), outgoing(b"delayed", delay=30 * 86_400)]
            await publisher.publish(TOPIC, old)
            with opened(rig.path) as store:
                age(store, 8)
            await publisher.publish(TOPIC, [outgoing(b"k1", key="k"), outgoing(b"new")])
            with opened(rig.path) as store:
                assert purge_old(store) == 2
                assert purge_old(store) == 0
                assert store.one("SELECT count(*) FROM message") == 3
            # The key goes on with its next message.
            assert payloads(await gathered(source, 2)) == [b"k1", b"new"]

    asyncio.run(main())
    assert "messages given up after 604800 s, as nobody acknowledged them: 2 of orders-mail" in caplog.text


def test_what_runs_and_what_is_dead_is_not_given_up(tmp_path, alone):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"dead"), outgoing(b"runs")])
            dead, runs = await gathered(source, 2)
            await source.dead_letter(dead, letter(dead))
            with opened(rig.path) as store:
                age(store, 30)
                assert purge_old(store) == 0
            assert await source.ack([runs]) == ()
            assert len(await (await rig.administrator()).dead_letters(bound(), 10)) == 1

    asyncio.run(main())


def test_many_old_messages_are_given_up_in_several_transactions(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(housekeeping, "CHUNK", 3)

    async def main():
        async with rigged(tmp_path) as rig:
            await rig.source()
            await rig.source(bound("other"))
            await (await rig.publisher()).publish(TOPIC, [outgoing() for _ in range(8)])
            with opened(rig.path) as store:
                age(store, 8, "seq <> (SELECT max(seq) FROM message)")
                assert purge_old(store) == 14
                assert store.one("SELECT count(*) FROM message") == 1

    asyncio.run(main())


def test_a_dedupe_id_is_remembered_for_its_window_and_as_long_as_its_message_waits(tmp_path, alone):
    async def main():
        async with rigged(tmp_path) as rig:
            exact = topic(exactly_once=True)
            source, publisher = await rig.source(bound(of=exact)), await rig.publisher()
            await publisher.publish(exact, [outgoing(dedupe_id="done"), outgoing(dedupe_id="waits")])
            await source.ack(await gathered(source, 1))
            with opened(rig.path) as store:
                purge_old(store)
                assert store.one("SELECT count(*) FROM seen") == 2
                store.execute("UPDATE seen SET expires_at = 0")
                purge_old(store)
                assert store.one("SELECT group_concat(dedupe_id) FROM seen") == "waits"

    asyncio.run(main())


def test_a_checkpoint_copies_only_after_somebody_has_written(tmp_path):
    path = tmp_path / "pubsub.db"
    with opened(path) as writer, opened(path) as store, opened(path) as lock:
        version, _ = checkpoint(store, lock, None)
        assert checkpoint(store, lock, version) == (version, 0)
        for n in range(1200):
            writer.execute("INSERT OR REPLACE INTO topic VALUES (?)", (f"{n % 7}" * 100,))
        size = os.stat(f"{path}-wal").st_size
        changed, pages = checkpoint(store, lock, version)
        assert changed != version
        assert pages >= 1200
        # The WAL begins anew, in the file as long as it is.
        for n in range(100):
            writer.execute("INSERT OR REPLACE INTO topic VALUES (?)", (f"{n % 7}" * 100,))
        assert os.stat(f"{path}-wal").st_size == size
        _, pages = checkpoint(store, lock, changed)
        assert 100 <= pages < 200
        assert writer.one("SELECT count(*) FROM topic") == 7


def test_what_was_read_leaves_nothing_open_that_keeps_the_wal_from_beginning_anew(tmp_path):
    path = tmp_path / "pubsub.db"
    with opened(path) as reader, opened(path) as other:
        for n in range(3):
            other.execute("INSERT INTO topic VALUES (?)", (f"{n}",))
        for read in (
            lambda: reader.one("SELECT count(*) FROM topic"),
            lambda: reader.one("SELECT name FROM topic WHERE name = ?", ("1",)),
            lambda: reader.row("SELECT max(name), 1 FROM topic WHERE name > ?", ("0",)),
            lambda: reader.one("PRAGMA page_count"),
        ):
            assert read()
            other.execute("INSERT OR REPLACE INTO topic VALUES ('0')")
            assert other.row("PRAGMA wal_checkpoint(RESTART)", ())[0] == 0  # nobody was in the way


def test_a_file_that_has_become_empty_shrinks(tmp_path, monkeypatch):
    path = tmp_path / "pubsub.db"
    monkeypatch.setattr(housekeeping, "LARGE_FILE", 1 << 20)
    with opened(path) as store, opened(path) as lock:
        assert not shrink(store)
        for n in range(200):
            store.execute("INSERT INTO message VALUES (?, 'id', NULL, 0, 0, 0, NULL, zeroblob(10000))", (n,))
        store.execute("DELETE FROM message")
        checkpoint(store, lock, None)
        assert path.stat().st_size > 1 << 20
        assert shrink(store)
        checkpoint(store, lock, None)
        assert path.stat().st_size < 200_000


def eventually(said, caplog):
    patience = threading.Event()
    for _ in range(3000):
        if said in caplog.text:
            return True
        patience.wait(0.01)
    return False


def options(path):
    return StoreOptions(path=str(path), full=True, max_bytes=1 << 30, retention=1.0)


def test_trouble_is_told_once_and_housekeeping_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(housekeeping, "FOLLOWING", 0.01)
    (tmp_path / "pubsub.db").mkdir()
    keeper = Housekeeper(options(tmp_path / "pubsub.db"))
    assert eventually("housekeeping of the local broker failed", caplog)
    (tmp_path / "pubsub.db").rmdir()
    other = Leader(tmp_path / "pubsub.db.leader")
    assert not other.try_hold()
    patience = threading.Event()
    for _ in range(3000):
        if (tmp_path / "pubsub.db").exists():
            break
        patience.wait(0.01)
    keeper.nudge()
    keeper.stop()
    keeper.join(30)
    assert (tmp_path / "pubsub.db").is_file()
    assert caplog.text.count("failed") == 1
    assert other.try_hold()
    other.release()


def test_one_keeps_house_and_another_follows(tmp_path, monkeypatch):
    monkeypatch.setattr(housekeeping, "FOLLOWING", 0.01)
    path = tmp_path / "pubsub.db"
    with opened(path):
        pass
    leader = Leader(f"{path}.leader")
    assert leader.try_hold()
    keeper = Housekeeper(options(path))
    connection = sqlite3.connect(path)
    latest = "SELECT max(latest) FROM clock"
    before = connection.execute(latest).fetchone()
    leader.release()
    patience = threading.Event()
    for _ in range(3000):
        if connection.execute(latest).fetchone() > before:
            break
        patience.wait(0.01)
    assert connection.execute(latest).fetchone() > before
    connection.close()
    keeper.stop()
    keeper.join(30)


def test_the_first_of_all_makes_the_directory_and_has_nothing_to_complain_of(tmp_path, caplog):
    path = tmp_path / "new" / "state" / "pubsub.db"
    housekeeper = Housekeeper(StoreOptions(path=str(path), full=True, max_bytes=1 << 30, retention=60.0))
    patience = threading.Event()
    for _ in range(3000):  # one that is stopped at once may have done nothing
        if path.exists():
            break
        patience.wait(0.01)
    housekeeper.stop()
    housekeeper.join(30)
    assert path.exists()
    assert caplog.messages == []

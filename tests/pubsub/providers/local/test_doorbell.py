from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import pytest

from fastlane.pubsub.providers.local import doorbell
from fastlane.pubsub.providers.local.doorbell import Bell, Ringer, bell_directory
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, outgoing, payloads, rigged


@pytest.fixture
def short():
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


async def rung(event: asyncio.Event) -> bool:
    async with asyncio.timeout(20):
        return await event.wait()


async def silent(event: asyncio.Event) -> bool:
    await asyncio.sleep(0.2)
    return not event.is_set()


def test_a_ring_reaches_the_bells_of_its_subscription(short):
    async def main():
        first, second, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
        bells = [Bell(short, 1, first), Bell(short, 1, second), Bell(short, 12, other)]
        ringer = Ringer(short)
        ringer.ring_new([1, 7])
        assert await rung(first)
        assert await rung(second)
        assert await silent(other)
        first.clear()
        ringer.ring_new([1])
        assert await silent(first)
        ringer.ring([1])
        assert await rung(first)
        late = asyncio.Event()
        bells.append(Bell(short, 12, late))
        ringer.ring_new([12])
        assert await rung(late)
        for bell in bells:
            bell.close()
        assert list(short.iterdir()) == []
        ringer.ring([1, 12])
        ringer.close()

    asyncio.run(main())


def test_a_bell_that_nobody_empties_keeps_no_ringer_waiting(short):
    async def main():
        event = asyncio.Event()
        bell = Bell(short, 1, event)
        ringer = Ringer(short)
        ringer.ring_new([1])
        for _ in range(5000):  # the loop does not run meanwhile
            ringer.ring([1])
        assert await rung(event)
        event.clear()
        await asyncio.sleep(0)
        bell.close()
        ringer.close()

    asyncio.run(main())


def test_the_bell_of_a_source_that_died_is_removed(short):
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(short / "3.dead"))
    dead.close()
    (short / "not-a-bell").touch()
    ringer = Ringer(short)
    ringer.ring_new([3])
    assert [path.name for path in short.iterdir()] == ["not-a-bell"]
    ringer.ring([3])
    ringer.close()


def test_the_last_one_removes_the_directory_and_the_next_makes_it_again(short):
    async def main():
        async with rigged(short) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            (short / "pubsub.db.bells").rename(short / "elsewhere")
            second = await rig.source(bound("second"))
            assert len(list((short / "pubsub.db.bells").iterdir())) == 1
            await publisher.publish(TOPIC, [outgoing(b"both")])
            assert payloads(await gathered(source, 1)) == payloads(await gathered(second, 1)) == [b"both"]
        assert not (short / "pubsub.db.bells").exists()

    asyncio.run(main())


def test_a_directory_that_others_leave_at_the_same_moment_is_made_again(short, monkeypatch):
    # 25 of 47,000 had no bell, with eight processes that came and went.
    lstat, is_ours, left = os.lstat, doorbell._is_ours, []

    def leave(path):
        if len(left) < 3:
            left.append(path)
            os.rmdir(path)

    def looked_at(path):
        leave(path)
        return lstat(path)

    def made(directory):
        found = is_ours(directory)
        leave(directory)
        return found

    async def main(directory):
        bell = Bell(directory, 1, asyncio.Event())
        assert len(list(directory.iterdir())) == 1
        bell.close()

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", looked_at)
        directory = bell_directory(str(short / "f"))
    assert directory is not None
    left.clear()
    directory.rmdir()
    monkeypatch.setattr(doorbell, "_is_ours", made)
    asyncio.run(main(directory))


def test_others_that_never_stop_leaving_cost_time_only(short, monkeypatch):
    monkeypatch.setattr(doorbell, "_is_ours", lambda _: True)

    async def main():
        with pytest.raises(FileNotFoundError, match="again and again"):
            Bell(short / "gone", 1, asyncio.Event())

    asyncio.run(main())
    monkeypatch.undo()
    lstat = os.lstat

    def looked_at(path):
        os.rmdir(path)
        return lstat(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", looked_at)
        assert bell_directory(str(short / "f")) is None


def test_a_ringer_without_its_directory_does_nothing(short):
    (short / "gone").mkdir()
    ringer = Ringer(short / "gone")
    (short / "gone").rmdir()
    ringer.ring([1])
    ringer.ring_new([1])
    ringer.close()


def test_a_long_path_has_its_bells_in_the_directory_for_temporary_files(tmp_path, short, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    assert bell_directory(str(short / "f")) == short / "f.bells"
    deep = tmp_path / ("d" * 100) / "pubsub.db"
    directory = bell_directory(str(deep))
    assert directory is not None
    assert directory.parent == short
    assert directory.stat().st_mode & 0o777 == 0o700
    assert bell_directory(str(deep)) == directory
    assert len(os.fsencode(directory)) + 1 + doorbell.NAME <= doorbell.LONGEST


def test_a_directory_that_others_may_enter_is_not_used(short, caplog):
    (short / "f.bells").mkdir(mode=0o755)
    (short / "f.bells").chmod(0o755)
    assert bell_directory(str(short / "f")) is None
    assert "belongs to somebody else" in caplog.text


def test_a_directory_that_can_not_be_made_costs_time_only(short, caplog):
    (short / "file").touch()
    assert bell_directory(str(short / "file" / "f")) is None
    assert "can't be made" in caplog.text


def test_without_any_bell_messages_arrive_by_looking(short, caplog):
    (short / "pubsub.db.bells").touch()

    async def main():
        async with rigged(short) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            waiting = asyncio.ensure_future(gathered(source, 1))
            await asyncio.sleep(0.02)
            await publisher.publish(TOPIC, [outgoing(b"late")])
            assert payloads(await waiting) == [b"late"]

    asyncio.run(main())


def test_a_bell_that_can_not_be_bound_costs_time_only(short, caplog, monkeypatch):
    monkeypatch.setattr(doorbell, "token_hex", lambda _: "x" * 200)

    async def main():
        async with rigged(short) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await publisher.publish(TOPIC, [outgoing(b"late")])
            assert payloads(await gathered(source, 1)) == [b"late"]

    asyncio.run(main())
    assert "no doorbell" in caplog.text

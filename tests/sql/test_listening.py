from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastlane.errors import Unavailable
from fastlane.sql import Notification
from fastlane.sql.driver import connect
from tests.servers.postgres import Postgres
from tests.sql.opened import SECONDS, eventually, opened


def test_a_listener_gets_what_is_sent_on_its_channel_in_order(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db, db.listen("News Flash") as news, db.listen("sports") as sports:
            for number in range(5):
                await db.execute("SELECT pg_notify('News Flash', $1)", str(number))
            await db.execute("NOTIFY sports, 'goal'")
            assert [(await anext(news)).payload for _ in range(5)] == ["0", "1", "2", "3", "4"]
            assert await anext(sports) == Notification("sports", "goal")
            async with db.listen("sports") as more:
                await db.execute("NOTIFY sports, 'again'")
                assert [(await anext(each)).payload for each in (sports, more)] == ["again", "again"]

    asyncio.run(main())


def test_all_listeners_share_one_connection_which_goes_with_the_last(postgres: Postgres, url: str) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
    name = url.partition("@/")[2].partition("?")[0]

    def listening() -> int:
        return int(postgres.sql(f"{count} AND datname = '{name}'"))

    async def main() -> None:
        async with opened(url) as db:
            async with db.listen("a"), db.listen("b"):
                async with db.listen("c"):
                    pass
                assert listening() == 1
            await eventually(lambda: listening() == 0)
            async with db.listen("a") as again:
                await db.execute("NOTIFY a")
                assert await anext(again) == Notification("a", "")

    asyncio.run(main())


def test_a_listener_survives_the_server_and_says_that_it_may_have_missed_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "fastlane.sql")

    async def main(server: Postgres) -> None:
        async with opened(server.url()) as db, db.listen("news") as notifications:
            await db.execute("NOTIFY news, 'before'")
            assert (await anext(notifications)).payload == "before"
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(SECONDS):
                assert await anext(notifications) == Notification("news", "", missed=True)
            await db.execute("NOTIFY news, 'after'")
            assert (await anext(notifications)).payload == "after"

    with Postgres() as server:
        asyncio.run(main(server))
    assert "the connection that listens is lost" in caplog.text
    assert "listening again" in caplog.text


def test_a_standby_that_lets_nobody_listen_is_not_said_to_be_listened_to(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "fastlane.sql")
    attempts: list[None] = []

    async def counted(*arguments: Any, **options: Any) -> Any:
        attempts.append(None)
        return await connect(*arguments, **options)

    def become_a_standby(server: Postgres) -> None:
        server.stop()
        server.data.joinpath("standby.signal").touch()
        server.start()

    async def main(server: Postgres) -> None:
        monkeypatch.setattr("fastlane.sql.driver.connect", counted)
        async with opened(server.url()) as db, db.listen("news") as notifications:
            await asyncio.to_thread(become_a_standby, server)
            attempts.clear()
            async with asyncio.timeout(SECONDS):
                while len(attempts) < 4:
                    await asyncio.sleep(0.01)
            assert caplog.text.count("the connection that listens is lost") == 1
            assert "listening again" not in caplog.text
            await asyncio.to_thread(server.sql, "SELECT pg_promote()")
            async with asyncio.timeout(SECONDS):
                assert await anext(notifications) == Notification("news", "", missed=True)
            assert caplog.text.count("listening again") == 1

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_reader_that_is_too_slow_is_told_that_it_missed_something(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.sql.listening.MOST_WAITING", 3)

    async def main() -> None:
        async with opened(url) as db, db.listen("news") as notifications, db.listen("last") as last:
            for number in range(4):
                await db.execute("SELECT pg_notify('news', $1)", str(number))
            await db.execute("NOTIFY last")
            await anext(last)
            assert (await anext(notifications)).missed

    asyncio.run(main())


def test_a_listener_without_a_server_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url()) as db:
            db.binding.listening._timeout = 0.2
            with pytest.raises(Unavailable):
                await db.listen("news").__aenter__()
            assert db.binding.listening._keeper is None

    with Postgres() as server:
        server.stop()
        asyncio.run(main(server))


def test_closing_ends_the_iteration(url: str) -> None:
    async def main() -> None:
        async with opened(url) as db, db.listen("news") as notifications:
            seen: list[Notification] = []

            async def read() -> None:
                async for notification in notifications:
                    seen.append(notification)

            reading = asyncio.create_task(read())
            await db.execute("NOTIFY news")
            await eventually(lambda: bool(seen))
            await db.binding.listening.close()
            async with asyncio.timeout(SECONDS):
                await reading
            assert seen == [Notification("news", "")]
            with pytest.raises(Unavailable):
                await db.listen("more").__aenter__()

    asyncio.run(main())


def test_a_connection_that_is_silent_is_probed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.sql.listening.PROBE_EVERY", 0.02)

    async def main() -> None:
        async with opened(url) as db, db.listen("news") as notifications:
            await asyncio.sleep(0.1)
            await db.execute("NOTIFY news, 'still here'")
            assert (await anext(notifications)).payload == "still here"

    asyncio.run(main())


@pytest.mark.parametrize("channel", ["", "x" * 64, "ä" * 32, "a\0b"])
def test_a_channel_that_can_not_be_is_refused_before_it_harms_the_others(url: str, channel: str) -> None:
    async def main() -> None:
        async with opened(url) as db:
            with pytest.raises(ValueError, match="a channel's name has 1 to 63 bytes"):
                db.listen(channel)
            async with db.listen("x" * 63) as notifications:
                await db.execute("SELECT pg_notify($1, 'heard')", "x" * 63)
                assert (await anext(notifications)).payload == "heard"

    asyncio.run(main())

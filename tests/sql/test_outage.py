"""The server is killed, stopped, restarted, frozen. Each test has a server of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter

import pytest
import uvloop

from fastlane.errors import Unavailable
from fastlane.resources.configuration import DatabaseOptions
from fastlane.sql import Database, Transaction, driver, transactions
from fastlane.sql.opening import LONGEST_PAUSE
from tests.servers.postgres import Postgres
from tests.sql.opened import SECONDS, eventually, opened


async def succeeds(db: Database) -> bool:
    try:
        return await db.fetch_one(int, "SELECT 1") == 1
    except Unavailable:
        return False


@pytest.mark.parametrize("how", ["SIGKILL", "fast shutdown"])
def test_a_server_that_dies_under_load_is_unavailable_and_used_again_soon_after_its_return(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlane.sql")

    async def main(server: Postgres) -> None:
        async with opened(server.url(), most=5) as db:
            outcomes: Counter[str] = Counter()
            longest = 0.0
            stop = False

            async def load() -> None:
                nonlocal longest
                while not stop:
                    began = time.monotonic()
                    try:
                        async with asyncio.timeout(SECONDS):
                            await db.fetch_one(int, "SELECT 1 FROM pg_sleep(0.002)")
                        outcomes["answered"] += 1
                    except Unavailable:
                        outcomes["unavailable"] += 1
                        await asyncio.sleep(0.005)
                    longest = max(longest, time.monotonic() - began)

            tasks = [asyncio.create_task(load()) for _ in range(20)]
            await eventually(lambda: outcomes["answered"] > 200)
            await asyncio.to_thread(server.kill if how == "SIGKILL" else server.stop)
            await eventually(lambda: outcomes["unavailable"] > 20)
            await asyncio.sleep(1.0)  # the pauses between attempts grow to their longest
            await asyncio.to_thread(server.start)
            back = time.monotonic()
            before = outcomes["answered"]
            await eventually(lambda: outcomes["answered"] > before)
            # One pause between attempts, and an attempt on a busy machine.
            assert time.monotonic() - back < LONGEST_PAUSE + 5.0
            await eventually(lambda: outcomes["answered"] > before + 500)
            stop = True
            await asyncio.gather(*tasks)
            assert set(outcomes) == {"answered", "unavailable"}  # and no other error
            assert longest < SECONDS / 3  # nobody waited for the acquire timeout
            await eventually(lambda: len(db.binding.pool.free) == 5)

    with Postgres() as server:
        uvloop.run(main(server))
    assert "database 'blog' is back" in caplog.text
    assert caplog.text.count("no connection to") == 1  # not once for every attempt


def test_a_server_that_is_not_there_yet_is_found_when_it_comes() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url()) as db:
            with pytest.raises(Unavailable, match=r"^the database is not available$"):
                await db.fetch_one(int, "SELECT 1")
            await asyncio.to_thread(server.start)
            await eventually(lambda: succeeds(db))

    with Postgres() as server:
        server.stop()
        asyncio.run(main(server))


def test_an_idle_pool_notices_the_death_of_its_connections_before_anybody_uses_one() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url(), most=3) as db:
            await asyncio.gather(*(db.fetch_one(int, "SELECT 1 FROM pg_sleep(0.01)") for _ in range(3)))
            await asyncio.to_thread(server.restart)
            await eventually(lambda: not db.binding.pool._sessions)
            assert await db.fetch_one(int, "SELECT 1") == 1

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_transaction_that_loses_its_connection_is_unavailable_and_not_committed() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url()) as db:
            await db.execute("CREATE TABLE numbers (number int)")

            async def lose() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    pid = await tx.fetch_one(int, "SELECT pg_backend_pid()")
                    await db.execute("SELECT pg_terminate_backend($1)", pid)
                    await tx.execute("INSERT INTO numbers VALUES (2)")

            async def lose_at_commit() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    pid = await tx.fetch_one(int, "SELECT pg_backend_pid()")
                    await db.execute("SELECT pg_terminate_backend($1)", pid)

            for broken in (lose, lose_at_commit):
                with pytest.raises(Unavailable):
                    await broken()
            assert await db.fetch_value(int, "SELECT count(*) FROM numbers") == 0

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_transaction_whose_savepoint_lost_the_connection_can_not_commit() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url()) as db:

            async def lose(tx: Transaction) -> None:
                async with tx.transaction():
                    await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

            async def go_on() -> None:
                async with db.transaction() as tx:
                    with pytest.raises(Unavailable):
                        await lose(tx)
                    with pytest.raises(Unavailable):
                        await tx.execute("SELECT 1")

            with pytest.raises(Unavailable):
                await go_on()

    with Postgres() as server:
        asyncio.run(main(server))


def test_an_acquired_connection_that_is_lost_is_unavailable() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url(), most=1) as db:

            async def lose() -> None:
                async with db.acquire() as connection:
                    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

            with pytest.raises(Unavailable):
                await lose()
            assert await db.fetch_one(int, "SELECT 1") == 1

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_stream_that_loses_its_connection_is_unavailable() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url(), most=2) as db:
            numbers = db.stream(int, "SELECT generate_series(1, 100000)", prefetch=1)
            assert await anext(numbers) == 1
            await asyncio.to_thread(server.kill)
            with pytest.raises(Unavailable):
                await anext(numbers)

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_query_that_is_cancelled_on_a_frozen_server_does_not_hold_its_connection_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url(), most=1) as db:
            pid = await db.fetch_one(int, "SELECT pg_backend_pid()")
            # How long the connection may take to be mended. A new one has the time of its default, set at import.
            monkeypatch.setattr("fastlane.sql.driver.CONNECT_TIMEOUT", 0.3)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await db.fetch_one(int, "SELECT 1")
                assert await db.fetch_one(int, "SELECT pg_backend_pid()") != pid
            finally:
                os.kill(pid, signal.SIGCONT)

    with Postgres() as server:
        asyncio.run(main(server))


def test_with_a_time_limit_a_frozen_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(driver, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(transactions, "ROLLBACK_TIMEOUT", 0.5)

    async def main(server: Postgres) -> None:
        options = DatabaseOptions(url=server.url(), statement_timeout=0.2)
        async with opened(options, most=3) as db:
            frozen: list[int] = []

            def freeze(how: signal.Signals) -> None:
                frozen[:] = frozen or [server.pid, *server.sessions()]
                for pid in frozen:
                    os.kill(pid, how)

            async def ask(tx: Transaction | Database) -> None:
                await tx.execute("SELECT 1")

            async def in_a_transaction() -> None:
                async with db.transaction() as tx:
                    inside.set()
                    await still.wait()
                    await tx.fetch_value(int, "SELECT 1")

            inside, still = asyncio.Event(), asyncio.Event()
            transaction = asyncio.create_task(in_a_transaction())
            await inside.wait()
            await asyncio.gather(db.fetch_value(int, "SELECT 1"), ask(db))
            freeze(signal.SIGSTOP)
            try:
                still.set()
                async with asyncio.timeout(SECONDS):
                    outcomes = await asyncio.gather(
                        transaction, db.fetch_value(int, "SELECT 1"), ask(db), return_exceptions=True
                    )
            finally:
                freeze(signal.SIGCONT)
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
            await eventually(lambda: succeeds(db))

    with Postgres() as server:
        asyncio.run(main(server))


def test_a_server_without_a_free_connection_makes_queries_wait_for_one_of_ours() -> None:
    async def main(server: Postgres) -> None:
        async with opened(server.url(user="app"), most=5) as first, opened(server.url(user="app"), most=5) as second:
            await asyncio.gather(*(first.fetch_one(int, "SELECT 1 FROM pg_sleep(0.05)") for _ in range(5)))
            await eventually(lambda: len(first.binding.pool.free) == 5)
            with pytest.raises(Unavailable):
                await second.fetch_one(int, "SELECT 1")
            first.binding.pool.drop(await first.binding.pool.take())
            await eventually(lambda: succeeds(second))
            both = await asyncio.gather(*(second.fetch_one(int, "SELECT 1 FROM pg_sleep(0.01)") for _ in range(5)))
            assert both == [1] * 5

    with Postgres(settings={"max_connections": "8", "superuser_reserved_connections": "3"}) as server:
        server.sql("CREATE ROLE app LOGIN")
        asyncio.run(main(server))


def test_a_wrong_password_is_unavailable_to_a_client_and_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main(server: Postgres) -> None:
        url = server.url().replace("postgres@", "postgres:s3cret-word@")
        async with opened(url) as db:
            with pytest.raises(Unavailable):
                await db.fetch_one(int, "SELECT 1")

    with Postgres() as server:
        server.sql("ALTER ROLE postgres PASSWORD 'other'")
        (server.data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        server.restart()
        asyncio.run(main(server))
    assert "password authentication failed" in caplog.text
    assert "s3cret" not in caplog.text

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import asyncpg
import pytest
import uvloop

from fastlane.errors import Unavailable
from fastlane.resources.configuration import DatabaseOptions, PoolOptions
from fastlane.sql import Database, ForkedPool
from fastlane.sql.driver import connect
from fastlane.sql.pool import Pool
from fastlane.sql.settings import ConnectionSettings
from fastlane.sql.sizing import Sharing
from tests.servers.postgres import Postgres
from tests.sql.opened import SECONDS, eventually, opened

# Threads that other tests have left, or that are just ending, are nothing to this: Python warns of a fork beside them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def busy(postgres: Postgres, url: str) -> int:
    """Sessions of the database of a url."""
    name = url.partition("@/")[2].partition("?")[0]
    return int(postgres.sql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"))


async def has_connected(db: Database) -> bool:
    """Whether a query finds a connection within the acquire timeout."""
    try:
        return await db.fetch_one(int, "SELECT 1") == 1
    except Unavailable:
        return False


def test_no_more_connections_than_are_needed_and_never_more_than_the_most(postgres: Postgres, url: str) -> None:
    async def main() -> None:
        async with opened(url, most=3) as db:
            assert busy(postgres, url) == 0
            for _ in range(5):
                await db.fetch_one(int, "SELECT 1")
            assert busy(postgres, url) == 1
            await asyncio.gather(*(db.fetch_one(int, "SELECT 1 FROM pg_sleep(0.01)") for _ in range(20)))
            await eventually(lambda: len(db.binding.pool.free) == 3)  # the last may come when all is done
            assert busy(postgres, url) == 3
        await eventually(lambda: busy(postgres, url) == 0)  # a session ends a moment after its connection

    uvloop.run(main())


def test_the_last_connection_that_came_back_is_the_next_to_be_used(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=3) as db:
            await asyncio.gather(*(db.fetch_one(int, "SELECT 1 FROM pg_sleep(0.01)") for _ in range(3)))
            await eventually(lambda: len(db.binding.pool.free) == 3)
            pids = {await db.fetch_one(int, "SELECT pg_backend_pid()") for _ in range(5)}
            assert len(pids) == 1

    asyncio.run(main())


def test_who_waits_first_is_served_first(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            order: list[int] = []

            async def work(number: int) -> None:
                await db.fetch_one(int, "SELECT 1")
                order.append(number)

            await asyncio.gather(*map(work, range(20)))
            assert order == list(range(20))

    asyncio.run(main())


def test_who_waits_too_long_gets_unavailable_and_the_log_says_why(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the first connection takes long, the queries that wait for it have complained already.
    monkeypatch.setattr("fastlane.sql.opening.Complaints.QUIET", 0.0)

    async def main() -> None:
        async with opened(url, most=1, acquire_timeout=0.1) as db:
            await eventually(lambda: has_connected(db))
            async with db.acquire():
                results = await asyncio.gather(
                    *(db.fetch_one(int, "SELECT 1") for _ in range(3)), return_exceptions=True
                )
            assert [type(result) for result in results] == [Unavailable] * 3
            assert str(results[0]) == "the database is not available"
            await eventually(lambda: has_connected(db))
        assert "database 'blog': no connection became free within 0.1 s: 1 of at most 1 are open" in caplog.text

    asyncio.run(main())


def test_the_queue_is_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.sql.waiting.MOST_WAITERS", 2)

    async def main() -> None:
        async with opened(url, most=1) as db:
            async with db.acquire():
                waiting = [asyncio.create_task(db.fetch_one(int, "SELECT 1")) for _ in range(2)]
                await asyncio.sleep(0)
                with pytest.raises(Unavailable):
                    await db.fetch_one(int, "SELECT 1")
            assert await asyncio.gather(*waiting) == [1, 1]

    asyncio.run(main())


def test_one_that_stops_waiting_leaves_the_queue_and_loses_no_connection(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            async with db.acquire():
                waiting = [asyncio.create_task(db.fetch_one(int, "SELECT 1")) for _ in range(3)]
                await asyncio.sleep(0)
                waiting[0].cancel()
                await asyncio.sleep(0)
            # The connection is handed to a task in the moment in which that is cancelled.
            pool = db.binding.pool
            await eventually(lambda: all(task.done() for task in waiting))
            session = await pool.take()
            task = asyncio.create_task(db.fetch_one(int, "SELECT 1"))
            await asyncio.sleep(0)
            pool.release(session)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.fetch_one(int, "SELECT 1") == 1

    asyncio.run(main())


def test_a_cancelled_query_is_ended_on_the_server_and_its_connection_used_again(postgres: Postgres, url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            pid = await db.fetch_one(int, "SELECT pg_backend_pid()")
            for wait in (0.0, 0.05):
                task = asyncio.create_task(db.fetch_one(int, "SELECT 1 FROM pg_sleep(60)"))
                await asyncio.sleep(wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not db.binding.pool.free  # not before the server has confirmed
                assert await db.fetch_one(int, "SELECT 1") == 1
            assert await db.fetch_one(int, "SELECT pg_backend_pid()") == pid

    asyncio.run(main())


def test_a_storm_of_cancellations_leaves_the_pool_whole(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=3) as db:
            for round_ in range(20):
                tasks = [asyncio.create_task(db.fetch_one(int, "SELECT 1 FROM pg_sleep(0.001)")) for _ in range(10)]
                for _ in range(round_ % 7):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert done[1::2] == [1] * 5
            await eventually(lambda: len(db.binding.pool.free) == len(db.binding.pool._sessions) > 0)

    uvloop.run(main())


def test_an_acquired_connection_is_asyncpgs_and_is_reset_when_it_comes_back(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            async with db.acquire() as connection:
                await connection.execute("SET search_path = pg_catalog; SELECT pg_advisory_lock(7)")
                assert await connection.fetchval("SELECT '{\"a\": 1}'::jsonb") == {"a": 1}
            assert "public" in await db.fetch_one(str, "SHOW search_path")
            assert await db.fetch_one(int, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0

            async def leave_half_done() -> None:
                async with db.acquire() as connection:
                    await connection.execute("BEGIN; CREATE TABLE half ()")
                    raise LookupError

            with pytest.raises(LookupError):
                await leave_half_done()
            assert await db.fetch_one(bool, "SELECT to_regclass('half') IS NULL")
            async with db.acquire() as connection:
                connection.terminate()
            assert await db.fetch_one(int, "SELECT 1") == 1

    asyncio.run(main())


def test_neither_the_role_nor_temporary_tables_of_an_acquired_connection_stay(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute("CREATE TABLE books (title text); INSERT INTO books VALUES ('kept')")
            async with db.acquire() as connection:
                await connection.execute("SET ROLE pg_monitor")
            assert await db.fetch_one(str, "SELECT current_user::text") == "postgres"
            async with db.acquire() as connection:
                await connection.execute("SET SESSION AUTHORIZATION pg_monitor")
            assert await db.fetch_one(str, "SELECT session_user::text") == "postgres"
            async with db.acquire() as connection:
                await connection.execute("CREATE TEMPORARY TABLE books (title text)")
                assert await connection.fetch("SELECT title FROM books") == []
            assert await db.fetch_all(str, "SELECT title FROM books") == ["kept"]

    asyncio.run(main())


def test_a_statement_may_have_a_time_limit(url: str) -> None:
    async def main() -> None:
        for address in (url, f"{url}&application_name=mine"):
            async with opened(DatabaseOptions(url=address, statement_timeout=0.1), most=1) as db:
                with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
                    await db.execute("SELECT pg_sleep(30)")
                async with db.acquire() as connection:
                    await connection.execute("SET statement_timeout = 0")
                assert await db.fetch_one(str, "SHOW statement_timeout") == "100ms"
                name = await db.fetch_one(str, "SHOW application_name")
                assert name == ("fastlane" if address == url else "mine")
                without = await connect(db.settings, direct=True)  # as migrations do
                assert await without.fetchval("SHOW statement_timeout") == "0"
                await without.close()

    asyncio.run(main())


def test_idle_connections_are_closed_but_for_the_least(postgres: Postgres, url: str) -> None:
    async def main() -> None:
        async with opened(url, most=4, least=1, idle=0.1) as db:
            pool = db.binding.pool
            sessions = await asyncio.gather(*(pool.take() for _ in range(4)))
            assert len(pool._sessions) == 4
            for session in sessions:
                pool.release(session)
            await eventually(lambda: len(db.binding.pool._sessions) == 1)
            await eventually(lambda: busy(postgres, url) == 1)
            assert await db.fetch_one(int, "SELECT 1") == 1

    asyncio.run(main())


def test_the_least_connections_are_opened_at_once_and_again_when_they_are_lost(postgres: Postgres, url: str) -> None:
    async def main() -> None:
        async with opened(url, least=2) as db:
            pool = db.binding.pool
            await eventually(lambda: len(pool.free) == 2)
            pids = [session.connection.get_server_pid() for session in pool.free]
            postgres.sql(f"SELECT pg_terminate_backend({pids[0]})")
            await eventually(
                lambda: len(pool.free) == 2 and pids[0] not in {s.connection.get_server_pid() for s in pool.free}
            )

    asyncio.run(main())


def test_closing_waits_for_what_runs_and_refuses_what_is_new(url: str) -> None:
    async def main() -> None:
        lock = await asyncpg.connect(url)
        await lock.execute("SELECT pg_advisory_lock(1)")
        async with opened(url, most=1) as db:
            running = asyncio.create_task(db.fetch_one(int, "SELECT 1 FROM pg_advisory_lock(1)"))
            waiting = asyncio.create_task(db.fetch_one(int, "SELECT 2"))
            await eventually(lambda: not db.binding.pool.free and bool(db.binding.pool._sessions))
            closing = asyncio.create_task(db.binding.pool.close(SECONDS))
            with pytest.raises(Unavailable):
                await waiting
            with pytest.raises(Unavailable):
                await db.fetch_one(int, "SELECT 3")
            await lock.close()
            assert await running == 1
            await closing

    asyncio.run(main())


def test_closing_does_not_wait_for_ever(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            running = asyncio.create_task(db.fetch_one(int, "SELECT 1 FROM pg_sleep(60)"))
            await eventually(lambda: not db.binding.pool.free and bool(db.binding.pool._sessions))
            await db.binding.pool.close(0.05)
            with pytest.raises(Unavailable):
                await running

    asyncio.run(main())


def test_the_size_follows_from_what_the_server_has(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlane.sql")
    settings = ConnectionSettings(lambda: DatabaseOptions(url=url))

    async def size(sharing: Sharing) -> int | None:
        pool = Pool("blog", settings, sharing=sharing, tells=True)
        await pool.open(warm=True)
        most = pool.most
        await pool.close()
        return most

    # max_connections = 60, 3 of them for superusers, 3 reserved
    assert asyncio.run(size(Sharing(workers=2))) == 10
    assert asyncio.run(size(Sharing(workers=5))) == 54 // 10 - 1
    assert "(60 connections − 3 kept by the server − 3 reserved) / (1 instance(s) · 5 worker(s)" in caplog.text
    assert asyncio.run(size(Sharing(workers=50))) == 1
    assert "mend: raise max_connections" in caplog.text


def test_a_limit_of_the_role_counts(postgres: Postgres, url: str) -> None:
    postgres.sql("CREATE ROLE small LOGIN CONNECTION LIMIT 13")
    settings = ConnectionSettings(lambda: DatabaseOptions(url=url.replace("postgres@", "small@")))

    async def main() -> None:
        pool = Pool("blog", settings)
        await pool.open(warm=True)
        assert pool.most == (13 - 3) // 2 - 1
        await pool.close()

    asyncio.run(main())


def test_a_server_that_does_not_tell_its_limits_is_used_all_the_same(
    postgres: Postgres, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    postgres.sql("CREATE ROLE curious LOGIN")
    postgres.sql("REVOKE SELECT ON pg_catalog.pg_roles FROM PUBLIC", name)
    settings = ConnectionSettings(lambda: DatabaseOptions(url=url.replace("postgres@", "curious@")))

    async def main() -> None:
        pool = Pool("blog", settings)
        await pool.open(warm=True)
        assert pool.most == 10
        await pool.close()

    asyncio.run(main())
    assert "does not tell how many connections it has: permission denied" in caplog.text


def test_a_forked_child_is_told_and_the_parents_connection_is_not_disturbed(url: str, tmp_path: Path) -> None:
    told = tmp_path / "told"

    async def main() -> None:
        async with opened(url, most=1) as db:
            assert await db.fetch_one(int, "SELECT 1") == 1
            child = os.fork()
            if child == 0:
                try:
                    db.fetch_one(int, "SELECT 1").send(None)
                except ForkedPool as error:
                    told.write_text(str(error))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            assert await db.fetch_one(int, "SELECT 1") == 1
            assert "database 'blog' was opened before this process was forked" in told.read_text()

    asyncio.run(main())


def test_a_pool_itself_refuses_a_forked_child(url: str, tmp_path: Path) -> None:
    told = tmp_path / "told"

    async def main() -> None:
        async with opened(url, most=1) as db:
            pool = db.binding.pool
            child = os.fork()
            if child == 0:
                try:
                    pool.take().send(None)
                except ForkedPool as error:
                    told.write_text(str(error))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            assert "was forked" in told.read_text()

    asyncio.run(main())


def test_a_password_is_asked_for_with_each_connection(tmp_path: Path) -> None:
    with Postgres() as server:
        server.sql("CREATE ROLE app LOGIN PASSWORD 'first'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        server.reload()
        password = "first"
        settings = ConnectionSettings(
            lambda: DatabaseOptions(url=server.url(user="app"), password=password, pool=PoolOptions(max=1))
        )

        async def main() -> None:
            nonlocal password
            pool = Pool("blog", settings, PoolOptions(max=1))
            db = Database("blog")
            await pool.open(warm=True)
            session = await pool.take()
            server.sql("ALTER ROLE app PASSWORD 'second'")
            password = "second"
            pool.drop(session)
            session = await pool.take()
            assert await session.connection.fetchval("SELECT 1") == 1
            pool.release(session)
            await pool.close()
            del db

        asyncio.run(main())

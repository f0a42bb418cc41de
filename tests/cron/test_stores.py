from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from fastlane.cron.database_store import DatabaseStore
from fastlane.cron.local_store import LocalStore
from fastlane.cron.store import KEPT_RUNS, QUEUE_LENGTH, Claim, NotDue, Store, StoreUnavailable

Open = Callable[[], Store]
Lapse = Callable[[Store, Claim], Awaitable[None]]


class Stores:
    """Stores on the same rows, and a way to end a lease."""

    def __init__(self, kind: str, dsn: str, path: Path) -> None:
        self.kind = kind
        self.dsn = dsn
        self.path = path

    def make(self) -> Store:
        if self.kind == "local":
            return LocalStore(self.path)
        return DatabaseStore(lambda: {"dsn": self.dsn})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        store = self.make()
        try:
            yield store
        finally:
            await store.close()

    async def lapse(self) -> None:
        """Every lease ended a moment ago."""
        if self.kind == "local":
            connection = sqlite3.connect(self.path)
            connection.execute("UPDATE cron_run SET lease_until = 1 WHERE lease_until IS NOT NULL")
            connection.commit()
            connection.close()
            return
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(
            "UPDATE fastlane.cron_run SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
        )
        await connection.close()


@pytest.fixture(params=["local", "database"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    dsn = request.getfixturevalue("dsn") if request.param == "database" else ""
    return Stores(request.param, dsn, tmp_path / "cron.db")


def ago(seconds: float) -> datetime:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).replace(microsecond=0)


def test_one_of_many_gets_the_tick(stores: Stores) -> None:
    async def main() -> None:
        all_stores = [stores.make() for _ in range(8)]
        tick = ago(1)
        claims = await asyncio.gather(*(s.claim("job", tick, f"owner {i}", "skip") for i, s in enumerate(all_stores)))
        (claim,) = [claim for claim in claims if claim is not None]
        assert (claim.job, claim.scheduled_at, claim.attempt) == ("job", tick, 1)
        for store in all_stores:
            await store.close()

    asyncio.run(main())


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    # SQLite tells some of them at once that it is busy: 4 of 300 rounds failed with the eight of the test above.
    async def main(path: Path) -> None:
        all_stores = [LocalStore(path) for _ in range(16)]
        looks = await asyncio.gather(*(store.look() for store in all_stores))
        assert {jobs for _, jobs in looks} == {frozenset()}
        for store in all_stores:
            await store.close()

    for number in range(100):
        asyncio.run(main(tmp_path / f"{number}.db"))


def test_a_new_file_that_stays_locked_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastlane.cron.local_store.BUSY_SECONDS", 0.1)
    path = tmp_path / "cron.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE unrelated (x)")
    other.execute("BEGIN EXCLUSIVE")

    async def main() -> None:
        store = LocalStore(path)
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await store.look()
        other.execute("ROLLBACK")
        await store.look()
        await store.close()

    asyncio.run(main())
    other.close()


def test_a_tick_that_comes_while_it_is_claimed_is_not_lost(stores: Stores) -> None:
    # It was still to come for the insert, and had come for the question why nothing was inserted: one of ten was lost.
    async def main() -> None:
        async with stores.open() as store:
            for number in range(100):
                now, _ = await store.look()
                tick = now + timedelta(microseconds=500 + number * 20)
                while True:
                    with contextlib.suppress(NotDue):
                        assert await store.claim(f"job {number}", tick, "me", "skip") is not None, "nobody has it"
                        break

    asyncio.run(main())


def test_a_tick_that_is_still_to_come_is_nobody_s(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            with pytest.raises(NotDue) as caught:
                await store.claim("job", ago(-60), "a", "skip")
            assert 55 < caught.value.seconds < 65
            assert await store.history(None, 10) == []

    asyncio.run(main())


def test_a_run_ends_once(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            claim = await store.claim("job", ago(1), "a", "skip")
            assert claim is not None
            assert await store.renew(claim)
            assert await store.finish(claim, "failed", "ValueError: no")
            assert not await store.finish(claim, "done", None)
            assert not await store.renew(claim)
            (run,) = await store.history("job", 10)
            assert (run.state, run.error, run.attempt, run.owner) == ("failed", "ValueError: no", 1, "a")
            assert run.started_at is not None
            assert run.finished_at is not None
            assert run.finished_at >= run.started_at
            assert await store.history("other", 10) == []

    asyncio.run(main())


def test_a_run_whose_owner_died_is_its_next_attempt_elsewhere(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            tick = ago(1)
            first = await store.claim("job", tick, "a", "skip")
            assert first is not None
            assert (await store.look())[1] == frozenset()
            assert await store.claim_waiting("job", "b", "skip", 3) is None
            await stores.lapse()
            assert (await store.look())[1] == {"job"}
            second = await store.claim_waiting("job", "b", "skip", 3)
            assert second == Claim("job", tick, "b", 2)
            assert not await store.renew(first)
            assert await store.advance(first) is None
            assert not await store.finish(first, "done", None)
            assert await store.finish(second, "done", None)

    asyncio.run(main())


def test_one_whose_owners_always_die_is_given_up(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            assert await store.claim("job", ago(1), "a", "skip") is not None
            for attempt in (2, 3):
                await stores.lapse()
                claim = await store.claim_waiting("job", "b", "skip", 3)
                assert claim is not None
                assert claim.attempt == attempt
            await stores.lapse()
            assert await store.claim_waiting("job", "b", "skip", 3) is None
            (run,) = await store.history("job", 1)
            assert (run.state, run.error) == ("failed", "its worker died")

    asyncio.run(main())


def test_what_is_given_back_is_no_attempt(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            tick = ago(1)
            claim = await store.claim("job", tick, "a", "skip")
            assert claim is not None
            await store.release(claim)
            assert await store.claim_waiting("job", "b", "skip", 1) == Claim("job", tick, "b", 1)

    asyncio.run(main())


def test_a_failed_attempt_goes_on_as_the_next_one(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            claim = await store.claim("job", ago(1), "a", "skip")
            assert claim is not None
            second = await store.advance(claim)
            assert second is not None
            assert second.attempt == 2
            assert not await store.renew(claim)
            assert await store.renew(second)

    asyncio.run(main())


def test_skip_leaves_a_row_and_no_run_while_an_older_one_is_live(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            older = await store.claim("job", ago(20), "a", "skip")
            assert older is not None
            assert await store.claim("job", ago(10), "b", "skip") is None
            assert (await store.history("job", 1))[0].state == "skipped"
            await store.finish(older, "done", None)
            assert await store.claim("job", ago(5), "b", "skip") is not None

    asyncio.run(main())


def test_skip_does_not_count_a_run_whose_owner_died(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            assert await store.claim("job", ago(20), "a", "skip") is not None
            await stores.lapse()
            newer = await store.claim("job", ago(10), "b", "skip")
            assert newer is not None
            assert await store.claim_waiting("job", "c", "skip", 3) is None  # not beside the newer one
            await store.finish(newer, "done", None)
            assert await store.claim_waiting("job", "c", "skip", 3) is not None

    asyncio.run(main())


def test_allow_runs_beside_an_older_one(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            assert await store.claim("job", ago(20), "a", "allow") is not None
            assert await store.claim("job", ago(10), "b", "allow") is not None

    asyncio.run(main())


def test_queue_runs_one_behind_the_other(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            first, second, third = ago(30), ago(20), ago(10)
            claim = await store.claim("job", first, "a", "queue")
            assert claim is not None
            assert await store.claim("job", second, "b", "queue") is None
            assert await store.claim("job", third, "b", "queue") is None
            assert await store.claim_waiting("job", "b", "queue", 3) is None
            await store.finish(claim, "done", None)
            assert (await store.look())[1] == {"job"}
            assert await store.claim_waiting("job", "b", "queue", 3) == Claim("job", second, "b", 1)
            assert await store.claim_waiting("job", "c", "queue", 3) is None

    asyncio.run(main())


def test_the_queue_has_an_end(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            for number in range(QUEUE_LENGTH + 2):
                await store.claim("job", ago(1000 - number), "a", "queue")
            states = [run.state for run in await store.history("job", 1000)]
            assert (states.count("running"), states.count("queued"), states.count("skipped")) == (1, QUEUE_LENGTH, 1)

    asyncio.run(main())


def test_old_runs_are_forgotten(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            for number in range(KEPT_RUNS + 5):
                claim = await store.claim("job", ago(1000 - number), "a", "skip")
                assert claim is not None
                await store.finish(claim, "done", None)
            assert len(await store.history("job", 1000)) == KEPT_RUNS

    asyncio.run(main())


def test_a_job_is_registered_when_its_schedule_is_first_seen(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            first = await store.register("job", "every 1m")
            assert abs((first - datetime.now(UTC)).total_seconds()) < 5
            assert await store.register("job", "every 1m") == first
            assert await store.register("job", "every 2m") > first

    asyncio.run(main())


def test_a_store_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        for store in (
            LocalStore(tmp_path / "nowhere" / "cron.db"),
            DatabaseStore(lambda: {"host": str(tmp_path), "user": "x", "database": "x"}),
        ):
            with pytest.raises(StoreUnavailable):
                await store.look()
            await store.close()

    asyncio.run(main())


def test_a_database_without_the_tables_names_the_mend(dsn: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("DROP SCHEMA fastlane CASCADE")
        await connection.close()
        store = DatabaseStore(lambda: {"dsn": dsn})
        with pytest.raises(StoreUnavailable, match="fastlane sql migrate"):
            await store.look()
        await store.close()

    asyncio.run(main())


def test_a_connection_that_was_lost_is_opened_anew(dsn: str) -> None:
    async def main() -> None:
        store = DatabaseStore(lambda: {"dsn": dsn})
        await store.look()
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "  # waits until it has ended
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await connection.close()
        with contextlib.suppress(StoreUnavailable):  # unless it was noticed before the query
            await store.look()
        await store.look()
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [asyncpg.InternalClientError, asyncio.IncompleteReadError])
def test_whatever_a_lost_connection_raises_is_no_end_of_the_store(dsn: str, kind: type[Exception]) -> None:
    """asyncpg says "cannot switch to state" where the server has said farewell, and the socket is not closed yet."""

    async def lost(connection: object) -> None:
        raise kind(b"", 1) if kind is asyncio.IncompleteReadError else kind("cannot switch to state 12")

    async def main() -> None:
        store = DatabaseStore(lambda: {"dsn": dsn})
        with pytest.raises(StoreUnavailable):
            await store._do(lost)
        await store.look()
        await store.close()

    asyncio.run(main())


def test_a_query_that_is_cancelled_leaves_the_store_in_order(stores: Stores) -> None:
    async def main() -> None:
        async with stores.open() as store:
            await store.look()
            for _ in range(5):
                task = asyncio.ensure_future(store.claim("job", ago(1), "a", "skip"))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
            assert (await store.look())[0]

    asyncio.run(main())


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "cron.db").write_text("not a database, but long enough to be looked at as one" * 100)

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db")
        with pytest.raises(StoreUnavailable, match="not a database"):
            await store.look()
        await store.close()

    asyncio.run(main())

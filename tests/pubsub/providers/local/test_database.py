from __future__ import annotations

import asyncio
import sqlite3

import pytest

from fastlane.pubsub.providers.local import database as database_module
from fastlane.pubsub.providers.local.database import Database, Operation
from fastlane.pubsub.providers.local.store import Store, StoreOptions


def options(path):
    return StoreOptions(path=str(path / "pubsub.db"), full=False, max_bytes=1 << 30, retention=60.0)


def test_what_gathers_during_a_transaction_becomes_the_next(tmp_path):
    groups = []

    def run(store, arguments):
        groups.append(len(arguments))
        return [argument * 2 for argument in arguments]

    async def main():
        database = Database(options(tmp_path), lambda touched: None)
        double = Operation(run)
        answers = await asyncio.gather(*(database.submit(double, n) for n in range(100)))
        await database.close()
        assert answers == [n * 2 for n in range(100)]

    asyncio.run(main())
    assert sum(groups) == 100
    assert len(groups) < 10


def test_a_group_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "GROUP", 3)
    groups = []

    async def main():
        database = Database(options(tmp_path), lambda touched: None)
        count = Operation(lambda store, arguments: [groups.append(len(arguments))] * len(arguments))
        await asyncio.gather(*(database.submit(count, None) for _ in range(10)))
        await database.close()

    asyncio.run(main())
    assert max(groups) <= 3


def test_what_was_submitted_before_the_close_is_done(tmp_path):
    async def main():
        database = Database(options(tmp_path), lambda touched: None)
        answer = database.submit(Operation(lambda store, arguments: arguments), "done")
        await database.close()
        assert await answer == "done"

    asyncio.run(main())


def test_a_mistake_before_the_transaction_is_the_callers_alone(tmp_path):
    def ready(store: Store, sql: str) -> int | None:
        return store.one(sql)

    async def main():
        database = Database(options(tmp_path), lambda touched: None)
        ask = Operation(lambda store, arguments: arguments, ready=ready)
        asked = [database.submit(ask, sql) for sql in ("SELECT 1", "SELECT nothing", "SELECT 3")]
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
        await database.close()
        assert (first, third) == (1, 3)
        assert isinstance(second, sqlite3.OperationalError)

    asyncio.run(main())


def test_a_mistake_of_what_is_called_after_a_commit_keeps_nobody_waiting(tmp_path):
    def committed(touched: set[int]) -> None:
        raise RuntimeError("a mistake")

    async def main():
        database = Database(options(tmp_path), committed)
        work = Operation(lambda store, arguments: arguments)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="a mistake"):
                await database.submit(work, 1)
        await database.close()

    asyncio.run(main())


def test_a_mistake_after_an_answer_is_logged_and_the_next_are_served(tmp_path, caplog):
    def answered() -> None:
        raise RuntimeError("a mistake")

    async def main():
        database = Database(options(tmp_path), lambda touched: None, answered)
        work = Operation(lambda store, arguments: arguments)
        assert [await database.submit(work, n) for n in range(2)] == [0, 1]
        await database.close()

    asyncio.run(main())
    assert caplog.text.count("a mistake after a commit of the local broker") == 2


def test_a_loop_that_is_closed_stops_nothing(tmp_path):
    made: list[Database] = []

    async def main():
        made.append(Database(options(tmp_path), lambda touched: None))
        await made[0].submit(Operation(lambda store, arguments: arguments), 1)

    asyncio.run(main())
    made[0]._jobs.put(None)  # as a close whose loop ended meanwhile
    made[0]._thread.join(30)
    assert not made[0]._thread.is_alive()

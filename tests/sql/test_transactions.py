from __future__ import annotations

import asyncio

import pytest
from asyncpg import PostgresSyntaxError, ReadOnlySQLTransactionError, SerializationError, UniqueViolationError

from fastlane.resources.declaration import NotBound
from fastlane.sql import ConcurrentUse, Database, StrayTransaction, Transaction, TransactionEnded, TransactionFailed
from fastlane.sql.transactions import Isolation, Savepoint
from tests.sql.opened import opened

TABLE = "CREATE TABLE numbers (number int PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE)"


async def numbers(db: Database) -> list[int]:
    return await db.fetch_all(int, "SELECT number FROM numbers ORDER BY number")


def test_a_transaction_commits_at_its_end_and_is_undone_by_an_exception(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            async with db.transaction() as tx:
                assert await tx.fetch_one(int, "INSERT INTO numbers VALUES (1) RETURNING number") == 1
                assert await tx.fetch_optional(int, "SELECT 5 WHERE false") is None

            async def fail() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (2)")
                    raise LookupError

            with pytest.raises(LookupError):
                await fail()
            assert await numbers(db) == [1]
            assert len(db.binding.pool.free) == 1

    asyncio.run(main())


@pytest.mark.parametrize("command", ["COMMIT", "rollback"])
def test_a_query_that_ends_the_transaction_is_refused_instead_of_running_on_without_one(url: str, command: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)

            async def end() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    await tx.execute(command)
                    raise AssertionError("what follows would be no transaction")

            with pytest.raises(StrayTransaction, match="ended the transaction that it ran in"):
                await end()
            assert await numbers(db) == ([1] if command == "COMMIT" else [])
            assert len(db.binding.pool.free) == 1

    asyncio.run(main())


def test_a_savepoint_undoes_a_part(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)

            async def fail(tx: Transaction) -> None:
                async with tx.transaction() as inner:
                    assert inner is tx
                    await inner.execute("INSERT INTO numbers VALUES (2)")
                    async with inner.transaction():
                        await inner.execute("INSERT INTO numbers VALUES (3)")
                    await inner.execute("INSERT INTO numbers VALUES (1)")

            async with db.transaction() as tx:
                await tx.execute("INSERT INTO numbers VALUES (1)")
                with pytest.raises(UniqueViolationError):
                    await fail(tx)
                async with tx.transaction():
                    await tx.execute("INSERT INTO numbers VALUES (4)")
            assert await numbers(db) == [1, 4]

    asyncio.run(main())


def test_what_is_called_after_commit_is_not_called_after_a_rollback(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        called: list[str] = []
        async with opened(url, most=1) as db:

            async def undo(transaction: Transaction | Savepoint) -> None:
                async with transaction as tx:
                    tx.after_commit(lambda: called.append("undone"))
                    raise LookupError

            async with db.transaction() as tx:
                tx.after_commit(lambda: called.append("committed"))
                with pytest.raises(LookupError):
                    await undo(tx.transaction())
                tx.after_commit(lambda: 1 // 0)
                tx.after_commit(lambda: called.append("also"))
                assert called == []
            with pytest.raises(LookupError):
                await undo(db.transaction())
        assert called == ["committed", "also"]
        assert "a call after COMMIT failed" in caplog.text

    asyncio.run(main())


def test_an_error_that_was_caught_inside_does_not_look_like_a_commit(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)

            async def swallow() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    with pytest.raises(UniqueViolationError):
                        await tx.execute("INSERT INTO numbers VALUES (1)")

            with pytest.raises(TransactionFailed, match=r"mend: put the query .*tx.transaction"):
                await swallow()
            assert await numbers(db) == []

    asyncio.run(main())


def test_an_error_that_was_caught_inside_a_savepoint_undoes_that_part_alone(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            called: list[str] = []

            async def swallow(tx: Transaction) -> None:
                async with tx.transaction():
                    tx.after_commit(lambda: called.append("inside"))
                    await tx.execute("INSERT INTO numbers VALUES (2)")
                    with pytest.raises(UniqueViolationError):
                        await tx.execute("INSERT INTO numbers VALUES (1)")

            async with db.transaction() as tx:
                await tx.execute("INSERT INTO numbers VALUES (1)")
                with pytest.raises(TransactionFailed, match=r"mend: put the query .*tx.transaction"):
                    await swallow(tx)
                await tx.execute("INSERT INTO numbers VALUES (3)")
            assert await numbers(db) == [1, 3]
            assert called == []

    asyncio.run(main())


def test_a_constraint_that_fails_at_commit_is_raised_and_the_connection_is_well(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)

            async def collide() -> None:
                async with db.transaction() as tx:
                    await tx.execute("SET CONSTRAINTS ALL DEFERRED")
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    await tx.execute("INSERT INTO numbers VALUES (1)")

            with pytest.raises(UniqueViolationError):
                await collide()
            assert await numbers(db) == []

    asyncio.run(main())


def test_a_connection_that_can_not_begin_goes_back(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            broken = Transaction(lambda: db.binding.pool, "BEGIN NONSENSE")
            with pytest.raises(PostgresSyntaxError):
                await broken.__aenter__()
            assert await db.fetch_one(int, "SELECT 1") == 1

    asyncio.run(main())


def test_isolation_and_readonly_are_what_was_asked_for(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            async with db.transaction(isolation="repeatable read", readonly=True) as tx:
                assert await tx.fetch_one(str, "SHOW transaction_isolation") == "repeatable read"
                with pytest.raises(ReadOnlySQLTransactionError):
                    async with tx.transaction():
                        await tx.execute("INSERT INTO numbers VALUES (1)")
            with pytest.raises(ValueError, match="one of 'read committed'"):
                db.transaction(isolation="chaos")  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_connection_that_has_become_read_only_is_given_up(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            for writes in (db.execute, lambda query: db.transact(lambda tx: tx.execute(query))):
                pid = await db.fetch_one(int, "SELECT pg_backend_pid()")
                await db.execute("SET default_transaction_read_only = on")
                with pytest.raises(ReadOnlySQLTransactionError):
                    await writes("DELETE FROM numbers")
                assert await db.execute("DELETE FROM numbers") == 0
                assert await db.fetch_one(int, "SELECT pg_backend_pid()") != pid

    asyncio.run(main())


def test_a_transaction_is_for_one_task_at_a_time(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            with pytest.raises(ConcurrentUse, match="give each task a transaction of its own"):
                async with db.transaction() as tx:
                    await asyncio.gather(tx.fetch_one(int, "SELECT 1"), tx.fetch_one(int, "SELECT 2"))
            assert await db.fetch_one(int, "SELECT 1") == 1

    asyncio.run(main())


def test_a_transaction_is_of_no_use_before_and_after_its_block(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            tx = db.transaction()
            with pytest.raises(TransactionEnded):
                await tx.execute("SELECT 1")
            async with tx:
                assert tx.connection.get_server_pid()
                with pytest.raises(TransactionEnded):
                    await tx.__aenter__()
            with pytest.raises(TransactionEnded):
                await tx.fetch_one(int, "SELECT 1")

    asyncio.run(main())


def test_a_cancelled_transaction_is_rolled_back(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            began = asyncio.Event()

            async def sleep() -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO numbers VALUES (1)")
                    began.set()
                    await tx.execute("SELECT pg_sleep(60)")

            task = asyncio.create_task(sleep())
            await began.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await numbers(db) == []

    asyncio.run(main())


def test_transact_runs_again_what_collided(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=2) as db:
            await db.execute("CREATE TABLE accounts (name text, money int); INSERT INTO accounts VALUES ('a', 0)")
            both = asyncio.Barrier(2)
            attempts = 0

            async def earn(tx: Transaction, amount: int) -> int:
                nonlocal attempts
                attempts += 1
                money = await tx.fetch_one(int, "SELECT money FROM accounts")
                if attempts <= 2:
                    await both.wait()  # both have read before one of them writes
                await tx.execute("UPDATE accounts SET money = $1", money + amount)
                return amount

            assert await asyncio.gather(db.transact(earn, 5), db.transact(earn, 7)) == [5, 7]
            assert await db.fetch_one(int, "SELECT money FROM accounts") == 12
            assert attempts == 3

    asyncio.run(main())


@pytest.mark.parametrize("isolation", [None, "serializable"])
def test_the_first_query_of_a_transaction_may_meet_a_changed_schema(url: str, isolation: Isolation | None) -> None:
    async def main() -> None:
        async with opened(url, most=1) as db:
            await db.execute(TABLE)
            query = "INSERT INTO numbers VALUES ($1) RETURNING *"
            async with db.transaction(isolation=isolation) as tx:
                assert await tx.fetch_one(dict, query, 1) == {"number": 1}
                await tx.execute("UPDATE numbers SET number = number WHERE number = $1 RETURNING *", 1)
            await db.execute("ALTER TABLE numbers ADD COLUMN more int")
            async with db.transaction(isolation=isolation) as tx:
                assert await tx.fetch_one(dict, query, 2) == {"number": 2, "more": None}
                assert await tx.fetch_value(str, "SHOW transaction_isolation") == isolation or isolation is None
            await db.execute("ALTER TABLE numbers ADD COLUMN again int")
            async with db.transaction() as tx:
                command = "UPDATE numbers SET number = number WHERE number = $1 RETURNING *"
                assert await tx.execute(command, 1) == 1
            assert await numbers(db) == [1, 2]

    asyncio.run(main())


def test_transact_runs_again_what_met_a_changed_schema(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=2) as db:
            await db.execute(TABLE)
            attempts = 0

            async def read(tx: Transaction) -> list[dict[str, int]]:
                nonlocal attempts
                attempts += 1
                await tx.execute("SELECT 1")
                return await tx.fetch_all(dict, "SELECT * FROM numbers")

            await asyncio.gather(db.transact(read), db.transact(read))  # both connections have prepared it
            await db.execute("ALTER TABLE numbers ADD COLUMN more int; INSERT INTO numbers VALUES (1, 2)")
            attempts = 0
            assert await db.transact(read) == [{"number": 1, "more": 2}]
            assert attempts == 2

    asyncio.run(main())


def test_transact_gives_up_after_its_attempts_and_does_not_repeat_other_errors(url: str) -> None:
    async def main() -> None:
        async with opened(url, most=2) as db:
            attempts = 0

            async def collide(tx: Transaction) -> None:
                nonlocal attempts
                attempts += 1
                await tx.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

            async def fail(tx: Transaction) -> None:
                nonlocal attempts
                attempts += 1
                raise LookupError

            with pytest.raises(SerializationError):
                await db.transact(collide, max_attempts=2)
            assert attempts == 2
            with pytest.raises(LookupError):
                await db.transact(fail)
            assert attempts == 3
            with pytest.raises(ValueError, match="max_attempts"):
                await db.transact(fail, max_attempts=0)

    asyncio.run(main())


def test_a_database_that_nothing_stands_behind_says_so() -> None:
    async def main() -> None:
        db = Database("lonely")
        with pytest.raises(NotBound, match="database 'lonely' is not bound"):
            await db.fetch_one(int, "SELECT 1")
        with pytest.raises(NotBound):
            await db.transaction().__aenter__()
        for use in (lambda: db.dsn, lambda: db.settings, db.acquire, lambda: db.listen("x")):
            with pytest.raises(NotBound):
                use()

    asyncio.run(main())

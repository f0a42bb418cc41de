from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from fastlane.sql.migrations import FRAMEWORK, MigrationError, Migrator, read_migrations
from fastlane.sql.migrations.ledger import Ledger
from tests.sql.migrations.conftest import Blank, Put, run

Make = Callable[[], Migrator]


def test_pending_migrations_are_applied_once_and_in_order(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int); INSERT INTO posts VALUES (1);")
    put("2_add.up.sql", "ALTER TABLE posts ADD COLUMN likes int NOT NULL DEFAULT 0")

    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError, match=r"(?s)2 migrations are pending: 1_create, 2_add.*sql migrate"):
                await migrator().check(connection)
            assert [m.version for m in await migrator().apply(connection)] == [1, 2]
            assert await migrator().apply(connection) == []
            assert await connection.fetchval("SELECT likes FROM posts") == 0
            await migrator().check(connection)
            put("3_more.up.sql", "CREATE INDEX likes ON posts (likes)")
            assert [m.version for m in await migrator().apply(connection)] == [3]
            assert [row.version for row in (await migrator().status(connection)).applied] == [1, 2, 3]

    run(main())


def test_each_migration_is_told_before_it_begins(put: Put, migrator: Make, blank: Blank) -> None:
    put("0001_a.up.sql", "CREATE TABLE a (id int)")
    put("0002_b.up.sql", "SELECT 1 / 0")
    put("0003_c.up.sql", "CREATE TABLE c (id int)")
    told: list[str] = []

    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError):
                await migrator().apply(connection, applying=told.append)

    run(main())
    assert told == ["0001_a", "0002_b"]


def test_looking_changes_nothing(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int)")

    async def main() -> None:
        async with blank.connect() as connection:
            assert len((await migrator().status(connection)).pending) == 1
            assert await connection.fetchval("SELECT to_regnamespace('fastlane')") is None

    run(main())


def test_one_that_fails_leaves_the_database_as_it_was(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int)")
    put("2_bad.up.sql", "INSERT INTO posts VALUES (1);\n\nSELECT nonsense FROM posts;")
    put("3_never.up.sql", "CREATE TABLE never (id int)")

    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError) as caught:
                await migrator().apply(connection)
            assert '2_bad.up.sql:3: UndefinedColumnError: column "nonsense" does not exist' in str(caught.value)
            assert caught.value.migration == "2_bad.up"
            assert await connection.fetchval("SELECT count(*) FROM posts") == 0
            assert await connection.fetchval("SELECT to_regclass('never')") is None
            assert [row.version for row in (await migrator().status(connection)).applied] == [1]
            put("2_bad.up.sql", "INSERT INTO posts VALUES (1)")
            assert [m.version for m in await migrator().apply(connection)] == [2, 3]

    run(main())


def test_a_file_that_was_edited_after_it_was_applied_is_refused(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int)")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            put("1_create.up.sql", "CREATE TABLE posts (id bigint)")
            for call in (migrator().check, migrator().apply):
                with pytest.raises(MigrationError, match=r"(?s)1_create\.up\.sql was changed after.*mend"):
                    await call(connection)

    run(main())


def test_one_that_is_pending_behind_an_applied_one_is_refused(put: Put, migrator: Make, blank: Blank) -> None:
    put("2_b.up.sql", "SELECT 1")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            put("1_a.up.sql", "SELECT 1")
            with pytest.raises(MigrationError, match=r"(?s)1_a\.up\.sql is pending, but .*give it a number above 2"):
                await migrator().apply(connection)

    run(main())


def test_versions_of_newer_code_are_only_warned_about(
    put: Put, migrator: Make, blank: Blank, caplog: pytest.LogCaptureFixture
) -> None:
    put("1_a.up.sql", "SELECT 1")
    newer = put("2_b.up.sql", "SELECT 1")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            newer.unlink()
            with caplog.at_level(logging.WARNING, "fastlane.sql"):
                await migrator().check(connection)
            assert "migrations that this code does not know (0002_b): a newer version was here" in caplog.text

    run(main())


def test_ten_that_start_at_once_apply_each_migration_once(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int); SELECT pg_sleep(1);")
    put("2_fill.up.sql", "INSERT INTO posts VALUES (1)")
    waits: list[None] = []

    async def machine() -> int:
        async with blank.connect() as connection:
            return len(await migrator().apply(connection, lambda: waits.append(None)))

    async def main() -> None:
        assert sum(await asyncio.gather(*(machine() for _ in range(10)))) == 2
        async with blank.connect() as connection:
            assert await connection.fetchval("SELECT count(*) FROM posts") == 1

    run(main())
    assert waits  # whoever waits says so, again and again


def test_outside_a_transaction_an_index_is_built_concurrently(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int)")
    put("2_index.up.sql", "-- fastlane: no-transaction\nCREATE INDEX CONCURRENTLY by_id ON posts (id)")
    put("3_bad.up.sql", "-- fastlane: no-transaction\nCREATE INDEX CONCURRENTLY by_id ON posts (id)")

    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError, match=r"(?s)3_bad.*it ran outside a transaction"):
                await migrator().apply(connection)
            assert [row.version for row in (await migrator().status(connection)).applied] == [1, 2]

    run(main())


def test_what_a_script_sets_does_not_reach_the_next_one(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_a.up.sql", "CREATE SCHEMA other; SET search_path = other; CREATE TABLE a (id int)")
    put("2_b.up.sql", "CREATE TABLE b (id int)")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            assert await connection.fetchval("SELECT to_regclass('public.b') IS NOT NULL")

    run(main())


def test_a_script_may_take_a_role_for_what_it_makes(put: Put, migrator: Make, blank: Blank) -> None:
    made = "CREATE SCHEMA shop; GRANT CREATE, USAGE ON SCHEMA shop TO pg_monitor"
    put("1_a.up.sql", f"{made}; SET ROLE pg_monitor; CREATE TABLE shop.a ()")
    put("2_b.up.sql", "CREATE TABLE b ()")
    put("1_a.down.sql", "SET ROLE pg_monitor; DROP TABLE shop.a")
    put("2_b.down.sql", "DROP TABLE b")

    async def main() -> None:
        async with blank.connect() as connection:
            assert len(await migrator().apply(connection)) == 2
            owners = await connection.fetch("SELECT tablename, tableowner FROM pg_tables WHERE tablename IN ('a', 'b')")
            assert {tuple(row) for row in owners} == {("a", "pg_monitor"), ("b", "postgres")}
            assert len(await migrator().rollback(connection, 2)) == 2
            assert await connection.fetchval("SELECT current_user") == "postgres"

    run(main())


def test_the_newest_are_rolled_back_first(put: Put, migrator: Make, blank: Blank) -> None:
    put("1_a.up.sql", "CREATE TABLE a (id int)")
    put("2_b.up.sql", "CREATE TABLE b (id int)")
    put("2_b.down.sql", "DROP TABLE b")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            assert [m.title for m in await migrator().rollback(connection)] == ["2_b"]
            assert await connection.fetchval("SELECT to_regclass('b')") is None
            with pytest.raises(ValueError, match=r"write 1_a\.down\.sql beside it"):
                await migrator().rollback(connection)
            assert len((await migrator().status(connection)).pending) == 1

    run(main())


def test_what_this_code_does_not_know_it_can_not_roll_back(put: Put, migrator: Make, blank: Blank) -> None:
    path = put("1_a.up.sql", "SELECT 1")

    async def main() -> None:
        async with blank.connect() as connection:
            await migrator().apply(connection)
            path.unlink()
            with pytest.raises(MigrationError, match="0001_a is not among the files"):
                await migrator().rollback(connection)

    run(main())


def test_two_declared_databases_may_be_one(put: Put, tmp_path: Path, blank: Blank) -> None:
    put("1_a.up.sql", "SELECT 1")
    migrations = read_migrations(tmp_path / "migrations")

    async def main() -> None:
        async with blank.connect() as connection:
            assert len(await Migrator("one", migrations).apply(connection)) == 1
            assert len(await Migrator("two", migrations).apply(connection)) == 1
            assert len(await Ledger(connection, "one").applied()) == 1

    run(main())


def test_the_framework_s_own_tables_are_migrations_too(blank: Blank) -> None:
    async def main() -> None:
        async with blank.connect() as connection:
            migrator = Migrator.of_framework()
            assert len(await migrator.apply(connection)) == len(list(FRAMEWORK.glob("*.up.sql")))
            await migrator.check(connection)

    run(main())


def test_the_frameworks_own_tables_are_no_database_of_the_user(blank: Blank) -> None:
    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError, match=r"^fastlane's own schema: \d+ migrations are pending: 0001_"):
                await Migrator.of_framework().check(connection)

    run(main())


def test_one_that_fails_outside_a_transaction_does_not_claim_to_have_left_nothing(
    put: Put, migrator: Make, blank: Blank
) -> None:
    put("1_create.up.sql", "CREATE TABLE posts (id int); INSERT INTO posts VALUES (1), (1);")
    put("2_unique.up.sql", "-- fastlane: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY ids ON posts (id)")

    async def main() -> None:
        async with blank.connect() as connection:
            with pytest.raises(MigrationError, match="look what it has left behind") as caught:
                await migrator().apply(connection)
            assert "as it was" not in str(caught.value)

    run(main())

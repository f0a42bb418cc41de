"""Which process carries the outbox, and where the broker is PostgreSQL itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from fastlane.errors import Unavailable
from fastlane.pubsub import Topic
from fastlane.sql import Database
from tests.pubsub.outbox.posted import bound, serving, until
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


class Step(Struct):
    key: str
    number: int


def local(path: Path) -> dict[str, Any]:
    return {
        "providers": {"here": {"kind": "local", "path": str(path / "pubsub.db"), "durability": "normal"}},
        "pubsub": {"provider": "here"},
    }


QUEUE = {"providers": {"here": {"kind": "postgres", "database": "queue"}}, "pubsub": {"provider": "here"}}


async def rows(db: Database) -> int:
    return await db.fetch_value(int, "SELECT count(*) FROM fastlane.outbox")


async def test_of_a_machine_s_processes_one_carries_and_the_next_takes_over_at_once(url: str, tmp_path: Path) -> None:
    db = Database("shop")
    steps = Topic("steps", Step)

    async def carried(number: int) -> None:
        async with db.transaction() as tx:
            await steps.publish(Step("k", number), tx=tx)
        await until(lambda: empty(db))

    async with bound(db, url), serving("serve", start=False, **local(tmp_path)) as first:
        await carried(1)
        owner = await db.fetch_value(str, "SELECT owner FROM fastlane.outbox_lease")
        async with serving("serve", start=False, **local(tmp_path)):
            pass  # it never led
        async with serving("serve", start=False, **local(tmp_path)):
            assert first._outbox is not None
            await first._outbox.close()
            await carried(2)
            assert await db.fetch_value(str, "SELECT owner FROM fastlane.outbox_lease") == owner


async def empty(db: Database) -> bool:
    return await rows(db) == 0


async def test_without_a_state_directory_the_rows_decide(url: str, tmp_path: Path, state: Path) -> None:
    state.write_text("no directory")
    db = Database("shop")
    steps = Topic("steps", Step)
    async with bound(db, url), serving("serve", start=False, **local(tmp_path)):
        async with db.transaction() as tx:
            await steps.publish(Step("k", 1), tx=tx)
        await until(lambda: empty(db))


async def test_databases_that_are_not_bound_here_have_no_outbox(tmp_path: Path) -> None:
    db = Database("shop")
    steps = Topic("steps", Step)
    async with serving("serve", start=False, **local(tmp_path)) as service:
        assert service._outbox is not None
        await steps.publish(Step("k", 1))
    async with serving() as service:
        await steps.publish(Step("k", 1))
        await service.settle()
        assert len(steps.messages) == 1
    del db


async def test_where_the_broker_is_the_same_database_the_insert_is_the_publish(url: str) -> None:
    db = Database("queue")
    steps = Topic("steps", Step, order_by="key", delivery="exactly-once")
    got: list[int] = []

    @steps.subscribe("all")
    async def handle(step: Step) -> None:
        got.append(step.number)

    async with bound(db, url), serving("serve", **QUEUE):
        connection = await asyncpg.connect(url)
        async with db.transaction() as tx:
            await steps.publish(Step("k", 1), tx=tx)
            assert await tx.fetch_value(int, "SELECT count(*) FROM fastlane.pubsub_message") == 1
            assert await tx.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 0
        async with connection.transaction():
            await steps.publish(Step("k", 2), tx=connection, dedupe_id="two")
        await steps.publish(Step("k", 2), dedupe_id="two")
        await steps.publish(Step("k", 3))
        try:
            async with db.transaction() as tx:
                await steps.publish(Step("k", 4), tx=tx, dedupe_id="four")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        await steps.publish(Step("k", 5), dedupe_id="four")
        await connection.close()
        await until(lambda: len(got) == 4)
    assert got == [1, 2, 3, 5]


async def test_where_the_broker_is_another_database_there_is_an_outbox(url: str, postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE another TEMPLATE migrated")
    shop, queue = Database("shop"), Database("queue")
    steps = Topic("steps", Step)
    got: list[int] = []

    @steps.subscribe("all")
    async def handle(step: Step) -> None:
        got.append(step.number)

    async with bound(shop, url), bound(queue, postgres.url("another")), serving("serve", **QUEUE):
        async with shop.transaction() as tx:
            await steps.publish(Step("k", 1), tx=tx)
            assert await tx.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 1
        await until(lambda: got == [1])
        await until(lambda: empty(shop))


async def test_a_broker_that_was_never_reached_takes_nothing_in_a_transaction(url: str, tmp_path: Path) -> None:
    shop, queue = Database("shop"), Database("queue")
    steps = Topic("steps", Step)
    nowhere = f"postgresql://postgres@/postgres?host={tmp_path}"
    async with (
        bound(shop, url),
        bound(queue, nowhere),
        serving("script", start=False, prepare=False, **QUEUE),
        shop.transaction() as tx,
    ):
        with pytest.raises(Unavailable):
            await steps.publish(Step("k", 1), tx=tx)


async def test_a_server_that_goes_away_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    db = Database("shop")
    steps = Topic("steps", Step)
    with Postgres() as server:
        from fastlane.sql.migrations import Migrator

        connection = await asyncpg.connect(server.url())
        await Migrator.of_framework().apply(connection)
        await connection.close()
        async with bound(db, server.url()):
            async with serving("script", start=False, **local(tmp_path)), db.transaction() as tx:
                await steps.publish(Step("k", 1), tx=tx)
            server.kill()
            async with serving("serve", start=False, **local(tmp_path)):
                await asyncio.sleep(0.3)  # it tries
                server.start()
                await until(lambda: reached(db))


async def reached(db: Database) -> bool:
    try:
        return await empty(db)
    except Unavailable:
        return False


async def test_rows_for_a_topic_that_is_no_more_are_told_of(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastlane.pubsub.outbox.post.LOOK_SECONDS", 0.05)
    db = Database("shop")
    steps = Topic("steps", Step)
    async with bound(db, url), serving("serve", start=False, **local(tmp_path)):
        await db.execute(
            "SELECT fastlane.outbox_insert('gone', ARRAY['1'], ARRAY[NULL], ARRAY[now()], ARRAY[0.0], ARRAY['1'], "
            "ARRAY['{}'], ARRAY[''::bytea])"
        )
        await until(lambda: "has 1 messages for topic 'gone'" in caplog.text)
        assert await rows(db) == 1
    del steps

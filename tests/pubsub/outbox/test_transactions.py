"""What is published in a transaction, in a test's app: with the commit, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from fastlane.errors import ConfigurationError, Unavailable
from fastlane.pubsub import MessageTooLarge, PublishRefused, Topic
from fastlane.sql import Database
from tests.pubsub.outbox.posted import bound, serving
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Order(Struct):
    id: int
    customer: str = "c"
    text: str = ""


async def test_what_commits_is_sent_and_what_rolls_back_is_not(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    got: list[int] = []

    @orders.subscribe("bill")
    async def bill(order: Order) -> None:
        got.append(order.id)

    async with bound(db, url), serving() as service:
        async with db.transaction() as tx:
            identifier = await orders.publish(Order(1), tx=tx)
            others = await orders.publish_many([Order(2), Order(3)], tx=tx)
            await service.settle()
            assert orders.messages == []
        with contextlib.suppress(ZeroDivisionError):
            async with db.transaction() as tx:
                await orders.publish(Order(4), tx=tx)
                raise ZeroDivisionError
        async with db.transaction() as tx:
            with contextlib.suppress(ZeroDivisionError):
                async with tx.transaction():
                    await orders.publish(Order(5), tx=tx)
                    raise ZeroDivisionError
            await orders.publish(Order(6), tx=tx)
        await service.settle()
        assert [message.id for message in orders.messages][:3] == [identifier, *others]
        assert [message.value.id for message in orders.messages] == got == [1, 2, 3, 6]
        assert await db.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 0


async def test_a_commit_is_carried_without_anybody_asking(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    handled = asyncio.Event()

    @orders.subscribe("bill")
    async def bill(order: Order) -> None:
        handled.set()

    async with bound(db, url), serving():
        async with db.transaction() as tx:
            await orders.publish(Order(1), tx=tx)
        await asyncio.wait_for(handled.wait(), 40)


async def test_a_connection_of_asyncpg_will_do_if_it_is_in_a_transaction(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order, delivery="exactly-once")
    async with bound(db, url), serving() as service:
        connection = await asyncpg.connect(url)
        pool = await asyncpg.create_pool(url, min_size=1, max_size=1)
        try:
            async with connection.transaction():
                await orders.publish(Order(1), tx=connection, dedupe_id="one")
            async with pool.acquire() as pooled, pooled.transaction():
                await orders.publish(Order(1), tx=pooled, dedupe_id="one")
                await orders.publish(Order(2), tx=pooled)
            with pytest.raises(RuntimeError, match="in no transaction"):
                await orders.publish(Order(3), tx=connection)
        finally:
            await connection.close()
            await pool.close()
        await service.settle()
        assert [message.value.id for message in orders.messages] == [1, 2]


async def test_what_is_no_transaction_is_refused_with_the_mend(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    async with bound(db, url), serving():
        wrong: Any
        for wrong in (db, "tx", object()):
            with pytest.raises(TypeError, match="is no transaction\n    mend: pass the one of"):
                await orders.publish(Order(1), tx=wrong)


async def test_size_and_texts_are_looked_at_before_the_row_is_written(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order, order_by="customer")
    async with bound(db, url), serving() as service:
        async with db.transaction() as tx:
            with pytest.raises(MessageTooLarge):
                await orders.publish(Order(1, text="x" * 300_000), tx=tx)
            with pytest.raises(PublishRefused, match="NUL"):
                await orders.publish(Order(1), tx=tx, ordering_key="a\x00b")
            assert await orders.publish_many([], tx=tx) == []
            await orders.publish(Order(2), tx=tx)
        await service.settle()
        assert [message.value.id for message in orders.messages] == [2]


async def test_a_database_without_the_tables_says_so(postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE bare")
    db = Database("shop")
    orders = Topic("orders", Order)
    async with bound(db, postgres.url("bare")), serving():
        with pytest.raises(ConfigurationError, match="fastlane sql migrate"):
            async with db.transaction() as tx:
                await orders.publish(Order(1), tx=tx)


async def test_where_the_broker_fails_what_was_committed_waits(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    async with bound(db, url), serving() as service:
        with orders.failing():
            async with db.transaction() as tx:
                await orders.publish(Order(1), tx=tx)
            await service.settle()
            with pytest.raises(Unavailable):
                await orders.publish(Order(2))
        assert await db.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 1
        await service.settle()
        assert [message.value.id for message in orders.messages] == [1]


async def test_a_delay_counts_from_the_publish(url: str) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    async with bound(db, url), serving(start=False) as service:
        async with db.transaction() as tx:
            await orders.publish(Order(1), tx=tx, delay="10m")
        await service.settle()
        binding = orders.binding
        assert binding.spy is not None
        ((_, sent),) = binding.spy.published(binding.bound)
        assert 590 < sent.delay <= 600


async def test_a_script_writes_rows_and_leaves_them_to_whoever_serves(url: str, tmp_path: object) -> None:
    db = Database("shop")
    orders = Topic("orders", Order)
    local = {"providers": {"here": {"kind": "local", "path": f"{tmp_path}/pubsub.db"}}, "pubsub": {"provider": "here"}}
    async with bound(db, url), serving("script", start=False, **local):
        async with db.transaction() as tx:
            await orders.publish(Order(1), tx=tx)
        assert await db.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 1

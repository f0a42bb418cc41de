"""``once=db``: what a handler writes, and that it handled the message, are committed together."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub import Retry, Topic
from fastlane.sql import Database
from tests.pubsub.outbox.posted import bound, serving, until
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Order(Struct):
    id: int


async def test_a_message_that_comes_twice_is_handled_once_with_all_that_it_wrote(url: str) -> None:
    db = Database("shop")
    orders, bills = Topic("orders", Order), Topic("bills", Order)
    calls: list[int] = []

    @orders.subscribe("bill", once=db, retry=Retry(min_backoff=0.01))
    async def bill(order: Order) -> None:
        calls.append(order.id)
        await db.execute("INSERT INTO bill VALUES ($1)", order.id)
        async with db.transaction() as tx:
            await bills.publish(order, tx=tx)
        if len(calls) == 1:
            raise ValueError("after it has written")

    async with bound(db, url), serving() as service:
        await db.execute("CREATE TABLE bill (id int)")
        await orders.publish(Order(1))
        await until(lambda: settled(service, lambda: len(calls) == 2 and bills.messages))
        assert await db.fetch_all(int, "SELECT id FROM bill") == [1]
        assert [message.value for message in bills.messages] == [Order(1)]
        (message,) = orders.messages
        async with db.claim("orders/bill", message.id) as first:
            assert not first
        async with db.claim("orders/other", message.id) as first:
            assert first


async def settled(service: object, condition: object) -> bool:
    try:
        await asyncio.wait_for(service.settle(), 0.2)  # type: ignore[attr-defined]
    except TimeoutError:
        pass
    return bool(condition())  # type: ignore[operator]


async def test_inside_a_claim_queries_of_its_task_join_and_others_do_not(url: str) -> None:
    db = Database("shop")
    async with bound(db, url):
        await db.execute("CREATE TABLE note (text text)")
        with contextlib.suppress(ZeroDivisionError):
            async with db.claim("t/s", "1"):
                await db.execute("INSERT INTO note VALUES ('joined')")
                with contextlib.suppress(KeyError):
                    async with db.transaction() as tx:
                        await tx.execute("INSERT INTO note VALUES ('undone')")
                        raise KeyError
                assert await db.fetch_all(str, "SELECT text FROM note") == ["joined"]
                await asyncio.create_task(db.execute("INSERT INTO note VALUES ('of another task')"))
                raise ZeroDivisionError
        assert await db.fetch_all(str, "SELECT text FROM note") == ["of another task"]
        async with db.claim("t/s", "1") as first:
            assert first
            with pytest.raises(ValueError, match="transaction already"):
                db.transaction(isolation="serializable")
            async with db.transaction(isolation="read committed") as tx, tx.transaction():
                await tx.execute("INSERT INTO note VALUES ('second')")
        assert await db.fetch_value(int, "SELECT count(*) FROM note") == 2


async def test_who_claims_a_message_that_is_being_handled_waits_for_its_outcome(url: str) -> None:
    db = Database("shop")
    order: list[str] = []

    async def second() -> None:
        async with db.claim("t/s", "1") as first:
            order.append(f"second: {first}")

    async with bound(db, url):
        async with db.claim("t/s", "1") as first:
            order.append(f"first: {first}")
            waiting = asyncio.create_task(second())
            locks = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: asyncio.create_task(db_value(db, locks)))
        await waiting
        assert order == ["first: True", "second: False"]


async def db_value(db: Database, query: str) -> int:
    return await db.fetch_value(int, query)


async def test_claims_leave_a_connection_to_others_and_wait_for_their_turn(url: str) -> None:
    db = Database("shop")
    running = 0
    most = 0

    async def handle(number: int) -> None:
        nonlocal running, most
        async with db.claim("t/s", str(number)) as first:
            assert first
            running += 1
            most = max(most, running)
            assert await asyncio.create_task(db_value(db, "SELECT 1")) == 1
            running -= 1

    async with bound(db, url, most=3):
        await asyncio.gather(*(handle(number) for number in range(20)))
        held = [asyncio.create_task(handle(number)) for number in range(30, 40)]
        await asyncio.sleep(0)
        for task in held[::2]:
            task.cancel()
        await asyncio.wait(held, timeout=60)
        assert all(task.cancelled() for task in held[::2])
        assert all(task.exception() is None for task in held[1::2])
        assert await db.fetch_value(int, "SELECT count(*) FROM fastlane.inbox") == 25
    assert most == 2


async def test_what_was_handled_long_ago_is_forgotten(url: str) -> None:
    db = Database("shop")
    async with bound(db, url):
        async with db.claim("t/s", "old"), db.transaction():
            pass
        await db.execute("UPDATE fastlane.inbox SET handled_at = now() - interval '15 days'")
        async with db.claim("t/s", "new"):
            pass
        inbox = db.binding.inbox
        await inbox.purge()
        assert await db.fetch_all(str, "SELECT message_id FROM fastlane.inbox") == ["new"]
        inbox._next_purge = 0.0
        async with db.claim("t/s", "newer"):
            pass
        assert inbox._purging is not None
        await inbox._purging


async def test_without_the_tables_a_claim_says_what_to_do(postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE forgetful")
    db = Database("shop")
    async with bound(db, postgres.url("forgetful")):
        with pytest.raises(ConfigurationError, match="fastlane sql migrate"):
            async with db.claim("t/s", "1"):
                pass
        await db.binding.inbox.purge()  # says so, and ends

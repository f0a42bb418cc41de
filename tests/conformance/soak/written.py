"""The app of the outbox soak: what is written and what is published belong together."""

from __future__ import annotations

import os

from msgspec import Struct

from fastlane import App
from fastlane.pubsub import Retry, Topic
from fastlane.sql import Database

__all__ = ["Order", "app", "database", "orders"]

_log = os.open(os.environ["SOAK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

app = App(title="Outbox soak")
database = Database("soak", migrations=None)


class Order(Struct):
    key: str
    number: int
    undo: bool


class _Undone(Exception):
    pass


orders: Topic[Order] = Topic("orders", Order, order_by="key")


@app.post("/orders")
async def write(order: Order) -> bool:
    """Whether it was committed."""
    try:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO orders (key, number) VALUES ($1, $2)", order.key, order.number)
            await orders.publish_many([order, order], tx=tx)
            if order.undo:
                raise _Undone
    except _Undone:
        return False
    return True


@orders.subscribe("log", ack_deadline=float(os.environ["SOAK_ACK_DEADLINE"]), retry=Retry(min_backoff=1, max_backoff=2))
async def handle(order: Order) -> None:
    assert not order.undo
    # One write: lines of several workers don't mix, and what is written outlives a SIGKILL.
    os.write(_log, b"%s %d %d\n" % (order.key.encode(), order.number, os.getpid()))

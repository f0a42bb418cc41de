"""fastlane, as DESIGN 2 writes it."""

import asyncio
from typing import Annotated

from msgspec import Meta

from bench.apps.structs import ITEMS, Found, Greeting, Item, Order, Receipt, User
from fastlane import App, Depends, Header

app = App(title="Bench")


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting("Hello, world!")


@app.post("/orders")
async def create_order(
    order: Order,
    x_tenant: Annotated[str, Header(), Meta(min_length=3, max_length=40)],
    priority: Annotated[int, Meta(ge=1, le=5)],
    dry_run: bool,
) -> Receipt:
    return Receipt(order.sku, order.quantity, order.quantity * order.price, order.currency, x_tenant, priority, dry_run)


@app.get("/items/{item_id}")
async def find(
    item_id: Annotated[int, Meta(ge=1)],
    q: Annotated[str, Meta(min_length=1, max_length=50)],
    limit: Annotated[int, Meta(ge=1, le=100)],
    exact: bool = False,
) -> Found:
    return Found(item_id, q, limit, exact)


@app.get("/objects")
async def objects() -> list[Item]:
    return ITEMS


async def current_user(x_user: Annotated[int, Header(), Meta(ge=1)]) -> User:
    return User(x_user, f"user {x_user}")


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.get("/awaits")
async def awaits() -> Greeting:
    await asyncio.sleep(0)
    return Greeting("Hello, world!")

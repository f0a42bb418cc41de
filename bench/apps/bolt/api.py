"""The routes, named by ``BOLT_API`` in the settings."""

import asyncio
from typing import Annotated

from django_bolt import BoltAPI, Depends
from django_bolt.param_functions import Header
from msgspec import Meta

from bench.apps.structs import ITEMS, Found, Greeting, Item, Order, Receipt, User

api = BoltAPI()


@api.get("/hello")
async def hello() -> Greeting:
    return Greeting("Hello, world!")


@api.post("/orders", status_code=200)
async def create_order(
    order: Order,
    x_tenant: Annotated[str, Meta(min_length=3, max_length=40), Header(alias="x-tenant")],
    priority: Annotated[int, Meta(ge=1, le=5)],
    dry_run: bool,
) -> Receipt:
    return Receipt(order.sku, order.quantity, order.quantity * order.price, order.currency, x_tenant, priority, dry_run)


@api.get("/items/{item_id}")
async def find(
    item_id: Annotated[int, Meta(ge=1)],
    q: Annotated[str, Meta(min_length=1, max_length=50)],
    limit: Annotated[int, Meta(ge=1, le=100)],
    exact: bool = False,
) -> Found:
    return Found(item_id, q, limit, exact)


@api.get("/objects")
async def objects() -> list[Item]:
    return ITEMS


async def current_user(x_user: Annotated[int, Meta(ge=1), Header(alias="x-user")]) -> User:
    return User(x_user, f"user {x_user}")


@api.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@api.get("/awaits")
async def awaits() -> Greeting:
    await asyncio.sleep(0)
    return Greeting("Hello, world!")

"""Litestar with msgspec structures, which it is built on."""

import asyncio
from typing import Annotated

from litestar import Litestar, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import Parameter

from bench.apps.structs import ITEMS, Found, Greeting, Item, Order, Receipt, User


@get("/hello")
async def hello() -> Greeting:
    return Greeting("Hello, world!")


@post("/orders", status_code=200)
async def create_order(
    data: Order,
    tenant: Annotated[str, Parameter(header="X-Tenant", min_length=3, max_length=40)],
    priority: Annotated[int, Parameter(query="priority", ge=1, le=5)],
    dry_run: Annotated[bool, Parameter(query="dry_run")],
) -> Receipt:
    return Receipt(data.sku, data.quantity, data.quantity * data.price, data.currency, tenant, priority, dry_run)


@get("/items/{item_id:int}")
async def find(
    item_id: Annotated[int, Parameter(ge=1)],
    q: Annotated[str, Parameter(query="q", min_length=1, max_length=50)],
    limit: Annotated[int, Parameter(query="limit", ge=1, le=100)],
    exact: Annotated[bool, Parameter(query="exact")] = False,
) -> Found:
    return Found(item_id, q, limit, exact)


@get("/objects")
async def objects() -> list[Item]:
    return ITEMS


async def current_user(x_user: Annotated[int, Parameter(header="X-User", ge=1)]) -> User:
    return User(x_user, f"user {x_user}")


@get("/me", dependencies={"user": Provide(current_user)})
async def me(user: NamedDependency[User]) -> User:
    return user


@get("/awaits")
async def awaits() -> Greeting:
    await asyncio.sleep(0)
    return Greeting("Hello, world!")


app = Litestar([hello, create_order, find, objects, me, awaits])

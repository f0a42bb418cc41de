"""FastAPI, as its tutorial writes it."""

import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Path, Query

from bench.apps.models import ITEMS, Found, Greeting, Item, Order, Receipt, User

app = FastAPI()


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting(message="Hello, world!")


@app.post("/orders")
async def create_order(
    order: Order,
    x_tenant: Annotated[str, Header(min_length=3, max_length=40)],
    priority: Annotated[int, Query(ge=1, le=5)],
    dry_run: bool,
) -> Receipt:
    return Receipt(
        sku=order.sku,
        quantity=order.quantity,
        total=order.quantity * order.price,
        currency=order.currency,
        tenant=x_tenant,
        priority=priority,
        dry_run=dry_run,
    )


@app.get("/items/{item_id}")
async def find(
    item_id: Annotated[int, Path(ge=1)],
    q: Annotated[str, Query(min_length=1, max_length=50)],
    limit: Annotated[int, Query(ge=1, le=100)],
    exact: bool = False,
) -> Found:
    return Found(id=item_id, q=q, limit=limit, exact=exact)


@app.get("/objects")
async def objects() -> list[Item]:
    return ITEMS


async def current_user(x_user: Annotated[int, Header(ge=1)]) -> User:
    return User(id=x_user, name=f"user {x_user}")


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.get("/awaits")
async def awaits() -> Greeting:
    await asyncio.sleep(0)
    return Greeting(message="Hello, world!")

"""The values of every scenario, as msgspec structures."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["ITEMS", "Found", "Greeting", "Item", "Order", "Receipt", "User"]


class Greeting(Struct):
    message: str


class Order(Struct):
    customer: Annotated[str, Meta(min_length=1, max_length=80)]
    email: Annotated[str, Meta(min_length=3, max_length=120)]
    sku: Annotated[str, Meta(pattern="^[A-Z]{3}-[0-9]{4}$")]
    quantity: Annotated[int, Meta(ge=1, le=100)]
    price: Annotated[float, Meta(gt=0, le=10_000)]
    currency: Literal["EUR", "SEK", "USD"]
    tags: Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=8)]


class Receipt(Struct):
    sku: str
    quantity: int
    total: float
    currency: str
    tenant: str
    priority: int
    dry_run: bool


class Found(Struct):
    id: int
    q: str
    limit: int
    exact: bool


class Item(Struct):
    id: int
    name: str
    price: float
    in_stock: bool
    tags: list[str]


class User(Struct):
    id: int
    name: str


ITEMS = [
    Item(id=n, name=f"item {n}", price=n + 0.25, in_stock=n % 3 != 0, tags=["garden", "sale"]) for n in range(1, 101)
]

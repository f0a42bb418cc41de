"""The values of every scenario, as pydantic models: the same fields and the same constraints as ``structs``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

__all__ = ["ITEMS", "Found", "Greeting", "Item", "Order", "Receipt", "User"]


class Greeting(BaseModel):
    message: str


class Order(BaseModel):
    customer: Annotated[str, Field(min_length=1, max_length=80)]
    email: Annotated[str, Field(min_length=3, max_length=120)]
    sku: Annotated[str, Field(pattern="^[A-Z]{3}-[0-9]{4}$")]
    quantity: Annotated[int, Field(ge=1, le=100)]
    price: Annotated[float, Field(gt=0, le=10_000)]
    currency: Literal["EUR", "SEK", "USD"]
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=20)]], Field(max_length=8)]


class Receipt(BaseModel):
    sku: str
    quantity: int
    total: float
    currency: str
    tenant: str
    priority: int
    dry_run: bool


class Found(BaseModel):
    id: int
    q: str
    limit: int
    exact: bool


class Item(BaseModel):
    id: int
    name: str
    price: float
    in_stock: bool
    tags: list[str]


class User(BaseModel):
    id: int
    name: str


ITEMS = [
    Item(id=n, name=f"item {n}", price=n + 0.25, in_stock=n % 3 != 0, tags=["garden", "sale"]) for n in range(1, 101)
]

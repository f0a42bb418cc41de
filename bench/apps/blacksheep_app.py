"""BlackSheep with pydantic models; constraints of scalars, which it has none for, are checked by hand."""

import asyncio

from blacksheep import Application, FromHeader, FromJSON, FromQuery, Request, Response, get, json, post
from blacksheep.exceptions import BadRequest

from bench.apps.models import ITEMS, Found, Greeting, Order, Receipt, User

app = Application()


class TenantHeader(FromHeader[str]):
    name = "X-Tenant"


class Users:
    """The dependency: made by the container, once a request, for the handler that names its type."""

    async def current(self, request: Request) -> User:
        text = request.get_first_header(b"X-User")
        if text is None or not text.isdigit() or text == b"0":
            raise BadRequest("X-User")
        return User(id=int(text), name=f"user {int(text)}")


app.services.add_scoped(Users)


@get("/hello")
async def hello() -> Response:
    return json(Greeting(message="Hello, world!"))


@post("/orders")
async def create_order(
    order: FromJSON[Order], tenant: TenantHeader, priority: FromQuery[int], dry_run: FromQuery[bool]
) -> Response:
    if not 3 <= len(tenant.value) <= 40:
        raise BadRequest("X-Tenant")
    if not 1 <= priority.value <= 5:
        raise BadRequest("priority")
    value = order.value
    return json(
        Receipt(
            sku=value.sku,
            quantity=value.quantity,
            total=value.quantity * value.price,
            currency=value.currency,
            tenant=tenant.value,
            priority=priority.value,
            dry_run=dry_run.value,
        )
    )


@get("/items/{item_id}")
async def find(item_id: int, q: FromQuery[str], limit: FromQuery[int], exact: FromQuery[bool]) -> Response:
    if item_id < 1 or not 1 <= len(q.value) <= 50 or not 1 <= limit.value <= 100:
        raise BadRequest("out of range")
    return json(Found(id=item_id, q=q.value, limit=limit.value, exact=exact.value))


@get("/objects")
async def objects() -> Response:
    return json(ITEMS)


@get("/me")
async def me(request: Request, users: Users) -> Response:
    return json(await users.current(request))


@get("/awaits")
async def awaits() -> Response:
    await asyncio.sleep(0)
    return json(Greeting(message="Hello, world!"))

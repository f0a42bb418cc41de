"""Starlette with pydantic, which it leaves to the user."""

import asyncio

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.apps.models import ITEMS, Found, Greeting, Item, Order, Receipt, User


class OrderQuery(BaseModel):
    priority: int = Field(ge=1, le=5)
    dry_run: bool


class FindQuery(BaseModel):
    q: str = Field(min_length=1, max_length=50)
    limit: int = Field(ge=1, le=100)
    exact: bool = False


class TenantHeader(BaseModel):
    x_tenant: str = Field(alias="x-tenant", min_length=3, max_length=40)


class UserHeader(BaseModel):
    x_user: int = Field(alias="x-user", ge=1)


items = TypeAdapter(list[Item])


def answer(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type="application/json")


async def hello(request: Request) -> Response:
    return JSONResponse({"message": "Hello, world!"})


async def create_order(request: Request) -> Response:
    order = Order.model_validate_json(await request.body())
    header = TenantHeader.model_validate(dict(request.headers))
    query = OrderQuery.model_validate(dict(request.query_params))
    return answer(
        Receipt(
            sku=order.sku,
            quantity=order.quantity,
            total=order.quantity * order.price,
            currency=order.currency,
            tenant=header.x_tenant,
            priority=query.priority,
            dry_run=query.dry_run,
        )
    )


async def find(request: Request) -> Response:
    query = FindQuery.model_validate(dict(request.query_params))
    return answer(Found(id=request.path_params["id"], q=query.q, limit=query.limit, exact=query.exact))


async def objects(request: Request) -> Response:
    return Response(items.dump_json(ITEMS), media_type="application/json")


async def current_user(request: Request) -> User:
    header = UserHeader.model_validate(dict(request.headers))
    return User(id=header.x_user, name=f"user {header.x_user}")


async def me(request: Request) -> Response:
    return answer(await current_user(request))


async def awaits(request: Request) -> Response:
    await asyncio.sleep(0)
    return answer(Greeting(message="Hello, world!"))


async def invalid(request: Request, error: Exception) -> Response:
    return JSONResponse({"errors": str(error)}, status_code=422)


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/orders", create_order, methods=["POST"]),
        Route("/items/{id:int}", find),
        Route("/objects", objects),
        Route("/me", me),
        Route("/awaits", awaits),
    ],
    exception_handlers={ValidationError: invalid},
)

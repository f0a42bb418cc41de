"""Robyn with pydantic bodies; what it has no declaration for is checked by hand."""

import asyncio
import sys

from robyn import Request, Response, Robyn

from bench.apps.models import ITEMS, Order, User

app = Robyn(__file__)


def refuse(name):
    return Response(status_code=422, headers={"Content-Type": "text/plain"}, description=f"invalid {name}")


@app.get("/hello")
async def hello():
    return {"message": "Hello, world!"}


@app.post("/orders")
async def create_order(request: Request, order: Order, priority: int, dry_run: bool):
    tenant = request.headers.get("x-tenant")
    if tenant is None or not 3 <= len(tenant) <= 40:
        return refuse("x-tenant")
    if not 1 <= priority <= 5:
        return refuse("priority")
    return {
        "sku": order.sku,
        "quantity": order.quantity,
        "total": order.quantity * order.price,
        "currency": order.currency,
        "tenant": tenant,
        "priority": priority,
        "dry_run": dry_run,
    }


@app.get("/items/:item_id")
async def find(item_id: int, q: str, limit: int, exact: bool = False):
    if item_id < 1 or not 1 <= len(q) <= 50 or not 1 <= limit <= 100:
        return refuse("value")
    return {"id": item_id, "q": q, "limit": limit, "exact": exact}


@app.get("/objects")
async def objects():
    return [item.model_dump() for item in ITEMS]


def current_user(request):
    text = request.headers.get("x-user")
    if text is None or not text.isdigit() or text == "0":
        return None
    return User(id=int(text), name=f"user {int(text)}")


app.inject(current_user=current_user)


@app.get("/me")
async def me(request: Request, router_dependencies):
    user = router_dependencies["current_user"](request)
    return refuse("x-user") if user is None else user


@app.get("/awaits")
async def awaits():
    await asyncio.sleep(0)
    return {"message": "Hello, world!"}


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))

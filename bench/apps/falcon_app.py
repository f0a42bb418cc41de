"""Falcon's ASGI app with msgspec for bodies and answers, as its recipes have it."""

import asyncio

import falcon
import falcon.asgi
import msgspec

from bench.apps.structs import ITEMS, Found, Greeting, Order, Receipt, User

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode


def answer(resp, value):
    resp.content_type = falcon.MEDIA_JSON
    resp.data = encode(value)


class Hello:
    async def on_get(self, req, resp):
        answer(resp, Greeting("Hello, world!"))


class Orders:
    async def on_post(self, req, resp):
        try:
            order = decode_order(await req.stream.read())
        except ValueError as error:
            raise falcon.HTTPUnprocessableEntity(description=str(error)) from error
        tenant = req.get_header("X-Tenant", required=True)
        if not 3 <= len(tenant) <= 40:
            raise falcon.HTTPInvalidHeader("3 to 40 characters", "X-Tenant")
        priority = req.get_param_as_int("priority", required=True, min_value=1, max_value=5)
        dry_run = req.get_param_as_bool("dry_run", required=True)
        total = order.quantity * order.price
        answer(resp, Receipt(order.sku, order.quantity, total, order.currency, tenant, priority, dry_run))


class Find:
    async def on_get(self, req, resp, item_id):
        text = req.get_param("q", required=True)
        if len(text) > 50:
            raise falcon.HTTPInvalidParam("50 characters at most", "q")
        limit = req.get_param_as_int("limit", required=True, min_value=1, max_value=100)
        exact = req.get_param_as_bool("exact", default=False)
        answer(resp, Found(item_id, text, limit, exact))


class Objects:
    async def on_get(self, req, resp):
        answer(resp, ITEMS)


async def current_user(req, resp, resource, params):
    text = req.get_header("X-User", required=True)
    if not text.isdigit() or text == "0":
        raise falcon.HTTPInvalidHeader("a number from 1 on", "X-User")
    req.context.user = User(int(text), f"user {int(text)}")


class Me:
    @falcon.before(current_user)
    async def on_get(self, req, resp):
        answer(resp, req.context.user)


class Awaits:
    async def on_get(self, req, resp):
        await asyncio.sleep(0)
        answer(resp, Greeting("Hello, world!"))


app = falcon.asgi.App()
app.add_route("/hello", Hello())
app.add_route("/orders", Orders())
app.add_route("/items/{item_id:int(min=1)}", Find())
app.add_route("/objects", Objects())
app.add_route("/me", Me())
app.add_route("/awaits", Awaits())

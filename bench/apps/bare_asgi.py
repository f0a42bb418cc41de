"""No framework: one ASGI callable that does by hand what each scenario asks for, with msgspec."""

import asyncio
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from bench.apps.structs import ITEMS, Found, Greeting, Order, Receipt, User

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_positive = msgspec.json.Decoder(Annotated[int, Meta(ge=1)]).decode
decode_priority = msgspec.json.Decoder(Annotated[int, Meta(ge=1, le=5)]).decode
decode_limit = msgspec.json.Decoder(Annotated[int, Meta(ge=1, le=100)]).decode
decode_bool = msgspec.json.Decoder(bool).decode


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    status = 200
    try:
        if path == "/hello":
            body = encode(Greeting("Hello, world!"))
        elif path == "/orders":
            body = encode(await create_order(scope, receive))
        elif path.startswith("/items/"):
            query = parse_qs(scope["query_string"].decode())
            text = query["q"][-1]
            if not 1 <= len(text) <= 50:
                raise ValueError("q")
            found = Found(
                decode_positive(path[7:]), text, decode_limit(query["limit"][-1]), decode_bool(query["exact"][-1])
            )
            body = encode(found)
        elif path == "/objects":
            body = encode(ITEMS)
        elif path == "/me":
            user_id = decode_positive(dict(scope["headers"])[b"x-user"])
            body = encode(User(user_id, f"user {user_id}"))
        elif path == "/awaits":
            await asyncio.sleep(0)
            body = encode(Greeting("Hello, world!"))
        else:
            status, body = 404, b'{"error":"not found"}'
    except (KeyError, ValueError):
        status, body = 422, b'{"error":"invalid"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def create_order(scope, receive):
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    order = decode_order(b"".join(chunks))
    tenant = dict(scope["headers"])[b"x-tenant"].decode("latin-1")
    if not 3 <= len(tenant) <= 40:
        raise ValueError("x-tenant")
    query = parse_qs(scope["query_string"].decode())
    return Receipt(
        order.sku,
        order.quantity,
        order.quantity * order.price,
        order.currency,
        tenant,
        decode_priority(query["priority"][-1]),
        decode_bool(query["dry_run"][-1]),
    )

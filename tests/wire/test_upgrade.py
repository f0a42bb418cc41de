"""Upgrade: RFC 9110 7.8. Ignored, it does not change where the request ends; honoured, what follows is WebSocket."""

from __future__ import annotations

from typing import Any

import pytest

from fastlane import WebSocket

from .applications import Journal, asgi_echo, native_echo
from .conftest import Wire
from .exchange import Client
from .serving import run, serve
from .table import DELIVERIES, Case, either, refused, served

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def get(upgrade: bytes, connection: bytes = b"upgrade", fields: bytes = b"") -> bytes:
    return (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: "
        + connection
        + b"\r\nUpgrade: "
        + upgrade
        + b"\r\n"
        + fields
        + b"\r\n"
    )


def post(upgrade: bytes, fields: bytes, body: bytes) -> bytes:
    return (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + upgrade + b"\r\n" + fields + b"\r\n" + body
    )


def ignored(name: str, sent: bytes) -> Case:
    """Served as if it were not there; a server that closes behind it is safe too."""
    return either(name, sent + NEXT, served("", b"", b"GET /", b"GET /next"), served("", b"", b"GET /", kept=False))


def body_kept(name: str, sent: bytes, body: bytes) -> Case:
    """The body stays a body, or the request is refused; it never becomes a request."""
    whole = b"POST / " + body
    return either(name, sent, served("", b"", whole), served("", b"", whole, kept=False), refused("", b""))


H2C = b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"

CASES = [
    ignored("h2c", get(b"h2c", b"Upgrade, HTTP2-Settings", H2C)),
    ignored("an unknown protocol", get(b"foo/1.0")),
    ignored("two protocols", get(b"h2c, websocket")),
    ignored("TLS", get(b"TLS/1.0")),
    ignored("websocket where there is none", get(b"websocket")),
    ignored("Upgrade without Connection", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n"),
    ignored("Connection without Upgrade", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n"),
    ignored("an empty Upgrade", get(b"")),
    served("with close", get(b"h2c", b"upgrade, close") + SMUGGLED, b"GET /", kept=False),
    served("in 1.0", get(b"h2c").replace(b"1.1", b"1.0") + SMUGGLED, b"GET /", kept=False),
    body_kept("h2c and a body that is a request", post(b"h2c", b"Content-Length: 36\r\n", SMUGGLED), SMUGGLED),
    body_kept(
        "websocket and a body that is a request", post(b"websocket", b"Content-Length: 36\r\n", SMUGGLED), SMUGGLED
    ),
    body_kept(
        "an unknown protocol and a body that is a request", post(b"foo", b"Content-Length: 36\r\n", SMUGGLED), SMUGGLED
    ),
    body_kept(
        "h2c and chunks",
        post(b"h2c", b"Transfer-Encoding: chunked\r\n", b"24\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
        SMUGGLED,
    ),
    body_kept(
        "Upgrade alone and a body",
        post(b"h2c", b"Content-Length: 36\r\n", SMUGGLED).replace(b"Connection: upgrade\r\n", b""),
        SMUGGLED,
    ),
    either(
        "a GET with a body",
        get(b"h2c", fields=b"Content-Length: 36\r\n") + SMUGGLED,
        served("", b"", b"GET / " + SMUGGLED),
        served("", b"", b"GET / " + SMUGGLED, kept=False),
        refused("", b""),
    ),
    refused(
        "h2c and both framings",
        post(b"h2c", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    ),
    refused("h2c and a broken length", post(b"h2c", b"Content-Length: +36\r\n", SMUGGLED)),
    refused(
        "websocket without Host", b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + SMUGGLED
    ),
    refused(
        "the preface of HTTP/2 behind an upgrade",
        get(b"h2c", b"Upgrade, HTTP2-Settings", H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        400,
        405,
        501,
        505,
        after=[b"GET /"],
    ),
]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_upgrades_that_are_ignored(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)


HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO_FRAME = b"\x81\x85\x00\x00\x00\x00hello"
"""A masked text frame whose mask is zero."""


async def websocket_echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


WS = ["websockets-sansio", "wsproto"]


@pytest.mark.parametrize("ws", WS)
@pytest.mark.parametrize("pieces", [1, 2, len(HANDSHAKE)])
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["first", "behind-a-request"])
def test_a_websocket_takes_the_connection_over(ws: str, pieces: int, before: bytes) -> None:
    sent = before + HANDSHAKE
    step = -(-len(sent) // pieces)

    async def main() -> None:
        async with serve(websocket_echo, ws=ws) as address, Client.open(address) as client:
            await client.send(*(sent[index : index + step] for index in range(0, len(sent), step)))
            assert await client.until_received(b"HTTP/1.1 101 ")
            assert await client.until_received(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            await client.send(HELLO_FRAME)
            assert await client.until_received(b"\x81\x05hello")

    run(main())


@pytest.mark.parametrize("ws", WS)
def test_a_websocket_behind_a_long_pipeline_is_read(ws: str) -> None:
    # Behind a turn of 64 the connection pauses; it was handed over like that, and nothing of the client came through.
    app = native_echo(Journal())

    @app.websocket("/socket")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    async def main() -> None:
        async with serve(app, ws=ws) as address, Client.open(address) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100 + HANDSHAKE)
            assert await client.until_received(b"HTTP/1.1 101 ")
            await client.send(HELLO_FRAME)
            assert await client.until_received(b"\x81\x05hello")

    run(main())


@pytest.mark.parametrize("ws", WS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", id="no-key"),
        pytest.param(b"Sec-WebSocket-Version: 13\r\n", b"", id="no-version"),
        pytest.param(b"Version: 13", b"Version: 12", id="another-version"),
    ],
)
def test_a_bad_handshake_is_refused(ws: str, old: bytes, new: bytes) -> None:
    async def main() -> None:
        async with serve(websocket_echo, ws=ws) as address, Client.open(address) as client:
            await client.send(HANDSHAKE.replace(old, new) + SMUGGLED)
            assert await client.until_end()
            assert client.received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 426 "))
            assert client.received.count(b"HTTP/1.1 ") == 1

    run(main())


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 36\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"], ids=["length", "chunked"]
)
def test_a_handshake_with_a_body_is_refused(fields: bytes) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(asgi_echo(journal), ws="websockets-sansio") as address, Client.open(address) as client:
            await client.send(HANDSHAKE[:-2] + fields, SMUGGLED)
            assert await client.until_end()
            assert client.received.startswith(b"HTTP/1.1 400 ")
            assert journal.of(client.port) == []

    run(main())

"""Remembered heads change nothing but the time: a differential against a lane that reads every head (REQUESTS 5)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from fastlane import App, Cookie, Depends, Header, Request
from tests.server.lane import Connection

HOST = b"\r\nHost: example.org"


class Note(Struct):
    text: str


def build() -> App:
    app = App(max_body=100)
    seen: list[int] = []

    @app.get("/count")
    async def count(n: int = 0, session: Annotated[str, Cookie()] = "") -> list[Any]:
        seen.append(n)
        return [len(seen), n, session]

    @app.get("/waits/{name}")
    async def waits(name: str, request: Request) -> str:
        await asyncio.sleep(0)
        return f"{name} {request.headers.get('x-one')}"

    @app.post("/notes")
    async def note(note: Note, x_one: Annotated[str, Header()] = "") -> list[str]:
        return [note.text, x_one]

    @app.get("/many")
    async def many(ids: list[int]) -> list[int]:
        ids.append(0)
        return ids

    return app


def post(body: bytes, *, length: int | None = None, one: bytes = b"1") -> bytes:
    return b"POST /notes HTTP/1.1%b\r\nX-One: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        HOST,
        one,
        len(body) if length is None else length,
        body,
    )


REQUESTS = [
    b"GET /count HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /count?n=1 HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /count?n=1 HTTP/1.1" + HOST + b"\r\nCookie: session=a\r\n\r\n",
    b"GET /count?n=1 HTTP/1.1" + HOST + b"\r\nCookie: session=b\r\n\r\n",
    b"GET /count?n=x HTTP/1.1" + HOST + b"\r\n\r\n",
    b"HEAD /count HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /count HTTP/1.1" + HOST + b"\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET /count HTTP/1.1" + HOST + b"\r\nConnection: keep-alive, x\r\n\r\n",
    b"GET /waits/a HTTP/1.1" + HOST + b"\r\nX-One: 1\r\n\r\n",
    b"GET /waits/a HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /many?ids=1&ids=2 HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /nowhere HTTP/1.1" + HOST + b"\r\n\r\n",
    b"GET /count HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"\r\nGET /count HTTP/1.1" + HOST + b"\r\n\r\n",
    post(b'{"text": "a"}'),
    post(b'{"text": "b"}'),
    post(b'{"text": 1.0}'),
    post(b'{"text": "a"}', one=b"2"),
    post(b"GET /count HTTP/1.1" + HOST + b"\r\n\r\n"),
    post(b" " * 101),
    b"POST /notes HTTP/1.1" + HOST + b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'd\r\n{"text": "a"}\r\n0\r\n\r\n',
    post(b'{"text": "a"}', length=13)[:-13].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    + b'{"text": "e"}',
    b"GET /count HTTP/1.1" + HOST + b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
]
ENDS = [
    b"",
    b"GET /count HTTP/1.1" + HOST + b"\r\nConnection: close\r\n\r\n",
    b"GET /count HTTP/1.1" + HOST,
    b"GET /count HTTP/1.1\r\n\r\n",
    b"nonsense\r\n\r\n",
    post(b'{"text": "a"}')[:-3],
]


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def converse(loop: asyncio.AbstractEventLoop, pieces: list[bytes], remembered_size: int) -> tuple[bytes, bool]:
    """What a fresh lane answers to these pieces, each sent when nothing more happens."""

    async def run() -> tuple[bytes, bool]:
        connection = Connection(build())
        for piece in pieces:
            if not connection.transport.closed:
                await connection.send(piece)
        closed = connection.transport.closed
        connection.lose()
        return connection.transport.written, closed

    with patch("fastlane.server.protocol.REMEMBERED_SIZE", remembered_size):
        return loop.run_until_complete(run())


@settings(max_examples=200)
@given(
    requests=st.lists(st.sampled_from(REQUESTS), max_size=6).flatmap(
        # The interesting case is the same head again, so every request may come several times.
        lambda some: st.lists(st.sampled_from(some or [b""]), max_size=12)
    ),
    end=st.sampled_from(ENDS),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    by_request=st.booleans(),
)
def test_remembering_changes_no_byte(loop, requests, end, cuts, by_request):
    if by_request:
        pieces = [piece for piece in [*requests, end] if piece]
    else:
        raw = b"".join(requests) + end
        ends = sorted({min(cut, len(raw)) for cut in cuts} | {len(raw)})
        pieces = [raw[start:stop] for start, stop in zip([0, *ends], ends, strict=False) if start != stop]

    assert converse(loop, pieces, 2048) == converse(loop, pieces, 0)


def test_a_head_that_comes_again_is_answered_with_the_values_of_its_own_body(loop):
    written, _ = converse(loop, [post(b'{"text": "a"}'), post(b'{"text": "b"}'), post(b'{"text": "c"}')], 2048)

    assert [written.count(b'["%b","1"]' % text) for text in (b"a", b"b", b"c")] == [1, 1, 1]


def test_a_list_that_a_handler_changed_is_built_anew(loop):
    written, _ = converse(loop, [REQUESTS[10]] * 3, 2048)

    assert written.count(b"[1,2,0]") == 3


def test_an_override_leaves_no_remembered_state(loop):
    def user() -> str:
        return "real"

    app = App()

    @app.get("/")
    async def whoami(name: Annotated[str, Depends(user, inline=True)]) -> str:
        return name

    async def run() -> bytes:
        connection = Connection(app)
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        await connection.send(request, request)
        app.dependency_overrides[user] = lambda: "fake"
        await connection.send(request)
        connection.lose()
        return connection.transport.written

    written = loop.run_until_complete(run())

    assert (written.count(b"real"), written.count(b"fake")) == (2, 1)

"""What leaves: the framing of every response, whatever an application says (RFC 9110 6.4, 8.6, 15; RFC 9112 6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from fastlane import App, NotFound, Response, StreamingResponse

from .answers import Answer
from .exchange import Client
from .serving import LOOPS, run, serve


def request(method: bytes = b"GET", version: bytes = b"1.1", fields: bytes = b"", target: bytes = b"/") -> bytes:
    return method + b" " + target + b" HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n"


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def body(content: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


class Row(NamedTuple):
    """What a plain ASGI application sends, and the one answer to be read; ``closes`` None when it may do either."""

    name: str
    messages: list[Any]
    status: int
    content: bytes = b""
    framing: str = "length"
    closes: bool | None = False
    sent: bytes = request()


GET10 = request(version=b"1.0")
GET10_KEPT = request(version=b"1.0", fields=b"Connection: keep-alive\r\n")
HEAD = request(b"HEAD")

ROWS = [
    Row("a length", [start(content_length="5"), body(b"hello")], 200, b"hello"),
    Row(
        "a length, in pieces",
        [start(content_length="5"), body(b"he", True), body(b"ll", True), body(b"o")],
        200,
        b"hello",
    ),
    Row("a length, then an empty end", [start(content_length="5"), body(b"hello", True), body()], 200, b"hello"),
    Row("a length of 0", [start(content_length="0"), body()], 200),
    Row("no length, one piece", [start(), body(b"hello")], 200, b"hello", "any"),
    Row("no length, nothing", [start(), body()], 200, b"", "any"),
    Row("no length, in pieces", [start(), body(b"he", True), body(b"llo", True), body()], 200, b"hello", "chunked"),
    Row(
        "no length, empty pieces between",
        [start(), body(b"", True), body(b"he", True), body(b"", True), body(b"llo")],
        200,
        b"hello",
        "any",
    ),
    Row("no length to 1.0, in pieces", [start(), body(b"he", True), body(b"llo")], 200, b"hello", "close", True, GET10),
    Row(
        "no length to 1.0 that would stay",
        [start(), body(b"he", True), body(b"llo")],
        200,
        b"hello",
        "close",
        True,
        GET10_KEPT,
    ),
    Row("a length to 1.0", [start(content_length="5"), body(b"hello")], 200, b"hello", "length", True, GET10),
    Row(
        "a length to 1.0 that stays",
        [start(content_length="5"), body(b"hello")],
        200,
        b"hello",
        "length",
        None,
        GET10_KEPT,
    ),
    Row(
        "the application's chunked is ours",
        [start(transfer_encoding="chunked"), body(b"he", True), body(b"llo")],
        200,
        b"hello",
        "chunked",
    ),
    Row(
        "the application's chunked beside a length",
        [start(transfer_encoding="chunked", content_length="5"), body(b"hello")],
        200,
        b"hello",
        "any",
    ),
    Row(
        "the application's chunked to 1.0",
        [start(transfer_encoding="chunked"), body(b"he", True), body(b"llo")],
        200,
        b"hello",
        "close",
        True,
        GET10,
    ),
    Row(
        "the application's gzip as transfer coding",
        [start(transfer_encoding="gzip"), body(b"hello")],
        200,
        b"hello",
        "any",
    ),
    Row(
        "the application's identity",
        [start(transfer_encoding="identity", content_length="5"), body(b"hello")],
        200,
        b"hello",
        "any",
    ),
    Row("HEAD keeps the length", [start(content_length="5"), body(b"hello")], 200, b"", "none", False, HEAD),
    Row("HEAD without a body", [start(content_length="5"), body()], 200, b"", "none", False, HEAD),
    Row("HEAD without a length", [start(), body(b"he", True), body(b"llo")], 200, b"", "none", False, HEAD),
    Row("HEAD in 1.0", [start(content_length="5"), body(b"hello")], 200, b"", "none", True, request(b"HEAD", b"1.0")),
    Row("HEAD of an error", [start(404, content_length="5"), body(b"sorry")], 404, b"", "none", False, HEAD),
    Row("204", [start(204), body()], 204, b"", "none"),
    Row("204 with a length", [start(204, content_length="0"), body()], 204, b"", "none"),
    Row("204 with a body", [start(204), body(b"hello")], 204, b"", "none", None),
    Row("204 with a length and a body", [start(204, content_length="5"), body(b"hello")], 204, b"", "none", None),
    Row("204 with chunked", [start(204, transfer_encoding="chunked"), body()], 204, b"", "none"),
    Row("204 to HEAD", [start(204), body()], 204, b"", "none", False, HEAD),
    Row("304", [start(304, etag='"x"'), body()], 304, b"", "none"),
    Row("304 with the length of what it spares", [start(304, content_length="5"), body()], 304, b"", "none"),
    Row("304 with a body", [start(304), body(b"hello")], 304, b"", "none", None),
    Row("304 with chunked", [start(304, transfer_encoding="chunked"), body()], 304, b"", "none"),
    Row("205", [start(205, content_length="0"), body()], 205),
    Row("404", [start(404, content_length="5"), body(b"sorry")], 404, b"sorry"),
    Row("500 of the application's own", [start(500, content_length="5"), body(b"sorry")], 500, b"sorry"),
    Row("a status without a phrase", [start(299, content_length="2"), body(b"ok")], 299, b"ok"),
    Row("a status of the 500s without a phrase", [start(599, content_length="2"), body(b"ok")], 599, b"ok"),
    Row(
        "close in the application's words",
        [start(content_length="2", connection="close"), body(b"ok")],
        200,
        b"ok",
        "length",
        True,
    ),
    Row(
        "Close, in a list",
        [start(content_length="2", connection="keep-alive, Close"), body(b"ok")],
        200,
        b"ok",
        "length",
        True,
    ),
    Row(
        "keep-alive against the client's close",
        [start(content_length="2", connection="keep-alive"), body(b"ok")],
        200,
        b"ok",
        "length",
        True,
        request(fields=b"Connection: close\r\n"),
    ),
    Row("its own Date", [start(content_length="2", date="Sun, 06 Nov 1994 08:49:37 GMT"), body(b"ok")], 200, b"ok"),
    Row(
        "names in capitals",
        [
            {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"2"), (b"X-Y", b"z")]},
            body(b"ok"),
        ],
        200,
        b"ok",
    ),
    Row(
        "headers from an iterator",
        [{"type": "http.response.start", "status": 200, "headers": iter([(b"content-length", b"2")])}, body(b"ok")],
        200,
        b"ok",
    ),
    Row("no headers", [{"type": "http.response.start", "status": 200}, body(b"ok")], 200, b"ok", "any"),
    Row("a body message without a body", [start(content_length="0"), {"type": "http.response.body"}], 200),
    Row(
        "the same header twice",
        [
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"set-cookie", b"a=b"), (b"set-cookie", b"c=d"), (b"content-length", b"2")],
            },
            body(b"ok"),
        ],
        200,
        b"ok",
    ),
    Row("bytes over 127 in a value", [start(content_length="2", x_y="\xe9"), body(b"ok")], 200, b"ok"),
    Row("a megabyte", [start(content_length="1000000"), body(b"x" * 1_000_000)], 200, b"x" * 1_000_000),
    Row(
        "a megabyte in pieces",
        [start(), *(body(b"x" * 10_000, True) for _ in range(100)), body()],
        200,
        b"x" * 1_000_000,
        "chunked",
    ),
]


def application(messages: list[Any]) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/probe":
            await send(start(content_length="5"))
            await send(body(b"probe"))
            return
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await send(message)

    return app


async def ask(app: Any, sent: bytes) -> tuple[list[Answer], bool, bytes]:
    """The answers, whether the connection was kept, and what was no whole answer."""
    async with serve(app) as address, Client.open(address, [0] if sent.startswith(b"HEAD") else []) as client:
        await client.send(sent)
        if await client.until_answers(1) and not client.ended:
            await client.send(b"GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await client.until_end()
        answers = list(client.answers())
        kept = len(answers) == 2 and answers[1].body == b"probe"
        return answers[:1] if kept else answers, kept, client.received[client._read_to :]


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
def test_a_plain_asgi_response(row: Row, loop: str) -> None:
    messages = [dict(message) for message in row.messages]
    if any("iterator" in type(message.get("headers")).__name__ for message in messages):
        messages[0]["headers"] = iter([(b"content-length", b"2")])  # an iterator is used up by the first loop
    answers, kept, rest = run(ask(application(messages), row.sent), loop)
    assert rest == b""
    (answer,) = answers
    assert answer.status == row.status
    assert answer.body == row.content
    if row.framing == "any":
        assert answer.framing in ("length", "chunked")
    else:
        assert answer.framing == row.framing
    assert answer.closes == (not kept)
    if row.closes is not None:
        assert answer.closes == row.closes


def test_head_has_the_length_that_get_has() -> None:
    app = application([start(content_length="5"), body(b"hello")])
    (answer,), _, _ = run(ask(app, HEAD))
    assert answer.values(b"content-length") == [b"5"]


def test_an_application_with_its_own_date_or_server_is_not_doubled() -> None:
    (answer,), _, _ = run(
        ask(
            application([start(content_length="0", date="Sun, 06 Nov 1994 08:49:37 GMT", server="mine"), body()]),
            request(),
        )
    )
    assert len(answer.values(b"date")) == 1
    assert answer.values(b"server") in ([b"mine"], [b"mine", b"uvicorn"], [b"uvicorn", b"mine"])


BROKEN = [
    ("it fails before it starts", [RuntimeError("the secret")], {500}),
    ("it returns at once", [], {500}),
    ("a body before the start", [body(b"x")], {500}),
    ("an unknown message", [{"type": "http.response.other"}], {500}),
    ("it starts and returns", [start()], {500, None}),
    ("it starts and fails", [start(), RuntimeError("the secret")], {500, None}),
    ("it starts twice", [start(), start()], {500, None}),
    ("CR LF in a value", [start(x="y\r\nset-cookie: smuggled=1", content_length="0"), body()], {500, None}),
    ("LF in a value", [start(x="y\nset-cookie: smuggled=1", content_length="0"), body()], {500, None}),
    ("CR in a value", [start(x="y\rset-cookie: smuggled=1", content_length="0"), body()], {500, None}),
    ("NUL in a value", [start(x="y\x00smuggled", content_length="0"), body()], {500, None}),
    (
        "CR LF in a name",
        [{"type": "http.response.start", "status": 200, "headers": [(b"x: y\r\nsmuggled", b"z")]}, body()],
        {500, None},
    ),
    (
        "a space in a name",
        [{"type": "http.response.start", "status": 200, "headers": [(b"smuggled x", b"z")]}, body()],
        {500, None},
    ),
    (
        "a colon in a name",
        [{"type": "http.response.start", "status": 200, "headers": [(b"smuggled:", b"z")]}, body()],
        {500, None},
    ),
    (
        "an empty name",
        [{"type": "http.response.start", "status": 200, "headers": [(b"", b"smuggled")]}, body()],
        {500, None},
    ),
    ("a length that is none", [start(content_length="five"), body(b"hello")], {500, None}),
    ("a negative length", [start(content_length="-5"), body(b"hello")], {500, None}),
    (
        "two lengths",
        [
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"5"), (b"content-length", b"36")],
            },
            body(b"hello"),
        ],
        {200, 500, None},
    ),
    ("a longer body than its length", [start(content_length="5"), body(b"hello, world")], {200, 500, None}),
    ("a shorter body than its length", [start(content_length="50"), body(b"hello")], {500, None}),
    ("a longer body in pieces", [start(content_length="5"), body(b"hello", True), body(b", world")], {200, 500, None}),
    ("a shorter body in pieces", [start(content_length="50"), body(b"hello", True), body(b"!")], {500, None}),
    (
        "it fails within a length",
        [start(content_length="50"), body(b"hello", True), RuntimeError("the secret")],
        {None},
    ),
    ("it fails within chunks", [start(), body(b"hello", True), RuntimeError("the secret")], {None}),
    ("it returns within chunks", [start(), body(b"hello", True)], {None}),
    ("a status under 100", [start(99), body()], {500, None}),
    ("a status over 999", [start(1000), body()], {500, None}),
    ("an interim status as the answer", [start(100), body()], {500, None}),
    ("101 without an upgrade", [start(101), body()], {500, None}),
]
"""The statuses of a whole answer; None where the connection may end without one, but never with the last chunk."""


@pytest.mark.parametrize(
    ("messages", "statuses"), [pytest.param(*row[1:], id=row[0].replace(" ", "-")) for row in BROKEN]
)
def test_a_broken_application_ends_the_connection(
    messages: list[Any], statuses: set[int | None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def main() -> tuple[list[Answer], bytes]:
        async with serve(application(messages)) as address, Client.open(address) as client:
            await client.send(request())
            assert await client.until_end()
            return list(client.answers()), client.received

    answers, received = run(main())
    assert [answer.status for answer in answers] in [[] if status is None else [status] for status in statuses], (
        received
    )
    assert b"smuggled" not in received
    assert b"secret" not in received
    assert not received.endswith(b"\r\n0\r\n\r\n")
    for answer in answers:
        if answer.status == 200:
            assert answer.body == b"hello"
        elif answer.status == 500:
            assert answer.closes
            assert answer.values(b"content-type") == [b"application/problem+json"]


def test_a_failure_behind_the_answer_does_not_spoil_it() -> None:
    app = application([start(content_length="5"), body(b"hello"), RuntimeError("late")])
    logging.getLogger("uvicorn.error").disabled = True
    try:
        answers, _, _ = run(ask(app, request()))
    finally:
        logging.getLogger("uvicorn.error").disabled = False
    assert answers[0].status == 200
    assert answers[0].body == b"hello"


def native() -> App:
    app = App()

    @app.get("/text")
    async def text() -> str:
        return "hello"

    @app.get("/json")
    async def json() -> dict[str, int]:
        return {"a": 1}

    @app.get("/nothing")
    async def nothing() -> None:
        return None

    @app.get("/reset", status=205)
    async def reset() -> None:
        return None

    @app.get("/unmodified")
    async def unmodified() -> Response[bytes]:
        return Response(b"", status=304, headers={"etag": '"x"'})

    @app.get("/missing")
    async def missing() -> str:
        raise NotFound("no such thing")

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError("the secret")

    @app.get("/suspends")
    async def suspends() -> str:
        await asyncio.sleep(0)
        return "hello"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"he"
            yield b"llo"

        return StreamingResponse(pieces(), media_type="text/plain")

    @app.get("/probe")
    async def probe() -> Response[bytes]:
        return Response(b"probe", media_type="text/plain")

    return app


NATIVE = [
    ("/text", 200, b"hello", "length"),
    ("/json", 200, b'{"a":1}', "length"),
    ("/nothing", 204, b"", "none"),
    ("/reset", 205, b"", "any"),
    ("/unmodified", 304, b"", "none"),
    ("/missing", 404, None, "length"),
    ("/broken", 500, None, "length"),
    ("/suspends", 200, b"hello", "length"),
    ("/stream", 200, b"hello", "chunked"),
    ("/nowhere", 404, None, "length"),
]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(("path", "status", "content", "framing"), NATIVE)
def test_a_compiled_route(
    path: str, status: int, content: bytes | None, framing: str, method: bytes, version: bytes
) -> None:
    logging.getLogger("fastlane.error").disabled = True
    try:
        answers, kept, rest = run(ask(native(), request(method, version, target=path.encode())))
    finally:
        logging.getLogger("fastlane.error").disabled = False
    assert rest == b""
    (answer,) = answers
    assert answer.status == status
    assert answer.closes == (not kept)
    if version == b"1.0":
        assert not kept
    elif status < 500:
        assert kept
    if method == b"HEAD":
        assert answer.body == b""
        return
    assert b"secret" not in answer.body
    if content is None:
        assert answer.values(b"content-type") == [b"application/problem+json"]
    else:
        assert answer.body == content
    if framing == "chunked" and version == b"1.0":
        assert answer.framing == "close"
    elif framing != "any":
        assert answer.framing == framing


def test_head_of_a_compiled_route_has_its_length() -> None:
    (answer,), _, _ = run(ask(native(), request(b"HEAD", target=b"/json")))
    assert answer.values(b"content-length") == [b"7"]


def test_a_whole_answer_is_one_segment() -> None:
    """Head and body leave in one write, and pipelined answers that need no waiting leave together."""

    async def main() -> int:
        async with serve(native()) as address, Client.open(address) as client:
            await client.send(request(target=b"/text") * 5)
            assert await client.until_answers(5)
            return len(client.reads)

    assert run(main()) == 1

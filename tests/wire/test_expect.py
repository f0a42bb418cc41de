"""Expect: RFC 9110 10.1.1. The interim answer comes when the body is wanted and not here yet, and never otherwise."""

from __future__ import annotations

import pytest

from fastlane import App

from .applications import Journal
from .conftest import DOORS, Wire
from .exchange import Client
from .serving import run, serve
from .table import DELIVERIES, Case, either, refused, served

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def head(
    fields: bytes = b"Content-Length: 5\r\n",
    expect: bytes = b"100-continue",
    target: bytes = b"/",
    version: bytes = b"1.1",
) -> bytes:
    return b"POST " + target + b" HTTP/" + version + b"\r\nHost: a\r\nExpect: " + expect + b"\r\n" + fields + b"\r\n"


CASES = [
    served("the body came with the head", head() + b"hello", b"POST / hello"),
    served(
        "chunks came with the head",
        head(b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
        b"POST / hello",
    ),
    served("in capitals", head(expect=b"100-CONTINUE") + b"hello", b"POST / hello"),
    served("the field in capitals", head().replace(b"Expect", b"EXPECT") + b"hello", b"POST / hello"),
    served("no body to wait for", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", b"GET /"),
    served("a body of length 0", head(b"Content-Length: 0\r\n"), b"POST /"),
    served("two requests", (head() + b"hello") * 2, b"POST / hello", b"POST / hello"),
    served("1.0: ignored", head(version=b"1.0") + b"hello", b"POST / hello", kept=False),
    either("empty", head(expect=b"") + b"hello", served("", b"", b"POST / hello"), refused("", b"", 417)),
    either(
        "twice in a list",
        head(expect=b"100-continue, 100-continue") + b"hello",
        served("", b"", b"POST / hello"),
        refused("", b"", 417, 400),
    ),
    either(
        "a parameter",
        head(expect=b"100-continue;x=y") + b"hello",
        served("", b"", b"POST / hello"),
        refused("", b"", 417),
    ),
]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_expectations(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param(b"Content-Length: 5\r\n", b"hello", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", id="chunked"),
    ],
)
@pytest.mark.parametrize("door", list(DOORS))
def test_a_client_that_waits_is_told_to_go_on(door: str, fields: bytes, body: bytes) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal)) as address, Client.open(address) as client:
            await client.send(head(fields))
            assert await client.until_received(CONTINUE)
            assert client.received == CONTINUE
            assert [seen for seen in journal.of(client.port) if seen.body is not None] == []
            await client.send(body)
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [100, 200]
            await client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.until_answers(2)
            assert [seen.row() for seen in journal.of(client.port)] == [b"POST / hello", b"GET /next"]

    run(main())


@pytest.mark.parametrize("door", list(DOORS))
def test_a_pipelined_expectation_is_answered_in_its_turn(door: str) -> None:
    async def main() -> None:
        async with serve(DOORS[door](Journal())) as address, Client.open(address) as client:
            await client.send(b"GET /slow1 HTTP/1.1\r\nHost: a\r\n\r\n" + head())
            assert await client.until_received(CONTINUE)
            assert [answer.status for answer in client.answers()] == [200, 100]
            await client.send(b"hello")
            assert await client.until_answers(2)

    run(main())


def test_nothing_interim_when_the_application_does_not_read() -> None:
    async def main() -> None:
        async with serve(DOORS["asgi"](Journal())) as address, Client.open(address) as client:
            await client.send(head(target=b"/unread"))
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [200]
            # The client may send its body now or leave it: only closing makes both harmless.
            assert client.answers()[0].closes
            assert await client.until_end()

    run(main())


@pytest.mark.parametrize("expect", [b"200-ok", b"100", b"continue", b"x", b"100-continue, x", b"x, 100-continue"])
@pytest.mark.parametrize("door", list(DOORS))
def test_another_expectation_is_417(door: str, expect: bytes) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal)) as address, Client.open(address) as client:
            await client.send(head(expect=expect))
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [417]
            assert journal.of(client.port) == []

    run(main())


def test_an_answer_from_the_head_alone_is_not_preceded_by_an_interim_one() -> None:
    app = App(max_body=4)

    @app.post("/")
    async def take(body: dict[str, int]) -> str:
        return "taken"

    async def answer_to(sent: bytes) -> list[int]:
        async with serve(app) as address, Client.open(address) as client:
            await client.send(sent)
            assert await client.until_answers(1)
            return [answer.status for answer in client.answers()]

    json = b"Content-Type: application/json\r\n"
    assert run(answer_to(head(json + b"Content-Length: 5\r\n"))) == [413]
    assert run(answer_to(head(b"Content-Type: text/plain\r\nContent-Length: 2\r\n"))) == [415]
    assert run(answer_to(head(b"Content-Length: 2\r\n", target=b"/nowhere"))) == [404]
    assert run(answer_to(head(b"Content-Length: 2\r\n").replace(b"POST", b"PUT"))) == [405]

"""The 33 questions that h1spec asks of a server, in our own words: fifteen unfinished requests, then whole ones."""

from __future__ import annotations

import pytest

from .applications import Journal
from .conftest import DOORS, Wire
from .exchange import Client
from .serving import run, serve
from .table import DELIVERIES, Case, refused, served

WHOLE = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
CUTS = [
    pytest.param(length, id=WHOLE[:length].decode().encode("unicode_escape").decode())
    for length in (1, 4, 10, 11, 15, 19, 20, 21, 24, 26, 27, 36, 37, 38, 39)
]


@pytest.mark.parametrize("length", CUTS)
@pytest.mark.parametrize("door", list(DOORS))
def test_an_unfinished_request_is_waited_for(door: str, length: int) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal)) as address, Client.open(address) as client:
            await client.send(WHOLE[:length])
            async with Client.open(
                address
            ) as other:  # an answer to another connection proves that the server had its turn
                await other.send(WHOLE)
                assert await other.until_answers(1)
            assert client.received == b""
            assert not client.ended
            await client.send(WHOLE[length:])
            assert await client.until_answers(1)
            assert [seen.target for seen in journal.of(client.port)] == [b"/hello"]

    run(main())


CASES = [
    refused("a request without a version", b"GET / \r\n\r\n", 400, 505),
    served("an expectation", b"GET / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\r\n", b"GET /"),
    served("a plain GET", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", b"GET /"),
    served("a GET with odd but right fields", b"GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n", b"GET /"),
    refused("brackets in a field's name", b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Invalid[]: test\r\n\r\n"),
    refused("no Host", b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"),
    refused("two Hosts", b"GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.org\r\n\r\n"),
    refused(
        "a hugely negative length",
        b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: -" + b"9" * 27 + b"\r\n\r\n",
    ),
    refused("a negative length", b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: -1234\r\n\r\n"),
    refused("a length of letters", b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: abc\r\n\r\n"),
    served("an empty field", b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Empty-Header: \r\n\r\n", b"GET /"),
    refused("a control character", b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Bad: test\x07\r\n\r\n"),
    refused("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: example.com\r\n\r\n", 400, 505),
    refused("text before the request", b"Extra lineGET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, 501),
    refused("a CR where a line begins", b"GET / HTTP/1.1\r\nHost: example.com\r\n\rSome-Header: Test\r\n\r\n"),
    served(
        "a POST with a body", b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello", b"POST / hello"
    ),
    refused(
        "both framings",
        b"GET / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ),
]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_h1spec(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)


def test_the_first_fifteen_and_these_are_all() -> None:
    assert len(CUTS) + len(CASES) == 32  # the 33rd is the server's being there

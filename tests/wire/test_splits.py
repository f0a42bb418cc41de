"""The same bytes, cut in two at every place: nothing may depend on how segments fall."""

# ruff: noqa: E501  # the bytes of a row stay on one line

from __future__ import annotations

import asyncio

import pytest

from .applications import Journal
from .conftest import DOORS
from .exchange import Outcome, exchange
from .serving import LOOPS, run, serve
from .table import Case, refused, served, spoiled, verdict

CASES = [
    served(
        "a GET and another",
        b"GET /1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /1",
        b"GET /2",
    ),
    served(
        "a body and a GET",
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /1 hello",
        b"GET /2",
    ),
    served(
        "a body of a request",
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /1 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /2",
    ),
    served(
        "chunks, an extension, a trailer and a GET",
        b'POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x="y"\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
        b"POST /1 hello",
        b"GET /2",
    ),
    served("the same head twice", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" * 3, b"GET /1", b"GET /1", b"GET /1"),
    served(
        "HEAD and close",
        b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /1",
        b"GET /2",
        kept=False,
        heads=[0],
    ),
    served(
        "an ignored upgrade",
        b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        b"GET /1",
        kept=None,
    ),
    refused(
        "both framings",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    refused(
        "a GET, then no Host",
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        after=[b"GET /1"],
    ),
    spoiled(
        "chunk data that is too long",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    spoiled(
        "an LF in an extension",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    spoiled(
        "a broken trailer",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
]


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_cut_anywhere_changes_nothing(case: Case, door: str, loop: str) -> None:
    sent = case.sent
    expected = max(len(wanted.statuses) for wanted in case.wanted)

    async def main() -> list[Outcome]:
        journal = Journal()
        places = asyncio.Semaphore(16)

        async def cut(index: int) -> Outcome:
            async with places:
                return await exchange(address, journal, [sent[:index], sent[index:]], expected, heads=case.heads)

        async with serve(DOORS[door](journal)) as address:
            return await asyncio.gather(*(cut(index) for index in range(1, len(sent))))

    for index, outcome in enumerate(run(main(), loop), 1):
        wrong = verdict(case, "whole", outcome)
        assert wrong is None, f"cut behind {sent[:index]!r}:\n  {wrong}"

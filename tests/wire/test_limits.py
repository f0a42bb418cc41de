"""Each bound by itself, set small: one under it is served, one over it is refused with its status."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from fastlane import App, Body
from fastlane.server.limits import Limits

from .applications import Journal
from .conftest import DOORS
from .exchange import Client, exchange
from .serving import run, serve


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def get(target: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body


CASES = [
    ("request_line", {"request_line": 40}, get(b"/" + b"a" * 24), get(b"/" + b"a" * 40), {414}),
    ("request_line, half of it", {"request_line": 40}, get(), b"GET /" + b"a" * 60, {414}),
    (
        "head_size, one value",
        {"head_size": 200},
        get(fields=b"X: " + b"y" * 100 + b"\r\n"),
        get(fields=b"X: " + b"y" * 200 + b"\r\n"),
        {431},
    ),
    ("head_size, many fields", {"head_size": 200}, get(fields=b"X: y\r\n" * 20), get(fields=b"X: y\r\n" * 40), {431}),
    ("head_size, no end", {"head_size": 200}, get(), get(fields=b"X: " + b"y" * 300)[:-2], {431}),
    ("header_count", {"header_count": 5}, get(fields=b"X: y\r\n" * 4), get(fields=b"X: y\r\n" * 5), {431}),
    (
        "chunk_extension",
        {"chunk_extension": 20},
        chunked(b"1;a=bcdefghij\r\nx\r\n0\r\n\r\n"),
        chunked(b"1;a=" + b"b" * 60 + b"\r\nx\r\n0\r\n\r\n"),
        {400, 413, 431},
    ),
    (
        "chunk_extension, the last chunk",
        {"chunk_extension": 20},
        chunked(b"0;a=b\r\n\r\n"),
        chunked(b"0;a=" + b"b" * 60 + b"\r\n\r\n"),
        {400, 413, 431},
    ),
    (
        "chunk_overhead",
        {"chunk_overhead": 50},
        chunked(b"1;a=b\r\nx\r\n" * 5 + b"0\r\n\r\n"),
        chunked(b"1;a=bcde\r\nx\r\n" * 20 + b"0\r\n\r\n"),
        {400, 413, 431},
    ),
    (
        "trailer_size",
        {"trailer_size": 50},
        chunked(b"0\r\nX: y\r\n\r\n"),
        chunked(b"0\r\nX: " + b"y" * 60 + b"\r\n\r\n"),
        {400, 413, 431},
    ),
    (
        "trailer_size, many",
        {"trailer_size": 50},
        chunked(b"0\r\nX: y\r\n\r\n"),
        chunked(b"0\r\n" + b"X: y\r\n" * 20 + b"\r\n"),
        {400, 413, 431},
    ),
]


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize(
    ("limits", "under", "over", "statuses"), [pytest.param(*case[1:], id=case[0].replace(" ", "-")) for case in CASES]
)
def test_a_bound(door: str, limits: dict[str, Any], under: bytes, over: bytes, statuses: set[int], pieces: str) -> None:
    def cut(sent: bytes) -> list[bytes]:
        return [sent] if pieces == "whole" else [sent[index : index + 1] for index in range(len(sent))]

    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal), Limits(**limits)) as address:
            good = await exchange(address, journal, cut(under), 1)
            assert [answer.status for answer in good.finals] == [200], good
            bad = await exchange(address, journal, cut(over), 1)
            assert bad.finals, bad
            assert bad.finals[-1].status in statuses, bad
            assert not bad.kept
            assert [seen for seen in bad.seen if seen.body is not None] == []
            assert bad.fault is None

    run(main())


@pytest.mark.parametrize(
    "sent",
    [post(b"x" * 11), chunked(b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"), chunked(b"1\r\nx\r\n" * 11 + b"0\r\n\r\n")],
    ids=["length", "a-chunk", "chunks"],
)
@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
def test_body_size_bounds_a_plain_asgi_application(sent: bytes, pieces: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS["asgi"](journal), Limits(body_size=10)) as address:
            good = await exchange(address, journal, [post(b"x" * 10)], 1)
            assert [answer.status for answer in good.finals] == [200]
            cut = [sent] if pieces == "whole" else [sent[index : index + 1] for index in range(len(sent))]
            bad = await exchange(address, journal, cut, 1)
            assert [answer.status for answer in bad.finals] == [413], bad
            assert [seen for seen in bad.seen if seen.body is not None] == []

    run(main())


@pytest.mark.parametrize(
    "sent",
    [post(b"x" * 11), chunked(b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"), chunked(b"1\r\nx\r\n" * 11 + b"0\r\n\r\n")],
    ids=["length", "a-chunk", "chunks"],
)
@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
def test_max_body_bounds_a_route(sent: bytes, pieces: str) -> None:
    app = App(max_body=10)
    bodies: list[bytes] = []

    @app.post("/")
    async def take(body: Annotated[bytes, Body()]) -> str:
        bodies.append(body)
        return "taken"

    async def main() -> None:
        async with serve(app) as address:
            good = await exchange(address, Journal(), [post(b"x" * 10)], 1, finish=True)
            assert [answer.status for answer in good.finals] == [200]
            cut = [sent] if pieces == "whole" else [sent[index : index + 1] for index in range(len(sent))]
            bad = await exchange(address, Journal(), cut, 1, finish=True)
            assert [answer.status for answer in bad.finals] == [413], bad
        assert bodies == [b"x" * 10]

    run(main())


@pytest.mark.parametrize("door", list(DOORS))
def test_a_huge_length_is_answered_before_the_body_comes(door: str) -> None:
    app = App() if door == "native" else DOORS["asgi"](Journal())
    if isinstance(app, App):

        @app.post("/")
        async def take(body: dict[str, int]) -> str:
            return "taken"

    async def main() -> None:
        async with serve(app, Limits(body_size=1000)) as address, Client.open(address) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9223372036854775807\r\n\r\n"  # noqa: E501
            )
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] in ([413], [400])
            assert await client.until_end()

    run(main())


def test_an_unread_body_over_the_bound_ends_the_connection() -> None:
    async def main() -> None:
        journal = Journal()
        head = b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n"
        async with (
            serve(DOORS["asgi"](journal), Limits(linger=1000, linger_timeout=0.5)) as address,
            Client.open(address) as client,
        ):
            await client.send(head)
            assert await client.until_answers(1)
            assert client.answers()[0].closes
            await client.send(b"x" * 2000)
            assert await client.until_end()
            assert [seen.target for seen in journal.of(client.port)] == [b"/unread"]

    run(main())


def test_an_answer_survives_a_client_that_is_still_sending() -> None:
    """A close with unread bytes resets the connection and takes the answer away (RFC 9112 9.6)."""

    async def main() -> None:
        async with serve(DOORS["asgi"](Journal()), Limits(body_size=1000)) as address, Client.open(address) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n", *(b"x" * 50_000,) * 60)
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [413]

    run(main())


@pytest.mark.parametrize("door", list(DOORS))
def test_the_count_of_concurrent_connections(door: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal), limit_concurrency=2) as address, Client.open(address) as first:
            await first.send(get())
            assert await first.until_answers(1)
            outcome = await exchange(address, journal, [get()], 1)
            assert [answer.status for answer in outcome.finals] == [503]
            assert not outcome.kept
            assert outcome.seen == []

    run(main())

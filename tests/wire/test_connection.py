"""Persistence, pipelining and closing: RFC 9112 9, RFC 9110 7.6.1."""

from __future__ import annotations

import asyncio

import pytest

from .applications import Journal, asgi_echo, native_echo
from .conftest import DOORS, Wire
from .exchange import Client, Outcome, exchange
from .serving import run, serve
from .table import DELIVERIES, Case, either, refused, served


def get(target: bytes, fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET " + target + b" HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n"


def post(target: bytes, body: bytes, fields: bytes = b"") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body) + fields + b"\r\n" + body


HEAD = b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"
GARBAGE = b"\x01\x02garbage\r\n\r\n"


def kept(name: str, fields: bytes) -> Case:
    return served(name, get(b"/", fields), b"GET /")


def closed(name: str, fields: bytes) -> Case:
    """What stands behind it is never looked at."""
    return served(name, get(b"/", fields) + SMUGGLED, b"GET /", kept=False)


TOKENS = [
    kept("nothing said", b""),
    kept("keep-alive", b"Connection: keep-alive\r\n"),
    kept("Keep-Alive in capitals", b"Connection: KEEP-ALIVE\r\n"),
    kept("a Keep-Alive field", b"Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\n"),
    kept("another option", b"Connection: X-Foo\r\nX-Foo: y\r\n"),
    kept("TE", b"Connection: TE\r\nTE: trailers\r\n"),
    kept("closed is another option", b"Connection: closed\r\n"),
    kept("xclose is another option", b"Connection: xclose\r\n"),
    kept("close-x is another option", b"Connection: close-x\r\n"),
    kept("Proxy-Connection means nothing", b"Proxy-Connection: close\r\n"),
    kept("X-Connection means nothing", b"X-Connection: close\r\n"),
    closed("close", b"Connection: close\r\n"),
    closed("Close", b"Connection: Close\r\n"),
    closed("CLOSE", b"CONNECTION: CLOSE\r\n"),
    closed("close without a space", b"Connection:close\r\n"),
    closed("close and tabs", b"Connection:\tclose\t\r\n"),
    closed("keep-alive, close", b"Connection: keep-alive, close\r\n"),
    closed("close, keep-alive", b"Connection: close, keep-alive\r\n"),
    closed("another option and close", b"Connection: X-Foo,close\r\n"),
    closed("close and another option", b"Connection: close , X-Foo\r\n"),
    closed("close behind empty elements", b"Connection: ,, close\r\n"),
    closed("close before an empty element", b"Connection: close,\r\n"),
    closed("close in a second field", b"Connection: keep-alive\r\nConnection: close\r\n"),
    closed("close in the first of two fields", b"Connection: close\r\nConnection: keep-alive\r\n"),
    closed("close among many options", b"Connection: a, b, c, d, e, f, close, g\r\n"),
    either(
        "close with a parameter",
        get(b"/", b"Connection: close;x\r\n"),
        served("", b"", b"GET /", kept=None),
        refused("", b""),
    ),
    either(
        "close in quotes", get(b"/", b'Connection: "close"\r\n'), served("", b"", b"GET /", kept=None), refused("", b"")
    ),
    served("1.0", get(b"/", version=b"1.0") + SMUGGLED, b"GET /", kept=False),
    served("1.0 and close", get(b"/", b"Connection: close\r\n", b"1.0") + SMUGGLED, b"GET /", kept=False),
    served(
        "1.0 and keep-alive, close",
        get(b"/", b"Connection: keep-alive, close\r\n", b"1.0") + SMUGGLED,
        b"GET /",
        kept=False,
    ),
    served("1.0 and another option", get(b"/", b"Connection: X-Foo\r\n", b"1.0") + SMUGGLED, b"GET /", kept=False),
    served(
        "1.0 and keep-alive (RFC 9112 C.2.2)", get(b"/", b"Connection: keep-alive\r\n", b"1.0"), b"GET /", kept=None
    ),
    served("1.0 and Keep-Alive in capitals", get(b"/", b"Connection: Keep-Alive\r\n", b"1.0"), b"GET /", kept=None),
    served("POST and close", post(b"/", b"hello", b"Connection: close\r\n") + SMUGGLED, b"POST / hello", kept=False),
    served(
        "HEAD and close",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + SMUGGLED,
        b"HEAD /",
        kept=False,
        heads=[0],
    ),
    served("close, and garbage behind", get(b"/", b"Connection: close\r\n") + GARBAGE, b"GET /", kept=False),
    served("close, and an empty line behind", get(b"/", b"Connection: close\r\n") + b"\r\n", b"GET /", kept=False),
    served("close, and half a request behind", get(b"/", b"Connection: close\r\n") + b"GET / HT", b"GET /", kept=False),
]

PIPELINES = [
    served("two", get(b"/1") + get(b"/2"), b"GET /1", b"GET /2"),
    served("three", get(b"/1") + get(b"/2") + get(b"/3"), b"GET /1", b"GET /2", b"GET /3"),
    served("the same three times", get(b"/") * 3, b"GET /", b"GET /", b"GET /"),
    served("sixteen", b"".join(get(b"/%d" % i) for i in range(16)), *(b"GET /%d" % i for i in range(16))),
    served("seventeen", b"".join(get(b"/%d" % i) for i in range(17)), *(b"GET /%d" % i for i in range(17))),
    served("a hundred", b"".join(get(b"/%d" % i) for i in range(100)), *(b"GET /%d" % i for i in range(100))),
    served("a thousand", b"".join(get(b"/%d" % i) for i in range(1000)), *(b"GET /%d" % i for i in range(1000))),
    served("an empty line between", get(b"/1") + b"\r\n" + get(b"/2"), b"GET /1", b"GET /2"),
    served("an empty line behind a body", post(b"/1", b"hello") + b"\r\n" + get(b"/2"), b"POST /1 hello", b"GET /2"),
    served(
        "bodies",
        post(b"/1", b"a") + post(b"/2", b"bb") + post(b"/3", b"ccc"),
        b"POST /1 a",
        b"POST /2 bb",
        b"POST /3 ccc",
    ),
    served("with and without a body", get(b"/1") + post(b"/2", b"b") + get(b"/3"), b"GET /1", b"POST /2 b", b"GET /3"),
    served(
        "a body of requests between",
        get(b"/1") + post(b"/2", SMUGGLED * 3) + get(b"/3"),
        b"GET /1",
        b"POST /2 " + SMUGGLED * 3,
        b"GET /3",
    ),
    served("HEAD between", get(b"/1") + HEAD + get(b"/2"), b"GET /1", b"HEAD /head", b"GET /2", heads=[1]),
    served("HEAD first", HEAD + get(b"/2"), b"HEAD /head", b"GET /2", heads=[0]),
    served("three times HEAD", HEAD * 3, *(b"HEAD /head",) * 3, heads=[0, 1, 2]),
    served(
        "chunked and lengths",
        b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        + post(b"/2", b"b")
        + get(b"/3"),
        b"POST /1 hi",
        b"POST /2 b",
        b"GET /3",
    ),
    served(
        "different hosts", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n", b"GET /1", b"GET /2"
    ),
    served(
        "slow ones, in order",
        get(b"/slow1") + get(b"/2") + get(b"/slow3") + get(b"/4"),
        b"GET /slow1",
        b"GET /2",
        b"GET /slow3",
        b"GET /4",
    ),
    served(
        "bodies behind slow ones",
        get(b"/slow1") + post(b"/2", b"x" * 3000) + get(b"/slow3"),
        b"GET /slow1",
        b"POST /2 " + b"x" * 3000,
        b"GET /slow3",
    ),
    served(
        "large bodies",
        post(b"/1", b"x" * 100_000) + post(b"/slow2", b"y" * 100_000) + get(b"/3"),
        b"POST /1 " + b"x" * 100_000,
        b"POST /slow2 " + b"y" * 100_000,
        b"GET /3",
    ),
    served(
        "close in the middle",
        get(b"/1") + get(b"/2", b"Connection: close\r\n") + SMUGGLED,
        b"GET /1",
        b"GET /2",
        kept=False,
    ),
    served("close on a slow one", get(b"/slow1", b"Connection: close\r\n") + SMUGGLED, b"GET /slow1", kept=False),
    served("1.0 in the middle", get(b"/1") + get(b"/2", version=b"1.0") + SMUGGLED, b"GET /1", b"GET /2", kept=False),
    served("1.0 first", get(b"/1", version=b"1.0") + SMUGGLED, b"GET /1", kept=False),
]

ERRORS_BEHIND = [
    refused("garbage", get(b"/1") + GARBAGE, 400, 501, after=[b"GET /1"]),
    refused("garbage behind two", get(b"/1") + get(b"/2") + GARBAGE, 400, 501, after=[b"GET /1", b"GET /2"]),
    refused("garbage behind a slow one", get(b"/slow1") + GARBAGE, 400, 501, after=[b"GET /slow1"]),
    refused(
        "garbage behind a slow one with a body",
        post(b"/slow1", b"hello") + GARBAGE,
        400,
        501,
        after=[b"POST /slow1 hello"],
    ),
    refused("garbage behind HEAD", HEAD + GARBAGE, 400, 501, after=[b"HEAD /head"], heads=[0]),
    refused(
        "garbage behind chunks",
        b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + GARBAGE,
        400,
        501,
        after=[b"POST /1 hi"],
    ),
    refused("no Host", get(b"/1") + b"GET /2 HTTP/1.1\r\n\r\n" + SMUGGLED, after=[b"GET /1"]),
    refused("no Host behind a slow one", get(b"/slow1") + b"GET /2 HTTP/1.1\r\n\r\n" + SMUGGLED, after=[b"GET /slow1"]),
    refused("another version", get(b"/1") + get(b"/2", version=b"2.0") + SMUGGLED, 400, 505, after=[b"GET /1"]),
    refused("a line too long", get(b"/1") + get(b"/" + b"x" * 9000) + SMUGGLED, 414, after=[b"GET /1"]),
    refused(
        "a head too large", get(b"/1") + get(b"/2", b"X: " + b"y" * 40_000 + b"\r\n") + SMUGGLED, 431, after=[b"GET /1"]
    ),
    refused(
        "two lengths",
        get(b"/1") + b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
        after=[b"GET /1"],
    ),
    refused(
        "both framings",
        get(b"/1")
        + b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
        after=[b"GET /1"],
    ),
    refused(
        "a length too short",
        post(b"/1", b"hello") + b"world\r\n\r\n" + SMUGGLED,
        400,
        501,
        505,
        after=[b"POST /1 hello"],
    ),
    refused("an error, then a good one", GARBAGE + SMUGGLED, 400, 501),
    refused("no Host, then a good one", b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED),
]

UNREAD = [
    served("a body that nobody reads", post(b"/unread", b"hello") + get(b"/2"), b"POST /unread", b"GET /2"),
    served("a body of requests that nobody reads", post(b"/unread", SMUGGLED) + get(b"/2"), b"POST /unread", b"GET /2"),
    served(
        "chunks that nobody reads",
        b"POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n24\r\n"
        + SMUGGLED
        + b"\r\n0\r\n\r\n"
        + get(b"/2"),
        b"POST /unread",
        b"GET /2",
    ),
    served("30,000 bytes that nobody reads", post(b"/unread", b"x" * 30_000) + get(b"/2"), b"POST /unread", b"GET /2"),
    either(
        "a megabyte that nobody reads",
        post(b"/unread", SMUGGLED * 30_000),
        served("", b"", b"POST /unread", kept=True),
        served("", b"", b"POST /unread", kept=False),
    ),
]

CASES = TOKENS + PIPELINES + ERRORS_BEHIND + UNREAD


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_connection(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)


@pytest.mark.parametrize("delivery", ["whole", "byte by byte"])
def test_a_body_that_breaks_behind_its_answer_ends_the_connection(delivery: str) -> None:
    """Nothing more can be said: the answer was sent, or is replaced by 400; what follows the break is no request."""
    sent = b"POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n" + SMUGGLED
    pieces = [sent] if delivery == "whole" else [bytes([byte]) for byte in sent]

    async def main() -> Outcome:
        journal = Journal()
        async with serve(asgi_echo(journal)) as address:
            return await exchange(address, journal, pieces, 1)

    outcome = run(main())
    assert [answer.status for answer in outcome.finals] in ([200], [400]), outcome
    assert not outcome.kept
    assert [seen.target for seen in outcome.seen] == [b"/unread"]


async def half_closed(*pieces: bytes, expected: int) -> Outcome:
    journal = Journal()
    async with serve(asgi_echo(journal)) as address:
        return await exchange(address, journal, pieces, expected, finish=True)


def test_a_client_that_says_it_is_done_gets_its_answers() -> None:
    outcome = run(half_closed(get(b"/slow1") + get(b"/2"), expected=2))
    assert [seen.target for seen in outcome.seen] == [b"/slow1", b"/2"]
    assert [answer.status for answer in outcome.finals] == [200, 200], outcome


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="half-a-line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", id="half-a-head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello", id="half-a-body"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", id="no-body"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="half-a-chunk"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="no-last-chunk"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            id="no-end-of-trailers",
        ),
    ],
)
def test_a_request_that_is_cut_off_is_never_answered_as_if_it_were_whole(sent: bytes) -> None:
    outcome = run(half_closed(sent, expected=1))
    assert [seen for seen in outcome.seen if seen.body is not None] == []
    assert all(answer.status >= 400 for answer in outcome.finals), outcome
    assert not outcome.fault


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("door", DOORS)
def test_connections_that_pause_again_and_again(door: str, delivery: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.server.reception.TURN", 1)
    monkeypatch.setattr("fastlane.server.reception.READ_AHEAD", 1)
    wire = Wire(door)
    run(wire.play(CASES, delivery))
    assert len(wire.verdicts) == len(CASES)
    assert {row: wrong for row, wrong in wire.verdicts.items() if wrong} == {}


HALVES = {
    "head": (b"GET /last HT", b"TP/1.1\r\nHost: a\r\n\r\n", b"GET /last\n"),
    "body": (post(b"/last", b"x" * 50)[:-25], b"x" * 25, b"POST /last\n" + b"x" * 50),
    "chunk": (
        b"POST /last HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"lo\r\n0\r\n\r\n",
        b"POST /last\nhello",
    ),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("door", DOORS)
def test_a_long_pipeline_may_end_in_half_a_request(door: str, half: str) -> None:
    # Behind a turn of 64 the connection pauses; it was not read on for the rest of the last one, which got 408.
    first, second, answer = HALVES[half]

    async def main() -> None:
        async with serve(DOORS[door](Journal())) as address, Client.open(address) as client:
            await client.send(b"".join(get(b"/%d" % number) for number in range(100)) + first)
            assert await client.until_answers(100)
            for _ in range(10):
                await asyncio.sleep(0)
            await client.send(second)
            assert await client.until_answers(101)
            assert (client.finals()[-1].status, client.finals()[-1].body) == (200, answer)

    run(main())


@pytest.mark.parametrize("half", HALVES)
def test_more_than_is_read_ahead_of_an_answer_may_end_in_half_a_request(half: str) -> None:
    first, second, answer = HALVES[half]

    async def main() -> None:
        journal, held = Journal(), asyncio.Event()
        app = native_echo(journal)

        @app.get("/held")
        async def hold() -> None:
            await held.wait()

        async with serve(app) as address, Client.open(address) as client:
            between = b"".join(get(b"/%d" % number, b"X: " + b"y" * 6000 + b"\r\n") for number in range(30))
            await client.send(get(b"/held"), between, first)
            for _ in range(50):
                await asyncio.sleep(0)
            held.set()
            assert await client.until_answers(31)
            await client.send(b"", second)
            assert await client.until_answers(32)
            assert (client.finals()[-1].status, client.finals()[-1].body) == (200, answer)

    run(main())

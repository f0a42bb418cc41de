"""Deadlines: a slow head, a slow body, an idle connection and a peer that does not read. All in fractions of a second.

Nothing here sleeps to let time pass: each test waits for what the deadline does, bounded by the client's patience.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fastlane.server.limits import Limits

from .applications import Journal, Seen
from .conftest import DOORS
from .exchange import PATIENCE, Client
from .serving import LOOPS, run, serve

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SOON = 0.15
QUICK = Limits(header_timeout=SOON, body_timeout=SOON)

HEADS = [
    pytest.param(b"G", id="a-letter"),
    pytest.param(b"GET / HTTP/1.1", id="half-a-line"),
    pytest.param(b"GET / HTTP/1.1\r\n", id="a-line"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX", id="half-a-field"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r", id="all-but-an-LF"),
]
BODIES = [
    pytest.param(b"Content-Length: 5\r\n\r\n", id="no-body"),
    pytest.param(b"Content-Length: 5\r\n\r\nhel", id="half-a-body"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", id="no-chunk"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", id="half-a-chunk"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="no-last-chunk"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n", id="no-end-of-trailers"),
    pytest.param(b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", id="continued-and-silent"),
]


def assert_timed_out(client: Client, journal: Journal, statuses: list[int]) -> None:
    answers = [answer for answer in client.answers() if answer.status >= 200]
    assert [answer.status for answer in answers] == statuses
    assert answers[-1].closes
    assert [seen for seen in journal.of(client.port) if seen.body is not None and seen.method == "POST"] == []


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("sent", HEADS)
def test_a_head_that_does_not_end_is_408(door: str, sent: bytes, loop: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal), QUICK) as address, Client.open(address) as client:
            await client.send(sent)
            assert await client.until_end()
            assert_timed_out(client, journal, [408])

    run(main(), loop)


def test_a_connection_that_never_speaks_is_closed() -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS["asgi"](journal), QUICK) as address, Client.open(address) as client:
            assert await client.until_end()
            assert client.received == b"" or [answer.status for answer in client.answers()] == [408]

    run(main())


def test_a_trickle_does_not_put_the_heads_deadline_off() -> None:
    async def main() -> None:
        async with serve(DOORS["asgi"](Journal()), QUICK) as address, Client.open(address) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            for _ in range(400):
                if await client.until_end(patience=0.02) or not await client.send(b"y"):
                    break
            assert await client.until_end()
            assert [answer.status for answer in client.answers()] == [408]

    run(main())


@pytest.mark.parametrize("door", list(DOORS))
def test_the_head_of_a_second_request_has_a_deadline_too(door: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal), QUICK) as address, Client.open(address) as client:
            await client.send(GET + b"GET / HT")
            assert await client.until_end()
            assert_timed_out(client, journal, [200, 408])

    run(main())


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("rest", BODIES)
def test_a_body_that_does_not_come_is_408(door: str, rest: bytes, loop: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(DOORS[door](journal), QUICK) as address, Client.open(address) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + rest)
            assert await client.until_end()
            assert_timed_out(client, journal, [408])

    run(main(), loop)


@pytest.mark.parametrize("door", list(DOORS))
def test_a_body_in_time_piece_by_piece_is_no_timeout(door: str) -> None:
    async def main() -> None:
        async with serve(DOORS[door](Journal()), Limits(body_timeout=2)) as address, Client.open(address) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
            for _ in range(20):
                assert not await client.until_end(patience=0.12)
                await client.send(b"x")
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [200]

    run(main())


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("door", list(DOORS))
def test_an_idle_connection_is_closed_without_a_word(door: str, loop: str) -> None:
    async def main() -> None:
        async with serve(DOORS[door](Journal()), timeout_keep_alive=SOON) as address, Client.open(address) as client:
            await client.send(GET)
            assert await client.until_answers(1)
            before = client.received
            started = asyncio.get_running_loop().time()
            assert await client.until_end()
            assert client.received == before
            assert not client.reset
            assert asyncio.get_running_loop().time() - started < PATIENCE / 4

    run(main(), loop)


@pytest.mark.parametrize("door", list(DOORS))
def test_requests_keep_an_idle_connection_alive(door: str) -> None:
    async def main() -> None:
        async with serve(DOORS[door](Journal()), timeout_keep_alive=2) as address, Client.open(address) as client:
            for count in range(1, 9):
                await client.send(GET)
                assert await client.until_answers(count)
                assert not await client.until_end(patience=0.3)
            assert await client.until_end()

    run(main())


def test_a_slow_application_is_not_timed_out() -> None:
    release = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        message = await receive()
        assert message == {"type": "http.request", "body": b"hello", "more_body": False}
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def main() -> None:
        async with serve(app, QUICK, timeout_keep_alive=SOON) as address, Client.open(address) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            assert not await client.until_end(patience=4 * SOON)
            release.set()
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [200]

    run(main())


def test_a_body_that_the_application_does_not_ask_for_has_no_deadline() -> None:
    """The application is slow, not the client, so the client is not to blame."""
    release = asyncio.Event()
    journal = Journal()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await release.wait()
        message = await receive()
        journal.note(scope["client"][1], Seen("POST", b"/", "1.1", [], message["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def main() -> None:
        async with serve(app, QUICK) as address, Client.open(address) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            assert not await client.until_end(patience=3 * SOON)
            await client.send(b"hello")
            release.set()
            assert await client.until_answers(1)
            assert [answer.status for answer in client.answers()] == [200]
            assert [seen.body for seen in journal.of(client.port)] == [b"hello"]

    run(main())


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_peer_that_does_not_read_is_aborted(loop: str) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                for _ in range(1000):
                    await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                while (await receive())["type"] != "http.disconnect":
                    pass
            finally:
                ended.set()

        async with serve(app, Limits(write_timeout=0.3)) as address:
            with socket.socket() as peer:
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_connect(peer, address)
                await asyncio.get_running_loop().sock_sendall(peer, GET)
                async with asyncio.timeout(PATIENCE):
                    await ended.wait()

    run(main(), loop)

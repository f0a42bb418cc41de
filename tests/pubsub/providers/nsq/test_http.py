from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable
from fastlane.pubsub.providers.nsq import http as module
from fastlane.pubsub.providers.nsq.http import Http


@contextlib.asynccontextmanager
async def answering(answer: bytes, *, hang: bool = False) -> AsyncIterator[tuple[Http, str]]:
    """A server that answers every request so."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    http = Http()
    try:
        yield http, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        await http.close()
        server.close()


def whole(status: str, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@pytest.mark.parametrize(
    ("answer", "decoded"),
    [
        (whole("200 OK", b'{"a":1}'), {"a": 1}),
        (whole("200 OK"), {}),
        (whole("404 Not Found", b'{"message":"TOPIC_NOT_FOUND"}'), None),
    ],
)
def test_an_answer_is_decoded(answer, decoded):
    async def main():
        async with answering(answer) as (http, address):
            assert await http.get(address, "/stats", {"format": "json"}) == decoded
            assert await http.post(f"http://{address}/", "/topic/create", {"topic": "a&b"}) == decoded

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (whole("401 Unauthorized"), BrokerForbidden, "answered 401"),
        (whole("403 Forbidden"), BrokerForbidden, "answered 403"),
        (whole("500 Oh", b"no"), BrokerUnavailable, "answered 500: no"),
        (whole("302 Found"), BrokerUnavailable, "answered 302"),
        (whole("200 OK", b"<html>"), BrokerUnavailable, "answered no JSON: is it the HTTP port"),
        (b"\x00\x00\x00\x06no http", BrokerUnavailable, "can't be reached"),
        (b"", BrokerUnavailable, "can't be reached"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", BrokerUnavailable, "can't be reached"),
    ],
)
def test_what_is_no_answer_of_nsq_is_told(answer, error, text):
    async def main():
        async with answering(answer) as (http, address):
            with pytest.raises(error, match=f"http://{address}/stats {text}"):
                await http.get(address, "/stats", {})

    asyncio.run(main())


def test_a_server_that_does_not_answer_is_left(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)

    async def main():
        async with answering(b"HTTP/1.1 200 OK\r\n", hang=True) as (http, address):
            with pytest.raises(BrokerUnavailable, match="can't be reached"):
                async with asyncio.timeout(2):
                    await http.get(address, "/stats", {})

    asyncio.run(main())


def test_an_endless_answer_is_cut(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 1000)

    async def main():
        async with answering(whole("200 OK", b" " * 5000)) as (http, address):
            with pytest.raises(BrokerUnavailable, match="more than 1000 bytes"):
                await http.get(address, "/stats", {})

    asyncio.run(main())


def test_nothing_is_opened_before_the_first_request():
    async def main():
        http = Http()
        assert not isinstance(http._session, aiohttp.ClientSession)
        await http.close()

    asyncio.run(main())

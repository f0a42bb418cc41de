"""Bodies in pieces."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastlane.http.response import StreamingResponse
from fastlane.http.stream import iterate
from tests.http.asgi import Exchange, exchange


class Source:
    """An endless async generator that notes when it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self.sent = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.sent += 1
                yield b"x"
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def letters() -> AsyncIterator[str | bytes]:
    for piece in ("ä", b"", "", b"b"):
        yield piece


class Plain:
    """An async iterable that is no generator, and has nothing to close."""

    def __init__(self) -> None:
        self.pieces = [b"a", b"b"]

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


def collected(source: Any) -> list[bytes]:
    async def run() -> list[bytes]:
        return [chunk async for chunk in iterate(source)]

    return asyncio.run(run())


def test_pieces_are_octets_and_empty_ones_are_left_out():
    assert collected(letters()) == ["ä".encode(), b"b"]
    assert collected(["ä", b"", b"b"]) == ["ä".encode(), b"b"]
    assert collected(iter(["ä", b"", b"b"])) == ["ä".encode(), b"b"]
    assert collected(Plain()) == [b"a", b"b"]


def test_a_plain_generator_runs_in_a_thread_and_is_closed():
    threads: set[threading.Thread] = set()
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(3):
                threads.add(threading.current_thread())
                yield b"x"
        finally:
            closed.append(True)

    assert collected(pieces()) == [b"x"] * 3
    assert threading.main_thread() not in threads
    assert closed == [True]


def test_closing_the_chunks_closes_the_source():
    async def run() -> bool:
        source = Source()
        chunks = StreamingResponse(source.pieces()).chunks()
        await anext(chunks)
        await chunks.aclose()
        return source.closed

    assert asyncio.run(run())


def test_a_stream_is_sent_piece_by_piece():
    sent = exchange(StreamingResponse([b"a", "b"], 201, {"content-length": "2", "transfer-encoding": "x"}, "text/csv"))

    assert sent.status == 201
    assert sent.headers == [(b"content-length", b"2"), (b"content-type", b"text/csv")]
    assert [(m["body"], m["more_body"]) for m in sent.sent[1:]] == [(b"a", True), (b"b", True), (b"", False)]


def test_a_stream_has_no_type_of_its_own():
    response = StreamingResponse([b"a"])

    assert response.streams
    assert response.raw_headers == []


def test_head_sends_nothing_of_a_stream_and_closes_it():
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        closed.append(False)
        yield b"x"

    sent = exchange(StreamingResponse(pieces()), method="HEAD")
    assert sent.body == b""
    assert closed == []  # it never began


@pytest.mark.parametrize("version", ["2.3", "2.0"])
def test_a_disconnect_ends_the_stream_and_closes_its_source(version):
    async def run() -> tuple[Source, Exchange]:
        source = Source()
        client = Exchange(StreamingResponse(source.pieces()), asgi={"spec_version": version})
        client.incoming.append({"type": "http.request", "body": b""})
        sending = asyncio.ensure_future(client.run())
        while source.sent < 5:
            await asyncio.sleep(0)
        client.disconnect.set()
        await asyncio.wait_for(sending, 5)
        return source, client

    source, client = asyncio.run(run())
    assert source.closed
    assert client.sent[-1]["more_body"]


def test_where_send_tells_of_the_disconnect_nothing_else_is_asked():
    async def run() -> Source:
        source = Source()
        client = Exchange(StreamingResponse(source.pieces()), asgi={"spec_version": "2.4"})

        async def receive() -> dict[str, Any]:
            raise AssertionError("it is not asked")

        async def send(message: Any) -> None:
            if source.sent > 3:
                raise OSError("gone")

        await client.response(client.scope, receive, send)
        return source

    assert asyncio.run(run()).closed


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_fault_of_the_source_is_raised(version):
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("broken")

    with pytest.raises(LookupError):
        exchange(StreamingResponse(broken()), asgi={"spec_version": version})


def test_a_cancelled_answer_closes_its_source():
    async def run() -> Source:
        source = Source()
        sending = asyncio.ensure_future(Exchange(StreamingResponse(source.pieces())).run())
        while source.sent < 3:
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        return source

    assert asyncio.run(run()).closed


def test_the_next_piece_is_asked_for_when_the_last_is_taken():
    async def run() -> list[int]:
        source = Source()
        gate = asyncio.Semaphore(0)
        asked: list[int] = []
        client = Exchange(StreamingResponse(source.pieces()))

        async def send(message: Any) -> None:
            if message["type"].endswith("body"):
                asked.append(source.sent)
                await gate.acquire()

        sending = asyncio.ensure_future(client.response(client.scope, client.receive, send))
        for expected in (1, 2, 3):
            while len(asked) < expected:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            assert source.sent == expected
            gate.release()
        client.disconnect.set()
        await sending
        return asked

    assert asyncio.run(run())[:3] == [1, 2, 3]

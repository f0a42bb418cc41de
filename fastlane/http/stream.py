"""A body that is sent in pieces, and the disconnect that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    MutableMapping,
)
from typing import Any, TypeAlias

__all__ = ["Message", "Receive", "Scope", "Send", "iterate", "send_chunks"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_END = object()


async def iterate(source: AsyncIterable[bytes | str] | Iterable[bytes | str]) -> AsyncGenerator[bytes, None]:
    """The pieces of any iterable as octets, without empty ones. ``source`` is closed when this ends or is closed.

    A plain iterator is advanced in a worker thread; a list or tuple, which can't block, is not.
    """
    if isinstance(source, AsyncIterable):
        async_iterator = source.__aiter__()
        try:
            async for piece in async_iterator:
                if piece:
                    yield octets(piece)
        finally:
            if isinstance(async_iterator, AsyncGenerator):
                await async_iterator.aclose()
    elif isinstance(source, list | tuple):
        for piece in source:
            if piece:
                yield octets(piece)
    else:
        iterator = iter(source)
        try:
            while (item := await asyncio.to_thread(_advance, iterator)) is not _END:
                if item:
                    yield octets(item)
        finally:
            if isinstance(iterator, Generator):
                await asyncio.to_thread(iterator.close)


async def send_chunks(
    chunks: AsyncGenerator[bytes, None], kind: str, scope: Scope, receive: Receive, send: Send
) -> None:
    """Sends every piece and the end through ASGI, then closes ``chunks``. A client that goes away ends it early,
    without error.

    From ASGI 2.4 on ``send`` raises OSError for that; before, nothing but ``receive`` tells, so it is watched.
    """
    if _version(scope) >= (2, 4):
        try:
            await _send_all(chunks, kind, send)
        except OSError:
            pass  # the client is gone: there is nobody to tell
        return
    sending = asyncio.ensure_future(_send_all(chunks, kind, send))
    watching = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        sending.cancel()
        # Both must have ended before this returns: the iterator's own cleanup runs inside the first.
        results = await asyncio.gather(sending, watching, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _send_all(chunks: AsyncGenerator[bytes, None], kind: str, send: Send) -> None:
    try:
        async for chunk in chunks:
            await send({"type": kind, "body": chunk, "more_body": True})
    finally:
        await chunks.aclose()
    await send({"type": kind, "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


def _version(scope: Scope) -> tuple[int, ...]:
    return tuple(int(part) for part in scope.get("asgi", {}).get("spec_version", "2.0").split("."))


def _advance(iterator: Iterator[bytes | str]) -> Any:
    # StopIteration can't be raised into a future.
    return next(iterator, _END)


def octets(piece: bytes | str) -> bytes:
    """A piece as it is sent."""
    return piece.encode("utf-8") if isinstance(piece, str) else piece

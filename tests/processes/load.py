"""Clients that count: every request is answered, or lost and why."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

from tests.processes.served import SECONDS

__all__ = ["Load"]


class Load:
    """Keep-alive and short connections that ask without a pause, in a thread of their own, until `stop`.

    A connection is given up after an answer that says ``connection: close``, as HTTP wants it. Whatever else ends a
    request without a whole answer is a loss.
    """

    def __init__(self, port: int, keep_alive: int = 8, short: int = 2, path: str = "/") -> None:
        self.answers: Counter[str] = Counter()
        """By body."""
        self.lost: list[str] = []
        self.slowest = 0.0
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nhost: test\r\n\r\n".encode()
        self._counts = (keep_alive, short)
        self._stopped = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        self.more(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(30.0)
        assert not self._thread.is_alive()

    def more(self, count: int, seconds: float = SECONDS) -> None:
        """Wait until ``count`` more requests have been answered."""
        goal, end = self.answers.total() + count, time.monotonic() + seconds
        while self.answers.total() < goal:
            assert time.monotonic() < end, f"{self.answers.total()} answers, {len(self.lost)} lost: {self.lost[:3]}"
            time.sleep(0.005)

    async def _run(self) -> None:
        keep_alive, short = self._counts
        await asyncio.gather(
            *(self._client(True) for _ in range(keep_alive)),
            *(self._client(False) for _ in range(short)),
        )

    async def _client(self, keep_alive: bool) -> None:
        while not self._stopped:
            began = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.lost.append(f"connect: {error!r}")
                await asyncio.sleep(0.05)
                continue
            try:
                await self._talk(reader, writer, keep_alive, began)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.lost.append(repr(error))
            finally:
                writer.close()
            await asyncio.sleep(0.002)

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep_alive: bool, began: float
    ) -> None:
        while True:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            now = time.monotonic()
            self.slowest = max(self.slowest, now - began)
            self.answers[body.decode()] += 1
            if self._stopped or not keep_alive or b"connection: close" in head:
                return
            await asyncio.sleep(0.002)
            began = time.monotonic()

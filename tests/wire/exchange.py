"""One connection: bytes in, in pieces; answers out, and whether the server kept the connection.

Whether a connection was kept is not guessed from silence: once the expected answers are there, a probe request follows,
and the server either answers it or has closed. Every exchange therefore ends with the connection's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .answers import Answer, Malformed, read_answers
from .applications import Journal, Seen

__all__ = ["Client", "Outcome", "exchange"]

PROBE_TARGET = b"/probe"
PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
PATIENCE = 30.0
"""Seconds. Never waited for by a server that answers or closes: only a failure takes so long."""


class Client:
    """A raw connection that always reads, so that a server is never stuck and a reset loses no answer."""

    def __init__(self, connection: socket.socket, heads: Iterable[int] = ()) -> None:
        self.socket = connection
        self.port: int = connection.getsockname()[1]
        self.received = b""
        self.reads: list[int] = []
        self.ended = False
        self.reset = False
        self.heads = frozenset(heads)
        self._read_to = 0
        self._answers: list[Answer] = []
        self._news = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: tuple[str, int], heads: Iterable[int] = ()):  # type: ignore[no-untyped-def]
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(connection, address)
            client = cls(connection, heads)
            try:
                yield client
            finally:
                client._reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await client._reading
        finally:
            connection.close()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self.socket, 65536)
            except ConnectionError:
                self.reset = True
                data = b""
            self.received += data
            self.reads.append(len(data))
            self.ended = not data
            self._news.set()
            if not data:
                return

    async def send(self, *pieces: bytes) -> bool:
        """Send each piece as a segment of its own; False when the server has gone."""
        loop = asyncio.get_running_loop()
        for piece in pieces:
            if self.ended:
                return False
            try:
                await loop.sock_sendall(self.socket, piece)
            except ConnectionError:
                return False
            if len(pieces) > 1:
                for _ in range(
                    3
                ):  # turns of the loop that the server shares: it has read this piece before the next is sent
                    await asyncio.sleep(0)
        return True

    def finish(self) -> None:
        """Say that nothing more will be sent (a half-close)."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def answers(self) -> list[Answer]:
        """The whole ones of all that came so far."""
        finals = sum(answer.status >= 200 for answer in self._answers)
        heads = frozenset(index - finals for index in self.heads)
        answers, rest = read_answers(self.received[self._read_to :], heads, self.ended)
        self._answers += answers
        self._read_to = len(self.received) - len(rest)
        return self._answers

    def finals(self) -> list[Answer]:
        return [answer for answer in self.answers() if answer.status >= 200]

    async def until_answers(self, count: int, patience: float = PATIENCE) -> bool:
        """Wait for so many final answers; False when the connection ended before, or nothing came in time."""
        return await self._until(lambda: len(self.finals()) >= count, patience) and len(self.finals()) >= count

    async def until_received(self, part: bytes, patience: float = PATIENCE) -> bool:
        return await self._until(lambda: part in self.received, patience) and part in self.received

    async def until_end(self, patience: float = PATIENCE) -> bool:
        """Wait for the server to close."""
        await self._until(lambda: False, patience)
        return self.ended

    async def _until(self, condition, patience: float) -> bool:  # type: ignore[no-untyped-def]
        try:
            async with asyncio.timeout(patience):
                while not self.ended and not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class Outcome:
    """What came of an exchange.

    Attributes:
        answers: final and interim ones, without the probe's.
        kept: the server answered the probe, that is, the connection was open for another request.
        seen: what the application saw, without the probe.
        fault: what was malformed or did not end, or None.
    """

    answers: list[Answer] = field(default_factory=list)
    kept: bool = False
    seen: list[Seen] = field(default_factory=list)
    fault: str | None = None
    reset: bool = False
    rest: bytes = b""

    @property
    def finals(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status >= 200]

    def __str__(self) -> str:
        answers = ", ".join(
            f"{a.status}{'' if a.framing == 'none' else ' ' + repr(a.body[:100])}" for a in self.answers
        )
        seen = ", ".join(repr(s.row()[:100]) + ("" if s.body is not None else " (unfinished)") for s in self.seen)
        return (
            f"answers [{answers}]; {'kept' if self.kept else 'reset' if self.reset else 'closed'}; seen [{seen}]"
            f"{'; fault: ' + self.fault if self.fault else ''}"
            f"{'; left over: ' + repr(self.rest[:80]) if self.rest else ''}"
        )


async def exchange(
    address: tuple[str, int],
    journal: Journal,
    pieces: Sequence[bytes],
    expected: int,
    *,
    heads: Iterable[int] = (),
    finish: bool = False,
    probe: bool = True,
) -> Outcome:
    """Send the pieces, wait for so many final answers, then probe.

    Args:
        heads: which final answers answer a HEAD request.
        finish: half-close after the pieces, and send no probe.
        probe: False when the server must close by itself.
    """
    outcome = Outcome()
    async with Client.open(address, heads) as client:
        try:
            await client.send(*pieces)
            if finish:
                client.finish()
            in_time = await client.until_answers(expected)
            if in_time and probe and not finish and not client.ended:
                await client.send(PROBE)
            if not await client.until_end():
                outcome.fault = f"the connection neither ended nor answered in {PATIENCE} s"
            outcome.answers = list(client.answers())
            outcome.rest = client.received[client._read_to :]
        except Malformed as malformed:
            outcome.fault = str(malformed)
            outcome.rest = client.received
        outcome.reset = client.reset
        seen = journal.of(client.port)
        if seen and seen[-1].target == PROBE_TARGET and seen[-1].body is not None:
            outcome.kept = bool(outcome.answers) and outcome.answers[-1].body.startswith(b"GET " + PROBE_TARGET)
            if outcome.kept:
                outcome.answers.pop()
                seen = seen[:-1]
        outcome.seen = list(seen)
    return outcome

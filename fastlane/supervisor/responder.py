"""Answers questions about the server, on a port of its own and on the control socket: GET, one request a connection.

It is no web server: heads, connections and time are bounded, and nothing of a request but its path is looked at. It
never waits, so that the supervisor's loop goes on whatever a client does.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.listeners import Listener, open_listeners
from fastlane.supervisor.settings import Address

__all__ = ["Answer", "Asked", "Responder"]

CONNECTIONS = 16
"""With one more, the oldest is closed: whoever holds connections open keeps no probe from its answer."""
HEAD_SIZE = 4096
"""Bytes of a request."""
SECONDS = 5.0
"""What a connection has from its beginning to its end."""
_RETRY_SECONDS = 1.0
_BACKLOG = 64
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """A response."""

    status: int
    body: str
    media_type: str = "text/plain; charset=utf-8"

    def encoded(self) -> bytes:
        """The whole of it, as HTTP/1.1."""
        body = self.body.encode()
        allow = "allow: GET\r\n" if self.status == 405 else ""
        head = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\ncontent-type: {self.media_type}\r\n{allow}"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


class Asked(NamedTuple):
    """Somebody wants to know; ``reply`` takes the answer, at any time."""

    path: str
    is_local: bool
    """It came through a Unix socket: the control socket, which only its owner can open."""
    reply: Callable[[Answer], None]


@dataclass(slots=True, eq=False)
class _Client:
    socket: socket.socket
    deadline: float
    is_local: bool
    head: bytes = b""
    rest: bytes = b""
    """What is still to be sent."""
    is_asked: bool = False


class Responder:
    """Listens, reads and writes when `attend` is called; what it waits for is in the ``poll`` that `begin` gets.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._poll = select.poll()
        self._listeners: list[Listener] = []
        self._paused: list[Listener] = []
        self._clients: dict[int, _Client] = {}
        self._late: list[Address] = []
        self._next_try = 0.0

    def open(self, addresses: Iterable[Address]) -> None:
        """Listen there.

        Raises:
            BootFailure: see `open_listeners`.
        """
        self._add(open_listeners(tuple(addresses), _BACKLOG))

    def open_later(self, addresses: Iterable[Address]) -> None:
        """Listen there as soon as it is possible: another supervisor still does."""
        self._late += addresses

    def begin(self, poll: select.poll) -> None:
        """Wait with ``poll`` from now on."""
        self._poll = poll
        for listener in self._listeners:
            poll.register(listener.socket, select.POLLIN)

    @property
    def listeners(self) -> list[Listener]:
        """What is open now."""
        return list(self._listeners)

    def _add(self, listeners: list[Listener]) -> None:
        self._listeners += listeners
        for listener in listeners:
            self._poll.register(listener.socket, select.POLLIN)

    def attend(self) -> list[Asked]:
        """Do what can be done without waiting, and answer what has been asked meanwhile."""
        now = self._now()
        if self._late and now >= self._next_try:
            self._next_try = now + _RETRY_SECONDS
            self._open_late()
        for listener in self._paused:
            self._poll.register(listener.socket, select.POLLIN)
        self._paused.clear()
        for listener in self._listeners:
            self._accept(listener, now)
        asked: list[Asked] = []
        for client in list(self._clients.values()):
            if now >= client.deadline:
                self._drop(client)
            elif client.rest:
                self._send(client)
            elif not client.is_asked:
                asked += self._read(client)
        return asked

    def _open_late(self) -> None:
        waiting, self._late = self._late, []
        for address in waiting:
            try:
                self.open((address,))
            except BootFailure:
                self._late.append(address)

    def _accept(self, listener: Listener, now: float) -> None:
        is_local = listener.socket.family == socket.AF_UNIX
        for _ in range(CONNECTIONS):
            try:
                accepted, _ = listener.socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left: look again in the next turn, and don't spin meanwhile
                self._poll.unregister(listener.socket)
                self._paused.append(listener)
                return
            accepted.setblocking(False)
            if len(self._clients) == CONNECTIONS:
                self._drop(next(iter(self._clients.values())))
            self._clients[accepted.fileno()] = _Client(accepted, now + SECONDS, is_local)
            self._poll.register(accepted, select.POLLIN)

    def _read(self, client: _Client) -> list[Asked]:
        try:
            data = client.socket.recv(HEAD_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return []
        client.head += data
        if b"\r\n\r\n" not in client.head:
            if len(client.head) >= HEAD_SIZE:
                self._reply(client, Answer(431, "the request is too long\n"))
            return []
        client.is_asked = True
        self._poll.modify(client.socket, 0)
        words = client.head[: client.head.index(b"\r\n")].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self._reply(client, Answer(400, "this is no HTTP/1.1 request\n"))
        elif words[0] != b"GET":
            self._reply(client, Answer(405, "only GET is answered here\n"))
        else:
            path = words[1].partition(b"?")[0].decode("latin-1")
            return [Asked(path, client.is_local, lambda answer: self._reply(client, answer))]
        return []

    def _reply(self, client: _Client, answer: Answer) -> None:
        if self._clients.get(client.socket.fileno()) is not client:
            return  # it was dropped meanwhile
        client.is_asked = True
        client.rest = answer.encoded()
        self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            client.rest = client.rest[client.socket.send(client.rest) :]
        except BlockingIOError:
            pass
        except OSError:
            client.rest = b""
        if client.rest:
            self._poll.modify(client.socket, select.POLLOUT)
        else:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client.socket.fileno()]
        self._poll.unregister(client.socket)
        client.socket.close()

    def close(self) -> None:
        """Close everything in this process; in a forked child it is the child's copies."""
        for client in self._clients.values():
            client.socket.close()
        for listener in self._listeners:
            listener.close()

    def end(self) -> None:
        """Close everything, and remove the control socket's file."""
        self.close()
        for listener in self._listeners:
            listener.remove()

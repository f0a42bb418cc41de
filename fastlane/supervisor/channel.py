"""How the processes talk: orders and answers between supervisor and template, and mail from the workers."""

from __future__ import annotations

import json
import socket
from typing import Any

from fastlane.redaction import redacted

__all__ = ["Channel", "Mailbox", "shortened"]

_LONGEST_MAIL = 32_000
"""Bytes of one datagram; the kernel's default buffer takes several."""


class Channel:
    """One end of a stream of JSON objects, one a line. Where it ends, the process at the other end is gone."""

    __slots__ = ("_pending", "socket")

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._pending = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send all of it. An end that is gone is no error: it shows when something is received."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message; None when the other end is gone."""
        while b"\n" not in self._pending:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def received(self) -> list[dict[str, Any] | None]:
        """Every message that is here, without waiting; the last is None when the other end is gone."""
        messages: list[dict[str, Any] | None] = []
        ended = False
        while True:
            try:
                data = self.socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                ended = True
                break
            self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        messages += [json.loads(line) for line in lines]
        if ended:
            messages.append(None)
        return messages

    def close(self) -> None:
        self.socket.close()


class Mailbox:
    """Datagrams from any number of workers to one supervisor. A sender never waits."""

    __slots__ = ("_receiver", "_sender")

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        return self._receiver.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """False if the supervisor does not read: then nothing is sent, and the scoreboard has to tell."""
        try:
            self._sender.send(json.dumps(message).encode())
        except (BlockingIOError, ConnectionError):
            return False
        return True

    def received(self) -> list[dict[str, Any]]:
        """Every message that is here, without waiting."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                messages.append(json.loads(self._receiver.recv(_LONGEST_MAIL * 8)))
            except BlockingIOError:
                return messages

    def close_receiver(self) -> None:
        """In a child: the supervisor reads alone."""
        self._receiver.close()

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()


def shortened(text: str, longest: int = _LONGEST_MAIL // 2) -> str:
    """``text``, its middle left out where it would not fit into one mail. What is hidden is replaced."""
    text = redacted(text)  # before it is cut: half a secret is not recognised
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"

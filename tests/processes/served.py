"""A server in processes of its own, and what a test sees of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["PLAIN", "SECONDS", "Served", "wait_until"]

PLAIN = """
import asyncio, os, time
VERSION = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path, _, seconds = scope["path"].partition("~")
    if seconds:
        os.write(2, f"begun: {path}\\n".encode())  # at once, or lines of two workers would mix
    if path == "/sleep":
        await asyncio.sleep(float(seconds))
    elif path == "/block_the_loop":
        time.sleep(float(seconds))
    elif path == "/exit":
        os._exit(9)
    body = f"{VERSION} {os.getpid()}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""
"""An application that answers with its version and its process id.

``/sleep~SECONDS`` and ``/block_the_loop~SECONDS`` take so long, and say that they have begun on standard error.
"""

SECONDS = 30.0
"""How long anything is waited for that happens at once where nobody else loads the machine."""


def wait_until(condition, seconds: float = SECONDS, what: str = "the condition"):
    """Poll until ``condition()`` is true, and return what it was."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not hold within {seconds} s"
        time.sleep(0.005)
    return value


class Served:
    """``fastlane serve`` on a free port, run in ``directory``."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        app: str = PLAIN,
        target: str = "service:app",
        environment: dict[str, str] | None = None,
        command: list[str] | None = None,
        **popen,
    ) -> None:
        self.directory = directory
        self.write(app)
        self.log: list[str] = []
        command = [*(command or [sys.executable, "-m", "fastlane"]), "serve", target, "--no-access-log"]
        if not {"--uds", "--fd"} & set(options):
            command += ["--port", "0"]
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=directory,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            **popen,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode().rstrip())

    def write(self, app: str, name: str = "service.py") -> None:
        (self.directory / name).write_text(app)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    def wait_for(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Wait until a part of the log matches."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.text)
            assert match or self.process.poll() is None or self._reader.is_alive(), f"it ended:\n{self.text}"
            return match

        try:
            return wait_until(found, seconds, f"{pattern!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def ready(self) -> Served:
        self.wait_for(r"ready, \d+ worker")
        return self

    @property
    def port(self) -> int:
        return int(self.wait_for(r" on http://127\.0\.0\.1:(\d+)")[1])

    def connect(self, timeout: float = SECONDS) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def get(self, path: str = "/", timeout: float = SECONDS) -> str:
        """The body of a request on a connection of its own."""
        with self.connect(timeout) as connection:
            return get(connection, path, close=True)

    def children(self) -> list[int]:
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def workers(self) -> list[int]:
        """The process ids of the workers, by their titles."""
        while True:
            children = self.children()
            workers = [pid for pid in children if title(pid).startswith("fastlane: worker")]
            if self.children() == children:  # else one ended, and its successor came, between the two looks
                return workers

    def has_begun(self, path: str, count: int = 1) -> None:
        """Wait until ``count`` requests for a path that takes its time are being handled."""
        self.wait_for(rf"(?s)(begun: {path}\b.*){{{count}}}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = SECONDS) -> int:
        """TERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = SECONDS) -> int:
        code = self.process.wait(seconds)
        self._reader.join(5.0)  # a successor of the server has the other end, too
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5.0)  # a successor of the server has the other end, too
        assert self.process.stderr is not None
        self.process.stderr.close()


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def get(connection: socket.socket, path: str = "/", close: bool = False) -> str:
    """One request on an open connection; its body."""
    ending = "connection: close\r\n" if close else ""
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: test\r\n{ending}\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed within a body of {length}: {body!r}")
        body += piece
    return body.decode()

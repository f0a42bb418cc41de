"""A server that a test starts on a free loopback port, and that doesn't outlive it."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Self

__all__ = ["Spawned", "free_port", "stop_process"]


def free_port() -> int:
    """A loopback port that was free a moment ago.

    Below the range from which outgoing connections, and listeners on port 0, take theirs: nobody takes it while the
    server starts, nor while one that was killed is away.
    """
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def stop_process(pid: int, patience: float = 60.0) -> None:
    """SIGSTOP to a child of this process; returns when none of its threads runs any more.

    The signal is taken by one thread, and on a busy machine the others go on, and answer, until that one has its turn.
    """
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + patience
    while os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > end:
            raise RuntimeError(f"process {pid} was stopped {patience:g} s ago and still runs")
        time.sleep(0.001)


class Spawned:
    """A process that serves HTTP on ``port``; ready when it was made. A context manager that kills it.

    Attributes:
        ready: the path that answers 200 as soon as it is.

    Args:
        command: starts it in the foreground.
        port: where it is going to listen.
        patience: seconds until it has to answer.
    """

    ready = "/"

    def __init__(self, command: Sequence[str], port: int, *, patience: float = 90.0) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        # Also when the tests themselves are killed.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*guard, *command], stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )
        try:
            self._wait(patience)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, and nothing answers."""
        stop_process(self.pid)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def request(self, method: str, path: str, body: str | None = None) -> int:
        """The status that it answers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                if self.request("GET", self.ready) == 200:
                    return
                raise http.client.HTTPException("not yet")
            except (OSError, http.client.HTTPException):
                if self._process.poll() is not None or time.monotonic() > end:
                    self._output.seek(0)
                    tail = self._output.read().decode(errors="replace")[-2000:]
                    raise RuntimeError(f"{self._process.args!r} did not get ready:\n{tail}") from None
            time.sleep(0.05)

"""One peer's server as a process of its own: started on one core, waited for, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from bench.peers import Peer
from bench.processes import read_stats, tree

__all__ = ["Server", "ServerFailed", "free_ports", "wait_for_answer"]


class ServerFailed(Exception):
    """A server that ended or did not answer in time; the text ends with the last lines of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def answers(port: int, target: str) -> bool:
    """Whether a GET is answered with 200 right now."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(4096).split(b"\r\n", 1)[0].split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def wait_for_answer(process: subprocess.Popen[bytes], port: int, started: float, timeout: float = 30.0) -> float:
    """Seconds from ``started`` (``time.perf_counter``) to the first 200 of ``/hello``, to about a millisecond."""
    while not answers(port, "/hello"):
        if process.poll() is not None:
            raise ServerFailed(f"ended with {process.returncode} before it answered")
        if time.perf_counter() - started > timeout:
            raise ServerFailed(f"no 200 from /hello within {timeout:.0f} s")
        time.sleep(0.001)
    return time.perf_counter() - started


class Server:
    """A running peer.

    Attributes:
        ports: one, or one a scenario for a peer that asks for that.
        cold_start: seconds from the start of the process to the first 200.
    """

    def __init__(self, peer: Peer, cores: set[int], log_directory: Path) -> None:
        self.peer = peer
        self.ports = free_ports(peer.port_count)
        self.log = log_directory / f"{peer.name}.log"
        log_directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            started = time.perf_counter()
            self.process = subprocess.Popen(
                peer.command(self.ports),
                cwd=peer.directory,
                env={**os.environ, **peer.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        try:
            self.cold_start = wait_for_answer(self.process, self.ports[0], started)
        except ServerFailed as error:
            self.stop()
            raise ServerFailed(f"{error}\n{self.log_tail()}") from error

    @property
    def pid(self) -> int:
        return self.process.pid

    def port(self, scenario_index: int) -> int:
        return self.ports[scenario_index if len(self.ports) > 1 else 0]

    def log_tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, timeout: float = 5.0) -> None:
        """TERM, and KILL to whatever of the tree is left after ``timeout`` seconds."""
        family = [stat.pid for stat in tree(self.pid, read_stats())]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        leftover = {stat.pid for stat in tree(self.pid, read_stats())} & set(family)
        for pid in leftover:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

"""Several workers: how evenly connections fall on two, and what one more costs in memory.

python -m bench.workers
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.processes import pss_bytes, read_stats, tree
from bench.server import free_ports
from bench.startup import running, serve_command

__all__ = ["busiest_share", "figures", "parse_established"]

Say = Callable[[str], None]

APP = "bench.apps.fastlane_app:app"
ESTABLISHED = "01"


def parse_established(table: str, port: int) -> set[str]:
    """The inodes of the established connections on a local port, from the text of ``/proc/net/tcp``."""
    inodes = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == ESTABLISHED and int(fields[1].rsplit(":", 1)[1], 16) == port:
            inodes.add(fields[9])
    return inodes


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    return inodes


def connections_by_process(root: int, port: int) -> dict[int, int]:
    """How many established connections of ``port`` each process of a tree holds; those without any are left out."""
    established = parse_established(Path("/proc/net/tcp").read_text(), port)
    held = {stat.pid: len(sockets_of(stat.pid) & established) for stat in tree(root, read_stats())}
    return {pid: count for pid, count in held.items() if count}


def busiest_share(held: dict[int, int]) -> float:
    """The busiest process' part of all connections; 0 where there are none."""
    return max(held.values()) / sum(held.values()) if held else 0.0


@contextlib.contextmanager
def keep_alive(port: int, count: int, at_once: bool) -> Iterator[None]:
    """``count`` connections that have each got one answer and stay open.

    Args:
        at_once: all connect before the first is answered, as a load generator does; else one after another.
    """
    request = f"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        waiting: set[socket.socket] = set()
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(request)
            if at_once:
                selector.register(connection, selectors.EVENT_READ, connection)
                waiting.add(connection)
            else:
                expect_answer(connection)
        while waiting:
            ready = selector.select(timeout=10)
            if not ready:
                raise RuntimeError(f"{len(waiting)} of {count} connections got no answer within 10 s")
            for key, _ in ready:
                expect_answer(key.data)
                selector.unregister(key.data)
                waiting.remove(key.data)
        yield


def expect_answer(connection: socket.socket) -> None:
    answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"expected 200, got {answer[:80]!r}")


def wait_for_workers(root: int, port: int, workers: int, timeout: float = 10.0) -> None:
    """Until every worker holds connections: the first 200 only says that one of them is ready."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with keep_alive(port, 8 * workers, at_once=True):
            holders = len(connections_by_process(root, port))
        while connections_by_process(root, port):
            time.sleep(0.01)
        if holders == workers:
            return
    raise RuntimeError(f"not all of {workers} workers accept after {timeout:.0f} s")


def share(count: int, say: Say, *, cold: bool = False) -> float:
    """The worse of the two ways to connect, on two workers.

    Args:
        cold: connect as soon as one worker has answered, and not when both have.
    """
    shares = []
    for at_once in (True, False):
        (port,) = free_ports(1)
        with running(serve_command(APP, port, workers=2), port) as (process, _):
            if not cold:
                wait_for_workers(process.pid, port, 2)
            with keep_alive(port, count, at_once):
                held = connections_by_process(process.pid, port)
            shares.append(busiest_share(held))
            how = ("at once" if at_once else "one after another") + (", from the first 200 on" if cold else "")
            say(f"{count} connections {how:<42} {sorted(held.values(), reverse=True)}  busiest {shares[-1]:.0%}")
    return max(shares)


def tree_pss(workers: int) -> float:
    """Megabytes of the whole tree after 150 answered connections."""
    (port,) = free_ports(1)
    with running(serve_command(APP, port, workers), port) as (process, _):
        wait_for_workers(process.pid, port, workers)
        with keep_alive(port, 150, at_once=True):
            return pss_bytes(process.pid) / 1e6


def raise_file_limit(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count), hard), hard))


def figures(say: Say) -> dict[str, float]:
    """Values by the keys of ``bench.bars.BARS``.

    Raises:
        RuntimeError, OSError, ServerFailed: a server did not start or did not answer.
    """
    raise_file_limit(4096)
    found = {"share_150": share(150, say), "share_1000": share(1000, say), "share_150_cold": share(150, say, cold=True)}
    memory = {workers: tree_pss(workers) for workers in (1, 2, 3)}
    for workers, megabytes in memory.items():
        say(f"{workers} workers: {megabytes:.1f} MB PSS of the whole tree")
    return {**found, "extra_worker": (memory[3] - memory[1]) / 2}


if __name__ == "__main__":
    for key, value in figures(print).items():
        print(f"{key:<16} {value:6.2f}")

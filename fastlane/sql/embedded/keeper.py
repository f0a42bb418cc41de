"""The keeper: starts an embedded PostgreSQL, and stops it when nobody uses it any more.

It belongs to no one: a session of its own, no terminal, no inherited descriptor. It ends by itself.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["is_ready", "keep", "main"]

LOOK_SECONDS = 0.25
OTHERS_SECONDS = 1.0
"""Who holds the keeper's lock for so long is one."""
INITIALISE_SECONDS = 120.0
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_PASSED = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL")
_LOG_BYTES = 4 * 1024 * 1024


class Keeper:
    """One cluster, from ``initdb`` to its shutdown.

    Args:
        order: the places of `Site` as texts, ``spawn`` (arguments of subprocess), ``settings`` of the server,
            ``initdb`` (further arguments), ``linger`` (seconds without a user after which it stops).
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._data = Path(order["data"])
        self._cluster = self._data / "cluster"
        self._programs = Path(order["programs"])
        self._log = open(order["log"], "ab", buffering=0)  # noqa: SIM115  # as long as this process
        self._stop = False
        self._was_ready = False
        self._server: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until nobody holds the users' lock, TERM, or the server's end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._end_leftover()
        self._initialise()
        self._server = self._start()
        users = os.open(self._order["users"], os.O_RDWR | os.O_CREAT, 0o600)
        alone_since: float | None = None
        while not self._stop and self._server.poll() is None:
            time.sleep(LOOK_SECONDS)
            self._was_ready = self._was_ready or is_ready(self._cluster)
            if not _locked(users):
                alone_since = None
                continue
            # Nobody is there now. The lock is let go at once: whoever comes while the server lingers just takes it.
            now = time.monotonic()
            alone_since = now if alone_since is None else alone_since
            if now - alone_since >= self._order["linger"]:
                break  # with the lock held: whoever comes now waits until the server has stopped, and starts anew
            fcntl.flock(users, fcntl.LOCK_UN)
        self._shut_down()

    def _initialise(self) -> None:
        if self._cluster.is_dir():
            return
        # Beside it first: an initdb that was killed half-way leaves nothing that looks like a cluster.
        half = self._data / "new"
        shutil.rmtree(half, ignore_errors=True)
        arguments = ["-D", half, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-instructions"]
        done = subprocess.run(
            [str(argument) for argument in (self._programs / "initdb", *arguments, *self._order["initdb"])],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=INITIALISE_SECONDS,
            **self._spawn(),
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {self._last_words()}")
        half.rename(self._cluster)

    def _start(self) -> subprocess.Popen[bytes]:
        settings = [text for name, value in self._order["settings"].items() for text in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            [self._programs / "postgres", "-D", self._cluster, "-k", self._order["sockets"], *settings],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_keeper,
            **self._spawn(),
        )

    def _end_leftover(self) -> None:
        """Stop the server of a keeper that was killed, where the kernel did not."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        end = time.monotonic() + STOP_SECONDS
        while _is_postgres(pid):
            os.kill(pid, signal.SIGINT if time.monotonic() < end else signal.SIGQUIT)
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > end + STOP_SECONDS:
                raise RuntimeError(f"another PostgreSQL (process {pid}) uses {self._data} and does not stop")

    def _shut_down(self) -> None:
        """Fast shutdown: connections are closed, a checkpoint is written."""
        server = self._server
        if server is None:
            return
        if server.poll() is not None:
            if not self._was_ready:
                raise RuntimeError(f"PostgreSQL ended with {server.returncode}: {self._last_words()}")
            return  # it was killed: whoever needs it starts another keeper
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait(STOP_SECONDS)

    def _spawn(self) -> dict[str, Any]:
        # Another account's processes may read the environment of a server that was dropped to it: no secret goes there.
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        return {"cwd": "/", "umask": 0o077, "env": environment, **self._order["spawn"]}

    def _last_words(self) -> str:
        with open(self._order["log"], "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return " / ".join(lines[-4:]) or "it said nothing"

    def _on_signal(self, *_: object) -> None:
        self._stop = True


def is_ready(cluster: Path) -> bool:
    """Whether the server takes connections: it says so in the last line of its own pid file."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def keep(order: dict[str, Any]) -> int:
    """Be the keeper, unless there is one."""
    lock = os.open(order["keeper"], os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + OTHERS_SECONDS
    while not _locked(lock):
        # Another keeper, or somebody who looks whether there is one: that takes a moment, and shares the lock.
        if time.monotonic() > end:
            return 0
        time.sleep(0.01)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    failure = Path(order["failure"])
    failure.unlink(missing_ok=True)
    log = Path(order["log"])
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.unlink()
    try:
        Keeper(order).run()
    except Exception as error:
        half = failure.with_suffix(".new")
        half.write_text(str(error))
        half.rename(failure)
        return 1
    return 0


def main() -> None:
    """The process that `fastlane.sql.embedded.server` starts, with its order as JSON.

    It forks the keeper and ends at once: nobody has to reap it then.
    """
    if os.fork():
        os._exit(0)
    sys.exit(keep(json.loads(sys.argv[1])))


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_postgres(pid: int) -> bool:
    """Whether the process is there and a PostgreSQL: numbers are used again."""
    if sys.platform == "linux":
        try:
            return "postgres" in Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            return False
    told = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.returncode == 0 and "postgres" in told.stdout


def _die_with_keeper() -> None:
    """Linux stops the server (fast shutdown) when its keeper was killed; elsewhere the next keeper does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)

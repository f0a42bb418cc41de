"""The keeper: starts an embedded PostgreSQL, and stops it when nobody uses it any more.

It belongs to no one: a session of its own, no terminal, no inherited descriptor. It ends by itself.
"""

from __future__ import annotations

import contextlib
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

__all__ = ["keep", "main", "takes_connections"]

LOOK_SECONDS = 0.25
OTHERS_SECONDS = 1.0
"""Who holds the keeper's lock for so long is one."""
INITIALISE_SECONDS = 120.0
STOP_SECONDS = 20.0
REMAINS_SECONDS = 15.0
"""Of a server that was killed alone its other processes end by themselves, of a keeper that was killed while it started
one, that one; until then no server starts."""
_REMAINS = (b"pre-existing shared memory block", b'lock file "postmaster.pid" already exists')
_PR_SET_PDEATHSIG = 1
_PASSED = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL")
_LOG_BYTES = 4 * 1024 * 1024


class Keeper:
    """One cluster, from ``initdb`` to its shutdown.

    Args:
        order: the places of `Site` as texts, ``spawn`` (arguments of subprocess), ``settings`` of the server,
            ``initdb`` (further arguments), ``linger`` (seconds without a user after which it stops).
        lock: the keepers' file, locked: it says who the keeper is, and behind that which server is its.
    """

    def __init__(self, order: dict[str, Any], lock: int) -> None:
        self._order = order
        self._lock = lock
        self._data = Path(order["data"])
        self._cluster = self._data / "cluster"
        self._programs = Path(order["programs"])
        self._log = open(order["log"], "ab", buffering=0)  # noqa: SIM115  # as long as this process
        self._stop = False
        self._was_ready = False
        self._said = 0  # of the log, before the server was started
        self._server: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until nobody holds the users' lock, TERM, or the server's end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._end_leftover()
        self._initialise()
        self._server = self._start()
        began = time.monotonic()
        users = os.open(self._order["users"], os.O_RDWR | os.O_CREAT, 0o600)
        alone_since: float | None = None
        while not self._stop:
            if self._server.poll() is not None:
                if not self._meets_remains() or time.monotonic() - began > REMAINS_SECONDS:
                    break
                self._end_leftover()
                self._server = self._start()
            time.sleep(LOOK_SECONDS)
            self._was_ready = self._was_ready or takes_connections(self._cluster, Path(self._order["keeper"]))
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
        self._said = os.fstat(self._log.fileno()).st_size
        settings = [text for name, value in self._order["settings"].items() for text in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._cluster, "-k", self._order["sockets"], *settings],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_keeper,
            **self._spawn(),
        )
        _note(self._lock, os.getpid(), server.pid)
        return server

    def _meets_remains(self) -> bool:
        if self._was_ready:
            return False
        with open(self._order["log"], "rb") as log:
            log.seek(self._said)
            words = log.read()
        return any(remains in words for remains in _REMAINS)

    def _end_leftover(self) -> None:
        """Stop the server of a keeper that was killed, where the kernel did not.

        The number of one that was killed itself may be any process's by now (those of a container are the same each
        time), and then PostgreSQL would not start. Its parent's it passes over; the rest of the file, which tells of
        shared memory that may be in use still, is left to it.
        """
        file = self._cluster / "postmaster.pid"
        try:
            number, _, rest = file.read_text().partition("\n")
            pid = int(number)
        except (OSError, ValueError):
            return
        end = time.monotonic() + STOP_SECONDS
        while _serves(pid, self._cluster):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGINT if time.monotonic() < end else signal.SIGQUIT)
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > end + STOP_SECONDS:
                raise RuntimeError(f"another PostgreSQL (process {pid}) uses {self._data} and does not stop")
        for lock in Path(self._order["sockets"]).glob(".s.PGSQL.*.lock"):
            if lock.read_text().partition("\n")[0] == number:
                lock.unlink()
        if file.exists():
            file.write_text(f"{os.getpid()}\n{rest}")

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


def takes_connections(cluster: Path, keeper: Path) -> bool:
    """Whether the keeper's server takes connections: it says so in the last line of its own pid file.

    One that was killed has left such a file, too, and there it stays until the next server is on its way. So it has to
    be the file of the server that the keeper has started.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        started = keeper.read_text().split()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready" and started[1:] == [lines[0]]


def keep(order: dict[str, Any]) -> int:
    """Be the keeper, unless there is one."""
    lock = os.open(order["keeper"], os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + OTHERS_SECONDS
    while not _locked(lock):
        # Another keeper, or somebody who looks whether there is one: that takes a moment, and shares the lock.
        if time.monotonic() > end:
            return 0
        time.sleep(0.01)
    _note(lock, os.getpid())
    failure = Path(order["failure"])
    failure.unlink(missing_ok=True)
    log = Path(order["log"])
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.unlink()
    try:
        Keeper(order, lock).run()
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


def _note(lock: int, *pids: int) -> None:
    """Write them into the keepers' file, a line each."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, "\n".join(map(str, pids)).encode(), 0)


def _serves(pid: int, cluster: Path) -> bool:
    """Whether the process is the server of ``cluster``: numbers are used again, perhaps by another project's."""
    if sys.platform == "linux":
        try:
            told = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            return False
    else:
        told = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout
    return b"-D %b " % os.fsencode(cluster) in told + b" "


def _die_with_keeper() -> None:
    """Linux stops the server (fast shutdown) when its keeper was killed; elsewhere the next keeper does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)

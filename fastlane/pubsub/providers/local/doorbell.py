"""The doorbell: whoever publishes wakes the sources of all processes, by a byte to a socket of each.

    <file>.bells/<subscription>.<random>     a unix datagram socket, bound by one source

A bell that nobody hears costs nothing but time: sources look for themselves four times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

__all__ = ["Bell", "Ringer", "bell_directory", "leave"]

logger = logging.getLogger("fastlane.pubsub")

LONGEST = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS."""
NAME = 28
LIST_EVERY = 1.0
TRIES = 100
"""To get into a directory that others leave, and remove, at the same moment: the second already is rare."""


def bell_directory(file: str) -> Path | None:
    """Where the sockets of a file's sources are, made if it is missing; only its owner can look inside.

    Beside the file; where that path is too long for a socket, in the system's directory for temporary files. None: it
    can't be had, and sources only look for themselves.
    """
    directory = _place(file)
    return directory if _is_ours(directory) else None


def _place(file: str) -> Path:
    directory = Path(f"{file}.bells")
    if len(os.fsencode(directory)) + 1 + NAME > LONGEST:
        digest = hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"fastlane-{os.getuid()}-{digest}"
    return directory


def _is_ours(directory: Path) -> bool:
    """Make it, if it is missing; what somebody else made is not used."""
    try:
        status = _made(directory)
    except OSError as error:
        logger.warning("%s can't be made (%s): messages arrive up to 250 ms later", directory, error)
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        logger.warning("%s belongs to somebody else, and is not used: messages arrive up to 250 ms later", directory)
        return False
    return True


def _made(directory: Path) -> os.stat_result:
    for _ in range(TRIES):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # it was there, and the last one has left it since
            return os.lstat(directory)
    return os.lstat(directory)


def leave(directory: Path) -> None:
    """The last one who leaves removes the directory."""
    with contextlib.suppress(OSError):
        directory.rmdir()


class Bell:
    """A source's own socket, on the running event loop.

    Args:
        directory: of `bell_directory`.
        subscription: its number.
        rung: set whenever somebody rings.
    """

    def __init__(self, directory: Path, subscription: int, rung: asyncio.Event) -> None:
        self._rung = rung
        self._loop = asyncio.get_running_loop()
        # A name of its own for each, so that removing a dead one never hits a living one.
        self._path = directory / f"{subscription}.{token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._bind(directory)
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._hear)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _bind(self, directory: Path) -> None:
        for _ in range(TRIES):
            try:
                self._socket.bind(os.fspath(self._path))
            except FileNotFoundError:
                if not _is_ours(directory):  # the last one has left it a moment ago
                    raise
            else:
                return
        raise FileNotFoundError(errno.ENOENT, "others remove it again and again", os.fspath(directory))

    def _hear(self) -> None:
        self._rung.set()
        try:
            for _ in range(64):  # as many as may wait; the rest calls again
                self._socket.recv(16)
        except OSError:
            pass


class Ringer:
    """Rings. Used in one thread.

    Args:
        directory: of `bell_directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.fspath(directory)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._bells: dict[int, list[str]] = {}
        self._changed = -1
        self._listed = 0.0

    def ring(self, subscriptions: Iterable[int]) -> None:
        """Wake the sources of these that are known. Never waits, never raises; sockets whose source has died are
        removed."""
        for subscription in subscriptions:
            for path in self._bells.get(subscription, ()):
                self._ring_one(path)

    def ring_new(self, subscriptions: Iterable[int]) -> None:
        """Look for sources of these that have come since, and wake them, too."""
        # PERF: to look takes 1 µs, and 10 with cold caches, after an fsync: so it comes behind everything that
        # somebody waits for.
        before = self._bells
        try:
            self._list()
        except OSError:
            return
        if self._bells is before:
            return
        for subscription in subscriptions:
            for path in set(self._bells.get(subscription, ())).difference(before.get(subscription, ())):
                self._ring_one(path)

    def close(self) -> None:
        self._socket.close()

    def _ring_one(self, path: str) -> None:
        try:
            self._socket.sendto(b"\0", path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)  # bound once, and nobody has it any more
        except OSError:
            pass  # its buffer is full: it will wake anyway; or it is gone

    def _list(self) -> None:
        # The time of a directory's last change ticks a few milliseconds at a time, so one that was listed just then is
        # listed again a second later.
        now = time.monotonic()
        changed = os.stat(self._directory).st_mtime_ns
        if changed == self._changed and now - self._listed < LIST_EVERY:
            return
        bells: dict[int, list[str]] = {}
        for name in os.listdir(self._directory):
            number, _, _ = name.partition(".")
            if number.isdigit():
                bells.setdefault(int(number), []).append(os.path.join(self._directory, name))
        self._bells, self._changed, self._listed = bells, changed, now

"""A lock of all processes of a project on this machine. The kernel frees it when its holder dies."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import tempfile
import weakref
from pathlib import Path

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.resources.state import state_directory

__all__ = ["LockTimeout", "MachineLock"]

_LOOK_SECONDS = 0.05

_held: weakref.WeakSet[MachineLock] = weakref.WeakSet()


class LockTimeout(FastlaneError):
    """Another process holds a lock for longer than this one may wait."""


class MachineLock:
    """A file lock in the state directory, or in the system's directory for temporary files where that can't be made.

    A child that is forked meanwhile does not have it.

    Args:
        name: what is locked.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = -1

    @property
    def is_held(self) -> bool:
        return self._fd >= 0

    def try_acquire(self) -> bool:
        """Whether it is this process's now, without waiting."""
        fd = os.open(_path(self.name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        _held.add(self)
        return True

    async def acquire(self, timeout: float) -> None:
        """Wait for it.

        Raises:
            LockTimeout: for ``timeout`` seconds another process had it.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not self.try_acquire():
            if loop.time() >= end:
                raise LockTimeout(
                    f"another process of this project holds the lock {_path(self.name)} for more than {timeout:g} s\n"
                    "    mend: it prepares what stands behind the resources; see what it waits for, or end it"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    def release(self) -> None:
        """Give it back. Does nothing where it is not held."""
        if self._fd >= 0:
            # To close it is not enough: a child that is being forked, or started, at this moment has it open, too.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        _held.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _forget_in_child() -> None:
    # The open file, to which the lock belongs, is shared with the child: a pool of processes that was forked while this
    # one held the lock would hold it on after its death. To close it here does not unlock.
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_forget_in_child)


def _path(name: str) -> Path:
    try:
        return state_directory() / f"{name}.lock"
    except ConfigurationError:
        pass
    project = hashlib.sha256(os.getcwd().encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"fastlane-{os.getuid()}-{project}-{name}.lock"

"""One server at a time looks at a path, and takes it: what a look has found is true until the lock is given back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

__all__ = ["directory_lock"]

PATIENCE = 2.0
"""Others hold it for less than a millisecond; ``flock(1)`` for as long as its command runs."""
_LOOK_SECONDS = 0.002


@contextlib.contextmanager
def directory_lock(path: str) -> Iterator[None]:
    """Lock the directory of ``path``: an flock of the directory itself, so that no file is left behind.

    Where it can't be had (it may be written and not read, its file system has no such locks, somebody keeps it longer
    than `PATIENCE`) it is done without.

    Raises:
        OSError: there is no such directory.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        directory = os.open(os.path.dirname(os.path.abspath(path)), flags)
    except PermissionError:
        directory = -1
    try:
        if directory >= 0:
            _lock(directory)
        yield
    finally:
        if directory >= 0:
            os.close(directory)


def _lock(directory: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return
        except OSError:  # of a network
            return
        else:
            return
        time.sleep(_LOOK_SECONDS)

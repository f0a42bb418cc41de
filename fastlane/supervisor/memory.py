"""Bytes that a process leaves to those that it forks: in memory alone, never on a disk or a command line."""

from __future__ import annotations

import os
import tempfile

__all__ = ["MemoryFile"]

_PIECE = 1 << 20


class MemoryFile:
    """An anonymous file, mode 0600, that only its inheritors can reach.

    Where the system has no memfd (macOS) it is a temporary file that is unlinked before anything is written.
    """

    __slots__ = ("_fd",)

    def __init__(self, name: str) -> None:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create(name, os.MFD_CLOEXEC)
        else:
            self._fd, path = tempfile.mkstemp(prefix=name)
            os.unlink(path)
        os.fchmod(self._fd, 0o600)

    def fileno(self) -> int:
        return self._fd

    def write(self, data: bytes) -> None:
        """Replace what it holds."""
        os.ftruncate(self._fd, 0)
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written : written + _PIECE], written)

    def read(self) -> bytes:
        """All that it holds. The position is nobody's: any number of processes may read at the same time."""
        pieces: list[bytes] = []
        position = 0
        while piece := os.pread(self._fd, _PIECE, position):
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self._fd)

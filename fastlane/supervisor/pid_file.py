"""The file that holds the supervisor's process id."""

from __future__ import annotations

import os

from fastlane.supervisor.directory_lock import directory_lock
from fastlane.supervisor.failure import BootFailure

__all__ = ["PidFile"]


class PidFile:
    """Written when the server starts, removed when it ends.

    While a predecessor still owns the file (USR2 started this process beside it), this one's is named ``.2``;
    `promote` gives it its name when the predecessor is gone.
    """

    def __init__(self, path: str, predecessor: int | None = None) -> None:
        self._wanted = os.path.abspath(path)
        self._path = self._wanted
        self._predecessor = predecessor

    def write(self) -> None:
        """Create the file, whole from the first moment.

        Raises:
            BootFailure: with exit code 3; another server owns it, or it can't be written.
        """
        try:
            with directory_lock(self._wanted):
                self._write()
        except OSError as error:
            raise BootFailure(f"--pid-file {self._path} can't be written: {error.strerror}") from error

    def _write(self) -> None:
        owner = self._owner(self._wanted)
        if owner is not None and owner == self._predecessor:
            self._path = self._wanted + ".2"
        elif owner is not None:
            raise BootFailure(f"--pid-file {self._wanted}: the server of that file runs (pid {owner})")
        draft = f"{self._path}.{os.getpid()}"
        with open(draft, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        os.rename(draft, self._path)

    def promote(self) -> None:
        """Take the proper name once the predecessor is gone."""
        if self._path != self._wanted and self._owner(self._wanted) is None:
            os.rename(self._path, self._wanted)
            self._path = self._wanted

    def remove(self) -> None:
        """Remove the file, unless somebody else has written it meanwhile."""
        if _read(self._path) == os.getpid():
            os.unlink(self._path)

    def _owner(self, path: str) -> int | None:
        """The living process that a file names; a file that a killed server left behind has none."""
        pid = _read(path)
        if pid is None or pid == os.getpid():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        return pid


def _read(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None

"""The leader of a machine: of all its processes the one that holds a lock on a file. The kernel frees it on death."""

from __future__ import annotations

import asyncio
import fcntl
import os
import weakref
from pathlib import Path
from types import TracebackType

__all__ = ["Leader"]

_held: weakref.WeakSet[Leader] = weakref.WeakSet()


class Leader:
    """At most one process holds ``path``; what must happen once per machine is done by it.

    An flock, no pid file: it can't be stale. The file stays; its text, the holder's process id, is for people only. Two
    leaders of one path exclude each other within a process, too. Not for file systems of a network.

    Args:
        path: the lock file. Made, mode 0600, when it is first tried.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"<Leader {str(self.path)!r}{' held' if self._descriptor is not None else ''}>"

    def try_hold(self) -> bool:
        """Whether this process leads now. Never waits; call it again from time to time, also while it leads: a lock
        file that was deleted is led by nobody.

        Raises:
            OSError: the file can't be made.
        """
        if self._descriptor is not None:
            if self._stands(self._descriptor):
                return True
            self.release()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock the path may have been deleted, and made again by another.
            leads = self._stands(descriptor)
        except BlockingIOError:
            leads = False
        except BaseException:
            os.close(descriptor)
            raise
        if not leads:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        self._descriptor = descriptor
        _held.add(self)
        return True

    async def hold(self, poll: float = 1.0) -> None:
        """Wait until this process leads; it tries every ``poll`` seconds. Cancel it to give up."""
        while not self.try_hold():
            await asyncio.sleep(poll)

    def release(self) -> None:
        """Let another lead. Does nothing where this one doesn't."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Leader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _stands(self, descriptor: int) -> bool:
        """The path still leads to the file that is open."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def _forget_in_child() -> None:
    # An flock belongs to the open file, which a forked child shares: it would lead on after its parent's death.
    # Closing here does not unlock, as the parent still has it open.
    for leader in list(_held):
        leader.release()


os.register_at_fork(after_in_child=_forget_in_child)

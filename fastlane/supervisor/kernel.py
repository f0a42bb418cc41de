"""System calls that Python does not offer: Linux's prctl, and names of processes. Elsewhere each does nothing."""

from __future__ import annotations

import os
import resource
import signal
import sys

__all__ = [
    "adopt_orphans",
    "can_adopt",
    "die_with_parent",
    "raise_descriptor_limit",
    "resident_memory",
    "run_state",
    "set_title",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

can_adopt = sys.platform == "linux"
"""Whether an orphaned worker becomes this process's child, and a parent's death can kill it."""


def _prctl(option: int, argument: int | bytes) -> None:
    import ctypes  # here: 5 ms that only Linux needs, and only once per process tree

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(
        option, ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument), 0, 0, 0
    ):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process instead of init's."""
    if can_adopt:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """The kernel kills this process when ``parent`` ends. SIGKILL, because a loop that is stuck handles nothing else.

    Call it as a child of ``parent``, after every change of user: ``setuid`` and ``setgid`` clear the signal.
    """
    if can_adopt:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the signal was set
            os._exit(0)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports "unlimited" and accepts no more than its own maximum
        return soft
    return hard


def run_state(pid: int) -> str:
    """The letter of ``ps``: R running, S sleeping, D waiting for a device, T stopped, Z dead; empty if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def resident_memory(pid: int) -> int:
    """Resident bytes of a process; 0 if unknown."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def set_title(title: str) -> None:
    """Show ``title`` in ``ps`` and ``top``: over the memory of the command line, cut to its length."""
    if not can_adopt:
        return
    import ctypes

    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, fields 48 and 49 of proc(5)
    text = title.encode()[: max(0, end - start - 1)]
    if start and text:
        ctypes.memmove(start, text + b"\0" * (end - start - len(text)), end - start)
    _prctl(_PR_SET_NAME, title.encode()[:15])

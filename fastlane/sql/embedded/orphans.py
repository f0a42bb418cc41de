"""Data outside of a project whose project is gone: what root's embedded servers would leave in the system for ever."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

__all__ = ["OWNER", "mark_owner", "sweep_orphans"]

OWNER = "owner"


def mark_owner(home: Path, state: Path) -> None:
    """Note in ``home``, outside of the project, which state directory it belongs to."""
    file = home / OWNER
    if not file.exists():
        # Whoever sweeps meanwhile must not read half of it.
        half = home / f"{OWNER}.{os.getpid()}-{threading.get_ident()}"
        half.write_text(f"{_identity(state)}\n{state}")
        half.rename(file)


def sweep_orphans(homes: Path) -> None:
    """Remove every home below ``homes`` whose state directory is gone, or was made anew, and whose server does not run.

    One without a note is left alone.
    """
    for file in homes.glob(f"*/{OWNER}"):
        with contextlib.suppress(OSError):  # another process removes it at the same time, or it can't be read
            identity, _, state = file.read_text().partition("\n")
            if _identity(Path(state)) != identity and not any(map(_runs, file.parent.glob("*/cluster/postmaster.pid"))):
                shutil.rmtree(file.parent, ignore_errors=True)


def _identity(state: Path) -> str:
    try:
        return (state / "identity").read_text()
    except OSError:
        return ""


def _runs(file: Path) -> bool:
    try:
        os.kill(int(file.read_text().split("\n", 1)[0]), 0)
    except (OSError, ValueError):
        return False
    return True

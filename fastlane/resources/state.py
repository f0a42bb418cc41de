"""The state directory of a project: what the embedded servers keep, and the locks that bind a machine together."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["state_directory"]

NAME = ".fastlane"


def state_directory() -> Path:
    """``FASTLANE_STATE``, or ``.fastlane`` in the working directory.

    Made when it is asked for, mode 0700, and ignored by git.
    """
    path = Path(os.environ.get("FASTLANE_STATE") or NAME).absolute()
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / ".gitignore").write_text("*\n")
    return path

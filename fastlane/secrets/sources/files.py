"""Secrets in a directory, a file each: as Docker, systemd and Kubernetes mount them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fastlane.resources.configuration import SecretsOptions
from fastlane.resources.configuration.references import without_line_end
from fastlane.secrets.sources.source import Reading, Source, inside

__all__ = ["FilesSource"]

DEFAULT = "/run/secrets"
LONGEST = 1 << 20
"""Bytes of one file: Kubernetes allows no more."""


class FilesSource(Source):
    """A file for each secret: ``MAIL_KEY``, else ``mail_key``, else ``mail-key``, without one line end at its end.

    Kubernetes replaces mounted files by pointing a link elsewhere: the path is resolved anew each time.
    """

    default_refresh: ClassVar[float | None] = 300.0

    def __init__(self, options: SecretsOptions) -> None:
        super().__init__(options)
        self._directory = Path(options.path or DEFAULT)

    def check(self) -> Sequence[str]:
        if not self._directory.is_dir():
            text = f"[secrets] path: there is no directory {str(self._directory)!r}"
            return (f"{text}\n    mend: mount the secrets there, or correct the path",)
        return ()

    async def read(self, names: Sequence[str]) -> Reading:
        values: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in names:
            path = self._path(name)
            try:
                with path.open("rb") as file:
                    content = file.read(LONGEST + 1)
                if len(content) > LONGEST:
                    raise ValueError("it is larger than 1 MiB")
                value = inside(without_line_end(content.decode()), self.key(name))
            except FileNotFoundError:
                missing[name] = f"there is no file {path}"
            except OSError as error:
                missing[name] = f"{path} can't be read: {error.strerror}"
            except UnicodeDecodeError:
                missing[name] = f"{path} is no UTF-8 text"
            except ValueError as error:
                missing[name] = f"{path}: {error}"
            else:
                if value:
                    values[name] = value
                else:
                    missing[name] = f"{path} is empty"
        return Reading(values, missing)

    def fingerprint(self, names: Sequence[str]) -> object:
        return tuple(_identity(self._path(name)) for name in names)

    def place(self, name: str) -> str:
        return f"file {self._path(name)}"

    def mend(self, name: str) -> str:
        return f"mount a file {self._directory / self.called(name)} that holds it"

    def _path(self, name: str) -> Path:
        called = self.called(name)
        spellings = (
            [called] if name in self.options.names else [called, called.lower(), called.lower().replace("_", "-")]
        )
        paths = [self._directory / spelling for spelling in spellings]
        return next((path for path in paths if path.is_file()), paths[0])


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return os.path.realpath(path), status.st_ino, status.st_mtime_ns, status.st_size

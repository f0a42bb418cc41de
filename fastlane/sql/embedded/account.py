"""Who runs the embedded server: the user himself, or, for root, an account without rights. PostgreSQL refuses root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any, NamedTuple

from fastlane.errors import ConfigurationError

__all__ = ["Account", "server_account"]

_UNPRIVILEGED = ("nobody",)


class Account(NamedTuple):
    """A user and group id. ``is_dropped``: they are not this process's own."""

    user: int
    group: int
    is_dropped: bool

    @property
    def spawn(self) -> dict[str, Any]:
        """The arguments of ``subprocess`` that start a program as this account."""
        if not self.is_dropped:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def can_enter(self, path: Path) -> bool:
        """Whether it may read ``path`` and go through every directory above it."""
        if not self.is_dropped:
            return os.access(path, os.R_OK | os.X_OK)
        return all(self._may_pass(directory) for directory in (path, *path.parents) if directory.exists())

    def _may_pass(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.user:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.group:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def own(self, path: Path) -> None:
        """Give it a file or directory."""
        if self.is_dropped:
            os.chown(path, self.user, self.group)


def server_account() -> Account:
    """This process's own account, unless it is root's.

    Raises:
        ConfigurationError: this is root, and there is no account to drop to.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), False)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, True)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED[0]!r} to run it as\n"
        "    mend: run fastlane as an ordinary user, or give the database a url"
    )

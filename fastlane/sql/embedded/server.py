"""A user's hold on the embedded server: while it lasts, the server runs."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fastlane.errors import ConfigurationError
from fastlane.resources.state import state_directory
from fastlane.sql.embedded.account import server_account
from fastlane.sql.embedded.binaries import Binaries, find_binaries
from fastlane.sql.embedded.keeper import STOP_SECONDS, takes_connections
from fastlane.sql.embedded.site import Site, choose_site, keeper_file, open_users, remove_site

__all__ = ["EmbeddedServer"]

LINGER_SECONDS = 5.0
START_SECONDS = 90.0
"""Of ``initdb`` and the start, on a slow machine."""
KEEPER_SECONDS = 10.0
"""Of a new keeper, until it has its lock."""
_LOOK_SECONDS = 0.02
PORT = 5432
"""It names the socket. Told everywhere: libpq's default and asyncpg's are what PGPORT says."""
_KEEPER = "from fastlane.sql.embedded.keeper import main; main()"
# PERF: small, since it runs beside the editor: 57 MB for all nine processes of an idle server.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "32MB",
    "unix_socket_permissions": "0700",
    "max_wal_size": "256MB",
    "log_checkpoints": "off",
    "timezone": "UTC",
}


class EmbeddedServer:
    """One PostgreSQL for a project, shared by every process that holds it.

    Args:
        state: the project's state directory; default: `state_directory`.
        linger: seconds that the server outlives its last user.

    Attributes:
        host: the directory of its Unix socket, for ``asyncpg.connect(host=…, user="postgres")``.

    Example:
        >>> server = EmbeddedServer()
        >>> await server.hold()
        >>> connection = await asyncpg.connect(host=server.host, user=server.user, database="postgres")
    """

    user = "postgres"

    def __init__(self, state: Path | None = None, *, linger: float = LINGER_SECONDS) -> None:
        self._state = state if state is not None else state_directory()
        self._linger = linger
        self._lock: int | None = None
        self._site: Site | None = None

    @property
    def host(self) -> str:
        assert self._site is not None, "hold() comes first"
        return str(self._site.sockets)

    @property
    def is_held(self) -> bool:
        return self._lock is not None

    @property
    def runs(self) -> bool:
        """Whether it takes connections, as its own files say: some calls of the kernel."""
        return self._site is not None and _is_ready(self._site)

    async def hold(self) -> None:
        """Start the server unless it runs, and keep it running until `release`, or the end of this process.

        Raises:
            ConfigurationError: it can't be had here, or does not start; with its last words.
        """
        await asyncio.to_thread(self.hold_blocking)

    def hold_blocking(self) -> None:
        """The same, where there is no event loop. Held already, it starts a server that has gone."""
        account = server_account()
        binaries = find_binaries()
        deadline = time.monotonic() + START_SECONDS
        if self._lock is None:
            self._lock = self._take(binaries, deadline)
        try:
            # Under the lock: nobody removes meanwhile what this makes.
            site = self._site = choose_site(self._state, binaries, account)
        except BaseException:
            self.release()
            raise
        is_known = False
        while not _is_ready(site):
            if _is_free(site.keeper):
                if is_known:
                    self._raise_failure(site)
                else:
                    site.failure.unlink(missing_ok=True)  # of an earlier time, when nobody was left to read it
                self._start_keeper(site, binaries, account.spawn)
                self._await_keeper(site, deadline)
            is_known = True
            self._wait(deadline, site.log)

    def _take(self, binaries: Binaries, deadline: float) -> int:
        users = open_users(self._state, binaries)
        try:
            while not _try(users, fcntl.LOCK_SH):  # a keeper that stops holds it for as long as that takes
                self._wait(deadline, self._state)
        except BaseException:
            os.close(users)
            raise
        return users

    def release(self) -> None:
        """Let go. The server stops when nobody has held it for a while."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def destroy_blocking(self) -> None:
        """Remove the server with all its databases, once nobody uses it. Does nothing where there is none.

        Raises:
            ConfigurationError: somebody else holds it.
        """
        self.release()
        binaries = find_binaries()
        users = open_users(self._state, binaries)
        try:
            deadline = time.monotonic() + self._linger + STOP_SECONDS
            while not (_is_free(keeper_file(self._state, binaries)) and _try(users, fcntl.LOCK_EX)):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        "the embedded PostgreSQL is in use\n    mend: stop `fastlane dev`, `fastlane serve --embedded` "
                        "and running tests of this project first"
                    )
                time.sleep(_LOOK_SECONDS)
            site = self._site = choose_site(self._state, binaries, server_account())
            remove_site(site)
        finally:
            os.close(users)

    def _start_keeper(self, site: Site, binaries: Binaries, spawn: dict[str, object]) -> None:
        settings = dict(_SETTINGS)
        if binaries.major >= 18:
            settings["io_method"] = "sync"  # no workers of its own for reading ahead
        # Plain C knows no letters beyond ASCII: lower('ÄÖ') stays as it is (measured).
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if binaries.major >= 17
            else ["--locale=C.UTF-8"]
        )
        order = {field: str(value) for field, value in site._asdict().items()}
        order_text = json.dumps(
            {**order, "spawn": spawn, "settings": settings, "initdb": locale, "linger": self._linger}
        )
        with open(site.log, "ab") as log:
            subprocess.run(
                [sys.executable, "-P", "-c", _KEEPER, order_text],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=True,
                cwd="/",
                env={**_environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )

    def _await_keeper(self, site: Site, deadline: float) -> None:
        """Until the new keeper has its lock, or has failed; one that vanished without a word is not waited for."""
        end = time.monotonic() + KEEPER_SECONDS
        while _is_free(site.keeper) and time.monotonic() < end:
            self._raise_failure(site)
            self._wait(deadline, site.log)

    def _raise_failure(self, site: Site) -> None:
        try:
            text = site.failure.read_text()
        except FileNotFoundError:
            return
        site.failure.unlink(missing_ok=True)
        raise ConfigurationError(
            f"the embedded PostgreSQL does not start: {text}\n"
            f"    mend: look into {site.log}; `fastlane sql reset` begins with an empty one"
        )

    def _wait(self, deadline: float, where: Path) -> None:
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"the embedded PostgreSQL did not start within {START_SECONDS:g} s\n    mend: look into {where}"
            )
        time.sleep(_LOOK_SECONDS)


def _environment() -> dict[str, str]:
    """Without what is said to clients and servers of PostgreSQL in general: PGPORT, PGDATA, PGOPTIONS …"""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock file exclusively. The look itself lasts a moment, and is shared."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _is_ready(site: Site) -> bool:
    return takes_connections(site.data / "cluster", site.keeper) and not _is_free(site.keeper)

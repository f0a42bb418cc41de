"""The runtime's view of all cron jobs: which store they have, and the thread that runs them."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from typing import ClassVar

from fastlane.cron.clockwork import Clockwork
from fastlane.cron.job import CronJob
from fastlane.cron.scheduler import Scheduler
from fastlane.cron.store import Store
from fastlane.resources.declaration import declared_resources
from fastlane.resources.leader import Leader
from fastlane.resources.service import Service
from fastlane.resources.state import state_directory
from fastlane.resources.surroundings import Role
from fastlane.sql import Database
from fastlane.sql.settings import ConnectionSettings

__all__ = ["CronService"]


class CronService(Service):
    """Ticks are claimed by row: in a declared database, or, on a single machine, in a file by its leader."""

    name: ClassVar[str] = "cron"
    role: ClassVar[Role | None] = "cron"

    _clockwork: Clockwork | None = None
    _leader: Leader | None = None

    def check(self) -> Sequence[str]:
        jobs = declared_resources(CronJob)
        if self.surroundings.mode == "test":
            return ()  # nothing fires by itself, and so nobody has to know where runs are kept
        databases = declared_resources(Database)
        options = self.configuration.cron
        mistakes: list[str] = []
        if options.database is not None and options.database not in databases:
            mistakes.append(
                f"[cron] database: there is no database {options.database!r}\n"
                f"    mend: name a declared one: {', '.join(databases) or 'there is none'}"
            )
        elif self.store == "database" and not databases:
            mistakes.append('[cron] store = "database", but the app declares no database\n    mend: declare a Database')
        elif self.store == "database" and options.database is None and len(databases) > 1:
            mistakes.append(
                f"cron jobs need one database for their runs, and there are {len(databases)}: {', '.join(databases)}\n"
                '    mend: name it: database = "…" in [cron]'
            )
        elif self.store is None:
            mistakes.append(
                f"cron jobs ({', '.join(jobs)}) need to know who else runs them, and there is no database\n"
                '    mend: store = "local" in [cron] says that there is one machine; or declare a Database'
            )
        if self.store == "database" and not mistakes:
            with contextlib.suppress(ModuleNotFoundError):  # the service of databases says what is missing
                import fastlane.cron.database_store  # noqa: F401  # the template shares it with its workers
        return mistakes

    @property
    def store(self) -> str | None:
        """``database``, ``local``, or None where neither may be chosen by default."""
        options = self.configuration.cron
        if options.store is not None:
            return options.store
        if options.database is not None or declared_resources(Database):
            return "database"
        return None if self.surroundings.mode == "serve" and not self.surroundings.embedded else "local"

    async def start(self) -> None:
        jobs = declared_resources(CronJob)
        if self.surroundings.mode not in ("serve", "dev") or not jobs:
            return
        store = self.open_store()
        leads: Callable[[], bool] = lambda: True  # noqa: E731
        if self.store == "local":
            self._leader = Leader(state_directory() / "cron.leader")
            leads = self._leader.try_hold
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._clockwork = Clockwork(lambda call: Scheduler(jobs, store, owner, call, leads), store.close)
        self._clockwork.start()

    async def drain(self, timeout: float) -> None:
        if self._clockwork is not None:
            await self._clockwork.drain(timeout)
            self._clockwork = None
        if self._leader is not None:
            self._leader.release()

    async def close(self) -> None:
        await self.drain(0.0)

    def open_store(self, settings_of: Callable[[str], ConnectionSettings] | None = None) -> Store:
        """The store that the configuration names.

        Args:
            settings_of: how to connect to a declared database; default: as it is bound on the running event loop.
        """
        if self.store == "local":
            from fastlane.cron.local_store import LocalStore

            return LocalStore(state_directory() / "cron.db")
        from fastlane.cron.database_store import DatabaseStore

        databases = declared_resources(Database)
        name = self.configuration.cron.database or next(iter(databases))
        settings = databases[name].settings if settings_of is None else settings_of(name)
        return DatabaseStore(settings.arguments)

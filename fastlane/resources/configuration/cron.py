"""``[cron]``: who decides that a tick is run once."""

from __future__ import annotations

from typing import Literal

from fastlane.resources.configuration.table import Table

__all__ = ["CronOptions"]


class CronOptions(Table, frozen=True):
    """``[cron]``.

    Attributes:
        store: ``database`` (every worker of every machine competes by row), or ``local``: there is one machine.
            Default: ``database`` where the app has one.
        database: the declared database that has the rows; default: the only one.
    """

    store: Literal["database", "local"] | None = None
    database: str | None = None

"""The time of leases and delays: one clock for all processes of a machine, that no correction of the date moves.

A lease that is measured by the date lapses when an administrator (or NTP) sets the clock forward, and a delayed message
waits a day too long when it is set back. The time since boot does neither, but starts again with each boot. So the file
remembers, for each boot, how far the date was ahead of the time since boot when the file was first opened; everybody
adds that. Across boots it never goes backwards: where the date does, the new boot begins at the latest time known.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

__all__ = ["MachineClock", "boot_identity"]

KEPT_BOOTS = 8
BOOT = Path("/proc/sys/kernel/random/boot_id")

# Linux's CLOCK_BOOTTIME goes on while the machine sleeps; macOS's CLOCK_MONOTONIC does so by itself.
_BASE = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_identity() -> str | None:
    """The same in all processes that share a time since boot; None where the system does not tell."""
    try:
        boot = BOOT.read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/time')}"  # containers may have a time since boot of their own
    except OSError:
        return None


class MachineClock:
    """Milliseconds, close to those since 1970.

    Where the boot has no identity it is the date, with all that follows from setting it.
    """

    def __init__(self, ahead: int | None) -> None:
        self._ahead = ahead

    @classmethod
    def load(cls, connection: sqlite3.Connection, identity: str | None) -> MachineClock:
        """Inside a transaction that writes."""
        if identity is None:
            return cls(None)
        row = connection.execute("SELECT ahead FROM clock WHERE identity = ?", (identity,)).fetchone()
        if row is not None:
            return cls(row[0])
        latest = connection.execute("SELECT coalesce(max(latest), 0) FROM clock").fetchone()[0]
        newest = connection.execute("SELECT stored_at FROM message ORDER BY seq DESC LIMIT 1").fetchone()
        ahead = max(int(time.time() * 1000), latest, newest[0] if newest else 0) - _since_boot()
        clock = cls(ahead)
        connection.execute(
            "INSERT INTO clock (identity, ahead, latest) VALUES (?, ?, ?)", (identity, ahead, clock.now())
        )
        connection.execute(
            "DELETE FROM clock WHERE identity NOT IN (SELECT identity FROM clock ORDER BY latest DESC LIMIT ?)",
            (KEPT_BOOTS,),
        )
        return clock

    def now(self) -> int:
        if self._ahead is None:
            return int(time.time() * 1000)
        return self._ahead + _since_boot()


def _since_boot() -> int:
    return time.clock_gettime_ns(_BASE) // 1_000_000

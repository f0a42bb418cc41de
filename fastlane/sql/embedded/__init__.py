"""The embedded PostgreSQL: a real server for ``fastlane dev``, ``serve --embedded`` and tests, one per project.

    user ──(shared flock)──┐
    user ──(shared flock)──┼── users file ──(exclusive for 5 s: nobody is left)── keeper ── postgres
    …                      │

Whoever wants the server holds a shared lock. The keeper, a process of its own, starts it, and stops it once the lock
has been free for a while. Killed, it is started again by whoever holds the lock (`Watch`). The kernel frees the locks
of a process that was killed, so nothing is left behind, and a reload finds the server running.
"""

from __future__ import annotations

from fastlane.sql.embedded.databases import clone_for_test, create_database, drop_database
from fastlane.sql.embedded.server import PORT, EmbeddedServer
from fastlane.sql.embedded.watch import Watch

__all__ = ["PORT", "EmbeddedServer", "Watch", "clone_for_test", "create_database", "drop_database"]

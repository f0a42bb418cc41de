"""The embedded broker: a SQLite file in WAL mode that all processes of a machine share.

LocalProvider ── LocalPublisher, LocalSource, LocalAdministrator
     │               │ submit an Operation (intake, claims, registry, dead)
     │           Database        a thread per event loop; commits in groups, then rings the doorbells
     │               │
     │             Store         one connection; schema, clock, filesystem, faults
     └─ Housekeeper              checkpoints and retention, in the process that leads
"""

from __future__ import annotations

from fastlane.pubsub.providers.local.faults import DamagedFile, StorageFull
from fastlane.pubsub.providers.local.provider import LocalProvider

__all__ = ["DamagedFile", "LocalProvider", "StorageFull"]

"""A declared PostgreSQL database as the broker: tables in its schema ``fastlane``, which `sql migrate` makes.

PostgresProvider ── PostgresPublisher, PostgresSource, PostgresAdministrator
     │                  │ one function of the database per call (sql/schema/0003_pubsub.up.sql)
     └─ Station       what one event loop has open
          ├─ Links        two connections at most
          ├─ Doorbell     one more that listens, where something is consumed
          └─ Housekeeping retention, in one process at a time
"""

from __future__ import annotations

from fastlane.pubsub.providers.postgres.provider import PostgresProvider

__all__ = ["PostgresProvider"]

"""Migrations: numbered SQL files, applied once, in order, by one machine at a time."""

from __future__ import annotations

from fastlane.sql.migrations.files import Migration, new_migration, read_migrations
from fastlane.sql.migrations.migrator import FRAMEWORK, MigrationError, MigrationStatus, Migrator

__all__ = [
    "FRAMEWORK",
    "Migration",
    "MigrationError",
    "MigrationStatus",
    "Migrator",
    "new_migration",
    "read_migrations",
]

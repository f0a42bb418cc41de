"""Migrations as they stand in a directory: ``0001_create_posts.up.sql``, and perhaps ``0001_create_posts.down.sql``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from fastlane.errors import ConfigurationError
from fastlane.sql.migrations.script import NO_TRANSACTION, split_statements, transaction_control

__all__ = ["Migration", "new_migration", "read_down", "read_migrations"]

_NAME = re.compile(r"(?P<version>\d{1,18})_(?P<name>[A-Za-z0-9_-]+)\.(?P<direction>up|down)\.sql")


class Migration(NamedTuple):
    """One step of a schema.

    Attributes:
        version: its number; steps are applied in the order of numbers.
        name: what stands behind the number.
        up: the file.
        down: the file that undoes it, or None.
        text: of ``up``.
        checksum: of the text, whatever its line ends.
        in_transaction: False where the first line says ``-- fastlane: no-transaction``.
    """

    version: int
    name: str
    up: Path
    down: Path | None
    text: str
    checksum: str
    in_transaction: bool

    @property
    def title(self) -> str:
        """``0001_create_posts``."""
        return self.up.name.removesuffix(".up.sql")


def read_migrations(directory: Path) -> list[Migration]:
    """Every migration of a directory, in order.

    Raises:
        ConfigurationError: the directory can't be read, or something in it is no migration: all of it in one text.
    """
    files: dict[tuple[int, str], Path] = {}
    mistakes: list[str] = []
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".sql")
    except OSError as error:
        raise ConfigurationError(
            f"{directory}: migrations can't be read: {error.strerror}\n"
            '    mend: make the directory, or say where they are: Database("…", migrations="path"), beside the module'
        ) from None
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None:
            mistakes.append(f"{path}: expected a name such as 0001_create_posts.up.sql")
            continue
        key = int(match["version"]), match["direction"]
        if key in files:
            mistakes.append(f"{path}: {files[key].name} has the number {key[0]}, too")
            continue
        files[key] = path
    migrations = []
    for (version, direction), path in sorted(files.items()):
        if direction == "down":
            up = files.get((version, "up"))
            if up is None or up.name.removesuffix(".up.sql") != path.name.removesuffix(".down.sql"):
                mistakes.append(f"{path}: there is no {path.name.removesuffix('.down.sql')}.up.sql that it would undo")
            continue
        migration = _read(version, path, files.get((version, "down")))
        mistakes += _mistakes(path, migration.text, migration.in_transaction)
        migrations.append(migration)
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return migrations


def _read(version: int, path: Path, down: Path | None) -> Migration:
    text = _text(path)
    return Migration(
        version=version,
        name=path.name.partition("_")[2].removesuffix(".up.sql"),
        up=path,
        down=down,
        text=text,
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        in_transaction=NO_TRANSACTION.match(text) is None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # newlines are normalised, too
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't be read: {error}") from None


def _mistakes(path: Path, text: str, in_transaction: bool) -> list[str]:
    if not split_statements(text):
        return [f"{path}: there is no statement in it\n    mend: write one, or remove the file"]
    if not in_transaction:
        count = len(split_statements(text))
        if count == 1:
            return []
        problem = f"a migration outside a transaction holds one statement, and this one {count}"
        mend = "a file for each statement, so that one that fails leaves nothing half done"
        return [f"{path}: {problem}\n    mend: {mend}"]
    control = transaction_control(text)
    if control is None:
        return []
    mend = "leave it out, or begin the file with the line `-- fastlane: no-transaction`"
    return [f"{path}: {control}: each migration runs in a transaction already\n    mend: {mend}"]


def read_down(migration: Migration) -> tuple[str, bool]:
    """The text that undoes a migration, and whether it runs in a transaction.

    Raises:
        ConfigurationError: there is none, or it can't be used.
    """
    if migration.down is None:
        raise ConfigurationError(
            f"{migration.up}: nothing says how to undo it\n    mend: write {migration.title}.down.sql beside it"
        )
    text = _text(migration.down)
    in_transaction = NO_TRANSACTION.match(text) is None
    mistakes = _mistakes(migration.down, text, in_transaction)
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return text, in_transaction


def new_migration(directory: Path, name: str) -> Path:
    """Make the next migration's empty file, and the directory where it is missing; answers its path.

    Raises:
        ConfigurationError: the name can't be one.
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()
    if not slug:
        raise ConfigurationError(f"{name!r} is no name for a migration: expected words, such as create_posts")
    directory.mkdir(parents=True, exist_ok=True)
    # By their names alone: one that was just made has no statement yet.
    known = [int(match["version"]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    number = max(known, default=0) + 1
    path = directory / f"{number:04d}_{slug}.up.sql"
    path.write_text(f"-- {name}\n")
    return path

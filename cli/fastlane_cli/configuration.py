"""The configuration file: ``--config FILE``, else ``FASTLANE_CONFIG``, else ``fastlane.toml`` where there is one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import NamedTuple

from fastlane.errors import ConfigurationError
from fastlane.resources.surroundings import Surroundings

__all__ = ["Configuration", "read_configuration"]

DEFAULT = "fastlane.toml"
TABLES = ("serve", "providers", "pubsub", "sql", "cron", "secrets")
"""The tables that a file may hold. Nothing else is in it: what nobody reads is a mistake of its writer. All but one
are about resources, and are read by `fastlane.resources.configuration`."""


class Configuration(NamedTuple):
    """A file that was read, or the empty one.

    Attributes:
        name: what errors call it.
        has_resources: it has tables about resources.
    """

    name: str
    is_found: bool
    serve: Mapping[str, object]
    has_resources: bool = False


def read_configuration(flag: str | None, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Find and read the file.

    Args:
        flag: what ``--config`` said.
        environment: where ``FASTLANE_CONFIG`` stands.

    Raises:
        ConfigurationError: it was asked for and is not there, can't be read, is no TOML, or has an unknown table.
    """
    if not flag and not environment.get("FASTLANE_CONFIG") and not os.path.isfile(DEFAULT):
        return Configuration(DEFAULT, False, {})
    # PERF: 20 ms, and most starts have no file.
    from fastlane.resources.configuration.reading import load

    loaded = load(Surroundings(mode="serve", config=flag), environment)
    name, document = loaded.name, loaded.document
    for key, value in document.items():
        if key not in TABLES:
            near = difflib.get_close_matches(key, TABLES, n=1)
            hint = f"Did you mean [{near[0]}]?" if near else f"Expected {', '.join(f'[{table}]' for table in TABLES)}."
            raise ConfigurationError(f"{name}: {key}: there is no such table. {hint}")
        if not isinstance(value, dict):
            raise ConfigurationError(f"{name}: {key}: expected a table, [{key}], got {value!r}")
    serve = document.get("serve", {})
    assert isinstance(serve, dict)
    return Configuration(name, loaded.path is not None, serve, bool(document.keys() - {"serve"}))

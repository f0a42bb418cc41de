"""The configuration file: ``--config FILE``, else ``FASTLANE_CONFIG``, else ``fastlane.toml`` where there is one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import NamedTuple

from fastlane.errors import ConfigurationError

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
    source = "--config" if flag else "FASTLANE_CONFIG"
    name = flag or environment.get("FASTLANE_CONFIG") or ""
    if not name:
        if not os.path.isfile(DEFAULT):
            return Configuration(DEFAULT, False, {})
        name = DEFAULT
    document = _read(name, source)
    for key, value in document.items():
        if key not in TABLES:
            near = difflib.get_close_matches(key, TABLES, n=1)
            hint = f"Did you mean [{near[0]}]?" if near else f"Expected {', '.join(f'[{table}]' for table in TABLES)}."
            raise ConfigurationError(f"{name}: {key}: there is no such table. {hint}")
        if not isinstance(value, dict):
            raise ConfigurationError(f"{name}: {key}: expected a table, [{key}], got {value!r}")
    return Configuration(name, True, document.get("serve", {}), bool(document.keys() - {"serve"}))


def _read(name: str, source: str) -> dict[str, dict[str, object]]:
    import tomllib  # 20 ms, and most starts have no file

    try:
        with open(name, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigurationError(f"{source}: there is no file {name!r}") from None
    except OSError as error:
        raise ConfigurationError(f"{source}: {name} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: this is no TOML: {error}") from None

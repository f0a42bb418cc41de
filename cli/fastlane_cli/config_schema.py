"""``fastlane config schema``: what may stand in the file, for editors of TOML."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import click

from fastlane.resources.configuration.schema import json_schema
from fastlane.server.option import Option
from fastlane.server.options import OPTIONS, ServeOptions

__all__ = ["command", "serve_schema"]

_TYPES = {bool: ["boolean", "string"], int: ["integer", "string"], float: ["number", "string"], str: ["string"]}
"""What TOML has for each type of option. A text is read like a flag: ``"64MiB"``, ``"10s"``."""


@click.command("schema")
def command() -> None:
    """Print a JSON Schema (draft 2020-12) of fastlane.toml to standard output.

    For taplo and Even Better TOML: save it as fastlane.schema.json, and begin fastlane.toml with the line
    '#:schema ./fastlane.schema.json'.
    """
    click.echo(json.dumps(json_schema(serve_schema()), indent=2, ensure_ascii=False))


def serve_schema() -> dict[str, Any]:
    """The table ``[serve]``, from the table of options."""
    hints = get_type_hints(ServeOptions)
    return {
        "type": "object",
        "description": "The options of fastlane serve. A flag or a variable beats them.",
        "properties": {option.key: _schema(option, hints[option.name]) for option in OPTIONS if option.key is not None},
        "additionalProperties": False,
    }


def _schema(option: Option, hint: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": option.help}
    if option.default is not None:
        schema["default"] = f"{option.default:04o}" if option.name == "uds_permissions" else option.default
    kinds = [kind for kind in (hint, *get_args(hint)) if kind in _TYPES]
    choices = [choice for choice in get_args(hint) if isinstance(choice, str)]
    types = [name for kind in kinds for name in _TYPES[kind]]
    value: dict[str, Any] = {"type": types if len(types) > 1 else types[0]} if types else {"enum": choices}
    return {**schema, "anyOf": [value, {"$ref": "#/$defs/EnvReference"}]}

"""The configuration as JSON Schema (draft 2020-12), for editors of TOML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from fastlane.resources.configuration.document import ResourceConfiguration
from fastlane.resources.configuration.documentation import describe_keys, describe_table
from fastlane.resources.configuration.references import FORMS
from fastlane.resources.configuration.secrets import SecretsOptions

__all__ = ["DIALECT", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_EXPLAINED = {
    "env": "The value of an environment variable.",
    "file": "The content of a file, without one line end at its end; relative to this file's directory.",
    "secret": "The value of a secret: it counts as declared, and is looked up where [secrets] says.",
}


def json_schema(serve: Mapping[str, object]) -> dict[str, Any]:
    """The schema of a whole file.

    Args:
        serve: the schema of ``[serve]``, which is the server's. It may refer to ``#/$defs/EnvReference``.
    """
    (reference,), definitions = msgspec.json.schema_components([ResourceConfiguration], ref_template="#/$defs/{name}")
    whole = reference["$ref"].rpartition("/")[2]
    for name, table in _tables(ResourceConfiguration).items():
        may_be_secret = table is not SecretsOptions
        definitions[name] = _described(table, definitions[name], may_be_secret=may_be_secret)
    root = definitions.pop(whole)
    definitions |= {
        "Reference": _reference(FORMS),
        "PlainReference": _reference(FORMS[:2]),
        "EnvReference": _reference(FORMS[:1]),
    }
    return {
        "$schema": DIALECT,
        "title": "fastlane.toml",
        "description": "How fastlane serve runs, and what stands behind the declared resources.",
        "type": "object",
        "properties": {"serve": dict(serve), **root["properties"]},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _reference(forms: Iterable[str]) -> dict[str, Any]:
    """A table with exactly one of the keys."""
    return {
        "title": "A value that stands elsewhere",
        "type": "object",
        "properties": {form: {"type": "string", "minLength": 1, "description": _EXPLAINED[form]} for form in forms},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _tables(kind: type) -> dict[str, type]:
    """Every table that is reachable, by the name that msgspec gives it."""
    found: dict[str, type] = {}

    def visit(node: inspect.Type) -> None:
        if isinstance(node, inspect.Metadata):
            visit(node.type)
        elif isinstance(node, inspect.UnionType):
            for member in node.types:
                visit(member)
        elif isinstance(node, inspect.DictType):
            visit(node.value_type)
        elif isinstance(node, inspect.StructType) and node.cls.__name__ not in found:
            found[node.cls.__name__] = node.cls
            for field in node.fields:
                visit(field.type)

    visit(inspect.type_info(kind))
    return found


def _described(table: type, schema: dict[str, Any], *, may_be_secret: bool) -> dict[str, Any]:
    keys = describe_keys(table)
    config = getattr(table, "__struct_config__", None)
    tag_field = getattr(config, "tag_field", None)
    properties: dict[str, Any] = {}
    for name, value in schema["properties"].items():
        if name == tag_field:
            properties[name] = {**value, "description": "What kind of broker it is."}
            continue
        value = _open(_present(value), may_be_secret=may_be_secret)
        own = value.pop("description", "")
        text = " ".join(part for part in (keys.get(name, ""), own) if part)
        properties[name] = {"description": re.sub(r"\s+", " ", text), **value} if text else value
    return {**schema, "description": describe_table(table), "properties": properties}


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Without ``null``, which TOML has not: a key is there or it is left out."""
    schema = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" not in schema:
        return schema
    choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(choices) == 1:
        return {**rest, **choices[0]}
    return {**rest, "anyOf": choices}


def _open(schema: dict[str, Any], *, may_be_secret: bool) -> dict[str, Any]:
    """A reference may stand wherever a text may."""
    reference = {"$ref": "#/$defs/Reference" if may_be_secret else "#/$defs/PlainReference"}
    outer = {key: value for key, value in schema.items() if key in ("default", "description")}
    inner = {key: value for key, value in schema.items() if key not in outer}
    if "anyOf" in inner:
        choices: list[dict[str, Any]] = []
        for choice in inner["anyOf"]:
            opened = _open(choice, may_be_secret=may_be_secret)
            choices += opened.get("anyOf", [opened])
        unique = [choice for number, choice in enumerate(choices) if choice not in choices[:number]]
        return {**outer, "anyOf": unique}
    is_text = inner.get("type") == "string" or any(isinstance(value, str) for value in inner.get("enum", ()))
    if is_text:
        return {**outer, "anyOf": [inner, reference]}
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), dict):
            inner[key] = _open(inner[key], may_be_secret=may_be_secret)
    return {**outer, **inner}

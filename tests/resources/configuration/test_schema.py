"""What the schema allows is what the reader takes."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from fastlane.errors import ConfigurationError
from fastlane.resources.configuration import Loaded, PubSubOptions, resolve
from fastlane.resources.configuration.documentation import describe_keys, describe_table
from fastlane.resources.configuration.schema import DIALECT, json_schema

SCHEMA = json_schema({"type": "object"})
KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": float}


def accepts(schema: dict[str, Any], value: object) -> bool:
    """A validator of the words that our schema uses; another word fails the test."""
    words = {"title", "description", "default", "$schema", "$defs", "examples"}
    for word, argument in schema.items():
        if word in words:
            continue
        if not _accepts_word(schema, word, argument, value):
            return False
    return True


def _accepts_word(schema: dict[str, Any], word: str, argument: Any, value: Any) -> bool:
    match word:
        case "$ref":
            return accepts(SCHEMA["$defs"][argument.rpartition("/")[2]], value)
        case "anyOf":
            return any(accepts(choice, value) for choice in argument)
        case "type":
            if isinstance(value, bool):
                return bool(argument == "boolean")
            return isinstance(value, KINDS[argument]) or (argument == "number" and isinstance(value, int))
        case "enum":
            return value in argument
        case "properties":
            return all(accepts(argument[key], item) for key, item in value.items() if key in argument)
        case "required":
            return all(key in value for key in argument)
        case "additionalProperties":
            rest = [item for key, item in value.items() if key not in schema.get("properties", {})]
            return all(accepts(argument, item) for item in rest) if isinstance(argument, dict) else not rest
        case "minProperties":
            return len(value) >= argument
        case "maxProperties":
            return len(value) <= argument
        case "minLength":
            return len(value) >= argument
        case "exclusiveMinimum":
            return bool(value > argument)
        case "pattern":
            return re.search(argument, value) is not None
        case "minimum":
            return bool(value >= argument)
        case "items":
            return all(accepts(argument, item) for item in value)
        case "discriminator":
            return True
    raise AssertionError(f"the schema has a word that nobody knows: {word}")


def is_read(document: dict[str, object]) -> bool:
    try:
        resolve(Loaded("f.toml", None, document, {"X": "10"}))
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[providers.events]\nkind = 'aws'\nregion = { env = 'X' }",
        "[providers.events]\nkind = 'nsq'\nnsqd = ['a', { env = 'X' }]\ntls = true\nmax_delay = '1h'",
        "[providers.events]\nkind = 'local'\nmax_bytes = 1024\nretention = 3.5\ndurability = { env = 'D' }",
        "[pubsub]\nprovider = 'local'\nmax_outgoing = 1\n[pubsub.topics.a.subscriptions.b]\nurl = 'https://sqs.x.amazonaws.com/1/x'",
        "[sql.databases.a]\nurl = { secret = 'X' }\npool = { min = 1, acquire_timeout = 1 }",
        "[secrets]\nprovider = 'files'\npath = { file = '/dev/null' }\nnames = { A = 'b' }",
        "[cron]\nstore = 'local'",
    ],
)
def test_what_the_reader_takes_the_schema_allows(text: str) -> None:
    document = tomllib.loads(text)
    assert accepts(SCHEMA, document)
    if "/dev/null" not in text and "env = 'D'" not in text:  # right in form, and the value is not there
        assert is_read(document)


@pytest.mark.parametrize(
    "text",
    [
        "other = 1",
        "[providers.events]\nkind = 'kafka'",
        "[providers.events]\nkind = { env = 'X' }",
        "[providers.events]\nregion = 'x'",
        "[pubsub]\nmax_outgoing = 0",
        "[pubsub]\nmax_outgoing = { env = 'X' }",
        "[pubsub]\npublish_timeout = true",
        "[pubsub]\npublish_timeout = '10x'",
        "[pubsub]\npublish_timeout = 0",
        "[pubsub]\nmax_message_size = '1PB'",
        "[providers.events]\nkind = 'local'\nmax_bytes = -1",
        "[secrets]\nrefresh = '5 minutes'",
        "[sql.databases.a]\npool = {}",
        "[sql.databases.a]\nurl = { env = 'X', file = 'y' }",
        "[sql.databases.a]\nurl = { vault = 'X' }",
        "[sql]\nmigrate = 'never'",
        "[secrets]\nprefix = { secret = 'X' }",
    ],
)
def test_what_the_reader_refuses_the_schema_does_not_allow(text: str) -> None:
    document = tomllib.loads(text)
    assert not is_read(document)
    assert not accepts(SCHEMA, document)


def test_every_key_is_described() -> None:
    assert SCHEMA["$schema"] == DIALECT
    tables = {name: table for name, table in SCHEMA["$defs"].items() if "properties" in table}
    assert {"LocalOptions", "TopicOptions", "PoolOptions", "SecretsOptions"} <= set(tables)
    for table in (SCHEMA, *tables.values()):
        assert "description" in table or "title" in table
        for key, value in table["properties"].items():
            assert value.get("description") or "$ref" in value or key == "serve", key


def test_toml_has_no_null_so_the_schema_has_none() -> None:
    assert not re.search(r"'null'|None", str(SCHEMA))


def test_a_docstring_is_the_description() -> None:
    keys = describe_keys(PubSubOptions)
    assert keys["provider"] == "For every topic that names none."
    assert keys["max_outgoing"] == keys["max_outgoing_bytes"]
    assert keys["max_outgoing"].startswith(
        "Messages, and their bytes, that may wait for the broker's answer in one worker"
    )
    assert describe_table(PubSubOptions) == "`[pubsub]`."

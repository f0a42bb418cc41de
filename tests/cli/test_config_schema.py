"""``fastlane config schema``: the options of serve beside the resources."""

from __future__ import annotations

import json

from fastlane.server.options import OPTIONS
from fastlane_cli.config_schema import serve_schema

from .conftest import Fastlane


def test_it_is_json_of_the_whole_file(fastlane: Fastlane) -> None:
    outcome = fastlane("config", "schema")
    schema = json.loads(outcome.out)
    assert outcome.code == 0
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(schema["properties"]) == ["serve", "providers", "pubsub", "sql", "cron", "secrets"]


def test_every_option_that_a_file_may_have_is_described_in_it() -> None:
    properties = serve_schema()["properties"]
    assert set(properties) == {option.key for option in OPTIONS if option.key is not None}
    assert "config" not in properties
    assert properties["host"] == {
        "description": "Address or name to listen on.",
        "default": "127.0.0.1",
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/EnvReference"}],
    }
    assert properties["workers"]["anyOf"][0] == {"type": ["integer", "string"]}
    assert properties["keep_alive"]["anyOf"][0] == {"type": ["number", "string"]}
    assert properties["access_log"]["anyOf"][0] == {"type": ["boolean", "string"]}
    assert properties["log_format"]["anyOf"][0] == {"enum": ["text", "json"]}
    assert properties["uds_permissions"]["default"] == "0666"
    assert "default" not in properties["certfile"]

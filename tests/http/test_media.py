"""Media types of request bodies."""

from __future__ import annotations

import pytest

from fastlane.http.media import JSON_TYPES, MSGPACK_TYPES, essence_of, is_read


@pytest.mark.parametrize(
    ("content_type", "essence"),
    [
        (b"application/json", "application/json"),
        (b"Application/JSON ; charset=utf-8", "application/json"),
        (b"", ""),
        (b"text/\xff", "text/\xff"),
    ],
)
def test_the_essence_has_no_parameters_and_is_lower_case(content_type, essence):
    assert essence_of(content_type) == essence


def test_who_reads_json_reads_every_type_whose_suffix_says_json():
    assert is_read("application/vnd.api+json", JSON_TYPES)
    assert is_read("application/json", JSON_TYPES)
    assert not is_read("application/vnd.api+json", MSGPACK_TYPES)
    assert not is_read("application/vnd.api+xml", JSON_TYPES)
    assert not is_read("", JSON_TYPES)

"""The Content-Type of a body decides how it is read, never what the bytes look like."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from fastlane.errors import BadRequest
from fastlane.params import Body
from tests.compiler.requests import answer, compiled, errors

JSON = {"content-type": "application/json"}
MSGPACK = {"content-type": "application/msgpack"}
BOTH = pytest.mark.parametrize("headers", [JSON, MSGPACK], ids=["json", "msgpack"])


class Item(Struct):
    name: str


async def create(item: Item) -> Item:
    return item


async def number(value: Annotated[int, Body()]) -> int:
    return value


def encode(headers: dict[str, str], value: Any) -> bytes:
    return msgspec.json.encode(value) if headers is JSON else msgspec.msgpack.encode(value)


@BOTH
def test_a_structure_is_read_as_its_label_says(headers):
    endpoint = compiled(create, methods="POST")
    assert answer(endpoint, headers=headers, body=encode(headers, {"name": "a"})) == b'{"name":"a"}'
    assert errors(endpoint, headers=headers, body=encode(headers, {"name": 1})) == [
        ("body", "name", "Expected `str`, got `int`")
    ]


@BOTH
def test_a_number_is_read_as_its_label_says(headers):
    endpoint = compiled(number, methods="POST")
    assert answer(endpoint, headers=headers, body=b"5") == (b"5" if headers is JSON else b"53")


@pytest.mark.parametrize("body", [b'{"name":"a"}', b' {"name":"a"}', b"[]"])
def test_json_that_is_labelled_as_msgpack_is_refused(body):
    with pytest.raises(BadRequest, match="no valid MessagePack"):
        answer(compiled(create, methods="POST"), headers=MSGPACK, body=body)


def test_msgpack_that_is_labelled_as_json_is_refused():
    with pytest.raises(BadRequest, match="no valid JSON"):
        answer(compiled(create, methods="POST"), headers=JSON, body=msgspec.msgpack.encode({"name": "a"}))


@BOTH
def test_a_raw_body_is_no_format_at_all(headers):
    async def size(data: Annotated[bytes, Body(), Meta(max_length=3)]) -> int:
        return len(data)

    endpoint = compiled(size, methods="POST")
    assert answer(endpoint, headers=headers, body=b"\xc1{") == b"2"
    assert errors(endpoint, headers=headers, body=b"1234") == [("body", "", "Expected `bytes` of length <= 3")]

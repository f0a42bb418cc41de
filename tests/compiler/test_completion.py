"""What msgspec leaves out of a decoded dataclass is put into it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pytest
from msgspec import Struct

from fastlane.compiler.completion import completing
from tests.compiler.requests import answer, compiled


@dataclasses.dataclass
class Plain:
    first: int = 1
    second: list[int] = dataclasses.field(default_factory=list)
    third: Plain | None = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    needed: int
    given: str = "x"


@dataclasses.dataclass(slots=True)
class Slotted:
    first: int = 1


@attrs.define(slots=False)
class Attrs:
    first: int = 1


class Holder(Struct):
    item: Plain


class Pair(NamedTuple):
    item: Frozen
    number: int = 0


class Keys(TypedDict, total=False):
    item: Frozen
    other: int


WHOLE = {"first": 1, "second": [], "third": None}
FROZEN = {"needed": 1, "given": "x"}


def round_trip(annotation: Any, raw: bytes) -> Any:
    decode = completing(msgspec.json.Decoder(annotation).decode, annotation)
    return msgspec.json.decode(msgspec.json.encode(decode(raw)))


@pytest.mark.parametrize(
    ("annotation", "raw", "whole"),
    [
        (Plain, b"{}", WHOLE),
        (Plain, b'{"third": {"first": 2}}', {**WHOLE, "third": {**WHOLE, "first": 2}}),
        (Frozen, b'{"needed": 1}', FROZEN),
        (list[Plain], b"[{}, {}]", [WHOLE, WHOLE]),
        (dict[str, Plain], b'{"a": {}}', {"a": WHOLE}),
        (tuple[Plain, int], b"[{}, 1]", [WHOLE, 1]),
        (tuple[Plain, ...], b"[{}]", [WHOLE]),
        (Plain | None, b"{}", WHOLE),
        (list[Frozen] | dict[str, Frozen], b'[{"needed": 1}]', [FROZEN]),
        (list[Plain] | None, b"null", None),
        (Holder, b'{"item": {}}', {"item": WHOLE}),
        (Pair, b'[{"needed": 1}]', [FROZEN, 0]),
        (Keys, b'{"item": {"needed": 1}}', {"item": FROZEN}),
        (Keys, b"{}", {}),
    ],
)
def test_every_default_is_in_the_answer(annotation, raw, whole):
    assert round_trip(annotation, raw) == whole


def test_fields_keep_their_order():
    decode = completing(msgspec.json.Decoder(Plain).decode, Plain)
    assert list(vars(decode(b'{"third": null}'))) == ["first", "second", "third"]


@pytest.mark.parametrize("annotation", [Slotted, Attrs, int, list[str], dict[str, Any], Any])
def test_whatever_msgspec_leaves_whole_costs_nothing(annotation):
    decode = msgspec.json.Decoder(annotation).decode
    assert completing(decode, annotation) is decode


def test_a_body_deeper_than_python_recurses_is_completed():
    depth = 900
    value = completing(msgspec.json.Decoder(Plain).decode, Plain)(b'{"third":' * depth + b"null" + b"}" * depth)
    for _ in range(depth):
        assert len(vars(value)) == 3
        value = value.third


def test_a_dataclass_comes_back_with_its_defaults():
    async def echo(item: Frozen) -> Frozen:
        return item

    assert answer(compiled(echo, methods="POST"), body=b'{"needed":1}') == b'{"needed":1,"given":"x"}'


def test_a_narrowed_dataclass_has_its_defaults():
    async def show() -> Frozen:
        return {"needed": 1, "secret": 2}  # type: ignore[return-value]

    assert answer(compiled(show)) == b'{"needed":1,"given":"x"}'

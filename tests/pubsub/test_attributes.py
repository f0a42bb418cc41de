"""Attributes: names, texts, lifted fields; filters that judge them."""

from __future__ import annotations

import datetime
import enum
import typing
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest

from fastlane.errors import CompileError
from fastlane.pubsub import Attribute
from fastlane.pubsub.attributes import attribute_name_problem, attribute_text, lifted_fields
from fastlane.pubsub.topics.filters import Filter
from fastlane.resources.declaration import Place

PLACE = Place("here.py", 3)
UserId = NewType("UserId", int)


class Plan(enum.Enum):
    FREE = "free"
    PAID = 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("se", "se"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (1.5, "1.5"),
        (Plan.FREE, "free"),
        (Plan.PAID, "2"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
    ],
)
def test_values_become_texts(value: object, text: str) -> None:
    assert attribute_text(value) == text


def test_fields_are_lifted_by_their_markers() -> None:
    hints = {
        "country": Annotated[str, Attribute()],
        "plan": Annotated[Plan, Attribute("user-plan")],
        "bare": Annotated[int, Attribute],
        "optional": Annotated[bool, Attribute()] | None,
        "outer": Annotated[str | None, Attribute("o")],
        "kind": Annotated[Literal["a", "b"], Attribute()],
        "user": Annotated[UserId, Attribute()],
        "needed": typing.Required[Annotated[str, Attribute()]],
        "body": str,
    }
    assert lifted_fields(hints) == {
        "country": "country",
        "plan": "user-plan",
        "bare": "bare",
        "optional": "optional",
        "outer": "o",
        "kind": "kind",
        "user": "user",
        "needed": "needed",
    }


@pytest.mark.parametrize(
    ("hints", "text"),
    [
        ({"a": Annotated[list[str], Attribute()]}, "field 'a' can't be an attribute"),
        ({"a": Annotated[str, Attribute("two words")]}, "is no name for an attribute"),
        ({"a": Annotated[str, Attribute("fastlane-id")]}, "is reserved"),
        ({"a": Annotated[str, Attribute("x")], "b": Annotated[str, Attribute("x")]}, "another field is lifted"),
        (
            {f"f{n}": Annotated[str, Attribute()] for n in range(9)},
            "9 fields are attributes, and a message has at most 8",
        ),
    ],
)
def test_what_can_not_be_lifted_is_refused(hints: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        lifted_fields(hints)


@pytest.mark.parametrize("name", ["", "ä", "1a", "a b", 5, "AWS.x", "Google-x", "x" * 101, "a..b", "a.", ".a", "a\n"])
def test_names_that_some_broker_refuses_are_refused(name: object) -> None:
    assert attribute_name_problem(name) is not None


@pytest.mark.parametrize("name", ["a", "_", "a.b-c_d.1", "x" * 100])
def test_names_that_every_broker_takes_are_taken(name: str) -> None:
    assert attribute_name_problem(name) is None


def test_a_marker_shows_how_it_was_written() -> None:
    assert repr(Attribute()) == "Attribute()"
    assert repr(Attribute("x")) == "Attribute('x')"


@pytest.mark.parametrize(
    ("specification", "attributes", "wanted"),
    [
        ({"country": "se"}, {"country": "se"}, True),
        ({"country": "se"}, {"country": "no"}, False),
        ({"country": "se"}, {}, False),
        ({"country": ["se", "no"]}, {"country": "no"}, True),
        ({"country": {"se", "no"}}, {"country": "fi"}, False),
        ({"plan": Plan.FREE}, {"plan": "free"}, True),
        ({"paid": True}, {"paid": "true"}, True),
        ({"age": 5}, {"age": "5"}, True),
        ({"country": ...}, {"country": ""}, True),
        ({"country": ...}, {}, False),
        ({"country": None}, {}, True),
        ({"country": None}, {"country": "se"}, False),
        ({"country": lambda text: text.startswith("s")}, {"country": "se"}, True),
        ({"country": lambda text: text.startswith("s")}, {}, False),
        ({"country": "se", "plan": "free"}, {"country": "se"}, False),
        (lambda attributes: len(attributes) == 2, {"a": "1", "b": "2"}, True),
    ],
)
def test_a_filter_wants_what_it_says(specification: Any, attributes: dict[str, str], wanted: bool) -> None:
    assert Filter(specification, PLACE).matches(attributes) is wanted


@pytest.mark.parametrize(
    "specification", [{}, "country = se", {"": "x"}, {5: "x"}, {"a": []}, {"a": [1.5]}, {"a": 1.5}]
)
def test_what_is_no_filter_is_refused(specification: Any) -> None:
    with pytest.raises(CompileError, match=r"here\.py:3"):
        Filter(specification, PLACE)


def test_a_filter_shows_how_it_was_written() -> None:
    assert repr(Filter({"a": "b"}, PLACE)) == "Filter({'a': 'b'})"

"""Every wrong value in a decoded body."""

from __future__ import annotations

import datetime
import decimal
import enum
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from fastlane.compiler.examine import wrong_values

T = TypeVar("T")


class Tag(Struct):
    name: str
    weight: Annotated[int, Meta(ge=0)] = 0


class Post(Struct, rename="camel"):
    post_title: Annotated[str, Meta(min_length=2)]
    tags: list[Tag] = []
    by_id: dict[str, Tag] = {}


class Closed(Struct, forbid_unknown_fields=True):
    a: int


class Cat(Struct, tag="cat"):
    lives: int


class Dog(Struct, tag="dog"):
    name: str


class Row(Struct, array_like=True):
    a: int
    b: str = ""


class ClosedRow(Struct, array_like=True, forbid_unknown_fields=True, tag=True):
    a: int
    b: str = ""


class Page(Struct, Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Tree(Struct):
    value: int
    kids: list[Tree] = []


class Range(Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Onion(Struct):
    pad: Any
    inner: Onion | None = None

    def __post_init__(self) -> None:
        assert self.pad


class Color(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int = 0


class Account(TypedDict):
    id: int
    names: list[str]


@dataclass
class Place:
    city: str
    numbers: tuple[int, str] = (1, "")
    area: int = field(default=0, init=False)


@attrs.define
class Checked:
    size: int = attrs.field(validator=attrs.validators.gt(3))


def wrong(annotation: Any, value: Any, **options: Any) -> list[tuple[str, str]]:
    errors, truncated = wrong_values(annotation, value, **options)
    assert not truncated
    return errors


def test_every_wrong_value_is_named_at_any_depth():
    body = {"postTitle": "x", "tags": [{"name": "a"}, {"weight": -1}], "byId": {"x": {"name": 1}, 'y"': 3}}

    assert wrong(Post, body) == [
        ("postTitle", "Expected `str` of length >= 2"),
        ("tags[1].name", "Object missing required field `name`"),
        ("tags[1].weight", "Expected `int` >= 0"),
        ('byId["x"].name', "Expected `str`, got `int`"),
        ('byId["y\\""]', "Expected `object`, got `int`"),
    ]


def test_what_fits_has_no_errors():
    assert wrong(Post, {"postTitle": "xx", "tags": [{"name": "a"}], "unknown": 1}) == []


def test_the_value_itself_has_an_empty_path():
    assert wrong(Post, 3) == [("", "Expected `object`, got `int`")]
    assert wrong(int, "3") == [("", "Expected `int`, got `str`")]
    assert wrong(Row, {}) == [("", "Expected `array`, got `object`")]


def test_unknown_fields_are_named_where_they_are_forbidden():
    assert wrong(Closed, {"a": "", "b": 1, "c": 2}) == [
        ("a", "Expected `int`, got `str`"),
        ("b", "Object contains unknown field `b`"),
        ("c", "Object contains unknown field `c`"),
    ]


@pytest.mark.parametrize(
    ("annotation", "value", "errors"),
    [
        (Cat | Dog, {"type": "cat", "lives": "x"}, [("lives", "Expected `int`, got `str`")]),
        (Cat | Dog, {"type": "dog"}, [("name", "Object missing required field `name`")]),
        (Cat | Dog, {"type": "cow"}, [("type", "Invalid value 'cow'")]),
        (Cat | Dog, {"lives": 3}, [("type", "Object missing required field `type`")]),
        (Cat | Dog | None, 3, [("", "Expected `object | null`, got `int`")]),
        (
            Cat,
            {"type": "dog", "lives": "x"},
            [("type", "Invalid value 'dog'"), ("lives", "Expected `int`, got `str`")],
        ),
        (list[Cat | Dog | str], [{"type": "dog", "name": 1}, 3], [
            ("[0].name", "Expected `str`, got `int`"),
            ("[1]", "Expected `str | object`, got `int`"),
        ]),
        (int | list[int] | None, [1, ""], [("[1]", "Expected `int`, got `str`")]),
        (Row | None, ["x"], [("[0]", "Expected `int`, got `str`")]),
    ],
)  # fmt: skip
def test_a_union_is_read_as_the_one_option_that_the_value_can_be(annotation, value, errors):
    assert wrong(annotation, value) == errors


@pytest.mark.parametrize(
    ("annotation", "value", "errors"),
    [
        (Row, [], [("", "Expected `array` of at least length 1, got 0")]),
        (Row, ["x", 1], [("[0]", "Expected `int`, got `str`"), ("[1]", "Expected `str`, got `int`")]),
        (Row, [1, "", 3], []),
        (ClosedRow, ["ClosedRow", 1, "", 3], [("", "Expected `array` of at most length 2, got 3")]),
        (ClosedRow, ["other", 1], [("[0]", "Invalid value 'other'")]),
        (ClosedRow, ["ClosedRow", ""], [("[1]", "Expected `int`, got `str`")]),
        (ClosedRow, [], [("", "Expected `array` of at least length 2, got 0")]),
        (Point, [], [("", "Expected `array` of length 1 to 2, got 0")]),
        (Point, ["", "", 1], [
            ("", "Expected `array` of length 1 to 2, got 3"),
            ("[0]", "Expected `int`, got `str`"),
            ("[1]", "Expected `int`, got `str`"),
        ]),
        (tuple[int, str], [1], [("", "Expected `array` of length 2, got 1")]),
        (tuple[int, ...], [1, ""], [("[1]", "Expected `int`, got `str`")]),
        (set[int], [1, "", "x"], [("[1]", "Expected `int`, got `str`"), ("[2]", "Expected `int`, got `str`")]),
        (Annotated[list[int], Meta(max_length=1)], [1, ""], [
            ("", "Expected `array` of length <= 1"),
            ("[1]", "Expected `int`, got `str`"),
        ]),
        (Annotated[dict[str, int], Meta(min_length=2)], {"a": 1}, [("", "Expected `object` of length >= 2")]),
    ],
)  # fmt: skip
def test_arrays_have_their_length_and_every_place_looked_at(annotation, value, errors):
    assert wrong(annotation, value) == errors


def test_keys_are_looked_at_like_values():
    assert wrong(dict[int, int], {"1": 1, "x": ""}) == [
        ('["x"]', "Expected `int`, got `str`"),
        ('["x"]', "Expected `int`, got `str`"),
    ]
    assert wrong(dict[Annotated[str, Meta(max_length=1)], Any], {"xx": 1}) == [
        ('["xx"]', "Expected `str` of length <= 1")
    ]
    assert wrong(dict[str, int], {1: 1}) == [("[1]", "Expected `str`, got `int`")]
    assert wrong(Tag, {"name": "x", 1: 1}) == [("", "Expected `str`, got `int`")]
    assert wrong(dict[Any, int], {1: 1, "x": 2}) == []


def test_every_kind_of_structure_is_walked():
    assert wrong(Account, {"names": ["", 1]}) == [
        ("id", "Object missing required field `id`"),
        ("names[1]", "Expected `str`, got `int`"),
    ]
    assert wrong(Place, {"city": 1, "numbers": ["", ""], "area": ""}) == [
        ("city", "Expected `str`, got `int`"),
        ("numbers[0]", "Expected `int`, got `str`"),
        ("area", "Expected `int`, got `str`"),
    ]
    assert wrong(Page[Tag], {"items": [{}], "next": {"items": 3}}) == [
        ("items[0].name", "Object missing required field `name`"),
        ("next.items", "Expected `array`, got `int`"),
    ]


def test_what_a_class_checks_itself_is_asked_when_its_fields_are_right():
    assert wrong(list[Range], [{"low": 1, "high": 0}, {"low": 1, "high": 2}, {"low": "", "high": 0}]) == [
        ("[0]", "low is above high"),
        ("[2].low", "Expected `int`, got `str`"),
    ]
    assert wrong(dict[str, Checked], {"a": {"size": 1}}) == [('["a"]', "'size' must be > 3: 1")]


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (uuid.UUID, "x", "Invalid UUID"),
        (datetime.datetime, "x", "Invalid RFC3339 encoded datetime"),
        (Annotated[datetime.datetime, Meta(tz=True)], "2024-01-01T00:00", "Invalid RFC3339 encoded datetime"),
        (datetime.date, 3, "Expected `date`, got `int`"),
        (decimal.Decimal, "x", "Invalid decimal string"),
        (bytes, "?", "Invalid base64 encoded string"),
        (Color, "blue", "Invalid enum value 'blue'"),
        (Literal["a", 3], "b", "Invalid enum value 'b'"),
        (Annotated[str, Meta(pattern="^a$")], "b", "Expected `str` matching regex '^a$'"),
        (Annotated[int, Meta(ge=3)] | None, 1, "Expected `int` >= 3"),
        (bool, 1, "Expected `bool`, got `int`"),
        (int, 1.0, "Expected `int`, got `float`"),
        (None, 1, "Expected `null`, got `int`"),
    ],
)  # fmt: skip
def test_the_messages_are_msgspec_s_own(annotation, value, message):
    assert wrong(list[annotation], [value, value]) == [("[0]", message), ("[1]", message)]


def test_any_and_raw_take_everything():
    assert wrong(list[Any], [1, {"a": []}]) == []
    assert wrong(dict[str, msgspec.Raw], {"a": [1]}) == []
    assert wrong(object, {"a": 1}) == []


def test_lax_conversion_is_msgspec_s():
    assert wrong(list[int], ["1", "x"], strict=False) == [("[1]", "Expected `int`, got `str`")]


def test_a_moment_needs_the_zone_that_its_type_asks_for():
    annotation = Annotated[datetime.datetime, Meta(tz=True)]

    assert wrong(annotation, "2024-01-01T00:00:00") == [("", "Expected `datetime` with a timezone component")]


def test_an_annotation_that_can_t_be_hashed_is_no_obstacle():
    assert wrong(Annotated[int, ["a note"]], "") == [("", "Expected `int`, got `str`")]


def test_items_that_can_t_be_hashed_are_wrong():
    assert wrong(set[Any], [[1]]) == [("", "unhashable type: 'list'")]


def test_the_entries_are_bounded():
    errors, truncated = wrong_values(list[int], ["x"] * 150)

    assert len(errors) == 100
    assert truncated
    assert wrong_values(list[int], ["x"] * 3, limit=3) == (
        [(f"[{i}]", "Expected `int`, got `str`") for i in range(3)],
        False,
    )
    assert wrong_values(Closed, {"a": 1, **dict.fromkeys("bcd")}, limit=2)[1]


def test_the_values_are_bounded():
    assert wrong_values(list[int], [1] * 20 + ["x"], budget=10) == ([], True)
    assert wrong_values(Closed, {"a": 1, **{f"k{i}": 1 for i in range(200)}}, budget=10) == ([], True)


def test_what_a_class_checks_itself_is_bounded_too():
    unknown = {f"key{index}": 0 for index in range(100)}
    value: dict[str, Any] = {"pad": [0], **unknown}
    for _ in range(50):
        value = {"pad": [0], **unknown, "inner": value}

    # Each of the 51 reads everything below once more: 51 · 50 / 2 · 102 members, and 10,000 are allowed.
    assert wrong_values(Onion, value, budget=1000) == ([], True)
    assert wrong_values(Onion, value, budget=100_000) == ([], False)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[int], ["x"] * 400_000),
        (Closed, {f"key{i}": 1 for i in range(100_000)}),
        (list[Cat | Dog | None], [{"type": "dog", "name": "x"}] * 400_000 + [3]),
        (list[int | str | None], [{}] * 100_000),
        (dict[int, int], {f"k{i}": "" for i in range(100_000)}),
    ],
)
def test_a_body_of_wrong_values_does_not_block_the_loop(annotation, value):
    before = time.thread_time()
    wrong_values(annotation, value)

    assert time.thread_time() - before < 0.75  # some 20 ms, five times that under coverage; all of it would be seconds


def test_a_deep_body_is_walked_without_recursion():
    value: dict[str, Any] = {"value": "x"}
    for _ in range(3000):
        value = {"value": 1, "kids": [value]}

    errors, truncated = wrong_values(Tree, value)

    assert not truncated
    assert errors == [("kids[0]." * 62 + "kids…", "Expected `int`, got `str`")] or errors[0][0].startswith(
        "kids[0].kids[0]"
    )


def test_what_a_class_checks_itself_is_left_out_where_msgspec_can_t_go_as_deep():
    value: dict[str, Any] = {"pad": [0]}
    for _ in range(11_000):
        value = {"pad": [0], "inner": value}

    assert wrong_values(Onion, value, budget=10_000_000) == ([], True)


def test_long_keys_are_clipped():
    key = "k" * 10_000
    ((path, message),) = wrong(Closed, {"a": 1, key: 1})

    assert len(path) < 600
    assert len(message) < 600


# -- wrong_values is empty exactly where msgspec converts

_scalars = st.sampled_from(
    [
        int, str, float, bool, bytes, None, Any, uuid.UUID, datetime.datetime, datetime.date, datetime.timedelta,
        decimal.Decimal, Color, Annotated[int, Meta(ge=0, le=9)], Annotated[str, Meta(max_length=2)], Literal["red", 1],
        Cat, Row, Range, Point, Account, Place, Checked, Tree, Closed, Cat | Dog, Cat | Dog | None, int | None,
        Row | int, Page[int], str | list[int], ClosedRow,
    ]
)  # fmt: skip


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda item: list[item]),
        inner.map(lambda item: dict[str, item]),
        inner.map(lambda item: dict[int, item]),
        inner.map(lambda item: tuple[item, ...]),
        inner.map(lambda item: tuple[item, int]),
        inner.map(lambda item: Page[item]),
        inner.map(lambda item: Annotated[list[item], Meta(min_length=1)]),
        inner.map(lambda item: msgspec.defstruct("Made", [("a", item), ("b", list[item], [])], rename="upper")),
    )


_types = st.recursive(_scalars, _nested, max_leaves=4)
_atoms = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.floats(allow_nan=False), st.sampled_from(
        ["", "red", "cat", "dog", "ClosedRow", "aGk=", "2024-01-01", "2024-01-01T00:00:00Z", "1", "P1D",
         "12345678-1234-5678-1234-567812345678"]
    )
)  # fmt: skip
_keys = st.sampled_from(
    [
        "a",
        "A",
        "b",
        "B",
        "id",
        "names",
        "items",
        "next",
        "type",
        "lives",
        "name",
        "low",
        "high",
        "value",
        "kids",
        "size",
        "city",
        "1",
    ]
)
_values = st.recursive(
    _atoms,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def _type_and_value(draw: st.DrawFn) -> tuple[Any, Any]:
    annotation = draw(_types)
    return annotation, draw(st.one_of(_values, _fitting(msgspec.inspect.type_info(annotation))))


def _fitting(node: msgspec.inspect.Type, depth: int = 4) -> st.SearchStrategy[Any]:
    """Values of the type, now and then with a wrong one in them."""
    kinds = msgspec.inspect
    if depth == 0:
        return _values
    right: st.SearchStrategy[Any] = _values
    if isinstance(node, kinds.UnionType):
        right = st.sampled_from(node.types).flatmap(lambda option: _fitting(option, depth - 1))
    elif isinstance(node, kinds.DictType):
        right = st.dictionaries(_keys, _fitting(node.value_type, depth - 1), max_size=2)
    elif isinstance(node, kinds.ListType | kinds.VarTupleType):
        right = st.lists(_fitting(node.item_type, depth - 1), max_size=2)
    elif isinstance(node, kinds.TupleType):
        right = st.tuples(*(_fitting(item, depth - 1) for item in node.item_types)).map(list)
    elif isinstance(node, kinds.NamedTupleType) or getattr(node, "array_like", False):
        places = [_fitting(field.type, depth - 1) for field in node.fields]
        if getattr(node, "tag", None) is not None:
            places.insert(0, st.just(node.tag))
        right = st.tuples(*places).map(list)
    elif hasattr(node, "fields"):
        fields = {field.encode_name: _fitting(field.type, depth - 1) for field in node.fields}
        if getattr(node, "tag_field", None) is not None:
            fields[node.tag_field] = st.just(node.tag)
        required = [field.encode_name for field in node.fields if field.required]
        right = st.fixed_dictionaries(
            {name: fields[name] for name in required}, optional={k: v for k, v in fields.items() if k not in required}
        )
    elif isinstance(node, kinds.IntType):
        right = st.integers(0, 9)
    elif isinstance(node, kinds.StrType):
        right = st.sampled_from(["", "a"])
    elif isinstance(node, kinds.FloatType):
        right = st.floats(0, 1)
    return st.integers(0, 9).flatmap(lambda dice: _values if dice == 0 else right)


@settings(max_examples=600, deadline=None)
@given(_type_and_value())
def test_there_are_errors_exactly_where_msgspec_refuses(case):
    annotation, value = case
    errors, truncated = wrong_values(annotation, value)

    assert not truncated
    first = _first_error(annotation, value)
    if first is None:
        assert errors == []
    else:
        assert any(first == message or first.startswith(f"{message} - at `") for _, message in errors), (first, errors)


def _first_error(annotation: Any, value: Any) -> str | None:
    try:
        msgspec.convert(value, annotation, str_keys=True)
    except (msgspec.ValidationError, TypeError) as error:
        return str(error)
    return None

from __future__ import annotations

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, ValidationError

from fastlane.compiler.enumerations import BOOLEANS
from fastlane.compiler.reader import IllegalAnnotation, Reader
from fastlane.compiler.scalars import scalar_reader


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Lenient(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Lenient | None:
        return cls.A if value == "alpha" else None


UserId = NewType("UserId", int)


def reader(annotation: Any) -> Reader:
    found = scalar_reader(annotation)
    assert found is not None
    return found


def both(annotation: Any, text: Any) -> Any:
    """Reads by the function and by the pasted expression, which must agree."""
    found = reader(annotation)
    namespace = {"text": text, **found.names}
    source = found.expression.format(text="text", **{name: name for name in found.names})
    try:
        value = found.decode(text)
    except ValidationError:
        with pytest.raises(Exception):  # noqa: B017 - whatever it is leads to the examination
            eval(source, namespace)
        raise
    pasted = eval(source, namespace)
    assert pasted == value
    assert type(pasted) is type(value)
    return value


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "12", 12),
        (int, "-7", -7),
        (int, "0", 0),
        (int, "123456789012345678901234567890", 123456789012345678901234567890),
        (float, "1.5", 1.5),
        (float, "3", 3.0),
        (float, "-1e3", -1000.0),
        (str, "", ""),
        (str, " ä ", " ä "),
        (str, "null", "null"),
        (bytes, "ä", b"\xc3\xa4"),
        (bytes, b"\xff", b"\xff"),
        (Decimal, "1.50", Decimal("1.50")),
        (Decimal, "-0.1e2", Decimal("-0.1e2")),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
        (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (date, "2026-01-02", date(2026, 1, 2)),
        (time, "03:04:05", time(3, 4, 5)),
        (timedelta, "PT90S", timedelta(seconds=90)),
        (Color, "red", Color.RED),
        (Level, "2", Level.HIGH),
        (Lenient, "alpha", Lenient.A),
        (Literal["a", 1], "a", "a"),
        (Literal["a", 1], "1", 1),
        (Literal["1", 1], "1", "1"),
        (Literal[1, "1"], "1", "1"),
        (Literal[True, "x"], "TRUE", True),
        (int | None, "3", 3),
        (str | None, "null", "null"),
        (int | str, "12", 12),
        (int | str, "x", "x"),
        (str | int | None, "12", 12),
        (bool | int, "7", 7),
        (UserId, "7", 7),
        (Annotated[int, Meta(ge=1)], "1", 1),
        (Annotated[int, Meta(ge=1)] | None, "1", 1),
        (Annotated[float, Meta(lt=2)], "1.5", 1.5),
        (Annotated[str, Meta(min_length=1, max_length=2, pattern="^a")], "ab", "ab"),
        (Annotated[bytes, Meta(max_length=2)], "ab", b"ab"),
    ],
)
def test_text_becomes_a_value(annotation: Any, text: Any, value: Any) -> None:
    assert both(annotation, text) == value


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (int, "abc", "Expected `int`, got `str`"),
        (int, "", "Expected `int`, got `str`"),
        (int, "1.5", "Expected `int`, got `str`"),
        (int, "1.0", "Expected `int`, got `str`"),
        (int, " 1", "Expected `int`, got `str`"),
        (int, "1\n", "Expected `int`, got `str`"),
        (int, "+1", "Expected `int`, got `str`"),
        (int, "01", "Expected `int`, got `str`"),
        (int, "1_0", "Expected `int`, got `str`"),
        (int, "١", "Expected `int`, got `str`"),
        (int, "true", "Expected `int`, got `str`"),
        (int, "null", "Expected `int`, got `str`"),
        (int | None, "null", "Expected `int`, got `str`"),
        (float, "nan", "Expected `float`, got `str`"),
        (float, "inf", "Expected `float`, got `str`"),
        (float, " 1.5", "Expected `float`, got `str`"),
        (bool, "maybe", "Expected `bool`, got `str`"),
        (bool, " true", "Expected `bool`, got `str`"),
        (bool, "", "Expected `bool`, got `str`"),
        (Decimal, "NaN", "Expected `decimal`, got `str`"),
        (Decimal, "1_0", "Expected `decimal`, got `str`"),
        (uuid.UUID, "nope", "Invalid UUID"),
        (uuid.UUID, '"', "Invalid UUID"),
        (date, "2026-01-0\\u0031", "Invalid RFC3339 encoded date"),
        (date, "2026-01-02 ", "Invalid RFC3339 encoded date"),
        (datetime, "1700000000", "Invalid RFC3339 encoded datetime"),
        (time, "3", "Invalid RFC3339 encoded time"),
        (timedelta, "1\n", "Invalid ISO8601 duration"),
        (Color, "green", "Invalid enum value 'green'"),
        (Level, "3", "Invalid enum value 3"),
        (Literal["a"], "b", "Invalid enum value 'b'"),
        (Annotated[int, Meta(ge=1)], "0", "Expected `int` >= 1"),
        (Annotated[float, Meta(lt=2)], "2", "Expected `float` < 2.0"),
        (Annotated[str, Meta(min_length=2)], "a", "Expected `str` of length >= 2"),
        (Annotated[str, Meta(max_length=2)], "abc", "Expected `str` of length <= 2"),
        (Annotated[str, Meta(pattern="^a")], "b", "Expected `str` matching regex '^a'"),
        (Annotated[bytes, Meta(max_length=1)], "ab", "Expected `bytes` of length <= 1"),
        (int | bool, "x", "Expected `int | bool`, got `str`"),
        (Literal[1] | bool, "x", "Expected `enum | bool`, got `str`"),
    ],
)
def test_what_does_not_fit_has_a_message_like_msgspecs(annotation: Any, text: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        both(annotation, text)

    assert str(caught.value) == message


@given(st.sampled_from(["true", "1", "on", "yes", "false", "0", "off", "no"]), st.data())
def test_booleans_have_eight_spellings_in_any_case(word: str, data: st.DataObject) -> None:
    spelling = "".join(letter.upper() if data.draw(st.booleans()) else letter for letter in word)

    assert both(bool, spelling) is (word in ("true", "1", "on", "yes"))


def test_there_are_no_other_booleans() -> None:
    assert {text.lower() for text in BOOLEANS} == {"true", "1", "on", "yes", "false", "0", "off", "no"}


@given(st.integers())
def test_every_integer_is_read_back(number: int) -> None:
    assert both(int, str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back(number: float) -> None:
    assert both(float, repr(number)) == number


@given(st.text())
def test_any_text_is_an_int_only_if_it_is_json_and_an_int(text: str) -> None:
    try:
        value = both(int, text)
    except ValidationError:
        return

    assert str(value) == text or text == "-0"


@given(st.sampled_from([float, Decimal, uuid.UUID, date, time, datetime, timedelta, Color, bool]), st.text())
def test_any_text_is_read_or_refused_with_a_validation_error(annotation: Any, text: str) -> None:
    try:
        both(annotation, text)
    except ValidationError:
        return

    assert text == text.strip()


@given(st.uuids())
def test_every_uuid_is_read_back(value: uuid.UUID) -> None:
    assert both(uuid.UUID, str(value)) == value


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_is_read_back(value: datetime) -> None:
    assert both(datetime, value.isoformat()) == value


@pytest.mark.parametrize("annotation", [list[int], dict, msgspec.Struct, object, Any, int | list[int], complex])
def test_other_types_are_no_scalars(annotation: Any) -> None:
    assert scalar_reader(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        (Annotated[int | None, Meta(ge=1)], "Meta(ge=1) is put on the whole union int | None"),
        (Annotated[str, Meta(ge=1)], "Can only set `ge` on a numeric type"),
        (Annotated[bytes, Meta(pattern="x")], "Can only set `pattern` on a str type"),
        (Annotated[Decimal, Meta(ge=1)], "Can only set `ge` on a numeric type"),
        (Annotated[bool, Meta(ge=1)], "Meta bounds can't be put on bool"),
        (Annotated[Color, Meta(min_length=1)], "Meta bounds can't be put on Color"),
        (Annotated[Literal["a"], Meta(min_length=1)], "Meta bounds can't be put on Literal['a']"),
        (uuid.UUID | str, "more than one str-like type"),
        (bytes | int, "any text is bytes"),
        (enum.Enum("Mixed", {"A": 1.5}), "Enums must contain either all str or all int values"),
        (Literal[b"x"], "Literal may only contain"),
    ],
)
def test_what_msgspec_cannot_read_is_refused_with_its_reason(annotation: Any, problem: str) -> None:
    with pytest.raises(IllegalAnnotation) as caught:
        scalar_reader(annotation)

    assert problem in caught.value.problem
    assert caught.value.mend


def test_a_description_on_a_union_is_no_bound() -> None:
    assert reader(Annotated[int | None, Meta(description="a number")]).optional


def test_a_literal_with_none_is_optional() -> None:
    assert reader(Literal["a", None]).optional

"""Text → value, for one value of a path, query, header, cookie or form. Every decoder is built at import.

A ``Reader`` has two ways to the same value: ``decode``, a function that raises msgspec's errors, and ``expression``,
source that the generator pastes into a route, so that the usual text costs no Python call.
"""

from __future__ import annotations

import enum
import re
import typing
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from typing import Any, Final, Literal

import msgspec
from msgspec import Meta, ValidationError

from fastlane.compiler.annotations import describe, take_apart, union_arms

__all__ = ["BOOLEANS", "IllegalAnnotation", "Reader", "scalar_reader"]


class IllegalAnnotation(TypeError):
    """An annotation that has no reader. Carries the mend."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


class Reader:
    """How the text of one value becomes a Python value.

    Attributes:
        annotation: what it reads, without None.
        decode: the whole rule as a function of the text. Raises ``msgspec.ValidationError``.
        expression: the same as source; ``{text}`` stands for the text, any other ``{name}`` for an entry of ``names``.
        names: what ``expression`` needs.
        octets: it takes the raw bytes of a header rather than its text.
        optional: the annotation allows None, which a missing value then becomes.
    """

    __slots__ = ("annotation", "decode", "expression", "names", "octets", "optional")

    def __init__(
        self,
        annotation: Any,
        decode: Callable[[Any], Any],
        expression: str = "{decode}({text})",
        names: dict[str, object] | None = None,
        *,
        octets: bool = False,
        optional: bool = False,
    ) -> None:
        self.annotation = annotation
        self.decode = decode
        self.expression = expression
        self.names = {"decode": decode, **(names or {})}
        self.octets = octets
        self.optional = optional

    def or_none(self) -> Reader:
        """The same reader for a union with None."""
        return Reader(self.annotation, self.decode, self.expression, self.names, octets=self.octets, optional=True)


BOOLEANS: Final = {
    "".join(letters): value
    for word, value in {
        "true": True,
        "1": True,
        "on": True,
        "yes": True,
        "false": False,
        "0": False,
        "off": False,
        "no": False,
    }.items()
    for letters in product(*({letter, letter.upper()} for letter in word))
}
"""The spellings of a boolean, in every mixture of cases: one lookup instead of ``lower`` and a lookup."""

_QUOTED: Final = (uuid.UUID, datetime, date, time, timedelta)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")


def scalar_reader(annotation: Any) -> Reader | None:
    """The reader of a scalar annotation; None when it is no scalar.

    Raises:
        IllegalAnnotation: it is one, or a union of some, but msgspec can't read it.
    """
    parts = take_apart(annotation)
    arms = union_arms(parts.type)
    if arms is not None:
        return _union_reader(parts.type, arms, parts.metas)
    base = parts.type
    if typing.get_origin(base) is Literal:
        _refuse_bounds(base, parts.metas)
        return _literal_reader(base)
    if not isinstance(base, type):
        return None
    if issubclass(base, enum.Enum):
        _refuse_bounds(base, parts.metas)
        return _enum_reader(base)
    build = _BUILDERS.get(base)
    if build is None:
        return None
    try:
        return build(parts.full, parts.metas)
    except (TypeError, ValueError) as error:
        raise IllegalAnnotation(str(error), "use constraints that fit the type") from None


def _refuse_bounds(base: Any, metas: tuple[Meta, ...]) -> None:
    if any(getattr(meta, bound) is not None for meta in metas for bound in _BOUNDS):
        raise IllegalAnnotation(f"Meta bounds can't be put on {describe(base)}", "drop the bounds")


def refuse_union_bounds(annotation: Any, metas: tuple[Meta, ...]) -> None:
    """REQUESTS 1: bounds on a whole union are an import error, whatever its arms.

    Raises:
        IllegalAnnotation: there are some.
    """
    bounds = [
        f"{bound}={getattr(meta, bound)!r}" for meta in metas for bound in _BOUNDS if getattr(meta, bound) is not None
    ]
    if bounds:
        raise IllegalAnnotation(
            f"Meta({', '.join(bounds)}) is put on the whole union {describe(annotation)}",
            f"put it on the member that it bounds: `Annotated[int, Meta({', '.join(bounds)})] | None`",
        )


def _union_reader(annotation: Any, arms: tuple[Any, ...], metas: tuple[Meta, ...]) -> Reader | None:
    real = [arm for arm in arms if arm is not type(None)]
    readers = [scalar_reader(arm) for arm in real]
    if not all(readers):
        return None
    refuse_union_bounds(annotation, metas)
    optional = len(real) < len(arms)
    found = [reader for reader in readers if reader is not None]
    if len(found) == 1:
        return found[0].or_none()
    if bytes in real:
        raise IllegalAnnotation(f"{describe(annotation)}: any text is bytes", "use `bytes` or `str` alone")
    try:
        msgspec.json.Decoder(annotation)
    except TypeError as error:
        raise IllegalAnnotation(str(error), "use a union that can be told apart, or one type") from None
    # Text tells nothing of its type: a member that takes every text comes last.
    found.sort(key=lambda reader: reader.annotation is str or take_apart(reader.annotation).type is str)
    decoders = [reader.decode for reader in found]
    expected = " | ".join(_expected(arm) for arm in real)

    def decode(text: str) -> Any:
        for attempt in decoders:
            try:
                return attempt(text)
            except ValidationError as error:
                last = error
        raise last if len(decoders) == 1 else ValidationError(f"Expected `{expected}`, got `str`")

    return Reader(annotation, decode, optional=optional)


def _expected(arm: Any) -> str:
    base = take_apart(arm).type
    return "enum" if typing.get_origin(base) is Literal else describe(base).lower()


def _int_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    read = msgspec.json.Decoder(full).decode
    decode = _strict_number(read, "int")
    # PERF: 43 ns with the check, 24 without. isalnum keeps out the blanks that JSON allows around a number; a minus
    # sign goes the long way.
    return Reader(full, decode, "{read}({text}) if {text}.isalnum() else {decode}({text})", {"read": read})


def _float_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    return Reader(full, _strict_number(msgspec.json.Decoder(full).decode, "float"))


def _strict_number(read: Callable[[str], Any], name: str) -> Callable[[str], Any]:
    def decode(text: str) -> Any:
        if _NUMBER(text) is None:
            raise ValidationError(f"Expected `{name}`, got `str`")
        try:
            return read(text)
        except ValidationError as error:
            # "1.5" for an int: the decoder says `float`, but what came is text.
            raise ValidationError(f"Expected `{name}`, got `str`") if " got " in str(error) else error from None

    return decode


def _bool_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    _refuse_bounds(bool, metas)

    def decode(text: str) -> bool:
        try:
            return BOOLEANS[text]
        except KeyError:
            raise ValidationError("Expected `bool`, got `str`") from None

    return Reader(bool, decode, "{booleans}[{text}]", {"booleans": BOOLEANS})


def _str_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    msgspec.json.Decoder(full)  # raises for bounds that do not fit
    check = length_check(metas, "str")
    patterns = [meta.pattern for meta in metas if meta.pattern is not None]
    searches = [(re.compile(pattern).search, pattern) for pattern in patterns]
    if not patterns and check is None:
        return Reader(full, str, "{text}")

    def decode(text: str) -> str:
        if check is not None:
            check(text)
        for search, pattern in searches:
            if search(text) is None:
                raise ValidationError(f"Expected `str` matching regex {pattern!r}")
        return text

    return Reader(full, decode)


def _bytes_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    msgspec.json.Decoder(full)
    check = length_check(metas, "bytes")

    def decode(text: str | bytes) -> bytes:
        octets = text if isinstance(text, bytes) else text.encode("utf-8")
        if check is not None:
            check(octets)
        return octets

    return Reader(full, decode, octets=True)


def length_check(metas: tuple[Meta, ...], name: str) -> Callable[[Any], None] | None:
    """A function that raises msgspec's error for a wrong length; None where there is no bound."""
    lows = [meta.min_length for meta in metas if meta.min_length is not None]
    highs = [meta.max_length for meta in metas if meta.max_length is not None]
    if not lows and not highs:
        return None
    low = max(lows, default=0)
    high = min(highs, default=None)

    def check(value: Any) -> None:
        length = len(value)
        if length < low:
            raise ValidationError(f"Expected `{name}` of length >= {low}")
        if high is not None and length > high:
            raise ValidationError(f"Expected `{name}` of length <= {high}")

    return check


def _decimal_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    msgspec.json.Decoder(full)

    def decode(text: str) -> Decimal:
        # Decimal() itself takes blanks, underscores, digits of every script, NaN and infinities.
        if _NUMBER(text) is None:
            raise ValidationError("Expected `decimal`, got `str`")
        return Decimal(text)

    return Reader(full, decode)


def _quoted_reader(full: Any, metas: tuple[Meta, ...]) -> Reader:
    read = msgspec.json.Decoder(full).decode
    base = take_apart(full).type
    message = {
        uuid.UUID: "Invalid UUID",
        datetime: "Invalid RFC3339 encoded datetime",
        date: "Invalid RFC3339 encoded date",
        time: "Invalid RFC3339 encoded time",
        timedelta: "Invalid ISO8601 duration",
    }[base]

    def decode(text: str) -> Any:
        # PERF: 0.2 µs for a UUID as a JSON string, 1.0 µs through UUID(). A quote, a backslash or a letter outside
        # ASCII has no place in any of these types, and would mean something else to JSON.
        if '"' in text or "\\" in text or not text.isascii():
            raise ValidationError(message)
        try:
            return read(f'"{text}"')
        except ValidationError:
            raise
        except msgspec.DecodeError:
            raise ValidationError(message) from None

    return Reader(full, decode)


def _enum_reader(base: type[enum.Enum]) -> Reader:
    try:
        msgspec.json.Decoder(base)
    except TypeError as error:
        raise IllegalAnnotation(str(error), "give the members str or int values of one kind") from None
    members = {str(member.value): member for member in base.__members__.values()}

    def decode(text: str) -> enum.Enum:
        member = members.get(text)
        if member is not None:
            return member
        # The class may accept more than its members, by ``_missing_``.
        return msgspec.convert(text, base, strict=False)

    return _table_reader(base, members, decode)


def _literal_reader(base: Any) -> Reader:
    try:
        msgspec.json.Decoder(base)
    except TypeError as error:
        raise IllegalAnnotation(str(error), "use str, int and bool values in a Literal") from None
    members: dict[str, Any] = {}
    optional = False
    for value in typing.get_args(base):
        if value is None:
            optional = True
        elif isinstance(value, bool):
            members.update({text: value for text, meaning in BOOLEANS.items() if meaning is value and text.isalpha()})
        elif isinstance(value, str) or str(value) not in members:
            members[str(value)] = value

    def decode(text: str) -> Any:
        try:
            return members[text]
        except KeyError:
            raise ValidationError(f"Invalid enum value {text!r}") from None

    reader = _table_reader(base, members, decode)
    return reader.or_none() if optional else reader


def _table_reader(annotation: Any, members: dict[str, Any], decode: Callable[[str], Any]) -> Reader:
    # PERF: 13 ns for the lookup, 311 for msgspec.convert. A text that is no member goes the long way.
    return Reader(
        annotation, decode, "{members}[{text}] if {text} in {members} else {decode}({text})", {"members": members}
    )


_BUILDERS: Final[dict[type, Callable[[Any, tuple[Meta, ...]], Reader]]] = {
    int: _int_reader,
    float: _float_reader,
    bool: _bool_reader,
    str: _str_reader,
    bytes: _bytes_reader,
    Decimal: _decimal_reader,
    **dict.fromkeys(_QUOTED, _quoted_reader),
}

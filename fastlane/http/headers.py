"""Header fields: case-insensitive, in order, several lines a name (RFC 9110 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

__all__ = ["Headers", "MutableHeaders", "encode_header", "encode_name", "encode_value"]

# RFC 9110 5.1 and 5.6.2: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# RFC 9110 5.5: no control character but the tab. CR, LF and NUL would split a response (CVE-2020-7695).
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


def encode_name(name: str) -> bytes:
    """The name as it is sent: lower-case ASCII. Raises ValueError for what is no token."""
    if _TOKEN(name) is None:
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 5.6.2)")
    return name.lower().encode("ascii")


def encode_value(value: str, name: str = "") -> bytes:
    """The value as it is sent: latin-1, surrounding blanks removed. ``name`` is for the error alone.

    Raises ValueError for control characters (CR, LF and NUL above all) and for what latin-1 lacks.
    """
    if _FORBIDDEN(value) is not None:
        raise ValueError(f"header {name!r}: the value holds a control character")
    try:
        return value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"header {name!r}: the value holds characters that are not in latin-1") from None


def encode_header(name: str, value: str) -> tuple[bytes, bytes]:
    """Both, checked. See ``encode_name`` and ``encode_value``."""
    return encode_name(name), encode_value(value, name)


class Headers(Mapping[str, str]):
    """A read-only view of header fields.

    ``headers["Accept"]`` is the first line of that name, ``headers.getlist("accept")`` all of them; iteration,
    ``items()`` and ``len()`` count lines, as in Starlette.

    Args:
        raw: pairs of lower-case name and value, as ASGI has them. It is viewed, not copied.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> str:
        key = _key(name)
        for field, value in self.raw:
            if field == key:
                return value.decode("latin-1")
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        key = _key(name)
        return any(field == key for field, _ in self.raw)

    def __iter__(self) -> Iterator[str]:
        return (field.decode("latin-1") for field, _ in self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return sorted(self.raw) == sorted(other.raw)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a view of a list that may change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw!r})"

    # Mapping's own keys(), values() and items() look every name up again and would repeat the first line of a name.
    def keys(self) -> list[str]:  # type: ignore[override]
        """The names, one a line."""
        return list(self)

    def values(self) -> list[str]:  # type: ignore[override]
        """The values, one a line."""
        return [value.decode("latin-1") for _, value in self.raw]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """Pairs of name and value, one a line."""
        return [(field.decode("latin-1"), value.decode("latin-1")) for field, value in self.raw]

    def getlist(self, name: str) -> list[str]:
        """The values of all lines of that name, in order; not split at commas."""
        key = _key(name)
        return [value.decode("latin-1") for field, value in self.raw if field == key]


class MutableHeaders(Headers, MutableMapping[str, str]):
    """A view that writes through to ``raw``. What is written is checked: a bad name or value is a ValueError."""

    __slots__ = ()

    def __setitem__(self, name: str, value: str) -> None:
        """One line of that name: the first is replaced in its place, the others go."""
        pair = encode_header(name, value)
        positions = [index for index, (field, _) in enumerate(self.raw) if field == pair[0]]
        if not positions:
            self.raw.append(pair)
            return
        self.raw[positions[0]] = pair
        for index in reversed(positions[1:]):
            del self.raw[index]

    def __delitem__(self, name: str) -> None:
        """All lines of that name. Raises KeyError where there is none."""
        key = _key(name)
        rest = [pair for pair in self.raw if pair[0] != key]
        if len(rest) == len(self.raw):
            raise KeyError(name)
        self.raw[:] = rest

    def append(self, name: str, value: str) -> None:
        """One more line, beside those of the same name."""
        self.raw.append(encode_header(name, value))

    def extend(self, fields: Iterable[tuple[str, str]]) -> None:
        """One more line for each pair."""
        self.raw.extend(encode_header(name, value) for name, value in fields)

    def add_vary_header(self, name: str) -> None:
        """Adds a name to ``Vary``, unless it, or ``*``, is there (RFC 9110 12.5.5)."""
        present = [item.strip() for line in self.getlist("vary") for item in line.split(",") if item.strip()]
        if "*" not in present and name.lower() not in {item.lower() for item in present}:
            self["vary"] = ", ".join([*present, name])


def _key(name: str) -> bytes:
    # A name that latin-1 lacks is in no header: it must be a miss, not a UnicodeEncodeError.
    return name.lower().encode("latin-1", "replace")

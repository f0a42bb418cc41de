"""Rows for COPY: sequences as they are, structures taken apart."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

__all__ = ["copied"]


async def copied(
    connection: Any, table: str, rows: Iterable[object] | AsyncIterable[object], columns: Sequence[str] | None
) -> str:
    """Copy rows over a connection of asyncpg; what the server says of it."""
    schema, _, name = table.rpartition(".")
    if isinstance(rows, AsyncIterable):
        source = aiter(rows)
        first = await anext(source, None)
        if first is None:
            return "COPY 0"
        names, taken = _taken(first, columns)
        return str(await _send(connection, name, schema, _after_async(first, source, taken), names))
    items = iter(rows)
    head = next(items, None)
    if head is None:
        return "COPY 0"
    names, taken = _taken(head, columns)
    return str(await _send(connection, name, schema, _after(head, items, taken), names))


async def _send(connection: Any, name: str, schema: str, records: Any, columns: Sequence[str] | None) -> Any:
    return await connection.copy_records_to_table(name, schema_name=schema or None, records=records, columns=columns)


def _taken(
    first: object, columns: Sequence[str] | None
) -> tuple[Sequence[str] | None, Callable[[Any], Sequence[object]]]:
    """The columns, and what makes a sequence of values of a row like ``first``."""
    if isinstance(first, Mapping):
        names = list(columns or first)
        return names, _every(names, itemgetter(*names))
    fields = _fields(first)
    if fields is not None:
        names = list(columns or fields)
        return names, _every(names, attrgetter(*names))
    if isinstance(first, Sequence) and not isinstance(first, str | bytes):
        return columns, _values
    raise TypeError(f"copy: a row is a sequence of values or a structure, not {type(first).__name__}")


def _every(names: Sequence[str], get: Callable[[Any], Any]) -> Callable[[Any], Sequence[object]]:
    if len(names) == 1:
        return lambda row: (_value(get(row)),)
    return lambda row: _values(get(row))


def _values(row: Iterable[object]) -> Sequence[object]:
    return [_value(value) for value in row]


def _value(value: object) -> object:
    return value.value if isinstance(value, enum.Enum) else value


def _fields(row: object) -> Sequence[str] | None:
    if isinstance(row, msgspec.Struct):
        return row.__struct_fields__
    if dataclasses.is_dataclass(row):
        return [field.name for field in dataclasses.fields(row)]
    attributes = getattr(type(row), "__attrs_attrs__", None)
    if attributes is not None:
        return [attribute.name for attribute in attributes]
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return list(row._fields)
    return None


def _after(
    first: object, others: Iterator[object], taken: Callable[[Any], Sequence[object]]
) -> Iterator[Sequence[object]]:
    yield taken(first)
    for row in others:
        yield taken(row)


async def _after_async(
    first: object, others: AsyncIterator[object], taken: Callable[[Any], Sequence[object]]
) -> AsyncIterator[Sequence[object]]:
    yield taken(first)
    async for row in others:
        yield taken(row)

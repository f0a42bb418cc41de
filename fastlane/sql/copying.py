"""Rows for COPY: sequences as they are, structures taken apart."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from fastlane.sql.arguments import adapted_value
from fastlane.sql.errors import ArgumentMismatch

__all__ = ["copied"]


async def copied(
    connection: Any, table: str, rows: Iterable[object] | AsyncIterable[object], columns: Sequence[str] | None
) -> str:
    """Copy rows over a connection of asyncpg; what the server says of it.

    Raises:
        ArgumentMismatch: a row is not what the columns take.
    """
    if isinstance(rows, AsyncIterable):
        source = aiter(rows)
        first = await anext(source, None)
        if first is None:
            return "COPY 0"
        progress = _Progress(table, *_taken(first, columns))
        return await _send(connection, progress, _after_async(first, source, progress))
    items = iter(rows)
    head = next(items, None)
    if head is None:
        return "COPY 0"
    progress = _Progress(table, *_taken(head, columns))
    return await _send(connection, progress, _after(head, items, progress))


class _Progress:
    """Of one COPY.

    Attributes:
        columns: their names; None: all of the table.
        taken: makes a sequence of values of a row.
        number: of the row that was taken last, from 1.
        values: of that row.
        is_theirs: what gives the rows has raised.
    """

    def __init__(self, table: str, columns: Sequence[str] | None, taken: Callable[[Any], Sequence[object]]) -> None:
        self.table = table
        self.columns = columns
        self.taken = taken
        self.number = 1
        self.values: Sequence[object] = ()
        self.is_theirs = False

    def take(self, row: object) -> Sequence[object]:
        """The values of the next row."""
        try:
            self.values = self.taken(row)
        except (LookupError, AttributeError, TypeError) as error:
            self.values = ()
            raise self.mismatch(f"it is a {type(row).__name__} unlike the first row: {error!r}") from error
        return self.values

    def mismatch(self, problem: object) -> ArgumentMismatch:
        of = ", ".join(type(value).__name__ for value in self.values)
        columns = "" if self.columns is None else f" ({', '.join(self.columns)})"
        types = f", of the types ({of})," if of else ""
        return ArgumentMismatch(
            f"row {self.number}{types} does not fit the columns: {problem}",
            query=f"COPY {self.table}{columns}",
            mend="give values of the columns' Python types, as many as there are columns",
        )


async def _send(connection: Any, progress: _Progress, records: Any) -> str:
    schema, _, name = progress.table.rpartition(".")
    try:
        return str(
            await connection.copy_records_to_table(
                name, schema_name=schema or None, records=records, columns=progress.columns
            )
        )
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        # Of asyncpg, which says neither which row it was nor that it was one.
        if progress.is_theirs:
            raise
        problem = "there are more columns than values" if isinstance(error, IndexError) else error
        raise progress.mismatch(problem) from error


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
        return lambda row: (adapted_value(get(row)),)
    return lambda row: _values(get(row))


def _values(row: Iterable[object]) -> Sequence[object]:
    return [adapted_value(value) for value in row]


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


def _after(first: object, others: Iterator[object], progress: _Progress) -> Iterator[Sequence[object]]:
    try:
        width = _begin(progress, first)
        yield progress.values
        for progress.number, row in enumerate(others, 2):
            values = progress.take(row)
            if len(values) != width:
                _measure(progress, width)
            yield values
    except Exception:
        progress.is_theirs = True
        raise


async def _after_async(
    first: object, others: AsyncIterator[object], progress: _Progress
) -> AsyncIterator[Sequence[object]]:
    try:
        width = _begin(progress, first)
        yield progress.values
        async for row in others:
            progress.number += 1
            values = progress.take(row)
            if len(values) != width:
                _measure(progress, width)
            yield values
    except Exception:
        progress.is_theirs = True
        raise


def _begin(progress: _Progress, first: object) -> int:
    """Take the first row; answers how many values a row has to have."""
    progress.take(first)
    width = len(progress.values if progress.columns is None else progress.columns)
    _measure(progress, width)
    return width


def _measure(progress: _Progress, width: int) -> None:
    """asyncpg leaves out what is too much."""
    if len(progress.values) != width:
        raise progress.mismatch(f"expected {width} values, got {len(progress.values)}")

"""Rows become values: columns are matched to fields once per statement, and a generated function does the rest.

For ``class Post(Struct)`` with the fields ``id: int``, ``title: str``, ``tags: list[str] | None`` and the query
``SELECT title, id, secret, tags FROM …`` it is

    def one(row):
        c0, c1, _, c3, = row
        return Post(c1, c0, (None if c3 is None else convert3(c3))) if c0 is not None and c1 is not None else null()

PERF: unpacking, the checks for NULL and a call by position take 0.11 µs for a row of four columns, the same as
``Post(*row)`` without any check, which builds a tuple; ``msgspec.convert(dict(row), Post)`` takes 0.85. The fastest
there is, ``starmap(Post, map(itemgetter(slice(None)), rows))``, takes 0.085, and takes NULL for a value. Tried, and no
faster: a tuple of each row first (0.11), by index (0.12), column by column (0.12), all cells in one list (0.15).
"""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

import msgspec

from fastlane.sql.columns import KEPT, Column, Convert, Unfit, conversion, is_optional, members, shown, without_null
from fastlane.sql.errors import RowMismatch, UnexpectedNull
from fastlane.sql.shapes import Field, Shape, shape_of

__all__ = ["Plan", "Row", "plan_of"]

Row: TypeAlias = Any
"""A record of asyncpg: it can be unpacked, and is not a tuple."""

_numbers = itertools.count(1)


class _Null(Exception):
    """A field that is not optional got NULL. `Plan.explain` finds out which."""


def _null() -> NoReturn:
    raise _Null


class _Use:
    """One column that is read into one field."""

    __slots__ = ("column", "convert", "field", "index", "optional")

    def __init__(self, index: int, column: Column, field: Field, convert: Convert | None) -> None:
        self.index = index
        self.column = column
        self.field = field
        self.convert = convert
        self.optional = is_optional(field.annotation)


class Plan:
    """How the rows of one statement become values of one type.

    Attributes:
        one: makes a value of a row.
        all: makes a list of values of a list of rows.
        scalar: a value is the first column alone.

    Both are the fast way: what they raise is for `explain`.
    """

    __slots__ = ("__weakref__", "_into", "_query", "_uses", "all", "one", "scalar")

    one: Callable[[Row], Any]
    all: Callable[[Sequence[Row]], list[Any]]

    def __init__(self, into: Any, query: str, uses: Sequence[_Use], shape: Shape, width: int) -> None:
        self._into = into
        self._query = query
        self._uses = uses
        self.scalar = shape.kind == "scalar"
        file = f"<fastlane rows {next(_numbers)}>"
        self.one, self.all = _generated(uses, shape, width, file)
        weakref.finalize(self, linecache.cache.pop, file, None).atexit = False

    def value(self, row: Row, *, validate: bool = False) -> Any:
        """The value of a row.

        Args:
            validate: check the constraints of the type (``Meta``), too, which costs about eight times as much.

        Raises:
            RowMismatch: a value is not what its field says.
        """
        try:
            value = self.one(row)
        except Exception as error:
            raise self.explain(error, (row,)) from None
        return self._validated(value) if validate else value

    def values(self, rows: Sequence[Row], *, validate: bool = False) -> list[Any]:
        """The values of many rows. As `value`."""
        try:
            values = self.all(rows)
        except Exception as error:
            raise self.explain(error, rows) from None
        return list(map(self._validated, values)) if validate else values

    def explain(self, error: Exception, rows: Iterable[Row]) -> Exception:
        """What was wrong with the first bad row, in words; ``error`` itself, where it came from the type's own code."""
        for row in rows:
            try:
                self.one(row)
            except Exception:
                for use in self._uses:
                    mistake = self._mistake(use, row[use.index])
                    if mistake is not None:
                        return mistake
                return error
        return error

    def _mistake(self, use: _Use, value: Any) -> Exception | None:
        target = _target(self._into, use.field)
        if value is None:
            if use.optional:
                return None
            return UnexpectedNull(
                f"column {use.column.name!r} is NULL, but {target} is {shown(use.field.annotation)}",
                column=use.column.name,
                query=self._query,
                mend=f"say `{shown(use.field.annotation)} | None`, or give the query a value for NULL: "
                f"coalesce({use.column.name}, …)",
            )
        if use.convert is None:
            return None
        try:
            use.convert(value)
        except Exception as error:
            return RowMismatch(
                f"column {use.column.name!r} ({use.column.type}) has a value that {target} "
                f"({shown(use.field.annotation)}) can't have: {error}",
                column=use.column.name,
                query=self._query,
                mend="correct the data, or widen the type",
            )
        return None

    def _validated(self, value: Any) -> Any:
        try:
            return msgspec.convert(msgspec.to_builtins(value, builtin_types=KEPT), self._into, strict=False)
        except msgspec.ValidationError as error:
            raise RowMismatch(
                f"a row is no valid {shown(self._into)}: {error}",
                column=str(error).partition("$.")[2].rstrip("`"),
                query=self._query,
                mend="correct the data, or the constraint; without validate=True rows are trusted",
            ) from None


def plan_of(into: Any, query: str, columns: Sequence[Column], *, value: bool = False) -> Plan:
    """Match the columns of a query to a type.

    Args:
        value: the first column alone is read into the type, also where it is a structure (json, composite).

    Raises:
        RowMismatch: a required field has no column, a column can't become its field, or two columns fit one field.
        TypeError: ``into`` is no type.
    """
    shape = Shape("scalar", into, (Field("", (), into),)) if value else shape_of(into)
    if not columns:
        raise RowMismatch(
            "the statement gives no columns", column="", query=query, mend="add RETURNING, or use execute()"
        )
    if shape.kind == "open mapping":
        (every,) = shape.fields
        pairs = [
            (index, every._replace(name=column.name, names=(column.name,))) for index, column in enumerate(columns)
        ]
        shape = shape._replace(fields=tuple(field for _, field in pairs))
    elif shape.kind in ("sequence", "scalar"):
        if len(columns) < len(shape.fields):
            raise RowMismatch(
                f"{shown(into)} takes {len(shape.fields)} columns, the query gives {len(columns)}",
                column="",
                query=query,
                mend="select as many columns as the type has",
            )
        pairs = list(enumerate(shape.fields))
    else:
        pairs = list(_matched(into, query, columns, shape.fields))
    names = [column.name for column in columns]
    for index, field in pairs:
        if field.names and names.count(names[index]) > 1:
            raise RowMismatch(
                f"two columns are called {names[index]!r}",
                column=names[index],
                query=query,
                mend="name them apart with AS",
            )
    uses = [_Use(index, columns[index], field, _fitted(into, query, columns[index], field)) for index, field in pairs]
    return Plan(into, query, uses, shape, len(columns))


def _matched(into: Any, query: str, columns: Sequence[Column], fields: Sequence[Field]) -> Iterable[tuple[int, Field]]:
    indexes = {column.name: index for index, column in reversed(list(enumerate(columns)))}
    for field in fields:
        index = next((indexes[name] for name in field.names if name in indexes), None)
        if index is not None:
            yield index, field
        elif field.required:
            given = ", ".join(column.name for column in columns)
            raise RowMismatch(
                f"{_target(into, field)} ({shown(field.annotation)}) has no column: the query gives {given}",
                column=field.names[0],
                query=query,
                mend=f"select {field.names[0]}, or give the field a default",
            )


def _fitted(into: Any, query: str, column: Column, field: Field) -> Convert | None:
    try:
        return conversion(field.annotation, column)
    except Unfit as unfit:
        mend = str(unfit)
        of = [member for member in members(field.annotation) if member not in (None, type(None))]
        if not field.names and is_optional(field.annotation) and any(shape_of(one).kind != "scalar" for one in of):
            mend = "leave out `| None`: where there is no row fetch_optional answers None"
        raise RowMismatch(
            f"column {column.name!r} is {column.type}, but {_target(into, field)} is {shown(field.annotation)}",
            column=column.name,
            query=query,
            mend=mend,
        ) from None


def _target(into: Any, field: Field) -> str:
    if not field.names:
        return "what was asked for"
    return f"{shown(into)}.{field.name}" if shape_of(into).kind != "open mapping" else "every value"


def _generated(
    uses: Sequence[_Use], shape: Shape, width: int, file: str
) -> tuple[Callable[[Row], Any], Callable[[Sequence[Row]], list[Any]]]:
    """The two functions of a plan, in `linecache` so that a traceback and a profiler show them."""
    names: dict[str, Any] = {"make": shape.make, "null": _null}
    used = {use.index for use in uses}
    unpacked = "".join(f"c{index}, " if index in used else "_, " for index in range(width))
    source = _source(uses, shape, names, unpacked)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names["one"], names["all"]


def _source(uses: Sequence[_Use], shape: Shape, names: dict[str, Any], unpacked: str) -> str:
    expressions: list[str] = []
    required: list[str] = []
    for use in uses:
        name = f"c{use.index}"
        if use.convert is not None:
            convert = f"convert{len(expressions)}"
            names[convert] = use.convert
            # PERF: in place, an array of two costs 0.1 µs less than by a call.
            in_place = f"({name} if None not in {name} else null())"
            converted = in_place if use.convert is without_null else f"{convert}({name})"
            expressions.append(f"(None if {name} is None else {converted})" if use.optional else converted)
        else:
            expressions.append(name)
        if not use.optional and name not in required:
            required.append(name)
    made = _call(uses, shape, expressions)
    if required:
        made = f"{made} if {' and '.join(f'{name} is not None' for name in required)} else null()"
    return (
        f"def one(row):\n    {unpacked}= row\n    return {made}\n\n\n"
        f"def all(rows):\n    return [{made} for {unpacked}in rows]\n"
    )


def _call(uses: Sequence[_Use], shape: Shape, expressions: Sequence[str]) -> str:
    if shape.kind == "scalar":
        return expressions[0]
    if shape.kind == "sequence":
        return f"({', '.join(expressions)},)"
    if shape.kind in ("mapping", "open mapping"):
        return f"{{{', '.join(f'{use.field.name!r}: {one}' for use, one in zip(uses, expressions, strict=True))}}}"
    by_name = False
    arguments: list[str] = []
    for place, (use, expression) in enumerate(zip(uses, expressions, strict=True)):
        # After a field that is left to its default, and for those that want it, by keyword.
        by_name = by_name or use.field.keyword or shape.fields[place] is not use.field
        arguments.append(f"{use.field.name}={expression}" if by_name else expression)
    return f"make({', '.join(arguments)})"

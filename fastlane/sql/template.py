"""Template strings (Python 3.14, PEP 750) as queries: ``t"… = {id}"`` is ``… = $1`` and one argument."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

__all__ = ["Query", "Template", "rendered"]


class Interpolation(Protocol):
    """As `string.templatelib.Interpolation`."""

    @property
    def value(self) -> object: ...
    @property
    def expression(self) -> str: ...
    @property
    def conversion(self) -> str | None: ...
    @property
    def format_spec(self) -> str: ...


@runtime_checkable
class Template(Protocol):
    """As `string.templatelib.Template`."""

    @property
    def strings(self) -> tuple[str, ...]: ...
    @property
    def interpolations(self) -> tuple[Interpolation, ...]: ...


Query: TypeAlias = "str | Template"
"""SQL with ``$1``, ``$2`` …, or a template string whose values become arguments, never text."""


def rendered(query: Query, arguments: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """The text and the arguments of a query. A template inside a template is a part of the text.

    Raises:
        TypeError: neither a text nor a template, or a template together with arguments.
        ValueError: a value with a conversion or a format (``{id!r}``, ``{id:>5}``).
    """
    if isinstance(query, str):
        return str(query), arguments
    if not isinstance(query, Template):
        raise TypeError(f"a query is a str, or a template string, not {type(query).__name__}")
    if arguments:
        raise TypeError("a template string carries its values: give no further arguments")
    values: list[object] = []
    return _text(query, values), tuple(values)


def _text(template: Template, values: list[object]) -> str:
    parts = [template.strings[0]]
    for interpolation, following in zip(template.interpolations, template.strings[1:], strict=True):
        if interpolation.conversion or interpolation.format_spec:
            raise ValueError(
                f"{{{interpolation.expression}}}: a value of a query is sent as it is\n"
                "    mend: leave the conversion or format out"
            )
        if isinstance(interpolation.value, Template):
            parts.append(_text(interpolation.value, values))
        else:
            values.append(interpolation.value)
            parts.append(f"${len(values)}")
        parts.append(following)
    return "".join(parts)

"""What reads one text, and the bounds that ``msgspec.Meta`` may put on it.

A ``Reader`` has two ways to the same value: ``decode``, a function that raises msgspec's errors, and ``expression``,
source that the generator pastes into a route, so that the usual text costs no Python call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Meta, ValidationError

from fastlane.compiler.annotations import describe

__all__ = ["IllegalAnnotation", "Reader", "length_bounds", "length_check", "refuse_bounds", "refuse_union_bounds"]

BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")


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


def refuse_bounds(base: Any, metas: tuple[Meta, ...]) -> None:
    """For types that have no bounds. Raises IllegalAnnotation where there are some."""
    if any(getattr(meta, bound) is not None for meta in metas for bound in BOUNDS):
        raise IllegalAnnotation(f"Meta bounds can't be put on {describe(base)}", "drop the bounds")


def refuse_union_bounds(annotation: Any, metas: tuple[Meta, ...]) -> None:
    """REQUESTS 1: bounds on a whole union are an import error, whatever its arms.

    Raises:
        IllegalAnnotation: there are some.
    """
    bounds = [
        f"{bound}={getattr(meta, bound)!r}" for meta in metas for bound in BOUNDS if getattr(meta, bound) is not None
    ]
    if bounds:
        raise IllegalAnnotation(
            f"Meta({', '.join(bounds)}) is put on the whole union {describe(annotation)}",
            f"put it on the member that it bounds: `Annotated[int, Meta({', '.join(bounds)})] | None`",
        )


def length_bounds(metas: tuple[Meta, ...]) -> tuple[int, int | None]:
    """The least and the greatest length that all of ``metas`` allow; None is unlimited."""
    lows = [meta.min_length for meta in metas if meta.min_length is not None]
    highs = [meta.max_length for meta in metas if meta.max_length is not None]
    return max(lows, default=0), min(highs, default=None)


def length_check(metas: tuple[Meta, ...], name: str) -> Callable[[Any], None] | None:
    """A function that raises msgspec's error for a wrong length; None where there is no bound."""
    low, high = length_bounds(metas)
    if low == 0 and high is None:
        return None

    def check(value: Any) -> None:
        length = len(value)
        if length < low:
            raise ValidationError(f"Expected `{name}` of length >= {low}")
        if high is not None and length > high:
            raise ValidationError(f"Expected `{name}` of length <= {high}")

    return check

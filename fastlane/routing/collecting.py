"""Going on after an error of a declaration, so that ``fastlane check`` finds them all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastlane.errors import CompileError

__all__ = ["collect_compile_errors", "is_collected"]

_collected: ContextVar[list[CompileError] | None] = ContextVar("collected_compile_errors", default=None)


@contextmanager
def collect_compile_errors() -> Iterator[list[CompileError]]:
    """While this is open, a route that can't be compiled is left out instead of raising; the list has the errors.

    Example:
        >>> with collect_compile_errors() as errors:
        ...     app = load_app("blog:app")
        >>> errors += app.compile_errors()
    """
    errors: list[CompileError] = []
    token = _collected.set(errors)
    try:
        yield errors
    finally:
        _collected.reset(token)


def is_collected(error: CompileError) -> bool:
    """The error is kept for whoever collects; False where it must be raised."""
    errors = _collected.get()
    if errors is None:
        return False
    known = set(map(str, errors))  # a dependency is read for every route that has it
    errors += [mistake for mistake in error.each if str(mistake) not in known]
    return True

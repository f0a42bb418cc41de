"""What tests call instead of a dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

__all__ = ["Overrides"]

Function = Callable[..., Any]


class Overrides(MutableMapping[Function, Function]):
    """Dependency → replacement. Every change has the routes compiled again, so that none is remembered.

    Args:
        changed: called after every change.
    """

    __slots__ = ("_changed", "_replacements")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._replacements: dict[Function, Function] = {}
        self._changed = changed

    def __getitem__(self, dependency: Function) -> Function:
        return self._replacements[dependency]

    def __setitem__(self, dependency: Function, replacement: Function) -> None:
        self._replacements[dependency] = replacement
        self._changed()

    def __delitem__(self, dependency: Function) -> None:
        del self._replacements[dependency]
        self._changed()

    def __iter__(self) -> Iterator[Function]:
        return iter(self._replacements)

    def __len__(self) -> int:
        return len(self._replacements)

    def __repr__(self) -> str:
        return f"Overrides({self._replacements!r})"

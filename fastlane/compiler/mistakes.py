"""What is wrong with a handler, all of it: reading goes on behind a mistake, and stops at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastlane.compiler.annotations import UnresolvedName
from fastlane.errors import CompileError

__all__ = ["Mistakes"]


class Mistakes:
    """The mistakes of one route, each once, in the order of their finding."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[CompileError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A CompileError inside is kept, and ends the block alone."""
        try:
            yield
        except CompileError as error:
            known = set(map(str, self.found))
            self.found += [single for single in error.each if str(single) not in known]

    def refuse(self) -> None:
        """Raises what was found.

        Names that do not exist yet are no mistakes until the app freezes: beside others they are not told of.

        Raises:
            UnresolvedName: there is nothing else.
            CompileError: everything else.
        """
        settled = [error for error in self.found if not isinstance(error, UnresolvedName)]
        if settled:
            # Where it was found in here tells nobody anything.
            raise CompileError.together(settled).with_traceback(None)
        if self.found:
            raise UnresolvedName.together(self.found).with_traceback(None)

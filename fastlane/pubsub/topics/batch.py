"""How many messages a handler takes at once."""

from __future__ import annotations

from fastlane.errors import CompileError
from fastlane.pubsub.topics.retry import duration_of
from fastlane.resources.declaration import Place
from fastlane.resources.quantities import Duration

__all__ = ["Batch"]


class Batch:
    """A handler takes a list.

    Args:
        size: at most so many.
        wait: how long the first may wait for others. Default: 1 s.

    Attributes:
        wait: seconds.

    Raises:
        CompileError: a value that makes no sense, with the place of the call.
    """

    __slots__ = ("size", "wait")

    def __init__(self, size: int, wait: Duration = 1.0) -> None:
        place = Place.of_caller()
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 10_000:
            raise CompileError(
                f"Batch(size={size!r})", mend="write a number from 1 to 10000", file=place.file, line=place.line
            )
        self.size = size
        self.wait = duration_of("Batch(wait=)", wait, place)

    def __repr__(self) -> str:
        return f"Batch({self.size}, wait={self.wait:g})"

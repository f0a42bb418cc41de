"""How often a handler that failed is tried again, and when."""

from __future__ import annotations

import random
from collections.abc import Callable

from fastlane.errors import CompileError
from fastlane.resources.declaration import Place
from fastlane.resources.quantities import Duration, seconds

__all__ = ["Retry", "attempts_of", "duration_of"]


class Retry:
    """Attempts, and the time between them.

    Args:
        min_backoff: before the second attempt; it doubles with each further one. Default: 10 s.
        max_backoff: never more than that. Default: 10 minutes.
        max_attempts: counting the first; then the message goes to the dead letters. None: for ever. Default: 10.

    Attributes:
        min_backoff, max_backoff: seconds.

    Raises:
        CompileError: a value that makes no sense, with the place of the call.
    """

    __slots__ = ("max_attempts", "max_backoff", "min_backoff")

    def __init__(
        self,
        *,
        min_backoff: Duration = 10.0,
        max_backoff: Duration = 600.0,
        max_attempts: int | None = 10,
    ) -> None:
        place = Place.of_caller()
        self.min_backoff = duration_of("Retry(min_backoff=)", min_backoff, place)
        self.max_backoff = duration_of("Retry(max_backoff=)", max_backoff, place)
        self.max_attempts = attempts_of("Retry(max_attempts=)", max_attempts, place)
        if self.min_backoff > self.max_backoff:
            raise CompileError(
                f"{self!r} has a least backoff above its most",
                mend="give a max_backoff that is at least min_backoff (its default is 10 minutes)",
                file=place.file,
                line=place.line,
            )

    def delay(self, attempt: int, jitter: Callable[[], float] = random.random) -> float:
        """Seconds between the attempt that failed, 1 for the first, and the next one.

        Args:
            jitter: answers a number from 0 to 1; up to a quarter is added, so that what failed together does not come
                back together.
        """
        # Beyond 2**60 it is more than any max_backoff, and a float has an end.
        backoff = self.min_backoff * 2.0 ** min(max(attempt, 1) - 1, 60) * (1 + 0.25 * jitter())
        return min(self.max_backoff, backoff)

    def exhausted(self, attempt: int) -> bool:
        """Whether ``attempt``, which failed, was the last one."""
        return self.max_attempts is not None and attempt >= self.max_attempts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Retry):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        least, most, attempts = self._values()
        return f"Retry(min_backoff={least:g}, max_backoff={most:g}, max_attempts={attempts})"

    def _values(self) -> tuple[float, float, int | None]:
        return self.min_backoff, self.max_backoff, self.max_attempts


def duration_of(what: str, value: object, place: Place, *, positive: bool = False) -> float:
    """Seconds, or a CompileError that names ``what``."""
    try:
        found = seconds(value)
    except ValueError as error:
        raise CompileError(
            f"{what} is {value!r}, expected {error}",
            mend='write a number of seconds, a timedelta, or a text such as "10m"',
            file=place.file,
            line=place.line,
        ) from None
    if positive and found == 0:
        raise CompileError(f"{what} is 0", mend="give a time above 0", file=place.file, line=place.line)
    return found


def attempts_of(what: str, value: object, place: Place) -> int | None:
    """A number of attempts, or a CompileError that names ``what``."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise CompileError(
        f"{what} is {value!r}",
        mend="write how often it is tried, counting the first: 1 is no retry, None is for ever",
        file=place.file,
        line=place.line,
    )

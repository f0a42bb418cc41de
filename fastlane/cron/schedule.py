"""When a job is due: an interval that divides the day, or the five fields of cron(8) in a time zone."""

from __future__ import annotations

import abc
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fastlane.resources.quantities import seconds

__all__ = ["CronExpression", "Interval", "Schedule", "time_zone"]

DAY = 86_400
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class Schedule(abc.ABC):
    """A row of instants, the same on every machine. All of them are aware, in UTC."""

    @abc.abstractmethod
    def after(self, moment: datetime) -> datetime:
        """The first tick later than ``moment``."""

    @abc.abstractmethod
    def before(self, moment: datetime) -> datetime:
        """The last tick that is not later than ``moment``."""

    def interval(self, moment: datetime) -> float:
        """Seconds from the tick before ``moment`` to the one behind it."""
        return (self.after(moment) - self.before(moment)).total_seconds()


class Interval(Schedule):
    """Every so many seconds, counted from midnight, UTC.

    Args:
        every: a duration that divides the day, from 1 s to 24 h, so that all machines agree on the ticks.

    Raises:
        ValueError: it does not; the text says what was expected.
    """

    def __init__(self, every: object) -> None:
        length = seconds(every)
        if not 1 <= length <= DAY or length != int(length) or DAY % int(length):
            below, above = _divisors_around(length)
            nearest = f"{_text(below)} or {_text(above)} are" if below != above else f"{_text(below)} is"
            raise ValueError(f"a duration that divides the day: {nearest} the nearest")
        self.seconds = int(length)

    def after(self, moment: datetime) -> datetime:
        return self.before(moment) + timedelta(seconds=self.seconds)

    def before(self, moment: datetime) -> datetime:
        whole = int(moment.timestamp() // self.seconds) * self.seconds
        return datetime.fromtimestamp(whole, UTC)

    def __str__(self) -> str:
        return f"every {_text(self.seconds)}"


class CronExpression(Schedule):
    """Minute, hour, day of the month, month, day of the week, as Debian's cron reads them.

    When clocks go forward, a job in the hour that is left out runs right after it; when they go back, one with a fixed
    time runs once, and one at every hour or minute keeps its real distance.

    Args:
        text: five fields, or ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``.
        zone: in which the fields are read.

    Raises:
        ValueError: it is no such expression; the text says what was expected.
    """

    def __init__(self, text: object, zone: tzinfo) -> None:
        if not isinstance(text, str):
            raise ValueError("five fields, such as '0 4 * * *'")
        fields = _ALIASES.get(text.strip().lower(), text).split()
        if len(fields) != 5:
            raise ValueError(f"five fields (minute hour day month weekday), such as '0 4 * * *', got {len(fields)}")
        self.text = " ".join(fields)
        self.zone = zone
        try:
            self._next(datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"five fields (minute hour day month weekday): {error}") from None
        except StopIteration:
            raise ValueError("five fields that name a day there is: this one never comes") from None

    def after(self, moment: datetime) -> datetime:
        return self._next(moment)

    def before(self, moment: datetime) -> datetime:
        # cronsim's reverse walk leaves out the tick at its start, and in the hour that autumn repeats it does not meet
        # what the forward walk meets: step back in widening strides, then walk forward.
        stride = timedelta(minutes=2)  # PERF: from two hours back, every minute of them is a step: 12 ms
        while True:
            tick = self._next(moment - stride)
            if tick <= moment:
                break
            stride *= 4
        while (following := self._next(tick)) <= moment:
            tick = following
        return tick

    def _next(self, moment: datetime) -> datetime:
        # In the hour that autumn repeats, cronsim begins with ticks of the first time round, which are over by then.
        ticks = (tick.astimezone(UTC) for tick in CronSim(self.text, moment.astimezone(self.zone)))
        return next(tick for tick in ticks if tick > moment)

    def __str__(self) -> str:
        return f"{self.text} {self.zone}"


def time_zone(name: object) -> tzinfo:
    """The time zone that is called ``name`` in the tz database.

    Raises:
        ValueError: there is none; the text says what was expected.
    """
    if isinstance(name, str):
        if name.upper() == "UTC":
            return ZoneInfo("UTC")
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise ValueError("the name of a time zone, such as Europe/Stockholm")


def _divisors_around(length: float) -> tuple[int, int]:
    """The nearest that people would write: whole hours near hours, whole minutes near minutes."""
    unit = next(unit for unit in (3600, 60, 1) if length >= unit or unit == 1)
    divisors = [number for number in range(unit, DAY + 1, unit) if DAY % number == 0]
    below = max((number for number in divisors if number <= length), default=divisors[0])
    return below, min((number for number in divisors if number > length), default=DAY)


def _text(length: int) -> str:
    for size, unit in ((3600, "h"), (60, "m")):
        if length % size == 0:
            return f"{length // size}{unit}"
    return f"{length}s"

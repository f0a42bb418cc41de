"""The declaration: a function that runs on a schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import update_wrapper
from typing import Any, ClassVar, NamedTuple, get_args

from fastlane.cron.run import Tick, call_handler
from fastlane.cron.schedule import CronExpression, Interval, Schedule, time_zone
from fastlane.cron.store import Overlap
from fastlane.errors import CompileError
from fastlane.pubsub import Retry
from fastlane.resources.declaration import Kind, Place, Resource
from fastlane.resources.quantities import Duration, seconds

__all__ = ["CronJob", "CronSettings", "cron"]

LONGEST_CATCH_UP = 3600.0


class CronSettings(NamedTuple):
    """What a job was declared with. Times are seconds.

    Attributes:
        overlap: what happens at a tick while an older run is live: ``skip`` it, ``allow`` both, or ``queue`` it.
        catch_up: a tick that nobody ran is run late within this time, the newest one only; None: the interval, at most
            an hour.
        jitter: a run begins up to so much later.
        timeout: a run that takes longer is cancelled and has failed; None: never.
        retry: for a run that failed; None: it waits for the next tick.
    """

    overlap: Overlap
    catch_up: float | None
    jitter: float
    timeout: float | None
    retry: Retry | None


class CronJob(Resource[object]):
    """A declared job. Call it to run its function as it is; ``fire`` runs it as a tick does.

    Attributes:
        schedule: when it is due.
        settings: see `CronSettings`.
        handler: the function.
    """

    kind: ClassVar[Kind] = "cron job"

    def __init__(
        self, name: str, place: Place, schedule: Schedule, settings: CronSettings, handler: Callable[..., Any]
    ) -> None:
        super().__init__(name, place)
        self.schedule = schedule
        self.settings = settings
        self.handler = handler
        self.takes_tick = _takes_tick(handler, name, place)
        update_wrapper(self, handler)

    def __call__(self, *arguments: Any) -> Any:
        return self.handler(*arguments)

    def catch_up(self, moment: datetime) -> float:
        """How late, in seconds, the tick before ``moment`` may be run."""
        if self.settings.catch_up is not None:
            return self.settings.catch_up
        return min(self.schedule.interval(moment), LONGEST_CATCH_UP)

    async def fire(self, at: datetime | None = None) -> object:
        """Run it now, in this process, as if the tick ``at`` had come: for tests. Answers what the function returns.

        Args:
            at: aware; default: now.

        Raises:
            Whatever the function raises, or TimeoutError. There is no retry, and no row in a store.
        """
        scheduled_at = datetime.now(UTC) if at is None else at
        if scheduled_at.tzinfo is None:
            raise ValueError(f"at={at!r} has no time zone: datetime(…, tzinfo=UTC)")
        return await call_handler(self, Tick(self.name, scheduled_at.astimezone(UTC), 1))


def cron(
    name: str,
    *,
    every: Duration | None = None,
    schedule: str | None = None,
    timezone: str = "UTC",
    overlap: Overlap = "skip",
    catch_up: Duration | None = None,
    jitter: Duration = 0,
    timeout: Duration | None = None,
    retry: Retry | None = None,
) -> Callable[[Callable[..., Any]], CronJob]:
    """Decorator: run a function on a schedule, once per tick, whatever the number of workers and machines.

    Args:
        name: unique among the jobs, lower-case words joined by hyphens.
        every: an interval that divides the day, such as ``"10m"``; its ticks are counted from midnight, UTC.
        schedule: or five fields as cron(8) has them, such as ``"0 4 * * *"``; ``@daily`` and its like.
        timezone: in which ``schedule`` is read.
        overlap: at a tick while an older run of the job is live: ``skip`` the tick (it counts as handled), ``allow``
            both, or ``queue`` it until the older one has ended.
        catch_up: how late a tick may be run that nobody was there for; of several only the newest is. Default: the
            interval, at most an hour.
        jitter: each run begins up to so much later.
        timeout: a run that takes longer is cancelled and has failed. Default: none.
        retry: of a run that failed. Default: it waits for the next tick. A run whose worker died is started again
            elsewhere in any case, as attempt 2 and then 3.

    The function takes nothing, or one parameter annotated ``Tick``; it is ``async def``, or a plain ``def`` that runs
    in a thread.

    Raises:
        CompileError: the declaration makes no sense.

    Example:
        >>> @cron("trending", every="10m")
        ... async def refresh_trending() -> None: ...
    """
    place = Place.of_caller()

    def refuse(problem: str, mend: str) -> CompileError:
        return CompileError(f"cron job {name!r}: {problem}", mend=mend, file=place.file, line=place.line)

    def duration(what: str, value: Duration) -> float:
        try:
            return seconds(value)
        except ValueError as error:
            raise refuse(f"{what}={value!r}, expected {error}", 'write seconds, or a text such as "10m"') from None

    if (every is None) == (schedule is None):
        raise refuse("it needs one of every= and schedule=", 'write every="10m", or schedule="0 4 * * *"')
    if overlap not in get_args(Overlap):
        raise refuse(f"overlap={overlap!r}", "write one of skip, allow, queue")
    try:
        when: Schedule = Interval(every) if every is not None else CronExpression(schedule, time_zone(timezone))
    except ValueError as error:
        given = f"every={every!r}" if every is not None else f"schedule={schedule!r}, timezone={timezone!r}"
        mend = "see crontab(5)" if every is None else 'write every="10m", or a schedule='
        raise refuse(f"{given}, expected {error}", mend) from None
    if every is not None and timezone != "UTC":
        raise refuse("timezone= has no meaning beside every=", "leave it out, or write a schedule=")
    if retry is not None and not isinstance(retry, Retry):
        raise refuse(f"retry={retry!r}, expected a Retry", "write retry=Retry(max_attempts=3)")
    settings = CronSettings(
        overlap,
        None if catch_up is None else duration("catch_up", catch_up),
        duration("jitter", jitter),
        None if timeout is None else duration("timeout", timeout) or None,
        retry,
    )

    def decorate(handler: Callable[..., Any]) -> CronJob:
        return CronJob(name, place, when, settings, handler)

    return decorate


def _takes_tick(handler: Callable[..., Any], name: str, place: Place) -> bool:
    """Whether the function wants to know its tick. Raises CompileError for one that can't be called."""
    if not callable(handler):
        problem, mend = f"{handler!r} is no function", "write the decorator above a function"
    elif inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        problem, mend = "a generator can't be a job", "write a function without yield"
    else:
        parameters = [
            parameter
            for parameter in inspect.signature(handler).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        annotations = [str(getattr(p.annotation, "__name__", p.annotation)) for p in parameters]
        if not parameters and not _depends(handler):
            return False
        if len(parameters) == 1 and annotations[0].rpartition(".")[2] == "Tick":
            return True
        problem = f"its function takes {', '.join(parameter.name for parameter in parameters) or 'dependencies'}"
        mend = "a job takes nothing, or one `tick: Tick`; dependencies (Depends) are for requests"
    raise CompileError(f"cron job {name!r}: {problem}", mend=mend, file=place.file, line=place.line)


def _depends(handler: Callable[..., Any]) -> bool:
    """Whether a parameter with a default is a dependency after all. Told by name: that class is the other wing's."""
    return any(
        type(parameter.default).__name__ == "Depends"
        or any(type(item).__name__ == "Depends" for item in getattr(parameter.annotation, "__metadata__", ()))
        or (isinstance(parameter.annotation, str) and "Depends(" in parameter.annotation)
        for parameter in inspect.signature(handler).parameters.values()
    )

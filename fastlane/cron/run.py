"""One run of a job: the tick that it is for, and the call of its function."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from fastlane.redaction import redacted

if TYPE_CHECKING:
    from fastlane.cron.job import CronJob

__all__ = ["Tick", "call_handler", "one_line"]

LONGEST_LINE = 500


class Tick(Struct, frozen=True):
    """What a job is run for.

    Attributes:
        job: its name.
        scheduled_at: the instant of the schedule, aware, UTC; the same for every attempt.
        attempt: 1 for the first; more after a failure (``retry=``), or where the worker of the one before died.
    """

    job: str
    scheduled_at: datetime
    attempt: int


async def call_handler(job: CronJob, tick: Tick) -> object:
    """Call the job's function, in a thread where it is a plain ``def``, and cancel it at its timeout.

    Raises:
        TimeoutError: the timeout is over. A thread can't be cancelled: it goes on, and what it returns is ignored.
        RuntimeError: it called ``sys.exit``, which ends a job and not its worker; or raised what no future can hold.
    """
    arguments = (tick,) if job.takes_tick else ()
    try:
        async with asyncio.timeout(job.settings.timeout) as limit:
            if inspect.iscoroutinefunction(job.handler):
                return await job.handler(*arguments)
            context = contextvars.copy_context()
            result: object = await asyncio.to_thread(context.run, _call_blocking, job, arguments)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"not done within its timeout of {job.settings.timeout:g} s") from error
    except SystemExit as error:
        raise RuntimeError(f"the job called sys.exit({error.code!r})") from error


def one_line(error: BaseException) -> str:
    """Type and text of what a job raised, in one bounded line without secrets, as a store of runs takes it."""
    kind = type(error).__name__
    try:
        text = " ".join(redacted(str(error)).split())
    except Exception:  # the user's __str__
        return kind
    line = f"{kind}: {text}"[:LONGEST_LINE] if text else kind
    # No database takes a NUL or half a surrogate, and a run whose end can't be written is run again.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def _call_blocking(job: CronJob, arguments: tuple[Tick, ...]) -> object:
    """In a thread, where no Ctrl-C arrives: whatever is raised there was raised by the job."""
    try:
        return job.handler(*arguments)
    except StopIteration as error:
        # As in a coroutine. A future refuses it, and whoever waits for that future waits for ever.
        raise RuntimeError("the job raised StopIteration: a next() had nothing left") from error
    except KeyboardInterrupt as error:
        raise RuntimeError("the job raised KeyboardInterrupt") from error

"""The second thread in which a worker's scheduler lives: a job that computes for long must not lose its lease."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from fastlane.cron.job import CronJob
from fastlane.cron.run import Tick, call_handler
from fastlane.cron.scheduler import Scheduler

__all__ = ["Clockwork"]

CANCEL_SECONDS = 5.0
"""What a cancelled job gets to clean up, before others may take it over."""


class Clockwork:
    """A scheduler on an event loop of its own, whose jobs run on the loop that made this.

    Args:
        make: makes the scheduler, given what calls a job. Called in the thread.
        close: what ends with it. Called in the thread.
    """

    def __init__(
        self,
        make: Callable[[Callable[[CronJob, Tick], Coroutine[Any, Any, object]]], Scheduler],
        close: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._make = make
        self._close = close
        self._main = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._drain: asyncio.Event = asyncio.Event()
        self._timeout = 0.0
        self._ended = self._main.create_future()
        self._thread = threading.Thread(target=self._live, name="fastlane-cron", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def drain(self, timeout: float) -> None:
        """Claim nothing more at once; let runs end for ``timeout`` seconds; give the others back."""
        self._timeout = timeout
        self._loop.call_soon_threadsafe(self._drain.set)
        await self._ended
        self._thread.join()

    def _live(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        finally:
            self._loop.close()
            self._main.call_soon_threadsafe(self._ended.set_result, None)

    async def _work(self) -> None:
        scheduler = self._make(self._call)
        turning = asyncio.ensure_future(scheduler.run())
        waiting = asyncio.ensure_future(self._drain.wait())
        try:
            await asyncio.wait({turning, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            scheduler.stop()
            waiting.cancel()
            await asyncio.wait({turning})
            await scheduler.drain(self._timeout)
            await self._close()
        turning.result()  # it never ends by itself: a bug is not silent

    async def _call(self, job: CronJob, tick: Tick) -> object:
        """Run the job's function on the main loop. Cancelled, it waits until the function has ended, for a while."""
        done: asyncio.Future[object] = self._loop.create_future()
        tasks: list[asyncio.Task[object]] = []

        def tell(task: asyncio.Task[object]) -> None:
            # The thread has ended before a job that went on for long after it was cancelled: nobody waits for that.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_transfer, task, done)

        def begin() -> None:
            task = self._main.create_task(_contained(job, tick), name=f"cron job {job.name}")
            tasks.append(task)
            task.add_done_callback(tell)

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        self._main.call_soon_threadsafe(begin)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._main.call_soon_threadsafe(cancel)
            await asyncio.wait({done}, timeout=CANCEL_SECONDS)
            raise


async def _contained(job: CronJob, tick: Tick) -> object:
    """The job, of which nothing but an exception comes out: what is none would end the worker, or its scheduler."""
    try:
        return await call_handler(job, tick)
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise RuntimeError(f"the job raised {type(error).__name__}") from error


def _transfer(task: asyncio.Task[object], done: asyncio.Future[object]) -> None:
    if done.cancelled():
        return
    if task.cancelled() and task.cancelling():
        done.cancel()  # by this run's own end
        return
    # Cancelled without that: something that the function waited for was, and it has failed.
    error = RuntimeError("the job was cancelled from within") if task.cancelled() else task.exception()
    if error is None:
        done.set_result(task.result())
    else:
        done.set_exception(error)

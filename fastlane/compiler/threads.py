"""Worker threads for plain ``def`` handlers and dependencies: bounded, started when needed, never joined."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, TypeVar

from fastlane.errors import Unavailable

__all__ = ["WorkerThreads"]

T = TypeVar("T")

_ABSENT = object()

WORKERS: Final = 40
"""Threads per process (REQUESTS 4)."""

BACKLOG: Final = 400
"""Calls that wait for a thread. Ten for each thread: at 50 ms a call the last of them waits half a second."""


class WorkerThreads:
    """At most ``workers`` daemon threads and ``backlog`` waiting calls; what is over that is a 503.

    ``concurrent.futures`` is not used because it joins its threads at exit: a call that never returns would keep the
    process alive (PROCESSES "Hangs"). Nothing is started before the first call, so that an app may be imported before a
    fork; and a process that was forked after one starts threads of its own, since it has none of its parent's.

    Args:
        workers: threads, at least 1.
        backlog: calls that may wait while all threads are busy, 0 or more.
    """

    __slots__ = ("_calls", "_free", "_lock", "_process", "_started", "backlog", "workers")

    def __init__(self, workers: int = WORKERS, backlog: int = BACKLOG) -> None:
        if workers < 1 or backlog < 0:
            raise ValueError(f"WorkerThreads: workers must be ≥ 1 and backlog ≥ 0, got {workers} and {backlog}")
        self.workers = workers
        self.backlog = backlog
        self._begin()

    def _begin(self) -> None:
        """No threads, and nothing for them to do."""
        self._process = os.getpid()
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._free = 0  # threads that wait, less the calls that wait: negative while there is a backlog

    async def run(self, function: Callable[[], T]) -> T:
        """``function()`` in a thread, with the caller's context variables, and what it sets of them is carried back.
        What it raises is raised here.

        A cancelled caller does not wait: the call ends on its own, and its result is dropped.

        Raises:
            Unavailable: every thread is busy and the backlog is full.
        """
        if self._free <= -self.backlog and self._started == self.workers and self._process == os.getpid():
            raise Unavailable("all worker threads are busy", headers={"retry-after": "1"})
        return await self.finish(function)

    async def finish(self, function: Callable[[], T]) -> T:
        """As ``run``, and never refused: what a request has begun in a thread must also be ended there, or a full
        backlog would undo work that is done.
        """
        if self._process != os.getpid():
            # The lock, too: a thread of the parent's may have held it in the moment of the fork.
            self._begin()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        call = _Call(contextvars.copy_context(), function, loop, outcome)
        with self._lock:
            if self._free <= 0 and self._started < self.workers:
                threading.Thread(target=self._work, name=f"fastlane-{self._started}", daemon=True).start()
                self._started += 1
            else:
                self._free -= 1
        self._calls.put(call)
        try:
            return await outcome
        finally:
            # What the call set is set for those that come after it, as if it had been called in place.
            if not outcome.cancelled():
                for variable, value in call.context.items():
                    if variable.get(_ABSENT) is not value:
                        variable.set(value)

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            report, value = call.run()
            # Before whoever waits hears of it, who may come with the next call at once.
            with self._lock:
                self._free += 1
            call.report(report, value)
            # Kept until the next call comes, the last arguments and their connections would live as long.
            del call, report, value


class _Call:
    """One call on its way into a thread and back."""

    __slots__ = ("context", "function", "loop", "outcome")

    def __init__(
        self,
        context: contextvars.Context,
        function: Callable[[], object],
        loop: asyncio.AbstractEventLoop,
        outcome: asyncio.Future[object] | asyncio.Future[T],
    ) -> None:
        self.context = context
        self.function = function
        self.loop = loop
        self.outcome = outcome

    def run(self) -> tuple[Callable[..., None], object]:
        """Does it; answers what there is to report."""
        try:
            return self._succeed, self.context.run(self.function)
        except BaseException as error:  # SystemExit too: it must reach the caller, not end the thread
            return self._fail, error

    def report(self, callback: Callable[..., None], value: object) -> None:
        """Has the loop call ``callback(value)``."""
        try:
            self.loop.call_soon_threadsafe(callback, value)
        except RuntimeError:
            # The loop is closed: nobody waits for the result any more.
            if not self.loop.is_closed():
                raise

    def _succeed(self, result: object) -> None:
        if not self.outcome.done():
            self.outcome.set_result(result)  # type: ignore[arg-type]

    def _fail(self, error: BaseException) -> None:
        if self.outcome.done():
            return
        if isinstance(error, StopIteration):
            # A future refuses StopIteration, since it would end the coroutine that awaits it.
            replacement = RuntimeError("a worker thread's call raised StopIteration")
            replacement.__cause__ = error
            error = replacement
        self.outcome.set_exception(error)

"""The thread that has the file open for one event loop, and commits in groups.

While one transaction is on its way to the disk, everything that is asked for gathers, and becomes the next: 64
publishes in flight cost one fsync, and one alone never waits for company.

PERF: one after the other a publish takes 280 µs (two cores of a virtual machine): 110 the fsync, 45 to wake a thread
on another core, there and back, and the rest is code that finds its caches cold. So what counts is how much of it there
is: 194,000 instructions in the thread, 96,000 in the loop (callgrind; with eight statements for a publish 271,000 and
105,000). With both threads on one core it takes 230. But an event loop has to stay free to move, and what it starts
meanwhile, threads and processes, would inherit the core; and to keep this thread alone where the loop is makes it
slower: the loop is woken on the other core as long as the thread runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from fastlane.errors import FastlaneError
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.local.faults import translated
from fastlane.pubsub.providers.local.store import Store, StoreOptions

__all__ = ["Database", "Operation"]

Argument = TypeVar("Argument")
Result = TypeVar("Result")

logger = logging.getLogger("fastlane.pubsub")

GROUP = 512
CLOSE_PATIENCE = 10.0


class Operation(Generic[Argument, Result]):
    """Something to do with the file, for all who ask for it at the same time.

    Args:
        run: gets everybody's arguments, inside a transaction; answers a result for each. It may be run again with fewer
            of them, after a rollback.
        ready: tried before, without a transaction: its answer is the result, unless it is None.
    """

    def __init__(
        self,
        run: Callable[[Store, Sequence[Argument]], Sequence[Result]],
        *,
        ready: Callable[[Store, Argument], Result | None] | None = None,
    ) -> None:
        self.run = run
        self.ready = ready


class _Job:
    __slots__ = ("argument", "durable", "error", "future", "operation", "result")

    def __init__(
        self, operation: Operation[Any, Any], argument: Any, durable: bool, future: asyncio.Future[Any]
    ) -> None:
        self.operation = operation
        self.argument = argument
        self.durable = durable
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class Database:
    """Made on the event loop that uses it, after the fork; opens the file when it is first needed.

    Args:
        options: of the file.
        committed: called in the thread after each transaction, before anybody is told, with the numbers of the
            subscriptions that may have something to hand out. Must neither block nor raise.
        answered: called in the thread after somebody was told, for what nobody has to wait for. Must not block.
    """

    def __init__(
        self,
        options: StoreOptions,
        committed: Callable[[set[int]], None],
        answered: Callable[[], None] | None = None,
    ) -> None:
        self._options = options
        self._committed = committed
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._store: Store | None = None
        self._closed = False
        self._ended = self._loop.create_future()
        # Not waited for when the interpreter ends: a transaction that was not committed was promised to nobody.
        self._thread = threading.Thread(target=self._run, name="fastlane-local-broker", daemon=True)
        self._thread.start()

    def submit(
        self, operation: Operation[Argument, Result], argument: Argument, *, durable: bool = False
    ) -> asyncio.Future[Result]:
        """Have it done; on the loop that made this. Cancelling the answer undoes nothing.

        Args:
            durable: on the disk before the answer, where the options say so.
        """
        future: asyncio.Future[Result] = self._loop.create_future()
        if self._closed:
            future.set_exception(BrokerUnavailable(f"{self._options.path}: closed"))
        elif os.getpid() != self._process:
            future.set_exception(
                FastlaneError(
                    "the local broker was opened before this process was forked\n"
                    "    mend: let each process open its own: `async with app.resources():` after the fork"
                )
            )
        else:
            self._jobs.put(_Job(operation, argument, durable, future))
        return future

    async def close(self) -> None:
        """What was submitted is done first. Waits, for `CLOSE_PATIENCE` seconds at most."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.wait([self._ended], timeout=CLOSE_PATIENCE)

    def _run(self) -> None:
        try:
            while self._round():
                pass
        finally:
            if self._store is not None:
                self._store.close()
            self._tell(self._end)

    def _round(self) -> bool:
        """Wait for work, and do all that is there. False: that was the end."""
        goes_on = True
        jobs: list[_Job] = []
        job = self._jobs.get()
        while True:
            if job is None:
                goes_on = False
                break
            jobs.append(job)
            # PERF: to ask first; `queue.Empty` costs 0.5 µs. Nobody else takes any.
            if len(jobs) == GROUP or self._jobs.empty():
                break
            job = self._jobs.get()
        if jobs:
            try:
                self._serve(jobs)
            except Exception as error:  # a mistake of ours: nobody may wait for ever, and the next are served
                for job in jobs:
                    job.error = error
            self._tell(_answer, jobs)
            if self._answered is not None:
                try:
                    self._answered()
                except Exception:
                    logger.exception("a mistake after a commit of the local broker")
        return goes_on

    def _serve(self, jobs: list[_Job]) -> None:
        try:
            if self._store is None:
                self._store = Store(self._options)
            self._store.look()
        except Exception as error:
            for job in jobs:
                job.error = error
            return
        store = self._store
        writing = [job for job in jobs if not self._is_ready(store, job)]
        if writing and not self._commit(store, writing):
            # Something about one of them: each alone, so that nobody pays for another.
            for job in writing:
                self._commit(store, [job])

    def _is_ready(self, store: Store, job: _Job) -> bool:
        ready = job.operation.ready
        if ready is None:
            return False
        try:
            job.result = store.patiently(lambda: ready(store, job.argument))
        except Exception as error:
            job.error = self._translated(error)
            return True
        return job.result is not None

    def _commit(self, store: Store, jobs: list[_Job]) -> bool:
        """One transaction. False: nothing was done, and each should be tried alone."""
        groups: dict[Operation[Any, Any], list[_Job]] = {}
        durable = False
        for job in jobs:
            durable = durable or job.durable
            groups.setdefault(job.operation, []).append(job)
        try:
            store.begin(durable=durable)
            for operation, group in groups.items():
                results = operation.run(store, [job.argument for job in group])
                for job, result in zip(group, results, strict=True):
                    job.result = result
            store.commit()
        except BaseException as error:
            store.rollback()
            if not isinstance(error, Exception):
                raise
            fault = self._translated(error)
            if len(jobs) > 1 and not isinstance(fault, FastlaneError):
                return False
            for job in jobs:
                job.error = fault
        else:
            self._committed(store.touched)
        return True

    def _translated(self, error: Exception) -> Exception:
        return translated(error, self._options.path) if isinstance(error, sqlite3.Error) else error

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _answer(jobs: list[_Job]) -> None:
    for job in jobs:
        future = job.future
        if future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)

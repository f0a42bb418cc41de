"""Whether this worker should get requests: the application's own checks, each with a bound."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastlane.compiler.threads import WorkerThreads

__all__ = ["Readiness"]

CHECK_SECONDS = 3.0
"""What a check has; one that takes longer says no."""
FRESH_SECONDS = 1.0
"""For so long an answer holds: probes ask the checks no more often, however many there are."""
WATCH_SECONDS = 5.0
"""Between two looks of a worker whose supervisor is asked."""

logger = logging.getLogger("fastlane.server")


class Readiness:
    """One per worker. The checks run side by side, and never twice at once.

    Args:
        checks: ``check()``, async or plain: False or an exception is no. A plain one runs in a thread of its own.

    Attributes:
        is_stopping: the server ends, and takes connections only until others know.
    """

    def __init__(self, checks: Iterable[Callable[[], Any]] = ()) -> None:
        self.checks = [_Check(check) for check in checks]
        self.is_stopping = False
        self._running: asyncio.Task[str] | None = None
        self._reason = ""
        self._known_until = float("-inf")

    async def reason(self) -> str:
        """Why not; empty if the worker is ready."""
        if self.is_stopping:
            return "stopping"
        loop = asyncio.get_running_loop()
        if not self.checks or loop.time() < self._known_until:
            return self._reason
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        return await asyncio.shield(self._running)  # a client that goes away takes the answer from nobody else

    async def _run(self) -> str:
        passed = await asyncio.gather(*(check.passes() for check in self.checks))
        failed = [check.name for check, has_passed in zip(self.checks, passed, strict=True) if not has_passed]
        self._reason = ", ".join(failed)
        self._known_until = asyncio.get_running_loop().time() + FRESH_SECONDS
        return self._reason

    async def watch(self, refuse: Callable[[bool], None]) -> None:
        """Until cancelled, tell every few seconds whether the checks say no."""
        while True:
            refuse(bool(await self.reason()))
            await asyncio.sleep(WATCH_SECONDS)


class _Check:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._function = function
        # One thread: a call that never returns is found there by the next one, which is refused.
        self._threads = None if inspect.iscoroutinefunction(function) else WorkerThreads(1, 0)
        self._task: asyncio.Task[Any] | None = None
        self._trouble = ""

    async def passes(self) -> bool:
        """Run it, or wait for the run before this one if that has not ended; log what has changed."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._call())
        await asyncio.wait({self._task}, timeout=CHECK_SECONDS)
        trouble = self._trouble_of(self._task)
        if trouble and trouble != self._trouble:
            logger.warning("not ready: the check %s %s", self.name, trouble)
        elif self._trouble and not trouble:
            logger.info("the check %s passes again", self.name)
        self._trouble = trouble
        return not trouble

    def _trouble_of(self, task: asyncio.Task[Any]) -> str:
        if not task.done():
            task.cancel()
            return f"took more than {CHECK_SECONDS:g} s"
        if task.cancelled():
            return "was cancelled"
        error = task.exception()
        if error is not None:
            return f"failed: {error!r}"
        return "says no" if task.result() is False else ""

    async def _call(self) -> Any:
        result = await self._function() if self._threads is None else await self._threads.run(self._function)
        return await result if isinstance(result, Awaitable) else result

"""The app's lifespan, run by a test client through the ASGI lifespan protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastlane.lifespan import are_declared
from fastlane.middleware.failures import unhandled_errors

if TYPE_CHECKING:
    from fastlane.http.stream import Message, Receive, Scope, Send

__all__ = ["LifespanTask"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class LifespanTask:
    """Start-up and shutdown in one task, because cancel scopes and task groups must be left where they were entered.

    Attributes:
        loop: where it runs.
        state: what the application left for its requests; each gets a copy (asgi-lifespan 2.0).
    """

    __slots__ = ("_app", "_errors", "_replies", "_stopping", "_task", "loop", "state")

    def __init__(self, app: ASGIApplication) -> None:
        self.loop = asyncio.get_running_loop()
        self.state: dict[str, Any] = {}
        self._app = app
        self._errors: list[Exception] = []
        self._stopping = asyncio.Event()
        self._replies: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises what the start-up raised, as it was."""
        self._task = asyncio.create_task(self._run())
        await self._settle("lifespan.startup.complete")

    async def stop(self) -> None:
        """Raises what the shutdown raised, as it was."""
        self._stopping.set()
        await self._settle("lifespan.shutdown.complete")
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        unhandled_errors.set(self._errors)
        messages = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> Message:
            kind = next(messages)
            if kind == "lifespan.shutdown":
                try:
                    await self._stopping.wait()
                except asyncio.CancelledError:
                    # The test's loop ends without the client being closed: what was opened is closed all the same.
                    pass
            return {"type": kind}

        try:
            scope = {
                "type": "lifespan",
                "asgi": {"version": "3.0", "spec_version": "2.0"},
                "state": self.state,
                "extensions": surroundings(),
            }
            await self._app(scope, receive, self._replies.put)
        finally:
            await self._replies.put({"type": "end"})

    async def _settle(self, expected: str) -> None:
        reply = await self._replies.get()
        if reply["type"] == expected:
            return
        assert self._task is not None
        await self._task  # an application that raises instead of answering
        if self._errors:
            raise self._errors[0]
        raise RuntimeError(f"the application answered {reply['type']!r}: {reply.get('message', '')}")


def surroundings() -> dict[str, Any]:
    """What tells the app that this is a test: every declared resource is bound inside the process."""
    if not are_declared():
        return {}
    from fastlane.resources.surroundings import SCOPE_EXTENSION, Surroundings

    return {SCOPE_EXTENSION: Surroundings(mode="test", embedded=True)}

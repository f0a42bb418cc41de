"""The ASGI lifespan, with failures that say what and where."""

from __future__ import annotations

import asyncio
import traceback
from types import TracebackType
from typing import Any

from uvicorn.lifespan.on import LifespanOn, LifespanReceiveMessage

from fastlane.resources.host import HOST_EXTENSION, Host
from fastlane.resources.surroundings import SCOPE_EXTENSION
from fastlane.supervisor.failure import BootFailure

__all__ = ["Lifespan"]


class Lifespan(LifespanOn):
    """uvicorn's lifespan, but for ``auto``: an application that took ``lifespan.startup`` and then raised has failed.

    uvicorn takes that for an application without a lifespan, and serves it half started (uvicorn#1066). Only one that
    raises before it receives anything has none.
    """

    def __init__(self, config: Any, host: Host | None = None) -> None:
        super().__init__(config)
        self._host = host
        self.error: BaseException | None = None
        self._has_received = False
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application.

        Raises:
            BootFailure: with exit code 3, and the place in the user's code.
        """
        self._task = asyncio.get_running_loop().create_task(self.main())
        await self.receive_queue.put({"type": "lifespan.startup"})
        await self.startup_event.wait()
        if not self.startup_failed:
            return
        self.should_exit = True
        # An application that says "startup.failed" often raises the reason right after.
        await asyncio.wait({self._task}, timeout=1.0)
        raise BootFailure(f"the application did not start: {self._reason()}", 3)

    async def shutdown(self) -> None:
        """Tell the application that it ends, and wait until it agrees."""
        if self.error_occurred:
            return
        await self.receive_queue.put({"type": "lifespan.shutdown"})
        await self.shutdown_event.wait()
        if self.shutdown_failed:
            self.logger.error("the application's shutdown failed: %s", self._reason())

    async def receive(self) -> LifespanReceiveMessage:
        self._has_received = True
        return await super().receive()

    async def send(self, message: Any) -> None:
        if message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed") and message.get("message"):
            self._message = str(message["message"])
            message = {"type": message["type"]}  # uvicorn would log it at once, and each worker its own
        await super().send(message)

    _message = ""

    def _reason(self) -> str:
        if self.error is None:
            return self._message or "its lifespan said so, without a reason"
        frames = traceback.extract_tb(self.error.__traceback__)
        place = f"\n    at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        headline = traceback.format_exception_only(self.error)[-1].strip()
        return f"{headline}{place}\n\n{''.join(traceback.format_exception(self.error)).rstrip()}"

    async def main(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
            "state": self.state,
        }
        if self._host is not None:
            scope["extensions"] = {SCOPE_EXTENSION: self._host.surroundings, HOST_EXTENSION: self._host}
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except BaseException as error:
            self.error = error.with_traceback(_of_the_application(error.__traceback__))
            self.error_occurred = True
            if self.startup_event.is_set():
                self.shutdown_failed = True
            elif self.config.lifespan == "on" or self._has_received:
                self.startup_failed = True
            else:
                self.logger.debug("the application has no lifespan: %r", error)
        finally:
            self.startup_event.set()
            self.shutdown_event.set()


def _of_the_application(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is neither this module's nor uvicorn's."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in (
        "uvicorn",
        "fastlane",
    ):
        frames = frames.tb_next
    return frames

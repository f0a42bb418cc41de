"""Mounted ASGI applications, inside the app's native middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastlane.asgi import ScopeConnection, ScopeHead
from fastlane.endpoint import Endpoint
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.middleware.chain import wrap_endpoint
from fastlane.routing.automatic import asgi_endpoint

if TYPE_CHECKING:
    from fastlane.http.stream import Message, Receive, Scope, Send
    from fastlane.lifespan import Lifespan
    from fastlane.middleware.failures import FailureHandlers
    from fastlane.routing.route import Mount

__all__ = ["MountedResponse", "mount_endpoint"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class MountedResponse(Response[None]):
    """What a mounted application answers, as middleware sees it: status and headers now, the body as it comes.

    Headers may be changed; the body passes through unseen. Its ``body`` is therefore always empty.
    """

    __slots__ = ("_forwarding",)
    streams = True

    def __init__(self, forwarding: Forwarding, start: Message) -> None:
        super().__init__(None, start["status"])
        self.raw_headers[:] = [(bytes(name).lower(), bytes(value)) for name, value in start.get("headers", ())]
        self._forwarding = forwarding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.raw_headers})
        await self._forwarding.forward(send)
        if self.background is not None:
            await self.background()


class Forwarding:
    """A mounted application that runs in a task while middleware looks at what it has sent so far."""

    __slots__ = ("_messages", "_task")

    def __init__(self, application: ASGIApplication, scope: Scope, receive: Receive) -> None:
        # One message at a time: the application waits in send() until its last one has been taken.
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
        self._task = asyncio.ensure_future(self._run(application, scope, receive))

    async def _run(self, application: ASGIApplication, scope: Scope, receive: Receive) -> None:
        try:
            await application(scope, receive, self._messages.put)
        finally:
            await self._messages.put(None)

    async def start(self) -> MountedResponse:
        """The response, once the application has begun it. Raises what the application raises before that."""
        message = await self._messages.get()
        if message is None:
            await self._task
            raise RuntimeError("the mounted application returned without an answer")
        if message["type"] != "http.response.start":
            raise RuntimeError(f"the mounted application sent {message['type']!r} before 'http.response.start'")
        return MountedResponse(self, message)

    async def forward(self, send: Send) -> None:
        """Send on everything after the start. Raises what the application raises."""
        while (message := await self._messages.get()) is not None:
            await send(message)
        await self._task

    async def close(self) -> None:
        """End the application, if nobody wants its answer."""
        while not self._task.done():
            self._task.cancel()
            if self._messages.full():
                self._messages.get_nowait()
            await asyncio.wait((self._task,), timeout=1)


def mount_endpoint(mount: Mount, lifespan: Lifespan, failures: FailureHandlers) -> Endpoint:
    """The endpoint of a mount: an ASGI application that finds ``root_path`` extended by the mount's path."""
    application = mount.application
    path = mount.path

    def below(scope: Scope) -> Scope:
        # The path stays whole: it includes the root (asgi-http "root_path").
        return {**scope, "root_path": scope.get("root_path", "").rstrip("/") + path}

    if not mount.middleware:

        async def pass_through(scope: Scope, receive: Receive, send: Send) -> None:
            await application(below(scope), receive, send)

        return asgi_endpoint(pass_through, mount)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(below(scope), receive, send)
            return
        started: list[Forwarding] = []

        async def forward(request: Request) -> Response[Any]:
            if started:
                # Its first run has read the body, and a second one would wait for it in vain.
                raise RuntimeError("call_next() was called twice: a mounted application answers a request once")
            started.append(Forwarding(application, below(scope), receive))
            return await started[-1].start()

        endpoint = wrap_endpoint(Endpoint(forward, suspends=True, route=mount), mount.middleware, failures)
        context = lifespan.within(scope.get("state")).context
        request = Request(ScopeHead(scope), (), b"", ScopeConnection(scope, receive), endpoint, context)
        try:
            response: Any = await endpoint.call(request)  # type: ignore[misc]  # a wrapped call is a coroutine
            await response(scope, receive, send)
        finally:
            for forwarding in started:
                await forwarding.close()

    return asgi_endpoint(wrapped, mount)

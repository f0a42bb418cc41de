"""What lives as long as the app serves: the object of the user's ``lifespan``, and app-scoped dependencies."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from fastlane.compiler import Singletons, open_singletons
from fastlane.errors import CompileError, ConfigurationError
from fastlane.middleware.failures import unhandled_errors
from fastlane.routing.route import handler_place

if TYPE_CHECKING:
    from fastlane.app import App
    from fastlane.http.stream import Receive, Scope, Send
    from fastlane.tenancy import Tenancy

__all__ = ["Lifespan", "LifespanFunction", "RequestContext", "are_declared"]

LifespanFunction: TypeAlias = Callable[..., AbstractAsyncContextManager[Any] | AsyncIterator[Any]]
"""``lifespan(app)`` or ``lifespan()``: an async context manager, or an async generator function with one ``yield``."""

logger = logging.getLogger("fastlane.error")


class RequestContext:
    """What every request of an app has in common. One per app, for as long as the app lives; and one more for each
    further lifespan at the same time, as tests have them.

    Attributes:
        app: the app.
        state: what the lifespan yielded; None before it and after it.
        singletons: the values of app-scoped dependencies, by function.
    """

    __slots__ = ("app", "singletons", "state")

    def __init__(self, app: App) -> None:
        self.app = app
        self.state: Any = None
        self.singletons = Singletons()


class Lifespan:
    """Starts and stops what an app needs while it serves.

    Several servers, or test clients, may run the same app at the same time, each on a loop of its own. The first one
    has the app's own context. The others find theirs by the state that ASGI hands on from lifespan to requests
    (asgi-lifespan 2.0 "Lifespan State").

    Args:
        app: whose routes it opens resources for.
        function: the user's, or None.
        context: is filled with what the requests need.

    Raises:
        CompileError: ``function`` can't be one.
    """

    __slots__ = (
        "_enter",
        "_function",
        "_key",
        "_opened",
        "_resources",
        "_served",
        "_stack",
        "app",
        "context",
        "running",
    )

    def __init__(self, app: App, function: LifespanFunction | None, context: RequestContext) -> None:
        self.app = app
        self.context = context
        self.running = False
        self._function = function
        self._enter = None if function is None else entrance(function)
        # An app and another one that is mounted in it share one state.
        self._key = f"fastlane.lifespan.{id(app)}"
        self._served = False
        self._stack = AsyncExitStack()
        self._resources = AsyncExitStack()  # the app-scoped dependencies, which tests open anew
        self._opened: dict[Callable[..., Any], Callable[..., Any]] = {}

    def within(self, state: Mapping[str, Any] | None) -> Lifespan:
        """The lifespan that a scope with this state belongs to."""
        return state.get(self._key, self) if state else self

    async def start(self, scope: Scope | None = None) -> None:
        """Freeze the app, bind the declared resources, enter the lifespan, open the app-scoped dependencies, begin to
        consume and to schedule. What fails undoes what succeeded.

        Args:
            scope: of the ASGI lifespan, where there is one: the server may say there how the process was started.
        """
        if self.running:
            raise RuntimeError("the lifespan of this app is running already")
        context = self.context
        self.app.freeze()
        try:
            async with AsyncExitStack() as stack:
                tenancy = await _bind(scope or {}, stack)
                if self._enter is not None:
                    context.state = await stack.enter_async_context(self._enter(self.app))
                stack.push_async_callback(self._close_resources)
                await self._open_resources()
                if tenancy is not None:
                    stack.push_async_callback(tenancy.drain)
                    await tenancy.start()
                self._stack = stack.pop_all()
        except BaseException:
            context.state = None
            raise
        self.running = True

    async def stop(self) -> None:
        """Close all of it in reverse order."""
        self.running = False
        try:
            await self._stack.aclose()
        finally:
            self.context.state = None

    async def refresh(self) -> None:
        """Open the app-scoped dependencies anew where tests have overridden one since they were opened."""
        if self.running and self._opened != resources_of(self.app):
            await self._close_resources()
            await self._open_resources()

    async def _open_resources(self) -> None:
        context = self.context
        async with AsyncExitStack() as stack:
            context.singletons = await open_singletons(self.app.environment, context.state, stack)
            self._resources = stack.pop_all()
        self._opened = resources_of(self.app)

    async def _close_resources(self) -> None:
        self.context.singletons = Singletons()
        await self._resources.aclose()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI lifespan protocol (asgi-lifespan 2.0).

        Without a ``state`` in the scope the app can have one lifespan at a time.
        """
        lifespan = self
        state: MutableMapping[str, Any] | None = scope.get("state")
        if state is not None:
            if self._served:
                lifespan = Lifespan(self.app, self._function, RequestContext(self.app))
            state[self._key] = lifespan
        lifespan._served = True
        try:
            await lifespan._converse(scope, receive, send)
        finally:
            lifespan._served = False

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start(scope)
        except BaseException as error:
            note(error, "the app does not start")
            reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            await send({"type": "lifespan.startup.failed", "message": reason})
            if not isinstance(error, Exception):
                raise
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await self.stop()
        except BaseException as error:
            note(error, "the app does not stop cleanly")
            await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
            if not isinstance(error, Exception):
                raise
            return
        await send({"type": "lifespan.shutdown.complete"})


def are_declared() -> bool:
    """Whether this process has a declared resource. PERF: where it has none, nothing of them is imported for it."""
    resources = sys.modules.get("fastlane.resources")
    return resources is not None and resources.are_declared()


async def _bind(scope: Scope, stack: AsyncExitStack) -> Tenancy | None:
    """Put something behind every declared resource until the stack ends. Imports nothing where none is declared."""
    if not are_declared():
        return None
    from fastlane.tenancy import Tenancy, host_of

    tenancy = await Tenancy.begin(host_of(scope))
    if tenancy is not None:
        stack.push_async_callback(tenancy.end)
    return tenancy


def note(error: BaseException, text: str) -> None:
    """Log what went wrong, and let a test client know."""
    if not isinstance(error, ConfigurationError):  # whose text says all: the server logs that, and no traceback helps
        logger.error(text, exc_info=error)
    unhandled = unhandled_errors.get()
    if unhandled is not None and isinstance(error, Exception):
        unhandled.append(error)


def resources_of(app: App) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The app-scoped dependencies of the app as it is compiled now, and what is called for each."""
    return {key: call.function for key, call in app.environment.singletons.items()}


def entrance(function: LifespanFunction) -> Callable[[App], AbstractAsyncContextManager[Any]]:
    """The user's function as one that takes the app and answers an async context manager. Raises CompileError."""
    place = handler_place(function)
    if inspect.iscoroutinefunction(function) or not callable(function):
        raise CompileError(
            "lifespan must be an async context manager", mend="write @asynccontextmanager above it", **place
        )
    manager: Callable[..., Any] = asynccontextmanager(function) if inspect.isasyncgenfunction(function) else function
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return lambda app: manager()
    return lambda app: manager(app)

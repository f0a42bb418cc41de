"""The application: routes, what is around them, and the table that they are frozen into."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastlane import asgi
from fastlane.compiler import Environment, UnresolvedName, WorkerThreads, compile_endpoint, read_handler
from fastlane.errors import CompileError
from fastlane.lifespan import Lifespan, RequestContext, are_declared
from fastlane.middleware.chain import wrap_endpoint
from fastlane.middleware.failures import FailureHandlers
from fastlane.mounting import mount_endpoint
from fastlane.overrides import Overrides
from fastlane.routing.conflicts import Claims
from fastlane.routing.route import Mount, Placement, Route, WebSocketRoute
from fastlane.routing.router import Router
from fastlane.routing.surroundings import settle
from fastlane.routing.table import RouteTable
from fastlane.routing.urls import UrlBuilder
from fastlane.websocket import websocket_binder, websocket_endpoint

if TYPE_CHECKING:
    from fastlane.compiler import Endpoint
    from fastlane.http.stream import Receive, Scope, Send
    from fastlane.lifespan import LifespanFunction
    from fastlane.middleware.chain import Middleware
    from fastlane.middleware.failures import ExceptionHandler
    from fastlane.params import Depends
    from fastlane.routing.template import PathTemplate

__all__ = ["App"]

DEFAULT_MAX_BODY: Final = 1024 * 1024

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]
Handler = TypeVar("Handler", bound=Callable[..., Any])

logger = logging.getLogger("fastlane")


class App(Router):
    """An application: a router that can be served, by ``fastlane serve`` or as ASGI by anything else.

    Args:
        title, version: for OpenAPI.
        lifespan: ``async with lifespan(app) as state`` around the time in which the app serves. Handlers get the
            object that it yields as ``Annotated[Resources, State()]``.
        dependencies: run for every route, before those of routers and routes.
        middleware: native middleware around everything, 404, 405 and 422 included; the first is the outermost.
        exception_handlers: by exception class, or by the status of an ``HTTPError``; see ``exception_handler``.
        max_body: bytes of a request body that is read whole; over it the answer is 413. None is unlimited.
        strict_content_type: a body without a Content-Type is a 415; False reads it as JSON.

    Routes are read where they are declared and compiled when the app freezes: at the end of loading, with the lifespan,
    or with the first request. After that nothing can be added.
    """

    _is_app = True

    def __init__(
        self,
        *,
        title: str = "",
        version: str = "0.1.0",
        lifespan: LifespanFunction | None = None,
        dependencies: Sequence[Depends] = (),
        middleware: Sequence[Middleware] = (),
        exception_handlers: Mapping[type[Exception] | int, ExceptionHandler] | None = None,
        max_body: int | None = DEFAULT_MAX_BODY,
        strict_content_type: bool = True,
    ) -> None:
        super().__init__(dependencies=dependencies, middleware=middleware)
        self.title = title
        self.version = version
        self.max_body = max_body
        self.strict_content_type = strict_content_type
        self.threads = WorkerThreads()
        self.context = RequestContext(self)
        self.lifespan = Lifespan(self, lifespan, self.context)
        self.dependency_overrides = Overrides(self._recompile)
        self.readiness_checks: tuple[Callable[[], Any], ...] = ()
        self._failures = FailureHandlers()
        for key, handler in (exception_handlers or {}).items():
            self._failures.add(key, handler)
        self._asgi_middleware: tuple[tuple[Callable[..., ASGIApplication], dict[str, Any]], ...] = ()
        self._door: ASGIApplication | None = None
        self._claims = Claims()
        # What a router brought that can't be compiled, while errors are collected: it is reported once.
        self._left_out: set[tuple[Route | WebSocketRoute | Mount, str]] = set()
        self._validate_responses = False
        self._environment: Environment | None = None
        self._table: RouteTable | None = None
        self._urls: UrlBuilder | None = None
        self._frozen = False
        self._freezing = threading.RLock()
        self._watchers: list[Callable[[], None]] = []

    # What is around the routes

    def exception_handler(self, key: type[Exception] | int) -> Callable[[Handler], Handler]:
        """Decorator: ``handler(request, error) -> Response``, async or plain, for a class or a status.

        The class nearest in the exception's MRO decides; the status of an ``HTTPError`` beats its class, and 500 also
        stands for every exception that has no handler by class. A handler for ``Exception`` gets no ``HTTPError``. A
        handler may raise an ``HTTPError`` instead. What a handler for ``Exception`` or 500 gets is logged before, so
        that no traceback is lost.
        """

        def decorate(handler: Handler) -> Handler:
            self._refuse_when_frozen()
            self._failures.add(key, handler)
            return handler

        return decorate

    def add_asgi_middleware(self, middleware: Callable[..., ASGIApplication], **options: Any) -> None:
        """Wrap the whole app in ``middleware(app, **options)``; the first one added is the outermost.

        Every request goes through ASGI from then on: the fast lane can't know what the middleware does.
        """
        self._refuse_when_frozen()
        if not callable(middleware):
            raise CompileError(
                f"{middleware!r} is no ASGI middleware", mend="give the class: add_asgi_middleware(GZip)"
            )
        self._asgi_middleware = (*self._asgi_middleware, (middleware, options))

    @property
    def asgi_only(self) -> bool:
        """There is ASGI middleware: a server must send everything through ``__call__``."""
        return bool(self._asgi_middleware)

    def readiness(self, check: Handler) -> Handler:
        """Decorator: ``check()``, async or plain, says whether this worker can serve: False or an exception is no."""
        self._refuse_when_frozen()
        self.readiness_checks = (*self.readiness_checks, check)
        return check

    def url_for(
        self, target: Callable[..., Any] | str, /, *, query: Mapping[str, Any] | None = None, **values: Any
    ) -> str:
        """The path of a handler (or a route's name), percent-encoded, with a query string if one is given.

        Example:
            >>> app.url_for(get_post, id=3, query={"page": 2})
            '/posts/3?page=2'

        Raises:
            ValueError: no such route, a variable that is missing, unknown or not what the handler's annotation says, or
                a query value that the handler does not read.
        """
        urls = self._urls
        if urls is None:
            urls = UrlBuilder(self.routes)
            if self._frozen:
                self._urls = urls
        return urls.build(target, values, query)

    # Declared resources

    @asynccontextmanager
    async def resources(self, config: str | None = None, *, embedded: bool = False) -> AsyncIterator[None]:
        """For scripts: ``async with app.resources():`` puts something behind every topic, database and secret.

        One can publish and query inside the block; no subscription and no cron job runs. What `fastlane exec` has
        prepared is used.

        Args:
            config: the configuration file; default: ``FASTLANE_CONFIG``, else ``fastlane.toml``.
            embedded: what has no configuration is embedded; default: what ``FASTLANE_EMBEDDED`` says.

        Raises:
            ConfigurationError: what is declared and what is configured do not fit.
        """
        from fastlane.tenancy import script

        async with script(config, embedded):
            yield

    async def settle(self) -> None:
        """For tests: wait until every message that can be handled has been, and nothing happens any more by itself."""
        if are_declared():
            from fastlane.tenancy import Tenancy

            await Tenancy.settle()

    # Freezing

    @property
    def routes(self) -> list[Route]:
        """Every HTTP route, with its full path and all that routers add to it, in the order of declaration."""
        return [declared for declared in self._everything() if isinstance(declared, Route)]

    @property
    def websocket_routes(self) -> list[WebSocketRoute]:
        """Every WebSocket route, likewise."""
        return [declared for declared in self._everything() if isinstance(declared, WebSocketRoute)]

    @property
    def mounts(self) -> list[Mount]:
        """Every mounted ASGI application, likewise."""
        return [declared for declared in self._everything() if isinstance(declared, Mount)]

    @property
    def table(self) -> RouteTable:
        """The compiled routes. Freezes the app."""
        table = self._table
        return table if table is not None else self.freeze()

    @property
    def environment(self) -> Environment:
        """What the routes were compiled with. Freezes the app."""
        self.freeze()
        assert self._environment is not None
        return self._environment

    def freeze(self) -> RouteTable:
        """Compile every route, unless that is done. Nothing can be added afterwards.

        Raises:
            CompileError: the first route that can't be compiled; ``fastlane check`` shows all.
        """
        with self._freezing:
            if self._table is None:
                environment = self._new_environment()
                table = self._compile(environment)
                self._environment, self._table, self._frozen = environment, table, True
                for declared in self._everything():
                    if not isinstance(declared, Mount):
                        settle(declared.localns)
            return self._table

    def compile_errors(self) -> list[CompileError]:
        """What is wrong with the routes, all of it. Freezes nothing."""
        errors: list[CompileError] = []
        environment = self._new_environment()
        for declared in self._everything():
            try:
                if isinstance(declared, Route):
                    compile_endpoint(declared.spec(strict_content_type=self.strict_content_type), environment)
                elif isinstance(declared, WebSocketRoute):
                    websocket_binder(declared)
            except CompileError as error:
                known = set(map(str, errors))  # a dependency is read for every route that has it
                errors += [mistake for mistake in error.each if str(mistake) not in known]
        return errors

    def validate_responses(self, enabled: bool) -> bool:
        """Check answers at every depth against the handler's annotation, as ``fastlane dev`` and tests do.

        Answers what it was before.
        """
        before = self._validate_responses
        if enabled != before:
            self._validate_responses = enabled
            self._recompile()
        return before

    def _new_environment(self) -> Environment:
        return Environment(
            max_body=self.max_body,
            overrides=dict(self.dependency_overrides),
            validate_responses=self._validate_responses,
            threads=self.threads,
        )

    def _compile(self, environment: Environment) -> RouteTable:
        failures = self._failures
        routes: list[tuple[PathTemplate, str, Endpoint]] = []
        mounts: list[tuple[PathTemplate, Endpoint]] = []
        websockets: list[tuple[PathTemplate, Endpoint]] = []
        for declared in self._everything():
            template = declared.template
            if isinstance(declared, Route):
                endpoint = compile_endpoint(declared.spec(strict_content_type=self.strict_content_type), environment)
                endpoint.route = declared
                endpoint = wrap_endpoint(endpoint, declared.middleware, failures)
                routes.extend((template, method, endpoint) for method in declared.methods)
            elif isinstance(declared, Mount):
                mounts.append((template, mount_endpoint(declared, self.lifespan, failures)))
            else:
                websockets.append((template, websocket_endpoint(declared)))
        return RouteTable(
            routes,
            mounts,
            websockets,
            failures=failures,
            wrap=lambda endpoint: wrap_endpoint(endpoint, self.middlewares, failures),
        )

    def _recompile(self) -> None:
        """Forget the compiled routes; they are compiled again when they are needed."""
        with self._freezing:
            self._table = self._environment = None
        for watcher in self._watchers:
            watcher()

    def watch_recompiling(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher()`` whenever compiled routes become stale, so that a door forgets what it knows of them."""
        self._watchers.append(watcher)

    def _everything(self) -> Iterator[Route | WebSocketRoute | Mount]:
        for declared, placement in self._walk(self._placement):
            if (declared, placement.prefix) not in self._left_out:
                yield declared.placed(placement)

    def _build_door(self) -> ASGIApplication:
        """The app inside its ASGI middleware, whose instances are made here, once."""
        self._frozen = True
        door: ASGIApplication = self._serve
        for middleware, options in reversed(self._asgi_middleware):
            door = middleware(door, **options)
        self._door = door
        if self._asgi_middleware:
            names = [getattr(middleware, "__name__", repr(middleware)) for middleware, _ in self._asgi_middleware]
            logger.info(
                "ASGI middleware (%s): every request takes the ASGI door instead of the fast lane", ", ".join(names)
            )
        return door

    # What a Router asks of an App

    @property
    def _placement(self) -> Placement:
        return Placement("", (self,))

    def _placements(self) -> Iterator[Placement]:
        yield self._placement

    def _is_frozen(self) -> bool:
        return self._frozen

    def _receive(self, declared: Route | WebSocketRoute | Mount) -> None:
        try:
            if isinstance(declared, Route):
                read_handler(declared.spec(strict_content_type=self.strict_content_type))
            elif isinstance(declared, WebSocketRoute):
                websocket_binder(declared)
        except UnresolvedName:
            pass  # tried again when the app freezes: the name may be defined further down
        else:
            if not isinstance(declared, Mount):
                settle(declared.localns)
        self._claims.claim(declared)

    def _withdraw(self, declared: Route | WebSocketRoute | Mount) -> None:
        self._claims.release(declared)

    def _leave_out(self, declared: Route | WebSocketRoute | Mount, placement: Placement) -> None:
        self._left_out.add((declared, placement.prefix))

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app as an ASGI application."""
        await (self._door or self._build_door())(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asgi.serve(self, scope, receive, send)

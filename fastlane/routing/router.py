"""Routers: routes with a prefix, tags, dependencies and middleware in common."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

from fastlane.errors import CompileError, FrozenAppError
from fastlane.middleware.chain import Middleware, check_middleware
from fastlane.routing.collecting import is_collected
from fastlane.routing.route import (
    Mount,
    Placement,
    Route,
    RouteOptions,
    WebSocketRoute,
    build_route,
    check_dependencies,
    handler_name,
    handler_place,
)
from fastlane.routing.surroundings import surroundings_of
from fastlane.routing.template import parse_template

if TYPE_CHECKING:
    from fastlane.params import Depends

__all__ = ["Router"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
MiddlewareFunction = TypeVar("MiddlewareFunction", bound=Callable[..., Awaitable[Any]])
Declared = Route | WebSocketRoute | Mount


# What people who come from FastAPI or Starlette try first.
_OURS = {
    "add_api_route": "route(path, methods=[…])(handler)",
    "add_exception_handler": "exception_handler(key)(handler)",
    "add_middleware": "middleware(function), or add_asgi_middleware(cls, …) for ASGI middleware",
    "add_route": "route(path, methods=[…])(handler)",
    "api_route": "route(path, methods=[…])",
    "include_router": "include(router)",
    "on_event": "App(lifespan=…)",
}


class Router:
    """A group of routes, to be included in an app or in another router.

    Args:
        prefix: put before every path; ``/users/{user_id}`` may have variables. Starts with a slash, ends without one.
        tags: for every route.
        dependencies: run for every route, before the route's own.
        middleware: around every route, inside that of the app; the first is the outermost.

    A route that is added after the router was included counts too. In every decorator ``**options`` are those of
    ``RouteOptions``; all of them return the handler as it is.

    Example:
        >>> posts = Router("/posts", tags=["posts"])
        >>> @posts.get("/{id}")
        ... async def get_post(id: int) -> Post: ...
        >>> app.include(posts)
    """

    _is_app: ClassVar[bool] = False

    def __init__(
        self,
        prefix: str = "",
        *,
        tags: Sequence[str] = (),
        dependencies: Sequence[Depends] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.prefix = check_prefix(prefix)
        self.tags = tuple(tags)
        self.dependencies = check_dependencies(dependencies)
        for function in middleware:
            check_middleware(function)
        self.middlewares: tuple[Middleware, ...] = tuple(middleware)
        self._declared: list[Declared | Inclusion] = []
        self._inclusions: list[Inclusion] = []  # where this router itself is included

    # Routes

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for GET, and for HEAD unless the path has a HEAD handler of its own."""
        return self._decorator(path, ("GET",), options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for POST."""
        return self._decorator(path, ("POST",), options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for PUT."""
        return self._decorator(path, ("PUT",), options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for PATCH."""
        return self._decorator(path, ("PATCH",), options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for DELETE."""
        return self._decorator(path, ("DELETE",), options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for HEAD, instead of the one that comes with GET."""
        return self._decorator(path, ("HEAD",), options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for OPTIONS, instead of the automatic 204 with ``Allow``."""
        return self._decorator(path, ("OPTIONS",), options)

    def route(self, path: str, methods: Sequence[str], **options: Unpack[RouteOptions]) -> Callable[[Handler], Handler]:
        """A handler for several methods."""
        return self._decorator(path, methods, options)

    def websocket(self, path: str, *, name: str | None = None) -> Callable[[Handler], Handler]:
        """A handler for WebSocket connections: ``async def handler(websocket: WebSocket) -> None``."""

        def decorate(handler: Handler) -> Handler:
            localns = surroundings_of(sys._getframe(1), handler)
            try:
                self._add(WebSocketRoute(path, handler, name or handler_name(handler), localns))
            except CompileError as error:
                if not is_collected(error):
                    raise
            return handler

        return decorate

    def mount(self, path: str, application: Callable[..., Awaitable[None]]) -> None:
        """An ASGI application for everything at and below ``path``, for which there is no route.

        It finds ``root_path`` extended by the path, as the ASGI specification wants. Native middleware is around it.
        """
        path = check_prefix(path.rstrip("/"))
        if parse_template(path or "/").names:
            raise CompileError(f"mount {path!r} has variables", mend="mount at a path without variables")
        self._add(Mount(path, application))

    def include(self, router: Router, prefix: str = "", *, tags: Sequence[str] = ()) -> None:
        """Put a router's routes below this one's prefix and ``prefix``."""
        if not isinstance(router, Router):
            raise CompileError(f"include({router!r}): this is no Router", mend="use mount() for ASGI applications")
        if router._is_app:
            raise CompileError("include: an App is no part of another", mend="make it a Router, or mount it")
        if router is self or router in self._ancestors():
            raise CompileError("include: the router would contain itself", mend="include it once, from outside")
        inclusion = Inclusion(self, router, check_prefix(prefix), tuple(tags))
        self._refuse_when_frozen()
        found = [entry for outer in self._placements() for entry in router._walk(inclusion.place(outer))]
        self._admit(found, collecting=True)
        router._inclusions.append(inclusion)
        self._declared.append(inclusion)

    def middleware(self, function: MiddlewareFunction) -> MiddlewareFunction:
        """Decorator: native middleware around every route, inside those that are there already."""
        check_middleware(function)
        self._refuse_when_frozen()
        self.middlewares = (*self.middlewares, function)
        return function

    if not TYPE_CHECKING:  # a type checker shall go on reporting what is not there

        def __getattr__(self, name: str) -> object:
            mend = f": write {_OURS[name]}" if name in _OURS else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r}{mend}", name=name, obj=self)

    # Inside

    def _decorator(self, path: str, methods: Sequence[str], options: RouteOptions) -> Callable[[Handler], Handler]:
        if not isinstance(path, str):
            raise CompileError(f"the path {path!r} is no text", mend='write `@app.get("/path")`', **handler_place(path))

        def decorate(handler: Handler) -> Handler:
            try:
                self._add(build_route(path, methods, handler, surroundings_of(sys._getframe(1), handler), options))
            except CompileError as error:
                if not is_collected(error):
                    raise
            return handler

        return decorate

    def _add(self, declared: Declared) -> None:
        self._refuse_when_frozen()
        # Checked here too, for a router that is not included yet: the error should point to its cause.
        parse_template(self.prefix + declared.path or "/", **handler_place(getattr(declared, "handler", None)))
        self._admit([(declared, placement) for placement in self._placements()])
        self._declared.append(declared)

    def _admit(self, found: list[tuple[Declared, Placement]], *, collecting: bool = False) -> None:
        """Show what is new to the apps that it is placed in. When one of them refuses a part, none keeps any of it.

        ``collecting``: where errors are collected, go on without the part.
        """
        admitted: list[tuple[Router, Declared]] = []
        for declared, placement in found:
            app, placed = placement.routers[0], declared.placed(placement)
            try:
                app._receive(placed)
            except CompileError as error:
                if collecting and is_collected(error):
                    app._leave_out(declared, placement)
                    continue
                for other, taken in admitted:
                    other._withdraw(taken)
                raise
            admitted.append((app, placed))

    def _receive(self, declared: Declared) -> None:
        raise NotImplementedError  # pragma: no cover - placements begin with an App

    def _withdraw(self, declared: Declared) -> None:
        raise NotImplementedError  # pragma: no cover - placements begin with an App

    def _leave_out(self, declared: Declared, placement: Placement) -> None:
        raise NotImplementedError  # pragma: no cover - placements begin with an App

    def _is_frozen(self) -> bool:
        return False

    def _refuse_when_frozen(self) -> None:
        for placement in self._placements():
            if placement.routers[0]._is_frozen():
                raise FrozenAppError("the app serves already: add routes and middleware before it starts")

    def _placements(self) -> Iterator[Placement]:
        """Everywhere that this router stands in an app; nowhere while it is not included."""
        for inclusion in self._inclusions:
            for outer in inclusion.outer._placements():
                yield inclusion.place(outer)

    def _ancestors(self) -> Iterator[Router]:
        for inclusion in self._inclusions:
            yield inclusion.outer
            yield from inclusion.outer._ancestors()

    def _walk(self, placement: Placement) -> Iterator[tuple[Declared, Placement]]:
        """All routes of this router and those below, in the order of their declaration, with their places."""
        for declared in self._declared:
            if isinstance(declared, Inclusion):
                yield from declared.router._walk(declared.place(placement))
            else:
                yield declared, placement


class Inclusion:
    """That one router is included in another."""

    __slots__ = ("outer", "prefix", "router", "tags")

    def __init__(self, outer: Router, router: Router, prefix: str, tags: tuple[str, ...]) -> None:
        self.outer = outer
        self.router = router
        self.prefix = prefix
        self.tags = tags

    def place(self, outer: Placement) -> Placement:
        """Where the inner router stands when the outer one stands there."""
        return Placement(
            outer.prefix + self.prefix + self.router.prefix,
            (*outer.routers, self.router),
            outer.tags + self.tags + self.router.tags,
        )


def check_prefix(prefix: str) -> str:
    """The prefix, if it can be put before a path that starts with a slash. Raises CompileError."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        mend = f"write {'/' + prefix.strip('/')!r}" if prefix.strip("/") else "leave it out"
        raise CompileError(f"prefix {prefix!r} must start with a slash and end without one", mend=mend)
    if prefix:
        parse_template(prefix)
    return prefix

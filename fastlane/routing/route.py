"""Routes as they were declared, before anything is compiled."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypedDict

from fastlane.compiler.mends import foreign_option
from fastlane.compiler.spec import UNSET, RouteSpec, Unset
from fastlane.errors import CompileError
from fastlane.middleware.chain import Middleware, check_middleware
from fastlane.params import Depends
from fastlane.routing.template import PathTemplate, parse_template

if TYPE_CHECKING:
    from fastlane.routing.router import Router

__all__ = [
    "Mount",
    "Placement",
    "Route",
    "RouteOptions",
    "WebSocketRoute",
    "check_dependencies",
    "handler_name",
    "handler_place",
]


class RouteOptions(TypedDict, total=False):
    """What a route's decorator takes beside the path.

    Keys:
        status: of a successful answer (default 200; 204 where the handler returns None).
        produces: ``"msgpack"`` where the route also answers MessagePack.
        tags, summary: for OpenAPI.
        dependencies: ``Depends(…)`` that run before the handler, their values unused.
        middleware: native middleware around this route alone, the first outermost.
        inline: a plain ``def`` handler that promises not to block, so that it needs no worker thread.
        max_body: bytes; None is unlimited (default: the app's).
        name: for ``url_for`` (default: the handler's name).
        strict_content_type: False reads a body without a Content-Type as JSON (default: the app's, True).
    """

    status: int | None
    produces: str | None
    tags: Sequence[str]
    summary: str | None
    dependencies: Sequence[Depends]
    middleware: Sequence[Middleware]
    inline: bool
    max_body: int | None
    name: str | None
    strict_content_type: bool


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a router stands in an app: what its routes get from everything around them.

    ``routers`` are the app and the routers down to this one. Their own dependencies and middleware are read when the
    app freezes, so that the order of declarations does not matter.
    """

    prefix: str
    routers: tuple[Router, ...]
    tags: tuple[str, ...] = ()

    @property
    def dependencies(self) -> tuple[Depends, ...]:
        return tuple(depends for router in self.routers for depends in router.dependencies)

    @property
    def middleware(self) -> tuple[Middleware, ...]:
        return tuple(middleware for router in self.routers for middleware in router.middlewares)


@dataclass(frozen=True, eq=False)
class Route:
    """A handler for a path and some methods.

    Attributes:
        path: the template; with every prefix once it is placed.
        methods: upper-case.
        handler: the decorated function.
        localns: the caller's locals, for annotations that name them.
        others: see ``RouteOptions``.
    """

    path: str
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    name: str
    localns: Mapping[str, object] = field(default_factory=dict, repr=False)
    status: int | None = None
    produces: str | None = None
    tags: tuple[str, ...] = ()
    summary: str | None = None
    dependencies: tuple[Depends, ...] = ()
    middleware: tuple[Middleware, ...] = ()
    inline: bool = False
    max_body: int | Unset | None = UNSET
    strict_content_type: bool | None = None

    @functools.cached_property
    def template(self) -> PathTemplate:
        """The parsed path. Raises CompileError."""
        return parse_template(self.path, **handler_place(self.handler))

    def placed(self, placement: Placement) -> Route:
        """The route as it stands in the app."""
        return dataclasses.replace(
            self,
            path=placement.prefix + self.path,
            tags=unique(placement.tags + self.tags),
            dependencies=placement.dependencies + self.dependencies,
            middleware=placement.middleware + self.middleware,
        )

    def spec(self, *, strict_content_type: bool) -> RouteSpec:
        """What the compiler reads. ``strict_content_type`` is the app's choice."""
        own = self.strict_content_type
        return RouteSpec(
            path=self.path,
            handler=self.handler,
            path_names=self.template.names,
            methods=self.methods,
            status=self.status,
            produces=self.produces,
            dependencies=self.dependencies,
            inline=self.inline,
            max_body=self.max_body,
            localns=self.localns,
            strict_content_type=strict_content_type if own is None else own,
        )


@dataclass(frozen=True, eq=False)
class WebSocketRoute:
    """A handler for WebSocket connections, ``async def handler(websocket)``."""

    path: str
    handler: Callable[..., Awaitable[None]]
    name: str
    localns: Mapping[str, object] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def template(self) -> PathTemplate:
        """The parsed path. Raises CompileError."""
        return parse_template(self.path, **handler_place(self.handler))

    def placed(self, placement: Placement) -> WebSocketRoute:
        return dataclasses.replace(self, path=placement.prefix + self.path)


@dataclass(frozen=True, eq=False)
class Mount:
    """An ASGI application for everything at and below a path, when no route of the app matches."""

    path: str
    application: Callable[..., Awaitable[None]]
    middleware: tuple[Middleware, ...] = ()

    @functools.cached_property
    def template(self) -> PathTemplate:
        """The parsed path. Raises CompileError."""
        return parse_template(self.path or "/")

    def placed(self, placement: Placement) -> Mount:
        return dataclasses.replace(self, path=placement.prefix + self.path, middleware=placement.middleware)


def build_route(
    path: str,
    methods: Sequence[str],
    handler: Callable[..., Any],
    localns: Mapping[str, object],
    options: RouteOptions,
) -> Route:
    """A route from what its decorator was given.

    Raises:
        CompileError: an option that nobody knows, with ours for those of other frameworks, or a value that is none.
    """
    place = handler_place(handler)
    unknown = set(options) - RouteOptions.__annotations__.keys()
    if unknown:
        foreign = foreign_option(sorted(unknown))
        name, mend = foreign or (min(unknown), f"the options are {', '.join(RouteOptions.__annotations__)}")
        raise CompileError(f"a route has no option {name!r}", mend=mend, **place)
    check_kinds(options, place)
    status = options.get("status")
    if status is not None and not 200 <= status <= 599:
        raise CompileError(f"status={status!r} is no status of an answer", mend="use 200 to 599", **place)
    cleaned = []
    for method in methods:
        if not method.isascii() or not method.replace("-", "").isalnum():
            raise CompileError(f"{method!r} is no method", mend="write methods as ['GET', 'POST']", **place)
        cleaned.append(method.upper())
    if not cleaned:
        raise CompileError("the route has no methods", mend="write methods=['GET', …]", **place)
    for middleware in options.get("middleware", ()):
        check_middleware(middleware)
    return Route(
        path=path,
        methods=unique(cleaned),
        handler=handler,
        name=options.get("name") or handler_name(handler),
        localns=localns,
        status=status,
        produces=options.get("produces"),
        tags=unique(options.get("tags", ())),
        summary=options.get("summary"),
        dependencies=check_dependencies(options.get("dependencies", ()), **place),
        middleware=tuple(options.get("middleware", ())),
        inline=options.get("inline", False),
        max_body=options.get("max_body", UNSET),
        strict_content_type=options.get("strict_content_type"),
    )


def check_kinds(options: RouteOptions, place: HandlerPlace) -> None:
    """Refuses an option of another type than ``RouteOptions`` says, as far as that would not be noticed at once.

    Raises:
        CompileError: one is.
    """
    for name, kinds, written in OPTION_KINDS:
        value = options.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise CompileError(f"{name}={value!r} is no {written[0]}", mend=f"write {name}={written[1]}", **place)


OPTION_KINDS: Final[tuple[tuple[str, tuple[type, ...], tuple[str, str]], ...]] = (
    ("status", (int,), ("number", "201")),
    ("tags", (list, tuple, set, frozenset), ("list", '["posts"]')),
    ("max_body", (int, Unset), ("number of bytes", "10 * 1024 * 1024")),
    ("name", (str,), ("text", '"list-posts"')),
    ("inline", (bool,), ("boolean", "True")),
    ("strict_content_type", (bool,), ("boolean", "False")),
    ("dependencies", (list, tuple), ("list", "[Depends(function)]")),
    ("middleware", (list, tuple), ("list", "[function]")),
)


def check_dependencies(
    dependencies: Sequence[Depends], *, handler: str = "", file: str = "", line: int = 0
) -> tuple[Depends, ...]:
    """The dependencies, if they are.

    Raises:
        CompileError: one is no ``Depends``; the mend shows it wrapped.
    """
    for depends in dependencies:
        if not isinstance(depends, Depends):
            name = getattr(depends, "__qualname__", repr(depends))
            raise CompileError(
                f"dependencies: {name} is no Depends",
                mend=f"write Depends({name})",
                handler=handler,
                file=file,
                line=line,
            )
    return tuple(dependencies)


class HandlerPlace(TypedDict):
    """Where an error about a handler points to, as ``CompileError`` takes it."""

    handler: str
    file: str
    line: int


def handler_place(handler: object) -> HandlerPlace:
    """Name, file and line of a function; what is no plain function has a name alone."""
    function = underlying(handler)
    name = getattr(function, "__qualname__", None) or repr(handler)
    code = getattr(function, "__code__", None)
    if code is None:
        return {"handler": name, "file": "", "line": 0}
    return {"handler": name, "file": code.co_filename, "line": code.co_firstlineno}


def handler_name(handler: object) -> str:
    """The default name of a route: that of the function, or of the class where the handler is an object."""
    return str(getattr(underlying(handler), "__name__", None) or type(handler).__name__)


def underlying(handler: object) -> object:
    """The function inside a partial and inside what ``functools.wraps`` has wrapped."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.unwrap(handler) if callable(handler) else handler


def unique(items: Sequence[str]) -> tuple[str, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(items))

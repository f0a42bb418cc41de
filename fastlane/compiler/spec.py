"""What goes into the compiler: a route as its decorator wrote it, and what the app knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastlane.compiler.threads import WorkerThreads
from fastlane.params import Depends

if TYPE_CHECKING:
    from fastlane.compiler.plan import Call

__all__ = ["DEFAULT_MAX_BODY", "UNSET", "Environment", "RouteSpec", "Unset"]


class Unset(Enum):
    """The type of ``UNSET``: an option that was not given, where None means something else."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET

DEFAULT_MAX_BODY: Final = 1024 * 1024
"""Bytes of a buffered body (REQUESTS 5)."""


class RouteSpec(msgspec.Struct):
    """One route, as its decorator wrote it.

    Attributes:
        path: the template with every prefix, ``/posts/{id}``; ``{rest:path}`` is a tail.
        path_names: its variables, in the order of the template and of ``Request.values``.
        methods: upper-case.
        handler: the decorated function.
        status: of a successful answer; None is the encoder's default (200, or 204 for None).
        produces: ``"msgpack"`` where the route also answers MessagePack.
        dependencies: those of the app, the routers and the route, in that order: called, their values unused.
        inline: a plain ``def`` handler that promises not to block.
        max_body: bytes; None is unlimited, UNSET the app's default.
        localns: the locals of the function that decorated, for annotations that name them.
        strict_content_type: a body without, or with a wrong, Content-Type is a 415.
    """

    path: str
    handler: Callable[..., Any]
    path_names: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET",)
    status: int | None = None
    produces: str | None = None
    dependencies: tuple[Depends, ...] = ()
    inline: bool = False
    max_body: int | Unset | None = UNSET
    localns: Mapping[str, object] = msgspec.field(default_factory=dict)
    strict_content_type: bool = True


class Environment(msgspec.Struct):
    """What all routes of an app share when they are compiled.

    Attributes:
        max_body: bytes of a buffered body; None is unlimited.
        overrides: what tests call instead of a dependency.
        validate_responses: ``dev`` and tests check answers at every depth; production the classes at the top.
        threads: where plain ``def`` handlers and dependencies run.
        singletons: every app-scoped dependency that a compiled route asks for, by its function, innermost first.
            ``compile_endpoint`` adds to it; ``open_singletons`` calls them at start-up.
    """

    max_body: int | None = DEFAULT_MAX_BODY
    overrides: Mapping[Callable[..., Any], Callable[..., Any]] = msgspec.field(default_factory=dict)
    validate_responses: bool = False
    threads: WorkerThreads = msgspec.field(default_factory=WorkerThreads)
    singletons: dict[Callable[..., Any], Call] = msgspec.field(default_factory=dict)

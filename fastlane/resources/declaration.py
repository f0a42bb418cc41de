"""A resource: declared at import, inert, and bound at boot to what stands behind it.

declare (import) ─► bind (boot: configuration chooses) ─► use (per event loop, after the fork) ─► unbind
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import sys
import threading
import weakref
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from fastlane.errors import CompileError, ConfigurationError, FastlaneError

__all__ = [
    "Kind",
    "NotBound",
    "Place",
    "Resource",
    "check_name",
    "declared_kinds",
    "declared_resources",
    "living_resources",
]

Kind: TypeAlias = Literal["topic", "database", "secret", "cron job"]
Binding = TypeVar("Binding")
R = TypeVar("R", bound="Resource[Any]")

_numbers = itertools.count()
_declared: weakref.WeakSet[Resource[Any]] = weakref.WeakSet()
_guard = threading.Lock()
"""Apps start, and modules are imported, in threads, too: a set that changes while it is looked through raises."""


def _renew_in_child() -> None:
    global _guard
    _guard = threading.Lock()  # a thread that the fork did not copy may have held it


os.register_at_fork(after_in_child=_renew_in_child)


class NotBound(FastlaneError, RuntimeError):
    """A resource was used where nothing stands behind it: outside a running app, and outside ``app.resources()``.

    Attributes:
        kind, name: of the resource.
    """

    def __init__(self, kind: Kind, name: str, *, elsewhere: bool = False) -> None:
        """``elsewhere``: it is bound on another event loop."""
        self.kind = kind
        self.name = name
        if elsewhere:
            told = "is not bound here, but on another event loop.\n    mend: use it in an `async def` of the app: "
            told += "a plain def runs in a thread, where `asyncio.run` makes an event loop of its own; "
            told += "where several test clients run, inside one of their apps"
        else:
            told = "is not bound: nothing has decided yet what stands behind it.\n"
            told += (
                "    mend: use it while the app runs, under a server that runs the ASGI lifespan (not --lifespan off); "
            )
            told += "in a script inside `async with app.resources():`; in a test inside `with TestClient(app):`"
        super().__init__(f"{kind} {name!r} {told}")


class Place(NamedTuple):
    """Where something was declared."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def of_caller(cls, depth: int = 2) -> Place:
        """The place ``depth`` frames above the caller of this: 1 is the function that calls, 2 is who called that."""
        frame = sys._getframe(depth)
        return cls(frame.f_code.co_filename, frame.f_lineno)


class Resource(Generic[Binding]):
    """One declared resource. Declaring opens nothing.

    The same name from the same place replaces (a reloaded module); any other second declaration of a name is found when
    the app binds, by `declared_resources`. The registry holds resources weakly: one that nobody can reach is not
    there.

    Attributes:
        kind: what it is, for people.
        name: unique among the resources of its kind.
        place: where it was declared.
        number: grows with each declaration.
    """

    kind: ClassVar[Kind]
    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
    longest: ClassVar[int] = 30
    described: ClassVar[str] = "lower-case words joined by hyphens, such as user-signups, at most 30 characters"

    def __init__(self, name: str, place: Place) -> None:
        check_name(type(self), name, place)
        self.name = name
        self.place = place
        self.number = next(_numbers)
        # By event loop: several test clients, each on a loop of its own, may run the same app at the same time.
        self._bindings: dict[asyncio.AbstractEventLoop, Binding] = {}
        with _guard:
            _declared.add(self)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r} from {self.place}>"

    @property
    def binding(self) -> Binding:
        """What stands behind it on the running event loop.

        Raises:
            NotBound: nothing does.
        """
        # PERF: 55 ns, measured on 3.11; a context variable costs the same and is lost in threads and callbacks.
        try:
            return self._bindings[asyncio.get_running_loop()]
        except (KeyError, RuntimeError):
            raise NotBound(self.kind, self.name, elsewhere=bool(self._bindings)) from None

    def bind(self, binding: Binding, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Put ``binding`` behind the resource on ``loop``, by default the running one."""
        self._bindings[loop or asyncio.get_running_loop()] = binding

    def unbind(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Undo `bind`. Does nothing where nothing is bound."""
        self._bindings.pop(loop or asyncio.get_running_loop(), None)


def check_name(kind: type[Resource[Any]], name: object, place: Place) -> None:
    """Raise CompileError where ``name`` can't name a resource of the class ``kind``."""
    if not isinstance(name, str) or not kind.pattern.fullmatch(name) or len(name) > kind.longest:
        raise CompileError(
            f"{name!r} is no name for a {kind.kind}", mend=f"use {kind.described}", file=place.file, line=place.line
        )


def declared_kinds() -> set[Kind]:
    """The kinds of which there is a living resource."""
    return {resource.kind for resource in _all()}


def living_resources() -> list[Resource[Any]]:
    """Every living resource of every kind, in the order of declaration."""
    return sorted(_all(), key=lambda resource: resource.number)


def declared_resources(kind: type[R]) -> dict[str, R]:
    """Every living resource of a class, by name, in the order of names.

    Raises:
        ConfigurationError: a name was declared twice, in two places; all such names are in the text.
    """
    if _doubles(kind):
        gc.collect()  # what a finished test declared may wait, in a cycle, for the collector
    doubles = _doubles(kind)
    if doubles:
        mend = "    mend: a name stands for one resource: import it where it is needed, or rename one of them"
        raise ConfigurationError("\n".join([*doubles, mend]))
    return {resource.name: resource for resource in _living(kind)}


def _living(kind: type[R]) -> list[R]:
    """In the order of names; of one name the newest last, which counts."""
    return sorted((r for r in _all() if isinstance(r, kind)), key=lambda r: (r.name, r.number))


def _all() -> list[Resource[Any]]:
    with _guard:
        return list(_declared)


def _doubles(kind: type[R]) -> list[str]:
    living = _living(kind)
    return [
        f"{kind.kind} {one.name!r} is declared twice: at {one.place} and at {other.place}"
        for one, other in itertools.pairwise(living)
        if one.name == other.name and one.place != other.place
    ]

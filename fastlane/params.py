"""Markers that say where a parameter comes from, written inside ``Annotated``.

A marker is data: it does nothing by itself and is read once, when the handler is compiled (DESIGN 3).

    async def search(q: str, x_token: Annotated[str, Header()], page: Annotated[int, Query("p")] = 1) -> Page: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastlane.errors import CompileError

__all__ = ["Body", "Cookie", "Depends", "Form", "Header", "Marker", "Path", "Query", "Source", "State"]

Source = Literal["path", "query", "header", "cookie", "form", "body"]


# What msgspec.Meta takes of it.
_META = (
    *("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length"),
    *("title", "description", "examples"),
)


class Marker:
    """What all markers have in common: a source and, where it has one, the name on the wire."""

    __slots__ = ("name",)
    source: Source

    def __init__(self, name: str | None = None, **foreign: object) -> None:
        if foreign or not isinstance(name, (str, type(None))):
            raise _foreign(type(self).__name__, name, foreign)
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.name is None else repr(self.name)})"


class Path(Marker):
    """A variable of the path template. ``Path("post-id")`` when the template's name is not the parameter's."""

    __slots__ = ()
    source: Source = "path"


class Query(Marker):
    """A value of the query string, or all of it for a structure. ``Query("from")`` where that is its name there."""

    __slots__ = ()
    source: Source = "query"


class Header(Marker):
    """A request header, by default the parameter's name with ``-`` for ``_``. A list takes one item a line."""

    __slots__ = ()
    source: Source = "header"


class Cookie(Marker):
    """A cookie (RFC 6265 5.4)."""

    __slots__ = ()
    source: Source = "cookie"


class Form(Marker):
    """A field of an ``application/x-www-form-urlencoded`` body, or all of it for a structure."""

    __slots__ = ()
    source: Source = "form"


class Body(Marker):
    """The request body: JSON or MessagePack by its Content-Type; for ``bytes`` the raw octets, whatever their type.

    Args:
        media_type: what Content-Type a raw ``bytes`` body must have; None takes any.
        max_size: bytes, instead of the app's ``max_body``.
    """

    __slots__ = ("max_size", "media_type")
    source: Source = "body"

    def __init__(self, *, media_type: str | None = None, max_size: int | None = None, **foreign: object) -> None:
        super().__init__(None, **foreign)
        self.media_type = media_type
        self.max_size = max_size

    def __repr__(self) -> str:
        return "Body()"


class Depends:
    """The result of calling ``function``, whose own parameters are bound like a handler's.

    Args:
        function: async or plain, a generator with one ``yield`` (closed after the answer is encoded), or a class.
        scope: ``"request"``: once per request, however many ask for it; ``"app"``: once, at start-up.
        inline: a plain ``def`` that promises not to block, so that it needs no worker thread.
    """

    __slots__ = ("function", "inline", "scope")

    def __init__(
        self,
        function: Callable[..., object] | None = None,
        *,
        scope: Literal["request", "app"] = "request",
        inline: bool = False,
        **foreign: object,
    ) -> None:
        if foreign:
            raise CompileError(
                f"Depends() has no {next(iter(foreign))}=",
                mend="leave it out: a dependency is called once a request, however many ask for it",
            )
        if function is None:
            raise CompileError(
                "Depends() has no function", mend="write `Annotated[Settings, Depends(get_settings)]`, or its class"
            )
        self.function = function
        self.scope = scope
        self.inline = inline

    def __repr__(self) -> str:
        return f"Depends({getattr(self.function, '__qualname__', self.function)})"


class State:
    """The object that the app's ``lifespan`` yielded, found by its type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "State()"


def _foreign(marker: str, name: object, options: dict[str, object]) -> CompileError:
    """The error for what other frameworks' markers take, and ours do not."""
    if name is ...:
        return CompileError(
            f"{marker}(...): a marker has a name, and no default",
            mend=f"write `x: Annotated[int, {marker}()]`: what has no default is required",
        )
    if not isinstance(name, (str, type(None))):
        return CompileError(
            f"{marker}({name!r}): a marker has a name, and no default",
            mend=f"write the default behind the parameter: `x: Annotated[int, {marker}()] = {name!r}`",
        )
    option = next(iter(options))
    mends = dict.fromkeys(_META, f"write `Annotated[int, Meta({option}=…), {marker}()]`, with `msgspec.Meta`") | {
        "regex": f"write `Annotated[str, Meta(pattern=…), {marker}()]`, with `msgspec.Meta`",
        "convert_underscores": f'write the name as it is on the wire: `{marker}("x_name")`',
        "alias": f'write `{marker}("name")`',
        "default": f"write the default behind the parameter: `x: Annotated[int, {marker}()] = …`",
        "embed": "wrap the value in a Struct with one field",
    }
    return CompileError(f"{marker}() has no {option}=", mend=mends.get(option, "leave it out"))

"""What people write who come from another framework, and what to write here (REQUESTS 6)."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final, get_origin

from fastlane.compiler.annotations import Annotation, Parameter, Place, describe
from fastlane.params import Depends, Marker, State

__all__ = ["OPTION_MENDS", "check_parameter", "check_type", "foreign_option"]

OPTION_MENDS: Final = {
    "status_code": "write `status=`",
    "response_model": "annotate the handler's return type",
    "response_class": "annotate the handler with `-> PlainTextResponse`, or whichever class it returns",
    "methods": "use `app.route(path, methods=…)`",
    "media_type": "write `produces=`, or return a Response",
}
"""Keyword arguments of other frameworks' route decorators, and ours."""

_FOREIGN_ROOTS: Final = ("fastapi", "starlette", "litestar", "pydantic", "blacksheep", "sanic")


def foreign_option(options: Iterable[str]) -> tuple[str, str] | None:
    """The first keyword argument that is another framework's, with its mend; None where there is none."""
    return next(((name, OPTION_MENDS[name]) for name in options if name in OPTION_MENDS), None)


def check_parameter(parameter: Parameter, parts: Annotation, place: Place) -> None:
    """Refuses a marker that is a default value, and markers and types of other frameworks.

    Raises:
        CompileError: it is one.
    """
    default = parameter.default
    written = describe(parts.type)
    is_marker_class = isinstance(default, type) and issubclass(default, (Marker, Depends, State))
    if isinstance(default, (Marker, Depends, State)) or is_marker_class:
        text = f"{default.__name__}()" if isinstance(default, type) else repr(default)
        raise place.error(
            f"the marker {text} is its default value",
            f"write `{parameter.name}: Annotated[{written}, {text}]`",
            parameter.name,
        )
    if _root(type(default)) in _FOREIGN_ROOTS:
        name = type(default).__name__
        raise place.error(
            f"its default is a {_root(type(default))} object, {name}",
            f"write `{parameter.name}: Annotated[{written}, {_ours(name)}]`, with bounds in `msgspec.Meta`",
            parameter.name,
        )
    check_type(parts.type, place, parameter.name)
    for extra in getattr(parameter.annotation, "__metadata__", ()):
        if extra is Depends:
            raise place.error(
                "Depends has no function", f"write `Annotated[{written}, Depends(function)]`", parameter.name
            )
        if _root(type(extra)) in _FOREIGN_ROOTS:
            name = type(extra).__name__
            raise place.error(
                f"its annotation has a {_root(type(extra))} object, {name}",
                f"import it from fastlane: `Annotated[{written}, {_ours(name)}]`, with bounds in `msgspec.Meta`",
                parameter.name,
            )
    if _root(parts.type) in ("fastapi", "starlette") and isinstance(parts.type, type):
        name = parts.type.__name__
        mend = {
            "Request": "write `from fastlane import Request`",
            "BackgroundTasks": "write `from fastlane import BackgroundTasks`",
            "Response": "return a `fastlane.Response` instead of changing an injected one",
        }.get(name, "use fastlane's own type")
        raise place.error(f"{parts.type.__module__}.{name} is another framework's type", mend, parameter.name)


def check_type(annotation: Any, place: Place, parameter: str | None) -> None:
    """Refuses a module or a value in the place of a type; without a ``parameter`` it is the return type.

    Raises:
        CompileError: it is one.
    """
    whose = "its annotation" if parameter is not None else "its return type"
    written = f"{parameter}: " if parameter is not None else "-> "
    if isinstance(annotation, ModuleType):
        name = annotation.__name__
        raise place.error(
            f"{whose} is the module {name}, no type",
            f"write the class that is meant, as in `{written}{name}.{name.rpartition('.')[2]}`",
            parameter,
        )
    if (
        annotation is not None
        and not isinstance(annotation, type)
        and get_origin(annotation) is None
        and not callable(annotation)
    ):
        raise place.error(
            f"{whose} is the value {annotation!r}, no type",
            f"write its type: `{written}{type(annotation).__qualname__}`",
            parameter,
        )


def _root(of: Any) -> str:
    return str(getattr(of, "__module__", "")).partition(".")[0]


def _ours(name: str) -> str:
    return f"{name}()" if name in ("Path", "Query", "Header", "Cookie", "Form", "Body") else f"{name}(…)"

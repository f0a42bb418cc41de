"""fastlane: annotated handlers, compiled at import, served on every core.

Everything public stands here, and is imported when it is first used, so that ``import fastlane`` costs next to nothing
for whoever needs a part of it (the supervisor, a command line).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlane.app import App
    from fastlane.errors import (
        Aborted,
        AlreadyExists,
        BadRequest,
        Canceled,
        CompileError,
        ConfigurationError,
        ContentTooLarge,
        DataLoss,
        DeadlineExceeded,
        ExpectationFailed,
        FailedPrecondition,
        FastlaneError,
        FrozenAppError,
        HeadersTooLarge,
        HTTPError,
        Internal,
        InvalidArgument,
        MethodNotAllowed,
        NotFound,
        OutOfRange,
        PermissionDenied,
        RequestTimeout,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        Unknown,
        UnsupportedMediaType,
        URITooLong,
        VersionNotSupported,
    )
    from fastlane.http.background import BackgroundTasks
    from fastlane.http.request import Request
    from fastlane.http.response import (
        HTMLResponse,
        JSONResponse,
        PlainTextResponse,
        RedirectResponse,
        Response,
        StreamingResponse,
    )
    from fastlane.middleware.chain import CallNext
    from fastlane.params import Body, Cookie, Depends, Form, Header, Path, Query, State
    from fastlane.resources.declaration import NotBound
    from fastlane.routing.router import Router
    from fastlane.websocket import WebSocket, WebSocketDisconnect

__all__ = [
    "Aborted",
    "AlreadyExists",
    "App",
    "BackgroundTasks",
    "BadRequest",
    "Body",
    "CallNext",
    "Canceled",
    "CompileError",
    "ConfigurationError",
    "ContentTooLarge",
    "Cookie",
    "DataLoss",
    "DeadlineExceeded",
    "Depends",
    "ExpectationFailed",
    "FailedPrecondition",
    "FastlaneError",
    "Form",
    "FrozenAppError",
    "HTMLResponse",
    "HTTPError",
    "Header",
    "HeadersTooLarge",
    "Internal",
    "InvalidArgument",
    "JSONResponse",
    "MethodNotAllowed",
    "NotBound",
    "NotFound",
    "OutOfRange",
    "Path",
    "PermissionDenied",
    "PlainTextResponse",
    "Query",
    "RedirectResponse",
    "Request",
    "RequestTimeout",
    "ResourceExhausted",
    "Response",
    "Router",
    "State",
    "StreamingResponse",
    "URITooLong",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "UnsupportedMediaType",
    "VersionNotSupported",
    "WebSocket",
    "WebSocketDisconnect",
]

_HOMES = {
    "fastlane.app": ("App",),
    "fastlane.http.background": ("BackgroundTasks",),
    "fastlane.http.request": ("Request",),
    "fastlane.http.response": (
        "HTMLResponse",
        "JSONResponse",
        "PlainTextResponse",
        "RedirectResponse",
        "Response",
        "StreamingResponse",
    ),
    "fastlane.middleware.chain": ("CallNext",),
    "fastlane.params": ("Body", "Cookie", "Depends", "Form", "Header", "Path", "Query", "State"),
    "fastlane.resources.declaration": ("NotBound",),
    "fastlane.routing.router": ("Router",),
    "fastlane.websocket": ("WebSocket", "WebSocketDisconnect"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


# What people who come from FastAPI or Starlette type first.
_OURS = {
    "APIRouter": "Router",
    "FastAPI": "App",
    "HTTPException": "HTTPError, or one of its kinds such as NotFound",
    "Security": "Depends",
    "Starlette": "App",
    "status": "the number itself, as in status=201",
}


def __getattr__(name: str) -> object:
    if name in _OURS:
        raise ImportError(f"fastlane has no {name!r}: it is {_OURS[name]}")
    if name not in __all__:
        raise AttributeError(f"module 'fastlane' has no attribute {name!r}")
    # What has no home of its own above is an exception.
    value = getattr(import_module(_MODULE_OF.get(name, "fastlane.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

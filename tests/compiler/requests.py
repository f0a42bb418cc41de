"""Requests without a door, and handlers without an app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from fastlane.compiler import Endpoint, Environment, RouteSpec, Singletons, compile_endpoint
from fastlane.errors import InvalidArgument
from fastlane.http.media import MSGPACK_TYPES, essence_of
from fastlane.http.request import Request

Headers = Mapping[str, str | bytes | list[str]]


class FakeHead:
    """What a door would hand over, from plain values."""

    def __init__(self, headers: Headers, query: bytes, method: str = "GET") -> None:
        self.method = method
        self.raw_path = b"/"
        self.query_string = query
        self.http_version = "1.1"
        self.is_msgpack = any(
            name == "content-type" and essence_of(str(value).encode()) in MSGPACK_TYPES
            for name, value in headers.items()
        )
        self._lines: list[tuple[bytes, bytes]] = []
        for name, values in headers.items():
            for value in values if isinstance(values, list) else [values]:
                self._lines.append((name.encode(), value if isinstance(value, bytes) else value.encode("latin-1")))

    def header(self, name: bytes) -> bytes | None:
        values = self.header_values(name)
        if len(values) > 1:
            raise ValueError("it stands more than once")
        return values[0] if values else None

    def header_values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self._lines if key == name]

    def header_list(self) -> list[tuple[bytes, bytes]]:
        return list(self._lines)


def request(
    *,
    query: str | bytes = b"",
    headers: Headers | None = None,
    values: tuple[str, ...] = (),
    body: bytes = b"",
    state: Any = None,
    singletons: Mapping[Any, Any] | None = None,
) -> Request:
    head = FakeHead(headers or {}, query.encode() if isinstance(query, str) else query)
    context = SimpleNamespace(app=None, state=state, singletons=Singletons(singletons or {}))
    return Request(head, values, body, SimpleNamespace(), SimpleNamespace(), context)  # type: ignore[arg-type]


def compiled(
    handler: Callable[..., Any], path: str = "/", *, environment: Environment | None = None, **spec: Any
) -> Endpoint:
    """The endpoint of a handler; ``methods`` may be one word, ``path_names`` are read from the path."""
    methods = spec.pop("methods", "GET")
    names = tuple(part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{"))
    full = RouteSpec(path, handler, names, (methods,) if isinstance(methods, str) else methods, **spec)
    return compile_endpoint(full, environment or Environment())


def answer(endpoint: Endpoint, **parts: Any) -> Any:
    """What the endpoint answers to a request of these parts."""
    to_send = request(**parts) if endpoint.needs_request else None
    outcome: Any = endpoint.call(to_send)  # type: ignore[arg-type]
    if not endpoint.suspends:
        return outcome

    async def awaited() -> Any:
        return await outcome

    return asyncio.run(awaited())


def errors(endpoint: Endpoint, **parts: Any) -> list[tuple[str, str, str]]:
    """The wrong values of a request that is refused with a 422: source, path, message."""
    with pytest.raises(InvalidArgument) as caught:
        answer(endpoint, **parts)
    found: Any = caught.value.extensions["errors"]
    return [(entry["in"], entry["path"], entry["message"]) for entry in found]

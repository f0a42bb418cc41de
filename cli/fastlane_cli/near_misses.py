"""What a path that leads nowhere was probably meant to be. Only ``fastlane dev`` tells."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from fastlane.errors import NotFound
from fastlane.http.problem import problem_response

if TYPE_CHECKING:
    from fastlane.app import App
    from fastlane.http.request import Request
    from fastlane.http.response import Response
    from fastlane.routing.table import RouteTable

__all__ = ["explain_not_found", "near_misses"]

MOST = 3


def explain_not_found(app: App) -> None:
    """Let the 404 of a path without a route name its neighbours, unless the application answers 404 itself."""
    table = app.table
    if table.failures.find(NotFound()) is not None:
        return
    paths = list(dict.fromkeys(route.path for route in app.routes))

    def explain(request: Request, error: NotFound) -> Response[bytes]:
        if request.endpoint.route is not None:  # a handler said that there is no such thing
            return problem_response(error)
        method, path = request.head.method, request.head.raw_path
        near = near_misses(table, paths, method, path)
        shown = path.decode("ascii", "backslashreplace")
        detail = f"there is no route for {method} {shown}"
        if near:
            detail += f". Did you mean {' or '.join(near)}?"
            if near[0].rstrip("/") == shown.rstrip("/"):
                detail += " With and without the last slash are different routes."
        return problem_response(NotFound(detail))

    table.failures.add(404, explain)


def near_misses(table: RouteTable, paths: Iterable[str], method: str, raw_path: bytes) -> list[str]:
    """Paths that lead somewhere: first other spellings of this one, then templates that look like it.

    Args:
        table: the app's.
        paths: the templates of its routes.
        method, raw_path: of the request.
    """
    found = [
        spelling.decode("ascii", "backslashreplace")
        for spelling in dict.fromkeys(_spellings(raw_path))
        if spelling != raw_path and table.match(method, spelling).endpoint.route is not None
    ]
    if not found:
        path, paths = raw_path.decode("ascii", "backslashreplace"), list(paths)
        found = sorted((template for template in paths if _likeness(path, template)), key=lambda t: -_likeness(path, t))
        found = found or difflib.get_close_matches(path, paths, n=MOST, cutoff=0.7)
    return found[:MOST]


def _likeness(path: str, template: str) -> float:
    """How alike two paths of as many segments are, from 0 to 1; 0 where a segment is quite another."""
    pairs = list(zip_longest(path.strip("/").split("/"), template.strip("/").split("/"), fillvalue=""))
    alike = [1.0 if mine and wanted.startswith("{") else _ratio(mine, wanted) for mine, wanted in pairs]
    return sum(alike) / len(alike) if min(alike) >= 0.6 else 0.0


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _spellings(path: bytes) -> Iterator[bytes]:
    single = path
    while b"//" in single:
        single = single.replace(b"//", b"/")
    for spelling in (path, single, path.lower(), single.lower()):
        yield spelling
        yield (spelling.rstrip(b"/") or b"/") if spelling.endswith(b"/") else spelling + b"/"

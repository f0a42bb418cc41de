"""From a handler and values back to a URL, checked against what the handler reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from fastlane.compiler import read_handler
from fastlane.compiler.plan import Given, Plan, Value, readings
from fastlane.compiler.plan import Mapping as MappingNode
from fastlane.routing.route import Route
from fastlane.routing.template import PathTemplate

__all__ = ["UrlBuilder"]


class UrlBuilder:
    """The URLs of an app's routes.

    Args:
        routes: placed, in the order of declaration.
    """

    __slots__ = ("_by_handler", "_by_name")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_handler: dict[Callable[..., Any], list[Url]] = {}
        self._by_name: dict[str, list[Url]] = {}
        for route in routes:
            url = Url(route)
            self._by_handler.setdefault(route.handler, []).append(url)
            self._by_name.setdefault(route.name, []).append(url)

    def build(
        self, target: Callable[..., Any] | str, values: Mapping[str, Any], query: Mapping[str, Any] | None
    ) -> str:
        """See ``App.url_for``."""
        urls = self._by_name.get(target, []) if isinstance(target, str) else self._by_handler.get(target, [])
        name = target if isinstance(target, str) else getattr(target, "__qualname__", repr(target))
        if not urls:
            raise ValueError(f"url_for: there is no route {name!r} in this app")
        fitting = [url for url in urls if set(url.template.names) == values.keys()]
        if len({url.route.path for url in fitting}) > 1:
            paths = ", ".join(url.route.path for url in fitting)
            raise ValueError(f"url_for: {name!r} stands for several paths, {paths}: give the routes names of their own")
        if not fitting:
            wanted = " or ".join(f"{url.route.path} with {list(url.template.names) or 'no variables'}" for url in urls)
            raise ValueError(f"url_for: {name!r} is {wanted}, got {sorted(values)}")
        return fitting[0].build(values, query or {})


class Url:
    """One route's path, and what its handler reads from path and query (found out when it is first asked for)."""

    __slots__ = ("_path_readers", "_query_readers", "_read", "route", "template")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.template: PathTemplate = route.template
        self._read = False
        self._path_readers: dict[str, Any] = {}
        self._query_readers: dict[str, Any] | None = {}  # None: the handler may read any name

    def build(self, values: Mapping[str, Any], query: Mapping[str, Any]) -> str:
        if not self._read:
            self._read_plan(read_handler(self.route.spec(strict_content_type=True)))
        texts = {}
        for segment in self.template.segments:
            name = segment.variable
            if name is None:
                continue
            texts[name] = text = self._checked("path", name, as_text("path", name, values[name]), self._path_readers)
            if not segment.tail and not text:
                raise ValueError(f"url_for: path value {name!r} is empty, and matches nothing")
        path = self.template.build(texts)
        pairs = self._query_pairs(query)
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def _query_pairs(self, query: Mapping[str, Any]) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        readers = self._query_readers
        for name, value in query.items():
            if readers is not None and name not in readers:
                raise ValueError(f"url_for: {self.route.name!r} reads no query value {name!r}, only {sorted(readers)}")
            if value is None:
                continue  # what is left out is read as None, or as the default
            if isinstance(value, list | tuple | set | frozenset):
                texts: Any = [as_text("query", name, item) for item in value]
                checked = self._checked("query", name, texts, readers or {})
                pairs.extend((name, text) for text in checked)
            else:
                pairs.append((name, self._checked("query", name, as_text("query", name, value), readers or {})))
        return pairs

    def _checked(self, source: str, name: str, text: Any, readers: Mapping[str, Any]) -> Any:
        reader = readers.get(name)
        if reader is not None:
            try:
                reader.decode(text)
            except msgspec.ValidationError as error:
                raise ValueError(
                    f"url_for: {source} value {name!r}: {error}, which {self.route.name!r} reads"
                ) from None
        return text

    def _read_plan(self, plan: Plan) -> None:
        query: dict[str, Any] = {}
        anything = False
        for call in plan.all_calls:
            anything = anything or any(argument.node == Given("request") for argument in call.arguments)
            for reading in readings(call):
                if isinstance(reading, MappingNode):
                    anything = anything or reading.source == "query"
                elif isinstance(reading, Value):
                    if reading.source == "path":
                        self._path_readers[reading.name] = reading.reader
                    elif reading.source == "query":
                        query[reading.name] = reading.reader
        self._query_readers = None if anything else query
        self._read = True


def as_text(source: str, name: str, value: Any) -> str:
    """A value as it stands in a URL: as JSON would write it, without quotes."""
    try:
        plain = value if isinstance(value, str) else msgspec.to_builtins(value)
    except TypeError:
        plain = None  # nothing that msgspec knows: refused below
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, str | int | float):
        return str(plain)
    raise ValueError(f"url_for: {source} value {name!r} can't stand in a URL: {type(value).__name__}")

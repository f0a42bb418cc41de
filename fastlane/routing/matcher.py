"""The generated matcher: templates become nested ``if`` statements of one readable function per app.

    def match_path(method, segments):
        count = len(segments)
        if count > 1:
            s1 = segments[1]
            if s1 == 'posts':
                if count > 2:
                    s2 = segments[2]
                    if s2:
                        if count == 3:
                            endpoint = routes_0.get(method)
                            if endpoint is not None:
                                return Match(endpoint, (segments[2],))

At each position the texts are tried first, then segments with a prefix or suffix, then a whole variable, then what
takes the rest of the path. A branch that leads nowhere, or that has no such method, falls through to the next one, so
every node of the tree is visited at most once: the time is bounded by the number of routes and the length of the path
(Falcon's compiled router is the model of the form).
"""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from fastlane.endpoint import Endpoint, Match
from fastlane.routing.template import PathTemplate, Segment

__all__ = ["Matcher"]

FANOUT: Final = 4
"""Static texts that are compared one by one. PERF: a comparison is 19 ns, a dict and a call 55 ns for any number."""

DEEPEST: Final = 20
"""Segments in one function. Python's tokenizer refuses more than 100 levels of indentation."""

_matchers = itertools.count(1)


@dataclass(slots=True)
class Node:
    """What may follow the same beginning of a path."""

    statics: dict[str, Node] = field(default_factory=dict)
    variables: dict[Segment, Node] = field(default_factory=dict)  # keyed without the variable's name
    leaf: int | None = None  # which of the matcher's tables ends here
    tail: int | None = None
    mount: int | None = None


class Matcher:
    """Finds the endpoint of a method and a path.

    Args:
        routes: template, method, endpoint. Shape and method together are unique.
        mounts: template without variables, endpoint: for whatever lies at or below it, with any method, when no route
            matches.

    Attributes:
        source: the generated function.
        find: ``find(method, segments) -> Match | None``; the first segment is the empty text before the first slash.
        methods: all that occur, in the order in which they came.
    """

    __slots__ = (
        "__weakref__",
        "_namespace",
        "_numbers",
        "_pending",
        "_root",
        "_switches",
        "_tables",
        "find",
        "methods",
        "source",
    )

    def __init__(
        self,
        routes: Iterable[tuple[PathTemplate, str, Endpoint]],
        mounts: Iterable[tuple[PathTemplate, Endpoint]] = (),
        *,
        name: str = "match_path",
    ) -> None:
        self.methods: list[str] = []
        self._root = Node()
        self._tables: list[dict[str, Endpoint] | Endpoint] = []
        self._namespace: dict[str, Any] = {"Match": Match}
        self._pending: list[tuple[str, Node, int, list[str]]] = []
        self._switches: list[str] = []
        self._numbers = itertools.count(1)
        for template, method, endpoint in routes:
            self._add(template, method, endpoint)
        for template, endpoint in mounts:
            node = self._descend(template.segments if template.path != "/" else ())
            if node.mount is None:
                node.mount = self._table(endpoint)
        self.source = self._generate(name)
        file = f"<fastlane {name} {next(_matchers)}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        # Tests recompile often: the source must not stay behind for ever.
        weakref.finalize(self, linecache.cache.pop, file, None)
        exec(compile(self.source, file, "exec"), self._namespace)
        self.find: Callable[[str, list[str]], Match | None] = self._namespace[name]

    def allowed(self, segments: list[str]) -> list[str]:
        """The methods that have an endpoint at this path."""
        return [method for method in self.methods if self.find(method, segments) is not None]

    def _add(self, template: PathTemplate, method: str, endpoint: Endpoint) -> None:
        if method not in self.methods:
            self.methods.append(method)
        if template.has_tail:
            node = self._descend(template.segments[:-1])
            if node.tail is None:
                node.tail = self._table({})
            table = self._tables[node.tail]
        else:
            node = self._descend(template.segments)
            if node.leaf is None:
                node.leaf = self._table({})
            table = self._tables[node.leaf]
        assert isinstance(table, dict)
        table[method] = endpoint

    def _descend(self, segments: Iterable[Segment]) -> Node:
        node = self._root
        for segment in segments:
            if segment.variable is None:
                node = node.statics.setdefault(segment.prefix, Node())
            else:
                node = node.variables.setdefault(Segment(segment.prefix, "", segment.suffix), Node())
        return node

    def _table(self, table: dict[str, Endpoint] | Endpoint) -> int:
        self._tables.append(table)
        index = len(self._tables) - 1
        self._namespace[f"routes_{index}"] = table
        return index

    # The source

    def _generate(self, name: str) -> str:
        blocks = []
        pending = self._pending
        pending.append((name, self._root, 1, []))
        while pending:
            function, node, position, values = pending.pop()
            lines = [f"def {function}(method, segments):", "    count = len(segments)"]
            self._write(node, position, position, values, 1, lines)
            lines.append("    return None")
            blocks.append("\n".join(lines) + "\n")
        return "\n\n".join(blocks + self._switches)

    def _write(self, node: Node, position: int, start: int, values: list[str], level: int, lines: list[str]) -> None:
        """The statements that look at ``segments[position]`` and what follows; ``start`` is the function's first."""
        pad = "    " * level
        if position - start >= DEEPEST:
            self._forward(self._function(node, position, values), pad, lines)
            return
        if node.leaf is not None:
            lines.append(f"{pad}if count == {position}:")
            self._answer(node.leaf, values, pad + "    ", lines)
        if node.statics or node.variables:
            lines.append(f"{pad}if count > {position}:")
            inner = pad + "    "
            lines.append(f"{inner}s{position} = segments[{position}]")
            if len(node.statics) > FANOUT:
                self._switch(node, position, values, inner, lines)
            else:
                # No elif: below a text there may be nothing, and then a variable in its place is tried.
                for text, child in node.statics.items():
                    lines.append(f"{inner}if s{position} == {text!r}:")
                    self._write(child, position + 1, start, values, level + 2, lines)
            for variable, child in sorted(node.variables.items(), key=most_exact_first):
                condition, value = variable_test(variable, position)
                lines.append(f"{inner}if {condition}:")
                self._write(child, position + 1, start, [*values, value], level + 2, lines)
        if node.tail is not None:
            lines.append(f"{pad}if count > {position}:")
            self._answer(node.tail, [*values, f"'/'.join(segments[{position}:])"], pad + "    ", lines)
        if node.mount is not None:
            lines.append(f"{pad}return Match(routes_{node.mount})")

    def _answer(self, index: int, values: list[str], pad: str, lines: list[str]) -> None:
        lines.append(f"{pad}endpoint = routes_{index}.get(method)")
        lines.append(f"{pad}if endpoint is not None:")
        arguments = f", ({', '.join(values)},)" if values else ""
        lines.append(f"{pad}    return Match(endpoint{arguments})")

    def _switch(self, node: Node, position: int, values: list[str], pad: str, lines: list[str]) -> None:
        """A dict of functions, where many texts may stand."""
        branches = [
            f"    {text!r}: {self._function(child, position + 1, values)},\n" for text, child in node.statics.items()
        ]
        switch = f"switch_{next(self._numbers)}"
        self._switches.append(f"{switch} = {{\n{''.join(branches)}}}\n")
        lines.append(f"{pad}branch = {switch}.get(s{position})")
        lines.append(f"{pad}if branch is not None:")
        self._forward("branch", pad + "    ", lines)

    def _function(self, node: Node, position: int, values: list[str]) -> str:
        name = f"below_{next(self._numbers)}"
        self._pending.append((name, node, position, values))
        return name

    def _forward(self, function: str, pad: str, lines: list[str]) -> None:
        lines.append(f"{pad}match = {function}(method, segments)")
        lines.append(f"{pad}if match is not None:")
        lines.append(f"{pad}    return match")


def most_exact_first(item: tuple[Segment, Node]) -> int:
    """Segments that overlap are nested in each other (others are refused): the one with more text is the narrower."""
    return -len(item[0].prefix) - len(item[0].suffix)


def variable_test(segment: Segment, position: int) -> tuple[str, str]:
    """The condition under which a segment matches, and the expression for its value."""
    # The value is read from the list, not from a local name, because it may be needed in another function.
    name, value = f"s{position}", f"segments[{position}]"
    prefix, suffix = segment.prefix, segment.suffix
    if not prefix and not suffix:
        return name, value
    tests = [f"len({name}) > {len(prefix) + len(suffix)}"]
    if prefix:
        tests.append(f"{name}.startswith({prefix!r})")
    if suffix:
        tests.append(f"{name}.endswith({suffix!r})")
    return " and ".join(tests), f"{value}[{len(prefix) or ''}:{-len(suffix) if suffix else ''}]"

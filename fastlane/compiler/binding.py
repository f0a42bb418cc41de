"""The lines of a generated route that read values from the request."""

from __future__ import annotations

from typing import Any, Final

from fastlane.compiler.bodies import BodyDecoder
from fastlane.compiler.collections import ListReader
from fastlane.compiler.plan import Body, Call, Default, Mapping, Plan, Structure, Value, readings
from fastlane.compiler.reader import Reader
from fastlane.compiler.source import Names, SourceWriter
from fastlane.http.cookies import parse_cookies
from fastlane.http.query import parse_query, parse_query_lists
from fastlane.params import Source

__all__ = ["Binder"]

_LOOP_LIMIT: Final = 4
"""Query values that are found by comparing names; from five on a dict is faster."""

_LITERALS: Final = (type(None), bool, int, str)


class Binder:
    """Writes the reading of values for one route.

    What several values share (the parsed query, the cookies) is read once, where it is first needed. ``seen`` says
    which of them the lines written next may use.
    """

    __slots__ = ("_lists", "_names", "_path_names", "_plan", "_texts", "_writer", "seen")

    def __init__(self, plan: Plan, names: Names, writer: SourceWriter) -> None:
        self._plan = plan
        self._names = names
        self._writer = writer
        self._path_names = plan.spec.path_names
        self._lists: set[Source] = set()  # sources of which some value is a collection
        self._texts: dict[str, str] = {}  # query names, and the local that the loop puts each into
        self.seen: set[str] = set()
        everything = [reading for call in plan.all_calls for reading in readings(call) if not isinstance(reading, Body)]
        for reading in everything:
            if isinstance(reading.reader, ListReader) and reading.source in ("query", "form"):
                self._lists.add(reading.source)
        query = [reading for reading in everything if reading.source == "query"]
        by_name = {reading.name for reading in query if isinstance(reading, Value)}
        whole = any(isinstance(reading, Mapping) for reading in query) or _has_whole_structure(plan)
        if "query" not in self._lists and not whole and len(by_name) <= _LOOP_LIMIT:
            for reading in query:
                assert isinstance(reading, Value)
                if reading.name not in self._texts:
                    self._texts[reading.name] = names.take(f"{reading.name}_text")

    def prepare(self, call: Call) -> None:
        """The lines that fetch what the values of a call are looked up in."""
        needed = {reading.source for reading in readings(call) if not isinstance(reading, Body)}
        for argument in call.arguments:
            if isinstance(argument.node, Structure) and argument.node.closed is not None:
                needed.add(argument.node.closed)
        if {"query", "header", "cookie"} & needed and self._first("head"):
            self._writer.line("head = request.head")
        if "path" in needed and self._first("values"):
            self._writer.line("values = request.values")
        if "query" in needed and self._first("query"):
            if self._texts:
                self._query_loop()
            else:
                self._writer.line(f"query = {self._parser('query')}(head.query_string)")
        if "form" in needed and self._first("form"):
            self._writer.line(f"form = {self._parser('form')}(request.raw_body)")
        if "cookie" in needed and self._first("cookies"):
            cookies = self._names.bind("parse_cookies", parse_cookies)
            self._writer.line(f'cookies = {cookies}(head.header_values(b"cookie"))')

    def _parser(self, source: Source) -> str:
        function = parse_query_lists if source in self._lists else parse_query
        return self._names.bind(function.__name__, function)

    def _query_loop(self) -> None:
        """Finds a few names in a query string without building a dict.

        PERF: 0.35 µs for two values, 0.6 through parse_query, which still reads what is escaped or long (it counts the
        fields, and 999 characters hold no more than it allows).
        """
        line, block = self._writer.line, self._writer.block
        line(f"{' = '.join(self._texts.values())} = None")
        line("query = head.query_string.decode()")
        with block('if "%" in query or "+" in query or len(query) > 999:'):
            line(f"query = {self._parser('query')}(head.query_string)")
            for name, variable in self._texts.items():
                line(f"{variable} = query.get({name!r})")
        with block("else:"), block('for field in query.split("&"):'):
            line('name, _, text = field.partition("=")')
            keyword = "if"
            for name, variable in self._texts.items():
                with block(f"{keyword} name == {name!r}:"):
                    line(f"{variable} = text")
                keyword = "elif"

    def _first(self, name: str) -> bool:
        if name in self.seen:
            return False
        self.seen.add(name)
        return True

    def read(self, node: Value | Mapping | Body | Structure, variable: str) -> None:
        """The lines that put the value of a node into ``variable``."""
        if isinstance(node, Value):
            self._value(node, variable)
        elif isinstance(node, Mapping):
            self._mapping(node, variable)
        elif isinstance(node, Body):
            self._body(node, variable)
        else:
            self._structure(node, variable)

    # -- one value

    def _value(self, value: Value, variable: str) -> None:
        reader = value.reader
        if isinstance(reader, ListReader):
            self._list(value, reader, variable)
            return
        default = self._default(value.default, variable)
        lookup = self._lookup(value)
        if value.source == "header" and not reader.octets:
            self._header(reader, lookup, default, variable)
            return
        as_it_is = reader.expression == "{text}"
        if as_it_is and lookup in self._texts.values() and default is None:
            # What the loop over the query string did not find is None.
            with self._writer.block(f"if {lookup} is None:"):
                self._writer.line(f"raise LookupError({value.name!r})")
        if as_it_is and default in (None, "None"):
            self._writer.line(f"{variable} = {lookup}")
            return
        if not lookup.isidentifier():
            self._writer.line(f"text = {lookup}")
            lookup = "text"
        expression = self._expression(reader, lookup, variable)
        otherwise = f"{default} if {lookup} is None else " if default is not None else ""
        self._writer.line(f"{variable} = {otherwise}{expression}")

    def _header(self, reader: Reader, lookup: str, default: str | None, variable: str) -> None:
        decoded = '.decode("latin-1")'
        if reader.expression == "{text}":
            if default is None:
                self._writer.line(f"{variable} = {lookup}{decoded}")
                return
            self._writer.line(f"text = {lookup}")
            self._writer.line(f"{variable} = {default} if text is None else text{decoded}")
            return
        expression = self._expression(reader, "text", variable)
        if default is None:
            self._writer.line(f"text = {lookup}{decoded}")
            self._writer.line(f"{variable} = {expression}")
            return
        self._writer.line(f"text = {lookup}")
        with self._writer.block("if text is None:"):
            self._writer.line(f"{variable} = {default}")
        with self._writer.block("else:"):
            self._writer.line(f"text = text{decoded}")
            self._writer.line(f"{variable} = {expression}")

    def _lookup(self, value: Value) -> str:
        """The text of a value as an expression. A missing one raises where it is required, and is None where not."""
        name, optional = value.name, not value.default.required
        if value.source == "path":
            return f"values[{self._path_names.index(name)}]"
        if value.source == "header":
            return f"head.header({name.encode('latin-1')!r})"
        if value.source == "query" and name in self._texts:
            return self._texts[name]
        table = "cookies" if value.source == "cookie" else value.source
        if value.source in self._lists:
            last = f"{table}[{name!r}][-1]"
            return f"{last} if {name!r} in {table} else None" if optional else last
        return f"{table}.get({name!r})" if optional else f"{table}[{name!r}]"

    def _expression(self, reader: Reader, text: str, variable: str) -> str:
        used = {name: value for name, value in reader.names.items() if f"{{{name}}}" in reader.expression}
        bound = {
            name: self._names.bind(f"{name}_{variable}" if callable(value) else name, value)
            for name, value in used.items()
        }
        return reader.expression.format(text=text, **bound)

    def _default(self, default: Default, variable: str) -> str | None:
        """The default as an expression; None where the value is required."""
        if default.required:
            return None
        if default.factory is not None:
            return f"{self._names.bind(f'new_{variable}', default.factory)}()"
        if type(default.value) in _LITERALS:
            return repr(default.value)
        return self._names.bind(f"default_{variable}", default.value)

    # -- several values

    def _list(self, value: Value, reader: ListReader, variable: str) -> None:
        default = self._default(value.default, variable)
        decode = self._names.bind(f"decode_{variable}", reader.decode)
        if value.source == "header":
            self._writer.line(f"texts = head.header_values({value.name.encode('latin-1')!r})")
            if not reader.octets:
                self._writer.line('texts = [text.decode("latin-1") for text in texts]')
            missing = self._names.bind("require", require)
            texts = "texts" if default is not None else f"{missing}(texts)"
            condition = "not texts"
        elif value.source == "cookie":
            self._writer.line(f"texts = [cookies[{value.name!r}]] if {value.name!r} in cookies else None")
            texts, condition = "texts", "texts is None"
        else:
            lookup = f"{value.source}.get" if default is not None else value.source
            brackets = f"({value.name!r})" if default is not None else f"[{value.name!r}]"
            self._writer.line(f"texts = {lookup}{brackets}")
            texts, condition = "texts", "texts is None"
        if default is None:
            self._writer.line(f"{variable} = {decode}({texts})")
        else:
            self._writer.line(f"{variable} = {default} if {condition} else {decode}({texts})")

    def _mapping(self, mapping: Mapping, variable: str) -> None:
        decode = self._names.bind(f"decode_{variable}", mapping.reader.decode)
        last = "[-1]" if mapping.source in self._lists and not isinstance(mapping.reader, ListReader) else ""
        self._writer.line(f"{variable} = {{name: {decode}(text{last}) for name, text in {mapping.source}.items()}}")

    # -- bodies and structures

    def _body(self, body: Body, variable: str) -> None:
        decoder = BodyDecoder(body)
        default = self._default(body.default, variable)
        if not decoder.checks:
            fallback = f" or {default}" if default is not None else ""
            self._writer.line(f"{variable} = request.raw_body{fallback}")
            return
        self._writer.line("raw = request.raw_body")
        if body.raw:
            expression = f"{self._names.bind(f'decode_{variable}', decoder.json)}(raw)"
        else:
            read = self._names.bind(f"read_{variable}", decoder.json)
            unpack = self._names.bind(f"unpack_{variable}", decoder.msgpack)
            # PERF: the door has compared the Content-Type: 18 ns, where looking it up again is 150 to 500.
            head = "head" if "head" in self.seen else "request.head"
            expression = f"{unpack}(raw) if {head}.is_msgpack else {read}(raw)"
        if default is not None:
            expression = f"{default} if not raw else {expression}"
        self._writer.line(f"{variable} = {expression}")

    def _structure(self, structure: Structure, variable: str) -> None:
        known = self._plan.known_names(structure.closed) if structure.closed else None
        if known is not None:
            with self._writer.block(f"if not {structure.closed}.keys() <= {self._names.bind('known', known)}:"):
                self._writer.line('raise LookupError("unknown name")')
        default = self._default(structure.default, variable)
        if default is None:
            self._gather(structure, variable)
            return
        with self._writer.block(f"if {self._nothing_given(structure)}:"):
            self._writer.line(f"{variable} = {default}")
        with self._writer.block("else:"):
            self._gather(structure, variable)

    def _nothing_given(self, structure: Structure) -> str:
        values = [value for _, value in structure.fields]
        if not values:
            return "True"
        source = values[0].source
        if source == "header":
            tests = [f"head.header_values({value.name.encode('latin-1')!r})" for value in values]
            return f"not ({' or '.join(tests)})"
        table = {"cookie": "cookies"}.get(source, source)
        wanted = frozenset(value.name for value in values)
        return f"{table}.keys().isdisjoint({self._names.bind('names', wanted)})"

    def _gather(self, structure: Structure, variable: str) -> None:
        arguments = []
        for name, value in structure.fields:
            field = self._names.take(f"{variable}_{name}")
            self._value(value, field)
            arguments.append(f"{name}={field}")
        if structure.rest is not None:
            rest = self._names.take(f"{variable}_body")
            self._body(structure.rest, rest)
            arguments.extend(f"{name}={rest}.{name}" for name in structure.rest_names)
        build = self._names.bind(f"build_{variable}", structure.build)
        self._writer.line(f"{variable} = {build}({', '.join(arguments)})")


def _has_whole_structure(plan: Plan) -> bool:
    """One that asks which names there are at all."""
    nodes = [argument.node for call in plan.all_calls for argument in call.arguments]
    return any(isinstance(node, Structure) and (node.closed or not node.default.required) for node in nodes)


def require(texts: list[Any]) -> list[Any]:
    """The texts of a header that must be there. ``LookupError`` where there are none."""
    if not texts:
        raise LookupError("no such header")
    return texts

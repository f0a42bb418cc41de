"""The slow path: a request that did not fit is read again, value by value, so that the client hears of all of it.

msgspec stops at the first error, and the happy path should pay nothing for the list (DESIGN 4).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import ValidationError

from fastlane.compiler.bodies import BodyDecoder, decode_builtins
from fastlane.compiler.collections import ListReader
from fastlane.compiler.examine import wrong_values
from fastlane.compiler.plan import Body, Mapping, Plan, Structure, Value
from fastlane.errors import BadRequest, InvalidArgument, InvalidValue
from fastlane.http.cookies import parse_cookies
from fastlane.http.query import parse_query_lists
from fastlane.params import Source

if TYPE_CHECKING:
    from fastlane.http.request import Request

__all__ = ["MAX_ERRORS", "MAX_VALUES", "Examination"]

MAX_ERRORS: Final = 100
"""Entries in ``errors`` (REQUESTS 3)."""

MAX_VALUES: Final = 10_000
"""Values of a body that are examined (REQUESTS 3)."""

_MISSING: Final[dict[Source, str]] = {
    "path": "Missing required path parameter",
    "query": "Missing required query parameter",
    "header": "Missing required header",
    "cookie": "Missing required cookie",
    "form": "Missing required form field",
    "body": "Missing required body",
}
_AT = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?\Z", re.DOTALL).fullmatch
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`").fullmatch

_Texts: TypeAlias = "list[Any]"


class Examination:
    """What a route reads, and how to read it once more."""

    __slots__ = ("body", "path_names", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.path_names = plan.spec.path_names
        self.body = BodyDecoder(plan.body) if plan.body is not None else None

    def __call__(self, request: Request, error: Exception) -> None:
        """Says what is wrong with a request, reading which raised ``error``.

        Returns where nothing is found and ``error`` is none of the client's: a fault of a user's ``__post_init__``, or
        of ours.

        Raises:
            BadRequest: bytes that can't be understood; it comes before anything else.
            InvalidArgument: with every wrong value.
        """
        found = _Findings(request, self.path_names, self.body)
        try:
            for call in self.plan.all_calls:
                for argument in call.arguments:
                    node = argument.node
                    if isinstance(node, Structure):
                        found.structure(node)
                        if node.closed:
                            found.unknown(node.closed, self.plan.known_names(node.closed))
                    elif isinstance(node, Value):
                        found.value(node)
                    elif isinstance(node, Mapping):
                        found.mapping(node)
                    elif isinstance(node, Body):
                        found.body(node)
        except BadRequest as refusal:
            raise refusal from None
        if found.errors:
            count = len(found.errors)
            detail = f"{count} parameters are invalid" if count > 1 else "1 parameter is invalid"
            if found.truncated:
                raise InvalidArgument(f"at least {detail}", errors=found.errors, truncated=True) from None
            raise InvalidArgument(detail, errors=found.errors) from None
        if isinstance(error, ValidationError):
            raise InvalidArgument("1 parameter is invalid", errors=[_body_entry(str(error))]) from None


class _Findings:
    """The wrong values of one request."""

    __slots__ = ("_cookies", "_decoder", "_forms", "_queries", "errors", "path_names", "request", "truncated")

    def __init__(self, request: Request, path_names: tuple[str, ...], decoder: BodyDecoder | None) -> None:
        self._decoder = decoder
        self.request = request
        self.path_names = path_names
        self.errors: list[InvalidValue] = []
        self.truncated = False
        self._queries: dict[str, list[str]] | None = None
        self._forms: dict[str, list[str]] | None = None
        self._cookies: dict[str, str] | None = None

    def add(self, source: Source, path: str, message: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"in": source, "path": path, "message": message})
        else:
            self.truncated = True

    def texts(self, value: Value) -> _Texts:
        """Everything that is on the wire under a value's name."""
        name = value.name
        if value.source == "path":
            return [self.request.values[self.path_names.index(name)]]
        if value.source == "header":
            lines = self.request.head.header_values(name.encode("latin-1"))
            return lines if value.reader.octets else [line.decode("latin-1") for line in lines]
        if value.source == "cookie":
            if self._cookies is None:
                self._cookies = parse_cookies(self.request.head.header_values(b"cookie"))
            return [self._cookies[name]] if name in self._cookies else []
        return self.fields(value.source).get(name, [])

    def fields(self, source: Source) -> dict[str, list[str]]:
        """The query string or the form."""
        if source == "form":
            if self._forms is None:
                self._forms = parse_query_lists(self.request.raw_body)
            return self._forms
        if self._queries is None:
            self._queries = parse_query_lists(self.request.head.query_string)
        return self._queries

    def value(self, value: Value) -> Any:
        """Reads a value again; notes what is wrong. None where it is missing or wrong."""
        texts = self.texts(value)
        if not texts:
            if value.default.required:
                self.add(value.source, value.name, _MISSING[value.source])
                return None
            return value.default.value if value.default.factory is None else value.default.factory()
        if not isinstance(value.reader, ListReader) and value.source == "header" and len(texts) > 1:
            self.add("header", value.name, f"Expected one value, got {len(texts)}")
            return None
        return self.read(value.source, value.name, value.reader, texts)

    def read(self, source: Source, name: str, reader: Any, texts: _Texts) -> Any:
        many = isinstance(reader, ListReader)
        before = len(self.errors)
        try:
            return reader.decode(texts if many else texts[-1])
        except ValidationError as error:
            if not many:
                self.add(source, name, str(error))
                return None
            # A wrong number of them, or wrong items: each is named. A length that is wrong as well can wait.
            if not reader.fixed or len(texts) == len(reader.items):
                for index, text in enumerate(texts):
                    try:
                        reader.item(index).decode(text)
                    except ValidationError as item_error:
                        self.add(source, f"{name}[{index}]", str(item_error))
            if len(self.errors) == before:
                self.add(source, name, str(error))
        return None

    def mapping(self, mapping: Mapping) -> None:
        for name, texts in self.fields(mapping.source).items():
            self.read(mapping.source, name, mapping.reader, texts)

    def unknown(self, source: Source, known: frozenset[str] | None) -> None:
        """Notes the names of a query or form that nobody reads; ``None`` reads all."""
        for name in self.fields(source):
            if known is not None and name not in known:
                self.add(source, name, f"Object contains unknown field `{name}`")

    def body(self, body: Body) -> Any:
        """Decodes the body again; notes every wrong value in it. Raises BadRequest for what can't be decoded."""
        raw = self.request.raw_body
        if not raw:
            if body.default.required and not body.raw:
                self.add("body", "", _MISSING["body"])
                return None
            if not body.default.required:
                return body.default.value if body.default.factory is None else body.default.factory()
        decoder = self._decoder
        assert decoder is not None
        before = len(self.errors)
        try:
            if not body.raw:
                value = decode_builtins(self.request)
                entries, truncated = wrong_values(
                    body.annotation,
                    value,
                    limit=MAX_ERRORS,
                    budget=MAX_VALUES,
                    # MessagePack has types of its own for octets and moments, JSON has text.
                    strict=True,
                )
                for path, message in entries:
                    self.add("body", path, message)
                self.truncated = self.truncated or truncated
            if len(self.errors) == before:
                return decoder.decode(self.request)
        except ValidationError as error:
            self.errors.append(_body_entry(str(error)))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            kind = "MessagePack" if self.request.head.is_msgpack else "JSON"
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BadRequest(f"the body is no valid {kind}: {reason}") from None
        return None

    def structure(self, structure: Structure) -> None:
        before = len(self.errors)
        if not structure.default.required and not any(self.texts(value) for _, value in structure.fields):
            return
        values = {name: self.value(value) for name, value in structure.fields}
        if structure.rest is not None:
            rest = self.body(structure.rest)
            if len(self.errors) == before:
                values.update({name: getattr(rest, name) for name in structure.rest_names})
        if len(self.errors) == before:
            try:
                structure.build(**values)
            except (ValueError, TypeError) as error:
                source: Source = "body" if structure.rest is not None else structure.fields[0][1].source
                self.add(source, "", str(error))


def _body_entry(message: str) -> InvalidValue:
    """A decoder's own message, its path taken off and written as ours."""
    match = _AT(message)
    text, path = (match[1], match[2] or "") if match is not None else (message, "")
    path = path.removeprefix(".")
    missing = _MISSING_FIELD(text)
    if missing is not None:
        path = f"{path}.{missing[1]}" if path else missing[1]
    return {"in": "body", "path": path, "message": text}

"""A document against the types of its tables: strict, every mistake with the path of its key."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import inspect

from fastlane.resources.configuration.references import FORMS, References, is_reference, unresolved
from fastlane.resources.configuration.table import hidden_kind, quantity_reader

__all__ = ["Conversion", "described", "did_you_mean", "dotted"]

Path: TypeAlias = tuple[str | int, ...]

_FAILED: Any = object()
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Conversion:
    """Converts a document table by table.

    Attributes:
        mistakes: path and sentence, in the order of the file.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._failures = 0
        self.mistakes: list[tuple[Path, str]] = []

    def convert(self, annotation: Any, value: object, path: Path) -> Any:
        """A value of the type ``annotation``; None where there is a mistake that leaves none.

        A text that is referred to and can't be had is a mistake, too, but something can stand for it: the rest is
        looked at nevertheless.
        """
        before = self._failures
        found = self._convert(inspect.type_info(annotation), value, path)
        return None if self._failures > before else found

    def add(self, path: Path, sentence: str) -> None:
        """Note a mistake."""
        self._failures += 1
        self.mistakes.append((path, sentence))

    def _fail(self, path: Path, sentence: str) -> Any:
        self.add(path, sentence)
        return _FAILED

    def _convert(self, node: inspect.Type, value: object, path: Path) -> Any:
        read = quantity_reader(node)
        hidden = bool(hidden_kind(node))
        members = list(_members(node))
        source = ""
        if is_reference(value) and any(isinstance(member, inspect.StrType | inspect.LiteralType) for member in members):
            assert isinstance(value, dict)
            ((form, name),) = value.items()
            try:
                text = self._references.resolve(value)
            except ValueError as error:
                is_text = read is None and any(isinstance(member, inspect.StrType) for member in members)
                if not is_text or not isinstance(name, str):
                    return self._fail(path, str(error))
                self.mistakes.append((path, str(error)))
                return unresolved(name, form)
            source = f"{'the variable' if form == 'env' else form} {name}"
            hidden = True
            value = text
        if isinstance(value, dict):
            return self._table(members, value, path)
        if isinstance(value, list):
            for member in members:
                if isinstance(member, inspect.ListType):
                    items = [self._convert(member.item_type, item, (*path, i)) for i, item in enumerate(value)]
                    return _FAILED if any(item is _FAILED for item in items) else items
        shown = (f"{source}, which holds something else" if source else "") or _shown(value, hidden=hidden)
        if read is not None:
            try:
                return read(value)
            except ValueError as error:
                return self._fail(path, f"expected {error}, got {shown}")
        for member in members:
            if _fits(member, value):
                return float(value) if isinstance(member, inspect.FloatType) else value  # type: ignore[arg-type]
        return self._fail(path, f"expected {described(node)}, got {shown}{_meant(members, value)}")

    def _table(self, members: list[inspect.Type], value: dict[str, object], path: Path) -> Any:
        structs = [member for member in members if isinstance(member, inspect.StructType)]
        if structs and structs[0].tag_field is not None:
            return self._tagged(structs, structs[0].tag_field, value, path)
        if structs:
            return self._struct(structs[0], value, path)
        for member in members:
            if isinstance(member, inspect.DictType):
                found = {key: self._convert(member.value_type, item, (*path, key)) for key, item in value.items()}
                return _FAILED if any(item is _FAILED for item in found.values()) else found
        expected = " or ".join(dict.fromkeys(_noun(member) for member in members if _noun(member)))
        if any(isinstance(member, inspect.StrType) for member in members) and set(value) & set(FORMS):
            return self._fail(path, 'expected { env = "X" }, { file = "PATH" } or { secret = "X" }, with one key')
        return self._fail(path, f"expected {expected}, got a table")

    def _tagged(self, structs: list[inspect.StructType], tag_field: str, value: dict[str, object], path: Path) -> Any:
        tags = [str(struct.tag) for struct in structs]
        choices = f"expected one of {', '.join(tags)}"
        if tag_field not in value:
            return self._fail((*path, tag_field), f"missing: {choices}")
        tag = value[tag_field]
        if is_reference(tag):
            return self._fail((*path, tag_field), f"{choices}, written here: it decides which keys there are")
        for struct in structs:
            if struct.tag == tag:
                return self._struct(struct, {key: item for key, item in value.items() if key != tag_field}, path)
        return self._fail((*path, tag_field), f"{choices}, got {tag!r}{did_you_mean(tag, tags)}")

    def _struct(self, struct: inspect.StructType, value: dict[str, object], path: Path) -> Any:
        before = self._failures
        fields = {field.encode_name: field for field in struct.fields}
        values: dict[str, Any] = {}
        for key, item in value.items():
            if key not in fields:
                self.add((*path, key), f"there is no such key{did_you_mean(key, fields)}")
            else:
                values[fields[key].name] = self._convert(fields[key].type, item, (*path, key))
        for key, field in fields.items():
            if field.required and key not in value:
                self.add((*path, key), f"missing: expected {described(field.type)}")
        if self._failures > before:
            return _FAILED
        try:
            return struct.cls(**values)
        except ValueError as error:
            return self._fail(path, str(error))


def described(node: inspect.Type) -> str:
    """What a value of the type is called in a sentence."""
    nouns = [noun for noun in (_noun(member) for member in _members(node)) if noun]
    return " or ".join(dict.fromkeys(nouns))


def did_you_mean(key: object, known: Iterable[str]) -> str:
    """A hint for a misspelt key, with its own full stop before it; else empty."""
    names = {name.replace("-", "_").lower(): name for name in known}
    near = difflib.get_close_matches(str(key).replace("-", "_").lower(), names, n=1)
    return f". Did you mean {names[near[0]]!r}?" if near else ""


def dotted(path: Path) -> str:
    """``pubsub.topics.user-signups.provider``, an item of a list as ``nsqd[0]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            bare = key and all(letter.isalnum() or letter in "-_" for letter in key)
            text += ("." if text else "") + (key if bare else f'"{key}"')
    return text


def _members(node: inspect.Type) -> Iterable[inspect.Type]:
    if isinstance(node, inspect.Metadata):
        yield from _members(node.type)
    elif isinstance(node, inspect.UnionType):
        for member in node.types:
            yield from _members(member)
    else:
        yield node


def _noun(node: inspect.Type) -> str:
    if isinstance(node, inspect.LiteralType):
        return "one of " + ", ".join(map(str, node.values))
    if isinstance(node, inspect.IntType | inspect.FloatType):
        noun = "a whole number" if isinstance(node, inspect.IntType) else "a number"
        bounds = [f"{word} {limit}" for name, word in _BOUNDS.items() if (limit := getattr(node, name)) is not None]
        return " ".join([noun, " and ".join(bounds)]).rstrip()
    if isinstance(node, inspect.StrType):
        return "a text that is not empty" if node.min_length else "a text"
    if isinstance(node, inspect.BoolType):
        return "true or false"
    if isinstance(node, inspect.ListType):
        return f"a list, each {described(node.item_type)}"
    return "a table" if isinstance(node, inspect.StructType | inspect.DictType) else ""


def _fits(node: inspect.Type, value: object) -> bool:
    if isinstance(node, inspect.LiteralType):
        return value in node.values and not isinstance(value, bool)
    if isinstance(node, inspect.StrType):
        return isinstance(value, str) and len(value) >= (node.min_length or 0)
    if isinstance(node, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(node, inspect.IntType | inspect.FloatType):
        kinds = int if isinstance(node, inspect.IntType) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        try:
            msgspec.convert(value, _bounded(node))
        except msgspec.ValidationError:
            return False
        return True
    return False


def _bounded(node: inspect.IntType | inspect.FloatType) -> Any:
    limits = {name: limit for name in _BOUNDS if (limit := getattr(node, name)) is not None}
    return Annotated[int if isinstance(node, inspect.IntType) else float, msgspec.Meta(**limits)]


def _meant(members: list[inspect.Type], value: object) -> str:
    choices = [str(choice) for node in members if isinstance(node, inspect.LiteralType) for choice in node.values]
    return did_you_mean(value, choices) if isinstance(value, str) else ""


def _shown(value: object, *, hidden: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value}"
    return "a value that is not shown" if hidden else repr(value)

"""Every wrong value in a decoded body, where msgspec stops at the first.

The slow path of a request that did not fit (REQUESTS 3): the value is walked beside its type, and each scalar is
converted by msgspec alone, so that the messages are its own. The walk keeps a stack of generators instead of
recursing, since a body may be nested as deep as its decoder allows, and it is bounded: neither size nor nesting of a
body makes it block the loop.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypeAlias, get_origin

import msgspec
from msgspec import inspect

from fastlane.compiler.inspection import ARRAYS, DICTS, SEQUENCES, annotation_of, bounds_of, plain_classes, unwrap

__all__ = ["wrong_values"]

_Path: TypeAlias = "tuple[_Path, str | int] | None"
"""Linked, since only the path of a wrong value is ever written; a number is the index of an item."""

_Child: TypeAlias = "tuple[inspect.Type, Any, _Path]"

_MAX_TEXT: Final = 500
"""Characters of a path or message; a key can be as long as the body."""

_AT = re.compile(r"(.*) - at `(?:key` in `)?\$(.*)`\Z", re.DOTALL).fullmatch
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL).fullmatch


def wrong_values(
    annotation: Any, value: Any, *, limit: int = 100, budget: int = 10_000, strict: bool = True
) -> tuple[list[tuple[str, str]], bool]:
    """What is wrong with ``value``, in the order of its type: pairs of path and message.

    Empty where ``msgspec.convert(value, annotation, strict=strict, str_keys=True)`` succeeds, and never empty where
    it fails and the budget was enough.

    Args:
        annotation: any type that msgspec can decode.
        value: of builtins, as ``msgspec.json.decode`` or ``msgspec.msgpack.decode`` makes them without a type.
        limit: the most entries.
        budget: the most values that are looked at.
        strict: as msgspec has it.

    Returns:
        The pairs, and whether the walk ended early. A path is like ``tags[1].name`` or ``by_id["x"]``, of names on
        the wire, and empty for the value itself; a missing field is named by its own path.
    """
    walk = _Walk(limit, budget, strict=strict)
    walk.run(_type_info(annotation), value)
    return walk.errors, walk.truncated


def _type_info(annotation: Any) -> inspect.Type:
    try:
        return _cached_type_info(annotation)
    except TypeError:  # unhashable: a Meta with extras, for one
        return inspect.type_info(annotation)


# PERF: 100 µs for a Struct of ten fields; there are as many annotations as the application has bodies.
_cached_type_info = functools.lru_cache(maxsize=1024)(inspect.type_info)


class _Walk:
    """One examination."""

    __slots__ = ("annotations", "budget", "checks", "choices", "errors", "limit", "strict", "truncated", "weight")

    def __init__(self, limit: int, budget: int, *, strict: bool) -> None:
        self.limit = limit
        self.budget = budget
        self.strict = strict
        self.errors: list[tuple[str, str]] = []
        self.truncated = False
        # By the id of a node, all of which live as long as the walk.
        self.annotations: dict[int, tuple[Any, frozenset[type]]] = {}
        self.choices: dict[int, _Choice] = {}
        self.weight = 0  # members of the containers that were entered
        self.checks = 10 * budget  # members that may be read besides, in C: see ``whole``

    def run(self, node: inspect.Type, value: Any) -> None:
        stack: list[Iterator[_Child]] = [iter([(node, value, None)])]
        while stack and not self.truncated:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
            elif self.budget <= 0:
                self.truncated = True
            else:
                self.budget -= 1
                members = self.enter(*child)
                if members is not None:
                    stack.append(members)

    def add(self, path: _Path, message: str) -> None:
        if len(self.errors) >= self.limit:
            self.truncated = True
        else:
            self.errors.append((_written(path), _clipped(message)))

    def enter(self, node: inspect.Type, value: Any, path: _Path) -> Iterator[_Child] | None:
        """Looks at one value: notes what is wrong with it, or answers its members."""
        node = self.chosen(unwrap(node), value)
        if isinstance(node, (inspect.AnyType, inspect.RawType)):
            return None
        if isinstance(value, dict):
            self.weight += len(value)
            if isinstance(node, DICTS):
                return self.dictionary(node, value, path)
            if _is_object(node):
                return self.object(node, value, path)
        elif isinstance(value, list | tuple):
            self.weight += len(value)
            if isinstance(node, SEQUENCES):
                return self.sequence(node, value, path)
            if isinstance(node, inspect.TupleType):
                return self.fixed(node, node.item_types, len(node.item_types), value, path)
            if isinstance(node, inspect.NamedTupleType) or _is_array_struct(node):
                return self.fixed(node, *_array_fields(node), value, path)
        annotation, plain = self.known(node)
        if value.__class__ not in plain:
            self.convert(value, annotation, path)
        return None

    def chosen(self, node: inspect.Type, value: Any) -> inspect.Type:
        """Of a union the option that a dict or list can be, where there is one; else the type itself."""
        if not isinstance(node, inspect.UnionType) or not isinstance(value, dict | list | tuple):
            return node
        choice = self.choices.get(id(node))
        if choice is None:
            choice = self.choices[id(node)] = _Choice(node)
        return choice.of(value) or node

    def annotation(self, node: inspect.Type) -> Any:
        return self.known(node)[0]

    def known(self, node: inspect.Type) -> tuple[Any, frozenset[type]]:
        """The annotation of a type, and the classes whose every value it takes.

        PERF: both once for each type. A union with bounds takes 10 µs to build, and msgspec 3 to read; a walk may
            meet it
        10,000 times.
        """
        known = self.annotations.get(id(node))
        if known is None:
            known = self.annotations[id(node)] = (annotation_of(node), frozenset(plain_classes(node)))
        return known

    def convert(self, value: Any, annotation: Any, path: _Path, *, only_here: bool = False) -> None:
        """msgspec's own verdict. ``only_here`` leaves out what it says of members."""
        try:
            msgspec.convert(value, annotation, strict=self.strict, str_keys=True)
        except RecursionError:
            self.truncated = True
        except (msgspec.ValidationError, TypeError) as error:
            # TypeError: an item of a set that can't be hashed, which is the value's fault as well.
            message, below = _parted(str(error))
            missing = _MISSING(message)
            if missing is not None:
                below = f"{below}.{missing[1]}"
            if not (below and only_here):
                self.add((path, below) if below else path, message)

    def object(self, node: Any, value: dict[Any, Any], path: _Path) -> Iterator[_Child]:
        errors, weight = len(self.errors), self.weight
        names = {field.encode_name for field in node.fields}
        tag_field = getattr(node, "tag_field", None)
        if tag_field is not None:
            names.add(tag_field)
            if tag_field in value and not _same(node.tag, value[tag_field]):
                self.convert({tag_field: value[tag_field]}, node.cls, path)
        for field in node.fields:
            if field.encode_name in value:
                yield field.type, value[field.encode_name], (path, f".{field.encode_name}")
            elif field.required:
                self.add((path, f".{field.encode_name}"), f"Object missing required field `{field.encode_name}`")
        self.unknown(node, value, names, path)
        self.whole(node, value, path, errors, weight)

    def unknown(self, node: Any, value: dict[Any, Any], names: set[str], path: _Path) -> None:
        """Keys that stand for no field."""
        self.checks -= len(value)
        if self.checks < 0:
            self.truncated = True
            return
        forbidden = getattr(node, "forbid_unknown_fields", False)
        for key in value:
            if self.truncated:
                return
            if key in names:
                continue
            if not isinstance(key, str):
                self.convert({key: None}, dict[str, Any], path)
            elif forbidden:
                self.add((path, f".{key}"), f"Object contains unknown field `{key}`")

    def dictionary(self, node: Any, value: dict[Any, Any], path: _Path) -> Iterator[_Child]:
        self.length(node, value, path)
        key_type = node.key_type
        every = isinstance(key_type, inspect.AnyType)
        every_text = isinstance(key_type, inspect.StrType) and bounds_of(key_type) is None
        keys: Any = dict[self.annotation(key_type), Any]  # type: ignore[misc]
        for key, item in value.items():
            inside = (path, f"[{_key(key)}]")
            if not (every or (every_text and isinstance(key, str))):
                self.budget -= 1
                self.convert({key: None}, keys, inside)
            yield node.value_type, item, inside

    def sequence(self, node: Any, value: Sequence[Any], path: _Path) -> Iterator[_Child]:
        errors, weight = len(self.errors), self.weight
        self.length(node, value, path)
        for index, item in enumerate(value):
            yield node.item_type, item, (path, index)
        if isinstance(node, (inspect.SetType, inspect.FrozenSetType)):
            self.whole(node, value, path, errors, weight)

    def fixed(
        self, node: inspect.Type, types: Sequence[inspect.Type | None], least: int, value: Sequence[Any], path: _Path
    ) -> Iterator[_Child]:
        """An array whose places have types of their own; None is the tag's."""
        errors, weight = len(self.errors), self.weight
        if len(value) < least or len(value) > len(types) or types[:1] == [None]:
            self.convert(value, self.annotation(node), path, only_here=True)
            if types[:1] == [None] and value:
                self.tag(node, value, path)
        for index, (item_type, item) in enumerate(zip(types, value, strict=False)):
            if item_type is not None:
                yield item_type, item, (path, index)
        self.whole(node, value, path, errors, weight)

    def tag(self, node: Any, value: Sequence[Any], path: _Path) -> None:
        if not _same(node.tag, value[0]):
            self.convert(value, self.annotation(node), path)

    def length(self, node: Any, value: Any, path: _Path) -> None:
        shortest, longest = node.min_length, node.max_length
        if (shortest is not None and len(value) < shortest) or (longest is not None and len(value) > longest):
            self.convert(value, Annotated[dict if isinstance(value, dict) else list, bounds_of(node)], path)

    def whole(self, node: inspect.Type, value: Any, path: _Path, errors: int, weight: int) -> None:
        """What only the whole can have wrong: a ``__post_init__``, an attrs validator, items that can't be hashed.

        Only asked when nothing in it is wrong, else that would be said again. It reads everything below once more, in
        C,
        so it has a budget of its own: for a chain of nested objects that would be quadratic.
        """
        if self.truncated or len(self.errors) > errors or not _has_whole(node):
            return
        self.checks -= self.weight - weight + len(value)
        if self.checks < 0:
            self.truncated = True
        else:
            self.convert(value, self.annotation(node), path)


def _has_whole(node: inspect.Type) -> bool:
    if isinstance(node, inspect.StructType | inspect.DataclassType):
        cls = get_origin(node.cls) or node.cls
        return hasattr(cls, "__post_init__") or hasattr(cls, "__attrs_attrs__")
    return isinstance(node, inspect.SetType | inspect.FrozenSetType)


def _is_object(node: inspect.Type) -> bool:
    return isinstance(node, inspect.DataclassType | inspect.TypedDictType) or (
        isinstance(node, inspect.StructType) and not node.array_like
    )


def _is_array_struct(node: inspect.Type) -> bool:
    return isinstance(node, inspect.StructType) and node.array_like


def _array_fields(node: Any) -> tuple[list[inspect.Type | None], int]:
    """The types of the places, None for a tag, and how many there must be."""
    tag: list[inspect.Type | None] = [None] if getattr(node, "tag_field", None) is not None else []
    required = [index for index, field in enumerate(node.fields, len(tag) + 1) if field.required]
    return [*tag, *(field.type for field in node.fields)], required[-1] if required else len(tag)


class _Choice:
    """A union, sorted by what a value can be."""

    __slots__ = ("array_tags", "arrays", "object_tags", "objects", "tag_field")

    def __init__(self, node: inspect.UnionType) -> None:
        options: list[Any] = [unwrap(option) for option in node.types]
        self.objects = [option for option in options if isinstance(option, DICTS) or _is_object(option)]
        self.arrays = [option for option in options if isinstance(option, ARRAYS) or _is_array_struct(option)]
        self.object_tags = _by_tag(self.objects)
        self.array_tags = _by_tag(self.arrays)
        # msgspec lets the Structs of a union have but one field for their tags.
        self.tag_field = next((option.tag_field for option in self.objects if _is_tagged(option)), None)

    def of(self, value: Any) -> inspect.Type | None:
        """The one option that a dict or list can be; None where there is no such one."""
        if isinstance(value, dict):
            return _option(self.objects, self.object_tags, value.get(self.tag_field))
        return _option(self.arrays, self.array_tags, value[0] if value else None)


def _option(options: list[Any], tags: dict[tuple[type, Any], Any], tag: Any) -> inspect.Type | None:
    if isinstance(tag, str | int) and (tag.__class__, tag) in tags:
        return tags[tag.__class__, tag]  # type: ignore[no-any-return]
    return options[0] if len(options) == 1 else None


def _by_tag(options: list[Any]) -> dict[tuple[type, Any], Any]:
    return {(option.tag.__class__, option.tag): option for option in options if _is_tagged(option)}


def _is_tagged(node: inspect.Type) -> bool:
    return isinstance(node, inspect.StructType) and node.tag_field is not None


def _same(tag: str | int | None, value: Any) -> bool:
    return type(tag) is type(value) and tag == value


def _parted(text: str) -> tuple[str, str]:
    """A message of msgspec, and the path that it ends with."""
    match = _AT(text)
    return (match[1], match[2]) if match is not None else (text, "")


def _key(key: Any) -> str:
    return msgspec.json.encode(_clipped(key)).decode() if isinstance(key, str) else _clipped(str(key))


def _written(path: _Path) -> str:
    parts = []
    while path is not None:
        path, part = path
        parts.append(part if isinstance(part, str) else f"[{part}]")
    return _clipped("".join(reversed(parts)).removeprefix("."))


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"

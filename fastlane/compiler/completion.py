"""Decoded dataclasses, completed.

msgspec (0.22) leaves a plain default of a dataclass in the class where JSON lacks the field: the attribute is there,
but not in the ``__dict__``, and what msgspec encodes is the ``__dict__``. Such an object would be sent back without it.
Dataclasses with slots, attrs classes and Structs are not concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_origin

from msgspec import NODEFAULT, inspect

from fastlane.compiler.inspection import ARRAYS, DICTS, unwrap

__all__ = ["completing"]


def completing(decode: Callable[..., Any], annotation: Any) -> Callable[..., Any]:
    """``decode`` itself where ``annotation`` holds no such dataclass, else followed by their completion."""
    root = inspect.type_info(annotation)
    if not any(_defaults(node) for node in _all_nodes(root)):
        return decode

    def decode_whole(raw: Any) -> Any:
        value = decode(raw)
        stack = [(root, value)]  # not recursion: a body may be nested as deep as its decoder allows
        while stack:
            stack.extend(_members(*stack.pop()))
        return value

    return decode_whole


def _class_of(node: inspect.Type) -> Any:
    cls = getattr(node, "cls", None)
    return get_origin(cls) or cls


def _defaults(node: inspect.Type) -> dict[str, Any]:
    """The defaults that stay in the class."""
    cls = _class_of(node)
    if not isinstance(node, inspect.DataclassType) or not cls.__dictoffset__ or hasattr(cls, "__attrs_attrs__"):
        return {}
    return {field.name: field.default for field in node.fields if field.default is not NODEFAULT}


def _members(node: inspect.Type, value: Any) -> Iterator[tuple[inspect.Type, Any]]:
    """Completes one value, and answers what stands in it."""
    node = unwrap(node)
    if isinstance(node, inspect.UnionType):
        for option in node.types:
            if _is_of(unwrap(option), value):
                yield option, value
    elif isinstance(node, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
        defaults = _defaults(node)
        if not defaults.keys() <= getattr(value, "__dict__", defaults).keys():
            present = dict(value.__dict__)
            value.__dict__.clear()
            value.__dict__.update({field.name: present.get(field.name, field.default) for field in node.fields})
            value.__dict__.update(present)
        for field in node.fields:
            yield field.type, getattr(value, field.name)
    elif isinstance(node, inspect.TypedDictType):
        for field in node.fields:
            if field.name in value:
                yield field.type, value[field.name]
    elif isinstance(node, DICTS):
        for member in value.values():
            yield node.value_type, member
    elif isinstance(node, inspect.TupleType):
        yield from zip(node.item_types, value, strict=True)
    elif isinstance(node, ARRAYS):
        for member in value:
            yield node.item_type, member  # type: ignore[union-attr]


def _is_of(option: inspect.Type, value: Any) -> bool:
    cls = _class_of(option)
    if isinstance(option, (*DICTS, inspect.TypedDictType)):
        return isinstance(value, dict)
    if isinstance(option, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
        return isinstance(value, cls)
    return isinstance(option, ARRAYS) and isinstance(value, (list, tuple, set, frozenset))


def _all_nodes(root: inspect.Type) -> list[inspect.Type]:
    """Every type in an annotation, each once."""
    found: dict[int, inspect.Type] = {}
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            stack.extend(node)
        elif isinstance(node, (inspect.Type, inspect.Field)) and id(node) not in found:
            found[id(node)] = node  # type: ignore[assignment]
            stack.extend(getattr(node, name) for name in node.__struct_fields__)
    return list(found.values())

"""Lists, sets and tuples of scalars: from repeated keys of a query or form, or from repeated header lines."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import ValidationError

from fastlane.compiler.annotations import describe, take_apart, union_arms
from fastlane.compiler.reader import IllegalAnnotation, Reader, length_check, refuse_union_bounds
from fastlane.compiler.scalars import scalar_reader

__all__ = ["ListReader", "list_reader"]

_BUILDERS: Final[dict[Any, Callable[[Any], Any]]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    collections.abc.Sequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    collections.abc.Set: set,
}


class ListReader:
    """How the texts of a repeated value become a collection.

    Attributes:
        annotation: what it reads, without None.
        decode: the whole rule, from the list of texts. Raises ``msgspec.ValidationError``.
        items: the reader of each item, or of each place of a fixed tuple.
        fixed: it is a tuple of a fixed length.
        octets, optional: as of a ``Reader``.
    """

    __slots__ = ("annotation", "check", "decode", "fixed", "items", "octets", "optional")

    def __init__(
        self,
        annotation: Any,
        items: tuple[Reader, ...],
        build: Callable[[Any], Any],
        *,
        fixed: bool,
        check: Callable[[Any], None] | None,
        optional: bool = False,
    ) -> None:
        self.annotation = annotation
        self.items = items
        self.fixed = fixed
        self.check = check
        self.octets = any(item.octets for item in items)
        self.optional = optional
        decode_item = items[0].decode if items else str

        def decode(texts: Sequence[Any]) -> Any:
            if fixed:
                self.check_length(texts)
                return tuple([reader.decode(text) for reader, text in zip(items, texts, strict=True)])
            value = build(map(decode_item, texts))
            if check is not None:
                check(value)
            return value

        self.decode = decode

    def check_length(self, texts: Sequence[Any]) -> None:
        """Raises msgspec's error where the number of texts does not fit, as far as that can be said before reading."""
        if self.fixed and len(texts) != len(self.items):
            raise ValidationError(f"Expected `array` of length {len(self.items)}, got {len(texts)}")

    def item(self, index: int) -> Reader:
        """The reader of the text at that index."""
        return self.items[index] if self.fixed else self.items[0]


def list_reader(annotation: Any) -> ListReader | None:
    """The reader of a collection of scalars; None when it is something else.

    Raises:
        IllegalAnnotation: it is one, but of items that text can't hold, or with bounds that do not fit.
    """
    parts = take_apart(annotation)
    arms = union_arms(parts.type)
    if arms is not None:
        real = [arm for arm in arms if arm is not type(None)]
        inner = list_reader(real[0]) if len(real) == 1 else None
        if inner is not None:
            refuse_union_bounds(parts.type, parts.metas)
            inner.optional = True
        return inner
    origin = typing.get_origin(parts.type) or parts.type
    build = _BUILDERS.get(origin) if isinstance(origin, collections.abc.Hashable) else None
    if build is None:
        return None
    arguments = typing.get_args(parts.type)
    fixed = origin is tuple and bool(arguments) and arguments[-1] is not ...
    item_types = (arguments if fixed else arguments[:1]) or (str,)
    readers = [scalar_reader(item) for item in item_types]
    items = tuple(reader for reader in readers if reader is not None)
    if len(items) < len(readers):
        return None
    if any(reader.optional for reader in items):
        raise IllegalAnnotation(f"{describe(parts.type)}: an item of text is never None", "take `| None` off the items")
    try:
        msgspec.json.Decoder(parts.full)
    except TypeError as error:
        raise IllegalAnnotation(str(error), "use constraints that fit the type") from None
    return ListReader(parts.full, items, build, fixed=fixed, check=length_check(parts.metas, "array"))

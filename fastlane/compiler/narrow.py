"""Undeclared fields never leave: a result that is more than its annotation says is narrowed to it, or refused.

What an application returns is compared with what it declared (``fitting``). What does not fit takes a trip: it is
encoded and decoded again as the declared type, which drops at every depth what the type does not name and raises for
what it forbids. Objects that msgspec can't encode (an ORM's rows, a field that nobody should see) are read by
attribute first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Union, get_origin

import msgspec
from msgspec import inspect

from fastlane.compiler.annotations import describe
from fastlane.compiler.completion import completing
from fastlane.compiler.examine import wrong_values
from fastlane.compiler.fitting import Fits, fits_function, sufficient_classes
from fastlane.compiler.inspection import unwrap
from fastlane.errors import FastlaneError, Internal

__all__ = ["Format", "Narrowing", "UnfitResult", "json_format", "msgpack_format", "narrowing_of", "refusal"]


class UnfitResult(FastlaneError, TypeError):
    """A handler returned what its annotation does not declare. The text is for the log; a client gets a 500 without
    it.
    """


class Format:
    """JSON or MessagePack."""

    __slots__ = ("_decoder", "decode_builtins", "encode")

    def __init__(self, encoder: Any, decoder: Callable[..., Any]) -> None:
        self.encode: Callable[[Any], bytes] = encoder.encode
        self.decode_builtins: Callable[[bytes], Any] = decoder().decode
        self._decoder = decoder

    def decode_as(self, annotation: Any) -> Callable[[bytes], Any]:
        """Raises TypeError for what msgspec can't decode."""
        return self._decoder(annotation).decode  # type: ignore[no-any-return]


json_format = Format(msgspec.json.Encoder(), msgspec.json.Decoder)
msgpack_format = Format(msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder)


class Narrowing(Protocol):
    """One annotation, in one format.

    Attributes:
        classes: those whose instances all fit, so that generated code compares them itself; None where that does not
            tell.
        fits: compares the classes in a value; None where every value fits.
    """

    annotation: Any
    format: Format
    classes: tuple[type, ...] | None

    @property
    def fits(self) -> Fits | None: ...

    def __call__(self, value: Any) -> Any:
        """The value, or a narrowed copy of it.

        Raises:
            Internal: it can't be narrowed; in ``dev`` and tests UnfitResult, which names every path.
        """
        ...


class Whole:
    """The narrowing of a type that msgspec can decode."""

    __slots__ = ("_decode", "annotation", "classes", "fits", "format", "validate")

    def __init__(self, annotation: Any, form: Format, *, validate: bool) -> None:
        """Raises TypeError for an annotation that msgspec can't decode (an illegal union)."""
        node = inspect.type_info(annotation)
        self.annotation = annotation
        self.format = form
        self.validate = validate
        self._decode = completing(form.decode_as(annotation), annotation)
        self.fits: Fits | None = fits_function(node)
        self.classes = sufficient_classes(node)

    def __call__(self, value: Any) -> Any:
        fits = self.fits is None or self.fits(value)
        if fits and not self.validate:
            return value
        narrowed = self._narrow(value)
        # What fits leaves as it is: dev and production send the same.
        return value if fits else narrowed

    def _narrow(self, value: Any) -> Any:
        try:
            return self._trip(value)
        except (TypeError, ValueError) as first:  # msgspec's ValidationError is a ValueError
            # A subclass with a field that can't be encoded, or of a Struct that forbids unknown fields; an ORM's
            # object.
            try:
                return self._trip(msgspec.convert(value, self.annotation, from_attributes=True))
            except (TypeError, ValueError) as second:
                text = self._describe(value, first, second)
        raise refusal(text, validate=self.validate)

    def _trip(self, value: Any) -> Any:
        return self._decode(self.format.encode(value))

    def _describe(self, value: Any, first: Exception, second: Exception) -> str:
        opening = f"the handler declares {describe(self.annotation)} and returned {type(value).__qualname__}"
        if not isinstance(first, msgspec.ValidationError):
            return f"{opening}: {second}"  # it could not be encoded: what it lacks as an object tells more
        builtins = self.format.decode_builtins(self.format.encode(value))
        entries, truncated = wrong_values(self.annotation, builtins)
        if not entries:
            return f"{opening}: {first}"
        lines = [f"{path or 'the value itself'}: {message}" for path, message in entries]
        return f"{opening}: {'; '.join(lines)}{'; …' if truncated else ''}"


class Choice:
    """The narrowing of a union that msgspec can encode but not decode: of Structs without tags, or other objects.

    The exact class decides, then the nearest base class, then what else the union holds.
    """

    __slots__ = ("_by_class", "_rest", "annotation", "classes", "format", "validate")

    def __init__(
        self, annotation: Any, by_class: dict[type, Whole], rest: Whole | None, form: Format, *, validate: bool
    ) -> None:
        self.annotation = annotation
        self.format = form
        self.validate = validate
        self.classes: tuple[type, ...] | None = None
        self._by_class = by_class
        self._rest = rest

    def fits(self, value: Any) -> bool:
        narrowing = self._by_class.get(value.__class__, self._rest)
        return narrowing is not None and (narrowing.fits is None or narrowing.fits(value))

    def __call__(self, value: Any) -> Any:
        for cls in type(value).__mro__:
            if cls in self._by_class:
                return self._by_class[cls](value)
        if self._rest is not None:
            return self._rest(value)
        names = " | ".join(cls.__qualname__ for cls in self._by_class)
        text = f"the handler declares {names} and returned {type(value).__qualname__}"
        raise refusal(text, validate=self.validate)


def narrowing_of(options: list[Any], form: Format, *, validate: bool) -> Narrowing:
    """The narrowing of the union of ``options``, or of the only one.

    Raises TypeError for what msgspec can't decode, unless it is only that the options don't go together.
    """
    annotation = _union(options)
    try:
        return Whole(annotation, form, validate=validate)
    except TypeError:
        if len(options) < 2:
            raise
    by_class: dict[type, Whole] = {}
    others: list[Any] = []
    for option in options:
        node = unwrap(inspect.type_info(option))
        if isinstance(node, (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)):
            cls = get_origin(node.cls) or node.cls
            if cls in by_class:
                raise TypeError(f"{cls.__qualname__} stands in it twice: nothing tells the two apart")
            by_class[cls] = Whole(option, form, validate=validate)
        else:
            others.append(option)
    rest = Whole(_union(others), form, validate=validate) if others else None
    return Choice(annotation, by_class, rest, form, validate=validate)


def _union(options: list[Any]) -> Any:
    return Union[tuple(options)]  # noqa: UP007


def refusal(text: str, *, validate: bool) -> Exception:
    """What to raise for a result that must not leave: with ``validate`` it says why, else only the log does."""
    error = UnfitResult(text)
    if validate:
        return error
    internal = Internal()
    internal.__cause__ = error
    return internal

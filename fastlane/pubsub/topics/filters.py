"""Which messages of its topic a subscription wants: a condition on their attributes, judged where they are consumed."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Collection, Mapping
from types import EllipsisType
from typing import Any, TypeAlias

from fastlane.errors import CompileError
from fastlane.pubsub.attributes import attribute_text
from fastlane.resources.declaration import Place

__all__ = ["Condition", "Filter", "FilterSpecification"]

Scalar: TypeAlias = str | int | enum.Enum
Condition: TypeAlias = Scalar | Collection[Scalar] | EllipsisType | Callable[[str], bool] | None
FilterSpecification: TypeAlias = Mapping[str, Condition] | Callable[[Mapping[str, str]], bool]
"""``{"country": "se"}`` is; ``{"country": ["se", "no"]}`` is one of; ``...`` is there; ``None`` is not there; a
function of the text decides. All of them have to hold. Or one function of all attributes."""


class Filter:
    """A condition on attributes. What does not match is acknowledged, and never seen.

    Raises:
        CompileError: it is none, with the place of the subscription.
    """

    __slots__ = ("matches", "specification")

    matches: Callable[[Mapping[str, str]], bool]
    """Whether a message with these attributes is wanted. Raises what the user's functions raise."""

    def __init__(self, specification: FilterSpecification, place: Place) -> None:
        self.specification = specification
        if callable(specification):
            self.matches = _plain(specification, place)
        elif isinstance(specification, Mapping) and specification:
            tests = [(name, _test(name, condition, place)) for name, condition in specification.items()]
            self.matches = lambda attributes: all(test(attributes.get(name)) for name, test in tests)
        else:
            raise _mistake(f"filter={specification!r} is no filter", place)

    def __repr__(self) -> str:
        return f"Filter({self.specification!r})"


def _test(name: object, condition: Any, place: Place) -> Callable[[str | None], bool]:
    if not isinstance(name, str) or not name:
        raise _mistake(f"filter= has {name!r}, which is no name of an attribute", place)
    if condition is None:
        return lambda text: text is None
    if condition is ...:
        return lambda text: text is not None
    if callable(condition) and not isinstance(condition, enum.Enum):
        judge = _plain(condition, place)
        return lambda text: text is not None and judge(text)
    wanted = condition if isinstance(condition, list | tuple | set | frozenset) else (condition,)
    if not wanted or not all(isinstance(one, str | int | enum.Enum) for one in wanted):
        raise _mistake(f"filter={{{name!r}: {condition!r}}} can't be compared with a text", place)
    texts = frozenset(map(attribute_text, wanted))
    return lambda text: text in texts


def _plain(function: Callable[[Any], bool], place: Place) -> Callable[[Any], bool]:
    """A coroutine would be true, whatever it comes to."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise _mistake(f"filter= has {function!r}, which is an `async def`, and nobody would await it", place)
    return function


def _mistake(problem: str, place: Place) -> CompileError:
    return CompileError(
        problem,
        mend='write `filter={"country": "se"}`: a text, a list of texts, `...` for any, None for none, or a function',
        file=place.file,
        line=place.line,
    )

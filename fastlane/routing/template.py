"""Path templates: ``/posts/{id}``, ``/files/{path:path}``, ``/reports/{name}.json``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from fastlane.errors import CompileError
from fastlane.routing.segments import encode_segment, encode_tail

__all__ = ["PathTemplate", "Segment", "parse_template"]

VARIABLE = re.compile(r"\{([^{}]*)\}")
NAME = re.compile(r"[^\W\d][\w-]*")

CONVERTER_TYPES = {
    "int": "int",
    "float": "float",
    "str": "str",
    "string": "str",
    "uuid": "uuid.UUID",
    "date": "datetime.date",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a template between two slashes.

    Attributes:
        prefix: text before the variable; all of the text of a static segment.
        variable: the variable's name, or None in a static segment.
        suffix: text after the variable.
        tail: the variable takes the whole rest of the path, slashes included.
    """

    prefix: str = ""
    variable: str | None = None
    suffix: str = ""
    tail: bool = False

    @property
    def shape(self) -> tuple[str, ...]:
        """What the segment matches, whatever its variable is called. Equal shapes match the same text."""
        if self.variable is None:
            return ("static", self.prefix)
        if self.tail:
            return ("tail",)
        return ("variable", self.prefix, self.suffix)

    def overlaps(self, other: Segment) -> bool:
        """Some text is matched by both (tails are not asked: they overlap with everything)."""
        if self.variable is None and other.variable is None:
            return self.prefix == other.prefix
        if self.variable is None:
            return other.matches(self.prefix)
        if other.variable is None:
            return self.matches(other.prefix)
        return (self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)) and (
            self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix)
        )

    def covers(self, other: Segment) -> bool:
        """All that ``other``, also with a variable, matches is matched by this one too."""
        return other.prefix.startswith(self.prefix) and other.suffix.endswith(self.suffix)

    def matches(self, text: str) -> bool:
        """The text fits this segment with its variable, which is never empty."""
        return (
            len(text) > len(self.prefix) + len(self.suffix)
            and text.startswith(self.prefix)
            and text.endswith(self.suffix)
        )


@dataclass(frozen=True)
class PathTemplate:
    """A parsed path template. Equal ``shape`` means: matches the same paths.

    Attributes:
        path: as it was written, with all prefixes.
        segments: its parts; ``/`` has one empty static part, and so has every path that ends in a slash.
    """

    path: str
    segments: tuple[Segment, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variables, in the order in which they stand."""
        return tuple(segment.variable for segment in self.segments if segment.variable is not None)

    @cached_property
    def shape(self) -> tuple[tuple[str, ...], ...]:
        return tuple(segment.shape for segment in self.segments)

    @property
    def static(self) -> bool:
        return not self.names

    @property
    def has_tail(self) -> bool:
        return self.segments[-1].tail

    def build(self, values: dict[str, str]) -> str:
        """The path with these values, percent-encoded. Needs a value for every name; an empty one fits only a tail."""
        parts = []
        for segment in self.segments:
            if segment.variable is None:
                parts.append(encode_segment(segment.prefix))
            elif segment.tail:
                parts.append(encode_tail(values[segment.variable]))
            else:
                middle = encode_segment(values[segment.variable])
                parts.append(f"{encode_segment(segment.prefix)}{middle}{encode_segment(segment.suffix)}")
        return "/" + "/".join(parts)


def parse_template(path: str, *, handler: str = "", file: str = "", line: int = 0) -> PathTemplate:
    """Read a path template.

    Args:
        path: starts with a slash. ``{name}`` matches one whole, non-empty segment, or what is left of it between a
            prefix and a suffix; ``{name:path}`` as the last segment matches the rest of the path, slashes included,
            also nothing.
        handler, file, line: where the error points to.

    Raises:
        CompileError: what the template does wrong, and the mend.
    """

    def wrong(problem: str, mend: str) -> CompileError:
        return CompileError(f"path {path!r}: {problem}", mend=mend, handler=handler, file=file, line=line)

    if not path.startswith("/"):
        raise wrong("a path starts with '/'", f"write {'/' + path!r}")
    if "?" in path or "#" in path:
        raise wrong("a path holds no query and no fragment", "annotate query values as parameters of the handler")
    if "%" in path:
        raise wrong("a path is written decoded", "write the character itself; its encoded forms match too")
    if "\0" in path:
        raise wrong("a path holds no NUL character", "leave it out")
    segments = []
    parts = path[1:].split("/")
    seen: set[str] = set()
    for index, part in enumerate(parts):
        segment = parse_segment(part, wrong)
        if segment.tail and index != len(parts) - 1:
            raise wrong(f"{{{segment.variable}:path}} takes the rest of the path", "make it the last segment")
        if segment.variable is not None:
            if segment.variable in seen:
                raise wrong(f"the variable {segment.variable!r} stands twice", "give each variable a name of its own")
            seen.add(segment.variable)
        segments.append(segment)
    return PathTemplate(path, tuple(segments))


def parse_segment(part: str, wrong: Callable[[str, str], CompileError]) -> Segment:
    """One segment of a template; ``wrong(problem, mend)`` makes the error."""
    variables = VARIABLE.findall(part)
    rest = VARIABLE.split(part)
    literal = rest[0] + "".join(rest[2::2])
    if "{" in literal or "}" in literal:
        raise wrong("a brace is not closed, or not opened", "write variables as {name}")
    if not variables:
        return Segment(part)
    if len(variables) > 1:
        raise wrong(
            f"the segment {part!r} has two variables",
            "one variable a segment: take it whole and split it in the handler",
        )
    name, _, converter = variables[0].partition(":")
    prefix, suffix = rest[0], rest[2]
    if converter and converter != "path":
        annotation = CONVERTER_TYPES.get(converter, converter)
        raise wrong(
            f"{{{name}:{converter}}} has a converter",
            f"write {{{name}}} and annotate the parameter: {name}: {annotation}",
        )
    if NAME.fullmatch(name) is None:
        raise wrong(f"{{{name}}} is no name", "name it like the handler's parameter, or use Path(...) with that name")
    if converter and (prefix or suffix):
        raise wrong(f"{{{name}:path}} shares its segment", "give it a segment of its own")
    return Segment(prefix, name, suffix, tail=bool(converter))

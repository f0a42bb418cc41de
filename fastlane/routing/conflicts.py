"""Two routes that claim the same requests are an error at import, not a matter of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlane.errors import CompileError
from fastlane.routing.route import Mount, Route, WebSocketRoute, handler_place

if TYPE_CHECKING:
    from fastlane.routing.template import PathTemplate, Segment

__all__ = ["Claims"]

Claimant = Route | WebSocketRoute | Mount


class Claims:
    """Who answers which method and shape of path."""

    __slots__ = ("_mixed", "_taken")

    def __init__(self) -> None:
        self._taken: dict[tuple[str, tuple[tuple[str, ...], ...]], Claimant] = {}
        # Routes with a segment like {name}.json. They alone can overlap without one of them being the narrower.
        self._mixed: list[tuple[str, PathTemplate, Claimant]] = []

    def claim(self, claimant: Claimant) -> None:
        """Take the requests of a placed route, WebSocket route or mount.

        Raises:
            CompileError: another one has them, wholly or in part; both are named. Nothing is taken then.
        """
        template = claimant.template
        methods = methods_of(claimant)
        mixed = any(segment.variable and (segment.prefix or segment.suffix) for segment in template.segments)
        for method in methods:
            other = self._taken.get((method, template.shape))
            if other is not None:
                raise conflict(claimant, other, method, "is claimed twice")
            if mixed:
                for other_method, other_template, other in self._mixed:
                    if method == other_method and ambiguous(template, other_template):
                        raise conflict(claimant, other, method, "can't be told apart from another one")
        for method in methods:
            self._taken[method, template.shape] = claimant
            if mixed:
                self._mixed.append((method, template, claimant))

    def release(self, claimant: Claimant) -> None:
        """Give back what this very one has taken."""
        self._taken = {key: holder for key, holder in self._taken.items() if holder is not claimant}
        self._mixed = [entry for entry in self._mixed if entry[2] is not claimant]


def methods_of(claimant: Claimant) -> tuple[str, ...]:
    if isinstance(claimant, Route):
        return claimant.methods
    return ("WebSocket",) if isinstance(claimant, WebSocketRoute) else ("mount",)


def ambiguous(one: PathTemplate, two: PathTemplate) -> bool:
    """Some path fits both, and where they first differ none of the two segments is the narrower."""
    decided = False
    for mine, theirs in zip(one.segments, two.segments, strict=False):
        if mine.tail or theirs.tail:
            return decided
        if not mine.overlaps(theirs):
            return False
        if not decided and mine.shape != theirs.shape:
            if not is_unordered(mine, theirs):
                return False
            decided = True
    return decided and len(one.segments) == len(two.segments)


def is_unordered(one: Segment, two: Segment) -> bool:
    """Two overlapping segments with variables, none of which matches all that the other does."""
    return one.variable is not None and two.variable is not None and not one.covers(two) and not two.covers(one)


def conflict(claimant: Claimant, other: Claimant, method: str, problem: str) -> CompileError:
    if isinstance(claimant, Mount):
        return CompileError(
            f"mount {claimant.path!r} is there already", mend="mount the application at another path, or once only"
        )
    assert not isinstance(other, Mount)
    place = handler_place(other.handler)
    where = f" ({place['file']}:{place['line']})" if place["file"] else ""
    return CompileError(
        f"{method} {claimant.path} {problem}: {place['handler']!r}{where} has {method} {other.path}",
        mend="give one of the two another path or method",
        **handler_place(claimant.handler),
    )

"""What generated code calls around a result, where a route asks for more than bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastlane.http.response import Response

if TYPE_CHECKING:
    from fastlane.http.background import BackgroundTasks

__all__ = ["check_state", "with_background"]


def with_background(
    result: bytes | Response[Any], background: BackgroundTasks, status: int, headers: tuple[tuple[bytes, bytes], ...]
) -> bytes | Response[Any]:
    """The result with the tasks attached: bytes become the Response that they stand for. Without tasks, as it was."""
    if not len(background):
        return result
    if isinstance(result, bytes):
        response: Response[Any] = Response(result or None, status)
        response.raw_headers = list(headers)
        result = response
    if result.background is not None:
        # Those that the handler put on its Response come first: they were there first.
        result.background.add(background)
    else:
        result.background = background
    return result


def check_state(state: Any, expected: type) -> Any:
    """What the lifespan yielded. ``RuntimeError`` where it is no ``expected``."""
    if isinstance(state, expected):
        return state
    found = "nothing" if state is None else f"a {type(state).__qualname__}"
    raise RuntimeError(f"State() asks for a {expected.__qualname__}, but the lifespan yielded {found}")

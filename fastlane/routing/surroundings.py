"""The locals of the function in which a route is declared: an annotation may name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FrameType

__all__ = ["Surroundings", "settle", "surroundings_of"]


class Surroundings(Mapping[str, object]):
    """A function's locals, as they are when somebody looks: a class may be defined below the handler that names it.

    The frame, and with it the whole stack, is kept only until every name has been found (``settle``).
    """

    __slots__ = ("_frame", "_settled")

    def __init__(self, frame: FrameType) -> None:
        self._frame: FrameType | None = frame
        self._settled: dict[str, object] = {}

    def settle(self) -> None:
        """Keep what is there now, and let the frame go."""
        self._settled = dict(self._now())
        self._frame = None

    def _now(self) -> Mapping[str, object]:
        # A frame keeps its locals after the function has returned; Python 3.13 answers a proxy, before it is a dict.
        return self._settled if self._frame is None else self._frame.f_locals

    def __getitem__(self, name: str) -> object:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


def surroundings_of(frame: FrameType, handler: object) -> Mapping[str, object]:
    """What a function that is decorated in this frame sees of the function around it; nothing in a module.

    The function around it need not be the one that calls: a decorator of the user's own may stand between.
    """
    around = getattr(handler, "__qualname__", "").rpartition(".<locals>.")[0]
    caller: FrameType | None = frame if around else None
    while caller is not None:
        if caller.f_code.co_qualname == around:
            return Surroundings(caller)
        caller = caller.f_back
    return {} if frame.f_locals is frame.f_globals else Surroundings(frame)


def settle(names: Mapping[str, object]) -> None:
    """Every name that annotations need has been found."""
    if isinstance(names, Surroundings):
        names.settle()

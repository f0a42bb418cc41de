"""The lane that measures: in place of `LaneProtocol` where ``--metrics`` asks for it, so that others don't pay."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastlane.server.protocol import LaneProtocol

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from fastlane.server.config import LaneConfig
    from fastlane.server.head import LaneHead

__all__ = ["MeasuredProtocol"]


class MeasuredProtocol(LaneProtocol):
    """Counts each request's time from its whole head to the end of its answer, in ``config.latencies``."""

    __slots__ = ("_began", "_latencies")

    def __init__(
        self,
        config: LaneConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert config.latencies is not None
        self._latencies = config.latencies
        self._began = 0.0

    def begin(self, head: LaneHead) -> None:
        self._began = perf_counter()
        super().begin(head)

    def answer_again(self, head: LaneHead, body: bytes) -> None:
        # Not the shortcut of the class below: that one counts, and tells nobody.
        self._began = perf_counter()
        self.answer(head, body)

    def complete(self, head: LaneHead, status: int, size: int) -> None:
        self._latencies.add(perf_counter() - self._began)
        super().complete(head, status, size)

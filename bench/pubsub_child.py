"""One side on one broker, in a process of its own: prints what it found as a line of JSON.

python -m bench.pubsub_child SIDE NAME ADDRESS-OR-CONFIGURATION EFFORT
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from msgspec import json

from bench.pubsub_work import Effort, Side, work

__all__ = ["main"]


def make(side: str, name: str, where: str) -> Side:
    if side == "fastlane":
        from bench.pubsub_fastlane import Fastlane

        return Fastlane(name, Path(where))
    from bench.pubsub_bare import SIDES

    return SIDES[side](name, where)


def main(arguments: list[str]) -> None:
    side, prefix, where, effort = arguments
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(work(lambda part: make(side, f"{prefix}-{part}", where), json.decode(effort, type=Effort)))
    print("@result " + json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

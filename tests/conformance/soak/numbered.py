"""The app of the soaks: each handled message is a line in a file that survives its worker."""

from __future__ import annotations

import os

from msgspec import Struct

from fastlane import App
from fastlane.pubsub import Retry, Topic
from fastlane.sql import Database

__all__ = ["Numbered", "app", "topic"]

IS_ORDERED = os.environ["SOAK_ORDERED"] == "1"
_log = os.open(os.environ["SOAK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

app = App(title="Soak")

if "SOAK_DATABASE" in os.environ:  # which is the broker
    database = Database(os.environ["SOAK_DATABASE"], migrations=None)


class Numbered(Struct):
    key: str
    number: int


topic: Topic[Numbered] = Topic("soak", Numbered, order_by="key" if IS_ORDERED else None)


@topic.subscribe(
    "numbers",
    ack_deadline=float(os.environ.get("SOAK_ACK_DEADLINE", "10")),
    max_concurrency=64,
    retry=Retry(min_backoff=1, max_backoff=2, max_attempts=20),
)
async def handle(event: Numbered) -> None:
    if event.number % 997 == 5 and not _was_here(event):
        raise ValueError("the first attempt of some fails")
    # One write: lines of several workers don't mix, and what is written outlives a SIGKILL.
    os.write(_log, b"%s %d %d\n" % (event.key.encode(), event.number, os.getpid()))


_failed: set[tuple[str, int]] = set()


def _was_here(event: Numbered) -> bool:
    key = event.key, event.number
    if key in _failed:
        return True
    _failed.add(key)
    return False


@app.get("/pid")
async def pid() -> int:
    return os.getpid()

"""One that starts while another is at the same path."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastlane.supervisor.directory_lock import directory_lock
from fastlane.supervisor.failure import BootFailure

__all__ = ["kept_waiting"]


@contextlib.contextmanager
def kept_waiting(start: Callable[[], None], path: str | Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """``start`` in a thread, waiting for the directory of ``path`` until the block ends; then it has ended, too.

    The list has the text of the `BootFailure` with which it did.
    """
    waits = threading.Event()
    failures: list[str] = []
    sleep = time.sleep

    def noted(seconds: float) -> None:
        waits.set()
        sleep(seconds)

    def begin() -> None:
        try:
            start()
        except BootFailure as failure:
            failures.append(str(failure))

    monkeypatch.setattr(time, "sleep", noted)
    thread = threading.Thread(target=begin)
    with directory_lock(str(path)):
        thread.start()
        assert waits.wait(60)
        yield failures
    thread.join()

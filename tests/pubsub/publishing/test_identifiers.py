"""Message ids are UUIDs of version 7, ever greater, and of no two processes the same."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

from fastlane.pubsub.publishing import identifiers
from fastlane.pubsub.publishing.identifiers import uuid7


def test_an_id_is_a_uuid_of_version_seven_of_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    text = uuid7()
    found = uuid.UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert before <= found.int >> 80 <= time.time_ns() // 1_000_000


def test_each_is_greater_than_the_one_before() -> None:
    ids = [uuid7() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_a_clock_that_is_set_back_makes_no_smaller_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: 0)
    assert uuid7() > first


def test_threads_make_different_ones() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(uuid7() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000


def test_a_forked_process_counts_on_elsewhere() -> None:
    uuid7()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        os.write(writing, " ".join(uuid7() for _ in range(50)).encode())
        os._exit(0)
    os.close(writing)
    ours = {uuid7() for _ in range(50)}
    with os.fdopen(reading) as pipe:
        theirs = set(pipe.read().split())
    os.waitpid(child, 0)
    assert len(theirs) == 50
    assert not ours & theirs

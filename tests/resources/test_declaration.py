from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastlane.resources.declaration import declared_kinds, declared_resources, living_resources
from fastlane.secrets import Secret


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_what_is_declared_may_be_looked_through_while_others_declare(hasty: None) -> None:
    kept = [Secret(f"KEPT_{number}") for number in range(100)]

    def declare(thread: int) -> None:
        for number in range(1000):
            Secret(f"GONE_{thread}_{number}")

    def look(_: int) -> None:
        for _ in range(50):
            assert len(living_resources()) >= len(kept)
            assert len(declared_resources(Secret)) >= len(kept)
            assert "secret" in declared_kinds()

    with ThreadPoolExecutor(4) as threads:
        works = [threads.submit(work, thread) for thread, work in enumerate((declare, look, declare, look))]
        for work in works:
            work.result()

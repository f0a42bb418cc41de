from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.processes.served import Served


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Served]]:
    """Start a server; it is killed at the end, should it still run."""
    started: list[Served] = []

    def start(*options: str, **keywords) -> Served:
        started.append(Served(tmp_path, *options, **keywords))
        return started[-1]

    yield start
    for served in started:
        served.close()

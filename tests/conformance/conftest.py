from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tests.conformance.brokers import BROKERS, CHOSEN, Broker
from tests.conformance.stage import Stage


@pytest.fixture(scope="session", params=CHOSEN)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Each of the chosen brokers, one after the other."""
    try:
        broker = BROKERS[request.param](tmp_path_factory.mktemp(request.param))
    except pytest.skip.Exception as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have every broker: {missing}")
        raise
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stage(broker: Broker) -> Iterator[Stage]:
    """Where a test declares topics and runs them on the broker."""
    yield Stage(broker)
    gc.collect()  # a topic is declared as long as it lives

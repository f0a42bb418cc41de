from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from fastlane.resources.configuration import GcpOptions
from tests.servers.gcp_emulator import GcpEmulator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def emulator() -> Iterator[GcpEmulator]:
    with GcpEmulator() as server:
        yield server


@pytest.fixture
def options(emulator: GcpEmulator) -> GcpOptions:
    """Of a provider whose project has no topic and no subscription."""
    return GcpOptions(project=f"project-{next(_numbers)}", endpoint=emulator.url)

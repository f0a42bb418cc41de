"""One PostgreSQL for all tests of this room, and an empty database of it for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.servers.postgres import Postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> str:
    """Of an empty database."""
    name = f"test{next(_numbers)}"
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url(name)

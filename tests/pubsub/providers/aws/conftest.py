from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastlane.resources.configuration import AwsOptions
from tests.servers.moto import MotoServer


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def options(moto: MotoServer) -> AwsOptions:
    """Of a provider whose account has no topic and no queue."""
    moto.reset()
    return AwsOptions(region="eu-central-1", endpoint_url=moto.url, access_key_id="key", secret_access_key="s3cret")

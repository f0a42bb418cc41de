"""Secrets without this machine's values."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

import pytest

from fastlane.resources.configuration import ResourceConfiguration, SecretsOptions
from fastlane.resources.surroundings import Mode, Surroundings
from fastlane.secrets import SecretsService

Make = Callable[..., SecretsService]


@pytest.fixture(autouse=True)
def _alone() -> None:
    """What an earlier test declared may wait, in a cycle, for the collector."""
    gc.collect()


@pytest.fixture
def make() -> Make:
    """A service with these options of ``[secrets]`` and this environment."""

    def service(
        environment: Mapping[str, str] | None = None,
        mode: Mode = "serve",
        *,
        embedded: bool = False,
        boot_timeout: float = 60.0,
        **options: object,
    ) -> SecretsService:
        configuration = ResourceConfiguration(secrets=SecretsOptions(**options))  # type: ignore[arg-type]
        surroundings = Surroundings(mode=mode, embedded=embedded, boot_timeout=boot_timeout)
        return SecretsService(configuration, surroundings, environment=environment or {})

    return service

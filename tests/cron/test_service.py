"""What the runtime asks of cron jobs before anything runs."""

from __future__ import annotations

import sys

import pytest

from fastlane.cron import cron
from fastlane.cron.service import CronService
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Mode, Surroundings
from fastlane.sql import Database


def service(mode: Mode) -> CronService:
    return CronService(ResourceConfiguration(), Surroundings(mode=mode))


@pytest.mark.parametrize(("mode", "refused"), [("serve", True), ("dev", True), ("test", False)])
def test_which_of_two_databases_has_the_runs_must_be_said_unless_nothing_fires(mode: Mode, refused: bool) -> None:
    databases = [Database("service-one"), Database("service-two")]

    @cron("service-job", every="1h")
    async def job() -> None: ...

    mistakes = service(mode).check()
    assert len(mistakes) == refused
    if refused:
        assert "cron jobs need one database for their runs, and there are 2: service-one, service-two" in mistakes[0]
    del databases


def test_a_missing_library_is_left_to_the_service_of_databases_which_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = Database("service-three")

    @cron("service-job", every="1h")
    async def job() -> None: ...

    monkeypatch.delitem(sys.modules, "fastlane.cron.database_store", raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert list(service("serve").check()) == []
    del database

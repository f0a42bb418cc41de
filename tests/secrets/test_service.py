"""At boot all are resolved or all that are missing are told; afterwards they are read again."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from fastlane.errors import ConfigurationError
from fastlane.redaction import redacted
from fastlane.resources.configuration import SecretsOptions, load, resolve
from fastlane.resources.surroundings import Surroundings
from fastlane.secrets import NoValue, Secret, SecretsService
from fastlane.secrets.sources import Reading, Source, Unreachable

from .conftest import Make


def test_every_secret_that_is_missing_is_told_with_its_place_and_its_mend(make: Make) -> None:
    here, other = Secret("TEST_ONE"), Secret("TEST_TWO")
    service = make({"TEST_THREE": "x" * 10})
    service.require(["TEST_FOUR", "TEST_THREE"])
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(service.prepare())
    text = str(caught.value)
    assert text.startswith("3 secrets are missing:\n  TEST_FOUR: the variable TEST_FOUR is not set (the configuration")
    assert f"TEST_ONE: the variable TEST_ONE is not set (declared at {here.place})\n    mend: set TEST_ONE=" in text
    assert str(other.place) in text
    assert "TEST_THREE" not in text


def test_what_one_process_prepared_another_receives(make: Make) -> None:
    key = Secret("TEST_KEY")
    boot, worker = make({"TEST_KEY": "correct horse"}), make()

    async def pass_on() -> None:
        report = await boot.prepare()
        boot.receive(report)
        assert key.get() == "correct horse"
        await boot.close()
        with pytest.raises(NoValue):
            key.get()
        worker.receive(report)
        assert key.get() == worker.value("TEST_KEY") == "correct horse"
        assert redacted("correct horse") == "***TEST_KEY***"
        await worker.open()
        await worker.close()

    asyncio.run(pass_on())
    assert redacted("correct horse") == "***TEST_KEY***"
    with pytest.raises(LookupError):
        worker.value("TEST_KEY")


def test_a_worker_without_a_report_has_no_values(make: Make) -> None:
    service = make()
    service.receive(None)
    assert asyncio.run(service.refresh()) == []
    asyncio.run(service.close())


def test_in_tests_nothing_has_to_be_there(make: Make) -> None:
    key, other = Secret("TEST_KEY"), Secret("TEST_OTHER")
    service = make({"TEST_OTHER": "from the environment"}, "test")

    async def run() -> None:
        service.receive(await service.prepare())
        await service.open()
        assert other.get() == "from the environment"
        with pytest.raises(NoValue):
            key.get()
        with key.override("x" * 9):
            assert key.get() == "x" * 9
        await service.close()

    asyncio.run(run())


def test_a_value_too_short_to_be_hidden_is_told_by_its_name(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    pin = Secret("TEST_PIN")
    service = make({"TEST_PIN": "1234"})
    with caplog.at_level("WARNING"):
        asyncio.run(service.prepare())
    asyncio.run(service.close())
    assert "the secret TEST_PIN has fewer than 6 characters" in caplog.text
    assert "1234" not in caplog.text
    assert pin.name == "TEST_PIN"


def test_a_name_that_nobody_declares_is_refused(make: Make) -> None:
    key = Secret("TEST_MAIL_KEY")
    (mistake,) = make(names={"TEST_MAIL_KEI": "x"}).check()
    assert mistake.startswith(
        "[secrets] names.TEST_MAIL_KEI: no secret of this name is declared. Did you mean 'TEST_MAIL_KEY'?"
    )
    assert make(names={key.name: "x"}).check() == []


def test_a_reference_to_what_is_no_name_is_refused(make: Make) -> None:
    service = make()
    service.require(["mail-key"])
    (mistake,) = service.check()
    assert mistake.startswith('{ secret = "mail-key" }: this is no name for a secret\n    mend: use a letter')


def test_a_secret_declared_twice_is_refused(make: Make) -> None:
    one = Secret("TEST_TWICE")
    other = Secret("TEST_TWICE")
    (mistake,) = make().check()
    assert "secret 'TEST_TWICE' is declared twice" in mistake
    assert str(one.place) in mistake
    assert str(other.place) in mistake


def test_the_configuration_may_refer_to_secrets(tmp_path: Path) -> None:
    (tmp_path / "fastlane.toml").write_text(
        '[sql.databases.blog]\nurl = { secret = "TEST_URL" }\n[secrets]\nprefix = { env = "PREFIX" }\n'
    )
    surroundings = Surroundings(mode="serve", config=str(tmp_path / "fastlane.toml"))
    url = "postgresql://blog:correct-horse@db/blog"
    loaded = load(surroundings, {"PREFIX": "P_", "P_TEST_URL": url})
    service = SecretsService.of(loaded, surroundings)
    assert "TEST_URL" in service.names
    report = asyncio.run(service.prepare())
    service.receive(report)
    assert resolve(loaded, service.value).sql.databases["blog"].url == url
    assert "correct-horse" not in redacted("the correct-horse")
    asyncio.run(service.close())


class Scripted(Source):
    """Answers what the test says, one after the other: a reading, or an exception."""

    def __init__(self, *answers: Reading | Exception) -> None:
        super().__init__(SecretsOptions())
        self.answers = list(answers)
        self.empty = asyncio.Event()

    async def read(self, names: Sequence[str]) -> Reading:
        if len(self.answers) == 1:
            self.empty.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def place(self, name: str) -> str:
        return "here"

    def mend(self, name: str) -> str:
        return "there"


def test_a_provider_that_does_not_answer_is_asked_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    service = make()
    service.source = Scripted(Unreachable("refused"), Reading({}, {}))
    asyncio.run(service.prepare())
    asyncio.run(service.close())
    assert "secrets can't be read yet, trying again in 0.25 s: refused" in caplog.text


def test_a_provider_that_never_answers_stops_the_boot(make: Make) -> None:
    service = make(boot_timeout=0.1)
    service.source = Scripted(Unreachable("refused"))
    with pytest.raises(ConfigurationError, match=r"secrets can't be read: refused\n    mend: .*tried for 0.08 s"):
        asyncio.run(service.prepare())


def test_a_rotated_secret_is_told_to_who_wants_to_know(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    key, told = Secret("TEST_KEY"), list[str]()

    @key.on_change
    def fail() -> None:
        raise RuntimeError(f"no good: {key.get()}")

    @key.on_change
    async def reconnect() -> None:
        told.append(key.get())

    service = make()
    service.source = Scripted(
        Reading({"TEST_KEY": "0ld-v4lue"}, {}),
        Unreachable("refused: 0ld-v4lue"),
        Reading({}, {"TEST_KEY": "it is gone"}),
        Reading({"TEST_KEY": "n3w-v4lue"}, {}),
    )

    async def run() -> None:
        service.receive(await service.prepare())
        assert await service.refresh() == []
        assert await service.refresh() == []
        assert key.get() == "0ld-v4lue"
        assert await service.refresh() == ["TEST_KEY"]
        assert key.get() == "n3w-v4lue"
        await service.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert told == ["n3w-v4lue"]
    assert "secrets could not be read again, the old values stay: refused: ***TEST_KEY***" in caplog.text
    assert "the secret TEST_KEY could not be read again, the old value stays: it is gone" in caplog.text
    assert "the secret TEST_KEY has a new value" in caplog.text
    assert "a callback of the secret TEST_KEY failed" in caplog.text
    assert not re.search("0ld-v4lue|n3w-v4lue", caplog.text)


def test_values_are_read_again_after_the_interval(make: Make) -> None:
    key, changed = Secret("TEST_KEY"), asyncio.Event()
    key.on_change(changed.set)
    service = make(refresh=0.01)
    old = Reading({"TEST_KEY": "0ld-v4lue"}, {})
    # Twice the old one: where the interval is over before it opens, it reads at once, and tells nobody of that.
    service.source = Scripted(old, old, Reading({"TEST_KEY": "n3w-v4lue"}, {}))

    async def run() -> None:
        service.receive(await service.prepare())
        await service.open()
        await asyncio.wait_for(changed.wait(), 30)
        assert key.get() == "n3w-v4lue"
        await service.close()

    asyncio.run(run())


def test_a_worker_that_starts_after_a_rotation_begins_with_the_new_value(make: Make, tmp_path: Path) -> None:
    key, told = Secret("TEST_KEY"), list[str]()
    key.on_change(lambda: told.append(key.get()))
    (tmp_path / "TEST_KEY").write_text("0ld-v4lue\n")

    async def run() -> None:
        boot, worker = (make(provider="files", path=str(tmp_path), refresh="1h") for _ in range(2))
        report = await boot.prepare()
        (tmp_path / "new").write_text("n3w-v4lue\n")
        os.replace(tmp_path / "new", tmp_path / "TEST_KEY")
        worker.receive(report)
        assert key.get() == "0ld-v4lue"
        await worker.open()
        assert key.get() == "n3w-v4lue"
        assert told == []  # nobody here knew the old one
        await worker.close()
        await boot.close()

    asyncio.run(run())


def test_a_worker_that_starts_when_the_values_are_old_reads_them_before_it_opens_anything(make: Make) -> None:
    key = Secret("TEST_KEY")

    async def run() -> None:
        boot, worker = make(refresh="1h"), make(refresh="1h")
        boot.source = Scripted(Reading({"TEST_KEY": "0ld-v4lue"}, {}))
        report = await boot.prepare()
        assert isinstance(report, dict)
        worker.source = Scripted(Reading({"TEST_KEY": "n3w-v4lue"}, {}))
        worker.receive(report | {"at": report["at"] - 3601})
        await worker.open()
        assert key.get() == "n3w-v4lue"
        await worker.close()
        await boot.close()

    asyncio.run(run())


def test_a_swapped_file_is_noticed_before_the_interval_is_over(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastlane.secrets.service.WATCH_SECONDS", 0.01)
    key, changed = Secret("TEST_KEY"), asyncio.Event()
    key.on_change(changed.set)
    (tmp_path / "TEST_KEY").write_text("0ld-v4lue\n")
    service = make(provider="files", path=str(tmp_path), refresh="1h")

    async def run() -> None:
        service.receive(await service.prepare())
        await service.open()
        (tmp_path / "new").write_text("n3w-v4lue\n")
        os.replace(tmp_path / "new", tmp_path / "TEST_KEY")
        await asyncio.wait_for(changed.wait(), 10)
        assert key.get() == "n3w-v4lue"
        await service.close()

    asyncio.run(run())

"""The steps of a runtime, with a service as small as can be."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterator

import pytest

from fastlane import runtime
from fastlane.errors import ConfigurationError
from fastlane.resources import declaration
from fastlane.resources.declaration import NotBound
from fastlane.resources.handoff import Handoff
from fastlane.resources.surroundings import Surroundings
from fastlane.runtime import Runtime
from fastlane.secrets import Secret
from fastlane.secrets.service import SecretsService
from tests.shelf import Shelf, ShelfService, behaviour

STEPS = ShelfService.steps


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[None]:
    monkeypatch.setitem(runtime.SERVICES, "topic", "tests.shelf:ShelfService")
    monkeypatch.setitem(runtime.SERVICES, "database", "tests.shelf:OtherService")
    monkeypatch.setattr(runtime, "_MARGIN_SECONDS", 0.01)
    monkeypatch.setattr(declaration, "_declared", weakref.WeakSet())
    monkeypatch.chdir(tmp_path)
    STEPS.clear()
    behaviour.clear()
    yield
    behaviour.clear()


def serve(**options) -> Surroundings:
    return Surroundings(mode="serve", **options)


async def opened(surroundings: Surroundings | None = None) -> Runtime:
    made = Runtime(surroundings or serve())
    made.check()
    await made.prepare()
    await made.open()
    return made


def fail(_: ShelfService) -> None:
    raise OSError("the shelf broke")


def test_the_steps_come_in_their_order() -> None:
    shelf = Shelf()

    async def run() -> None:
        made = await opened()
        assert shelf.words == ["mode serve", "name None"]
        await made.start()
        await made.drain(1)
        await made.close()
        with pytest.raises(NotBound, match="topic 'shelf' is not bound"):
            shelf.words

    asyncio.run(run())
    assert STEPS == ["check", "prepare", "receive", "open", "start", "drain", "close"]


def test_a_kind_that_is_not_declared_has_no_service() -> None:
    made = Runtime(serve())
    made.check()
    assert made.services == []


def test_what_another_process_prepared_is_received_with_its_configuration(tmp_path) -> None:
    shelf = Shelf()
    (tmp_path / "fastlane.toml").write_text('[pubsub.topics.shelf]\nname = "third"\n')

    async def boot() -> bytes:
        first = Runtime(serve())
        first.check()
        return (await first.prepare()).encoded()

    handoff = Handoff.decoded(asyncio.run(boot()))
    (tmp_path / "fastlane.toml").write_text("what a later reload reads")
    assert repr(handoff) == "<Handoff of shelves>"
    assert handoff.file == str(tmp_path / "fastlane.toml")
    STEPS.clear()

    async def run() -> None:
        made = Runtime(serve())
        made.receive(handoff)
        await made.open()
        assert shelf.words == ["mode serve", "name third"]
        await made.close()

    asyncio.run(run())
    assert STEPS == ["receive", "open", "close"]


def test_a_kind_that_was_declared_only_later_is_refused() -> None:
    async def boot() -> Handoff:
        first = Runtime(serve())
        first.check()
        return await first.prepare()

    handoff = asyncio.run(boot())
    shelf = Shelf()
    with pytest.raises(ConfigurationError, match="shelves: nothing was prepared"):
        Runtime(serve()).receive(handoff)
    assert shelf


def test_octets_that_are_no_handoff_are_refused() -> None:
    with pytest.raises(ValueError, match="no handoff"):
        Handoff.decoded(b"{}")


def test_every_mistake_of_every_service_is_told_at_once() -> None:
    one, two = Shelf("missing-one"), Shelf("missing-two")
    database = type("Database", (Shelf,), {"kind": "database"})("blog")
    with pytest.raises(ConfigurationError) as caught:
        Runtime(serve()).check()
    assert str(caught.value).splitlines() == [
        "database blog is declared twice",
        "shelf missing-one: topics.missing-one is missing",
        "shelf missing-two: topics.missing-two is missing",
    ]
    del one, two, database


def test_a_mistake_in_a_table_is_told_with_the_name_of_the_file(monkeypatch) -> None:
    monkeypatch.setattr("tests.shelf.ShelfService.check", lambda _: ["[pubsub.topics.x]: no", "shelf.py:3: no"])
    shelf = Shelf()
    with pytest.raises(ConfigurationError) as caught:
        Runtime(serve(config=None)).check()
    assert str(caught.value).splitlines() == ["fastlane.toml: [pubsub.topics.x]: no", "shelf.py:3: no"]
    assert shelf


def test_a_table_of_what_is_declared_nowhere_is_a_mistake(tmp_path) -> None:
    (tmp_path / "fastlane.toml").write_text(
        '[pubsub.topics.lost]\nprovider = "local"\n[sql.databases.gone]\nurl = "postgresql:///x"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        Runtime(serve()).check()
    assert "fastlane.toml: pubsub.topics.lost: no topic 'lost' is declared" in str(caught.value)
    assert "sql.databases.gone: no database 'gone' is declared" in str(caught.value)


def test_a_reference_to_a_secret_is_resolved_when_the_secrets_are_known(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WHO", "events")
    shelf = Shelf()
    (tmp_path / "fastlane.toml").write_text('[pubsub.topics.shelf]\nname = { secret = "WHO" }\n')

    async def run() -> bytes:
        made = await opened()
        assert shelf.words == ["mode serve", "name events"]
        await made.close()
        again = Runtime(serve())
        again.check()
        handoff = (await again.prepare()).encoded()
        await again.close()
        return handoff

    octets = asyncio.run(run())
    monkeypatch.delenv("WHO")

    async def work() -> None:
        made = Runtime(serve())
        made.receive(Handoff.decoded(octets))
        await made.open()
        assert shelf.words == ["mode serve", "name events"]
        await made.close()

    asyncio.run(work())


def test_the_configuration_follows_a_secret_that_is_rotated(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setenv("LARGEST", "3MiB")
    shelf = Shelf()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "WHO").write_text("events")
    (tmp_path / "fastlane.toml").write_text(
        '[secrets]\nprovider = "files"\npath = "secrets"\n[pubsub]\nmax_message_size = { env = "LARGEST" }\n'
        '[pubsub.topics.shelf]\nname = { secret = "WHO" }\n'
    )

    async def boot() -> bytes:
        first = Runtime(serve())
        first.check()
        octets = (await first.prepare()).encoded()
        await first.close()
        return octets

    handoff = Handoff.decoded(asyncio.run(boot()))

    async def work() -> None:
        made = Runtime(serve())
        made.receive(handoff)
        await made.open()
        keeper, service = made.services
        assert isinstance(keeper, SecretsService)
        assert service.configuration.pubsub.topics["shelf"].name == "events"
        (tmp_path / "secrets" / "WHO").write_text("rotated")
        assert await keeper.refresh() == ["WHO"]
        assert service.configuration.pubsub.topics["shelf"].name == "rotated"
        monkeypatch.delenv("LARGEST")
        (tmp_path / "secrets" / "WHO").write_text("again")
        await keeper.refresh()
        assert service.configuration.pubsub.topics["shelf"].name == "rotated"
        assert "which the configuration can't use; the old one stays" in caplog.text
        await made.close()

    asyncio.run(work())
    assert shelf


def test_a_rotated_secret_that_the_configuration_does_not_refer_to_changes_nothing_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OWN", "first-value")
    shelf, own = Shelf(), Secret("OWN")

    async def run() -> None:
        made = await opened()
        keeper, service = made.services
        assert isinstance(keeper, SecretsService)
        before = service.configuration
        monkeypatch.setenv("OWN", "other-value")
        assert await keeper.refresh() == ["OWN"]
        assert service.configuration is before
        assert own.get() == "other-value"
        await made.close()

    asyncio.run(run())
    assert shelf


def test_a_missing_secret_stops_the_boot_and_closes_what_was_begun() -> None:
    secret = Secret("NOWHERE_TO_BE_FOUND")

    async def run() -> None:
        made = Runtime(serve())
        made.check()
        with pytest.raises(ConfigurationError, match="NOWHERE_TO_BE_FOUND"):
            await made.prepare()
        await made.close()

    asyncio.run(run())
    assert secret


def test_a_service_may_let_the_deadline_start_anew() -> None:
    shelf = Shelf()
    behaviour["prepare"] = lambda service: service.extend("waiting for another machine's migration")
    doing: list[str] = []

    async def run() -> None:
        made = Runtime(serve())
        made.check()
        await made.prepare(doing.append)
        await made.close()
        await opened()  # and where nobody has a deadline it changes nothing

    asyncio.run(run())
    assert doing == ["preparing shelves", "waiting for another machine's migration"]
    assert shelf


@pytest.mark.parametrize(
    ("surroundings", "starts"),
    [
        (serve(), True),
        (serve(roles=("subscriptions",)), True),
        (serve(roles=("http", "cron")), False),
        (Surroundings(mode="dev", embedded=True), True),
        (Surroundings(mode="test", embedded=True), True),
        (Surroundings(mode="script"), False),
    ],
)
def test_a_service_starts_where_its_role_is(surroundings: Surroundings, starts: bool) -> None:
    shelf = Shelf()

    async def run() -> None:
        made = await opened(surroundings)
        await made.start()
        await made.drain(1)
        await made.close()

    asyncio.run(run())
    assert ("start" in STEPS, "drain" in STEPS) == (starts, starts)
    assert shelf


def test_a_service_that_does_not_drain_is_left_to_its_close(caplog) -> None:
    shelf = Shelf()
    behaviour["drain"] = lambda _: asyncio.Event().wait()

    async def run() -> None:
        made = await opened()
        await made.start()
        await made.drain(0.01)
        await made.close()

    asyncio.run(run())
    assert "shelves did not drain within 0.01 s" in caplog.text
    assert STEPS[-1] == "close"
    assert shelf


def test_what_fails_while_draining_is_logged(caplog) -> None:
    shelf = Shelf()
    behaviour["drain"] = fail

    async def run() -> None:
        made = await opened()
        await made.start()
        await made.drain(1)

    asyncio.run(run())
    assert "shelves did not drain: the shelf broke" in caplog.text
    assert shelf


def test_everything_is_closed_whatever_fails(caplog, monkeypatch) -> None:
    monkeypatch.setattr("tests.shelf.OtherService.check", lambda _: [])
    shelf, database = Shelf(), type("Database", (Shelf,), {"kind": "database"})("blog")
    behaviour["close"] = fail
    caplog.set_level(logging.ERROR)

    async def run() -> None:
        made = await opened()
        with pytest.raises(OSError, match="the shelf broke"):
            await made.close()
        await made.close()

    asyncio.run(run())
    assert STEPS.count("close") == 2
    assert "others did not close: the shelf broke" in caplog.text
    del shelf, database


def test_settling_asks_every_service() -> None:
    shelf = Shelf()

    async def run() -> None:
        made = await opened()
        await made.settle()
        await made.close()

    asyncio.run(run())
    assert "settle" in STEPS
    assert shelf


def test_tests_and_dev_never_read_the_configuration_of_production(tmp_path) -> None:
    shelf = Shelf()
    (tmp_path / "fastlane.toml").write_text("[[no toml")
    for mode in ("test", "dev"):
        Runtime(Surroundings(mode=mode, embedded=True)).check()
    with pytest.raises(ConfigurationError, match="no TOML"):
        Runtime(serve()).check()
    assert shelf

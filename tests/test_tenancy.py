"""Who may use declared resources, and when: around a lifespan, under servers, in scripts, in tests."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import pytest

from fastlane import App, ConfigurationError, Depends, runtime
from fastlane.resources import declaration
from fastlane.resources.declaration import NotBound
from fastlane.resources.handoff import VARIABLE
from fastlane.resources.host import HOST_EXTENSION, Host
from fastlane.resources.lock import LockTimeout, MachineLock
from fastlane.resources.surroundings import SCOPE_EXTENSION, Surroundings
from fastlane.runtime import Runtime
from fastlane.supervisor.memory import MemoryFile
from fastlane.tenancy import Tenancy, host_of
from fastlane.testing import AsyncTestClient, TestClient
from tests.shelf import Shelf, ShelfService, behaviour

STEPS = ShelfService.steps


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[None]:
    monkeypatch.setitem(runtime.SERVICES, "topic", "tests.shelf:ShelfService")
    monkeypatch.setattr(declaration, "_declared", weakref.WeakSet())
    monkeypatch.chdir(tmp_path)
    STEPS.clear()
    behaviour.clear()
    yield
    behaviour.clear()


def fail(_: ShelfService) -> None:
    raise OSError("the shelf broke")


def app_with(shelf: Shelf, **options) -> App:
    app = App(**options)

    @app.get("/")
    async def words() -> list[str]:
        return shelf.words

    return app


# Around the lifespan


def test_resources_are_open_around_the_lifespan_and_work_starts_after_everything() -> None:
    shelf = Shelf()

    async def lifespan() -> AsyncIterator[None]:
        STEPS.append(f"lifespan begins, {shelf.words[0]}")
        yield
        STEPS.append(f"lifespan ends, {shelf.words[0]}")

    async def connection() -> AsyncIterator[int]:
        STEPS.append("dependency opens")
        yield 1
        STEPS.append("dependency closes")

    app = app_with(shelf, lifespan=lifespan)

    @app.get("/one")
    async def one(value: Annotated[int, Depends(connection, scope="app")]) -> int:
        return value

    with TestClient(app) as client:
        assert client.get("/").json() == ["mode test", "name None"]
    assert STEPS == [
        "check",
        "prepare",
        "receive",
        "open",
        "lifespan begins, mode test",
        "dependency opens",
        "start",
        "drain",
        "dependency closes",
        "lifespan ends, mode test",
        "close",
    ]


@pytest.mark.parametrize("step", ["prepare", "open", "start"])
def test_what_fails_undoes_what_succeeded(step: str) -> None:
    shelf = Shelf()
    order: list[str] = []

    async def lifespan() -> AsyncIterator[None]:
        order.append("begins")
        try:
            yield
        finally:
            order.append("ends")

    behaviour[step] = fail
    with pytest.raises(OSError, match="the shelf broke"), TestClient(app_with(shelf, lifespan=lifespan)):
        pass
    assert STEPS[-1] == "close"
    assert order == (["begins", "ends"] if step == "start" else [])


def test_a_lifespan_that_fails_closes_the_resources() -> None:
    shelf = Shelf()

    async def lifespan() -> AsyncIterator[None]:
        raise RuntimeError("no")
        yield

    with pytest.raises(RuntimeError, match="no"), TestClient(app_with(shelf, lifespan=lifespan)):
        pass
    assert STEPS == ["check", "prepare", "receive", "open", "close"]


def test_an_app_without_resources_does_none_of_it() -> None:
    with TestClient(App()):
        pass
    assert STEPS == []


# Tests


def test_outside_a_running_app_nothing_is_bound() -> None:
    shelf = Shelf()
    with TestClient(app_with(shelf)), pytest.raises(NotBound, match="on another event loop"):
        shelf.words
    with TestClient(app_with(shelf), lifespan=False) as client, pytest.raises(NotBound, match="--lifespan off"):
        client.get("/")


def test_two_clients_at_once_each_have_their_own() -> None:
    shelf = Shelf()
    app = app_with(shelf)
    with TestClient(app) as one, TestClient(app) as other:
        assert one.get("/").json() == other.get("/").json() == ["mode test", "name None"]
        one.close()
        assert other.get("/").json() == ["mode test", "name None"]
    assert STEPS.count("open") == STEPS.count("close") == 2


def test_clients_on_one_loop_share_what_the_first_opened_until_the_last_ends() -> None:
    shelf = Shelf()
    app, other = app_with(shelf), app_with(shelf)

    async def run() -> None:
        first = AsyncTestClient(app)
        await first.get("/")
        async with AsyncTestClient(app) as second, AsyncTestClient(other) as third:
            await first.aclose()
            assert (await second.get("/")).json() == (await third.get("/")).json() == ["mode test", "name None"]
            assert "close" not in STEPS
        assert STEPS.count("open") == STEPS.count("start") == STEPS.count("drain") == STEPS.count("close") == 1

    asyncio.run(run())


def test_of_clients_that_begin_at_the_same_time_one_opens() -> None:
    shelf = Shelf()
    app = app_with(shelf)

    async def run() -> None:
        clients = [AsyncTestClient(app) for _ in range(3)]
        await asyncio.gather(*(client.get("/") for client in clients))
        await asyncio.gather(*(client.aclose() for client in clients))
        assert STEPS.count("open") == STEPS.count("close") == 1

    asyncio.run(run())


def test_what_is_declared_too_late_for_a_loop_is_told() -> None:
    shelf = Shelf()
    app = app_with(shelf)

    async def run() -> None:
        async with AsyncTestClient(app):
            late = Shelf("late")
            with pytest.raises(ConfigurationError, match="declared after the resources"):
                async with AsyncTestClient(app_with(late)):
                    pass

    asyncio.run(run())
    assert STEPS.count("close") == 1


def test_a_test_can_wait_until_everything_has_happened() -> None:
    shelf = Shelf()
    app = app_with(shelf)
    with TestClient(app) as client:
        client.settle()
    assert STEPS.count("settle") == 1

    async def run() -> None:
        async with AsyncTestClient(app) as client:
            await client.settle()
            await app.settle()
        await app.settle()  # nothing runs: nothing happens

    asyncio.run(run())
    assert STEPS.count("settle") == 3


# Servers


def test_a_server_of_ours_says_what_it_is() -> None:
    host = Host(Surroundings(mode="dev"))
    assert host_of({"extensions": {HOST_EXTENSION: host}}) is host
    surroundings = Surroundings(mode="test", index=3)
    assert host_of({"extensions": {SCOPE_EXTENSION: surroundings}}).surroundings is surroundings


@pytest.mark.parametrize(("text", "embedded"), [(None, False), ("1", True), ("off", False)])
def test_under_another_server_an_app_does_as_serve_would(monkeypatch, text: str | None, embedded: bool) -> None:
    monkeypatch.delenv("FASTLANE_EMBEDDED", raising=False)
    if text is not None:
        monkeypatch.setenv("FASTLANE_EMBEDDED", text)
    assert host_of({}).surroundings == Surroundings(mode="serve", embedded=embedded)


def test_an_embedded_production_is_named_in_the_log(monkeypatch, caplog) -> None:
    shelf = Shelf()

    async def run() -> None:
        tenancy = await Tenancy.begin(host_of({}))
        assert tenancy is not None
        await tenancy.end()

    monkeypatch.setenv("FASTLANE_EMBEDDED", "0")
    asyncio.run(run())
    assert caplog.text == ""
    monkeypatch.setenv("FASTLANE_EMBEDDED", "1")
    asyncio.run(run())
    assert "FASTLANE_EMBEDDED: resources that have no configuration live on this machine alone" in caplog.text
    assert shelf


def test_the_server_may_end_the_work_before_it_ends_the_lifespan() -> None:
    shelf = Shelf()

    async def run() -> None:
        host = Host(Surroundings(mode="serve"))
        tenancy = await Tenancy.begin(host)
        assert tenancy is not None
        await tenancy.start()
        host.draining(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert STEPS[-1] == "drain"
        await tenancy.drain()
        assert STEPS.count("drain") == 1
        await tenancy.end()
        await tenancy.end()

    asyncio.run(run())
    assert STEPS.count("close") == 1
    assert shelf


def test_in_a_reload_work_starts_when_the_predecessor_stops() -> None:
    shelf = Shelf()
    works = [True]

    async def run() -> None:
        started = asyncio.Event()
        behaviour["start"] = lambda _: started.set()
        tenancy = await Tenancy.begin(Host(Surroundings(mode="serve"), has_predecessor=lambda: works[0]))
        assert tenancy is not None
        await tenancy.start()
        assert "start" not in STEPS
        works[0] = False
        await asyncio.wait_for(started.wait(), 5)
        await tenancy.drain(1)
        await tenancy.end()

    asyncio.run(run())
    assert STEPS[-3:] == ["start", "drain", "close"]
    assert shelf


def test_a_worker_works_until_its_drain_is_over() -> None:
    shelf = Shelf()

    async def run() -> None:
        host = Host(Surroundings(mode="serve"), working=lambda value: STEPS.append(f"working {value}"))
        tenancy = await Tenancy.begin(host)
        assert tenancy is not None
        await tenancy.start()
        await tenancy.drain(1)
        await tenancy.end()

    asyncio.run(run())
    assert STEPS[-5:] == ["working True", "start", "drain", "working False", "close"]
    assert shelf


def test_a_worker_that_ends_before_its_predecessor_never_starts() -> None:
    shelf = Shelf()

    async def run() -> None:
        tenancy = await Tenancy.begin(Host(Surroundings(mode="serve"), has_predecessor=lambda: True))
        assert tenancy is not None
        await tenancy.start()
        await tenancy.drain(1)
        await tenancy.end()

    asyncio.run(run())
    assert "start" not in STEPS
    assert shelf


def test_a_worker_whose_late_start_fails_ends(caplog) -> None:
    shelf = Shelf()
    behaviour["start"] = fail
    works = [True]

    async def run() -> None:
        ended = asyncio.Event()
        host = Host(Surroundings(mode="serve"), has_predecessor=lambda: works[0])
        host.when_failed(ended.set)
        tenancy = await Tenancy.begin(host)
        assert tenancy is not None
        await tenancy.start()
        works[0] = False
        await asyncio.wait_for(ended.wait(), 5)
        await tenancy.drain(1)
        await tenancy.end()

    asyncio.run(run())
    assert "this worker can't do its work, and ends: the shelf broke" in caplog.text
    assert shelf


def test_processes_that_start_at_once_prepare_one_after_the_other() -> None:
    """Each in a thread here: a file lock belongs to the open file, whoever opened it."""
    shelf = Shelf()
    at_once: list[int] = []
    inside = [0]

    async def prepare() -> None:
        inside[0] += 1
        at_once.append(inside[0])
        await asyncio.sleep(0.02)
        inside[0] -= 1

    behaviour["prepare"] = lambda _: prepare()

    def serve() -> None:
        async def run() -> None:
            tenancy = await Tenancy.begin(host_of({}))
            assert tenancy is not None
            await tenancy.end()

        asyncio.run(run())

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [1, 1, 1]
    assert shelf


def test_the_lock_is_waited_for_within_bounds(tmp_path) -> None:
    one, other = MachineLock("boot"), MachineLock("boot")
    assert one.try_acquire()
    assert one.is_held
    assert not other.try_acquire()
    with pytest.raises(LockTimeout, match=r"boot\.lock for more than"):
        asyncio.run(other.acquire(0.06))
    one.release()
    asyncio.run(other.acquire(0))
    other.release()
    other.release()
    assert (tmp_path / ".fastlane" / "boot.lock").exists()


def test_where_there_can_be_no_state_directory_the_lock_is_elsewhere(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock = MachineLock("boot")
    assert lock.try_acquire()
    lock.release()
    assert len(list(tmp_path.glob("fastlane-*-boot.lock"))) == 1


# Scripts


def test_a_script_binds_and_runs_nothing(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FASTLANE_EMBEDDED", "1")
    shelf = Shelf()
    app = app_with(shelf)
    (tmp_path / "other.toml").write_text('[pubsub.topics.shelf]\nname = "other"\n')

    async def run() -> None:
        async with app.resources():
            assert shelf.words == ["mode script", "name None"]
        async with app.resources("other.toml"):
            assert shelf.words == ["mode script", "name other"]
        with pytest.raises(NotBound):
            shelf.words

    asyncio.run(run())
    assert "start" not in STEPS


def test_a_script_without_resources_needs_nothing() -> None:
    async def run() -> None:
        async with App().resources():
            pass

    asyncio.run(run())
    asyncio.run(App().settle())
    assert STEPS == []


def test_a_command_of_exec_uses_what_was_prepared_for_it(monkeypatch) -> None:
    shelf = Shelf()
    app = app_with(shelf)

    async def prepare() -> bytes:
        made = Runtime(Surroundings(mode="script", embedded=True))
        made.check()
        return (await made.prepare()).encoded()

    async def run() -> None:
        async with app.resources():
            assert shelf.words == ["mode script", "name None"]

    file = MemoryFile("test")
    file.write(asyncio.run(prepare()))
    monkeypatch.setenv(VARIABLE, str(file.fileno()))
    STEPS.clear()
    asyncio.run(run())
    assert STEPS == ["receive", "open", "close"]
    file.close()
    STEPS.clear()
    asyncio.run(run())  # somebody between has closed the file: then it is prepared again
    assert "prepare" in STEPS
    with open(os.devnull) as other:
        monkeypatch.setenv(VARIABLE, str(other.fileno()))
        asyncio.run(run())

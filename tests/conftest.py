"""What all tests have in common."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Two cores that other tests load, too, are no place to time an example; `timeout` in pyproject.toml bounds a test.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A command in the background of a shell's script begins with SIGINT ignored, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Write = Callable[[str, str], Path]


def pytest_collection_finish(session: pytest.Session) -> None:
    """The servers that have to be built are built before the first test: what that takes is not part of its time."""
    if session.config.option.collectonly:
        return
    used: set[str] = set()
    for item in session.items:
        used.update(getattr(item, "fixturenames", ()))
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        used.update(value for value in parameters.values() if isinstance(value, str))
    for name, signs in (("moto", {"moto", "aws"}), ("nsq", {"start_nsqd", "nsqd", "lookupd", "nsq"})):
        if used & signs:
            importlib.import_module(f"tests.servers.{name}").build()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Puts a file into an empty working directory. What was imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    yield file
    for name in set(sys.modules) - before:
        if not name.startswith(("fastlane", "msgspec", "uvicorn", "uvloop")):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _forget_resources() -> Iterator[None]:
    """What a test has declared is not there for the next one: the registry is weak, but a cycle may wait long for the
    collector. What modules, and fixtures of a wider scope, have declared stays."""
    from fastlane.resources import declaration

    before = set(declaration.living_resources())
    yield
    for resource in declaration.living_resources():
        if resource not in before:
            declaration._declared.discard(resource)

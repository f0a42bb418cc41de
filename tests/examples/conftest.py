from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.processes.served import Served

EXAMPLES = Path(__file__).parents[2] / "examples"

ServeExample = Callable[..., Served]
ImportExample = Callable[[str], ModuleType]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is embedded lives in this test: for its servers, and for the commands it runs."""
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("FASTLANE_CONFIG", raising=False)
    return tmp_path / "state"


@pytest.fixture
def serve_example(tmp_path: Path, state: Path) -> Iterator[ServeExample]:
    """``fastlane serve NAME:app --app-dir examples/NAME --workers 2`` in a directory of its own, ended with the test."""
    started: list[Served] = []

    def serve(name: str, *options: str, **environment: str) -> Served:
        options = ("--app-dir", str(EXAMPLES / name), "--workers", "2", *options)
        started.append(Served(tmp_path, *options, target=f"{name}:app", environment=environment))
        started[-1].wait_for(r"ready, 2 workers", 60)
        return started[-1]

    yield serve
    for served in started:
        served.close()


@pytest.fixture
def import_example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportExample]:
    """Imports ``examples/NAME/NAME.py``, for the time of the test."""
    imported: list[str] = []

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
        imported.append(name)
        return importlib.import_module(name)

    yield load
    for name in imported:
        sys.modules.pop(name, None)

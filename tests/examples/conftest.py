from __future__ import annotations

import gc
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fastlane.sql.embedded import EmbeddedServer
from tests.processes.served import Served

EXAMPLES = Path(__file__).parents[2] / "examples"

ServeExample = Callable[..., Served]
ImportExample = Callable[[str], ModuleType]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where what is embedded lives in this test, for its servers and for the commands that it runs."""
    state = tmp_path / "state"
    monkeypatch.setenv("FASTLANE_STATE", str(state))
    monkeypatch.delenv("FASTLANE_CONFIG", raising=False)
    yield state
    if list(state.glob("postgres-*")):
        EmbeddedServer(state).destroy_blocking()  # its data, too, which root has elsewhere


@pytest.fixture
def serve_example(tmp_path: Path, state: Path) -> Iterator[ServeExample]:
    """``fastlane serve NAME:app --workers 2`` in a copy of ``examples/NAME``, ready; ended with the test."""
    started: list[Served] = []

    def serve(name: str, *options: str, **environment: str) -> Served:
        directory = shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns(".fastlane", "__*"))
        started.append(Served(directory, "--workers", "2", *options, target=f"{name}:app", environment=environment))
        started[-1].wait_for(r"ready, 2 workers", 60)
        return started[-1]

    yield serve
    for served in started:
        if served.process.poll() is None:
            served.stop(60)
        served.close()


def fastlane(directory: Path, *words: str, **environment: str) -> str:
    """A command of fastlane, run in ``directory``, that has to succeed; what it prints."""
    outcome = subprocess.run(
        [sys.executable, "-m", "fastlane", *words],
        cwd=directory,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.fixture
def import_example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportExample]:
    """Imports ``examples/NAME/NAME.py``, for the time of the test."""
    imported: list[ModuleType] = []

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
        imported.append(importlib.import_module(name))
        return imported[-1]

    yield load
    for module in imported:
        # What it declares is declared as long as it lives, and caches of `typing` hold what stands in annotations.
        del sys.modules[module.__name__]
        vars(module).clear()
    gc.collect()

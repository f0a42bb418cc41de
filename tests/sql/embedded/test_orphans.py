from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastlane.sql.embedded.orphans import mark_owner, sweep_orphans


def project(path: Path, identity: str) -> Path:
    path.mkdir(parents=True)
    (path / "identity").write_text(identity)
    return path


def home(path: Path, pid: int | None = None) -> Path:
    cluster = path / "postgres-18" / "cluster"
    cluster.mkdir(parents=True)
    if pid is not None:
        (cluster / "postmaster.pid").write_text(f"{pid}\n/data\n")
    return path


def test_data_of_a_project_that_is_gone_or_was_made_anew_is_removed(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    states = {name: project(tmp_path / name, name) for name in ("kept", "gone", "anew", "running")}
    for name, state in states.items():
        mark_owner(home(homes / name, os.getpid() if name == "running" else 2**22 + 1), state)
    home(homes / "unmarked")
    shutil.rmtree(states["gone"])
    shutil.rmtree(states["running"])
    shutil.rmtree(states["anew"])
    project(tmp_path / "anew", "another")
    sweep_orphans(homes)
    assert {path.name for path in homes.iterdir()} == {"kept", "running", "unmarked"}


def test_several_may_remove_the_same_at_once(tmp_path: Path) -> None:
    # 14 of 200 rounds failed, with eight processes.
    kept = project(tmp_path / "kept", "kept")
    with ThreadPoolExecutor(8) as threads:
        for number in range(60):
            homes = tmp_path / f"homes{number}"
            mark_owner(home(homes / "kept"), kept)
            for other in range(10):
                (home(homes / f"gone{other}", 2**22 + 1) / "owner").write_text(f"gone\n{tmp_path / 'gone'}")
            assert list(threads.map(sweep_orphans, [homes] * 8)) == [None] * 8
            assert [path.name for path in homes.iterdir()] == ["kept"]


def test_an_owner_is_noted_once(tmp_path: Path) -> None:
    state = project(tmp_path / "state", "one")
    where = home(tmp_path / "home")
    mark_owner(where, state)
    (state / "identity").write_text("two")
    mark_owner(where, state)
    assert (where / "owner").read_text() == f"one\n{state}"

"""Which source files changed since the last look."""

from __future__ import annotations

import os
from pathlib import Path

from fastlane_cli.changes import Sources


def test_written_new_and_removed_files_are_told_once(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept.py", tmp_path / "gone.py"
    for path in (kept, gone):
        path.write_text("")
    sources = Sources([str(tmp_path)])
    assert sources.changed() == []
    kept.write_text("changed = True")
    gone.unlink()
    new = tmp_path / "below" / "new.toml"
    new.parent.mkdir()
    new.write_text("")
    assert sources.changed() == sorted(map(str, (kept, gone, new)))
    assert sources.changed() == []


def test_a_file_that_was_touched_without_growing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text("")
    sources = Sources([str(tmp_path)])
    os.utime(path, ns=(1, 1))
    assert sources.changed() == [str(path)]


def test_what_is_no_source_of_the_application_is_left_out(tmp_path: Path) -> None:
    sources = Sources([str(tmp_path), str(tmp_path)])
    for name in (".git", "__pycache__", "node_modules", "environment", "site-packages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("")
    (tmp_path / "environment" / "pyvenv.cfg").write_text("")
    (tmp_path / "data.sqlite").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert sources.changed() == []


def test_a_directory_that_is_missing_has_no_files_until_it_comes(tmp_path: Path) -> None:
    sources = Sources([str(tmp_path / "later")])
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "app.py").write_text("")
    assert sources.changed() == [str(tmp_path / "later" / "app.py")]


def test_a_link_to_nothing_hides_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    (tmp_path / ".#app.py").symlink_to("editor@machine.71")
    (tmp_path / "linked.py").symlink_to("nothing")
    sources = Sources([str(tmp_path)])
    assert sources.changed() == []
    (tmp_path / "app.py").write_text("changed = True")
    assert sources.changed() == [str(tmp_path / "app.py")]

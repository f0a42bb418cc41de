"""``.ci/environment``, which every make target calls: it builds once, and says what is missing on a bare machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Answers what the script asks an interpreter, and notes what it would install.
PYTHON = """#!{sh}
case "$*" in
*version_info*) echo {version} ;;
*ensurepip*) exit {without_ensurepip} ;;
"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo "$PWD/$4" > "$4/bin/activate" && echo venv >> calls ;;
*"pip install"*) echo "$*" >> calls ;;
esac
"""


class Machine:
    """A checkout, and a PATH on which stands only what a test put there."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.bin = directory / "bin"
        self.bin.mkdir(parents=True)
        (self.checkout / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci" / "environment", self.checkout / ".ci" / "environment")
        (self.checkout / "pyproject.toml").write_text("[project]\n")
        for tool in ("sh", "dirname", "cat", "cksum", "id", "grep", "mkdir", "cp"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)

    def command(self, name: str, text: str = "#!/bin/sh\n") -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str, version: str, *, ensurepip: bool = True) -> None:
        text = PYTHON.format(sh=self.bin / "sh", version=version, without_ensurepip=0 if ensurepip else 1)
        self.command(name, text)

    def build(
        self, purpose: str = "serve", *, user: int | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.checkout / ".ci" / "environment"), purpose],
            user=user,
            env={"PATH": str(self.bin), "HOME": "/nonexistent", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        path = self.checkout / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_is_built_once_and_again_when_the_project_file_changes(machine: Machine) -> None:
    machine.python("python3", "3.12")
    assert machine.build().stdout == ".venv\n"
    assert machine.calls == ["venv", "-m pip install --quiet --editable .[embedded]"]
    assert machine.build().stdout == ".venv\n"
    assert len(machine.calls) == 2
    (machine.checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    machine.build()
    assert machine.calls[2:] == ["-m pip install --quiet --editable .[embedded]"]


def test_each_purpose_adds_its_own_packages(machine: Machine) -> None:
    machine.python("python3", "3.12")
    for purpose in ("serve", "test", "lint", "docs"):
        assert machine.build(purpose).returncode == 0
    assert [call.rpartition(" ")[2] for call in machine.calls] == [
        "venv",
        ".[embedded]",
        ".[test]",
        ".[dev]",
        ".[docs]",
    ]


def test_a_checkout_that_was_moved_is_built_anew(machine: Machine, tmp_path: Path) -> None:
    machine.python("python3", "3.12")
    machine.build()
    machine.checkout = machine.checkout.rename(tmp_path / "moved")
    machine.build()
    assert machine.calls.count("venv") == 2


def test_an_interpreter_that_was_named_has_an_environment_of_its_own(machine: Machine) -> None:
    machine.python("python3", "3.12")
    machine.python("python3.13", "3.13")
    assert machine.build(PYTHON="python3.13").stdout == ".venv-3.13\n"
    assert machine.build().stdout == ".venv\n"


def test_the_newest_suitable_python_stands_in_for_one_that_is_too_old(machine: Machine) -> None:
    machine.python("python3", "")
    machine.python("python3.11", "3.11")
    machine.python("python3.13", "3.13", ensurepip=False)
    outcome = machine.build()
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("python3.13 (3.13) can't make virtual environments")


def test_without_python_it_names_the_package(machine: Machine) -> None:
    machine.command("apt-get")
    outcome = machine.build()
    assert outcome.returncode == 1
    assert "needs Python 3.11 or newer (there is no python3 here)" in outcome.stderr
    assert "apt-get install python3 python3-venv" in outcome.stderr


@pytest.mark.parametrize(("manager", "package"), [("dnf", "dnf install"), ("apk", "apk add"), ("brew", "brew install")])
def test_each_package_manager_is_spoken_to_in_its_words(machine: Machine, manager: str, package: str) -> None:
    machine.command(manager)
    assert package in machine.build().stderr


def test_a_python_that_is_too_old_is_named_with_its_version(machine: Machine) -> None:
    machine.command("python3", '#!/bin/sh\ncase "$1" in -V) echo Python 3.9.2 ;; esac\n')
    assert "(Python 3.9.2 here)" in machine.build().stderr
    assert machine.build(PYTHON="python3").stderr == "PYTHON=python3 is no Python 3.11 or newer.\n"


def test_debians_python_without_ensurepip_is_told_apart_with_the_package_to_install(machine: Machine) -> None:
    machine.command("apt-get")
    machine.python("python3", "3.11", ensurepip=False)
    machine.python("python3.12", "3.12", ensurepip=False)
    assert machine.build().stderr.endswith("apt-get install python3-venv\n")
    assert machine.build(PYTHON="python3.12").stderr.endswith("apt-get install python3.12-venv\n")
    assert machine.calls == []


def test_a_checkout_that_is_not_writable_is_told() -> None:
    # Root may write everywhere, so that a test of root's asks as somebody else: in a directory that others may enter.
    somebody = 65534 if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        machine = Machine(Path(directory))
        machine.python("python3", "3.12")
        machine.checkout.chmod(0o555)
        outcome = machine.build(user=somebody)
        machine.checkout.chmod(0o755)
    assert outcome.returncode == 1
    assert "is not writable for" in outcome.stderr
    assert machine.calls == []


def test_an_unknown_purpose_is_refused(machine: Machine) -> None:
    assert machine.build("dance").returncode == 2

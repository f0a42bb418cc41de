"""Installs the peers under ``.build``: a virtual environment a conflict group, and the npm packages.

Versions are the exact ones of ``bench/requirements`` and ``bench/node/package.json``. Each part is made once, and anew
when its list changes. What cannot be had is named with what to install, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.peers import BUILD, NODE_DIRECTORY, ROOT

__all__ = ["REQUIREMENTS", "ensure_node", "ensure_venv", "find_python", "install"]

REQUIREMENTS = ROOT / "bench" / "requirements"
NODE_SOURCES = ROOT / "bench" / "node"


def python_candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for name in ("python3.14", "python3.13", "python3.12"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    yield from sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-4].*/bin/python"), reverse=True)


def find_python(minimum: tuple[int, int]) -> Path | None:
    """The first interpreter of at least that version that really starts (a pyenv shim may not)."""
    program = f"import sys; sys.exit(sys.version_info < {minimum!r})"
    for candidate in python_candidates():
        if subprocess.run([candidate, "-c", program], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def run(command: list[str], directory: Path = ROOT) -> str | None:
    """What went wrong, or None."""
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if finished.returncode == 0:
        return None
    return "\n".join((finished.stderr or finished.stdout).splitlines()[-3:])


def ensure_venv(name: str, requirements: Path, minimum: tuple[int, int]) -> str | None:
    """Makes ``.build/NAME``; answers what is missing, or None."""
    directory = BUILD / name
    stamp = directory / "installed"
    wanted = digest(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    python = find_python(minimum)
    if python is None:
        return f"needs Python {minimum[0]}.{minimum[1]} or later"
    print(f"installing {requirements.name} into .build/{name}", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    problem = run([str(python), "-m", "venv", str(directory)])
    if problem is None:
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        problem = run([*pip, "-r", str(requirements)])
    if problem is not None:
        shutil.rmtree(directory, ignore_errors=True)
        return problem
    stamp.write_text(wanted)
    return None


def ensure_node() -> str | None:
    """Copies the Node applications beside their packages and installs these; answers what is missing, or None."""
    sources = sorted(NODE_SOURCES.iterdir())
    NODE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copy(source, NODE_DIRECTORY / source.name)
    stamp = NODE_DIRECTORY / "installed"
    wanted = digest(NODE_SOURCES / "package.json")
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    if shutil.which("npm") is None:
        return "needs npm (Debian: apt-get install nodejs npm)"
    print("installing package.json into .build/bench-node", flush=True)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]
    problem = run(["npm", "install", *quiet], NODE_DIRECTORY)
    if problem is None:
        stamp.write_text(wanted)
    return problem


def install() -> dict[str, str]:
    """Installs all that can be had.

    Returns:
        For each part that could not be installed, why.
    """
    outcomes = {
        "peers on uvicorn": ensure_venv("bench-venv", REQUIREMENTS / "uvicorn.txt", (3, 11)),
        "Robyn": ensure_venv("bench-venv-robyn", REQUIREMENTS / "robyn.txt", (3, 11)),
        "django-bolt": ensure_venv("bench-venv-django-bolt", REQUIREMENTS / "django-bolt.txt", (3, 12)),
        "Express, Fastify and Bun": ensure_node(),
    }
    return {part: problem for part, problem in outcomes.items() if problem is not None}


if __name__ == "__main__":
    for part, problem in install().items():
        print(f"not installed: {part}: {problem}")

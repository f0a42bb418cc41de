"""Who is measured: how each is started, what it needs, and what to install when that is missing."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.scenarios import SCENARIOS

__all__ = ["BUILD", "INSTALL", "PEERS", "ROOT", "Peer", "node_command", "peer_named", "uvicorn_command"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
UVICORN_PYTHON = BUILD / "bench-venv" / "bin" / "python"
ROBYN_PYTHON = BUILD / "bench-venv-robyn" / "bin" / "python"
BOLT_PYTHON = BUILD / "bench-venv-django-bolt" / "bin" / "python"
NODE_DIRECTORY = BUILD / "bench-node"
OWN_PYTHON = Path(sys.executable)

Command = Callable[[list[int]], list[str]]


@dataclass(frozen=True)
class Peer:
    """A server that can be measured.

    Attributes:
        command: the arguments to start it with, given its ports.
        needs: a file that is there once the peer is installed.
        install: what to do when it is not.
        packages: distributions (or npm packages) whose versions are reported.
        validates: False for the floor, which does not look at what it gets.
        port_count: more than one for the floor: one a scenario, since it does not parse the path.
    """

    name: str
    title: str
    command: Command
    needs: Path
    install: str
    packages: tuple[str, ...]
    directory: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    validates: bool = True
    port_count: int = 1

    @property
    def installed(self) -> bool:
        return self.needs.exists()

    def versions(self) -> dict[str, str]:
        """The version of each package, and of the interpreter that runs it."""
        if self.directory == NODE_DIRECTORY:
            found = {name: npm_version(name) for name in self.packages}
            return found if self.needs.name == "bun" else {**found, "node": node_version()}
        return python_versions(self.needs, self.packages)


def npm_version(package: str) -> str:
    manifest = NODE_DIRECTORY / "node_modules" / package / "package.json"
    return str(json.loads(manifest.read_text())["version"])


def node_version() -> str:
    output = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return output.strip().removeprefix("v")


def python_versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    program = (
        "import importlib.metadata, json, platform, sys;"
        "found = {name: importlib.metadata.version(name) for name in sys.argv[1:]};"
        "print(json.dumps({**found, 'python': platform.python_version()}))"
    )
    finished = subprocess.run([python, "-c", program, *packages], capture_output=True, text=True, check=True)
    return dict(json.loads(finished.stdout))


def floor_command(ports: list[int]) -> list[str]:
    return [str(OWN_PYTHON), "-m", "bench.apps.floor", *map(str, ports)]


def fastlane_command(ports: list[int]) -> list[str]:
    program = OWN_PYTHON.with_name("fastlane")
    options = ["--host", "127.0.0.1", "--port", str(ports[0]), "--workers", "1", "--no-access-log"]
    return [str(program), "serve", "bench.apps.fastlane_app:app", *options]


def uvicorn_command(app: str, ports: list[int], python: Path = UVICORN_PYTHON) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(ports[0]), "--loop", "uvloop", "--http", "httptools"]
    return [str(python), "-m", "uvicorn", app, *options, "--no-access-log", "--log-level", "warning"]


def bolt_command(ports: list[int]) -> list[str]:
    options = ["--settings", "bench.apps.bolt.settings", "--host", "127.0.0.1", "--port", str(ports[0])]
    return [str(BOLT_PYTHON), "-m", "django", "runbolt", *options, "--processes", "1", "--no-admin", "--skip-checks"]


def robyn_command(ports: list[int]) -> list[str]:
    options = ["--processes", "1", "--workers", "1", "--log-level", "WARNING", "--disable-openapi"]
    return [str(ROBYN_PYTHON), "-m", "bench.apps.robyn_app", str(ports[0]), *options]


def node_command(app: str, ports: list[int]) -> list[str]:
    return ["node", app, str(ports[0])]


def bun_program() -> Path:
    # The npm package `bun` fetches its binary in a postinstall step; the platform packages carry it.
    machine = "aarch64" if platform.machine() in {"aarch64", "arm64"} else "x64"
    return NODE_DIRECTORY / "node_modules" / "@oven" / f"bun-{platform.system().lower()}-{machine}" / "bin" / "bun"


def bun_command(ports: list[int]) -> list[str]:
    return [str(bun_program()), "run", "bun_app.mjs", str(ports[0])]


INSTALL = "run `python -m bench.install` (what it could not do, it says)"


def on_uvicorn(name: str, title: str, app: str, *packages: str) -> Peer:
    command = partial(uvicorn_command, app)
    return Peer(name, title, command, UVICORN_PYTHON, INSTALL, (*packages, "uvicorn", "uvloop", "httptools"))


def on_node(name: str, title: str, *packages: str) -> Peer:
    needs = NODE_DIRECTORY / "node_modules" / packages[0] / "package.json"
    hint = "install Node.js 20 or later with npm, then run `python -m bench.install`"
    return Peer(name, title, partial(node_command, f"{name}_app.mjs"), needs, hint, packages, NODE_DIRECTORY)


PEERS: tuple[Peer, ...] = (
    Peer(
        "floor",
        "floor: uvloop, constant write, no parsing",
        floor_command,
        OWN_PYTHON,
        "pip install uvloop",
        ("uvloop",),
        validates=False,
        port_count=len(SCENARIOS),
    ),
    Peer(
        "fastlane",
        "fastlane",
        fastlane_command,
        OWN_PYTHON,
        "pip install -e .",
        ("fastlane-asgi", "uvicorn", "uvloop", "httptools", "msgspec"),
    ),
    on_uvicorn("bare-asgi", "bare ASGI on uvicorn", "bench.apps.bare_asgi:app", "msgspec"),
    on_uvicorn("starlette", "Starlette on uvicorn", "bench.apps.starlette_app:app", "starlette", "pydantic"),
    on_uvicorn("fastapi", "FastAPI on uvicorn", "bench.apps.fastapi_app:app", "fastapi", "starlette", "pydantic"),
    on_uvicorn("litestar", "Litestar on uvicorn", "bench.apps.litestar_app:app", "litestar", "msgspec"),
    on_uvicorn("blacksheep", "BlackSheep on uvicorn", "bench.apps.blacksheep_app:app", "blacksheep", "pydantic"),
    on_uvicorn("falcon", "Falcon on uvicorn", "bench.apps.falcon_app:app", "falcon", "msgspec"),
    Peer(
        "django-bolt",
        "django-bolt (Rust, actix)",
        bolt_command,
        BOLT_PYTHON,
        "install Python 3.12 or later, then run `python -m bench.install`",
        ("django-bolt", "Django", "msgspec"),
    ),
    Peer("robyn", "Robyn (Rust, actix)", robyn_command, ROBYN_PYTHON, INSTALL, ("robyn", "pydantic")),
    on_node("express", "Express + Zod on Node", "express", "zod"),
    on_node("fastify", "Fastify + Ajv on Node", "fastify", "ajv"),
    Peer(
        "bun",
        "Bun + Zod",
        bun_command,
        bun_program(),
        "install npm, then run `python -m bench.install`",
        ("zod", f"@oven/{bun_program().parent.parent.name}"),
        NODE_DIRECTORY,
    ),
)


def peer_named(name: str) -> Peer:
    """Raises KeyError with the names there are."""
    for peer in PEERS:
        if peer.name == name:
            return peer
    raise KeyError(f"no peer {name!r}; there are {', '.join(peer.name for peer in PEERS)}")

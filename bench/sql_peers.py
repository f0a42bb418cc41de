"""Who is measured with a database behind it: how each is started, and where it finds the one they all use."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.peers import BUILD, INSTALL, NODE_DIRECTORY, OWN_PYTHON, Peer, node_command, uvicorn_command

__all__ = ["SQL_PYTHON", "sql_peers"]

SQL_PYTHON = BUILD / "bench-venv-sql" / "bin" / "python"
CONNECTIONS = 10


def serve_command(app: str, options: list[str], ports: list[int]) -> list[str]:
    program = OWN_PYTHON.with_name("fastlane")
    where = ["--host", "127.0.0.1", "--port", str(ports[0]), "--workers", "1", "--no-access-log"]
    return [str(program), "serve", app, *where, *options]


def configuration(url: str) -> str:
    """The runtime configuration of the app with a declared database."""
    pool = f"{{ min = {CONNECTIONS}, max = {CONNECTIONS} }}"
    return f'[sql]\nmigrate = "boot"\n[sql.databases.blog]\nurl = "{url}"\npool = {pool}\n'


def sql_peers(url: str, directory: Path) -> list[Peer]:
    """
    Args:
        url: of the database.
        directory: where fastlane's configuration is written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    toml = directory / "sql.toml"
    toml.write_text(configuration(url))
    environment = {"BENCH_DATABASE": url}
    ours = ("fastlane-asgi", "asyncpg", "uvicorn", "uvloop", "httptools", "msgspec")

    def fastapi(name: str, title: str, app: str, *packages: str) -> Peer:
        command = partial(uvicorn_command, app, python=SQL_PYTHON)
        versions = ("fastapi", "pydantic", "asyncpg", *packages, "uvicorn", "uvloop", "httptools")
        return Peer(name, title, command, SQL_PYTHON, INSTALL, versions, environment=environment)

    return [
        Peer(
            "fastlane",
            "fastlane and fastlane.sql",
            partial(serve_command, "bench.apps.sql.fastlane_app:app", ["--config", str(toml)]),
            OWN_PYTHON,
            "pip install -e '.[postgres]'",
            ours,
        ),
        Peer(
            "bare-asyncpg",
            "fastlane, bare asyncpg",
            partial(serve_command, "bench.apps.sql.bare_app:app", []),
            OWN_PYTHON,
            "pip install -e '.[postgres]'",
            ours,
            environment=environment,
        ),
        fastapi("fastapi-asyncpg", "FastAPI, asyncpg", "bench.apps.sql.fastapi_asyncpg_app:app"),
        fastapi(
            "fastapi-sqlalchemy",
            "FastAPI, SQLAlchemy on asyncpg",
            "bench.apps.sql.fastapi_sqlalchemy_app:app",
            "sqlalchemy",
        ),
        Peer(
            "fastify-pg",
            "Fastify, pg on Node",
            partial(node_command, "fastify_pg_app.mjs"),
            NODE_DIRECTORY / "node_modules" / "pg" / "package.json",
            "install Node.js 20 or later with npm, then run `python -m bench.install`",
            ("fastify", "pg"),
            NODE_DIRECTORY,
            environment,
        ),
    ]

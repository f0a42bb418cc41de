"""A working directory for a command line, in this process or in one of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fastlane_cli.main import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Fastlane = Callable[..., Outcome]
Write = Callable[[str, str], Path]


@pytest.fixture
def loggers() -> Iterator[None]:
    """What a command line sets up for its own process must not outlive it in this one."""
    found = [logging.getLogger(name) for name in ("", "fastlane", "uvicorn")]
    kept = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in found]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def fastlane(
    write: Write, loggers: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Fastlane:
    """Runs ``fastlane`` with these arguments, without this machine's variables."""
    for name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "FASTLANE_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run

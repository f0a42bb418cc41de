"""Start-up: what ``import fastlane`` costs, and how long ``fastlane serve`` takes to its first answer.

python -m bench.startup [--repeats 15]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

from bench.peers import OWN_PYTHON, ROOT, uvicorn_command
from bench.processes import read_stats, tree
from bench.server import free_ports, wait_for_answer

__all__ = ["figures"]

Say = Callable[[str], None]

HEAVY = ("uvicorn", "uvloop", "httptools", "click", "websockets", "aiohttp")
TIME_IMPORT = """
import sys, time
started = time.perf_counter()
{statement}
print(time.perf_counter() - started, *(name for name in {heavy!r} if name in sys.modules))
"""
IMPORTS = {
    "asyncio and msgspec": "import asyncio, msgspec",
    "fastlane": "import fastlane",
    "from fastlane import App": "from fastlane import App",
}


def time_import(statement: str) -> tuple[float, list[str]]:
    """Seconds of one import in a fresh interpreter, and which heavy modules it brought."""
    program = TIME_IMPORT.format(statement=statement, heavy=HEAVY)
    finished = subprocess.run([OWN_PYTHON, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RuntimeError(f"`{statement}` failed: {finished.stderr.splitlines()[-1]}")
    output = finished.stdout.split()
    return float(output[0]), output[1:]


def import_figures(say: Say, repeats: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats):
        for name, statement in IMPORTS.items():
            seconds, heavy = time_import(statement)
            found[name].append(seconds)
            if heavy:
                raise RuntimeError(f"`{statement}` imports {', '.join(heavy)}")
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    for name, seconds in medians.items():
        say(f"import {name:<26} {seconds * 1e3:7.1f} ms")
    reference = medians["asyncio and msgspec"]
    return {"import": medians["fastlane"] / reference, "import_app": medians["from fastlane import App"] / reference}


def serve_command(app: str, port: int, workers: int = 1) -> list[str]:
    """``fastlane serve``, from the environment that runs this."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--no-access-log"]
    return [str(OWN_PYTHON.with_name("fastlane")), "serve", app, *options]


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server, from its first 200 on: yields its process and the seconds that took; ends the whole tree."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process, wait_for_answer(process, port, started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            for stat in tree(process.pid, read_stats()):
                os.kill(stat.pid, signal.SIGKILL)
            process.wait()


def cold_start(command: Callable[[int], list[str]]) -> float:
    """Seconds from the start of the process to the first 200."""
    (port,) = free_ports(1)
    with running(command(port), port) as (_, seconds):
        return seconds


COLD_STARTS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn, bare ASGI": lambda port: uvicorn_command("bench.apps.bare_asgi:app", [port], OWN_PYTHON),
    "fastlane serve, bare ASGI": lambda port: serve_command("bench.apps.bare_asgi:app", port),
    "fastlane serve, fastlane": lambda port: serve_command("bench.apps.fastlane_app:app", port),
}


def cold_start_figures(say: Say, repeats: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in COLD_STARTS}
    for _ in range(repeats):
        for name, command in COLD_STARTS.items():
            found[name].append(cold_start(command))
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    for name, seconds in medians.items():
        say(f"cold start {name:<26} {seconds * 1e3:7.1f} ms")
    reference = medians["uvicorn, bare ASGI"]
    return {
        "cold_start": medians["fastlane serve, fastlane"] / reference,
        "cold_start_bare": medians["fastlane serve, bare ASGI"] / reference,
    }


def figures(say: Say, repeats: int = 15) -> dict[str, float]:
    """Ratios by the keys of ``bench.bars.BARS`` (and two more, for information).

    Raises:
        RuntimeError: an import fails, or brings a module that it must not.
        ServerFailed: a server did not start.
    """
    return import_figures(say, repeats) | cold_start_figures(say, repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.startup")
    parser.add_argument("--repeats", type=int, default=15)
    for key, value in figures(print, parser.parse_args().repeats).items():
        print(f"{key:<16} {value:5.2f}")

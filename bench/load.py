"""The load generators: wrk, or oha where it is installed, each on a core of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import Scenario

__all__ = ["GENERATORS", "Load", "LoadFailed", "oha_command", "parse_oha", "parse_wrk", "run_load", "wrk_script"]


class LoadFailed(Exception):
    """The generator could not run, or what it got were not answers."""


@dataclass(frozen=True)
class Load:
    """What one run of a generator saw. Latencies are milliseconds.

    Attributes:
        requests: answers received.
        errors: connections that failed, timeouts, and answers with a status of 400 or more.
    """

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def lua(text: str) -> str:
    """A Lua string literal."""
    return '"' + "".join(f"\\{ord(char):03d}" if char in '"\\\r\n' else char for char in text) + '"'


# The request is formatted once. Where heads have to differ, only the counter is put in, which costs wrk a few percent.
VARY = """
local before, after
local count = 0
init = function(arguments)
  wrk.headers["X-Request-Id"] = "@counter@"
  local whole = wrk.format()
  local first, last = whole:find("@counter@", 1, true)
  before, after = whole:sub(1, first - 1), whole:sub(last + 1)
end
request = function()
  count = count + 1
  return before .. (100000000 + count) .. after
end
"""

DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n@result {"requests": %d, "microseconds": %d, "errors": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def wrk_script(scenario: Scenario) -> str:
    """The Lua that makes wrk send the scenario's request and report in one line of JSON."""
    lines = [f"wrk.method = {lua(scenario.method)}"]
    lines += [f"wrk.headers[{lua(name)}] = {lua(value)}" for name, value in scenario.headers.items()]
    if scenario.body is not None:
        lines.append(f"wrk.body = {lua(scenario.body.decode())}")
    return "\n".join(lines) + "\n" + (VARY if scenario.varies else "") + DONE


def parse_wrk(output: str) -> Load:
    for line in output.splitlines():
        if line.startswith("@result "):
            result = json.loads(line.removeprefix("@result "))
            return Load(
                requests=result["requests"],
                seconds=result["microseconds"] / 1e6,
                errors=result["errors"],
                p50=result["p50"] / 1e3,
                p99=result["p99"] / 1e3,
            )
    raise LoadFailed(f"wrk reported nothing:\n{output[-500:]}")


def wrk_command(scenario: Scenario, url: str, connections: int, seconds: float, directory: Path) -> list[str]:
    script = directory / f"{scenario.name}.lua"
    script.write_text(wrk_script(scenario))
    # wrk takes whole seconds only.
    duration = f"{max(1, round(seconds))}s"
    return ["wrk", "--threads", "1", "--connections", str(connections), "--duration", duration, "-s", str(script), url]


def oha_command(scenario: Scenario, url: str, connections: int, seconds: float, directory: Path) -> list[str]:
    if scenario.varies:
        raise LoadFailed("oha cannot send a header that differs on every request")
    command = ["oha", "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-c", str(connections)]
    command += ["-m", scenario.method]
    for name, value in scenario.headers.items():
        command += ["-H", f"{name}: {value}"]
    if scenario.body is not None:
        command += ["-d", scenario.body.decode()]
    return [*command, url]


def parse_oha(output: str) -> Load:
    result = json.loads(output)
    statuses = {int(status): count for status, count in result["statusCodeDistribution"].items()}
    # Requests cut off by the deadline are no failures of the server.
    failures = {text: count for text, count in result["errorDistribution"].items() if text != "aborted due to deadline"}
    return Load(
        requests=sum(statuses.values()),
        seconds=result["summary"]["total"],
        errors=sum(failures.values()) + sum(count for status, count in statuses.items() if status >= 400),
        p50=result["latencyPercentiles"]["p50"] * 1e3,
        p99=result["latencyPercentiles"]["p99"] * 1e3,
    )


Command = Callable[[Scenario, str, int, float, Path], list[str]]
GENERATORS: dict[str, tuple[Command, Callable[[str], Load], str]] = {
    "wrk": (wrk_command, parse_wrk, "apt-get install wrk"),
    "oha": (oha_command, parse_oha, "cargo install oha"),
}


def run_load(
    tool: str, scenario: Scenario, port: int, *, connections: int, seconds: float, cores: set[int], directory: Path
) -> Load:
    """Loads one port of the loopback interface for ``seconds``.

    Raises:
        LoadFailed: the generator is missing or failed.
    """
    make_command, parse, hint = GENERATORS[tool]
    if shutil.which(tool) is None:
        raise LoadFailed(f"{tool} is missing: {hint}")
    directory.mkdir(parents=True, exist_ok=True)
    command = make_command(scenario, f"http://127.0.0.1:{port}{scenario.target}", connections, seconds, directory)
    finished = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if finished.returncode != 0:
        raise LoadFailed(f"{tool} ended with {finished.returncode}: {finished.stderr[-500:] or finished.stdout[-500:]}")
    return parse(finished.stdout)

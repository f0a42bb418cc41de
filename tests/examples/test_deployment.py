"""The files below ``docs/deployment``: what they name exists, and the tools that read them take them.

A test whose tool is missing is skipped, with the package that has it; ``.ci/run`` installs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlane.server.options import OPTIONS
from tests.servers.spawned import free_port

FILES = Path(__file__).parents[2] / "docs" / "deployment"
FASTLANE = Path(sys.executable).with_name("fastlane")
APP = """
from fastlane import App, Request

app = App()


@app.get("/who")
async def who(request: Request) -> dict[str, str]:
    return {"client": request.client[0] if request.client else "", "url": str(request.url)}
"""


def text(name: str) -> str:
    return (FILES / name).read_text()


def tool(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"NOT TESTED, {name} is missing: apt-get install {package}")
    return found


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        print(output)


def start(started: list[subprocess.Popen[str]], directory: Path, *command: str, until: str) -> None:
    """Start a server, and wait for the line in which it says that it listens."""
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    started.append(process)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if until in line:
            return
    pytest.fail("".join(said))


def get(url: str, **headers: str) -> dict[str, str]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, str] = json.load(answer)
    return found


@pytest.mark.parametrize("name", ["fastlane.service", "Dockerfile", "kubernetes.yaml", "nginx.md"])
def test_every_option_of_fastlane_in_a_file_exists(name: str) -> None:
    lines = [
        line
        for line in text(name).splitlines()
        if "fastlane serve" in line or '"fastlane"' in line or line.strip().startswith("- --")
    ]
    flags = {flag for option in OPTIONS for flag in (option.flag, option.negative_flag)}
    named = set(re.findall(r"(?<![\w-])--[a-z-]+", "\n".join(lines)))
    assert named
    assert named - flags == set()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    verify = tool("systemd-analyze", "systemd")
    for name in ("fastlane.service", "fastlane.socket"):
        # Neither the program nor the account of the unit is on this machine.
        unit = text(name).replace("/srv/blog/.venv/bin/fastlane", str(FASTLANE)).replace("User=blog\n", "")
        (tmp_path / name).write_text(unit)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    outcome = subprocess.run([verify, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    complaints = [line for line in outcome.stderr.splitlines() if str(tmp_path) in line or "fastlane." in line]
    assert complaints == []


def test_the_deadlines_of_the_unit_and_the_pod_are_longer_than_those_of_the_server() -> None:
    default = {option.name: option.default for option in OPTIONS}
    unit = dict(re.findall(r"^(\w+)=(\S+)$", text("fastlane.service"), re.MULTILINE))
    assert int(unit["TimeoutStartSec"]) > default["boot_timeout"]  # type: ignore[operator]
    assert int(unit["TimeoutStopSec"]) > default["graceful_timeout"] + default["drain_delay"]  # type: ignore[operator]
    pod = text("kubernetes.yaml")
    seconds = {name: int(value) for name, value in re.findall(r"--([a-z-]+)=(\d+)s$", pod, re.MULTILINE)}
    (grace,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", pod)
    assert int(grace) > seconds["drain-delay"] + seconds["graceful-timeout"]


def test_the_dockerfile_has_known_instructions_and_a_command_that_gets_signals_and_is_not_root() -> None:
    instructions = [line.split(None, 1) for line in text("Dockerfile").splitlines() if line]
    known = {"FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in instructions} == known
    assert all(re.search(r":\d+\.\d+", rest) for name, rest in instructions if name == "FROM")
    after_last_stage = instructions[max(index for index, (name, _) in enumerate(instructions) if name == "FROM") :]
    last = dict(after_last_stage)
    command = json.loads(last["CMD"])  # a list: no shell between the engine and the supervisor
    assert command[:3] == ["fastlane", "serve", "blog:app"]
    check = json.loads(last["HEALTHCHECK"].removeprefix("CMD "))
    compile(check[2], "HEALTHCHECK", "exec")
    assert f":{command[command.index('--health-port') + 1]}/readyz" in check[2]
    assert not last["USER"].startswith(("0", "root"))


def test_the_ports_of_the_pod_are_those_of_its_server() -> None:
    pod = text("kubernetes.yaml")
    health = re.findall(r"--health-port=(\d+)", pod)
    assert re.findall(r"name: health, containerPort: (\d+)", pod) == health
    default = {option.name: option.default for option in OPTIONS}
    assert re.findall(r"name: http, containerPort: (\d+)", pod) == [str(default["port"])]
    assert set(re.findall(r"path: (\S+), port: health", pod)) == {"/healthz", "/readyz"}


@pytest.mark.process
def test_gunicorn_serves_with_its_file(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    (tmp_path / "blog.py").write_text(APP)
    port = free_port()
    arguments = ["-c", str(FILES / "gunicorn.conf.py"), "-b", f"127.0.0.1:{port}", "-w", "1", "blog:app"]
    start(started, tmp_path, sys.executable, "-m", "gunicorn", *arguments, until="Listening at")
    assert get(f"http://127.0.0.1:{port}/who", x_forwarded_for="192.0.2.1")["client"] == "192.0.2.1"


@pytest.mark.process
def test_nginx_passes_requests_on_with_its_file(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    nginx = tool("nginx", "nginx-light")
    (tmp_path / "blog.py").write_text(APP)
    port = free_port()
    server = text("nginx.conf").replace("/run/blog/http.sock", str(tmp_path / "http.sock"))
    server = server.replace("listen 80;", f"listen 127.0.0.1:{port};")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {tmp_path}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
    files = ["-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    tested = subprocess.run([nginx, "-t", *files], capture_output=True, text=True, timeout=60)
    assert tested.returncode == 0, tested.stderr
    assert "warn" not in tested.stderr
    (command,) = re.findall(r"^fastlane (serve .*)$", text("nginx.md"), re.MULTILINE)
    options = command.replace("/run/blog/http.sock", "http.sock").replace("'", "").split()
    start(started, tmp_path, str(FASTLANE), *options, until="ready, ")
    start(started, tmp_path, nginx, *files, until="event method")
    answer = get(f"http://127.0.0.1:{port}/who", x_forwarded_for="192.0.2.1", host="blog.example.com")
    assert answer == {"client": "127.0.0.1", "url": "http://blog.example.com/who"}

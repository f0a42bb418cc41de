"""uvicorn's own protocol tests, of the installed version, run against the lane.

They come from uvicorn's source distribution, which pip fetches once into ``.build/`` (set ``PIP_FIND_LINKS`` and
``PIP_NO_INDEX`` where there is no network). The one change is a ``conftest.py`` of ours beside them, which puts the
lane in the place of uvicorn's HTTP protocols.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import pytest
import uvicorn

BUILD = Path(__file__).parents[2] / ".build" / f"uvicorn-{uvicorn.__version__}"

KNOWN_FAILURES = {
    "test_max_concurrency": (
        "wants a 503 of exactly uvicorn's text/plain bytes, from an ASGI task; ours is a problem document"
    ),
    "test_100_continue_sent_when_body_consumed": (
        "wants 100 Continue for a body that came with the head; RFC 9110 10.1.1 lets a server leave it out then"
    ),
}
"""Test functions of uvicorn's that the lane fails on purpose, each with its reason. Six at most (REQUESTS 5)."""

CONFTEST = """
import contextlib
import random
import socket
import sys

import httpx
import pytest

from fastlane.server.protocol import LaneProtocol

sys.modules.setdefault("httpx2", httpx)  # the tests' HTTP client is a fork with the same names


@pytest.fixture
def http_protocol_cls():
    return LaneProtocol


@pytest.fixture
def unused_tcp_port():
    # Below the range of outgoing connections, of which one may take a port that was free a moment ago.
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
"""


@pytest.fixture(scope="session")
def suite() -> Path:
    """The folder that holds uvicorn's ``tests`` package."""
    if not (BUILD / "tests" / "protocols" / "test_http.py").exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        requirement = f"uvicorn=={uvicorn.__version__}"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-binary",
            "uvicorn",
            "--no-deps",
            "--dest",
            str(BUILD),
            requirement,
        ]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        archives = list(BUILD.glob("uvicorn-*.tar.gz"))
        assert archives, f"the source distribution of {requirement} can't be fetched:\n{fetched.stdout}{fetched.stderr}"
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                # Not the package itself: the tests are to meet the installed one.
                _, _, member.name = member.name.partition("/")
                if member.name.startswith("tests/"):
                    archive.extract(member, BUILD, filter="data")
    (BUILD / "tests" / "protocols" / "conftest.py").write_text(CONFTEST)
    return BUILD


def run_suite(suite: Path, report: Path, *arguments: str) -> dict[str, list[str]]:
    """Run a part of the suite; answers the ids of each outcome: ``passed``, ``failed``, ``skipped``."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        *arguments,
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(suite),
        f"--junitxml={report}",
    ]
    ran = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert report.exists(), ran.stdout + ran.stderr
    outcomes: defaultdict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[outcome].append(case.attrib["name"])
    assert outcomes, ran.stdout + ran.stderr
    if outcomes["failed"]:
        print(ran.stdout)  # noqa: T201  # pytest shows it with the failure
    return outcomes


def functions(ids: list[str]) -> set[str]:
    return {name.partition("[")[0] for name in ids}


def test_the_http_tests_pass_but_for_the_named_ones(suite: Path, tmp_path: Path) -> None:
    outcomes = run_suite(suite, tmp_path / "report.xml", "tests/protocols/test_http.py")
    assert functions(outcomes["failed"]) == set(KNOWN_FAILURES)
    assert len(KNOWN_FAILURES) <= 6
    assert outcomes["skipped"] == []
    assert len(outcomes["passed"]) >= 90 - 6


def test_the_websocket_tests_pass_behind_the_hand_over(suite: Path, tmp_path: Path) -> None:
    outcomes = run_suite(suite, tmp_path / "report.xml", "tests/protocols/test_websocket.py", "-k", "websockets-sansio")
    assert outcomes["failed"] == []
    assert len(outcomes["passed"]) >= 50

"""Google's Pub/Sub emulator: in memory, a process of Java."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.spawned import Spawned, free_port

__all__ = ["GcpEmulator", "emulator_jar"]

PACKAGE = "google-cloud-cli-pubsub-emulator"
USUAL = Path("/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib")


class GcpEmulator(Spawned):
    """A running emulator, of any project. ``url`` is the provider's ``endpoint``."""

    def __init__(self) -> None:
        jar = emulator_jar()
        port = free_port()
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar)]
        super().__init__([*java, "--host=127.0.0.1", f"--port={port}"], port)


def emulator_jar() -> Path:
    """Google's jar. Skips the test, loudly, where it or Java is missing."""
    if shutil.which("java") is None:
        pytest.skip(f"there is no Java: apt-get install default-jre-headless {PACKAGE}")
    found = sorted(USUAL.glob("cloud-pubsub-emulator-*-all.jar"))
    if not found and shutil.which("dpkg"):
        listed = subprocess.run(["dpkg", "-L", PACKAGE], capture_output=True, text=True, timeout=30)
        found = [Path(line) for line in listed.stdout.splitlines() if line.endswith("-all.jar")]
    if not found:
        pytest.skip(f"there is no Pub/Sub emulator: apt-get install {PACKAGE} (of Google's package archive)")
    return found[-1]

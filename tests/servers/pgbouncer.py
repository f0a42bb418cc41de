"""pgbouncer in transaction mode, before a `Postgres`: Debian's package of that name."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

from tests.servers.postgres import Postgres, private_directory, unprivileged

__all__ = ["PgBouncer"]


def program() -> str:
    """Its path. Skips the test, and says why, where it isn't installed."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        pytest.skip("no pgbouncer here: install Debian's package `pgbouncer`")
    return found


class PgBouncer:
    """Runs when it was made; a context manager that kills it.

    Args:
        postgres: what stands behind it.
        connections: to the server, for everybody.
    """

    def __init__(self, postgres: Postgres, *, connections: int = 3) -> None:
        self.directory = private_directory("fl-pb-")
        self.port = 6432
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"* = host={postgres.directory} port={postgres.port} user=postgres\n"
            "[pgbouncer]\n"
            f"unix_socket_dir = {self.directory}\n"
            f"listen_port = {self.port}\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {connections}\n"
            "max_client_conn = 200\n"
            "logfile =\n"
        )
        given = unprivileged()
        if given:
            os.chown(configuration, given["user"], given["group"])
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*guard, program(), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            **given,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}&port={self.port}"

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> None:
        path = Path(self.directory) / f".s.PGSQL.{self.port}"
        end = time.monotonic() + 60
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    return
                except OSError:
                    if self._process.poll() is not None or time.monotonic() > end:
                        self._output.seek(0)
                        tail = self._output.read().decode(errors="replace")[-2000:]
                        raise RuntimeError(f"pgbouncer did not get ready:\n{tail}") from None
            time.sleep(0.02)

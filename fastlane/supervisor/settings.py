"""What the supervisor is told: its own options, where to listen, and what to call in the processes that it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Address", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One place to listen. Exactly one of ``host``, ``path`` and ``fd`` is set.

    Attributes:
        host, port: a name or an IP address, and a TCP port; port 0 takes a free one.
        path: a Unix socket; it is removed when the server stops.
        permissions: of the Unix socket, as ``chmod`` takes them.
        fd: a descriptor that already listens; it is taken over. Others may hold the socket, too: no ``listen(0)``, no
            ``shutdown()``.
    """

    host: str | None = None
    port: int = 0
    path: str | None = None
    permissions: int = 0o666
    fd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The supervisor's options. Times are seconds, sizes bytes; None is "never" or "unlimited".

    Attributes:
        load: ``module:function``; called once in the template with ``options``, returns the loaded application.
        run: ``module:function``; called in each worker with what ``load`` returned and a `WorkerContext`.
        boot: ``module:function``; called once per generation, in a child of the template before any worker is forked,
            with what ``load`` returned and a `BootContext`. The bytes that it returns are ``WorkerContext.report``.
            None: there is nothing to boot; nor is there where what ``load`` returned has a false attribute ``boots``.
        options: passed on to ``load``, ``boot`` and ``run``; the supervisor never looks inside.
        configuration: the file that the options came from, for the first line of the log.
        name: what the log lines and the process titles call the application.
        scheme: what the log puts before an address, ``http`` or ``https``.
        workers: how many processes serve.
        addresses: where to listen; empty for workers that take no connections.
        backlog: connections that the kernel keeps waiting.
        preload: import the application in the template; otherwise in each worker.
        timeout: a worker whose event loop gave no heartbeat for so long is replaced.
        boot_timeout: from the start of a process to its being ready; the boot process has it for each of its steps.
        graceful_timeout: from the request to stop until what still runs is cut off.
        idle_timeout: in a reload, how long a silent keep-alive connection may hold the worker that is replaced.
        drain_delay: how long a server that was told to stop still accepts connections.
        surge: workers that a roll may run above ``workers``; None: as many as there are workers.
        max_requests, max_rss, max_lifetime: a worker beyond it is replaced, successor first, one at a time. Each worker
            draws a limit of its own, up to a tenth below, so that they don't fall together.
        user, group: the account of the template and the workers; names or numbers.
        pid_file: holds the supervisor's process id while it runs.
        health: where the supervisor answers ``/healthz``, ``/readyz`` and ``/metrics``; None: nowhere.
        control: a Unix socket where it answers the same and ``/status``.
        metrics: the workers measure how long answers take.
    """

    load: str
    run: str
    boot: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    configuration: str | None = None
    name: str = "app"
    scheme: str = "http"
    workers: int = 1
    addresses: tuple[Address, ...] = (Address(host="127.0.0.1", port=8000),)
    backlog: int = 2048
    preload: bool = True
    timeout: float | None = 30.0
    boot_timeout: float = 60.0
    graceful_timeout: float = 30.0
    idle_timeout: float = 75.0
    drain_delay: float = 0.0
    surge: int | None = None
    max_requests: int | None = None
    max_rss: int | None = None
    max_lifetime: float | None = None
    user: str | None = None
    group: str | None = None
    pid_file: str | None = None
    health: Address | None = None
    control: Address | None = None
    metrics: bool = False

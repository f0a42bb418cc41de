"""Every option of ``fastlane serve``, in one typed table.

A field of `ServeOptions` is an option; `OPTIONS` has its flag (``--max-requests``), its variable
(``FASTLANE_MAX_REQUESTS``), its key in ``[serve]`` (``max_requests``), its default and its help. A flag beats the
environment, which beats the file.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import msgspec

from fastlane.errors import ConfigurationError
from fastlane.resources.quantities import octets, seconds
from fastlane.resources.surroundings import ALL_ROLES, Role
from fastlane.server import option as read
from fastlane.server.contradictions import contradictions
from fastlane.server.option import Described, Option
from fastlane.server.sources import shown, sources, unknown_keys
from fastlane.supervisor.processors import usable_processors
from fastlane.supervisor.settings import Address, Settings

__all__ = ["OPTIONS", "ServeOptions"]

_WHERE = "Where it listens"
_PROCESSES = "Processes"
_RESOURCES = "Declared resources"
_TIMES = "Deadlines"
_RECYCLING = "Recycling"
_LIMITS = "Limits of a request"
_HTTP = "HTTP"
_TLS = "TLS"
_HEALTH = "Health and metrics"
_LOG = "Log"


# PERF: this module has no `from __future__ import annotations`: evaluating the texts again costs 4 ms of each start.
class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How ``fastlane serve`` runs. Times are seconds, sizes bytes; None is "not set"."""

    host: Annotated[str, Described(_WHERE, "HOST", read.text, "Address or name to listen on.")] = "127.0.0.1"
    port: Annotated[int, Described(_WHERE, "PORT", read.whole(0, 65535), "TCP port; 0 takes a free one.")] = 8000
    uds: Annotated[str | None, Described(_WHERE, "PATH", read.text, "Unix socket, instead of host and port.")] = None
    uds_permissions: Annotated[
        int, Described(_WHERE, "MODE", read.permissions, "Permissions of the Unix socket, octal.")
    ] = 0o666
    fd: Annotated[int | None, Described(_WHERE, "FD", read.whole(0), "A descriptor that already listens.")] = None
    backlog: Annotated[int, Described(_WHERE, "COUNT", read.whole(1), "Connections that the kernel keeps waiting.")] = (
        2048
    )

    workers: Annotated[
        int | Literal["auto"],
        Described(
            _PROCESSES,
            "COUNT|auto",
            read.workers,
            "Processes that serve; auto: the cores that affinity and cgroup really grant. WEB_CONCURRENCY counts too.",
        ),
    ] = 1
    preload: Annotated[
        bool,
        Described(
            _PROCESSES, "", read.switch, "Import the app once and fork the workers; off: import it in each of them."
        ),
    ] = True
    surge: Annotated[
        int | None,
        Described(
            _PROCESSES, "COUNT", read.whole(1), "Workers that a reload may run beside the old ones; default: all."
        ),
    ] = None
    threads: Annotated[
        int, Described(_PROCESSES, "COUNT", read.whole(1, 1024), "Threads per worker for plain def handlers.")
    ] = 40
    user: Annotated[str | None, Described(_PROCESSES, "USER", read.text, "Account that the workers run as.")] = None
    group: Annotated[str | None, Described(_PROCESSES, "GROUP", read.text, "Group that the workers run as.")] = None
    pid_file: Annotated[
        str | None, Described(_PROCESSES, "PATH", read.text, "File that holds the supervisor's process id.")
    ] = None
    app_dir: Annotated[
        str, Described(_PROCESSES, "DIR", read.text, "Directory that comes first when the app is imported.")
    ] = ""
    config: Annotated[
        str | None,
        Described(_PROCESSES, "FILE", read.text, "Configuration file; default: fastlane.toml, if there is one."),
    ] = None

    embedded: Annotated[
        bool,
        Described(
            _RESOURCES,
            "",
            read.switch,
            "What the configuration says nothing about is embedded: one machine, no cluster.",
        ),
    ] = False
    run: Annotated[
        tuple[Role, ...],
        Described(
            _RESOURCES,
            "LIST",
            read.some_of(*ALL_ROLES),
            "What the workers do: http, subscriptions, cron. Without http nothing is listened on.",
        ),
    ] = ALL_ROLES
    subscriptions: Annotated[
        tuple[str, ...] | None,
        Described(_RESOURCES, "LIST", read.names, "The only subscriptions that are consumed; default: all."),
    ] = None

    timeout: Annotated[
        float | None,
        Described(
            _TIMES, "DURATION", seconds, "A worker whose event loop is blocked for so long is replaced; 0: never."
        ),
    ] = 30.0
    boot_timeout: Annotated[
        float, Described(_TIMES, "DURATION", read.positive(seconds), "From the start of a process to its being ready.")
    ] = 60.0
    graceful_timeout: Annotated[
        float, Described(_TIMES, "DURATION", seconds, "What still runs after so long is cut off when stopping.")
    ] = 30.0
    drain_delay: Annotated[
        float, Described(_TIMES, "DURATION", seconds, "How long connections are still accepted after TERM.")
    ] = 0.0
    keep_alive: Annotated[
        float, Described(_TIMES, "DURATION", seconds, "How long a connection may stay idle between two requests.")
    ] = 75.0

    max_requests: Annotated[
        int | None, Described(_RECYCLING, "COUNT", read.whole(1), "A worker that answered so many is replaced.")
    ] = None
    max_rss: Annotated[
        int | None, Described(_RECYCLING, "SIZE", read.positive(octets), "A worker that uses more memory is replaced.")
    ] = None
    max_lifetime: Annotated[
        float | None, Described(_RECYCLING, "DURATION", read.positive(seconds), "A worker older than that is replaced.")
    ] = None

    limit_request_line: Annotated[
        int, Described(_LIMITS, "SIZE", read.positive(octets), "Method, target and version; over it 414.")
    ] = 8192
    limit_head: Annotated[
        int, Described(_LIMITS, "SIZE", read.positive(octets), "Request line and headers together; over it 431.")
    ] = 32768
    limit_headers: Annotated[int, Described(_LIMITS, "COUNT", read.whole(1), "Header fields; over it 431.")] = 100
    limit_body: Annotated[
        int | None,
        Described(_LIMITS, "SIZE", octets, "Body of a request to an app that has no limit of its own; over it 413."),
    ] = None
    limit_chunk_extension: Annotated[
        int, Described(_LIMITS, "SIZE", octets, "Bytes of extensions on one chunk of a body; over it 400.")
    ] = 4096
    limit_chunk_extensions: Annotated[
        int, Described(_LIMITS, "SIZE", octets, "Bytes of extensions on all chunks of a body; over it 400.")
    ] = 16384
    limit_trailers: Annotated[int, Described(_LIMITS, "SIZE", octets, "Fields behind a chunked body; over it 431.")] = (
        8192
    )
    limit_unread: Annotated[
        int, Described(_LIMITS, "SIZE", octets, "Of a body that nobody wants, read on to keep the connection.")
    ] = 65536
    limit_connections: Annotated[
        int | None, Described(_LIMITS, "COUNT", read.whole(1), "Connections or tasks per worker; beyond them 503.")
    ] = None
    header_timeout: Annotated[
        float, Described(_LIMITS, "DURATION", read.positive(seconds), "To the end of a request's head; over it 408.")
    ] = 15.0
    body_timeout: Annotated[
        float, Described(_LIMITS, "DURATION", read.positive(seconds), "Between two pieces of a body; over it 408.")
    ] = 30.0
    write_timeout: Annotated[
        float,
        Described(_LIMITS, "DURATION", read.positive(seconds), "A peer that reads nothing for so long is dropped."),
    ] = 60.0

    root_path: Annotated[str, Described(_HTTP, "PATH", read.text, "Path under which a proxy publishes the app.")] = ""
    forwarded_allow_ips: Annotated[
        str,
        Described(
            _HTTP,
            "LIST",
            read.text,
            "Peers whose X-Forwarded-For and -Proto are believed. FORWARDED_ALLOW_IPS counts too.",
        ),
    ] = "127.0.0.1,::1"
    server_header: Annotated[bool, Described(_HTTP, "", read.switch, "Send a Server header.")] = False
    date_header: Annotated[bool, Described(_HTTP, "", read.switch, "Send a Date header.")] = True
    lifespan: Annotated[
        Literal["auto", "on", "off"],
        Described(_HTTP, "auto|on|off", read.one_of("auto", "on", "off"), "Whether the app has a lifespan."),
    ] = "auto"
    ws_max_size: Annotated[
        int, Described(_HTTP, "SIZE", read.positive(octets), "Largest WebSocket message, inflated.")
    ] = 16 * 1024 * 1024
    ws_ping_interval: Annotated[
        float, Described(_HTTP, "DURATION", read.positive(seconds), "Between two pings of a WebSocket.")
    ] = 20.0
    ws_ping_timeout: Annotated[
        float,
        Described(_HTTP, "DURATION", read.positive(seconds), "A WebSocket that answers no ping for so long is closed."),
    ] = 20.0

    certfile: Annotated[str | None, Described(_TLS, "PATH", read.text, "Certificate chain (PEM): serve TLS.")] = None
    keyfile: Annotated[
        str | None, Described(_TLS, "PATH", read.text, "Private key (PEM); default: in the certfile.")
    ] = None
    keyfile_password: Annotated[str | None, Described(_TLS, "TEXT", read.text, "Password of the private key.")] = None
    ca_certs: Annotated[
        str | None, Described(_TLS, "PATH", read.text, "Authorities (PEM) that sign client certificates: demand one.")
    ] = None

    health_path: Annotated[
        str | None,
        Described(_HEALTH, "PATH", read.url_path, "Path of the app's port that says whether a worker is alive."),
    ] = None
    ready_path: Annotated[
        str | None,
        Described(_HEALTH, "PATH", read.url_path, "Path of the app's port that says whether a worker is ready."),
    ] = None
    health_port: Annotated[
        int | None,
        Described(_HEALTH, "PORT", read.whole(0, 65535), "Port of /healthz, /readyz and /metrics for all workers."),
    ] = None
    health_host: Annotated[
        str | None, Described(_HEALTH, "HOST", read.text, "Address of the health port; default: --host.")
    ] = None
    metrics: Annotated[
        bool, Described(_HEALTH, "", read.switch, "Measure how long answers take: a histogram in /metrics.")
    ] = False
    control_socket: Annotated[
        str | None, Described(_HEALTH, "PATH", read.text, "Unix socket, mode 0600, that 'fastlane status' asks.")
    ] = None

    access_log: Annotated[bool, Described(_LOG, "", read.switch, "Log a line for every request.")] = True
    log_format: Annotated[
        Literal["text", "json"],
        Described(_LOG, "text|json", read.one_of("text", "json"), "Form of the log lines."),
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Described(
            _LOG,
            "LEVEL",
            read.one_of("debug", "info", "warning", "error", "critical"),
            "Least severe level that is logged.",
        ),
    ] = "info"

    @classmethod
    def gather(
        cls,
        flags: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        file: Mapping[str, object] | None = None,
        file_name: str = "fastlane.toml",
    ) -> Self:
        """Join the three sources.

        Args:
            flags: by field name; what was not given is missing or None.
            environment: default: this process's.
            file: the table ``[serve]``; a value may be ``{ env = "NAME" }``.
            file_name: what an error calls the file.

        Raises:
            ConfigurationError: every value that can't be used and key that nobody knows, or else all options that
                contradict. The text names the source: the flag, the variable, or the file and the key.
        """
        environment = os.environ if environment is None else environment
        file = file or {}
        mistakes = list(unknown_keys(file, OPTIONS, file_name))
        values: dict[str, object] = {}
        for option in OPTIONS:
            try:
                for source, raw in sources(option, flags or {}, environment, file, file_name):
                    try:
                        values[option.name] = option.read(raw)
                    except ValueError as error:
                        mistakes.append(f"{source}: expected {error}, got {shown(option, raw)}")
                    break
            except ConfigurationError as error:  # it refers to what is not there
                mistakes.append(str(error))
        if values.get("timeout") == 0.0:
            values["timeout"] = None
        options = None if mistakes else msgspec.convert(values, cls)
        if options is not None:
            mistakes += contradictions(options)
        if options is None or mistakes:
            raise ConfigurationError("\n".join(mistakes))
        return options

    def settings(self, app: str, configuration: str | None = None, *, configures_resources: bool = False) -> Settings:
        """What `fastlane.supervisor.run` takes, to serve ``app`` (as `fastlane.discovery` reads it) with these options.

        ``auto`` workers are counted here. The options travel inside, for `fastlane.server.worker`.

        Args:
            configuration: the file that was read, if one was.
            configures_resources: it has tables about resources, which are a mistake where none is declared.
        """
        workers = usable_processors() if self.workers == "auto" else self.workers
        if self.uds is not None:
            address = Address(path=self.uds, permissions=self.uds_permissions)
        elif self.fd is not None:
            address = Address(fd=self.fd)
        else:
            address = Address(host=self.host, port=self.port)
        return Settings(
            load="fastlane.server.worker:load",
            run="fastlane.server.worker:run",
            boot="fastlane.server.worker:boot",
            options={
                "app": app,
                "serve": msgspec.to_builtins(self),
                "configuration": configuration,
                "configures_resources": configures_resources,
                "workers": workers,
            },
            configuration=configuration,
            name=app,
            scheme="http" if self.certfile is None else "https",
            workers=workers,
            addresses=(address,) if "http" in self.run else (),
            backlog=self.backlog,
            preload=self.preload,
            timeout=self.timeout,
            boot_timeout=self.boot_timeout,
            graceful_timeout=self.graceful_timeout,
            idle_timeout=self.keep_alive,
            drain_delay=self.drain_delay,
            surge=self.surge,
            max_requests=self.max_requests,
            max_rss=self.max_rss,
            max_lifetime=self.max_lifetime,
            user=self.user,
            group=self.group,
            pid_file=self.pid_file,
            health=(
                None if self.health_port is None else Address(host=self.health_host or self.host, port=self.health_port)
            ),
            control=None if self.control_socket is None else Address(path=self.control_socket, permissions=0o600),
            metrics=self.metrics,
        )


def _table() -> tuple[Option, ...]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(ServeOptions)}
    rows: list[Option] = []
    for name, hint in ServeOptions.__annotations__.items():
        described: Described = hint.__metadata__[0]
        rows.append(Option(name, described.help, described.section, described.metavar, defaults[name], described.read))
    return tuple(rows)


OPTIONS: tuple[Option, ...] = _table()
"""The table, in the order of the fields."""

"""uvicorn's configuration with what the lane adds."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import uvicorn

from fastlane.resources.surroundings import Surroundings
from fastlane.server.latencies import Latencies
from fastlane.server.limits import Limits
from fastlane.server.options import ServeOptions
from fastlane.server.readiness import Readiness

if TYPE_CHECKING:
    from fastlane.runtime import Runtime

__all__ = ["LaneConfig", "preload_websockets", "websocket_protocol"]


def websocket_protocol(**arguments: Any) -> asyncio.Protocol:
    """uvicorn's WebSocket protocol, imported when it is needed: 20 ms of a start that most services never need."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**arguments)


def preload_websockets() -> None:
    """Import it now: workers share it then, and no handshake waits for it."""
    importlib.import_module("uvicorn.protocols.websockets.websockets_sansio_impl")


class LaneConfig(uvicorn.Config):
    """A `uvicorn.Config` whose defaults are ours: the lane's protocol, no Server header, no logging set up.

    Attributes:
        limits: what one connection may ask.
        threads: for plain ``def`` handlers.
        log_format: of the access log; None leaves it to ``access_writer``, or to uvicorn's own logger.
        readiness: the checks of the application.
        latencies: what `MeasuredProtocol` fills, where ``metrics`` asks for it; None otherwise.
        surroundings: what the app's resources are told of this process; None leaves the app on its own.
        runtime: of the declared resources, checked; None where there are none.
        access_writer: called with each answer, as `fastlane.server.access_log.AccessLog.log_access` is.
    """

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits | None = None,
        threads: int = 40,
        log_format: Literal["text", "json"] | None = None,
        readiness: Readiness | None = None,
        metrics: bool = False,
        surroundings: Surroundings | None = None,
        http: Any = None,
        ws: Any = None,
        log_config: Any = None,
        server_header: bool = False,
        timeout_keep_alive: float = 75.0,
        timeout_graceful_shutdown: float | None = 30.0,
        **uvicorn_options: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.threads = threads
        self.log_format = log_format
        self.readiness = readiness or Readiness()
        self.surroundings = surroundings
        self.runtime: Runtime | None = None
        self.latencies = Latencies() if metrics else None
        if http is None:
            http = f"fastlane.server.{'measured:MeasuredProtocol' if metrics else 'protocol:LaneProtocol'}"
        self.access_writer: Callable[..., None] | None = None
        super().__init__(
            app,
            http=http,
            ws=websocket_protocol if ws is None else ws,  # type: ignore[arg-type]  # it is only called
            log_config=log_config,
            server_header=server_header,
            timeout_keep_alive=timeout_keep_alive,  # type: ignore[arg-type]  # uvicorn only hands it to call_later
            timeout_graceful_shutdown=timeout_graceful_shutdown,  # type: ignore[arg-type]  # and this one to wait_for
            **uvicorn_options,
        )

    @property
    def boots(self) -> bool:
        """There are declared resources: a boot process has to prepare them."""
        return self.runtime is not None

    @classmethod
    def from_options(
        cls,
        app: Any,
        options: ServeOptions,
        readiness: Readiness | None = None,
        surroundings: Surroundings | None = None,
    ) -> LaneConfig:
        """The configuration of a worker that serves ``app`` with these options."""
        return cls(
            app,
            surroundings=surroundings,
            limits=Limits(
                request_line=options.limit_request_line,
                head_size=options.limit_head,
                header_count=options.limit_headers,
                body_size=options.limit_body,
                chunk_extension=options.limit_chunk_extension,
                chunk_overhead=options.limit_chunk_extensions,
                trailer_size=options.limit_trailers,
                linger=options.limit_unread,
                header_timeout=options.header_timeout,
                body_timeout=options.body_timeout,
                write_timeout=options.write_timeout,
            ),
            threads=options.threads,
            log_format=options.log_format,
            readiness=readiness,
            metrics=options.metrics,
            host=options.host,
            port=options.port,
            uds=options.uds,
            backlog=options.backlog,
            lifespan=options.lifespan,
            root_path=options.root_path,
            forwarded_allow_ips=options.forwarded_allow_ips,
            server_header=options.server_header,
            date_header=options.date_header,
            access_log=options.access_log,
            limit_concurrency=options.limit_connections,
            timeout_keep_alive=options.keep_alive,
            timeout_graceful_shutdown=options.graceful_timeout,
            ws_max_size=options.ws_max_size,
            ws_ping_interval=options.ws_ping_interval,
            ws_ping_timeout=options.ws_ping_timeout,
            ssl_certfile=options.certfile,
            ssl_keyfile=options.keyfile,
            ssl_keyfile_password=options.keyfile_password,
            ssl_ca_certs=options.ca_certs,
            ssl_cert_reqs=ssl.CERT_NONE if options.ca_certs is None else ssl.CERT_REQUIRED,
        )

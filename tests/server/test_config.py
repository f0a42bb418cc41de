from __future__ import annotations

import asyncio
import ssl

from fastlane.server.config import LaneConfig, preload_websockets, websocket_protocol
from fastlane.server.limits import Limits
from fastlane.server.options import ServeOptions


async def app(scope, receive, send):
    raise AssertionError("not called")


def test_the_defaults_are_ours():
    config = LaneConfig(app)
    assert config.limits == Limits()
    assert config.timeout_keep_alive == 75.0
    assert config.timeout_graceful_shutdown == 30.0
    assert config.log_config is None
    config.load()
    assert config.http_protocol_class.__name__ == "LaneProtocol"
    assert config.encoded_headers == []


def test_options_become_limits_and_uvicorn_settings():
    options = ServeOptions.gather(
        {"limit_head": "9000", "limit_headers": 7, "limit_body": "1MiB", "header_timeout": 1, "body_timeout": 2,
         "write_timeout": 3, "limit_connections": 9, "keep_alive": 4, "root_path": "/api", "log_format": "json"},
        {},
    )  # fmt: skip
    config = LaneConfig.from_options(app, options)
    assert config.limits == Limits(
        head_size=9000, header_count=7, body_size=2**20, header_timeout=1.0, body_timeout=2.0, write_timeout=3.0
    )
    assert (config.limit_concurrency, config.timeout_keep_alive, config.root_path) == (9, 4.0, "/api")
    assert config.log_format == "json"
    assert not config.is_ssl


def test_the_defaults_of_the_options_are_those_of_the_limits():
    assert LaneConfig.from_options(app, ServeOptions()).limits == Limits()


def test_authorities_demand_a_client_certificate():
    options = ServeOptions.gather({"certfile": "c", "ca_certs": "a"}, {})
    assert LaneConfig.from_options(app, options).ssl_cert_reqs == ssl.CERT_REQUIRED
    options = ServeOptions.gather({"certfile": "c"}, {})
    assert LaneConfig.from_options(app, options).ssl_cert_reqs == ssl.CERT_NONE


def test_websocket_support_can_be_imported_before_the_fork():
    import sys

    preload_websockets()
    assert "uvicorn.protocols.websockets.websockets_sansio_impl" in sys.modules


def test_websockets_are_served_by_uvicorn():
    from uvicorn.server import ServerState

    config = LaneConfig(app)
    config.load()
    assert config.ws_protocol_class is websocket_protocol

    async def main():
        return config.ws_protocol_class(config=config, server_state=ServerState(), app_state={})

    assert type(asyncio.run(main())).__name__ == "WebSocketsSansIOProtocol"
    assert LaneConfig(app, ws="none").ws == "none"

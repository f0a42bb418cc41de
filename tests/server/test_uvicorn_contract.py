"""What the lane relies on in uvicorn, one sentence a test.

uvicorn's internals are no interface, so a new version may change any of this without a word. When a test here fails
with a new uvicorn, read its change, mend the lane, run ``test_uvicorn_suite.py``, and only then widen the range in
pyproject.toml.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.lifespan.off import LifespanOff
from uvicorn.lifespan.on import LifespanOn, LifespanReceiveMessage
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols import utils
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import Server, ServerState

from fastlane.server.protocol import LaneProtocol


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Never called: these tests look at what stands around it."""
    raise AssertionError(scope)


def names(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def loaded(**options: Any) -> Config:
    config = Config(application, log_config=None, **options)
    config.load()
    return config


def test_this_version_is_inside_the_range_of_pyproject() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (requirement,) = (one for one in project["dependencies"] if re.match(r"uvicorn\b", one))
    match = re.fullmatch(r"uvicorn>=(\d+)\.(\d+),<(\d+)\.(\d+)", requirement)
    assert match, "the range of uvicorn is not pinned from both sides"
    lower, upper = (int(match[1]), int(match[2])), (int(match[3]), int(match[4]))
    assert lower <= tuple(int(part) for part in uvicorn.__version__.split(".")[:2]) < upper


# A protocol


def test_a_protocol_is_made_with_four_keyword_arguments() -> None:
    expected = ["self", "config", "server_state", "app_state", "_loop"]
    assert names(HttpToolsProtocol.__init__) == expected
    assert names(LaneProtocol.__init__) == expected


def test_the_server_makes_one_protocol_per_connection_by_those_names() -> None:
    source = inspect.getsource(Server.startup)
    for argument in ("config=config", "server_state=self.server_state", "app_state=self.lifespan.state", "_loop=_loop"):
        assert argument in source
    assert "config.http_protocol_class(" in source


def test_the_server_asks_nothing_of_a_connection_but_shutdown() -> None:
    source = inspect.getsource(Server)
    assert set(re.findall(r"\bconnection\.(\w+)", source)) == {"shutdown"}
    assert names(LaneProtocol.shutdown) == names(HttpToolsProtocol.shutdown) == ["self"]


def test_the_lane_has_every_callback_of_uvicorns_own_protocol() -> None:
    callbacks = [
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    ]
    for callback in callbacks:
        assert names(getattr(LaneProtocol, callback)) == names(getattr(HttpToolsProtocol, callback)), callback


# ServerState


def test_the_server_state_has_four_fields() -> None:
    state = ServerState()
    assert vars(state) == {"total_requests": 0, "connections": set(), "tasks": set(), "default_headers": []}


def test_the_default_headers_are_replaced_and_never_changed() -> None:
    """The lane renders them once and compares the list's identity."""
    server = Server(loaded(headers=[("X-Y", "z")]))

    async def tick() -> None:
        first = server.server_state.default_headers
        await server.on_tick(0)
        second = server.server_state.default_headers
        await server.on_tick(10)
        assert first == []
        assert [name for name, _ in second] == [b"date", b"server", b"x-y"]
        assert server.server_state.default_headers is not second
        kept = server.server_state.default_headers
        await server.on_tick(11)
        assert server.server_state.default_headers is kept

    asyncio.run(tick())


def test_the_count_of_requests_ends_a_server() -> None:
    server = Server(loaded(limit_max_requests=3))

    async def tick() -> tuple[bool, bool]:
        server.server_state.total_requests = 2
        early = await server.on_tick(1)
        server.server_state.total_requests = 3
        return early, await server.on_tick(1)

    assert asyncio.run(tick()) == (False, True)


# Config


def test_the_attributes_of_a_loaded_config_that_the_lane_reads() -> None:
    config = loaded(
        root_path="/api", timeout_keep_alive=7, limit_concurrency=9, backlog=11, timeout_graceful_shutdown=13
    )
    assert config.loaded is True
    assert config.root_path == "/api"
    assert config.timeout_keep_alive == 7
    assert config.limit_concurrency == 9
    assert config.backlog == 11
    assert config.timeout_graceful_shutdown == 13
    assert config.asgi_version == "3.0"
    assert config.reset_contextvars is False
    assert config.access_log is True
    assert config.date_header is True
    assert config.encoded_headers == [(b"server", b"uvicorn")]
    assert config.ssl is None
    assert (config.host, config.port, config.uds, config.fd) == ("127.0.0.1", 8000, None, None)
    assert config.lifespan == "auto"
    assert callable(config.lifespan_class)


def test_a_config_takes_attributes_of_ours() -> None:
    """``limits``, ``lane`` and ``access_writer`` hang on it."""
    config = loaded()
    config.limits = config.lane = object()  # type: ignore[attr-defined]


def test_a_protocol_may_be_a_class_or_a_name() -> None:
    assert loaded(http=LaneProtocol).http_protocol_class is LaneProtocol
    assert loaded(http="fastlane.server.protocol:LaneProtocol").http_protocol_class is LaneProtocol


def test_a_loaded_app_is_wrapped_in_uvicorns_own_middleware_around_app() -> None:
    """The lane looks through wrappers of ``uvicorn.…`` by their attribute ``app`` to find a fastlane App."""
    config = loaded()
    wrapper: Any = config.loaded_app
    assert type(wrapper) is ProxyHeadersMiddleware
    assert type(wrapper).__module__.startswith("uvicorn.")
    assert wrapper.app is application
    assert loaded(proxy_headers=False).loaded_app is application


def test_trusted_hosts_tell_by_membership_and_by_header() -> None:
    """``Request.client`` and the access log apply uvicorn's rule for X-Forwarded-For (REQUESTS 5)."""
    trusted: Any = ProxyHeadersMiddleware(application, trusted_hosts="10.0.0.0/8, 192.0.2.1").trusted_hosts  # type: ignore[arg-type]
    assert "10.1.2.3" in trusted
    assert "192.0.2.1" in trusted
    assert "192.0.2.2" not in trusted
    assert trusted.get_trusted_client_address("1.2.3.4, 10.0.0.1") == ("1.2.3.4", 0)
    assert trusted.get_trusted_client_address("1.2.3.4:5, 10.0.0.1") == ("1.2.3.4", 5)


@pytest.mark.parametrize("name", ["websockets-sansio", "wsproto"])
def test_a_websocket_protocol_is_made_without_a_loop(name: str) -> None:
    """The hand-over: construct, ``connection_made(transport)``, ``data_received(head)``, ``transport.set_protocol``."""
    protocol_class: Any = loaded(ws=name).ws_protocol_class
    parameters = inspect.signature(protocol_class.__init__).parameters
    assert list(parameters)[:4] == ["self", "config", "server_state", "app_state"]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in list(parameters.values())[4:])
    for callback in ("connection_made", "data_received", "shutdown"):
        assert callable(getattr(protocol_class, callback))


def test_no_websockets_is_none() -> None:
    assert loaded(ws="none").ws_protocol_class is None
    assert loaded(ws=WebSocketsSansIOProtocol).ws_protocol_class is WebSocketsSansIOProtocol


def test_a_loop_factory_may_be_asked_for() -> None:
    assert callable(Config(application, loop="asyncio", log_config=None).get_loop_factory())


# Server


def test_the_methods_of_the_server_that_ours_replaces() -> None:
    assert names(Server._serve) == ["self", "sockets"]
    assert names(Server.startup) == ["self", "sockets"]
    assert names(Server.shutdown) == ["self", "sockets"]
    assert names(Server.main_loop) == ["self"]
    assert names(Server.on_tick) == ["self", "counter"]
    assert names(Server.capture_signals) == ["self"]
    assert names(Server.handle_exit) == ["self", "sig", "frame"]
    assert inspect.iscoroutinefunction(Server._serve)


def test_a_new_server_has_these_fields() -> None:
    fields = vars(Server(Config(application, log_config=None)))
    assert {"config", "server_state", "started", "should_exit", "force_exit"} <= set(fields)
    assert (fields["started"], fields["should_exit"], fields["force_exit"]) == (False, False, False)
    assert Server(Config(application, log_config=None)).limit_max_requests is None


def test_serving_runs_serve_inside_the_capture_of_signals() -> None:
    source = inspect.getsource(Server.serve)
    assert "with self.capture_signals():" in source
    assert "await self._serve(sockets)" in source


# Lifespan


def test_a_lifespan_has_a_startup_a_shutdown_and_a_state() -> None:
    for lifespan_class in (LifespanOn, LifespanOff):
        lifespan = lifespan_class(loaded())
        assert lifespan.state == {}
        assert lifespan.should_exit is False
        assert inspect.iscoroutinefunction(lifespan.startup)
        assert inspect.iscoroutinefunction(lifespan.shutdown)
    assert LifespanReceiveMessage is not None


def test_our_lifespan_replaces_what_these_parts_of_uvicorns_are() -> None:
    lifespan = LifespanOn(loaded())
    parts = {
        "startup_event",
        "shutdown_event",
        "receive_queue",
        "startup_failed",
        "shutdown_failed",
        "state",
        "logger",
    }
    assert parts <= set(vars(lifespan))
    assert names(LifespanOn.send) == ["self", "message"]
    assert names(LifespanOn.receive) == ["self"]
    assert inspect.iscoroutinefunction(LifespanOn.main)


# Helpers


def test_the_address_helpers_take_a_transport() -> None:
    class Transport:
        def get_extra_info(self, key: str) -> Any:
            return {"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 9000), "sslcontext": None}.get(key)

    transport: Any = Transport()
    assert utils.get_local_addr(transport) == ("127.0.0.1", 8000)
    assert utils.get_remote_addr(transport) == ("127.0.0.1", 9000)
    assert utils.is_ssl(transport) is False

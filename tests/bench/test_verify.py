"""A peer that answers wrongly is found out."""

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bench.scenarios import SCENARIOS, Attempt, Scenario, scenario_named
from bench.server import free_ports
from bench.verify import Reply, judge_answer, judge_refusal, verify

HELLO = scenario_named("hello")


def test_the_right_value_passes_whatever_its_spelling():
    assert judge_answer(HELLO, Reply(200, b'{ "message" : "Hello, world!" }')) is None


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (Reply(201, b'{"message":"Hello, world!"}'), "expected 200"),
        (Reply(200, b"Hello, world!"), "no JSON"),
        (Reply(200, b'{"message":"Hi"}'), "expected {"),
    ],
)
def test_a_wrong_status_or_value_is_said(reply: Reply, complaint: str):
    assert complaint in (judge_answer(HELLO, reply) or "")


@pytest.mark.parametrize(("status", "passes"), [(200, False), (400, True), (422, True), (404, True), (500, False)])
def test_a_refusal_is_a_status_of_the_client(status: int, passes: bool):
    problem = judge_refusal(Attempt("quantity is too large", "POST", "/orders"), Reply(status, b""))

    assert (problem is None) == passes


@contextmanager
def server_that_accepts_everything(body: bytes):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_validates_nothing_fails_every_refusal_and_nothing_else():
    schema = scenario_named("schema")

    with server_that_accepts_everything(schema.answer_bytes) as port:
        problems = verify(schema, port, validates=True)
        floor = verify(schema, port, validates=False)

    assert len(problems) == len(schema.refused)
    assert floor == []


def test_a_server_that_is_not_there_is_one_problem():
    (port,) = free_ports(1)

    assert verify(HELLO, port, validates=True)[0].startswith("ConnectionRefusedError")


def test_free_ports_can_be_listened_on():
    for port in free_ports(3):
        socket.create_server(("127.0.0.1", port)).close()


def test_scenario_names_are_known_and_unknown_ones_are_answered_with_them():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    with pytest.raises(KeyError, match="hello, schema"):
        scenario_named("nothing")


def test_the_floor_answers_compact_json():
    assert Scenario("x", "x", "GET", "/", {"a": [1, 2]}).answer_bytes == b'{"a":[1,2]}'

"""The access log: one line an answer, whatever a client sends, and never a blocked loop."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.server import access_log
from fastlane.server.access_log import AccessLog

NOON = 1772366400.25  # 2026-03-01T12:00:00.250Z


class Timers:
    """Stands for the loop: keeps what was asked for and fires it when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.calls.append((seconds, callback))

    def fire(self) -> None:
        calls, self.calls = self.calls, []
        for _, callback in calls:
            callback()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(writer)
    os.close(reader)


def written(path: Path, log_format: str, *entries: tuple[str, str, str, str, int, int, float]) -> str:
    timers = Timers()
    with path.open("wb") as file:
        log = AccessLog(timers.call_later, descriptor=file.fileno(), log_format=log_format, clock=lambda: NOON)  # type: ignore[arg-type]
        for entry in entries:
            log.log_access(*entry)
        log.close()
    return path.read_text("ascii")


def test_a_line_of_text_has_time_peer_request_status_size_and_duration(tmp_path: Path) -> None:
    line = written(tmp_path / "log", "text", ("127.0.0.1", "GET", "/posts/3?x=1", "1.1", 200, 57, 0.00042))
    assert re.fullmatch(
        r'2026-03-01T\d\d:00:00[+-]\d\d:\d\d 127\.0\.0\.1 "GET /posts/3\?x=1 HTTP/1\.1" 200 57 0\.42ms\n', line
    )


def test_a_line_of_json_is_an_object_with_the_same(tmp_path: Path) -> None:
    line = written(tmp_path / "log", "json", ("::1", "PUT", "/posts/3", "1.0", 404, 0, 1.5))
    assert json.loads(line) == {
        "time": "2026-03-01T12:00:00.250Z",
        "logger": "fastlane.access",
        "client": "::1",
        "method": "PUT",
        "target": "/posts/3",
        "protocol": "HTTP/1.0",
        "status": 404,
        "size": 0,
        "microseconds": 1500000,
    }


def test_a_connection_without_an_address_is_a_dash(tmp_path: Path) -> None:
    assert ' - "GET / HTTP/1.1" 200' in written(tmp_path / "log", "text", ("", "GET", "/", "1.1", 200, 0, 0.0))


def test_only_the_lines_that_need_it_are_escaped(tmp_path: Path) -> None:
    hostile = '/a"b\\c\r\nGET \x1b[2J\x7f\x9b\xff☃'
    text = written(
        tmp_path / "log", "text", ("1", "GET", hostile, "1.1", 200, 0, 0), ("1", "GET", "/ok", "1.1", 200, 0, 0)
    )
    first, second = text.splitlines()
    assert r'"GET /a\x22b\\c\r\nGET \x1b[2J\x7f\x9b\xff\u2603 HTTP/1.1" 200' in first
    assert '"GET /ok HTTP/1.1" 200' in second


@given(
    st.lists(
        st.tuples(
            st.text(max_size=8),
            st.text(max_size=8),
            st.text(max_size=12),
            st.text(max_size=4),
            st.integers(100, 599),
            st.integers(0, 10**9),
            st.floats(0, 1e4),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_input_breaks_out_of_its_line_or_its_quotes(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str, str, str, int, int, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    text = written(path, "text", *entries)
    assert len(text.split("\n")) == len(entries) + 1
    assert all(line.isprintable() and line.count('"') == 2 for line in text.splitlines())
    objects = [json.loads(line) for line in written(path, "json", *entries).splitlines()]
    assert [(found["status"], found["size"]) for found in objects] == [(entry[4], entry[5]) for entry in entries]
    assert all(found["client"].isprintable() and found["target"].isprintable() for found in objects)


def test_a_terminal_gets_colours_and_no_control_character_of_the_client(timers: Timers) -> None:
    controller, terminal = pty.openpty()
    try:
        log = AccessLog(timers.call_later, descriptor=terminal, clock=lambda: NOON)
        log.log_access("::1", "GET", "/\x1b[2J", "1.1", 404, 9, 0.5)
        log.flush()
        shown = os.read(controller, 4096)
    finally:
        os.close(terminal)
        os.close(controller)
    assert b"\x1b[33m404\x1b[0m" in shown
    assert rb"GET /\x1b[2J" in shown
    assert b"\x1b[2J" not in shown


def test_lines_wait_for_each_other_and_leave_in_one_write(timers: Timers, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = AccessLog(timers.call_later, descriptor=writer)
    for status in (200, 201, 202):
        log.log_access("::1", "GET", "/", "1.1", status, 0, 0.0)
    assert [seconds for seconds, _ in timers.calls] == [access_log.FLUSH_SECONDS]
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    timers.fire()
    assert os.read(reader, 65536).count(b"\n") == 3
    assert timers.calls == []


def test_a_full_batch_does_not_wait_for_the_timer(timers: Timers, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(timers.call_later, descriptor=file.fileno())
        for _ in range(access_log.BATCH):
            log.log_access("::1", "GET", "/", "1.1", 200, 0, 0.0)
        assert (tmp_path / "log").read_bytes().count(b"\n") == access_log.BATCH


def test_a_reader_that_does_not_read_never_blocks_and_gets_whole_lines_later(
    timers: Timers, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "PENDING_SIZE", 4096)
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = AccessLog(timers.call_later, descriptor=writer, clock=lambda: NOON)
    for number in range(4):
        for _ in range(60):
            log.log_access("::1", "GET", f"/{number}", "1.1", 200, 0, 0.0)
        log.flush()
    timers.fire()
    assert len(timers.calls) == 1, "it tries again later"
    received = bytearray()
    for _ in range(20):
        try:
            while piece := os.read(reader, 65536):
                assert len(piece) <= 4096
                assert piece.endswith(b"\n"), "two workers' lines never mix"
                received += piece
        except BlockingIOError:
            log.log_access("::1", "GET", "/last", "1.1", 200, 0, 0.0)
            log.flush()
    assert received.count(b"GET /0 ") == 60
    assert b"-- 60 lines are missing: nobody read the access log --\n" in received
    assert b"GET /last " in received


def test_a_reader_that_is_gone_costs_the_lines_and_nothing_else(timers: Timers) -> None:
    reader, writer = os.pipe()
    log = AccessLog(timers.call_later, descriptor=writer)
    os.close(reader)
    log.log_access("::1", "GET", "/", "1.1", 200, 0, 0.0)
    timers.fire()
    assert timers.calls == []
    os.close(writer)


def test_a_descriptor_that_others_made_non_blocking_is_tried_again(
    timers: Timers, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    log = AccessLog(timers.call_later, descriptor=writer)
    log.log_access("::1", "GET", "/", "1.1", 200, 0, 0.0)

    def full(descriptor: int, data: bytes) -> int:
        raise BlockingIOError

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        timers.fire()
    assert len(timers.calls) == 1
    timers.fire()
    assert os.read(reader, 65536).count(b"\n") == 1


def test_closing_writes_the_rest_and_gives_a_silent_reader_up_after_a_second(
    timers: Timers, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = AccessLog(timers.call_later, descriptor=writer)
    for _ in range(100):
        log.log_access("::1", "GET", "/", "1.1", 200, 0, 0.0)
    log.close()
    assert os.read(reader, 65536).endswith(b"\n")
    log.log_access("::1", "GET", "/after", "1.1", 200, 0, 0.0)
    log.close()
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)

"""Log lines of the server and the application: text or JSON, on one stream."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from fastlane.server.logs import JsonFormatter, TextFormatter, set_up_logging


@pytest.fixture
def loggers() -> Iterator[None]:
    """Everything as it was afterwards."""
    names = ("", "fastlane", "uvicorn")
    kept = [(logging.getLogger(name), list(logging.getLogger(name).handlers)) for name in names]
    levels = [(logger, logger.level, logger.propagate) for logger, _ in kept]
    yield
    for logger, handlers in kept:
        logger.handlers[:] = handlers
    for logger, level, propagate in levels:
        logger.setLevel(level)
        logger.propagate = propagate


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("fastlane.error", logging.ERROR, "app.py", 1, message, arguments, None)
    vars(made).update(extra)
    return made


@pytest.mark.usefixtures("loggers")
def test_a_line_of_text_has_time_process_level_and_message() -> None:
    stream = io.StringIO()
    set_up_logging("info", "text", stream)
    logging.getLogger("fastlane.supervisor").info("worker %d is ready", 1)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \[\d+\] INFO worker 1 is ready\n", stream.getvalue()
    )


@pytest.mark.usefixtures("loggers")
def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    set_up_logging(stream=coloured)
    logging.getLogger("fastlane").warning("low")
    monkeypatch.setenv("NO_COLOR", "1")
    set_up_logging(stream=plain)
    logging.getLogger("fastlane").warning("low")
    assert "\x1b[33mWARNING\x1b[0m low" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()


@pytest.mark.usefixtures("loggers")
def test_setting_up_twice_writes_each_line_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    set_up_logging(stream=stream)
    set_up_logging(stream=stream)
    logging.getLogger("fastlane.error").error("once")
    logging.getLogger("blog").warning("once")
    assert stream.getvalue().count("once") == 2


@pytest.mark.usefixtures("loggers")
def test_the_level_is_ours_and_the_root_loggers_is_left_alone() -> None:
    stream = io.StringIO()
    before = logging.getLogger().level
    set_up_logging("error", stream=stream)
    logging.getLogger("uvicorn.error").warning("hidden")
    assert logging.getLogger().level == before
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("loggers")
def test_an_application_that_configured_the_root_logger_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [own])
    set_up_logging(stream=io.StringIO())
    assert logging.getLogger().handlers == [own]


def test_control_characters_do_not_reach_the_terminal_and_lines_stay() -> None:
    text = TextFormatter().format(record("sent %s", "a\x1b[2J\x7f\x9b\r\nb\tc"))
    assert text.endswith("sent a\\x1b[2J\\x7f\\x9b\\x0d\nb\tc")


def test_a_traceback_stands_below_the_message() -> None:
    try:
        raise KeyError("lost")
    except KeyError as error:
        failed = record("GET / failed")
        failed.exc_info = (KeyError, error, error.__traceback__)
    failed.stack_info = "Stack (most recent call last):"
    lines = TextFormatter().format(failed).split("\n")
    assert lines[0].endswith("ERROR GET / failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == ["KeyError: 'lost'", "Stack (most recent call last):"]
    found = json.loads(JsonFormatter().format(failed))
    assert found["exception"].endswith("KeyError: 'lost'")
    assert found["stack"] == "Stack (most recent call last):"


def test_a_line_of_json_is_an_object_with_what_came_as_extra() -> None:
    found = json.loads(JsonFormatter().format(record("sent\n%s", "x", request_id="7", unusual=object)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert isinstance(found.pop("process"), int)
    assert found == {
        "level": "error",
        "logger": "fastlane.error",
        "message": "sent\nx",
        "request_id": "7",
        "unusual": "<class 'object'>",
    }

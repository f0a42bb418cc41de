"""Nothing hidden leaves through logging, tracebacks, hooks or warnings, whoever made the handler, and when."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator

import pytest

from fastlane.redaction.doors import guard_doors, record_is_clean, substitute
from fastlane.server.logs import JsonFormatter, TextFormatter


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.redaction.doors")
    logger.setLevel("DEBUG")
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True


class Keeping(logging.Handler):
    """Reads the fields of a record itself, as error trackers do."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


class OwnFormat(logging.StreamHandler[io.StringIO]):
    def format(self, record: logging.LogRecord) -> str:
        return f"own {record.getMessage()}"


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def failing(secret: str) -> None:
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise ValueError(f"bad key {secret}") from error


@pytest.mark.parametrize("formatter", [logging.Formatter(), TextFormatter(), JsonFormatter()])
def test_a_handler_that_came_later_shows_nothing(
    logger: logging.Logger, secret: str, formatter: logging.Formatter
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.info("%s and %r", Shown(secret), secret, extra={"token": secret})
    try:
        failing(secret)
    except ValueError:
        logger.exception("failed with %s", secret, stack_info=True)
    text = stream.getvalue()
    assert "4ss" not in text
    assert text.count("***KEY***") >= 5


def test_json_that_is_logged_stays_json(logger: logging.Logger, secret: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.info("key %s", secret, extra={"nested": {"token": secret}})
    line = json.loads(stream.getvalue())
    assert line["message"] == "key ***KEY***"
    assert line["nested"] == {"token": "***KEY***"}


def test_a_handler_with_a_format_of_its_own_gets_a_clean_record(logger: logging.Logger, secret: str) -> None:
    stream = io.StringIO()
    logger.addHandler(OwnFormat(stream))
    logger.info("key %s", secret)
    assert stream.getvalue() == "own key ***KEY***\n"


def test_what_lies_deeper_in_arguments_and_extras_reaches_no_handler(logger: logging.Logger, secret: str) -> None:
    keeping = Keeping()
    logger.addHandler(keeping)
    extra = {
        "tree": {"headers": [("token", secret)], secret: 1},
        "octets": f"key={secret}".encode(),
        "error": ValueError(secret),
        "tags": {secret, "innocent"},
        "innocent": {"a": [1, "b", None]},
    }
    logger.info("user %(name)s", {"name": "ann", "token": secret}, extra=extra)
    logger.info("begins with %.1s", secret)
    logger.info("code %d of %s", 7, "ann", extra={"tree": extra["innocent"]})
    named, begun, innocent = keeping.seen
    assert named.__dict__["tree"] == {"headers": [("token", "***KEY***")], "***KEY***": 1}
    assert named.__dict__["octets"] == b"key=***KEY***"
    assert named.__dict__["tags"] == {"***KEY***", "innocent"}
    assert named.__dict__["innocent"] is extra["innocent"]
    assert named.getMessage() == "user ann"
    assert "4ss" not in "".join(repr(record.__dict__) for record in keeping.seen)
    assert (begun.msg, begun.args) == ("begins with %.1s", ("***KEY***",))
    assert (innocent.args, innocent.__dict__["tree"]) == ((7, "ann"), extra["innocent"])


def test_extras_that_hold_themselves_are_no_endless_loop(logger: logging.Logger, secret: str) -> None:
    keeping = Keeping()
    logger.addHandler(keeping)
    knot: list[object] = [secret]
    knot.append(knot)
    logger.info("knot", extra={"knot": knot})
    assert "4ss" not in repr(keeping.seen[0].__dict__)
    assert len(knot) == 2


def test_a_handler_that_reads_the_exception_itself_gets_one_without_the_value(
    logger: logging.Logger, secret: str
) -> None:
    keeping = Keeping()
    logger.addHandler(keeping)
    try:
        failing(secret)
    except ValueError as error:
        logger.error("failed", exc_info=error)
        original = error
    (record,) = keeping.seen
    assert record.exc_info is not None
    kind, error, place = record.exc_info
    assert getattr(kind, "__name__", None) == "ValueError"
    assert str(error) == "bad key ***KEY***"
    assert place is original.__traceback__
    assert isinstance(error, Exception)
    assert str(error.__cause__) == "'***KEY***'"
    assert str(original) == f"bad key {secret}"


def test_a_queue_handler_queues_nothing_hidden(logger: logging.Logger, secret: str) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger.addHandler(logging.handlers.QueueHandler(records))
    try:
        failing(secret)
    except ValueError:
        logger.exception("failed with %s", secret)
    assert secret not in str(vars(records.get()))


def test_a_traceback_that_another_handler_has_written_is_cleaned(secret: str) -> None:
    record = logging.makeLogRecord({"msg": "failed", "exc_text": f"ValueError: {secret}"})
    assert not record_is_clean(record)
    assert record.exc_text == "ValueError: ***KEY***"


def test_where_nothing_is_hidden_any_more_pythons_own_functions_answer(capsys: pytest.CaptureFixture[str]) -> None:
    guard_doors()
    guard_doors()
    error = ValueError("innocent")
    assert "ValueError: innocent" in "".join(traceback.format_exception(error))
    record = logging.makeLogRecord({"msg": "%d", "args": ("innocent",)})
    logging.StreamHandler(io.StringIO()).handle(record)
    text = capsys.readouterr().err
    assert "--- Logging error ---" in text
    assert "innocent" in text


def test_a_record_without_a_secret_is_left_as_it_is(secret: str) -> None:
    record = logging.makeLogRecord({"msg": "%d %s", "args": (1, "a")})
    assert record_is_clean(record)
    assert (record.msg, record.args) == ("%d %s", (1, "a"))


def test_what_logging_says_of_arguments_that_do_not_fit_shows_nothing(
    secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = logging.makeLogRecord({"msg": "%d", "args": (secret,)})  # as no logger has cleaned it
    logging.StreamHandler(io.StringIO()).handle(record)
    text = capsys.readouterr().err
    assert "--- Logging error ---" in text
    assert "4ss" not in text


def test_a_formatted_traceback_shows_nothing(secret: str) -> None:
    try:
        failing(secret)
    except ValueError as error:
        text = "".join(traceback.format_exception(error)) + "".join(traceback.format_exception_only(error))
    assert "4ss" not in text
    assert "KeyError: ***KEY***" in text or "KeyError: '***KEY***'" in text


def test_a_group_a_note_and_a_cycle_of_exceptions_are_substituted(secret: str) -> None:
    inner, other = ValueError(secret), TypeError("innocent")
    other.add_note(f"note {secret}")
    inner.__context__, other.__context__ = other, inner
    group = ExceptionGroup(f"several {secret}", [inner, other])
    clean = substitute(group)
    assert "4ss" not in "".join(traceback.TracebackException.from_exception(clean).format())
    assert isinstance(clean, BaseExceptionGroup)
    assert [type(member).__name__ for member in clean.exceptions] == ["ValueError", "TypeError"]


def test_an_exception_without_a_secret_is_its_own_substitute(secret: str) -> None:
    error = ValueError("innocent")
    error.__cause__ = KeyError("innocent, too")
    assert substitute(error) is error


def test_an_exception_that_can_not_be_written_is_no_obstacle(secret: str) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    error = Silent()
    assert substitute(error) is error


def test_a_base_exception_stays_none_that_except_exception_catches(secret: str) -> None:
    clean = substitute(KeyboardInterrupt(secret))
    assert not isinstance(clean, Exception)
    assert type(clean).__name__ == "KeyboardInterrupt"


def test_a_warning_shows_nothing(secret: str) -> None:
    assert warnings.formatwarning(UserWarning(f"careful {secret}"), UserWarning, "a.py", 1) == (
        "a.py:1: UserWarning: careful ***KEY***\n"
    )


def test_a_process_without_secrets_keeps_pythons_own_functions() -> None:
    program = """
        import logging, traceback, warnings, sys, threading
        own = [logging.Logger.callHandlers, logging.Handler.format, traceback.TracebackException.format,
               warnings.formatwarning, sys.excepthook, threading.excepthook]
        import fastlane, fastlane.http.problem, fastlane.secrets
        fastlane.secrets.Secret("KEY")
        now = [logging.Logger.callHandlers, logging.Handler.format, traceback.TracebackException.format,
               warnings.formatwarning, sys.excepthook, threading.excepthook]
        assert own == now
        assert "fastlane.redaction.doors" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_what_ends_a_process_a_thread_or_a_finalizer_shows_nothing() -> None:
    program = """
        import asyncio, threading, warnings
        from fastlane.redaction import hide
        value = "".join(["correct", " ", "horse"])
        hide("KEY", value)
        def fail():
            raise ValueError(value)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        class Late:
            def __del__(self):
                fail()
        Late()
        warnings.warn(value)
        async def main():
            task = asyncio.create_task(asyncio.to_thread(fail))
            await asyncio.wait([task])
            del task
            loop = asyncio.get_running_loop()
            loop.call_soon(fail)
            await asyncio.sleep(0)
        asyncio.run(main())
        try:
            fail()
        except ValueError as error:
            raise RuntimeError("outer " + value) from error
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert "correct horse" not in text
    assert text.count("ValueError: ***KEY***") >= 5
    assert "RuntimeError: outer ***KEY***" in text
    assert "UserWarning: ***KEY***" in text

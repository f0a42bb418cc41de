"""Where the log lines of the server and of the application go: standard error, as text or JSON.

The access log is not here: it has a path of its own, past ``logging`` (`fastlane.server.access_log`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Literal, TextIO

__all__ = ["JsonFormatter", "TextFormatter", "set_up_logging"]

_OURS = ("fastlane", "uvicorn")
_COLOURS = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[41m"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
"""Control characters, but line end and tab: a message that quotes a client must not steer the terminal."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
"""What every record has; anything else came with ``extra=``."""


class TextFormatter(logging.Formatter):
    """``2026-03-01T12:00:00+00:00 [71] INFO message``, and the traceback below; shorter and coloured on a terminal."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().translate(_CONTROL)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        for more in (record.exc_text, record.stack_info):
            if more:
                text += "\n" + more.translate(_CONTROL)
        moment = time.localtime(record.created)
        if self._colour:
            stamp = time.strftime("%H:%M:%S", moment)
            return f"\x1b[2m{stamp}\x1b[0m {_COLOURS.get(record.levelname, '')}{record.levelname}\x1b[0m {text}"
        zone = time.strftime("%z", moment)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
        return f"{stamp}{zone[:3]}:{zone[3:]} [{record.process}] {record.levelname} {text}"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, process, message, what came with ``extra=``, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


def set_up_logging(
    level: str = "info", log_format: Literal["text", "json"] = "text", stream: TextIO | None = None
) -> None:
    """Send the loggers of fastlane and uvicorn, and the root logger where nobody has set it up, to one stream.

    Calling it again replaces the first set-up, so that a worker may repeat what its supervisor did. An application that
    configures the root logger itself keeps what it configured.

    Args:
        level: the least severe level of our own loggers; the root logger's level is left as it is.
        log_format: ``"text"`` or ``"json"``.
        stream: default: standard error. Colours only on a terminal, and never with ``NO_COLOR``.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.name = "fastlane"
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(colour=colour))
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
    root = logging.getLogger()
    if all(other.name == "fastlane" for other in root.handlers):
        root.handlers[:] = [handler]

"""Log files that were moved away."""

from __future__ import annotations

import logging

__all__ = ["reopen_logs"]


def reopen_logs() -> None:
    """Open every log file again under its name: after USR1, when logrotate has moved it."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.Logger.manager.loggerDict)]
    for handler in {handler for one in loggers for handler in one.handlers}:
        if isinstance(handler, logging.FileHandler):
            handler.acquire()
            try:
                before = handler.stream
                handler.stream = handler._open()
                if before is not None:
                    before.close()
            finally:
                handler.release()

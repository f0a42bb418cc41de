"""Why a process could not start."""

from __future__ import annotations

__all__ = ["BootFailure", "exit_code_of"]


class BootFailure(Exception):
    """A template or a worker can't start. The supervisor logs ``str(error)`` once, without a traceback.

    Args:
        text: what is wrong and where, for people; several lines are fine.
        exit_code: 2 option or configuration, 3 lifespan, bind or timeout, 4 import.
    """

    def __init__(self, text: str, exit_code: int = 3) -> None:
        self.exit_code = exit_code
        super().__init__(text)


def exit_code_of(error: BaseException, default: int) -> int:
    """The exit code that an exception asks for by an attribute ``exit_code``."""
    code = getattr(error, "exit_code", default)
    return code if isinstance(code, int) else default

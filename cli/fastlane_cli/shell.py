"""``fastlane shell``: a Python prompt in which ``await`` works, with the application and its resources at hand."""

from __future__ import annotations

import ast
import code
import contextlib
import inspect
import sys
import traceback
import types
from typing import Any

import click

from fastlane.discovery import load_app
from fastlane.server.logs import set_up_logging
from fastlane.testing.portal import Portal
from fastlane_cli.resources import bound, known_failures_told, resource_options

__all__ = ["command"]


@click.command("shell")
@resource_options
@click.argument("target")
def command(target: str, app_dir: str, config: str | None, embedded: bool, dev: bool) -> None:
    """A Python prompt with TARGET's module, ``app``, and its resources bound. ``await`` works at the top level.

    One can publish and query; no subscription and no cron job runs.

    Example: fastlane shell app:app --dev
    """
    set_up_logging("warning", "text")
    app = load_app(target, app_dir)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - lines can be edited then
    portal = Portal()
    try:
        resources = bound(config, embedded, dev)
        with known_failures_told():
            portal.call(resources.__aenter__())
        try:
            names = {**_names_beside(app), "app": app}
            _Prompt(names, portal).interact(f"{target}, its resources bound; await works here. Ctrl-D ends it.", "")
        finally:
            portal.call(resources.__aexit__(None, None, None))
    finally:
        portal.close()


def _names_beside(app: object) -> dict[str, Any]:
    """What the module of the application defines."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        if names.get("__name__") != "__main__" and any(value is app for value in list(names.values())):
            return {name: value for name, value in names.items() if not name.startswith("__")}
    return {}


class _Prompt(code.InteractiveConsole):
    """Everything that is typed runs on the loop on which the resources are bound."""

    def __init__(self, names: dict[str, Any], portal: Portal) -> None:
        super().__init__(names)
        self._portal = portal
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: types.CodeType) -> None:
        function = types.FunctionType(code, self.locals)

        async def run() -> None:
            result = function()
            if inspect.iscoroutine(result):
                await result

        try:
            self._portal.call(run())
        except SystemExit:
            raise
        except KeyboardInterrupt:
            self.write("KeyboardInterrupt\n")
        except BaseException as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code is not code:
                trace = trace.tb_next  # what runs the prompt is nobody's business
            self.write("".join(traceback.format_exception(type(error), error, trace)))

    def showsyntaxerror(self, filename: str | None = None, **_: Any) -> None:
        error = sys.exception()  # Python's own shows its inside where somebody has set sys.excepthook, as secrets do
        assert error is not None
        self.write("".join(traceback.format_exception_only(error)))

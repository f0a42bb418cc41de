"""The server process of ``fastlane dev``, started anew after every change, with all it needs on its command line.

An application that can't be imported, compiled or started is explained twice: in the terminal, and to whoever asks it
something, until the next change replaces this process.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from typing import Any

import msgspec

from fastlane.app import App
from fastlane.discovery import load_app
from fastlane.errors import FastlaneError
from fastlane.redaction import redacted
from fastlane.resources import are_declared
from fastlane.resources.surroundings import Surroundings
from fastlane.routing.collecting import collect_compile_errors
from fastlane.server.config import LaneConfig
from fastlane.server.logs import set_up_logging
from fastlane.server.options import ServeOptions
from fastlane.server.server import LaneServer
from fastlane.supervisor import BootFailure
from fastlane_cli.near_misses import explain_not_found

__all__ = ["Explanation", "main"]

GRACE_SECONDS = 0.5
"""For requests that run when the process is replaced."""

logger = logging.getLogger("fastlane.dev")


class Explanation:
    """An ASGI application that answers every request with what is wrong (500), as plain text."""

    def __init__(self, text: str) -> None:
        self.body = (redacted(text) + "\n\nThe next change to a source file starts the application again.\n").encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the application could not be loaded")
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def main() -> None:
    """Serve until TERM or the end of the lifeline."""
    target, listener, lifeline, config, described = json.loads(sys.argv[1])
    options = msgspec.convert({**described, "graceful_timeout": GRACE_SECONDS}, ServeOptions)
    set_up_logging(options.log_level, options.log_format)
    logging.getLogger("uvicorn").setLevel("WARNING")
    _end_with(lifeline)
    with socket.socket(fileno=listener) as inherited:
        host, port = inherited.getsockname()[:2]
        place = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        # Bytecode is recognised by size and whole second: of two quick edits of one size the first would stay in force.
        sys.dont_write_bytecode = True
        try:
            app = _load(target, options.app_dir)
            surroundings = Surroundings(mode="dev", embedded=True, config=config, subscriptions=options.subscriptions)
            logger.info("serving %s on %s%s", target, place, _configured_by(surroundings))
            _serve(app, options, inherited, surroundings)
        except (FastlaneError, BootFailure) as error:
            logger.error("%s\n-- waiting for the next change (%s explains it too) --", error, place)
            _serve(Explanation(str(error)), options, inherited)


def _load(target: str, app_dir: str) -> object:
    """The application; a fastlane app with answers checked at every depth, and 404s that help.

    Raises:
        DiscoveryError: it can't be imported.
        FastlaneError: it can't be compiled; the text has all mistakes.
    """
    with collect_compile_errors() as errors:
        app = load_app(target, app_dir)
    if isinstance(app, App):
        errors += app.compile_errors()
        if errors:
            raise FastlaneError("\n".join(map(str, errors)))
        app.validate_responses(True)
        explain_not_found(app)
    return app


def _serve(
    app: object, options: ServeOptions, listener: socket.socket, surroundings: Surroundings | None = None
) -> None:
    config = LaneConfig.from_options(app, options, surroundings=surroundings)
    # A copy, since the server closes what it listens on, and the explanation needs it once more.
    LaneServer(config).run(sockets=[listener.dup()])


def _configured_by(surroundings: Surroundings) -> str:
    """Where the log says what stands behind the resources; empty if there are none."""
    if not are_declared():
        return ""
    from fastlane.resources.configuration.reading import load

    loaded = load(surroundings)
    return ", its resources embedded" if loaded.path is None else f", its resources configured by {loaded.name}"


def _end_with(lifeline: int) -> None:
    """End this process when the other end of the pipe is closed: nobody would ever replace it again."""

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # Ctrl-C reaches the whole process group; the server has stopped by then
        sys.exit(0)

"""The process that holds the sockets, starts the others and outlives them: the standard library only, no user code.

`run` is the whole entry. The roles are the supervisor (`main`), the template that imports the application and forks
(`template`), and the workers (`child`, then ``Settings.run``).
"""

from __future__ import annotations

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.settings import Address, Settings

__all__ = ["Address", "BootFailure", "Settings", "run"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def run(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """Serve until told to stop, in the calling process, which must have one thread and no event loop.

    Args:
        settings: see `Settings`; ``ServeOptions.settings(app)`` makes them.
        reread: called at HUP to read the configuration again (its addresses are ignored). What it raises is logged, and
            nothing is reloaded. Default: the same settings again, with new code.

    Returns:
        The exit code: 0 after a graceful stop; 2 an option or configuration that can't be used; 3 a failed lifespan,
        bind or boot timeout; 4 an application that can't be imported; 128+n after a quick stop by signal n. Every
        failure has been logged once, on the logger ``fastlane.supervisor``.
    """
    from fastlane.supervisor.main import serve

    return serve(settings, reread)

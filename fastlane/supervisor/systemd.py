"""What systemd wants to hear (sd_notify(3)): ready, reloading, stopping, still alive."""

from __future__ import annotations

import socket
from collections.abc import Mapping

__all__ = ["Notifier"]


class Notifier:
    """Talks to ``NOTIFY_SOCKET``; without one it does nothing.

    Args:
        environment: also says with ``WATCHDOG_USEC`` how often systemd wants to hear "still alive".
        pid: ``WATCHDOG_PID`` may name another process.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        wanted = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        # Half the time, as sd_watchdog_enabled(3) recommends.
        self.watchdog_seconds = int(wanted) / 2e6 if wanted.isdecimal() and mine and self._path else float("inf")
        self._watchdog_due = float("-inf")

    def tell(self, *assignments: str) -> bool:
        """Send ``READY=1`` and the like. False if nobody listens: that must not end a server."""
        if not self._path:
            return False
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(assignments).encode(), address)
            except OSError:
                return False
        return True

    def keep_alive(self, now: float) -> None:
        """Tell the watchdog, if it is time."""
        if self.watchdog_seconds < float("inf") and now >= self._watchdog_due:
            self._watchdog_due = now + self.watchdog_seconds
            self.tell("WATCHDOG=1")

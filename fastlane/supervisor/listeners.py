"""The sockets that all workers share: opened or inherited once, by the supervisor."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastlane.supervisor.directory_lock import directory_lock
from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.settings import Address

__all__ = ["FIRST_ACTIVATED", "Listener", "activated_descriptors", "open_listeners"]

FIRST_ACTIVATED = 3
"""The first descriptor of socket activation (sd_listen_fds(3))."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening, non-blocking socket.

    Attributes:
        inherited: somebody else holds it too, so that it gets neither ``listen(0)`` nor ``shutdown()`` at the end.
        path: the Unix socket's file, which is ours to remove; empty otherwise.
    """

    socket: socket.socket
    inherited: bool = False
    path: str = ""

    def url(self, scheme: str = "http") -> str:
        """How the log names it."""
        name = self.socket.getsockname()
        if isinstance(name, tuple):
            host = f"[{name[0]}]" if ":" in name[0] else name[0]
            return f"{scheme}://{host}:{name[1]}"
        text: str = os.fsdecode(name)
        return "unix:" + ("@" + text[1:] if text.startswith("\0") else text)

    def succeed(self) -> Listener:
        """The same, left by a supervisor that this one succeeds: a Unix socket's file is then this one's to remove."""
        name = self.socket.getsockname()
        return Listener(self.socket, True, name if isinstance(name, str) else "")

    def close(self) -> None:
        """Close this process's copy."""
        self.socket.close()

    def remove(self) -> None:
        """Remove the file of a Unix socket, once it is closed. What somebody listens on is another server's by now: one
        that was started while this one drained."""
        if self.path:
            with contextlib.suppress(FileNotFoundError, FileExistsError), directory_lock(self.path):
                if _is_stale(self.path):
                    os.unlink(self.path)


def activated_descriptors(environment: Mapping[str, str], pid: int) -> list[int]:
    """The descriptors of socket activation (sd_listen_fds(3)): ``LISTEN_FDS`` from 3 on, if ``LISTEN_PID`` is ours."""
    if environment.get("LISTEN_PID") != str(pid) or not environment.get("LISTEN_FDS", "").isdecimal():
        return []
    return list(range(FIRST_ACTIVATED, FIRST_ACTIVATED + int(environment["LISTEN_FDS"])))


def open_listeners(addresses: tuple[Address, ...], backlog: int) -> list[Listener]:
    """Bind and listen.

    Raises:
        BootFailure: with exit code 3; the text names the address and the reason. Nothing stays open then.
    """
    opened: list[Listener] = []
    try:
        for address in addresses:
            if address.fd is not None:
                opened.append(_inherit(address.fd))
            elif address.path is not None:
                opened.append(_bind_path(address.path, address.permissions, backlog))
            else:
                opened += _bind_host(address.host or "", address.port, backlog)
    except BaseException:
        for listener in opened:
            listener.close()
            listener.remove()
        raise
    return opened


def _inherit(fd: int) -> Listener:
    try:
        # Family and type are read from the socket: a guess would cost TCP_NODELAY (uvicorn assumes AF_UNIX).
        opened = socket.socket(fileno=fd)
        if opened.type != socket.SOCK_STREAM or not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            opened.detach()
            raise BootFailure(f"descriptor {fd} is no listening stream socket")
    except OSError as error:
        raise BootFailure(f"descriptor {fd} can't be used: {error.strerror}") from error
    os.set_inheritable(fd, False)
    _prepare(opened)
    return Listener(opened, inherited=True)


def _prepare(listener: socket.socket) -> None:
    listener.setblocking(False)
    if listener.family != socket.AF_UNIX:
        # Accepted sockets inherit it on Linux, whichever event loop takes them.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _bind_host(host: str, port: int, backlog: int) -> list[Listener]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BootFailure(f"can't listen on {host}:{port}: {error.strerror}") from error
    opened: list[Listener] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            place: tuple[Any, ...] = address
            if opened and port == 0:
                place = (place[0], opened[0].socket.getsockname()[1], *place[2:])
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind(place)
                bound.listen(backlog)
            except OSError as error:
                bound.close()
                raise BootFailure(f"can't listen on {place[0]} port {place[1]}: {_reason(error)}") from error
            _prepare(bound)
            opened.append(Listener(bound))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _bind_path(path: str, permissions: int, backlog: int) -> Listener:
    abstract = path.startswith("@")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if abstract:
            bound.bind("\0" + path[1:])
            bound.listen(backlog)
        else:
            _take(bound, path, permissions, backlog)
    except OSError as error:
        bound.close()
        raise BootFailure(f"can't listen on unix:{path}: {_reason(error)}") from error
    _prepare(bound)
    return Listener(bound, path="" if abstract else os.path.abspath(path))


def _take(bound: socket.socket, path: str, permissions: int, backlog: int) -> None:
    # Of several that start at once none may take for stale, and remove, what another has bound meanwhile, or has bound
    # and does not listen on yet.
    with directory_lock(path):
        if _is_stale(path):
            os.unlink(path)
        # bind() makes the file with the umask's permissions: set it first, so that there is no moment with more.
        before = os.umask(0o777 & ~permissions)
        try:
            bound.bind(path)
        finally:
            os.umask(before)
        os.chmod(path, permissions)
        bound.listen(backlog)


def _is_stale(path: str) -> bool:
    """Whether there is a socket that nobody listens on any more: one that a killed server left behind."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    if not is_socket:
        raise OSError(errno.EEXIST, "there is a file of that name, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:  # its queue is full: somebody listens
            pass
    return False


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use (another server runs there; end it or choose another port)"
    if error.errno == errno.EACCES:
        return "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)"
    return error.strerror or str(error)

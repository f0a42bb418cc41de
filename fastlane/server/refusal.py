"""Closing a listening socket without resetting a client that comes at that very moment."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

__all__ = ["refuse_connections"]

_SO_ATTACH_FILTER = 26
_DROP_SYN = (
    (0x30, 0, 0, 13),  # A = the byte of the TCP header that holds the flags
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A == SYN
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # else take it
)
"""A classic BPF program (linux/filter.h): code, jump if true, jump if false, operand. Of a TCP socket's filter the data
begins at the TCP header."""


def refuse_connections(listening: socket.socket) -> None:
    """Let nobody join the queue of ``listening`` any more; whoever is in it can still be accepted.

    A TCP client that comes now hears nothing, asks again after a second, and is refused because the socket is closed by
    then. Where the kernel has no filters for sockets, the queue takes one client more.
    """
    if sys.platform == "linux":
        if listening.family == socket.AF_UNIX:
            listening.shutdown(socket.SHUT_RD)  # elsewhere this would empty the queue
            return
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
        argument = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program))
        try:
            listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
        except OSError:  # sandboxes such as gVisor have none
            pass
        else:
            return
    listening.listen(0)

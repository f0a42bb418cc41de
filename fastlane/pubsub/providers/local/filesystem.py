"""Where the file may lie: WAL needs memory that all processes share, which no file system of a network gives."""

from __future__ import annotations

import os
from pathlib import Path

from fastlane.errors import ConfigurationError

__all__ = ["kind_of_filesystem", "refuse_network_filesystem"]

MOUNTS = Path("/proc/self/mountinfo")

# fmt: off
_NETWORK = frozenset([
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "vboxsf", "vmhgfs",
])
# fmt: on
_LOCAL_FUSE = frozenset(["fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.ntfs-3g", "fuse.exfat"])


def kind_of_filesystem(path: Path, mounts: str) -> str:
    """The type of the file system that holds ``path``, by the text of ``/proc/self/mountinfo``; empty: not told.

    Of several mounts on one another the last counts, as it does for the kernel.
    """
    best, kind = -1, ""
    target = os.fspath(path)
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        inside = target == point or target.startswith(point if point.endswith("/") else point + "/")
        if inside and len(point) >= best:
            best, kind = len(point), rest[0]
    return kind


def refuse_network_filesystem(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise ConfigurationError where ``path``, an existing directory, is on a network. Without ``/proc`` nothing is
    refused."""
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = kind_of_filesystem(path.resolve(), text)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        raise ConfigurationError(
            f"{path}: the local broker can't keep its file on a {kind} file system: its locks and its shared memory do "
            "not hold there, and messages would be lost\n"
            "    mend: set `path` of the provider (or FASTLANE_STATE) to a directory on a local disk"
        )


def _unescaped(point: str) -> str:
    """The kernel writes space, tab, newline and backslash in octal."""
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escaped, plain)
    return point

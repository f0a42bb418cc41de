"""Give up root for good, before any user code runs."""

from __future__ import annotations

import os

from fastlane.supervisor.failure import BootFailure

__all__ = ["drop_privileges", "resolve_account"]


def resolve_account(user: str | None, group: str | None) -> tuple[int | None, int | None]:
    """The numbers of a user and a group, given as names or numbers; the group defaults to the user's own.

    Raises:
        BootFailure: with exit code 2; there is no such user or group.
    """
    if user is None and group is None:
        return None, None
    import grp  # both here: few servers need them, and they load libraries of the name service
    import pwd

    uid = gid = None
    if user is not None:
        try:
            account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        except KeyError:
            if not user.isdecimal():
                raise BootFailure(f"--user {user}: there is no such user", 2) from None
            uid = int(user)  # a number without a name, as in a container
        else:
            uid, gid = account.pw_uid, account.pw_gid
    if group is not None:
        if group.isdecimal():
            gid = int(group)
        else:
            try:
                gid = grp.getgrnam(group).gr_gid
            except KeyError:
                raise BootFailure(f"--group {group}: there is no such group", 2) from None
    return uid, gid


def drop_privileges(user: str | None, group: str | None) -> None:
    """Become ``user`` and ``group``, with the user's supplementary groups and home.

    Raises:
        BootFailure: with exit code 2; the account does not exist, or this process may not become it.
    """
    uid, gid = resolve_account(user, group)
    if (uid is None or uid == os.getuid()) and (gid is None or gid == os.getgid()):
        return
    try:
        if gid is not None:
            os.setgid(gid)
            os.setgroups(_groups(user, gid))
        if uid is not None:
            os.setuid(uid)
            _move(uid)
    except PermissionError:
        raise BootFailure(
            f"--user and --group need root: uid {os.getuid()} can't become {user or ''}:{group or ''}", 2
        ) from None


def _groups(user: str | None, gid: int) -> list[int]:
    if user is None or user.isdecimal():
        return [gid]
    return os.getgrouplist(user, gid)


def _move(uid: int) -> None:
    """The user's home, as systemd and su have it: in root's, which HOME still names, a library that looks for its file
    (asyncpg, botocore) is not told that there is none, but that it may not look."""
    import pwd

    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        os.environ["HOME"] = "/"  # a number without a name, as in a container
        return
    os.environ |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}

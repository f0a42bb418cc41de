"""What a resolved configuration has that nothing may show: passwords, keys, passwords inside URLs."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import inspect

from fastlane.redaction import hide, hide_password
from fastlane.resources.configuration.references import is_unresolved
from fastlane.resources.configuration.table import Table, hidden_kind

__all__ = ["hide_values", "shown_dsn"]


def hide_values(configuration: Table) -> None:
    """Keep them out of whatever is written from here on, as ``***sql.databases.blog.url***``.

    Whoever gets a configuration that another process resolved has to call it. Calling it again does no harm.
    """
    for path, kind, value in _hidden(configuration, ""):
        if is_unresolved(value):
            continue
        if kind == "dsn":
            hide_password(path, value)
        else:
            hide(path, value)


def _hidden(table: Table, path: str) -> Iterator[tuple[str, str, str]]:
    info = inspect.type_info(type(table))
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        value = getattr(table, field.name)
        place = f"{path}.{field.name}".lstrip(".")
        members = value.items() if isinstance(value, dict) else [("", value)]
        for key, member in members:
            if isinstance(member, Table):
                yield from _hidden(member, f"{place}.{key}".rstrip("."))
            elif isinstance(member, str) and (kind := hidden_kind(field.type)):
                yield place, kind, member


def shown_dsn(url: str) -> str:
    """The URL without its password, for people. Of what is no URL nobody knows where a password stands in it."""
    if is_unresolved(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not shown)"
    if parts.scheme not in ("postgresql", "postgres") or not url.startswith(f"{parts.scheme}://"):
        return "(not shown)"
    userinfo, at, host = parts.netloc.rpartition("@")
    user = userinfo.partition(":")[0]
    query = "&".join(
        pair for pair in parts.query.split("&") if not pair.lower().startswith(("password", "sslpassword"))
    )
    return f"{parts.scheme}://{user}{at}{host}{parts.path}" + (f"?{query}" if query else "")

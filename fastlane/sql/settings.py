"""How one declared database is connected to: the address, the password of this moment, TLS as libpq has it."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from fastlane.resources.configuration import DatabaseOptions

__all__ = ["ConnectionSettings", "TlsMode", "check_url", "redacted"]

TlsMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
MODES: tuple[TlsMode, ...] = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CHECKING = ("verify-ca", "verify-full")
LIBPQ_DEFAULT = {"sslmode": "prefer"}

SCHEMES = ("postgresql", "postgres")
# What libpq knows and asyncpg would send to the server as a setting of the session, which it refuses.
UNSENT = (
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "requiressl",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
)
OURS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


class ConnectionSettings:
    """Everything that a connection needs. May be used on any event loop and in any thread: it holds no connection.

    Args:
        current: the options of now. Asked again for each connection, so that a rotated password counts from the next
            one on.
        application_name: what the server's ``pg_stat_activity`` shows; a name in the url wins.
    """

    def __init__(self, current: Callable[[], DatabaseOptions], *, application_name: str = "fastlane") -> None:
        self.current = current
        self.application_name = application_name

    @property
    def pooler(self) -> bool:
        """The url is a pooler in transaction mode: no session lasts longer than a transaction."""
        return self.current().pooler == "transaction"

    @property
    def has_sessions(self) -> bool:
        """Whether a direct connection is a session of the server's, which keeps locks and listens."""
        options = self.current()
        return options.pooler is None or options.direct_url is not None

    def arguments(self, *, direct: bool = False) -> dict[str, Any]:
        """Keyword arguments for `asyncpg.connect`.

        Args:
            direct: around the pooler, where there is one: for LISTEN, advisory locks, migrations.

        Raises:
            ValueError: the url is no url of a PostgreSQL.
            OSError: a certificate can't be read.
        """
        options = self.current()
        address = options.direct_url or options.url if direct else options.url
        parts = urlsplit(_scheme_mended(address))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        own = {name: query.pop(name) for name in OURS if name in query}
        for name in UNSENT:
            query.pop(name, None)
        arguments: dict[str, Any] = {
            "dsn": urlunsplit(parts._replace(query=urlencode(query, quote_via=quote))),
            "ssl": _tls(options, own, _hosts(address)),
        }
        if "application_name" not in query:
            arguments["server_settings"] = {"application_name": self.application_name}
        if options.password is not None:
            arguments["password"] = options.password
        if options.pooler and (not direct or options.direct_url is None):
            arguments["statement_cache_size"] = 0
        return arguments

    @property
    def secured(self) -> dict[str, str]:
        """How connections are secured, in libpq's words: ``sslmode``, and ``sslrootcert`` where it wants one."""
        options = self.current()
        mode, authorities = _security(options, dict(parse_qsl(urlsplit(options.url).query)), _hosts(options.url))
        if mode not in CHECKING:
            return {"sslmode": mode}
        # libpq and asyncpg look into a directory of the user for them, not at the system's.
        return {"sslmode": mode, "sslrootcert": authorities or ssl.get_default_verify_paths().cafile or "system"}

    @property
    def dsn(self) -> str:
        """The url with the password of now and with TLS, for another library (an ORM, psql), as libpq reads it."""
        options = self.current()
        parts = urlsplit(_scheme_mended(options.url))
        query = parse_qsl(parts.query, keep_blank_values=True)
        place = parts.netloc
        if options.password is not None:
            user, _, address = place.rpartition("@")
            place = f"{user.partition(':')[0]}:{quote(options.password, safe='')}@{address}"
            query = [pair for pair in query if pair[0] != "password"]
        secured = self.secured
        if secured != LIBPQ_DEFAULT:
            query = [pair for pair in query if pair[0] not in secured] + list(secured.items())
        text = f"?{urlencode(query, safe='/', quote_via=quote)}" if query else ""
        # By hand: urlunsplit leaves out an authority that is empty.
        return f"{parts.scheme}://{place}{parts.path}{text}"

    @property
    def server(self) -> str:
        """Which server it is, without user, password or database: those of one server share its connections."""
        options = self.current()
        address = options.direct_url or options.url
        return ",".join(_hosts(address)) + ":" + ",".join(_ports(address))


def check_url(address: str) -> str | None:
    """What is wrong with a url, or None. The text has no part of the url but its scheme: there may be a password."""
    try:
        parts = urlsplit(_scheme_mended(address))
        if parts.scheme not in SCHEMES:
            return f"expected postgresql://user:password@host:port/database, got the scheme {parts.scheme!r}"
        query = dict(parse_qsl(parts.query))
        if not all(port.isdecimal() and 0 < int(port) < 65536 for port in _ports(address)):
            return "a port is a number from 1 to 65535"
        mode = query.get("sslmode")
        if mode is not None and mode not in MODES:
            return f"sslmode is one of {', '.join(MODES)}; got {mode!r}"
    except ValueError:
        return "expected postgresql://user:password@host:port/database; a special character in it is written as %XX"
    return None


def redacted(address: str) -> str:
    """A url without its password, for logs."""
    parts = urlsplit(_scheme_mended(address))
    user, at, place = parts.netloc.rpartition("@")
    query = urlencode(
        [(name, "***" if name == "password" else value) for name, value in parse_qsl(parts.query)], safe="/"
    )
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{place}", query=query))


def _scheme_mended(address: str) -> str:
    """``postgresql+asyncpg://``, as SQLAlchemy's users write it, is ``postgresql://``."""
    scheme, separator, rest = address.partition("://")
    kind, plus, _ = scheme.partition("+")
    return f"{kind}{separator}{rest}" if plus and kind in SCHEMES else address


def _hosts(address: str) -> list[str]:
    parts = urlsplit(_scheme_mended(address))
    place = parts.netloc.rpartition("@")[2]
    hosts = [_host_of(host) for host in place.split(",") if _host_of(host)]
    hosts += [host for name, value in parse_qsl(parts.query) if name == "host" for host in value.split(",")]
    return [unquote(host) for host in hosts]


def _host_of(place: str) -> str:
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0]


def _ports(address: str) -> list[str]:
    parts = urlsplit(_scheme_mended(address))
    place = parts.netloc.rpartition("@")[2]
    ports = [host.rpartition("]")[2].partition(":")[2] for host in place.split(",")]
    ports += [port for name, value in parse_qsl(parts.query) if name == "port" for port in value.split(",")]
    return [port for port in ports if port] or ["5432"]


def _is_local(host: str) -> bool:
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _security(options: DatabaseOptions, url: dict[str, str], hosts: list[str]) -> tuple[TlsMode, str | None]:
    """The mode, and the file of the authorities; None: the system's.

    Without a mode it is ``verify-full``, unless every host is a socket or on the loopback: libpq's ``prefer`` would
    talk to whoever answers.
    """
    default: TlsMode = "prefer" if all(map(_is_local, hosts)) else "verify-full"
    mode = options.tls or cast(TlsMode, url.get("sslmode")) or default
    authorities = options.ca or url.get("sslrootcert")
    if authorities == "system":
        authorities = None
    if mode == "require" and authorities is not None:
        mode = "verify-ca"  # as libpq does
    return mode, authorities


def _tls(options: DatabaseOptions, url: dict[str, str], hosts: list[str]) -> Any:
    """What asyncpg takes as ``ssl``."""
    mode, authorities = _security(options, url, hosts)
    if mode in ("disable", "allow", "prefer"):
        return mode
    context = ssl.create_default_context(cafile=authorities)
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in url:
        context.load_cert_chain(url["sslcert"], url.get("sslkey"))
    return context

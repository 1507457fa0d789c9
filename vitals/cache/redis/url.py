"""Redis URLs: servers, and the options of redis-py's connections to them."""

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

PORT, SENTINEL_PORT = 6379, 26379
PLAIN = ("redis://", "rediss://", "unix://")
Kind = Literal["single", "sentinel", "cluster"]
SCHEMES = (
    *PLAIN,
    *(f"{plain}+{kind}://" for kind in ("sentinel", "cluster") for plain in ("redis", "rediss")),
)
TLS_OPTIONS = frozenset(
    ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
)
"""Options of a ``rediss://`` URL: trusted CAs, client certificate, verification."""
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
"""Options of a URL of Sentinels: their own login."""
OPTIONS = frozenset(("host", "port", "path", "db", "username", "password", "connection_class"))

Server = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True)
class RedisUrl:
    """A parsed Redis URL.

    Attributes:
        kind: One server, Sentinels that name the master, or nodes of a cluster.
        servers: The server, the Sentinels or the cluster's nodes. Empty for a Unix socket.
        service: The Sentinels' name of the master.
        options: Of redis-py's connections, without host and port.
        sentinel_login: ``username`` and ``password`` of the Sentinels; empty if not given.
    """

    kind: Kind
    servers: tuple[Server, ...]
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_login: dict[str, str | None] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str, password: str | None = None) -> "RedisUrl":
        """Parse a URL of any kind; see ``docs/caching.md``.

        Args:
            url: To parse.
            password: Used when the URL has none.

        Raises:
            ValueError: The URL's scheme is not supported, it has an unknown option, it names no
                Sentinel service, or a TLS file cannot be used.
        """
        if not url.startswith(SCHEMES):
            raise ValueError(f"a Redis URL begins with one of {', '.join(SCHEMES)}")
        scheme, _, rest = url.partition("://")
        scheme, _, kind = scheme.partition("+")
        if not kind:
            options = _options(url, password)
            single = () if "path" in options else (_server(options, PORT),)
            return cls("single", single, "", options)
        login, at, rest = rest.rpartition("@")
        hosts, slash, path = rest.partition("?")[0].partition("/")
        query = "?" + rest.partition("?")[2] if "?" in rest else ""
        service, _, database = path.partition("/") if slash else ("", "", "")
        if kind == "sentinel" and not service:
            raise ValueError("name the Sentinels' service: redis+sentinel://host:port/name")
        default = SENTINEL_PORT if kind == "sentinel" else PORT
        servers = tuple(_server(_split(host), default) for host in hosts.split(","))
        query, sentinel_login = _sentinel_login(query) if kind == "sentinel" else (query, {})
        options = _options(f"{scheme}://{login}{at}host/{database or 0}{query}", password)
        del options["host"]
        if kind == "sentinel":
            return cls("sentinel", servers, service, options, sentinel_login)
        return cls("cluster", servers, service, options)

    @property
    def address(self) -> str:
        """``HOST:PORT`` of one server; empty for a socket, Sentinels and a cluster."""
        if self.kind != "single" or not self.servers:
            return ""
        host, port = self.servers[0]
        return f"{host}:{port}"

    def connection_options(self, server: Server | None = None) -> dict[str, Any]:
        """Return options of a redis-py connection without retries and timeouts.

        Args:
            server: To connect to instead of the first.
        """
        options = dict(self.options)
        if server is not None or self.servers:
            options["host"], options["port"] = server or self.servers[0]
        return options | {
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "protocol": 2,
        }


class TlsConnection(SSLConnection):
    """A TLS connection with a shared SSL context.

    redis-py's own reads the files for each connection, and trusts the machine's CAs besides those
    of the URL.
    """

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


def _server(found: dict[str, Any], default_port: int) -> Server:
    return found.get("host") or "localhost", int(found.get("port") or default_port)


def _split(host: str) -> dict[str, Any]:
    parts = urlsplit(f"//{host}")
    return {"host": parts.hostname, "port": parts.port}


def _sentinel_login(query: str) -> tuple[str, dict[str, str | None]]:
    """Take the Sentinels' login out of a URL's query."""
    pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    login = {name: value for name, value in pairs if name in SENTINEL_OPTIONS}
    kept = urlencode([(name, value) for name, value in pairs if name not in SENTINEL_OPTIONS])
    if not login:
        return query, {}
    named = {own: login.get(name) for name, own in SENTINEL_OPTIONS.items()}
    return f"?{kept}" if kept else "", named


def _options(url: str, password: str | None) -> dict[str, Any]:
    """Parse a URL of one server into options of redis-py's connections.

    Raises:
        ValueError: An option is unknown, or TLS cannot be set up.
    """
    found: dict[str, Any] = dict(parse_url(url))
    secure = url.startswith("rediss://")
    # Unknown options are refused: one may be a misspelled option of TLS verification.
    if unknown := found.keys() - OPTIONS - (TLS_OPTIONS if secure else frozenset()):
        raise ValueError(f"the Redis URL has unknown options: {', '.join(sorted(unknown))}")
    options: dict[str, Any] = {"connection_class": Connection}
    options |= {name: value for name, value in found.items() if name in OPTIONS}
    options["password"] = options.get("password") or password
    if secure:
        options |= {"connection_class": TlsConnection, "context": _tls(found)}
    return options


def _tls(found: dict[str, Any]) -> ssl.SSLContext:
    """Make an SSL context from a URL's options.

    Raises:
        ValueError: A file is missing or invalid, or an option has an unknown value.
    """
    checks = found.get("ssl_cert_reqs", "required")
    if checks not in {"required", "none"}:
        raise ValueError("ssl_cert_reqs in the Redis URL: required or none")
    authority, certificate = found.get("ssl_ca_certs"), found.get("ssl_certfile")
    try:
        # Not redis-py's own context, which also trusts the machine's CAs.
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, found.get("ssl_keyfile"))
    except OSError as error:
        files = ", ".join(name for name in (authority, certificate) if name)
        raise ValueError(f"TLS to Redis: cannot use {files}: {error}") from error
    if checks == "none" or found.get("ssl_check_hostname") is False:
        context.check_hostname = False
    if checks == "none":
        context.verify_mode = ssl.CERT_NONE
    return context

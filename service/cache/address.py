"""Where a Redis is: what its URL says."""

import ssl
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio.connection import parse_url

PORT, SENTINEL_PORT = 6379, 26379
PLAIN = ("redis://", "rediss://", "unix://")
KINDS = ("sentinel", "cluster")
SCHEMES = (*PLAIN, *(f"{plain}+{kind}://" for kind in KINDS for plain in ("redis", "rediss")))

TLS_OPTIONS = frozenset(
    ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
)
"""Of a ``rediss://`` URL: whom to trust, who we are, and whether to check the server at all."""


@dataclass(frozen=True)
class Address:
    """One Redis server.

    Attributes:
        path: A Unix socket instead of host and port.
        tls: How to check the server, if it speaks TLS.
    """

    host: str = "localhost"
    port: int = PORT
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, url: str, password: str | None = None) -> "Address":
        """Read a URL.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.
            password: Used when the URL has none.

        Raises:
            ValueError: The URL is of another kind, or names files for TLS that do not do.
        """
        found: dict[str, Any] = dict(parse_url(url))
        return cls(
            host=found.get("host", "localhost"),
            port=found.get("port", PORT),
            path=found.get("path"),
            database=int(found.get("db", 0)),
            username=found.get("username"),
            password=found.get("password") or password,
            tls=_tls(found) if url.startswith("rediss://") else None,
        )

    def at(self, host: str, port: int) -> "Address":
        """The same way in, at another server."""
        return replace(self, host=host, port=port)


@dataclass(frozen=True)
class Place:
    """What a URL says: one server, or some that know where the others are.

    Attributes:
        kind: ``"single"``, ``"sentinel"`` or ``"cluster"``.
        addresses: One, or those to ask.
        service: What the Sentinels call the master.
    """

    kind: str
    addresses: tuple[Address, ...]
    service: str = ""

    @classmethod
    def parse(cls, url: str, password: str | None = None) -> "Place":
        """Read a URL of any kind; see ``docs/caching.md``.

        Raises:
            ValueError: The URL is of another kind, or names no Sentinel's service.
        """
        if not url.startswith(SCHEMES):
            raise ValueError(f"a Redis URL begins with one of {', '.join(SCHEMES)}")
        scheme, _, rest = url.partition("://")
        scheme, _, kind = scheme.partition("+")
        if not kind:
            return cls("single", (Address.parse(url, password),))
        login, at, rest = rest.rpartition("@")
        hosts, _, path = rest.partition("?")[0].partition("/")
        query = "?" + rest.partition("?")[2] if "?" in rest else ""
        service, _, database = path.partition("/")
        if kind == "sentinel" and not service:
            raise ValueError("name the Sentinels' service: redis+sentinel://host:port/name")
        default = SENTINEL_PORT if kind == "sentinel" else PORT
        addresses = []
        for host in hosts.split(","):
            if ":" not in host:
                host += f":{default}"  # noqa: PLW2901 - completed
            single = f"{scheme}://{login}{at}{host}/{database or 0}{query}"
            addresses.append(Address.parse(single, password))
        return cls(kind, tuple(addresses), service)


def _tls(found: dict[str, Any]) -> ssl.SSLContext:
    """Read what a URL says of TLS.

    Raises:
        ValueError: An option is unknown, or a file is not there or holds something else.
    """
    # A misspelled option is not taken for none: it may be the one that checks the server.
    if unknown := {name for name in found if name.startswith("ssl_")} - TLS_OPTIONS:
        raise ValueError(f"the Redis URL has unknown options: {', '.join(sorted(unknown))}")
    checks = found.get("ssl_cert_reqs", "required")
    if checks not in {"required", "none"}:
        raise ValueError("ssl_cert_reqs in the Redis URL: required or none")
    authority, certificate = found.get("ssl_ca_certs"), found.get("ssl_certfile")
    try:
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

"""The public address of the watch: what people on the network open, and messages link to."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

VARIABLE = "PUBLIC_URL"
_EXAMPLE = "write it as https://watch.example.com"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_NAME = 253
_PORTS = {"https": 443, "http": 80}


class PublicUrlError(ValueError):
    """The public address is not one that the door supports; the message says what to write."""


@dataclass(frozen=True)
class PublicUrl:
    """An origin: scheme, host and port, without a path.

    Attributes:
        scheme: ``https``, or ``http`` on this machine.
        host: A host name in lower case, or an IP address without brackets.
        port: A port; the scheme's own is not written.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Read it; `None` for an empty text.

        Raises:
            PublicUrlError: It has a path, a query, a login, no host, or no TLS off this machine.
        """
        if not text:
            return None
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise PublicUrlError(f"{VARIABLE}: {error}: {_EXAMPLE}") from None
        if "@" in parts.netloc:  # the text is not shown: it may hold a password
            raise PublicUrlError(
                f"{VARIABLE}: it must not hold a login, which messages would show to everybody: "
                f"{_EXAMPLE}"
            )
        if parts.scheme not in _PORTS or text != text.strip() or not text.isprintable():
            raise PublicUrlError(f"{VARIABLE}={text!r}: {_EXAMPLE}")
        host = (parts.hostname or "").rstrip(".")
        if not _is_host(host):
            raise PublicUrlError(f"{VARIABLE}={text}: {host!r} is no host name: {_EXAMPLE}")
        if parts.path not in {"", "/"}:
            raise PublicUrlError(
                f"{VARIABLE}={text}: a path is not supported, give the watch a host name of its "
                f"own: {_EXAMPLE}"
            )
        if parts.query or parts.fragment or text.endswith(("?", "#")):
            raise PublicUrlError(f"{VARIABLE}={text}: a query is not supported: {_EXAMPLE}")
        if port == 0:
            raise PublicUrlError(f"{VARIABLE}={text}: must be a port from 1 to 65535")
        address = cls(parts.scheme, host, port or _PORTS[parts.scheme])
        if address.scheme == "http" and not address.is_loopback:
            raise PublicUrlError(
                f"{VARIABLE}={text}: the login would be readable on the network: {_EXAMPLE}; http "
                "is for 127.0.0.1 and localhost"
            )
        return address

    @property
    def origin(self) -> str:
        """The address without a slash at its end, as browsers send it in ``Origin``."""
        shown = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.bracketed}{shown}"

    @property
    def bracketed(self) -> str:
        """The host, in brackets if it is an IPv6 address."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address."""
        return _is_ip(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.is_address:
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # a zone is of one machine


def _is_host(host: str) -> bool:
    labels = host.split(".")
    # A name whose last label is a number is read as an IPv4 address by browsers.
    is_name = len(host) <= _MAX_NAME and all(map(_LABEL.fullmatch, labels))
    return _is_ip(host) if labels[-1].isdecimal() or ":" in host else is_name

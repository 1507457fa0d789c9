"""Settings of the door, read from environment variables ``PUBLIC_*`` and checked at start."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from stack.installation.public_url import VARIABLE, PublicUrl

VARIABLES = (
    VARIABLE,
    "PUBLIC_LISTEN",
    "PUBLIC_TLS",
    "PUBLIC_TLS_CERT_FILE",
    "PUBLIC_TLS_KEY_FILE",
    "PUBLIC_ACME_URL",
    "PUBLIC_ACME_EMAIL",
    "PUBLIC_ACME_ROOT_FILE",
    "PUBLIC_USER",
    "PUBLIC_USERS_FILE",
    "PUBLIC_OAUTH2_PROXY",
)
"""All variables that are read."""
TLS = {
    "acme": "a certificate of Let's Encrypt, or of PUBLIC_ACME_URL",
    "internal": "an authority of its own, whose root certificate you install on your devices",
    "files": "PUBLIC_TLS_CERT_FILE and PUBLIC_TLS_KEY_FILE",
    "off": "none here: a proxy on this machine in front of it has TLS",
}
"""Values of PUBLIC_TLS, and where the certificate comes from."""
DEFAULT_USER = "watch"
_ALL = "0.0.0.0"  # noqa: S104 - of the door only, which asks for a login
_HTTPS = 443
_NOT_PUBLIC = ("internal", "lan", "local", "localdomain", "home.arpa", "corp", "home", "intranet")
_RESERVED = ("test", "example", "invalid", "localhost")
_USER = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")
_EMAIL = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)


class DoorSettingsError(ValueError):
    """A setting is wrong; the message names the variable and what to do."""


@dataclass(frozen=True)
class DoorSettings:
    """How the watch is reached from other machines.

    Attributes:
        url: What people open.
        host: Address to listen on, without brackets.
        port: Port to listen on.
        tls: A key of `TLS`.
        certificate: The certificate and its chain, PEM; with ``files`` only.
        key: Its key.
        acme_url: Directory of the authority; empty for Let's Encrypt.
        acme_email: Address for its warnings; empty for none.
        acme_root: Root certificate of the authority, if systems do not know it.
        user: Name of the login whose password is generated.
        users: Hashes by bcrypt by names, in place of that login.
        oauth2_proxy: ``HOST:PORT`` of an oauth2-proxy that logs people in; empty for none.
    """

    url: PublicUrl
    host: str = _ALL
    port: int = _HTTPS
    tls: str = "internal"
    certificate: Path | None = None
    key: Path | None = None
    acme_url: str = ""
    acme_email: str = ""
    acme_root: Path | None = None
    user: str = DEFAULT_USER
    users: Mapping[str, str] = field(default_factory=dict)
    oauth2_proxy: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self | None:
        """Read the settings; `None` without a public address.

        Raises:
            PublicUrlError: The public address is wrong.
            DoorSettingsError: Another setting is.
        """
        given = {name: environment[name] for name in VARIABLES if environment.get(name)}
        url = PublicUrl.of(given.get(VARIABLE, ""))
        if url is None:
            if given:
                raise DoorSettingsError(f"{', '.join(given)}: of no use without {VARIABLE}")
            return None
        host, port = _listen(given.get("PUBLIC_LISTEN", ""), url)
        certificate = _file(given, "PUBLIC_TLS_CERT_FILE")
        key = _file(given, "PUBLIC_TLS_KEY_FILE")
        tls = _tls(given, url, host)
        if (tls == "files") != bool(certificate and key) or bool(certificate) != bool(key):
            raise DoorSettingsError(
                "PUBLIC_TLS=files needs PUBLIC_TLS_CERT_FILE and PUBLIC_TLS_KEY_FILE, which are of "
                "no use with another PUBLIC_TLS"
            )
        if tls != "acme" and (unused := [name for name in given if name.startswith("PUBLIC_ACME")]):
            raise DoorSettingsError(f"{', '.join(unused)}: of no use without PUBLIC_TLS=acme")
        return cls(
            url,
            host,
            port,
            tls,
            certificate,
            key,
            acme_url=_acme_url(given.get("PUBLIC_ACME_URL", "")),
            acme_email=_matching(given, "PUBLIC_ACME_EMAIL", _EMAIL, "an address such as a@b.org"),
            acme_root=_file(given, "PUBLIC_ACME_ROOT_FILE"),
            user=_matching(given, "PUBLIC_USER", _USER, "letters, digits and . _ @ -")
            or DEFAULT_USER,
            **_login(given),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether it listens where only this machine can connect."""
        return _is_loopback(self.host)


def _listen(text: str, url: PublicUrl) -> tuple[str, int]:
    """The address and port to listen on: by default all addresses and the port of the URL."""
    if not text:
        return ("127.0.0.1" if url.is_loopback else _ALL), url.port
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _ALL
    is_port = ":" in text and port.isdecimal() and 0 < int(port) < 2**16
    if not is_port or not PublicUrl("https", host, int(port)).is_address:
        raise DoorSettingsError(
            f"PUBLIC_LISTEN={text}: write ADDRESS:PORT or :PORT, such as 0.0.0.0:8443"
        )
    if url.scheme == "http" and not _is_loopback(host):
        raise DoorSettingsError(
            f"PUBLIC_LISTEN={text}: with http only 127.0.0.1 or ::1: the login would be readable "
            "on the network"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _tls(given: Mapping[str, str], url: PublicUrl, host: str) -> str:
    chosen = given.get("PUBLIC_TLS", "")
    if chosen and chosen not in TLS:
        raise DoorSettingsError(f"PUBLIC_TLS={chosen}: must be one of {', '.join(TLS)}")
    if url.scheme == "http":
        if chosen not in {"", "off"}:
            raise DoorSettingsError(f"PUBLIC_TLS={chosen}: {VARIABLE} must begin with https://")
        return "off"
    if chosen == "off" and not _is_loopback(host):
        raise DoorSettingsError(
            "PUBLIC_TLS=off: the login would be readable on the network: set "
            "PUBLIC_LISTEN=127.0.0.1:PORT too, and let a proxy on this machine have TLS"
        )
    has_authority = bool(given.get("PUBLIC_ACME_URL")) or can_have_acme(url)
    if chosen == "acme" and not has_authority:
        raise DoorSettingsError(
            f"PUBLIC_TLS=acme: Let's Encrypt has no certificate for {url.origin}: use internal or "
            "files, or name your own authority in PUBLIC_ACME_URL"
        )
    if chosen:
        return chosen
    if given.get("PUBLIC_TLS_CERT_FILE") or given.get("PUBLIC_TLS_KEY_FILE"):
        return "files"
    return "acme" if has_authority else "internal"


def can_have_acme(url: PublicUrl) -> bool:
    """Whether a public authority can certify it: a public name, whose port 443 it connects to."""
    parents = [url.host.split(".", number)[-1] for number in range(url.host.count(".") + 1)]
    names = not url.is_address and not {*parents}.intersection((*_NOT_PUBLIC, *_RESERVED))
    return names and "." in url.host and url.port == _HTTPS


def _login(given: Mapping[str, str]) -> dict[str, Any]:
    ways = [n for n in ("PUBLIC_USER", "PUBLIC_USERS_FILE", "PUBLIC_OAUTH2_PROXY") if given.get(n)]
    if len(ways) > 1:
        raise DoorSettingsError(f"{' and '.join(ways)} are both set: set one of them")
    users = _file(given, "PUBLIC_USERS_FILE")
    proxy = given.get("PUBLIC_OAUTH2_PROXY", "")
    if proxy and not re.fullmatch(r"[\w.-]+:\d{1,5}", proxy, re.ASCII):
        raise DoorSettingsError(f"PUBLIC_OAUTH2_PROXY={proxy}: write HOST:PORT, as 127.0.0.1:4180")
    return {"users": _users(users) if users else {}, "oauth2_proxy": proxy}


def _users(file: Path) -> dict[str, str]:
    """Read a file of htpasswd with hashes of bcrypt; its lines are not shown."""
    found: dict[str, str] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, hashed = line.strip().partition(":")
        if not (_USER.fullmatch(name) and _BCRYPT.fullmatch(hashed)):
            raise DoorSettingsError(
                f"PUBLIC_USERS_FILE: line {number} of {file} is no NAME:HASH with a hash of "
                "bcrypt: write it with htpasswd -B"
            )
        found[name] = hashed
    if not found:
        raise DoorSettingsError(f"PUBLIC_USERS_FILE: {file} has no users: use htpasswd -B")
    return found


def _acme_url(text: str) -> str:
    parts = urlsplit(text)
    is_url = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
    if text and not (is_url and re.fullmatch(r"[\w:/.\[\]~-]+", text, re.ASCII)):
        raise DoorSettingsError("PUBLIC_ACME_URL: must be an https:// address of a directory")
    return text


def _matching(given: Mapping[str, str], name: str, pattern: re.Pattern[str], allowed: str) -> str:
    text = given.get(name, "")
    if text and not pattern.fullmatch(text):
        raise DoorSettingsError(f"{name}={text}: must be {allowed}")
    return text


def _file(given: Mapping[str, str], name: str) -> Path | None:
    if not (text := given.get(name, "")):
        return None
    path = Path(text).absolute()
    try:
        if path.read_bytes().strip():
            return path
    except OSError as error:
        raise DoorSettingsError(f"{name}: cannot read {path}: {error.strerror}") from None
    raise DoorSettingsError(f"{name}: {path} is empty")

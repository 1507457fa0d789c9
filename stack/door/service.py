"""The door: Caddy, the only part of the stack that other machines reach, and then with a login.

Everything behind it stays on loopback.
"""

import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import bcrypt

from stack.door import caddyfile, passages
from stack.door.passages import ALERTMANAGER, ISSUES, STORE, Upstreams
from stack.door.settings import DEFAULT_USER, DoorSettings, DoorSettingsError
from stack.installation import secrets
from stack.installation.paths import CHECKOUT, Installation
from stack.process.process import Program
from stack.process.service import Service
from stack.readiness import LOOPBACK

NAME = "door"
PASSWORD = "door-password"  # noqa: S105 - the name of a file
SETTINGS = {"storeUrl": STORE, "issuesUrl": ISSUES, "alertmanagerUrl": ALERTMANAGER}
"""Settings of the viewer behind the door: addresses relative to its pages."""
_PAGE = CHECKOUT / "grafana" / "viewer" / "index.html"
_ROUNDS = 10
"""Work factor of the hash: a sixteenth of a second. The password has 256 random bits."""
_PRIVILEGED = 1024
_BIND = "net_bind_service"


def service(here: Installation, settings: DoorSettings, trace_url: str = "") -> Service:
    """The door of the native stack.

    Args:
        here: The installation.
        settings: The settings.
        trace_url: Where the viewer shows traces instead, if elsewhere.

    Raises:
        DoorSettingsError: This user may not listen on the port.
        OSError: A file cannot be written.
    """
    _check_port(settings)
    folder = here.folder(NAME)
    ports = here.ports
    upstreams = Upstreams(
        prometheus=_addresses(ports.prometheus, ports.prometheus_2 if here.pair else 0),
        alertmanager=_addresses(ports.alertmanager, ports.alertmanager_2 if here.pair else 0),
        store=f"{LOOPBACK}:{here.ports.store}",
        issues=f"{LOOPBACK}:{here.ports.issues}",
    )

    def write() -> None:  # at each start: the certificate may be a new one
        certificate = ("", "")
        if settings.certificate and settings.key:
            copies = [
                here.write(NAME, name, file.read_text("utf-8"))
                for name, file in (("cert.pem", settings.certificate), ("key.pem", settings.key))
            ]
            certificate = (str(copies[0]), str(copies[1]))
        text = caddyfile.render(
            settings,
            passages.of_viewer(upstreams),
            storage=str(folder / "caddy"),
            users=users(settings, secrets.read(here.secrets, PASSWORD)),
            policy=caddyfile.content_policy(viewer_page(), settings.url.origin),
            answers={"/settings.json": viewer_settings(trace_url)},
            certificate=certificate,
        )
        here.write(NAME, "Caddyfile", text)

    user = here.user_of(NAME)
    if user and settings.port < _PRIVILEGED:
        user = replace(user, capabilities=(_BIND,))
    return Service(
        Program(
            NAME,
            ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
            user=user,
            # Caddy writes nothing outside of its storage.
            env={name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")},
            cwd=folder,
        ),
        ready=lambda: answers(settings),
        port=settings.port if settings.host in {"0.0.0.0", LOOPBACK} else 0,  # noqa: S104
        before_start=write,
        quiet=True,  # one line per request
        depends_on=("prometheus", "gate", "store", "issues"),
    )


def _addresses(*ports: int) -> str:
    """Addresses of a server, or of both of a pair; 0 is none."""
    return " ".join(f"{LOOPBACK}:{port}" for port in ports if port)


def login_hints(here: Installation, settings: DoorSettings | None) -> list[tuple[str, str]]:
    """Rows of the table of addresses: how to log in. `settings` may be unknown."""
    name = settings.user if settings else DEFAULT_USER
    login = f"{name}, password in {here.secrets / PASSWORD}"
    if settings and settings.oauth2_proxy:
        login = f"by oauth2-proxy at {settings.oauth2_proxy}"
    elif settings and settings.users:
        login = f"{', '.join(settings.users)}"
    rows = [("login", login)]
    if settings and settings.tls == "internal":
        root = here.data / NAME / "caddy/pki/authorities/local/root.crt"
        rows.append(("certificate", f"install {root} on your devices"))
    return rows


def users(settings: DoorSettings, password: str) -> dict[str, str]:
    """Hashes by bcrypt, by names: those of a file, or one with the generated password."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode()
    return dict(settings.users) or {settings.user: hashed}


def viewer_page() -> str:
    """The viewer's ``index.html``, whose inline scripts the policy allows."""
    return _PAGE.read_text("utf-8")


def viewer_settings(trace_url: str = "") -> Mapping[str, Any]:
    """`settings.json` of the viewer behind the door."""
    return {**SETTINGS, "traceUrl": trace_url}


def answers(settings: DoorSettings) -> bool:
    """Whether something listens where the door does."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    try:
        with closing(socket.create_connection((host, settings.port), timeout=1)):
            return True
    except OSError:
        return False


def _check_port(settings: DoorSettings) -> None:
    """Check that this user may listen on the address and port, before anything starts."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with closing(socket.socket(family)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except PermissionError:
            raise DoorSettingsError(
                f"port {settings.port} needs root: start the stack as root (the door runs as "
                "another user then), allow it by sysctl net.ipv4.ip_unprivileged_port_start="
                f"{settings.port}, or set PUBLIC_LISTEN=:8443 and forward {settings.port} there"
            ) from None
        except OSError as error:
            raise DoorSettingsError(
                f"PUBLIC_LISTEN: the door cannot listen on {settings.host}:{settings.port}: "
                f"{error.strerror}"
            ) from None

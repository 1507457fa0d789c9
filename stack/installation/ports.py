"""The ports of the stack: one setting per service, checked before anything starts."""

import errno
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from stack.readiness import LOOPBACK


class PortError(RuntimeError):
    """A port is invalid or taken; the message names the setting to change."""


@dataclass(frozen=True)
class Ports:
    """Port of each service; the environment variable is the upper-case name with `_PORT`."""

    api: int = 8000
    postgres: int = 15432
    redis: int = 16379
    prometheus: int = 9090
    alertmanager: int = 9093
    inbox: int = 9094
    store: int = 4318
    issues: int = 9095
    runner: int = 0
    """Metrics of the runner; 0 takes a free port."""
    postgres_reader: int = 0
    """Metrics of PostgreSQL; 0 takes a free port."""
    redis_reader: int = 0
    """Metrics of Redis; 0 takes a free port."""
    prometheus_2: int = 0
    """The second Prometheus of a pair; 0 takes a free port."""
    alertmanager_2: int = 0

    @classmethod
    def chosen(cls) -> tuple[str, ...]:
        """The names, in capitals, of those that have a port of their own by default."""
        return tuple(field.name.upper() for field in fields(cls) if field.default)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Ports":
        """Read them from the environment.

        Raises:
            PortError: A value is not a port, or two services share one.
        """
        chosen: dict[str, int] = {}
        for field in fields(cls):
            variable = f"{field.name.upper()}_PORT"
            text = environment.get(variable) or str(field.default)
            if text == str(field.default) == "0":
                chosen[field.name] = 0
                continue
            if not (text.isdecimal() and 0 < int(text) < 2**16):
                raise PortError(f"{variable}={text}: must be a port from 1 to 65535")
            for other, port in chosen.items():
                if port == int(text):
                    raise PortError(
                        f"{variable} and {other.upper()}_PORT are both {text}: change one"
                    )
            chosen[field.name] = int(text)
        return cls(**chosen)

    def check_free(self, without: Collection[str] = ()) -> None:
        """Check that all ports are free.

        Args:
            without: Names of those that are not used.

        Raises:
            PortError: Some are taken; the message names all of them.
        """
        taken = [
            f"port {port} is taken{_listener_name(port)}: free it or set {field.name.upper()}_PORT"
            for field in fields(self)
            if field.name not in without
            and (port := getattr(self, field.name))
            and not _is_free(port)
        ]
        if taken:
            raise PortError("\n".join(taken))


def check_free(port: int) -> None:
    """Check that a port is free.

    Raises:
        PortError: It is taken; the message names the process that listens there, if visible.
    """
    if not _is_free(port):
        raise PortError(f"port {port} is taken{_listener_name(port)}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise PortError(f"port {port} needs root: choose a port above 1023") from None
            return False
        return True


def _listener_name(port: int) -> str:
    """The process that listens there, if visible: " by redis-server (pid 12)" or nothing."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(file.readlink()) in sockets for file in (entry / "fd").iterdir()):
                return f" by {(entry / 'comm').read_text().strip()} (pid {entry.name})"
        except OSError:  # ended, or not readable for this user
            continue
    return ""


def _listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        for columns in map(str.split, rows):
            listens = columns[3] == "0A"
            if listens and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(columns[9])
    return found

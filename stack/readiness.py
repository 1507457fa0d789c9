"""Readiness probes of each kind of server, over the network."""

import http.client
import socket
import subprocess

LOOPBACK = "127.0.0.1"
_TIMEOUT = 1.0


def free_port() -> int:
    """A loopback port that is free at this moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def http_answers(port: int, path: str) -> bool:
    """Whether `path` is answered with a 2xx status."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status // 100 == 2  # noqa: PLR2004
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def redis_answers(port: int) -> bool:
    """Whether Redis accepts commands; `NOAUTH` counts as ready."""
    try:
        with socket.create_connection((LOOPBACK, port), _TIMEOUT) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def postgres_answers(port: int, pg_isready: str) -> bool:
    """Whether PostgreSQL accepts connections: not while it starts, recovers or stops."""
    command = [pg_isready, "--quiet", "--host", LOOPBACK, "--port", str(port), "--timeout", "1"]
    try:
        return subprocess.run(command, check=False).returncode == 0
    except OSError:  # out of processes or file descriptors
        return False

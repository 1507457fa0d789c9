"""Redis as a cache: with a password and a memory limit, without persistence."""

from pathlib import Path
from urllib.parse import urlsplit

from stack import readiness
from stack.installation.service_user import ServiceUser
from stack.process.process import Program

MONITOR = "vitals_monitor"
"""The reader's user: it sees what the server says of itself, and no keys."""


def configuration(
    port: int,
    folder: Path,
    *,
    password: str | None = None,
    monitor_password: str | None = None,
    memory: str = "128mb",
    host: str = readiness.LOOPBACK,
) -> str:
    """The text of redis.conf. It holds passwords: only the server may be able to read it."""
    lines = [
        f"bind {host}",
        f"port {port}",
        f"dir {_quoted(str(folder))}",
        "daemonize no",
        f"maxmemory {memory}",
        "maxmemory-policy volatile-lfu",  # evicts values; generations have no TTL
        'save ""',
        "appendonly no",
        "loglevel warning",
        "enable-debug-command no",
    ]
    if password:
        lines.append(f"requirepass {password}")
    if monitor_password:
        lines.append(monitor(monitor_password))
    return "\n".join(lines) + "\n"


def monitor(password: str) -> str:
    """The line of redis.conf that makes the reader's user, with least privileges."""
    # CONFIG GET would show the other passwords.
    return f"user {MONITOR} on >{password} resetkeys resetchannels -@all +ping +info +slowlog|get"


def check_url(url: str) -> None:
    """Check that a URL is one of Redis, without a password: command lines are seen by all users.

    Raises:
        ValueError: It is not.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("write redis://USER@HOST:PORT, or rediss:// for TLS")
    if parts.password:
        raise ValueError("leave the password out of the address, and name a file that has it")


def _quoted(text: str) -> str:
    """Quote and escape an argument for redis.conf."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def server(config: Path, user: ServiceUser | None) -> Program:
    """The server with a configuration file."""
    # Not by its own path: Redis would expand brackets in it as a glob pattern, find no file, and
    # listen on all interfaces without a password.
    command = ["redis-server", f"/proc/self/cwd/{config.name}"]
    return Program("redis", command, user=user, cwd=config.parent, grace=5.0)

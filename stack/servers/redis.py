"""Redis as a cache: with a password and a memory limit, without persistence."""

from pathlib import Path

from stack import readiness
from stack.installation.service_user import ServiceUser
from stack.process.process import Program


def configuration(
    port: int,
    folder: Path,
    *,
    password: str | None = None,
    memory: str = "128mb",
    host: str = readiness.LOOPBACK,
) -> str:
    """The text of redis.conf. It holds the password: only the server may be able to read it."""
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
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote and escape an argument for redis.conf."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def server(config: Path, user: ServiceUser | None) -> Program:
    """The server with a configuration file."""
    # Not by its own path: Redis would expand brackets in it as a glob pattern, find no file, and
    # listen on all interfaces without a password.
    command = ["redis-server", f"/proc/self/cwd/{config.name}"]
    return Program("redis", command, user=user, cwd=config.parent, grace=5.0)

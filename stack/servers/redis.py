"""Redis as a cache: a password, a memory limit, nothing on disk."""

from pathlib import Path

from stack import readiness
from stack.installation.service_user import Account
from stack.process.process import Program


def configuration(
    port: int,
    folder: Path,
    *,
    password: str | None = None,
    memory: str = "128mb",
    host: str = readiness.LOOPBACK,
) -> str:
    """The text of redis.conf. It holds the password: write it where only the server reads."""
    lines = [
        f"bind {host}",
        f"port {port}",
        f"dir {_quoted(str(folder))}",
        "daemonize no",
        f"maxmemory {memory}",
        "maxmemory-policy volatile-lfu",  # values go by use; generations, which have no end, stay
        'save ""',
        "appendonly no",
        "loglevel warning",
        "enable-debug-command no",
    ]
    if password:
        lines.append(f"requirepass {password}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A word of redis.conf, whatever characters are in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def server(config: Path, account: Account | None) -> Program:
    """The server that a configuration file describes."""
    # Not by its own path: Redis takes brackets in it for a pattern, finds no file and listens to
    # everybody, without a password.
    command = ["redis-server", f"/proc/self/cwd/{config.name}"]
    return Program("redis", command, account=account, cwd=config.parent, grace=5.0)

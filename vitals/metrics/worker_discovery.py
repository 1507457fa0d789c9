"""Detects which processes are workers of the same server.

Servers start workers in one of two ways, and a worker can detect both:

- through ``multiprocessing`` (uvicorn, granian, hypercorn), which names the parent process;
- by a fork (gunicorn). If the application was created before the fork, an ``os.register_at_fork``
  hook noticed it; otherwise gunicorn's arbiter is among the imported modules.

The parent, identified by pid and start time, outlives its workers and replaces those that end. The
parent of a server without workers is a shell or a service manager; such a server shares nothing.

A script may also start two servers, each in a process of its own. Their parent is the same, their
addresses are not: workers of one server accept connections at the same ones.
"""

import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vitals.metrics.mmap_store import MAGIC
from vitals.metrics.process_identity import start_time

ENV_VAR = "VITALS_WORKERS_DIR"
"""Directory that the workers share, where discovery does not work; if set and empty, each worker
exports only its own metrics."""

_forked_from: list[int] = []
_applications: Counter[str] = Counter()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forked_from.append(os.getppid()))


def server_pid() -> int | None:
    """The pid of the server that started this process as a worker; None without one."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None else None
    if pid is None and _is_forked():
        pid = os.getppid()
    return pid if pid is not None and start_time(pid) is not None else None


def _is_forked() -> bool:
    if os.getppid() in _forked_from[-1:]:
        return True
    # The module alone may be a plain import; the arbiter sets the variable.
    started_by_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return started_by_gunicorn and "gunicorn.arbiter" in sys.modules


def application_id(name: str) -> str:
    """An id that distinguishes an application within its server; the same in every worker.

    Args:
        name: Its name. Applications of the same name are numbered in order of creation.
    """
    _applications[name] += 1
    # During a rolling update, workers of the new version may write another format.
    return _digest(f"{MAGIC!r} {_applications[name]} {name}")


def configured_directory(configured: str | os.PathLike[str] | None = None) -> str | None:
    """The configured directory: the given one, else that of the environment; None without one."""
    return os.environ.get(ENV_VAR) if configured is None else str(configured)


def worker_directories(
    application: str,
    configured: str | os.PathLike[str] | None = None,
    addresses: Iterable[str] = (),
) -> list[Path]:
    """Directories through which the workers of a server share an application's metrics.

    They share the first one that no other user has access to; none if the list is empty.

    Args:
        application: Its id, see ``application_id``.
        configured: A configured directory; empty to share nothing; None to detect one.
        addresses: Where this process accepts connections, if known.
    """
    configured = configured_directory(configured)
    if configured is not None:
        return [Path(configured).absolute() / application] if configured else []
    pid = server_pid()
    if pid is None or not hasattr(os, "getuid"):
        return []
    name = f"{pid}-{start_time(pid)}-{service_id(application, addresses)}"
    return [base / name for base in base_directories(pid)]


def service_id(application: str, addresses: Iterable[str]) -> str:
    """An id of an application that is served at these addresses."""
    return _digest(" ".join([application, *sorted(addresses)]))


def base_directories(server: int) -> list[Path]:
    """Possible directories of the servers of this user: in memory, where the system offers that.

    Pids are meaningless across hosts, and across containers that share a file system. The last
    directories have a name that other users cannot guess: they may have taken the first ones.
    """
    memory = Path("/dev/shm")  # noqa: S108  # made with 0700 and checked, see vitals.metrics.worker_directory
    usual = f"vitals-{os.getuid()}-{_host_namespace()}"
    names = [usual]
    try:
        # Only this user may read where the kernel placed the server's program in memory.
        layout = Path(f"/proc/{server}/auxv").read_bytes()
        names.append(f"{usual}-{_digest(layout.hex())}")
    except OSError:
        pass
    roots = [memory] if os.access(memory, os.W_OK) else []
    roots.append(Path(tempfile.gettempdir()))
    return [root / name for name in names for root in roots]


def _host_namespace() -> str:
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
        pid_namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return "0"
    return _digest(f"{boot_id} {pid_namespace}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Which processes are workers of one server, found out without being told.

Servers start their workers in one of two ways, and both can be seen from a worker:

- through ``multiprocessing`` (uvicorn, granian, hypercorn), which tells a child its parent;
- by a fork (gunicorn). If the application was made before it, Python told us of the fork; if it
  was made after it, gunicorn's arbiter is among the modules that were forked with it.

The parent, known by pid and birth, outlives its workers and starts new ones for those that end. A
server without workers has some shell or service manager as its parent, and shares nothing.
"""

import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from vitals.metrics.mmap_store import MAGIC
from vitals.metrics.process_identity import birth

VARIABLE = "VITALS_WORKERS_DIR"
"""Names the folder that the workers share, where they cannot find each other by themselves; set
and empty, each worker shows only its own figures."""

_forked_from: list[int] = []
_made: Counter[str] = Counter()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forked_from.append(os.getppid()))


def server() -> int | None:
    """The pid of the process that started us as one of its workers; None if we stand alone."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None else None
    if pid is None and _is_forked():
        pid = os.getppid()
    return pid if pid is not None and birth(pid) is not None else None


def _is_forked() -> bool:
    if os.getppid() in _forked_from[-1:]:
        return True
    # The module alone may have been imported for its own sake; the arbiter sets the variable.
    started = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return started and "gunicorn.arbiter" in sys.modules


def application(name: str) -> str:
    """What tells an application from others of the same server; the same in every worker.

    Args:
        name: What it calls itself. Applications of one name are told apart by their order.
    """
    _made[name] += 1
    # Workers of a new version, started beside the old ones, may write another format.
    return _digest(f"{MAGIC!r} {_made[name]} {name}")


def folder(application: str, chosen: str | os.PathLike[str] | None = None) -> Path | None:
    """Where the workers of our server keep the figures of an application.

    Args:
        application: See above.
        chosen: A folder somebody chose; empty for none at all; None to find one.
    """
    if chosen is None:
        chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen).absolute() / application if str(chosen) else None
    pid = server()
    if pid is None or not hasattr(os, "getuid"):
        return None
    return base() / f"{pid}-{birth(pid)}-{application}"


def base() -> Path:
    """The folder of all servers of this account: in memory, where the system offers that.

    Pids say nothing across systems, nor across containers that share a file system.
    """
    memory = Path("/dev/shm")  # noqa: S108  # made with 0700 and checked, see vitals.metrics.workers
    root = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return root / f"vitals-{os.getuid()}-{_namespace()}"


def _namespace() -> str:
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text()
        pids = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return "0"
    return _digest(f"{booted} {pids}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Off means off: who imports the kit and calls nothing gets a process as it was."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("importing.py")
ROOT = SCRIPT.parents[2]


def changes(first: str = "") -> dict[str, Any]:
    """What importing the kit changes in another process."""
    code = f"import runpy\n{first}\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_importing_every_module_changes_nothing() -> None:
    found = changes()
    assert found["modules"] > 60
    assert found["changed"] == {}
    assert found["patched"] == []


CHANGES = {
    "loggers": "logging.getLogger('uvicorn').addHandler(logging.NullHandler())",
    "logging": "logging.setLogRecordFactory(lambda *a, **k: logging.LogRecord(*a, **k))",
    "warnings": "warnings.simplefilter('ignore')",
    "threads": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "signals": "signal.signal(signal.SIGTERM, print)",
    "hooks": "sys.excepthook = print",
    "exit functions": "atexit.register(print)",
    "environment": "os.environ['OF_THE_KIT'] = 'http'",
    "structlog": "structlog.reset_defaults()",
    "structlog context": "structlog.contextvars.bind_contextvars(kit=1)",
    "providers": "metrics.set_meter_provider(metrics.NoOpMeterProvider())",
    "SQLAlchemy events": "event.listen(Engine, 'begin', print)",
    "registry": "prometheus_client.Counter('of_the_kit', '')",
    "files": "os.dup(1)",
}
PATCHES = {
    "starlette.routing.Router.__call__": "starlette.routing.Router.__call__ = print",
    "warnings.showwarning": "logging.captureWarnings(True)",
}


def test_a_change_of_each_kind_would_be_found() -> None:
    """The comparison is no weaker than it looks."""
    code = [
        "import atexit, logging, os, pkgutil, signal, sys, threading, warnings",
        "import prometheus_client, starlette.applications, structlog",
        "from opentelemetry import metrics",
        "from sqlalchemy import Engine, event",
        "walk = pkgutil.walk_packages",
        "def walk_packages(*arguments):",
        "    pkgutil.walk_packages = walk",
        *(f"    {statement}" for statement in (*CHANGES.values(), *PATCHES.values())),
        "    return walk(*arguments)",
        "pkgutil.walk_packages = walk_packages",
    ]
    found = changes("\n".join(code))
    assert set(found["changed"]) == set(CHANGES)
    assert set(PATCHES) <= set(found["patched"])

"""Memory kept after 100,000 different statements, measured in a separate process."""

import gc
import resource
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.db.probe import QueryProbe
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

STATEMENTS = 100_000
A_REQUEST = 1_000
_HTTP = {"type": "http", "path": "/", "headers": []}


def resident() -> int:
    """Resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def growth() -> float:
    """Growth in MB after all statements."""
    # Without SQLAlchemy's cache of compiled statements.
    engine = create_engine("sqlite://", query_cache_size=0)
    probe = QueryProbe(Meter(), Objectives())
    probe.instrument(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1").all()
        gc.collect()
        before = resident()
        for first in range(0, STATEMENTS, A_REQUEST):
            request = RequestContext(_HTTP, "GET")
            request.route = f"/{first % 30}"
            token = CURRENT.set(request)
            for number in range(first, first + A_REQUEST):
                connection.exec_driver_sql(f"SELECT 1 AS c{number}, '{'x' * 2_000}'").all()
            CURRENT.reset(token)
            request.duration = 1.0
            probe.finish(request)
    gc.collect()
    return (resident() - before) / 1e6


def measure() -> float:
    """The growth in a fresh process: memory freed earlier would hide it."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout)


if __name__ == "__main__":
    print(growth())

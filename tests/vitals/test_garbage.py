"""Finalizers may log, count and send statements whenever the garbage collector runs.

It runs in any thread, in the middle of whatever that thread is doing: of the kit's own code too.
"""

import subprocess
import sys
import textwrap

import pytest

HEAD = """
import gc, itertools, logging, sys, threading, time
numbers = itertools.count()

def collect_often(call):
    def called(phase, _info):
        if phase == "start":
            call(next(numbers))
    gc.callbacks.append(called)
    gc.set_threshold(1, 1, 1)

def stop():
    gc.callbacks.clear()
    gc.set_threshold(700, 10, 10)
"""

STATEMENTS = """
from fastapi import FastAPI
from sqlalchemy import create_engine
from vitals import instrument

app = FastAPI()
engine, other = create_engine("sqlite://"), create_engine("sqlite://")
instrument(app, engine=engine, logs=False)
from vitals.db.probe import PROBES
(probe,) = vars(engine.dialect)[PROBES]
probe.instrument(other)
with engine.connect() as connection, other.connect() as others:
    collect_often(lambda n: others.exec_driver_sql(f"SELECT 1 AS o{n}"))
    for n in range(100):
        connection.exec_driver_sql(f"SELECT 1 AS c{n}")
        list(probe.statement_stats)
    stop()
print("done", next(numbers) > 100)
"""

LOG_LINES = """
from vitals.logging.json_handler import JsonHandler
from vitals.logging.json_lines import JsonLines
from vitals.logging.line_writer import LineWriter
from vitals.redactor import Redactor

class Slow:
    def write(self, text):
        written.extend(list(line) for line in text.split())  # allocates in the writer's thread
    def flush(self):
        pass

written, dropped = [], []
writer = LineWriter(Slow(), JsonLines("test", Redactor()).render, dropped.append)
handler = JsonHandler(writer, dropped.append)
log = logging.getLogger("test")
log.addHandler(handler)
log.propagate = False
collect_often(lambda n: log.warning("collected"))
for n in range(300):
    log.warning("logged")
stop()
log.warning("last")
handler.flush()
lines = ["".join(line) for line in written]
events = [line.split('"event":"')[1].split('"')[0] for line in lines]
print("done", events.count("logged") == 300, "last" in events, events.count("collected") > 300)
print(dropped, file=sys.stderr)
"""

METRICS = """
from vitals.metrics.meter import Meter
from vitals.metrics.declarations import Counter
from typing import NamedTuple

class Name(NamedTuple):
    name: str

meter = Meter()
family = meter.counter(Counter("things_total", "Things.", Name))
collect_often(lambda n: family.bind(Name(str(n % 500))).inc())
for n in range(300):
    family.bind(Name(str(n))).inc()
    list(meter.collect())
stop()
counted = sum(row.values[0] for total in meter.collect() if total.metric.name == "things_total"
              for row in total.series)
print("done", counted == next(numbers) + 300)
"""

THROTTLES = """
from vitals.db.statements.log_throttle import LogThrottle

throttle = LogThrottle(3600.0, 10_000)
collect_often(lambda n: throttle.allows(f"other{n}"))
for n in range(3_000):
    assert throttle.allows(str(n)) is not None or n > 2_000
stop()
print("done", True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [STATEMENTS, LOG_LINES, METRICS, THROTTLES])
def test_garbage_collection_may_run_at_any_time(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert set(done.stdout.split()) == {"done", "True"}, done.stdout + done.stderr

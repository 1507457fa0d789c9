"""What the garbage collector calls may log, count and send statements, wherever it comes.

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
from vitals.db.probe import MARK
(probe,) = vars(engine.dialect)[MARK]
probe.watch(other)
with engine.connect() as connection, other.connect() as others:
    collect_often(lambda n: others.exec_driver_sql(f"SELECT 1 AS o{n}"))
    for n in range(100):
        connection.exec_driver_sql(f"SELECT 1 AS c{n}")
        list(probe.ledger)
    stop()
print("done", next(numbers) > 100)
"""

LINES = """
from vitals.logging.log_handler import Outlet

class Slow:
    def write(self, text):
        written.extend(list(line) for line in text.split())  # allocates in the writer's thread
    def flush(self):
        pass

written, refused = [], []
outlet = Outlet(Slow(), refused.append)
log = logging.getLogger("test")
log.addHandler(outlet)
log.propagate = False
collect_often(lambda n: log.warning("collected"))
for n in range(300):
    log.warning("said")
stop()
log.warning("last")
outlet.flush()
words = ["".join(line) for line in written]
print("done", words.count("said") == 300, "last" in words, words.count("collected") > 300)
print(refused, file=sys.stderr)
"""

FIGURES = """
from vitals.metrics.catalogue import DROPPED, Reason
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

PACES = """
from vitals.db.statements.log_throttle import Pace

pace = Pace(3600.0, 10_000)
collect_often(lambda n: pace.allows(f"other{n}"))
for n in range(3_000):
    assert pace.allows(str(n)) is not None or n > 2_000
stop()
print("done", True)
"""


@pytest.mark.parametrize("code", [STATEMENTS, LINES, FIGURES, PACES])
def test_the_collector_may_come_at_any_time(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert set(done.stdout.split()) == {"done", "True"}, done.stdout + done.stderr

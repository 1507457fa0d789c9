"""A worker without a server: executes commands from standard input, one per line.

Its argument is the directory through which it joins other workers. It records the metrics below.
"""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from vitals.metrics.declarations import Counter, Gauge, Histogram, NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.text_format import render
from vitals.metrics.worker_sharing import WorkerSharing, join


class Word(NamedTuple):
    word: str


HITS = Counter("hits_total", "Hits.", Word)
WAIT = Histogram("wait_seconds", "Wait.", NoLabels, (0.1, 1.0))
LEVEL = Gauge("level", "Level.", NoLabels)
WORST = Gauge("worst", "The worst of all.", NoLabels, multiprocess_mode="max")
NONE = NoLabels()


def execute(meter: Meter, command: str, *arguments: str) -> str:
    """Execute a command; returns its result on one line."""
    if command == "inc":
        meter.counter(HITS).bind(Word(arguments[0])).inc(float(arguments[1]))
    elif command == "many":
        for number in range(int(arguments[0])):
            meter.counter(HITS).bind(Word(f"one of many {number}")).inc()
    elif command == "observe":
        meter.histogram(WAIT).bind(NONE).observe(float(arguments[0]), lambda: "e" * 32)
    elif command == "level":
        meter.gauge(LEVEL).bind(NONE).set(float(arguments[0]))
        meter.gauge(WORST).bind(NONE).set(float(arguments[0]))
    elif command in _SHARING:
        _SHARING[command](cast(WorkerSharing, meter.sharing))
    elif command == "page":
        scrape = "".join(render(meter.collect(exemplars=True), as_openmetrics=True))
        return scrape.replace("\n", "\t") + "# EOF"
    return "done"


def _tick(sharing: WorkerSharing) -> None:
    sharing.tick()  # as the event loop does each second
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


_SHARING: dict[str, Callable[[WorkerSharing], Any]] = {
    "leave": WorkerSharing.leave,
    "retry": lambda sharing: setattr(sharing, "_next_try", 0.0),
    "tick": _tick,
}


def main() -> None:
    """Execute the commands on standard input."""
    logging.basicConfig(format="%(message)s")
    meter = Meter()
    meter.counter(HITS).bind(Word("before")).inc()  # as at import, before serving
    join(meter, "test", sys.argv[1])
    print("ready", flush=True)  # noqa: T201  # results go to standard output
    for line in sys.stdin:
        print(execute(meter, *line.split()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

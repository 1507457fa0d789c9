"""A worker without a server: does what it is told line by line, and answers each line.

Started with a folder, it joins the others that were; its metrics are those below.
"""

import logging
import sys
from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, Histogram, NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.text_format import render
from vitals.metrics.workers import join


class Word(NamedTuple):
    word: str


HITS = Counter("hits_total", "Hits.", Word)
WAIT = Histogram("wait_seconds", "Wait.", NoLabels, (0.1, 1.0))
LEVEL = Gauge("level", "Level.", NoLabels)
WORST = Gauge("worst", "The worst of all.", NoLabels, across="max")
NONE = NoLabels()


def act(meter: Meter, command: str, *said: str) -> str:
    """Do one thing; returns the answer, on one line."""
    if command == "inc":
        meter.counter(HITS).bind(Word(said[0])).inc(float(said[1]))
    elif command == "many":
        for number in range(int(said[0])):
            meter.counter(HITS).bind(Word(f"one of many {number}")).inc()
    elif command == "observe":
        meter.histogram(WAIT).bind(NONE).observe(float(said[0]), lambda: "e" * 32)
    elif command == "level":
        meter.gauge(LEVEL).bind(NONE).set(float(said[0]))
        meter.gauge(WORST).bind(NONE).set(float(said[0]))
    elif command == "page":
        page = "".join(render(meter.collect(exemplars=True), as_openmetrics=True))
        return page.replace("\n", "\t") + "# EOF"
    return "done"


def main() -> None:
    """Obey standard input."""
    logging.basicConfig(format="%(message)s")
    meter = Meter()
    meter.counter(HITS).bind(Word("before")).inc()  # as at import, before anybody serves
    join(meter, "test", sys.argv[1])
    print("ready", flush=True)  # noqa: T201  # standard output is how it answers
    for line in sys.stdin:
        print(act(meter, *line.split()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

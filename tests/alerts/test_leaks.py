"""Leaks are reported five minutes before they have used up a limit; growth that ends is not.

Every shape is an instance that is scraped and evaluated every 15 seconds, as in production, from
its start or beside an hour of quiet. One run of promtool replays all of them.
"""

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.alerts.test_rules import CASES, ROOT

pytestmark = [pytest.mark.usefixtures("installed_or_newest"), pytest.mark.slow]

STEP = 15
QUIET = 30 * 60
"""Seconds of quiet before a leak begins."""
END = QUIET + 3600
NOTICE = 300
"""Seconds before exhaustion at which a person must know."""
DELAY = 25
"""Seconds from firing to the message: evaluation, and the group wait of a page."""
_LINE = re.compile(r'alertname="(\w+)", instance="([^"]+)"\} ([\d.E+]+)')

Shape = Callable[[float], float | None]
"""The used share of a limit by the second; None where the scrape fails."""


def leak(seconds: float, begin: float = 0.1, start: float = QUIET, noise: float = 0.0) -> Shape:
    """From a share to all in that time; then scrapes fail."""
    chance = random.Random(7)  # noqa: S311 - noise

    def at(second: float) -> float | None:
        share = begin + (1 - begin) * max(0.0, second - start) / seconds
        return None if share >= 1 else share + chance.gauss(0, noise)

    return at


def from_start(seconds: float) -> Shape:
    """A leak of a process that has just been started, where there was none before."""
    inner = leak(seconds, start=QUIET)
    return lambda second: None if second < QUIET else inner(second)


def again(seconds: float, restart: float) -> Shape:
    """A leak, restarted away, that goes on."""
    return lambda second: leak(seconds, start=QUIET if second < restart else restart)(second)


def unscraped(shape: Shape, when: Callable[[float], bool]) -> Shape:
    """The same with failed scrapes."""
    return lambda second: None if when(second) else shape(second)


def saw_tooth(low: float, high: float, period: float) -> Shape:
    """Growth and collapse; known since the quiet."""
    return lambda second: low + (high - low) * (second % period) / period


def warm_up(high: float, seconds: float, start: float = QUIET) -> Shape:
    """Straight growth after a start, then none."""

    def at(second: float) -> float | None:
        since = second - start
        return None if since < 0 else 0.1 + (high - 0.1) * min(1.0, since / seconds)

    return at


def flat(*levels: tuple[float, float]) -> Shape:
    """Levels, each from a second on."""
    return lambda second: [level for since, level in levels if second >= since][-1]


@dataclass(frozen=True)
class Reported:
    """A shape that must be reported: by when, counted as seconds after the quiet."""

    shape: Shape
    exhausted: float


LEAKS: dict[str, Reported] = {
    **{
        f"{minutes} min": Reported(leak(60 * minutes), QUIET + 60 * minutes)
        for minutes in (11, 15, 30, 60)
    },
    **{
        f"{minutes} min, noise 1 %": Reported(leak(60 * minutes, noise=0.01), QUIET + 60 * minutes)
        for minutes in (15, 45)
    },
    "12 min from the start": Reported(from_start(720), QUIET + 720),
    "15 min, every third scrape fails": Reported(
        unscraped(leak(900), lambda second: second // STEP % 3 == 1), QUIET + 900
    ),
    "15 min, scrapes fail once it is pending": Reported(
        unscraped(leak(900), lambda second: second > QUIET + 330), QUIET + 900
    ),
    "12 min again after a restart at 60 %": Reported(again(720, QUIET + 400), QUIET + 400 + 720),
}
QUIETS: dict[str, Shape] = {
    "saw-tooth of 10 min": saw_tooth(0.2, 0.7, 600),
    "saw-tooth of 4 min": saw_tooth(0.1, 0.6, 240),
    "saw-tooth of 40 min": saw_tooth(0.1, 0.75, 2400),
    "warm-up of 3 min": warm_up(0.5, 180),
    "warm-up of 2 min": warm_up(0.7, 120),
    "warm-up of 15 min": warm_up(0.4, 900),
    "a step": flat((0, 0.1), (QUIET, 0.6)),
    "two steps": flat((0, 0.1), (QUIET, 0.4), (QUIET + 180, 0.7)),
    "a restart": flat((0, 0.7), (QUIET, 0.1), (QUIET + 60, 0.3)),
    "noise": lambda second: 0.6 + 0.05 * random.Random(second).random(),  # noqa: S311
}


def _values(shape: Shape) -> str:
    values = (shape(second) for second in range(0, END, STEP))
    return " ".join("_" if value is None else f"{1000 * value:.6g}" for value in values)


def _stale(text: str) -> str:
    """A failed scrape is marked as stale at once."""
    return text.replace("_", "stale")


def _series() -> Iterator[dict[str, str]]:
    yield {"series": 'vitals_workers{job="api"}', "values": f"1x{END // STEP}"}
    for name, shape in {**{k: v.shape for k, v in LEAKS.items()}, **QUIETS}.items():
        labels = f'job="api", instance="{name}"'
        yield {"series": f"process_open_fds{{{labels}}}", "values": _stale(_values(shape))}
        yield {"series": f"process_max_fds{{{labels}}}", "values": f"1000x{END // STEP}"}
        restart = {"12 min again after a restart at 60 %": QUIET + 400, "a restart": QUIET}
        began = [1 if second < restart.get(name, 0) else 2 for second in range(0, END, STEP)]
        yield {
            "series": f"process_start_time_seconds{{{labels}}}",
            "values": " ".join(map(str, began)),
        }


def first_firing(folder: Path) -> dict[tuple[str, str], float]:
    """The second at which each alert of each instance fires first."""
    query = (
        'min by (alertname, instance) (min_over_time(timestamp(ALERTS{alertstate="firing"})'
        f"[{END}s:{STEP}s]))"
    )
    test = {
        "interval": f"{STEP}s",
        "input_series": [*_series()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{END}s", "exp_samples": []}],
    }
    order = yaml.safe_load(CASES[0].read_text())["group_eval_order"]
    file = folder / "leaks.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [f"{ROOT}/prometheus/rules/*.yml"],
                "group_eval_order": order,
                "evaluation_interval": f"{STEP}s",
                "tests": [test],
            }
        )
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    found = {(alert, name): float(at) for alert, name, at in _LINE.findall(output)}
    assert found, output[:3000]
    return found


def test_leaks_are_told_in_time_and_growth_that_ends_is_not(tmp_path: Path) -> None:
    fired = first_firing(tmp_path)
    reported = {name: fired.get(("FilesRunOut", name), 0.0) for name in LEAKS}
    latest = {name: leak.exhausted - NOTICE - DELAY for name, leak in LEAKS.items()}
    late = {name: at for name, at in reported.items() if not QUIET < at <= latest[name]}
    assert late == {}
    assert [each for each in fired if each[1] in QUIETS] == []

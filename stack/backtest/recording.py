"""Recording of signals over past data: what the recording rules would have written meanwhile.

promtool's own backfill of rules reads and writes two hours at a time, for each rule: over a month
that is thousands of blocks, each of which every later query opens. Here a signal is evaluated over
days at once, and all signals that read the same data are written as one block.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alerts.rule_files import evaluation_seconds, every_signal, recording_depths
from rules.promql import series_in
from stack.backtest.prometheus_api import Progress, query_over
from stack.tsdb_replay import TsdbReplay, promtool

_AT_ONCE = 2
"""Signals that are evaluated at a time."""
_ONE_BLOCK = "--max-block-duration=1458h"
"""promtool reads its whole input again for each block that it writes."""
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def record(
    records: set[str], data: Path, span: tuple[float, float], step: int, progress: Progress
) -> None:
    """Record signals over past data, those first that others read.

    Args:
        records: Their names.
        data: A folder of blocks, to which blocks are added.
        span: First and last Unix time.
        step: Seconds between two evaluations; a slower group keeps its own interval.
        progress: Called before each round.
    """
    depths = recording_depths()
    rounds = sorted({depths[name] for name in records})
    samples = data / "recorded.om"
    for number, depth in enumerate(rounds, 1):
        chosen = sorted(name for name in records if depths[name] == depth)
        progress(f"evaluating {len(chosen)} missing recording rules, {number} of {len(rounds)}")
        with TsdbReplay(data) as prometheus, ThreadPoolExecutor(_AT_ONCE) as pool:
            evaluations = pool.map(
                lambda name, url=prometheus.url: _evaluate(url, name, span, step), chosen
            )
            with samples.open("w") as file:
                for name, results in zip(chosen, evaluations, strict=True):
                    file.writelines(_lines(name, results))
                file.write("# EOF\n")
        promtool("create-blocks-from", "openmetrics", _ONE_BLOCK, str(samples), str(data))
        samples.unlink()


def needed_records(queries: Iterable[str]) -> set[str]:
    """Names of the recorded series that queries read, directly or indirectly."""
    known, found = every_signal(), set[str]()
    pending = [*queries]
    while pending:
        query = pending.pop()
        new = (series_in(query) & known.keys()) - found
        found |= new
        pending += [known[name].query for name in new]
    return found


def _evaluate(url: str, record: str, span: tuple[float, float], step: int) -> list[dict[str, Any]]:
    signal = every_signal()[record]
    return [*query_over(url, signal.query, span, max(step, evaluation_seconds(signal)))]


def _lines(name: str, results: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Results of a query as OpenMetrics."""
    for result in results:
        labels = ",".join(
            f'{label}="{value.translate(_ESCAPED)}"'
            for label, value in result["metric"].items()
            if label != "__name__"
        )
        series = f"{name}{{{labels}}}"
        for at, value in result["values"]:
            yield f"{series} {value} {at}\n"

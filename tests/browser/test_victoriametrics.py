"""The boards' queries have the same answers from VictoriaMetrics as from Prometheus."""

import json
import math
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from checks.queries import panel_queries
from dashboards.__main__ import rendered
from dashboards.boards.registry import BOARDS
from dashboards.boards.runtime import RESTARTS
from dashboards.rendered_queries import fill_in
from tests import servers
from tests.browser import recording

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

ALIGNED = (recording.END, recording.END - 20 * 60)
"""Moments of samples: windows begin and end at one, so nothing is extrapolated."""
BETWEEN = recording.END - 430
"""A moment between two samples: Prometheus extrapolates a rate to both ends of its window, while
VictoriaMetrics takes the last sample before it. The more even the growth, the less they differ."""
EXTRAPOLATED = 0.1
SAME = 1e-6

CLIENT = httpx.Client(timeout=30, trust_env=False)
Answer = dict[tuple[tuple[str, str], ...], float]


@pytest.fixture(scope="module")
def copied(recorded: servers.MonitoringServer) -> Iterator[servers.MonitoringServer]:
    """A VictoriaMetrics with all samples of the recorded hour."""
    store = servers.start_victoria_metrics()
    try:
        done = subprocess.run(
            [
                servers.victoria_metrics_programs() / "vmctl",
                *("remote-read", "-s", "--disable-progress-bar"),
                f"--remote-read-src-addr={recorded.url}",
                f"--remote-read-filter-time-start={_text(recording.END - recording.SECONDS - 60)}",
                f"--remote-read-filter-time-end={_text(recording.END + 1)}",
                "--remote-read-step-interval=hour",
                "--remote-read-use-stream=true",
                f"--vm-addr={store.url}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        _show(store)
        yield store
    finally:
        store.close()


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _show(store: servers.MonitoringServer) -> None:
    """Make what was just stored visible to queries."""
    httpx.get(f"{store.url}/internal/force_flush").raise_for_status()


def ask(server: servers.MonitoringServer, query: str, at: float) -> Answer:
    """The series of an answer without their name, which MetricsQL keeps in more places."""
    sent = {"query": query, "time": str(at)}
    response = CLIENT.post(f"{server.url}/api/v1/query", data=sent)
    assert response.is_success, f"{query}: {response.text}"
    return {
        tuple(sorted((k, v) for k, v in series["metric"].items() if k != "__name__")): float(
            series["value"][1]
        )
        for series in response.json()["data"]["result"]
    }


def differences(ours: Answer, theirs: Answer, tolerance: float) -> Iterator[str]:
    """Series that only one has, and values that differ by more than the tolerance."""
    for labels in ours.keys() ^ theirs.keys():
        yield f"only {'Prometheus' if labels in ours else 'VictoriaMetrics'} has {dict(labels)}"
    for labels in ours.keys() & theirs.keys():
        one, other = ours[labels], theirs[labels]
        if not (
            math.isclose(one, other, rel_tol=tolerance) or (math.isnan(one) and math.isnan(other))
        ):
            yield f"{one} and {other} of {dict(labels)}"


def test_every_query_of_the_boards_has_the_same_answer(
    recorded: servers.MonitoringServer, copied: servers.MonitoringServer
) -> None:
    queries = {
        expr: f"{board.uid}: {title}"
        for board in BOARDS
        for title, expr in panel_queries(json.loads(rendered(board)))
    }
    different, answered = [], 0
    for query, where in queries.items():
        for at in (*ALIGNED, BETWEEN):
            ours = ask(recorded, query, at)
            tolerance = EXTRAPOLATED if at == BETWEEN else SAME
            found = [*differences(ours, ask(copied, query, at), tolerance)]
            different += [f"{where}: {query} at {at}: {each}" for each in found]
            answered += bool(ours) and at == recording.END
    assert not different, "\n".join(different)
    assert answered > 0.8 * len(queries), "too few queries have data to be compared"


def test_restarts_are_counted_and_a_new_instance_is_none(
    copied: servers.MonitoringServer,
) -> None:
    """Two restarts of one instance, one of which was planned; another one is new."""
    end, lines = recording.END, []
    for number in range(60):
        at = (end - 60 * (60 - number)) * 1000
        started = 1_000_000 + 10_000 * ((number > 20) + (number > 40))
        lines.append(f'process_start_time_seconds{{job="api",instance="old"}} {started} {at}')
        planned = 5_000 * (number > 40)
        lines.append(
            f'vitals_planned_start_time_seconds{{job="api",instance="old"}} {planned} {at}'
        )
        if number > 30:
            lines.append(f'process_start_time_seconds{{job="api",instance="new"}} 1500000 {at}')
    content = "\n".join(lines)
    httpx.post(f"{copied.url}/api/v1/import/prometheus", content=content).raise_for_status()
    _show(copied)
    [query] = RESTARTS.queries
    shown = fill_in(query.expr, {"job": "api", "instance": "old|new"})
    assert ask(copied, shown, end) == {(): 1.0}

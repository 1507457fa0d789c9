"""Two Prometheus write to one VictoriaMetrics: nothing is doubled, nothing is missing."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import yaml

from checks.queries import panel_queries
from dashboards.__main__ import rendered
from dashboards.boards.registry import BOARDS
from export.__main__ import main
from stack import readiness
from stack.process.process import Process, Program
from tests import servers
from tests.browser import recording

pytestmark = [pytest.mark.long, pytest.mark.servers, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
INTERVAL = 2
"""Seconds between two scrapes, and two evaluations of the rules."""
SECONDS = 100
"""How long both write: longer than the windows that boards draw rates over."""
LATE = 10
"""Seconds after which both have written what they scraped."""
CLIENT = httpx.Client(timeout=30, trust_env=False)


class _Page(BaseHTTPRequestHandler):
    """Metrics of the recorded demo, whose counters grow evenly."""

    lines: tuple[str, ...]
    began: float

    def do_GET(self) -> None:
        grown = 1 + (time.monotonic() - self.began) / 600
        text = "\n".join(self._grown(line, grown) for line in self.lines) + "\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def _grown(self, line: str, factor: float) -> str:
        series, _, value = line.rpartition(" ")
        counted = recording._COUNTED.search(series.partition("{")[0])
        return f"{series} {float(value) * factor:.9g}" if counted else line

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""


@pytest.fixture
def target() -> Iterator[str]:
    lines = tuple(
        line
        for line in recording._page()
        if not line.startswith("#") and recording._SAMPLE.match(line)
    )
    # Later lines of the same series replace earlier ones, as the recording has them.
    unique = {line.rpartition(" ")[0]: line for line in lines}
    attributes = {"lines": tuple(unique.values()), "began": time.monotonic()}
    server = ThreadingHTTPServer((readiness.LOOPBACK, 0), type("Page", (_Page,), attributes))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"{readiness.LOOPBACK}:{server.server_port}"
    server.shutdown()
    server.server_close()


def _prometheus(replica: str, target: str, writes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{INTERVAL}s",
            "evaluation_interval": f"{INTERVAL}s",
            "external_labels": {"cluster": "eu", "replica": replica},
        },
        "rule_files": [f"{ROOT}/prometheus/rules/*.yml"],
        "scrape_configs": [{"job_name": "api", "static_configs": [{"targets": [target]}]}],
        "remote_write": writes,
    }


def _ask(url: str, query: str, at: float) -> dict[tuple[tuple[str, str], ...], float]:
    response = CLIENT.post(f"{url}/api/v1/query", data={"query": query, "time": str(at)})
    assert response.is_success, f"{query}: {response.text}"
    found = {}
    for series in response.json()["data"]["result"]:
        # External labels are added by remote_write: Prometheus' own answers lack them.
        kept = {k: v for k, v in series["metric"].items() if k not in {"__name__", "cluster"}}
        found[tuple(sorted(kept.items()))] = float(series["value"][1])
    return found


def _doubled(one: float, two: float) -> bool:
    return one != 0 and 1.7 < two / one < 2.3


def test_no_query_of_the_boards_is_doubled_and_none_misses_a_series(
    target: str, tmp_path: Path
) -> None:
    assert main(["--for", "victoriametrics", "--to", str(tmp_path)]) == 0
    exported = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    relabel = exported["remote_write"][0]["write_relabel_configs"]
    with ExitStack() as started:
        dedup = (f"-dedup.minScrapeInterval={INTERVAL}s",)
        stores = [servers.start_victoria_metrics(dedup) for _ in range(4)]
        single, both, labelled, recorded = stores
        for store in stores:
            started.callback(store.close)

        def write(store: servers.MonitoringServer, *, drop: bool = True) -> dict[str, Any]:
            url = f"{store.url}/api/v1/write"
            return {"url": url, **({"write_relabel_configs": relabel} if drop else {})}

        writes = [write(both), write(labelled, drop=False)]
        first = servers.start_prometheus(_prometheus("a", target, [*writes, write(single)]))
        started.callback(first.close)
        second = servers.start_prometheus(_prometheus("b", target, writes))
        started.callback(second.close)
        alerts = _vmalert(tmp_path, both.url, recorded.url, started)
        time.sleep(SECONDS)  # the windows of the queries fill; there is nothing to wait for

        at = time.time() - LATE
        wrong, doubled_with_label, compared = [], 0, 0
        for query in _queries():
            expected, found = _ask(first.url, query, at), _ask(both.url, query, at)
            alone, twice = _ask(single.url, query, at), _ask(labelled.url, query, at)
            if "topk" not in query and expected.keys() != found.keys():
                wrong.append(f"{query}: {len(expected)} and {len(found)} series")
            for labels in alone.keys() & found.keys():
                compared += 1
                if _doubled(alone[labels], found[labels]):
                    wrong.append(f"{query}: {alone[labels]} and {found[labels]}")
                doubled_with_label += _doubled(alone[labels], twice.get(labels, 0))
        assert not wrong, "\n".join(wrong)
        assert compared > 300
        assert doubled_with_label > 20, "with the label it is double: the comparison sees it"

        for server in (first, second):
            text = CLIENT.get(f"{server.url}/metrics").text
            failures = [
                line
                for line in text.splitlines()
                if line.startswith("prometheus_rule_evaluation_failures_total")
                and not line.endswith(" 0")
            ]
            assert not failures
        groups = CLIENT.get(f"{alerts}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) > 100
        assert [rule["name"] for rule in rules if rule["lastError"]] == []


def _queries() -> list[str]:
    return [
        *{expr: None for board in BOARDS for _, expr in panel_queries(json.loads(rendered(board)))}
    ]


def _vmalert(folder: Path, store: str, recorded: str, started: ExitStack) -> str:
    """A vmalert of what is exported; its URL."""
    port = readiness.free_port()
    program = Program(
        "vmalert",
        [
            str(servers.victoria_metrics_programs() / "vmalert"),
            f"-rule={folder}/rules/*.yml",
            f"-datasource.url={store}",
            f"-remoteWrite.url={recorded}",  # another one: both Prometheus record already
            f"-httpListenAddr={readiness.LOOPBACK}:{port}",
            "-notifier.blackhole",
            f"-evaluationInterval={INTERVAL}s",
            "-external.label=replica=a",
            "-external.label=cluster=eu",
        ],
        cwd=folder,
    )
    process = Process(program, log=folder / "vmalert.log")
    started.callback(process.stop)
    process.start()
    process.wait_ready(lambda: readiness.http_answers(port, "/health"))
    return f"http://{readiness.LOOPBACK}:{port}"
